//! Texts that must be nowhere.

use std::path::Path;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use super::program::Tracerag;

/// Least characters of a form in base64, and of one in hex: shorter ones are in hashes and ids by chance.
const LEAST_BASE64: usize = 10;
const LEAST_HEX: usize = 16;

/// Texts that must be nowhere: neither as they are, nor percent-encoded, nor escaped as in JSON, nor in base64 or hex.
pub struct Personal {
    search: AhoCorasick,
    forms: Vec<String>,
}

impl Personal {
    /// These texts, in all their forms.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Personal {
        let forms: Vec<String> = texts.into_iter().flat_map(forms).collect();
        Personal { search: AhoCorasick::new(&forms).expect("so many texts can be searched for"), forms }
    }

    /// Whether none of the texts is in a content; `place` says where it comes from.
    ///
    /// # Panics
    /// With the text that is.
    pub fn assert_not_in(&self, place: &str, content: &[u8]) {
        let found = self.search.find_iter(content).next().map(|found| &self.forms[found.pattern().as_usize()]);
        assert_eq!(found, None, "personal data in {place}");
    }

    /// Whether one of the texts is in a content.
    pub fn is_in(&self, content: &[u8]) -> bool {
        self.search.is_match(content)
    }

    /// Whether none of the texts is in a column of any table, or in a file of the lake that is not compressed. What could
    /// not be read is kept as it came, so key, headers and value of dead letters are left out.
    ///
    /// # Panics
    /// With the text that is.
    pub fn assert_not_in_lake(&self, tracerag: &Tracerag) {
        let mut rows_found = 0;
        let tables = "select table_name from information_schema.tables where table_schema = 'public'";
        for table in tracerag.sql(tables) {
            let table = table["table_name"].as_str().unwrap();
            let columns = match table {
                "dead_letters" => decoded_columns(tracerag, table),
                _ => "*".to_owned(),
            };
            let rows = tracerag.done(&["sql", "--format", "json", &format!("select {columns} from {table}")]);
            self.assert_not_in(table, rows.as_bytes());
            let rows: Vec<Value> = serde_json::from_str(&rows).expect("rows are JSON");
            rows_found += rows.len();
            // As they are read: what the output has escaped once more is not hidden by it.
            for row in &rows {
                each_text(row, &mut |text| self.assert_not_in(table, text.as_bytes()));
            }
        }
        assert!(rows_found > 0, "the lake has no row");
        assert!(self.assert_not_in_files(&tracerag.path("lake")) > 0, "the lake has no file");
    }

    /// How many files there were below a folder.
    fn assert_not_in_files(&self, folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).expect("a folder of the lake").map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.file_name().is_none_or(|name| name != "dead_letters.lance"))
            .map(|path| {
                if path.is_dir() {
                    return self.assert_not_in_files(&path);
                }
                self.assert_not_in(&path.display().to_string(), &std::fs::read(&path).expect("a file of the lake"));
                1
            })
            .sum()
    }
}

/// The columns of a table but those that hold the bytes of a record as it came.
fn decoded_columns(tracerag: &Tracerag, table: &str) -> String {
    let query = format!(
        "select column_name from information_schema.columns where table_name = '{table}' \
         and column_name not in ('key', 'headers', 'value')"
    );
    let rows = tracerag.sql(&query);
    let names: Vec<String> =
        rows.iter().filter_map(|row| row["column_name"].as_str()).map(|name| format!("\"{name}\"")).collect();
    assert!(names.iter().any(|name| name == "\"detail\""), "{names:?}");
    names.join(", ")
}

/// Every text of a JSON value, names of members and texts of JSON within texts among them.
fn each_text(value: &Value, see: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => {
            see(text);
            if text.starts_with(['{', '['])
                && let Ok(inner) = serde_json::from_str::<Value>(text)
            {
                each_text(&inner, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each_text(item, see)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            see(name);
            each_text(member, see);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The forms in which a text may be written.
fn forms(text: &str) -> Vec<String> {
    let escaped = |upper: bool| -> String {
        let escape = |c: char| match (c.is_ascii_alphanumeric(), upper) {
            (true, _) => c.to_string(),
            (false, true) => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
            (false, false) => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        text.chars().map(escape).collect()
    };
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        text.to_owned(),
        percent_encoded(text),
        escaped(false),
        escaped(true),
        text.replace('@', "\\u0040"),
        Value::from(text).to_string().trim_matches('"').to_owned(),
    ];
    forms.extend(base64(text).into_iter().filter(|form| form.len() >= LEAST_BASE64));
    forms.extend(Some(hex).filter(|form| form.len() >= LEAST_HEX));
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

/// What base64 has of a text, wherever in a longer one it stands: of each place within three bytes the characters that
/// depend on nothing around it.
fn base64(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let padded = [vec![0; before], text.as_bytes().to_vec()].concat();
        // A character has six bits: those of the bytes before go, and those that the bytes behind have a part in.
        let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        forms.extend([&STANDARD, &URL_SAFE].map(|engine| engine.encode(&padded)[from..to].to_owned()));
    }
    forms
}

/// The forms of a text are found in what writes it so, wherever it stands there.
#[test]
fn texts_are_found_in_all_their_forms() {
    let text = "jane.doe@example.org";
    let personal = Personal::of([text]);
    for around in ["", "a", "ab", "abc"] {
        let whole = format!("{around}{text}{around}");
        for written in [
            whole.clone(),
            STANDARD.encode(&whole),
            URL_SAFE.encode(&whole),
            whole.replace('@', "\\u0040"),
            whole.replace('@', "%40"),
            whole.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ] {
            assert!(personal.is_in(written.as_bytes()), "{written}");
        }
    }
    assert!(!personal.is_in(b"john.doe@example.org"));
}
