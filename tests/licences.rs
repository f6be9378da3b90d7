//! Every crate that is linked in has a licence that `deny.toml` allows.

use std::collections::HashSet;
use std::process::Command;

/// Asks cargo for the licence of every package in the lock file and reads each expression against the allowed list
/// and the exceptions of `deny.toml`. Guarantees that no dependency comes in under other terms, on machines without
/// cargo-deny too.
#[test]
fn every_licence_is_allowed() {
    let rules: toml::Table = include_str!("../deny.toml").parse().unwrap();
    let licences = rules["licenses"].as_table().unwrap();
    let allowed: HashSet<&str> = licences["allow"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    let exceptions: HashSet<&str> =
        licences["exceptions"].as_array().unwrap().iter().map(|e| e["crate"].as_str().unwrap()).collect();

    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();

    let refused: Vec<String> = packages
        .iter()
        .map(|package| (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none stated")))
        .filter(|(name, licence)| !exceptions.contains(name) && !holds(licence, &allowed))
        .map(|(name, licence)| format!("{name}: {licence}"))
        .collect();
    assert!(packages.len() > 20, "cargo metadata names the dependencies");
    assert!(refused.is_empty(), "not allowed by deny.toml:\n{}", refused.join("\n"));
}

/// A few expressions by hand, the old slash and nested parentheses among them. Guarantees that the reader of
/// expressions neither lets everything through nor nothing.
#[test]
fn expressions_are_read_as_spdx_says() {
    let allowed = HashSet::from(["MIT", "BSD-3-Clause", "Apache-2.0 WITH LLVM-exception"]);
    for yes in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(GPL-3.0 OR MIT) AND BSD-3-Clause",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(holds(yes, &allowed), "{yes}");
    }
    for no in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT OR BSD-3-Clause) AND GPL-3.0", "none stated", ""] {
        assert!(!holds(no, &allowed), "{no}");
    }
}

/// Whether an SPDX expression can be met with `allowed` licences. `AND` binds tighter than `OR`; a slash is an old `OR`.
fn holds(expression: &str, allowed: &HashSet<&str>) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    any(&words, &mut at, allowed) && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &HashSet<&str>) -> bool {
    let mut value = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        // Read the other side whatever the value is.
        value |= all(words, at, allowed);
    }
    value
}

fn all(words: &[&str], at: &mut usize, allowed: &HashSet<&str>) -> bool {
    let mut value = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        value &= one(words, at, allowed);
    }
    value
}

fn one(words: &[&str], at: &mut usize, allowed: &HashSet<&str>) -> bool {
    let Some(&word) = words.get(*at) else { return false };
    *at += 1;
    if word == "(" {
        let value = any(words, at, allowed);
        *at += 1;
        return value;
    }
    if let (Some(&"WITH"), Some(exception)) = (words.get(*at), words.get(*at + 1)) {
        *at += 2;
        return allowed.contains(format!("{word} WITH {exception}").as_str());
    }
    allowed.contains(word)
}
