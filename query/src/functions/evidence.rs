//! `evidence_bundle(trace_id)`: assembles without storing, with similar incidents as the command has them.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::Function;
use super::arguments::Arguments;
use crate::bundle::{self, Bundler, view};
use crate::error::Result;

/// Beginning of a bundle's id.
const BUNDLE_ID: &str = "sha256:";

pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("bundle_id", DataType::Utf8, false),
            Field::new("revision", DataType::Int32, false),
            Field::new("sealed", DataType::Boolean, false),
            Field::new("bundle", DataType::Utf8, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

pub(super) async fn call(bundler: &Bundler, arguments: &Arguments) -> Result<RecordBatch> {
    let given = arguments.text(0, "trace_id")?;
    if given.trim_start().starts_with(BUNDLE_ID) {
        // Quotes are doubled, as in any text of SQL.
        let id = given.trim().replace('\'', "''");
        return Err(Function::EvidenceBundle.wrong(format!(
            "it takes a trace id; a stored bundle is read with: select bundle from bundles where bundle_id = '{id}'"
        )));
    }
    let mut bundle = bundler.assemble_with_similar(given).await?;
    bundle::refuse(bundler.snapshot(), &bundle).await?;
    if !bundler.shows_heaps() {
        bundle = view::without_heaps(bundle);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![bundle.bundle_id.as_str()])),
        Arc::new(Int32Array::from(vec![bundle.evidence.trace.revision])),
        Arc::new(BooleanArray::from(vec![bundle.evidence.sealed])),
        Arc::new(StringArray::from(vec![serde_json::to_string(&bundle)?])),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
