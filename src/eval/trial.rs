//! Whether a test is red and a patch makes it green: in trees that are thrown away, at the commit of the build.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tracerag_query::untrusted::line;

use super::place::Place;
use super::suite::{Runner, Suite};
use crate::error::Error;
use crate::patch::parse;
use crate::repository::Repository;
use crate::trial::{Ground, Tried, harness};

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The tests that a diff adds.
    Added,
    /// All that the commit has.
    Others,
}

/// How a run of tests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Green,
    Red,
    /// A diff cannot be read or does not apply, so nothing ran.
    DoesNotApply,
    /// The patch changes tests, or what they are found and run by, so nothing ran: green would say nothing.
    Refused,
    /// No runner of the suite knows the files of the test, or there is none.
    NoTest,
    TimedOut,
}

/// Runs tests of one suite in one place.
#[derive(Debug)]
pub(crate) struct Trials<'a> {
    pub suite: &'a Suite,
    pub place: &'a Place,
    /// That of the place.
    pub repository: &'a Repository,
    pub ground: &'a Ground<'a>,
}

impl Trials<'_> {
    /// Runs tests at a commit with diffs applied, of which `test` adds the tests. The verdict, and what was printed.
    ///
    /// # Errors
    /// When a program of the suite does not start, or a variable that it names is not set.
    pub(crate) fn run(
        &self,
        commit: &str,
        diffs: &[&str],
        test: &str,
        which: Which,
    ) -> Result<(Verdict, String), Error> {
        if test.trim().is_empty() {
            return Ok((Verdict::NoTest, String::new()));
        }
        if let Some(why) = diffs.iter().find_map(|diff| parse(diff).err()) {
            return Ok((Verdict::DoesNotApply, why.to_string()));
        }
        let added = match files(test) {
            Ok(added) => added,
            Err(why) => return Ok((Verdict::DoesNotApply, why)),
        };
        let Some(runner) =
            self.suite.runner.iter().find(|runner| added.iter().any(|file| file.ends_with(&runner.suffix)))
        else {
            return Ok((Verdict::NoTest, String::new()));
        };
        let program = self.command(runner, which, test, &added)?;
        let ran = match self.ground.run(&self.repository.commit(commit)?, diffs, "", &program)? {
            Tried::Ran(ran) => ran,
            Tried::DoesNotApply(why) => return Ok((Verdict::DoesNotApply, why)),
        };
        let verdict = match ran.status {
            None => Verdict::TimedOut,
            Some(status) if status.success() => Verdict::Green,
            Some(_) => Verdict::Red,
        };
        Ok((verdict, ran.printed.text()))
    }

    /// Why a patch counts for nothing beside the test of its incident; `None` where it may be tried.
    pub(crate) fn refusal(&self, patch: &str, test: &str) -> Option<String> {
        let named: Vec<String> = self.suite.harness.iter().map(|path| self.place.text(path)).collect();
        refusal(patch, test, &named)
    }

    fn command(&self, runner: &Runner, which: Which, test: &str, added: &[String]) -> Result<Vec<String>, Error> {
        let words = match which {
            Which::Added => &runner.test,
            Which::Others => &runner.others,
        };
        let modules: Vec<String> = added.iter().map(|file| module(file)).collect();
        let suite = std::path::absolute(&self.suite.folder).unwrap_or_else(|_| self.suite.folder.clone());
        let mut filled = Vec::new();
        for word in words {
            match word.as_str() {
                "{modules}" => filled.extend(modules.iter().cloned()),
                "{files}" => filled.extend(added.iter().cloned()),
                word => {
                    // Folders and packages of the source may be renamed; what is outside of it is not.
                    let is_outside = word.contains("${env:") || word.contains("{suite}");
                    let word = if is_outside { word.to_owned() } else { self.place.text(word) };
                    let word = word.replace("{names}", &functions(test).join("|"));
                    filled.push(variables(&word.replace("{suite}", &suite.to_string_lossy()))?);
                }
            }
        }
        Ok(filled)
    }
}

/// `${env:NAME}` by the variable.
fn variables(word: &str) -> Result<String, Error> {
    let mut filled = String::new();
    let mut rest = word;
    while let Some((before, behind)) = rest.split_once("${env:") {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        let value = std::env::var(name).map_err(|_| {
            Error::Usage(format!("the suite runs its tests with ${{env:{name}}}, which is not set; its README says how, or leave the tests out with --no-tests"))
        })?;
        filled.push_str(before);
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether a patch changes files of the test, other tests, or what tests are found and run by; `named` are files and
/// folders of which the suite says that they are. A diff that cannot be read is not refused, for it does not apply.
fn refusal(patch: &str, test: &str, named: &[String]) -> Option<String> {
    let (changed, tested) = (files(patch).ok()?, files(test).unwrap_or_default());
    let why = |file: &String| {
        if tested.contains(file) {
            Some("which is a file of the incident's test")
        } else if named.iter().any(|path| Path::new(file).starts_with(path)) {
            Some("with which the suite runs its tests")
        } else {
            harness::why(file)
        }
    };
    changed.iter().find_map(|file| Some(format!("the patch changes {}, {}", line(file), why(file)?)))
}

/// The files that a diff adds or changes; why it cannot be read.
fn files(diff: &str) -> Result<Vec<String>, String> {
    let files = parse(diff).map_err(|error| error.to_string())?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

/// Lines that a diff adds and takes away; `None` for one that cannot be read.
pub(crate) fn size(diff: &str) -> Option<usize> {
    Some(parse(diff).ok()?.iter().map(|file| file.added + file.deleted).sum())
}

/// The names of Go's test functions that a diff adds.
fn functions(diff: &str) -> Vec<&str> {
    let declared = diff.lines().filter_map(|line| line.strip_prefix("+func ")?.split_once('('));
    declared.map(|(name, _)| name).filter(|name| name.starts_with("Test")).collect()
}

/// `unittests/test_a.py` as `unittests.test_a`.
fn module(file: &str) -> String {
    Path::new(file).with_extension("").to_string_lossy().replace('/', ".")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/pay/a_test.go b/pay/a_test.go\nnew file mode 100644\n--- /dev/null\n+++ b/pay/a_test.go\n\
                        @@ -0,0 +1,3 @@\n+package pay\n+func TestOne(t *testing.T) {}\n+func helper() {}\n";

    /// What a diff adds is read from it: files, size, tests, modules.
    #[test]
    fn diffs_tell_their_tests() {
        assert_eq!(files(DIFF).unwrap(), ["pay/a_test.go"]);
        assert_eq!(size(DIFF), Some(3));
        assert_eq!(functions(DIFF), ["TestOne"]);
        assert_eq!(module("unittests/test_a.py"), "unittests.test_a");
        assert!(files("no diff").is_err() && size("no diff").is_none());
    }

    /// Patches that change the test of the incident, another test, what tests are run by, or what the suite names for
    /// that. Guarantees that none is tried, by whichever of its files, and that a patch of a source beside them is.
    #[test]
    fn patches_leave_tests_alone() {
        let changes = |path: &str| {
            format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-limit = 18\n+limit = 40\n")
        };
        let named = [String::from("story"), String::from("shop/run.sh")];
        let refused = |patch: &str| refusal(patch, DIFF, &named);
        for (path, why) in [
            ("pay/a_test.go", "the incident's test"),
            ("pay/b_test.go", "one of the tests"),
            ("unittests/__init__.py", "one of the tests"),
            ("pay/go.mod", "found and run"),
            ("sitecustomize.py", "found and run"),
            ("story/plan.py", "the suite runs"),
            ("shop/run.sh", "the suite runs"),
        ] {
            let told = refused(&format!("{}{}", changes("pay/a.go"), changes(path))).unwrap_or_default();
            assert!(told.contains(path) && told.contains(why), "{path}: {told:?}");
        }
        for path in ["pay/a.go", "storyline.py", "shop/run.sh.py"] {
            assert_eq!(refused(&changes(path)), None, "{path}");
        }
        assert_eq!(refused("no diff"), None);
    }

    /// A variable that is not set is named, not taken for nothing.
    #[test]
    fn variables_have_to_be_set() {
        assert_eq!(variables("plain").unwrap(), "plain");
        let told = variables("a ${env:TRACERAG_NEVER_SET} b").unwrap_err().to_string();
        assert!(told.contains("TRACERAG_NEVER_SET"), "{told}");
        assert_eq!(variables("-${env:PATH}-").unwrap(), format!("-{}-", std::env::var("PATH").unwrap()));
    }
}
