//! The shipped example is the configuration's reference: it must say what the program does.

use std::path::{Path, PathBuf};

use tracerag::{Config, Overrides};
use tracerag_ingest::source::Signal;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tracerag.example.toml")
}

fn load(file: &Path) -> Result<Config, tracerag::ConfigError> {
    Config::load(&Overrides { config: Some(file.to_owned()), ..Overrides::default() })
}

/// The whole configuration, with the topics that are read where none are named.
fn shown(mut config: Config) -> String {
    let names = Signal::ALL.map(|signal| Some(config.topics.names(signal)));
    let topics = &mut config.topics;
    [
        topics.spans.topics,
        topics.logs.topics,
        topics.metrics.topics,
        topics.flags.topics,
        topics.deployments.topics,
        topics.heaps.topics,
    ] = names;
    format!("{config:#?}")
}

/// The example is loaded and compared with an empty file. Guarantees that every value in it is the default, so that
/// copying it changes nothing.
#[test]
fn the_example_holds_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("tracerag.toml");
    std::fs::write(&empty, "").unwrap();

    assert_eq!(shown(load(&example()).unwrap()), shown(load(&empty).unwrap()));
}

/// A key that nobody knows is put into each section in turn; the error names the keys that there are, and each of them
/// must stand in that section of the example, set or as a comment. Guarantees that no key is undocumented.
#[test]
fn the_example_has_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tracerag.toml");
    let text = std::fs::read_to_string(example()).unwrap();
    let sections: toml::Table = text.parse().unwrap();
    let names = sections.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.as_str());

    for section in std::iter::once("").chain(names) {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        std::fs::write(&file, format!("{header}no_such_key = 1\n")).unwrap();
        let error = load(&file).unwrap_err().to_string();
        let (_, expected) = error.split_once("expected").unwrap_or_else(|| panic!("no list of keys: {error}"));
        let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() > 1 || section == "metrics", "[{section}]: {error}");

        let body = match text.split_once(&header) {
            Some((_, after)) if !section.is_empty() => after.split("\n[").next().unwrap_or(after),
            _ => &text,
        };
        for key in keys {
            let stands = body.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line == format!("[{key}]") || line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "))
            });
            assert!(stands, "[{section}] {key} is missing in tracerag.example.toml");
        }
    }
}

/// Each configuration in the operators' manual is loaded as a file of its own. Guarantees that what is copied from
/// there is taken; that a client can be made of such settings is a test of the source's.
#[test]
fn the_manuals_configurations_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tracerag.toml");
    let manual = include_str!("../docs/operators.md");
    let blocks: Vec<&str> = manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "the ways to log in are shown");
    for block in blocks {
        std::fs::write(&file, block).unwrap();
        let config = load(&file).unwrap_or_else(|error| panic!("{error} in\n{block}"));
        assert!(config.kafka.options.len() > 1, "{block}");
    }
}
