//! What one line of a stack trace is.

use super::Language;

/// Bytes of one line that are read.
const MAX_LINE: usize = 4096;

/// What .NET writes between an exception and what it wraps, in one line.
pub(super) const ARROW: &str = " ---> ";

type Header<'t> = (&'t str, Option<&'t str>);

/// One line, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'t> {
    /// A call.
    Frame {
        language: Language,
        function: Option<&'t str>,
        file: Option<&'t str>,
        line: Option<i64>,
        column: Option<i64>,
    },
    /// The file of the call in the line before (Rust).
    FileOfFrame { file: &'t str, line: Option<i64>, column: Option<i64> },
    /// A call in Ruby's form, the first of an exception with its message and type.
    Ruby { function: Option<&'t str>, file: &'t str, line: Option<i64>, header: Option<Header<'t>> },
    /// `Traceback (most recent call last):`
    TracebackStarts,
    /// The next exception of the chain.
    Cause { exception_type: &'t str, message: Option<&'t str> },
    /// Java's suppressed exception.
    Suppressed,
    /// .NET: the frames of an inner exception are complete.
    InnerEnds,
    /// Go: the call of `panic`.
    Panic,
    /// `Type: message`
    Header { exception_type: &'t str, message: Option<&'t str> },
    /// None of these.
    Other,
}

/// Reads `raw`; `previous` is the line before it, `language` what the lines so far were.
pub(super) fn read<'t>(raw: &'t str, previous: &'t str, language: Option<Language>) -> Line<'t> {
    let raw = crate::failures::mask::clip(raw, MAX_LINE);
    let indented = raw.starts_with([' ', '\t']);
    // Python draws exception groups with bars.
    let text = raw.trim().trim_start_matches(['|', '+']).trim_start();
    if text.is_empty() {
        return Line::Other;
    }
    if text == "Traceback (most recent call last):" || text == "Exception Group Traceback (most recent call last):" {
        return Line::TracebackStarts;
    }
    for prefix in ["Caused by: ", "[cause]: ", "---> ", "Next "] {
        if let Some((exception_type, message)) = text.strip_prefix(prefix).and_then(header) {
            return Line::Cause { exception_type, message };
        }
    }
    if text.starts_with("Suppressed: ") {
        return Line::Suppressed;
    }
    if text.starts_with("--- End of inner exception stack trace") {
        return Line::InnerEnds;
    }
    python(text)
        .or_else(|| go(raw, text, previous))
        .or_else(|| at(text))
        .or_else(|| php(text))
        .or_else(|| rust(text))
        .or_else(|| ruby(text))
        .or_else(|| {
            let hidden = indented && !matches!(language, Some(Language::Python)) && !raw.contains('|');
            let (exception_type, message) = (!hidden).then(|| header(text)).flatten()?;
            Some(Line::Header { exception_type, message })
        })
        .unwrap_or(Line::Other)
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| *number >= 0 && *number < i64::from(u32::MAX))
}

/// `text:12` and `text:12:5` to text, line and column.
fn position(text: &str) -> (&str, Option<i64>, Option<i64>) {
    let Some((head, last)) = text.rsplit_once(':') else {
        return (text, None, None);
    };
    let Some(last) = number(last) else { return (text, None, None) };
    match head.rsplit_once(':').and_then(|(file, line)| Some((file, number(line)?))) {
        Some((file, line)) => (file, Some(line), Some(last)),
        None => (head, Some(last), None),
    }
}

/// A call of which only the function is told.
fn without_place<'t>(language: Language, function: Option<&'t str>) -> Line<'t> {
    Line::Frame { language, function, file: None, line: None, column: None }
}

/// `File "/app/x.py", line 12, in f`
fn python(text: &str) -> Option<Line<'_>> {
    let (file, rest) = text.strip_prefix("File \"")?.split_once("\", line ")?;
    let (line, function) = match rest.split_once(", in ") {
        Some((line, function)) => (line, Some(function)),
        None => (rest, None),
    };
    Some(Line::Frame {
        language: Language::Python,
        function,
        file: Some(file),
        line: number(line.trim()),
        column: None,
    })
}

/// A line `\t/app/x.go:12 +0x1d` below the line of the function.
fn go<'t>(raw: &'t str, text: &'t str, previous: &'t str) -> Option<Line<'t>> {
    // The last of these is seldom there, and cheaper to ask for than all below.
    if !raw.starts_with([' ', '\t']) || text.starts_with("at ") || !text.contains(".go:") {
        return None;
    }
    let location = text.split(" +0x").next()?;
    let (file, line, _) = position(location);
    if file.ends_with(".go") && line.is_some() {
        let call = previous.trim();
        let call = call.strip_prefix("created by ").unwrap_or(call);
        let call = call.split(" in goroutine ").next().unwrap_or(call);
        let function = without_arguments(call);
        if function == "panic" || function == "runtime.gopanic" {
            return Some(Line::Panic);
        }
        let plain = !function.is_empty() && !function.contains(' ') && function.contains('.');
        return plain.then_some(Line::Frame {
            language: Language::Go,
            function: Some(function),
            file: Some(file),
            line,
            column: None,
        });
    }
    None
}

/// `main.(*T).run(0xc000012345, {0x1, 0x2})` to `main.(*T).run`.
fn without_arguments(call: &str) -> &str {
    let Some(body) = call.strip_suffix(')') else {
        return call;
    };
    let mut depth = 1usize;
    for (at, byte) in body.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &call[..at];
        }
    }
    call
}

/// Java, .NET, JavaScript and Rust write `at ...`.
fn at(text: &str) -> Option<Line<'_>> {
    // Node opens the properties of an error behind its last frame.
    let body = text.strip_prefix("at ")?;
    let body = body.strip_suffix(" {").unwrap_or(body).trim();
    if body.contains(":line ")
        && let Some((call, location)) = body.rsplit_once(" in ")
        && let Some((file, line)) = location.rsplit_once(":line ")
    {
        return Some(Line::Frame {
            language: Language::DotNet,
            function: Some(without_arguments(call)),
            file: Some(file),
            line: number(line),
            column: None,
        });
    }
    let body = body.strip_prefix("async ").unwrap_or(body);
    // Log libraries of Java append the archive: `~[spring-web-5.3.jar:5.3]`.
    let body = match body.contains(") ").then(|| body.rsplit_once(") ")).flatten() {
        Some((call, archive)) if archive.starts_with(['[', '~']) => &body[..=call.len()],
        _ => body,
    };
    let Some(inside_end) = body.strip_suffix(')') else {
        let (file, line, column) = position(body);
        if line.is_none() || file.contains(' ') {
            return None;
        }
        return Some(if file.ends_with(".rs") {
            Line::FileOfFrame { file, line, column }
        } else {
            Line::Frame { language: Language::JavaScript, function: None, file: Some(file), line, column }
        });
    };
    let open = without_arguments(body).len();
    let function = body[..open].trim_end();
    let inside = inside_end.get(open + 1..)?;
    if body[..open].ends_with(' ') {
        let function = function.strip_prefix("new ").unwrap_or(function);
        let function = function.split(" [as ").next().unwrap_or(function);
        let (file, line, column) = position(inside);
        let language = Language::JavaScript;
        return Some(Line::Frame { language, function: Some(function), file: Some(file), line, column });
    }
    if matches!(inside, "Native Method" | "Unknown Source" | "<generated>" | "<Unknown>") {
        return Some(without_place(Language::Java, Some(function)));
    }
    let (file, line, _) = position(inside);
    let is_file = !file.contains([' ', ','])
        && (line.is_some()
            || file == "SourceFile"
            || [".java", ".kt", ".scala", ".groovy", ".clj", ".php"].iter().any(|end| file.ends_with(end)));
    if is_file {
        let language = if file.ends_with(".php") { Language::Php } else { Language::Java };
        return Some(Line::Frame { language, function: Some(function), file: Some(file), line, column: None });
    }
    Some(without_place(Language::DotNet, Some(function)))
}

/// `#0 /app/x.php(12): Shop\Cart->add(Object(Item), 3)`
fn php(text: &str) -> Option<Line<'_>> {
    let (index, rest) = text.strip_prefix('#')?.split_once(' ')?;
    number(index)?;
    if rest == "{main}" {
        return Some(without_place(Language::Php, Some("{main}")));
    }
    let (location, call) = rest.split_once(": ")?;
    let function = Some(call.split('(').next().unwrap_or(call));
    if location == "[internal function]" {
        return Some(without_place(Language::Php, function));
    }
    let (file, line) = location.strip_suffix(')')?.rsplit_once('(')?;
    Some(Line::Frame { language: Language::Php, function, file: Some(file), line: number(line), column: None })
}

/// `12: shop::cart::add`, with an address in between in long traces.
fn rust(text: &str) -> Option<Line<'_>> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) {
        return None;
    }
    let (index, name) = text.split_once(": ")?;
    number(index)?;
    let name = name.trim();
    let name = match name.strip_prefix("0x").and_then(|rest| rest.split_once(" - ")) {
        Some((_, name)) => name,
        None => name,
    };
    let plain = name.contains("::")
        || matches!(name, "main" | "_start" | "start_thread" | "__libc_start_main" | "rust_begin_unwind" | "clone");
    (plain && !name.contains(": ")).then(|| without_place(Language::Rust, Some(name)))
}

/// ``/app/x.rb:12:in `add': message (Shop::CartError)``
fn ruby(text: &str) -> Option<Line<'_>> {
    // Both searches cost more than the one for the quote behind the name.
    if !text.contains('\'') {
        return None;
    }
    let text = text.strip_prefix("from ").unwrap_or(text);
    let (location, rest) = text.split_once(":in `").or_else(|| text.split_once(":in '"))?;
    let (file, line) = location.rsplit_once(':')?;
    let line = Some(number(line)?);
    let (function, behind) = rest.split_once('\'')?;
    let header = behind.strip_prefix(": ").and_then(|behind| {
        let (message, exception_type) = behind.strip_suffix(')')?.rsplit_once(" (")?;
        Some((exception_type, Some(message)))
    });
    Some(Line::Ruby { function: Some(function), file, line, header })
}

/// A cause in the list that Rust's error reports write below `Caused by:`: `0: connection refused`, or the text alone
/// where there is one.
pub(super) fn listed_cause(raw: &str) -> Option<&str> {
    let text = crate::failures::mask::clip(raw, MAX_LINE).trim();
    let is_listed = raw.starts_with([' ', '\t']) && !text.is_empty();
    let numbered = text.split_once(": ").filter(|(index, _)| number(index).is_some()).map(|(_, message)| message);
    is_listed.then(|| numbered.unwrap_or(text))
}

/// Whether a line begins as a call does.
pub(super) fn begins_call(raw: &str) -> bool {
    let text = raw.trim_start();
    text.starts_with("at ") || text.starts_with("File \"")
}

/// Whether a line says that something was left out here. Calls that a cause shares with what it caused are not left
/// out (`... 12 more`), nor are those of a recursion.
pub(super) fn says_left_out(raw: &str) -> bool {
    let text = raw.trim();
    let marks = ["frames elided", "[truncated", "<truncated", "(truncated"];
    matches!(text, "..." | "\u{2026}") || (text.len() <= 200 && marks.iter().any(|mark| text.contains(mark)))
}

/// `Type: message`, with what runtimes put before it.
pub(super) fn header(text: &str) -> Option<Header<'_>> {
    let mut text = text.trim();
    if let Some(rest) = text.strip_prefix("Exception in thread \"") {
        text = rest.split_once("\" ").map_or(rest, |(_, behind)| behind);
    }
    for prefix in ["PHP Fatal error:  ", "Fatal error: ", "Unhandled exception. ", "Uncaught "] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    if let Some(message) = text.strip_prefix("panic: ") {
        return Some(("panic", Some(message)));
    }
    if text.starts_with("thread '")
        && let Some((_, told)) = text.split_once("panicked at ")
    {
        return Some(("panic", panic_message(told)));
    }
    // .NET on one line: the outer exception stands before the arrow.
    if text.contains(ARROW) {
        text = text.split(ARROW).next().unwrap_or(text);
    }
    let (name, message) = match text.split_once(": ") {
        Some((name, message)) => (name, Some(message)),
        None => (text.strip_suffix(':').unwrap_or(text), None),
    };
    let name = without_code(name);
    let letters = name.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$' | b'\\' | b':' | b'*' | b'/' | b'`' | b'-')
    });
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '*' | '\\' | '_'));
    let qualified = name.contains('.') || name.contains('\\') || name.contains("::") || name.starts_with('*');
    let last = name.rsplit(['.', ':', '\\', '$']).next().unwrap_or_default();
    let named = ["Error", "Exception", "Exit", "Interrupt", "Warning", "Failure", "Fault", "Throwable", "Iteration"]
        .iter()
        .any(|end| last.ends_with(end));
    let plausible = letters
        && begins
        && name.len() <= 200
        && (named || (qualified && message.is_some() && last.starts_with(|first: char| first.is_ascii_uppercase())));
    let message = message.map(|message| if named { without_php_position(message) } else { message });
    plausible.then_some((name, message))
}

/// What Rust says of a panic: `'message', src/x.rs:12:5` before 1.73, and `src/x.rs:12:5:` since then, where the message is
/// the next line ([`begins_panic`]).
fn panic_message(told: &str) -> Option<&str> {
    if told.ends_with(':') {
        return None;
    }
    let quoted = told.strip_prefix('\'').and_then(|rest| rest.rsplit_once("', "));
    Some(quoted.map_or(told, |(message, _)| message))
}

/// Whether the next line is the message of a panic in Rust.
pub(super) fn begins_panic(raw: &str) -> bool {
    let text = raw.trim();
    text.starts_with("thread '") && text.ends_with(':') && text.contains("panicked at ")
}

/// .NET puts a code behind a type: `SocketException (111)`, `SqlException (0x80131904)`.
fn without_code(name: &str) -> &str {
    let is_code = |code: &str| {
        let digits = code.strip_prefix("0x").unwrap_or(code);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let behind = name.strip_suffix(')').and_then(|name| name.split_once(" ("));
    behind.filter(|(_, code)| is_code(code)).map_or(name, |(name, _)| name)
}

/// PHP says where: `... in /app/x.php:12`.
fn without_php_position(message: &str) -> &str {
    match message.rsplit_once(" in ") {
        Some((head, location)) if position(location).0.ends_with(".php") => head,
        _ => message,
    }
}
