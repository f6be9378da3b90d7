//! Which files decide what a run of the tests means: the tests themselves, and what says how they are found and run.
//!
//! A patch that changes them could make everything pass without mending anything, so it may do so by name only. Files are
//! judged as a whole: what a change within one means, only its own tool knows for sure.

use crate::patch::is_test;

/// Files by which tools find tests, choose them, or are told how to run them.
const FILES: [&str; 32] = [
    // Python.
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
    "pyproject.toml",
    "noxfile.py",
    "pytest.py",
    "unittest.py",
    "sitecustomize.py",
    "usercustomize.py",
    // Go: a module within another one takes its folder out of `./...`.
    "go.mod",
    "go.work",
    // Node.js.
    "package.json",
    ".npmrc",
    // Java.
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "gradle.properties",
    "gradlew",
    "mvnw",
    // What a command of one's own may read.
    "Makefile",
    "makefile",
    "GNUmakefile",
    "Justfile",
    "justfile",
    "Taskfile.yml",
    "Taskfile.yaml",
];
/// Runners of tests whose settings stand in files with any ending, such as `jest.config.ts`.
const CONFIGURED: [&str; 8] = [
    "jest.config",
    "vitest.config",
    "vite.config",
    "karma.conf",
    "playwright.config",
    "ava.config",
    ".mocharc",
    ".taprc",
];
/// Folders whose files do the same, or that stand for a runner where its programs look for modules.
const FOLDERS: [&str; 5] = [".mvn", "pytest", "_pytest", "unittest", "node_modules"];

/// Why a patch must not change a file unless that is meant.
pub(crate) fn why(path: &str) -> Option<&'static str> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_configuration = FILES.contains(&name)
        || CONFIGURED
            .iter()
            .any(|stem| name == *stem || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.')))
        || folder.split('/').any(|part| FOLDERS.contains(&part));
    if is_configuration {
        return Some("by which tests are found and run");
    }
    is_test(path).then_some("which is one of the tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs tests and the tests themselves are known in each language; sources are not taken for them.
    #[test]
    fn what_decides_about_tests_is_known() {
        for path in [
            "package.json",
            "web/package.json",
            "shop/conftest.py",
            "pytest.ini",
            "setup.cfg",
            "tox.ini",
            "pyproject.toml",
            "orders/pom.xml",
            ".mvn/maven.config",
            "pytest/__init__.py",
            "payments/go.mod",
            "web/jest.config.ts",
            ".mocharc.json",
            "payments/other_test.go",
            "tests/first.sh",
            "src/test/java/com/acme/OrdersTest.java",
            "web/cart.spec.ts",
            "payments/testdata/golden.txt",
        ] {
            assert!(why(path).is_some(), "{path}");
        }
        for path in [
            "payments/rounding.go",
            "shop/checkout.py",
            "web/contest.js",
            "src/main/java/com/acme/Latest.java",
            "jest.js",
        ] {
            assert_eq!(why(path), None, "{path}");
        }
    }
}
