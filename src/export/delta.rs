//! The log of a Delta table, by the protocol's reader version 1 and writer version 2: what no engine lacks.
//!
//! A table is written by day: a commit adds the files of days that have changed, and removes those that stood for them
//! before. Files that were removed stay until somebody runs Delta's `VACUUM`, for readers of older versions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use serde_json::{Value, json};

use super::columns::Columns;
use super::manifest::{ExportedTable, File};
use crate::error::Error;

/// The folder of a table's log.
const LOG: &str = "_delta_log";
/// The column of the partitions.
const DAY: &str = "day";
/// Who says in the log up to which position it is.
const APPLICATION: &str = "tracerag-export";

/// What a log says.
#[derive(Default)]
struct Table {
    /// The version that comes next.
    next: u64,
    /// Metadata as it was written last.
    metadata: Option<Value>,
    /// Files of the newest version, as they were added.
    files: BTreeMap<String, Value>,
}

/// Commits the files of a table, so that its newest version has these and no others. Nothing is written if it has them
/// already.
///
/// # Errors
/// When the log cannot be read or written, or somebody else writes it.
pub(super) fn commit(folder: &Path, columns: &Columns, exported: &ExportedTable, position: u64) -> Result<(), Error> {
    let log = folder.join(LOG);
    let table = Table::read(&log)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let mut actions = Vec::new();
    if table.next == 0 {
        actions.push(json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}));
    }
    let schema = schema(columns)?.to_string();
    let before = table.metadata.as_ref();
    if before.and_then(|metadata| metadata.get("schemaString")) != Some(&Value::from(schema.as_str())) {
        let created = before.and_then(|metadata| metadata.get("createdTime")).cloned();
        let id = before.and_then(|metadata| metadata.get("id")).cloned();
        actions.push(json!({"metaData": {
            "id": id.unwrap_or_else(|| Value::from(uuid())),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema,
            "partitionColumns": [DAY],
            "configuration": {},
            "createdTime": created.unwrap_or_else(|| Value::from(now)),
        }}));
    }
    let mut current = BTreeSet::new();
    for (day, partition) in &exported.partitions {
        for file in &partition.files {
            // The log names files from the table's own folder.
            let path = file.path.split_once('/').map_or(file.path.as_str(), |(_, path)| path);
            current.insert(path);
            if !table.files.contains_key(path) {
                actions.push(added(path, day, file, now));
            }
        }
    }
    for (path, added) in table.files.iter().filter(|(path, _)| !current.contains(path.as_str())) {
        actions.push(json!({"remove": {
            "path": path,
            "deletionTimestamp": now,
            "dataChange": true,
            "extendedFileMetadata": true,
            "partitionValues": added.get("partitionValues"),
            "size": added.get("size"),
        }}));
    }
    if actions.is_empty() {
        return Ok(());
    }
    actions.push(json!({"txn": {"appId": APPLICATION, "version": position, "lastUpdated": now}}));
    actions.push(json!({"commitInfo": {
        "timestamp": now,
        "operation": "WRITE",
        "operationParameters": {"mode": "Overwrite", "partitionBy": format!("[\"{DAY}\"]")},
        "engineInfo": format!("tracerag {}", env!("CARGO_PKG_VERSION")),
    }}));
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    put_new(&log, table.next, lines.as_bytes())
}

fn added(path: &str, day: &str, file: &File, now: u64) -> Value {
    json!({"add": {
        // A name of hex digits and a day, which needs no escapes but for this sign of the partition.
        "path": path,
        "partitionValues": {DAY: day},
        "size": file.bytes,
        "modificationTime": now,
        "dataChange": true,
        "stats": json!({"numRecords": file.rows}).to_string(),
    }})
}

impl Table {
    fn read(log: &Path) -> Result<Self, Error> {
        let mut table = Self::default();
        if !log.is_dir() {
            return Ok(table);
        }
        let cannot = || Error::io(format!("read {}", log.display()));
        let mut names = Vec::new();
        for entry in fs::read_dir(log).map_err(cannot())? {
            names.push(entry.map_err(cannot())?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        for name in names.iter().filter(|name| is_commit(name)) {
            if *name != commit_name(table.next) {
                return Err(foreign(
                    log,
                    "its first commits are gone, so a checkpoint of another engine stands for them",
                ));
            }
            let text = fs::read_to_string(log.join(name)).map_err(cannot())?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let action: Value = serde_json::from_str(line).map_err(|error| foreign(log, &error.to_string()))?;
                table.apply(&action, log)?;
            }
            table.next += 1;
        }
        Ok(table)
    }

    fn apply(&mut self, action: &Value, log: &Path) -> Result<(), Error> {
        let path = |of: &Value| of.get("path").and_then(Value::as_str).map(str::to_owned);
        if let Some(add) = action.get("add") {
            self.files.extend(path(add).map(|path| (path, add.clone())));
        }
        if let Some(path) = action.get("remove").and_then(path) {
            self.files.remove(&path);
        }
        if let Some(metadata) = action.get("metaData") {
            self.metadata = Some(metadata.clone());
        }
        let writer = action.get("protocol").and_then(|protocol| protocol.get("minWriterVersion"));
        match writer.and_then(Value::as_u64) {
            Some(version) if version > 2 => Err(foreign(log, "another engine has raised its protocol")),
            _ => Ok(()),
        }
    }
}

fn is_commit(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|version| version.len() == 20 && version.bytes().all(|b| b.is_ascii_digit()))
}

fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

fn foreign(log: &Path, why: &str) -> Error {
    Error::WrongFile {
        option: "--to",
        file: log.display().to_string(),
        why: format!("{why}; export into another folder"),
    }
}

/// Puts a commit whole under its name, if nobody else has put one there.
fn put_new(log: &Path, version: u64, bytes: &[u8]) -> Result<(), Error> {
    let target = log.join(commit_name(version));
    // A name of its own: of two exports at once, each would write into the other's file.
    let begun = log.join(format!(".{}.{}.part", commit_name(version), hex::encode(rand::random::<[u8; 8]>())));
    let put = || {
        fs::create_dir_all(log)?;
        let mut file = fs::File::create(&begun)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A rename would take the place of a commit that is there; a link does not.
        let linked = fs::hard_link(&begun, &target);
        fs::remove_file(&begun)?;
        linked
    };
    put().map_err(Error::io(format!("commit {}", target.display())))
}

/// A random id, in the form of a UUID of version 4.
fn uuid() -> String {
    let mut bytes = rand::random::<[u8; 16]>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default().to_owned()).join("-")
}

/// The schema as Delta writes it, the partition's column last.
fn schema(columns: &Columns) -> Result<Value, Error> {
    let mut fields = fields(columns.schema().fields())?;
    fields.push(json!({"name": DAY, "type": "date", "nullable": true, "metadata": {}}));
    Ok(json!({"type": "struct", "fields": fields}))
}

fn fields(fields: &Fields) -> Result<Vec<Value>, Error> {
    let described = |field: &FieldRef| -> Result<Value, Error> {
        let data_type = type_of(field)?;
        Ok(json!({"name": field.name(), "type": data_type, "nullable": field.is_nullable(), "metadata": {}}))
    };
    fields.iter().map(described).collect()
}

/// The types that [`Columns`] gives, as Delta names them. A time without a zone is none of them: the type that Delta has
/// for it needs a newer protocol.
fn type_of(field: &Field) -> Result<Value, Error> {
    Ok(match field.data_type() {
        DataType::Boolean => Value::from("boolean"),
        DataType::Int8 => Value::from("byte"),
        DataType::Int16 => Value::from("short"),
        DataType::Int32 => Value::from("integer"),
        DataType::Int64 => Value::from("long"),
        DataType::Float32 => Value::from("float"),
        DataType::Float64 => Value::from("double"),
        DataType::Utf8 => Value::from("string"),
        DataType::Binary => Value::from("binary"),
        DataType::Date32 => Value::from("date"),
        DataType::Timestamp(_, Some(_)) => Value::from("timestamp"),
        DataType::List(item) => {
            json!({"type": "array", "elementType": type_of(item)?, "containsNull": item.is_nullable()})
        }
        DataType::Struct(members) => json!({"type": "struct", "fields": fields(members)?}),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => json!({
                "type": "map",
                "keyType": type_of(&pair[0])?,
                "valueType": type_of(&pair[1])?,
                "valueContainsNull": pair[1].is_nullable(),
            }),
            _ => return Err(has_no_type(field)),
        },
        _ => return Err(has_no_type(field)),
    })
}

fn has_no_type(field: &Field) -> Error {
    Error::Usage(format!(
        "--format delta: column {:?} is of type {}, for which Delta tables of this version have none; leave its table out \
         of --tables, or export Parquet",
        field.name(),
        field.data_type()
    ))
}
