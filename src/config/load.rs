//! Reading the configuration: file, then environment, then placeholders.

use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::{Table, Value};

use super::Config;

/// Environment variables that are no configuration keys although they begin like one.
const RESERVED: &[&str] = &["TRACERAG_CONFIG", "TRACERAG_TOKEN", "TRACERAG_LOG"];
const PREFIX: &str = "TRACERAG_";

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not readable.
    #[error("cannot read the configuration {path}: {source}; give another with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, has an unknown key or a wrong value.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// With line and column, and what is permitted.
        message: String,
    },
    /// An environment variable has a wrong name or value.
    #[error("environment: {message}")]
    Environment {
        /// The key and what is permitted.
        message: String,
    },
    /// `${...}` cannot be resolved.
    #[error("cannot resolve {placeholder} of {key}: {reason}")]
    Placeholder {
        /// Dotted key.
        key: String,
        /// As written.
        placeholder: String,
        /// Why.
        reason: String,
    },
}

/// What options of the command line say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--lake`.
    pub lake: Option<String>,
    /// `--tenant`.
    pub tenant: Option<String>,
}

impl Config {
    /// Loads `--config`, else `TRACERAG_CONFIG`, else `./tracerag.toml` where it exists, else defaults.
    ///
    /// # Errors
    /// See [`ConfigError`]; an error of the file names the line.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        let named = overrides.config.clone().or_else(|| std::env::var_os("TRACERAG_CONFIG").map(PathBuf::from));
        let path = named.or_else(|| Some(PathBuf::from("tracerag.toml")).filter(|path| path.is_file()));
        let text = match &path {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?
            }
            None => String::new(),
        };
        let variables = std::env::vars().filter(|(name, _)| name.starts_with(PREFIX));
        let mut config = Self::from_parts(path.as_deref().unwrap_or(Path::new("defaults")), &text, variables)?;
        if let Some(lake) = &overrides.lake {
            config.lake.uri.clone_from(lake);
        }
        Ok(config)
    }

    fn from_parts(
        path: &Path,
        text: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let in_file = |error: toml::de::Error| ConfigError::File { path: path.to_owned(), message: error.to_string() };
        let mut table: Table = toml::from_str(text).map_err(in_file)?;
        // The text itself is read first although the merged table is what counts: only errors of the text know lines.
        // Placeholders may stand where a number is wanted, so a text that has some is judged after they are resolved.
        let is_judged = !text.contains("${");
        if is_judged {
            let _: Config = toml::from_str(text).map_err(in_file)?;
        }
        for (name, value) in variables {
            if RESERVED.contains(&name.as_str()) || name.starts_with("TRACERAG_TEST_") {
                continue;
            }
            set(&mut table, &name, value)?;
        }
        resolve(&mut table, "")?;
        Value::Table(table).try_into().map_err(|error: toml::de::Error| match is_judged {
            // The file alone was fine.
            true => ConfigError::Environment { message: error.to_string() },
            false => in_file(error),
        })
    }
}

/// `TRACERAG_KAFKA__BOOTSTRAP_SERVERS` sets `kafka.bootstrap_servers`.
fn set(table: &mut Table, name: &str, value: String) -> Result<(), ConfigError> {
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    let mut path: Vec<&str> = key.split("__").collect();
    let Some(last) = path.pop() else { return Ok(()) };
    let mut current = table;
    for step in path {
        let entry = current.entry(step).or_insert_with(|| Value::Table(Table::new()));
        current = entry.as_table_mut().ok_or_else(|| ConfigError::Environment {
            message: format!("{name}: `{step}` is a value, not a section"),
        })?;
    }
    current.insert(last.to_owned(), typed(value));
    Ok(())
}

/// Lists, tables, numbers and truth values are written as in TOML; everything else is text.
fn typed(value: String) -> Value {
    let wrapped = format!("v = {value}");
    match toml::from_str::<Table>(&wrapped).ok().and_then(|mut table| table.remove("v")) {
        Some(value @ (Value::Array(_) | Value::Table(_) | Value::Integer(_) | Value::Boolean(_) | Value::Float(_))) => {
            value
        }
        _ => Value::String(value),
    }
}

fn resolve(table: &mut Table, prefix: &str) -> Result<(), ConfigError> {
    for (key, value) in table.iter_mut() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        resolve_value(value, &path)?;
    }
    Ok(())
}

fn resolve_value(value: &mut Value, path: &str) -> Result<(), ConfigError> {
    match value {
        Value::String(text) => {
            if let Some(found) = placeholder(text, path)? {
                *text = found;
            }
        }
        Value::Array(items) => {
            for item in items {
                resolve_value(item, path)?;
            }
        }
        Value::Table(table) => resolve(table, path)?,
        _ => {}
    }
    Ok(())
}

fn placeholder(text: &str, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else { return Ok(None) };
    let fail = |reason: String| ConfigError::Placeholder { key: key.to_owned(), placeholder: text.to_owned(), reason };
    match inner.split_once(':') {
        Some(("env", name)) => {
            std::env::var(name).map(Some).map_err(|_| fail(format!("set the environment variable {name}")))
        }
        Some(("file", path)) => std::fs::read_to_string(path)
            .map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            .map_err(|error| fail(format!("{error}; make the file readable or change the path"))),
        _ => Err(fail(String::from("write ${env:NAME} or ${file:/path}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_parts(Path::new("tracerag.toml"), text, variables)
    }

    /// The environment overrides the file, the file the defaults; lists are written as in TOML.
    #[test]
    fn precedence() {
        let text = "[kafka]\ngroup_id = \"a\"\n[window]\nidle_gap = \"3s\"\n";
        let config = load(text, &[("TRACERAG_KAFKA__GROUP_ID", "b"), ("TRACERAG_LAKE__FLUSH_BYTES", "1MiB")]).unwrap();
        assert_eq!(config.kafka.group_id, "b");
        assert_eq!(config.window.idle_gap, super::super::Span::seconds(3));
        assert_eq!(config.lake.flush_bytes.0, 1 << 20);
    }

    /// An unknown key is refused with its line and the permitted keys; so is a wrong value.
    #[test]
    fn mistakes_name_the_line() {
        let error = load("[window]\nidle_gab = \"3s\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("idle_gap"), "{error}");
        let error = load("[lake]\n\nflush_interval = \"soon\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("10m"), "{error}");
        let error = load("", &[("TRACERAG_LAKE__FLUSH_BITES", "1")]).unwrap_err().to_string();
        assert!(error.contains("flush_bites") && error.contains("flush_bytes"), "{error}");
    }

    /// A placeholder that cannot be resolved says which variable or file is wanted.
    #[test]
    fn placeholders() {
        let error = load("[lake]\nuri = \"${env:TRACERAG_TEST_NOT_SET}\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("lake.uri") && error.contains("TRACERAG_TEST_NOT_SET"), "{error}");
    }
}
