//! `tracerag dead-letters show`: all that is kept of one letter.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use tracerag_ingest::dead_letter::StoredLetter;
use tracerag_schemas::{letters, time};

use super::place::Place;
use super::{dump, quoted};
use crate::cli::Context;
use crate::error::Error;
use crate::output::{self, thousands};

/// Options of `dead-letters show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The letter, as `list` prints it
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    letter: Place,
    /// Write the bytes of the value as they came to a file, or with - to stdout, and nothing else
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
}

/// Prints a letter, or writes its bytes.
pub(super) async fn run(context: Context, args: ShowArgs) -> Result<(), Error> {
    let Place { topic, partition, offset } = &args.letter;
    let session = crate::commands::open_session(&context, true).await?;
    let query = format!(
        "select * from dead_letters d where d.kafka_topic = {} and d.kafka_partition = {partition} \
         and d.kafka_offset = {offset}",
        quoted(topic)
    );
    let mut found = Vec::new();
    for batch in session.collect(&query, None).await? {
        found.extend(StoredLetter::read(&batch)?);
    }
    let (marks, letters): (Vec<StoredLetter>, Vec<StoredLetter>) =
        found.into_iter().partition(|row| row.reason == letters::REPLAYED);
    if letters.is_empty() {
        return Err(Error::NoLetter { letter: args.letter.to_string(), tenant: context.tenant });
    }
    match &args.raw {
        None => {
            output::note("this is not redacted: key, headers and value are as they came");
            let text: Vec<String> = letters.iter().map(|letter| described(letter, &args.letter, &marks)).collect();
            output::data(&text.join("\n"))
        }
        Some(file) => {
            // Two clusters may have a topic of one name: the newest is meant.
            let newest = letters.iter().max_by_key(|letter| letter.ingested_at);
            let value = newest.and_then(|letter| letter.value.as_deref());
            let reason = newest.map_or_else(String::new, |letter| letter.reason.clone());
            let value = value.ok_or_else(|| Error::NoValue { letter: args.letter.to_string(), reason })?;
            write(file, value)
        }
    }
}

fn write(file: &Path, value: &[u8]) -> Result<(), Error> {
    if file == Path::new("-") {
        return output::bytes(value);
    }
    // It may hold what nobody else should read.
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened.and_then(|mut opened| opened.write_all(value)).map_err(Error::io(format!("write {}", file.display())))?;
    output::note(&format!(
        "{} bytes written to {}; they are not redacted",
        thousands(value.len() as u64),
        file.display()
    ));
    Ok(())
}

fn described(letter: &StoredLetter, place: &Place, marks: &[StoredLetter]) -> String {
    let of_letter = |mark: &&StoredLetter| (mark.timestamp, mark.size_bytes) == (letter.timestamp, letter.size_bytes);
    let replayed =
        marks.iter().find(of_letter).map_or_else(|| String::from("no"), |mark| time::rfc3339(mark.ingested_at));
    let known = |time: Option<i64>| time.map_or_else(|| String::from("-"), time::rfc3339);
    let mut text = format!("{place}\n");
    for (name, value) in [
        ("reason", letter.reason.clone()),
        ("detail", dump::harmless(&letter.detail)),
        ("tenant", letter.tenant.to_string()),
        ("timestamp", known(letter.timestamp)),
        ("taken at", time::rfc3339(letter.ingested_at)),
        ("replayed", replayed),
        ("size", format!("{} bytes", thousands(letter.size_bytes))),
    ] {
        text.push_str(&format!("{name:<10} {value}\n"));
    }
    text.push_str(&format!("{:<10} {}\n", "key", letter.key.as_deref().map_or_else(|| String::from("-"), short)));
    match letter.headers.is_empty() {
        true => text.push_str(&format!("{:<10} -\n", "headers")),
        false => text.push_str("headers\n"),
    }
    for (name, value) in &letter.headers {
        let value = value.as_deref().map_or_else(|| String::from("(null)"), short);
        text.push_str(&format!("  {} = {value}\n", dump::harmless(name)));
    }
    let Some(value) = &letter.value else {
        text.push_str(&format!("{:<10} -\n", "value"));
        return text;
    };
    if let Some((kind, shown)) = dump::text(value) {
        text.push_str(&format!("value as {kind}\n{shown}"));
    }
    text.push_str(&format!("value as bytes\n{}", dump::hex(value)));
    text
}

/// A key or the value of a header: text where it is some, else hex digits.
fn short(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("0x{}", hex::encode(bytes)),
    }
}
