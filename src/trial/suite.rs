//! How the tests of a repository are run: by the tools of its language, or by a command that was given.

use std::collections::BTreeSet;

use crate::repository::{Commit, Kind};

/// Files by which a module of a language is known, and the command that runs its tests. Of two in one folder the first
/// holds.
const LANGUAGES: [(&str, &[&str]); 8] = [
    ("go.mod", &["go", "test", "./..."]),
    ("pom.xml", &["mvn", "--batch-mode", "test"]),
    ("pyproject.toml", PYTEST),
    ("pytest.ini", PYTEST),
    ("tox.ini", PYTEST),
    ("setup.cfg", PYTEST),
    ("setup.py", PYTEST),
    ("package.json", &["npm", "test"]),
];
const PYTEST: &[&str] = &["python", "-m", "pytest"];

/// A command, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suite {
    /// Below the root of the repository; empty is the root.
    pub folder: String,
    pub command: Vec<String>,
}

impl Suite {
    /// A command as a shell reads it, at the root.
    pub(super) fn given(command: &str) -> Self {
        let words = ["sh", "-c", command];
        Self { folder: String::new(), command: words.map(str::to_owned).to_vec() }
    }

    /// The tests of the module that the new test's files lie in; `None` where they lie in none or in several.
    pub(super) fn of(commit: &Commit, tests: &[String]) -> Option<Self> {
        let found: Option<BTreeSet<(String, &'static [&'static str])>> =
            tests.iter().map(|test| of_file(commit, test)).collect();
        let mut found = found?.into_iter();
        match (found.next(), found.next()) {
            (Some((folder, command)), None) => {
                Some(Self { folder, command: command.iter().map(|word| (*word).to_owned()).collect() })
            }
            _ => None,
        }
    }
}

/// The nearest folder above a file that is a module.
fn of_file(commit: &Commit, file: &str) -> Option<(String, &'static [&'static str])> {
    let is_file = |path: &str| commit.files.get(path).is_some_and(|entry| entry.kind == Kind::File);
    let mut below = file;
    loop {
        let folder = below.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if let Some((_, command)) = LANGUAGES.into_iter().find(|(name, _)| is_file(&path(name))) {
            return Some((folder.to_owned(), command));
        }
        if folder.is_empty() {
            // A program in Python needs none of these files.
            return file.ends_with(".py").then(|| (String::new(), PYTEST));
        }
        below = folder;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repository::Repository;
    use crate::repository::tests::TestRepository;

    /// The module is the nearest above the test, in whichever language; a test in two modules, or in none, has no command.
    #[test]
    fn the_command_is_that_of_the_module() {
        let made = TestRepository::of(&[
            ("package.json", "{}"),
            ("payments/go.mod", "module payments\n"),
            ("orders/pom.xml", "<project/>"),
            ("shop/pyproject.toml", ""),
        ]);
        let commit = Repository::open(made.path()).unwrap().commit(&made.head()).unwrap();
        let of = |tests: &[&str]| {
            let tests: Vec<String> = tests.iter().map(|test| (*test).to_owned()).collect();
            Suite::of(&commit, &tests).map(|suite| (suite.folder, suite.command.join(" ")))
        };
        for (test, folder, command) in [
            ("payments/scaffold/trace_test.go", "payments", "go test ./..."),
            ("orders/src/test/java/OrdersTest.java", "orders", "mvn --batch-mode test"),
            ("shop/tests/test_cart.py", "shop", "python -m pytest"),
            ("web/cart.test.js", "", "npm test"),
        ] {
            assert_eq!(of(&[test]), Some((folder.to_owned(), command.to_owned())), "{test}");
        }
        assert_eq!(of(&["payments/a_test.go", "shop/test_a.py"]), None);
        assert_eq!(of(&[]), None);
    }
}
