//! Columns as other engines take them, and the log of a Delta table over several exports.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, MapBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampNanosecondArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit, TimestampMicrosecondType};
use serde_json::Value;
use tracerag_index::{Epoch, Lake, LakeOptions, MaintainOptions, Retention, SourceProgress, Writer, maintain};
use tracerag_query::SessionOptions;
use tracerag_schemas::SourcePartition;
use tracerag_schemas::time::{DAY, SECOND};

use super::manifest::{File, Partition};
use super::*;

fn batch() -> RecordBatch {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("http.route");
    map.values().append_value("/checkout");
    map.append(true).unwrap();
    map.append(false).unwrap();
    let map = map.finish();
    let times = TimestampNanosecondArray::from(vec![Some(1_234_567), None]).with_timezone("UTC");
    let names: DictionaryArray<Int32Type> = vec![Some("GET /"), None].into_iter().collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(times), Arc::new(map), Arc::new(names), Arc::new(UInt64Array::from(vec![1, 2]))];
    let fields = ["time", "attributes", "name", "count"].iter().zip(&columns);
    let fields: Vec<Field> = fields.map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Times become microseconds, dictionaries texts, unsigned numbers signed, and maps have the names that Parquet gives
/// them; as JSON they are the text that SQL prints. Guarantees that an absent value stays absent in each.
#[test]
fn columns_fit_other_engines() {
    let batch = batch();
    let columns = Columns::new(&batch.schema(), Maps::Map, Times::Us);
    let converted = columns.convert(&batch).unwrap();
    assert_eq!(converted.column(0).as_primitive::<TimestampMicrosecondType>().value(0), 1_234);
    assert!((0..3).all(|column| converted.column(column).is_null(1)));
    assert_eq!(converted.column(2).data_type(), &DataType::Utf8);
    assert_eq!(converted.column(3).data_type(), &DataType::Int64);
    let DataType::Map(entries, _) = converted.column(1).data_type() else { panic!("no map") };
    assert_eq!(entries.name(), "key_value");

    let columns = Columns::new(&batch.schema(), Maps::Json, Times::Ns);
    let converted = columns.convert(&batch).unwrap();
    assert_eq!(converted.column(1).as_string::<i32>().value(0), r#"{"http.route":"/checkout"}"#);
    assert!(converted.column(1).is_null(1));
}

/// A number that no signed one can be ends the export. Guarantees that no value is lost without a word.
#[test]
fn a_number_beyond_the_type_is_an_error() {
    let column: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let schema = Schema::new(vec![Field::new("count", DataType::UInt64, true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
    let columns = Columns::new(&batch.schema(), Maps::Map, Times::Ns);
    assert!(columns.convert(&batch).is_err());
}

fn exported(files: &[(&str, &str)]) -> ExportedTable {
    let mut table = ExportedTable { columns: vec![], partitions: BTreeMap::new() };
    for (day, name) in files {
        let file = File { path: format!("spans/day={day}/{name}.parquet"), rows: 2, bytes: 10 };
        let partition =
            Partition { version: 1, commit: String::new(), content: String::new(), rows: 2, files: vec![file] };
        table.partitions.insert((*day).to_owned(), partition);
    }
    table
}

/// The actions of a commit, or none where there is no such commit.
fn actions(folder: &std::path::Path, version: u64) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(format!("_delta_log/{version:020}.json"))).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first commit makes the table; the next one adds what is new and removes what a day had before; the same files
/// again are no commit, which is how an export goes on that broke off behind it. A log that begins behind a checkpoint,
/// or of a newer protocol, is refused.
#[test]
fn a_delta_log_has_the_files_of_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let columns = Columns::new(&batch().schema(), Maps::Map, Times::Us);
    let commit = |files: &[(&str, &str)], position| delta::commit(folder.path(), &columns, &exported(files), position);
    commit(&[("2026-11-16", "a")], 3).unwrap();
    let first = actions(folder.path(), 0);
    assert_eq!(first[0]["protocol"]["minWriterVersion"], 2);
    assert_eq!(first[2]["add"]["path"], "day=2026-11-16/a.parquet");
    commit(&[("2026-11-16", "b"), ("2026-11-17", "c")], 5).unwrap();
    let second = actions(folder.path(), 1);
    let named = |kind: &str| {
        let paths = second.iter().filter_map(|action| action[kind]["path"].as_str());
        paths.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(named("add"), ["day=2026-11-16/b.parquet", "day=2026-11-17/c.parquet"]);
    assert_eq!(named("remove"), ["day=2026-11-16/a.parquet"]);
    commit(&[("2026-11-16", "b"), ("2026-11-17", "c")], 5).unwrap();
    assert!(actions(folder.path(), 2).is_empty());

    std::fs::remove_file(folder.path().join("_delta_log").join(format!("{:020}.json", 0))).unwrap();
    assert!(commit(&[], 6).unwrap_err().to_string().contains("checkpoint"));
}

/// A column of a type that Delta does not have, or has in a newer protocol only, at the top or within another, is refused
/// by its name before a commit is there. Guarantees that no table says of a column what its files do not hold.
#[test]
fn types_that_delta_lacks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let list = DataType::List(Arc::new(Field::new("element", DataType::Decimal128(10, 2), true)));
    for (data_type, named) in [(DataType::Time64(TimeUnit::Microsecond), "odd"), (local, "odd"), (list, "element")] {
        let columns = Columns::new(&Schema::new(vec![Field::new("odd", data_type, true)]), Maps::Map, Times::Us);
        let error = delta::commit(folder.path(), &columns, &exported(&[]), 1).unwrap_err().to_string();
        assert!(error.contains(&format!("{named:?}")), "{error}");
        assert!(actions(folder.path(), 0).is_empty());
    }
}

/// A report names days whose files differ and days that are gone since the export that a loader knows, which may not be
/// the last one; an unknown position is refused. Guarantees that a loader which goes by it has the newest rows once.
#[test]
fn reports_say_what_to_load() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        format: Format::Parquet,
        to: folder.path().to_owned(),
        tables: vec![],
        since_position: None,
        maps: Maps::Map,
        times: Times::Ns,
    };
    let manifest = |position: u64, files: &[(&str, &str)]| {
        let mut manifest = Manifest::new("lake", "acme", &options, position);
        manifest.tables.insert("spans".to_owned(), exported(files));
        manifest.write(folder.path()).unwrap();
        manifest
    };
    manifest(1, &[("2026-11-15", "z"), ("2026-11-16", "a")]);
    manifest(2, &[("2026-11-16", "b")]);
    let last = manifest(3, &[("2026-11-16", "b"), ("2026-11-17", "c")]);
    let days = |changed: &[manifest::Changed]| changed.iter().map(|one| one.day.clone()).collect::<Vec<_>>();
    let since = |position| last.since(Manifest::of_position(folder.path(), position).unwrap().as_ref());
    assert_eq!(days(&since(2).changed), ["2026-11-17"]);
    assert_eq!(days(&since(1).changed), ["2026-11-16", "2026-11-17"]);
    assert_eq!(days(&since(1).dropped), ["2026-11-15"]);
    assert_eq!(since(0).since_position, None);
    assert!(Manifest::of_position(folder.path(), 9).unwrap_err().to_string().contains("position 9"));
    assert_eq!(Manifest::newest(folder.path()).unwrap(), Some(last));
}

/// After an export its folders hold the files of the manifest and what is not of exports: neither files of before nor those
/// of an export that broke off, ended or not. Of a Delta table the ended ones stay, for its log says who reads them.
/// Guarantees that who reads whole folders finds no row twice.
#[test]
fn nothing_is_left_of_exports_that_broke_off() {
    for (format, expected) in [
        (Format::Parquet, &["notes.parquet", "part-a.parquet"][..]),
        (Format::Delta, &["notes.parquet", "part-a.parquet", "part-b.parquet"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            format,
            to: folder.path().to_owned(),
            tables: vec![],
            since_position: None,
            maps: Maps::Map,
            times: Times::Us,
        };
        let day = folder.path().join("spans/day=2026-11-16");
        std::fs::create_dir_all(&day).unwrap();
        for name in ["part-a.parquet", "part-b.parquet", ".part-c.parquet.part", "notes.parquet"] {
            std::fs::write(day.join(name), "").unwrap();
        }
        let mut manifest = Manifest::new("lake", "acme", &options, 1);
        manifest.tables.insert("spans".to_owned(), exported(&[("2026-11-16", "part-a")]));
        manifest.sweep(format, folder.path());
        let mut left: Vec<String> =
            std::fs::read_dir(&day).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, expected, "{format:?}");
        let kept = &manifest.tables["spans"].partitions["2026-11-16"];
        assert!(kept.is_there(folder.path()));
        std::fs::remove_file(day.join("part-a.parquet")).unwrap();
        assert!(!kept.is_there(folder.path()), "it would have to be written again");
    }
}

/// Noon of 2026-11-23.
const NOON: i64 = 1_795_435_200 * SECOND;

/// Rows of heaps from these offsets on, taken so many days after noon.
fn heaps(offsets: std::ops::Range<i64>, day: i64) -> RecordBatch {
    let n = offsets.clone().count();
    let schema = Table::Heaps.lake_schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "tenant_id" => Arc::new(StringArray::from(vec!["default"; n])),
            "kafka_topic" => Arc::new(StringArray::from(vec!["heap_summaries"; n])),
            "kafka_partition" => Arc::new(Int32Array::from(vec![0; n])),
            "kafka_offset" => Arc::new(Int64Array::from_iter_values(offsets.clone())),
            "ingested_at" => Arc::new(TimestampNanosecondArray::from(vec![NOON + day * DAY; n]).with_timezone("UTC")),
            _ => new_null_array(field.data_type(), n),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// A table that has one dataset for all of its days is exported again: with rows of a new day, with a late row of an old
/// one, after a compaction, and after retention has dropped a day. Guarantees that each time only the days are written and
/// reported whose rows have changed, and that the others keep their files.
#[tokio::test(flavor = "multi_thread")]
async fn only_days_with_other_rows_are_exported_again() {
    let folder = tempfile::tempdir().unwrap();
    let lake_options = LakeOptions::new(folder.path().join("lake").display().to_string());
    let lake = Lake::open_or_create(lake_options.clone()).await.unwrap();
    let source = SourcePartition::new("c", "heap_summaries", 0);
    let mut writer = Writer::new(lake, String::from("test")).await.unwrap();
    writer.claim(std::slice::from_ref(&source)).await.unwrap();
    let options = Options {
        format: Format::Parquet,
        to: folder.path().join("exported"),
        tables: vec![String::from("heaps")],
        since_position: None,
        maps: Maps::Map,
        times: Times::Ns,
    };
    let exported = async || {
        let lake = Lake::open(lake_options.clone()).await.unwrap();
        let session = Session::open(&lake, SessionOptions::new("default")).await.unwrap();
        let report = export(&session, &options).await.unwrap();
        let days = |days: Vec<manifest::Changed>| days.into_iter().map(|one| (one.day, one.rows)).collect::<Vec<_>>();
        (days(report.changed), days(report.dropped))
    };
    let day = |day: &str, rows: u64| (format!("2026-11-{day}"), rows);
    let mut to = 0;
    for (offsets, of, changed) in [
        (0..2, 0, vec![day("23", 2)]),
        (2..5, 1, vec![day("24", 3)]),
        (5..6, 0, vec![day("23", 3)]),
        (6..8, 2, vec![day("25", 2)]),
    ] {
        to = to.max(offsets.end);
        let rows = vec![(Table::Heaps, heaps(offsets, of))];
        let sources =
            vec![SourceProgress { source: source.clone(), to, low_watermark: to, stream_time: NOON + 2 * DAY }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
        assert_eq!(exported().await, (changed, vec![]));
        assert_eq!(exported().await, (vec![], vec![]));
    }
    let upkeep = async |retention| {
        let lake = Lake::open(lake_options.clone()).await.unwrap();
        let options =
            MaintainOptions { now: NOON + 3 * DAY, small_fragments: 1, retention, ..MaintainOptions::default() };
        maintain(&lake, &options).await.unwrap()
    };
    let report = upkeep(Retention::default()).await;
    assert!(report.compacted.iter().any(|(name, ..)| name == "heaps"), "{report:?}");
    assert_eq!(exported().await, (vec![], vec![]));
    let two_days = std::time::Duration::from_secs(2 * 86_400);
    upkeep(Retention { default: Some(two_days), ..Retention::default() }).await;
    assert_eq!(exported().await, (vec![], vec![day("23", 3)]));
}
