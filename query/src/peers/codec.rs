//! [`LakeScanExec`] as it travels: the table, the columns, the filters and the names of the pieces. Where the lake lies is
//! no part of it, so a server reads no lake but its own.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{Result, not_impl_err, plan_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::DefaultLogicalExtensionCodec;
use datafusion_proto::logical_plan::from_proto::parse_exprs;
use datafusion_proto::logical_plan::to_proto::serialize_exprs;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use datafusion_proto::protobuf::{self, LogicalExprNode};
use prost::Message;
use tracerag_index::Lake;
use tracerag_schemas::Table;

use super::scan::LakeScanExec;
use crate::tables::pieces::{Piece, Wanted};

/// Partitions of one scan, at most: more is nothing that a server makes.
const MOST_PARTITIONS: u32 = 4_096;

/// Writes scans down, and reads them as scans of a lake.
#[derive(Debug, Clone)]
pub(super) struct ScanCodec {
    lake: Lake,
}

impl ScanCodec {
    pub(super) fn new(lake: Lake) -> Self {
        Self { lake }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScanMessage {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
    #[prost(message, repeated, tag = "3")]
    filters: Vec<LogicalExprNode>,
    #[prost(uint64, optional, tag = "4")]
    limit: Option<u64>,
    #[prost(message, repeated, tag = "5")]
    pieces: Vec<PieceMessage>,
    #[prost(uint32, tag = "6")]
    partitions: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PieceMessage {
    #[prost(string, tag = "1")]
    dataset: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint64, tag = "3")]
    fragment: u64,
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wrong = |why: &str| plan_datafusion_err!("a scan of the lake that a peer sent is wrong: {why}");
        let message = ScanMessage::decode(buf).map_err(|error| wrong(&error.to_string()))?;
        if !inputs.is_empty() {
            return Err(wrong("it has inputs"));
        }
        let table = Table::by_name(&message.table).ok_or_else(|| wrong("there is no such table"))?;
        let schema = message.schema.as_ref().ok_or_else(|| wrong("it has no columns"))?;
        let schema = Schema::try_from(schema).map_err(|error| wrong(&error.to_string()))?;
        let filters = parse_exprs(&message.filters, ctx, &DefaultLogicalExtensionCodec {})
            .map_err(|error| wrong(&error.to_string()))?;
        if message.partitions == 0 || message.partitions > MOST_PARTITIONS {
            return Err(wrong("it has no sensible number of partitions"));
        }
        let limit = message.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let wanted = Wanted { table, schema: Arc::new(schema), filters, limit };
        let pieces = message.pieces.into_iter().map(|PieceMessage { dataset, version, fragment }| Piece {
            dataset,
            version,
            fragment,
        });
        let scan = LakeScanExec::with_partitions(
            self.lake.clone(),
            Arc::new(wanted),
            pieces.collect(),
            message.partitions as usize,
        );
        Ok(Arc::new(scan))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>) -> Result<()> {
        let Some(scan) = node.downcast_ref::<LakeScanExec>() else {
            return not_impl_err!("{} does not travel between servers", node.name());
        };
        let failed = |why: String| plan_datafusion_err!("a scan of the lake cannot be sent: {why}");
        let Wanted { table, schema, filters, limit } = scan.wanted();
        let schema = protobuf::Schema::try_from(schema.as_ref()).map_err(|error| failed(error.to_string()))?;
        let filters =
            serialize_exprs(filters, &DefaultLogicalExtensionCodec {}).map_err(|error| failed(error.to_string()))?;
        let pieces = scan.pieces().iter().map(|piece| PieceMessage {
            dataset: piece.dataset.clone(),
            version: piece.version,
            fragment: piece.fragment,
        });
        let message = ScanMessage {
            table: table.name().to_owned(),
            schema: Some(schema),
            filters,
            limit: limit.map(|limit| limit as u64),
            pieces: pieces.collect(),
            partitions: u32::try_from(scan.partitions()).unwrap_or(MOST_PARTITIONS),
        };
        message.encode(buf).map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::physical_plan::empty::EmptyExec;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::snapshot::time_literal;
    use crate::tests::lake::TestLake;

    fn filter() -> impl Strategy<Value = Expr> {
        let text = "[a-z' %\\\\]{0,8}";
        prop_oneof![
            text.prop_map(|value| col("tenant_id").eq(lit(value))),
            any::<i64>().prop_map(|ns| col("start_time").gt_eq(time_literal(ns))),
            any::<i64>().prop_map(|value| col("duration_ns").lt(lit(value)).or(col("name").is_null())),
            prop::collection::vec(text, 1..4)
                .prop_map(|values| col("name").in_list(values.into_iter().map(lit).collect(), false)),
        ]
    }

    /// Whatever a scan reads, it reads the same after it has travelled: tables, columns with nested types, filters,
    /// versions and limit.
    #[tokio::test]
    async fn a_scan_arrives_as_it_was() {
        let TestLake { lake, .. } = &TestLake::empty().await;
        let codec = ScanCodec::new(lake.clone());
        let scans = (
            prop::sample::select(Table::ALL.to_vec()),
            prop::collection::vec(filter(), 0..4),
            prop::option::of(0_usize..1_000_000),
            prop::collection::vec(("[a-z]{1,8}", any::<u64>(), any::<u64>()), 0..6),
            1_usize..64,
        );
        type Named = Vec<(String, u64, u64)>;
        let check = |(table, filters, limit, named, partitions): (Table, Vec<Expr>, _, Named, _)| {
            let wanted = Wanted { table, schema: lake.schemas().newest(table), filters, limit };
            let pieces: Vec<Piece> =
                named.into_iter().map(|(dataset, version, fragment)| Piece { dataset, version, fragment }).collect();
            let scan =
                LakeScanExec::with_partitions(lake.clone(), Arc::new(wanted.clone()), pieces.clone(), partitions);
            let mut bytes = Vec::new();
            codec.try_encode(Arc::new(scan), &mut bytes).unwrap();
            let read = codec.try_decode(&bytes, &[], &TaskContext::default()).unwrap();
            let read = read.downcast_ref::<LakeScanExec>().unwrap();
            prop_assert_eq!(read.wanted(), &wanted);
            prop_assert_eq!(read.pieces(), &pieces[..]);
            prop_assert_eq!(read.partitions(), partitions);
            Ok(())
        };
        TestRunner::new(Config::with_cases(256)).run(&scans, check).unwrap();
    }

    /// Other nodes do not travel by this codec, and a message of an unknown table, or that is none, is refused.
    #[tokio::test]
    async fn what_is_no_scan_is_refused() {
        let lake = TestLake::empty().await;
        let codec = ScanCodec::new(lake.lake.clone());
        let empty = Arc::new(EmptyExec::new(Table::Spans.lake_schema()));
        assert!(codec.try_encode(empty, &mut Vec::new()).is_err());
        let message = ScanMessage { table: String::from("passwords"), partitions: 1, ..ScanMessage::default() };
        for bytes in [message.encode_to_vec(), b"no message".to_vec()] {
            assert!(codec.try_decode(&bytes, &[], &TaskContext::default()).is_err());
        }
    }
}
