//! Code out of repositories that are made for the test.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::repository::tests::{ROUNDING, TestRepository, bundle};

fn repositories(service: &str, made: &TestRepository) -> Repositories {
    Repositories::from([(service.to_owned(), Repository::open(made.path()).unwrap())])
}

/// The function round the cited lines is taken from the commit that ran, not from what the repository has by now, once
/// for both lines; they are marked, and the repository is told in a line.
#[test]
fn functions_are_those_of_the_commit_that_ran() {
    let made = TestRepository::of(&[("go.mod", "module payments\n"), ("payments/rounding.go", ROUNDING)]);
    let sha = made.head();
    made.write("payments/rounding.go", "package payments\n");
    made.commit();
    let frames =
        [("/app/payments/rounding.go", 5, "payments.Round"), ("/app/payments/rounding.go", 7, "payments.Round")];
    let bundle = bundle(&sha, &frames);
    for service in ["payments", EVERY_SERVICE] {
        let code = gather(&bundle, &repositories(service, &made), &[]).unwrap();
        assert_eq!(code.slices.len(), 1, "{code:?}");
        let slice = &code.slices[0];
        assert_eq!(slice.language, "go");
        let wanted = "     3  func Round(x int) int {\n     4  \tif x > 9 {\n>    5  \t\tpanic(\"overflow\")\n     6  \t}\n\
                      >    7  \treturn x\n     8  }\n";
        assert_eq!(slice.text, wanted);
        assert!(slice.title.contains("function Round") && slice.title.contains(&sha[..12]), "{}", slice.title);
        assert!(slice.title.contains(":5@") && slice.title.contains(":7@"), "{}", slice.title);
        assert_eq!(code.repositories, [format!("payments at {sha}: 2 files; .go 1, .mod 1; payments/ 1; go.mod")]);
        assert_eq!(code.notes, Vec::<String>::new());
    }
}

/// What has no code is told: a service without a repository, a file that may be two, one that is not there, a line beyond
/// the end. A commit that is not there is an error.
#[test]
fn what_has_no_code_is_told() {
    let made = TestRepository::of(&[("a/x.go", "package a\n"), ("b/x.go", "package b\n"), ("c.go", "package c\n")]);
    let frames = [("/z/x.go", 1, "f"), ("gone.go", 1, "f"), ("c.go", 40, "f")];
    let cites = bundle(&made.head(), &frames);
    let code = gather(&cites, &repositories("payments", &made), &[]).unwrap();
    assert_eq!(code.slices, vec![]);
    for wanted in ["ambiguous, it may be a/x.go, b/x.go", "no such file", "no line 40"] {
        assert!(code.notes.iter().any(|note| note.contains(wanted)), "{wanted}: {:?}", code.notes);
    }
    let none = gather(&cites, &repositories("other", &made), &[]).unwrap();
    assert!(none.notes[0].contains("payments: 3 cited lines"), "{:?}", none.notes);
    let foreign = bundle(&"ab".repeat(20), &frames);
    let error = gather(&foreign, &repositories("payments", &made), &[]).unwrap_err();
    assert!(matches!(error, RepositoryError::NoCommit { .. }), "{error}");
}

/// Of a function of many lines those round the cited one are shown, and fewer in the short form.
#[test]
fn long_functions_are_cut_round_the_line() {
    let body: String = (0..500).map(|number| format!("\tx{number} := {number}\n")).collect();
    let made = TestRepository::of(&[("c.go", &format!("package c\n\nfunc F() {{\n{body}}}\n"))]);
    let code = gather(&bundle(&made.head(), &[("c.go", 250, "f")]), &repositories("payments", &made), &[]).unwrap();
    let slice = &code.slices[0];
    assert_eq!(slice.text.lines().count(), MOST_LINES + 1);
    assert_eq!(slice.shorter.as_ref().unwrap().lines().count(), 2 * FEW_AROUND + 1);
    assert!(slice.text.contains(">  250") && slice.title.contains("lines 3 to 504"), "{slice:?}");
}
