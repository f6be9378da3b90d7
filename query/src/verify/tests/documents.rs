//! How a document is read: what its reader sees is checked, in whatever marks it stands.

use super::*;

/// A claim that is accepted by itself.
const TRUE: &str = "payments failed [span:$pay] `status(span:$pay) = ERROR`.\n";
/// A text that says what is false, with nothing that bears it out.
const FALSE: &str = "checkout never failed and payments ran flawlessly with version 9.9.9.";

/// Documents in which a true claim stands beside a false text, for `$false`, that is shown to whoever reads them.
const SHOWN: &[&str] = &[
    "$false",
    "````\n```\n````\n\n$false\n\n````\n```\n````",
    "````\n```\n````\n\n$false\n\n```",
    "```\n~~~```\n\n```\n\n$false\n\n```",
    "```x``` is code\n$false\n\n```",
    "    ```\n\n$false\n\n    ```",
    "\t```\n\n$false\n\n\t```",
    "> ```\n\n$false\n\n> ```",
    "- payments\n\n  ```\n\n$false\n\n  ```",
    "~~~\r~~~\n\n$false\n\n~~~",
    "    <!--\n\n$false\n\n    -->",
    "<!-->\n$false\n\n<!-- -->",
    "<!--->\n$false\n\n<!-- x -->",
    "<!-- --!>\n$false\n-->",
    "- payments\n  <!--\n$false\n  -->",
    "<div> payments\n```\n$false\n```",
    "<pre>\n```\n$false\n```\n</pre>",
    "payments failed [span:$pay](checkout never failed) `status(span:$pay) = ERROR`.",
    "payments failed [span:$pay](https://x/ \"checkout never failed\") `status(span:$pay) = ERROR`.",
    "payments failed [span:$pay]: [[log:1](x)](never-failed) `status(span:$pay) = ERROR`.",
    "payments did n&shy;ot fail [span:$pay] `status(span:$pay) = ERROR`.",
    "payments did n&zwj;ot fail [span:$pay] `status(span:$pay) = ERROR`.",
    "payments did <!-- not --> run ok [span:$pay] `status(span:$pay) != OK`.",
    "payments did ~~not~~ run ok [span:$pay] `status(span:$pay) != OK`.",
    "payments took 2*1 s [span:$pay] `duration(span:$pay) = 2s`.",
    "payments failed [span:$pay] `status(span:$pay) = ERROR` and took\n9000. s [span:$pay] `status(span:$pay) = ERROR`.",
    "# n&shy;obody broke anything",
];

/// Beside a true claim, no false text is overseen that some program shows, by whatever marks of Markdown it is hidden
/// from a simpler reader. Without it, each document's true claim is accepted.
#[test]
fn nothing_that_is_shown_is_overseen() {
    assert!(judged(TRUE).all_hold);
    for shown in SHOWN {
        let document = text(&format!("{TRUE}\n{}\n", shown.replace("$false", FALSE)));
        let holds =
            Document::read(&document).is_ok_and(|read| verify(&Subject::known(bundle()), "acme", &read).all_hold);
        assert!(!holds, "{document}");
    }
}

/// What a language model writes beside its claims is left out: code, comments, headings of each form, in lists or not.
#[test]
fn what_states_nothing_is_left_out() {
    for beside in [
        "```\n$false\n```",
        "~~~~text\n$false\n```\n~~~~",
        "1. payments failed [span:$pay] `status(span:$pay) = ERROR`\n\n   ```\n   $false\n   ```\n",
        "<!-- $false -->",
        "<!--\n$false\n-->",
        "Root cause\n==========",
        "Root cause\n---",
        "| What | Where |\n|---|---|\n| payments failed | [span:$pay] `status(span:$pay) = ERROR` |",
        "**payments** failed [`span:$pay`](https://x.y/z?a=b) `` status(span:$pay) = ERROR ``.",
        "What was it?",
    ] {
        let report = judged(&format!("{TRUE}\n{}\n", beside.replace("$false", FALSE)));
        assert!(report.all_hold, "{beside}: {:?}", report.claims);
    }
}

/// Each row is a claim in Markdown, and the checks that reject it; none where it is accepted.
const CLAIMS: &[(&str, &str)] = &[
    // Quotes, in the marks of each language.
    (r#"payments logged 'decimal overflow' [log:2]."#, ""),
    (r#"payments logged „decimal overflow“ [log:2]."#, ""),
    (r#"payments logged «decimal overflow» [log:2]."#, ""),
    (r#"payments logged 'disk full' and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "quote"),
    (r#"payments logged ‘disk full’ and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "quote"),
    (r#"payments logged ‚disk full‘ and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "quote"),
    (r#"payments logged „disk full“ and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "quote"),
    (r#"payments logged «disk full» and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "quote"),
    (r#"payments logged »disk full« and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "quote"),
    (r#"payments logged «disk full and failed [log:2] [span:$pay] `status(span:$pay) = ERROR`."#, "claims"),
    (r#"`payments`'s span failed [span:$pay] `status(span:$pay) = ERROR`."#, ""),
    // Numbers in words, and zero.
    (r#"payments took two seconds [span:$pay] `duration(span:$pay) = 2s`."#, ""),
    (r#"payments took two thousand milliseconds [span:$pay] `duration(span:$pay) = 2s`."#, ""),
    (r#"payments took eighty seconds [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    (r#"payments took a minute [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    (r#"payments took an hour [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    (r#"payments took 0 minutes [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    (r#"payments took 0 h [span:$pay] `duration(span:$pay) = 2s`."#, "names"),
    (r#"payments took more than a second [span:$pay] `duration(span:$pay) > 1s`."#, ""),
    (r#"payments took more than a minute [span:$pay] `duration(span:$pay) > 1s`."#, "names"),
    (r#"payments has thirteen failures [failure:0] `failures("abcd") = 1`."#, "names"),
    (r#"payments has dozens of failures [failure:0] `failures("abcd") = 1`."#, "names"),
    (r#"payments failed twenty-five times [failure:0] `failures("abcd") = 1`."#, "names"),
    (r#"payments held 3840 kB [heap:0] `heap_bytes(heap:0, "decimal.Big") = 3840000`."#, ""),
    // What is set to what.
    (
        r#"payments.decimal_mode=strict was in effect [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "",
    ),
    (
        r#"payments ran with `payments.decimal_mode=strict` [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "",
    ),
    (
        r#"payments.decimal_mode=lenient was in effect [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "contradiction names",
    ),
    (
        r#"payments ran with `payments.decimal_mode=lenient` [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "contradiction names",
    ),
    (
        r#"payments ran with rounding=strict [flag:payments.decimal_mode] `flag("payments.decimal_mode") = "strict"`."#,
        "names",
    ),
];

/// Every claim of the table is accepted, or rejected by exactly the checks that the table says.
#[test]
fn words_are_read_as_they_are_meant() {
    let mut wrong = Vec::new();
    for (claim, wanted) in CLAIMS {
        let report = judged(claim);
        let checks: std::collections::BTreeSet<String> = report
            .claims
            .iter()
            .flat_map(|claim| &claim.reasons)
            .map(|reason| check(&reason.to_string()).to_owned())
            .collect();
        let checks = checks.into_iter().collect::<Vec<_>>().join(" ");
        if report.claims.len() != 1 || checks != *wanted {
            wrong.push(format!("{claim}: {wanted:?} is wanted, and it has {:?}", report.claims));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In JSON, too, quotes stand in any marks, and a text has words.
#[test]
fn json_texts_are_read_alike() {
    let subject = Subject::known(bundle());
    let id = subject.bundle_id().unwrap().to_owned();
    for (text, wanted) in [
        ("payments failed", ""),
        ("payments's call failed, it didn't work", "contradiction"),
        ("payments logged 'disk full'", "names"),
        ("payments logged «disk full»", "names"),
        ("payments logged «disk full", "claims"),
        ("!!!", "claims"),
        ("2", "claims"),
    ] {
        let claim = json!({"id": "c1", "text": text, "anchors": ["span:b7ad6b7169203331"],
            "predicates": ["status(span:b7ad6b7169203331) = ERROR"]});
        let reasons = verify(&subject, "acme", &document(&id, claim)).claims.remove(0).reasons;
        assert!(reasons.is_empty() == wanted.is_empty(), "{text}: {reasons:?}");
        assert!(
            wanted.is_empty() || reasons.iter().any(|reason| check(&reason.to_string()) == wanted),
            "{text}: {reasons:?}"
        );
    }
}
