//! What is known of a trace beside its frames: columns, listed causes, whether it is minified or cut, and that damaged
//! text does no harm.

use super::*;

/// One trace of each language, each with a cause where the language prints one.
const SAMPLES: &[&str] = &[
    "org.shop.A: x\n\tat org.shop.B.c(B.java:41)\n\t... 2 more\nCaused by: org.shop.D: y\n\tat org.shop.D.e(D.java:1)\n",
    "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\n    g()\nKeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/app/a.py\", line 3, in h\n    f()\nshop.Missing: no item\n",
    "goroutine 18 [running]:\npanic({0x6e1240, 0x1})\n\t/usr/local/go/src/runtime/panic.go:785 +0x132\nshop/cart.(*Cart).Add(0xc1, {0x1})\n\t/src/cart/cart.go:57 +0x1d\ncreated by main.main in goroutine 1\n\t/src/main.go:11 +0x1f\n",
    "TypeError: x\n    at Cart.total (/app/src/cart.js:12:5)\n    at /app/src/r.js:30:11 {\n  [cause]: Error: y\n      at f (node:net:1:2)\n}\n",
    "A.B: x ---> C.D: y\n   at A.E.F(String g) in /src/E.cs:line 14\n   --- End of inner exception stack trace ---\n   at A.H.<I>d__7.MoveNext() in C:\\src\\H.cs:line 40\n",
    "/app/a.rb:12:in `block in add': no price (Shop::E)\n\tfrom /app/b.rb:8:in 'run'\n/app/c.rb:3:in `fetch': key (KeyError)\n",
    "Uncaught PDOException: x in /app/D.php:9\nStack trace:\n#0 /app/D.php(9): PDO->query('S')\n#1 {main}\n\nNext Shop\\E: y in /app/O.php:20\nStack trace:\n#0 [internal function]: Shop\\O->load(7)\n",
    "Error: x\n\nCaused by:\n    0: y\n    1: z\n\nStack backtrace:\n   0: shop::a::h0123456789abcdef\n             at ./src/a.rs:12:9\n",
];

fn chain(trace: &StackTrace) -> Vec<(Option<&str>, Option<&str>)> {
    trace.sections.iter().map(|section| (section.exception_type.as_deref(), section.message.as_deref())).collect()
}

/// Columns are kept where the language prints them, of a Rust frame from the line below it.
#[test]
fn columns() {
    let node = parse("Error: x\n    at f (/app/a.js:12:5)\n    at /app/b.js:3:1\n    at Array.map (native)");
    assert_eq!(node.frames().map(|frame| frame.column).collect::<Vec<_>>(), [Some(5), Some(1), None]);
    let rust = parse("stack backtrace:\n   0: shop::f\n             at ./src/a.rs:12:9");
    assert_eq!(rust.frames().map(|frame| (frame.line, frame.column)).collect::<Vec<_>>(), [(Some(12), Some(9))]);
    let java = parse("a.B: x\n\tat org.shop.B.c(B.java:41)");
    assert_eq!(java.frames().map(|frame| (frame.line, frame.column)).collect::<Vec<_>>(), [(Some(41), None)]);
}

/// The list below `Caused by:` is the chain, and the backtrace behind it that of the error itself; a single cause has
/// no number, and a first line that is no name is what the error says.
#[test]
fn listed_causes() {
    let numbered = parse(SAMPLES[7]);
    assert_eq!(chain(&numbered), [(Some("Error"), Some("x")), (None, Some("y")), (None, Some("z"))]);
    assert_eq!(numbered.sections[0].frames.len(), 1);
    let single = parse("cannot charge\n\nCaused by:\n    connection refused\n\nStack backtrace:\n   0: shop::charge\n");
    assert_eq!(chain(&single), [(None, Some("cannot charge")), (None, Some("connection refused"))]);
}

/// A trace that a limit has cut is said to be so: within a call, before Python's last line, or where it says itself
/// that calls are missing. A whole one is not, nor one that leaves out calls which it has already shown.
#[test]
fn truncated_traces() {
    for text in SAMPLES {
        assert!(!parse(text).truncated, "{text}");
    }
    for text in [
        "org.shop.A: x\n\tat org.shop.B.c(B.java:41)\n\tat org.shop.Che",
        "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\n    g()\n",
        "main.f(0x1)\n\t/src/main.go:9 +0x1\n...additional frames elided...\n",
        "Error: x\n    at f (/app/a.js:12:5)\n[truncated]",
        "Error: x\n    at f (/app/a.js:12:5)\n    at g (/app/b.j",
    ] {
        assert!(parse(text).truncated, "{text}");
    }
    let long = "\tat org.shop.B.c(B.java:41)\n".repeat(MAX_FRAMES + 1);
    assert!(parse(&format!("a.B: x\n{long}")).truncated);
    assert!(!parse("at noon we met").truncated);
}

/// Minified JavaScript shows by its files or its columns, renamed Java by its names; libraries do not count beside code
/// of the application.
#[test]
fn minified_traces() {
    for text in [
        "TypeError: x\n    at t (https://shop.example/static/main.4f3a2b1c.js:1:48213)",
        "TypeError: x\n    at n (https://shop.example/vendor.min.js?v=3:2:13)",
        "a.b.c: x\n\tat a.b.c.d(SourceFile:12)",
        "a.b.c: x\n\tat a.b.c.d(Unknown.java:12)",
    ] {
        assert!(parse(text).is_minified(), "{text}");
    }
    for text in SAMPLES {
        assert!(!parse(text).is_minified(), "{text}");
    }
    let library = "TypeError: x\n    at f (/app/a.js:3:5)\n    at g (/app/node_modules/l/l.min.js:1:9000)";
    assert!(!parse(library).is_minified());
}

/// Texts of the greatest length, each made to be looked at again and again, are read once: a search that went back
/// would not end here.
#[test]
fn hostile_texts_end() {
    for piece in [
        "at (",
        "at a)",
        "(((",
        ")))",
        ": ",
        ":1",
        " ---> A.B: x",
        "Caused by: ",
        "Caused by:\n x\n",
        "at f (a:1:1)\n",
        "File \"x\", line 1, in f\n",
        "#0 a(1): b\n",
        "0: a::b\n",
        "a:1:in `b'\n",
        "| ",
        "Error: ",
        "\tx.go:1\n",
        " in ",
    ] {
        let trace = parse(&piece.repeat(MAX_TEXT / piece.len() + 1));
        assert!(trace.frames().count() <= MAX_FRAMES && trace.sections.len() <= MAX_SECTIONS, "{piece:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Traces of all languages that were cut, doubled, mixed and written over anywhere are read without a panic and
    /// within the bounds, and every frame has a key.
    #[test]
    fn mutated_traces_do_no_harm(
        first in prop::sample::select(SAMPLES),
        second in prop::sample::select(SAMPLES),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "\\PC{0,3}"), 0..8),
    ) {
        let mut letters: Vec<char> = first.chars().chain(second.chars()).collect();
        for (at, length, written) in edits {
            let at = at.index(letters.len().max(1)).min(letters.len());
            let end = (at + length).min(letters.len());
            drop(letters.splice(at..end, written.chars()));
        }
        let text: String = letters.into_iter().collect();
        let trace = parse(&text);
        prop_assert!(trace.frames().count() <= MAX_FRAMES && trace.sections.len() <= MAX_SECTIONS);
        prop_assert_eq!(trace.language.is_some(), !trace.is_empty());
        for frame in trace.frames() {
            prop_assert!(trace.language.is_some_and(|language| frame_key(frame, language).contains('@')));
        }
    }
}
