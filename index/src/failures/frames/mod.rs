//! Stack traces as text, in the forms of eight languages, to frames.
//!
//! In: the text of `exception.stacktrace`, or a log body that holds a trace. Out: one [`Section`] an
//! exception of the chain, the outermost (the one that was recorded) first, each with its frames, the
//! innermost (where it was thrown) first - whatever order the language prints them in. Text that no
//! form fits gives no frames; nothing here fails. Time is linear in the text.

mod in_app;
mod lines;
mod minified;
mod normal;

pub use in_app::InAppRules;
pub use normal::FrameKeys;

use lines::Line;

/// Frames kept of one trace, over all its sections.
pub const MAX_FRAMES: usize = 128;
/// Bytes of a text that are read.
const MAX_TEXT: usize = 256 * 1024;
/// Frames read of one section before the order of its language is known.
const MAX_READ: usize = 4096;
/// Exceptions of one chain.
const MAX_SECTIONS: usize = 32;
const MAX_FUNCTION: usize = 256;
const MAX_FILE: usize = 512;
const MAX_HEADER: usize = 4096;

/// Whose form a trace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Java, Kotlin, Scala: `at pkg.Class.method(File.java:12)`.
    Java,
    /// `File "x.py", line 12, in f`.
    Python,
    /// A function, and its file in the next line.
    Go,
    /// `at f (file.js:12:5)`.
    JavaScript,
    /// `at Ns.Type.Method(String a) in file.cs:line 12`.
    DotNet,
    /// ``file.rb:12:in `f'``.
    Ruby,
    /// `#0 file.php(12): f()`.
    Php,
    /// `0: crate::f`, and `at file.rs:12:5` in the next line.
    Rust,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function as the trace names it, without arguments.
    pub function: Option<String>,
    /// The file as the trace names it.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<i64>,
    /// The column in the line, where the language prints one, from 1.
    pub column: Option<i64>,
    /// Whether it belongs to the application and not to its runtime or to a library.
    pub in_app: bool,
}

/// One exception of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Its type, where the trace says it.
    pub exception_type: Option<String>,
    /// The first line of its message.
    pub message: Option<String>,
    /// Its frames, the innermost first.
    pub frames: Vec<Frame>,
}

/// A parsed trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackTrace {
    /// The form, if there is any frame.
    pub language: Option<Language>,
    /// The chain, the recorded exception first, its causes behind it.
    pub sections: Vec<Section>,
    /// Whether the text, or what is kept of it, is not the whole trace.
    pub truncated: bool,
}

impl StackTrace {
    /// Reads `text`.
    #[must_use]
    pub fn parse(text: &str, rules: &InAppRules) -> StackTrace {
        let mut reader = Reader::new(rules);
        for line in super::mask::clip(text, MAX_TEXT).lines() {
            reader.line(line);
        }
        reader.truncated |= text.len() > MAX_TEXT;
        reader.finish()
    }

    /// Whether names and places are those of minified or obfuscated code: of a frame of the application, or of any
    /// where none is.
    #[must_use]
    pub fn is_minified(&self) -> bool {
        let Some(language) = self.language else { return false };
        let own_only = self.in_app_count() > 0;
        self.frames().any(|frame| (frame.in_app || !own_only) && minified::is_minified(frame, language))
    }

    /// All frames, section by section.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.sections.iter().flat_map(|section| &section.frames)
    }

    /// How many frames belong to the application.
    #[must_use]
    pub fn in_app_count(&self) -> usize {
        self.frames().filter(|frame| frame.in_app).count()
    }

    /// Whether there is no frame at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames().next().is_none()
    }
}

/// Takes a trace line by line.
struct Reader<'a> {
    rules: &'a InAppRules,
    language: Option<Language>,
    sections: Vec<Section>,
    /// The section that takes the next frame.
    current: usize,
    /// The line before: Go names the function there.
    previous: &'a str,
    /// The frame before waits for its file (Rust).
    waits_for_file: bool,
    /// Java lists exceptions that were suppressed on the way; they are not causes.
    suppressed: bool,
    /// The first line that is not blank.
    opening: Option<&'a str>,
    /// The lines that follow `Caused by:` are causes (Rust).
    causes_follow: bool,
    /// The next line is the message of a panic (Rust).
    message_follows: bool,
    /// The last line that is not blank began as a call and was none, or ended a Python trace too early.
    cut_short: bool,
    truncated: bool,
}

impl<'a> Reader<'a> {
    fn new(rules: &'a InAppRules) -> Self {
        Reader {
            rules,
            language: None,
            sections: vec![Section::default()],
            current: 0,
            previous: "",
            waits_for_file: false,
            suppressed: false,
            opening: None,
            causes_follow: false,
            message_follows: false,
            cut_short: false,
            truncated: false,
        }
    }

    fn line<'t: 'a>(&mut self, raw: &'t str) {
        if self.takes_panic_message(raw) || self.takes_listed_cause(raw) {
            return;
        }
        let read = lines::read(raw, self.previous, self.language);
        let waited = std::mem::take(&mut self.waits_for_file);
        self.watch_end(raw, &read);
        match read {
            Line::Frame { language, function, file, line, column } => {
                if !self.suppressed {
                    self.frame(language, function, file, (line, column));
                    self.waits_for_file = language == Language::Rust;
                }
            }
            Line::FileOfFrame { file, line, column } => {
                if waited && let Some(frame) = self.sections[self.current].frames.last_mut() {
                    frame.file = Some(super::mask::clip(file, MAX_FILE).to_owned());
                    frame.line = line;
                    frame.column = column;
                }
            }
            Line::Ruby { function, file, line, header } => {
                if let Some((exception_type, message)) = header {
                    self.open();
                    self.name(exception_type, message);
                }
                self.frame(Language::Ruby, function, Some(file), (line, None));
            }
            Line::TracebackStarts => {
                self.language.get_or_insert(Language::Python);
                self.open();
            }
            Line::Cause { exception_type, message } => {
                self.suppressed = false;
                self.open();
                self.name(exception_type, message);
            }
            Line::Suppressed => self.suppressed = true,
            Line::InnerEnds => self.current = self.current.saturating_sub(1),
            Line::Panic => {
                // What stands above is the machinery that caught the panic.
                self.sections[self.current].frames.clear();
            }
            Line::Header { exception_type, message } => {
                self.header(exception_type, message);
                self.message_follows = lines::begins_panic(raw);
                // .NET's one-line form: `Outer: message ---> Inner: message`.
                for (exception_type, message) in
                    raw.split(lines::ARROW).skip(1).take(MAX_SECTIONS).filter_map(lines::header)
                {
                    self.open();
                    self.name(exception_type, message);
                }
            }
            Line::Other => {}
        }
        self.previous = raw;
    }

    /// Takes the line below `thread 'main' panicked at src/x.rs:12:5:`.
    fn takes_panic_message(&mut self, raw: &str) -> bool {
        if !std::mem::take(&mut self.message_follows) {
            return false;
        }
        let text = raw.trim();
        let section = &mut self.sections[self.current];
        let is_message = section.message.is_none() && !text.is_empty() && !text.starts_with("stack backtrace:");
        if is_message {
            section.message = Some(super::mask::clip(text, MAX_HEADER).to_owned());
        }
        is_message
    }

    /// Takes `Caused by:` alone in its line, and the lines below it, as Rust's error reports write them.
    fn takes_listed_cause<'t: 'a>(&mut self, raw: &'t str) -> bool {
        if self.causes_follow {
            if let Some(message) = lines::listed_cause(raw) {
                self.open();
                self.sections[self.current].message = Some(super::mask::clip(message, MAX_HEADER).to_owned());
                return true;
            }
            // The backtrace behind the list is that of the error itself.
            self.causes_follow = false;
            self.current = 0;
        }
        if raw.trim() == "Caused by:" {
            self.causes_follow = true;
            if self.sections[0] == Section::default() {
                self.sections[0].message = self.opening.map(|line| super::mask::clip(line, MAX_HEADER).to_owned());
            }
            return true;
        }
        if self.opening.is_none() && !raw.trim().is_empty() {
            self.opening = Some(raw.trim());
        }
        false
    }

    /// Looks for signs that lines are missing.
    fn watch_end(&mut self, raw: &str, read: &Line<'_>) {
        if raw.trim().is_empty() {
            return;
        }
        let is_other = matches!(read, Line::Other);
        let in_python = self.language == Some(Language::Python) && raw.starts_with(' ') && !raw.contains('|');
        let is_unfinished = is_other && lines::begins_call(raw) && !raw.trim_end().ends_with('>');
        self.cut_short = is_unfinished || in_python;
        self.truncated |= is_other && lines::says_left_out(raw);
    }

    fn open(&mut self) {
        let last_is_blank = self.sections.last().is_some_and(|section| *section == Section::default());
        if !last_is_blank && self.sections.len() < MAX_SECTIONS {
            self.sections.push(Section::default());
        }
        self.current = self.sections.len() - 1;
    }

    fn name(&mut self, exception_type: &str, message: Option<&str>) {
        let section = &mut self.sections[self.current];
        section.exception_type = Some(super::mask::clip(exception_type, MAX_FUNCTION).to_owned());
        section.message = message.map(|message| super::mask::clip(message, MAX_HEADER).to_owned());
    }

    /// A line `Type: message` names the section that has no name yet: above its frames, and below
    /// them in Python.
    fn header(&mut self, exception_type: &str, message: Option<&str>) {
        let section = &self.sections[self.current];
        let below = self.language == Some(Language::Python);
        if section.exception_type.is_none() && (section.frames.is_empty() != below) {
            self.name(exception_type, message);
        }
    }

    fn frame(
        &mut self,
        language: Language,
        function: Option<&str>,
        file: Option<&str>,
        (line, column): (Option<i64>, Option<i64>),
    ) {
        let language = *self.language.get_or_insert(language);
        let section = &mut self.sections[self.current];
        if section.frames.len() >= MAX_READ {
            self.truncated = true;
            return;
        }
        let function =
            function.map(|function| super::mask::clip(function, MAX_FUNCTION)).filter(|function| !function.is_empty());
        let file = file.map(|file| super::mask::clip(file, MAX_FILE)).filter(|file| !file.is_empty());
        // The file of a Rust frame comes a line later and takes part in the decision.
        let in_app = language != Language::Rust && self.rules.is_in_app(language, function, file);
        section.frames.push(Frame {
            function: function.map(str::to_owned),
            file: file.map(str::to_owned),
            line,
            column,
            in_app,
        });
    }

    fn finish(mut self) -> StackTrace {
        let is_python = self.language == Some(Language::Python);
        // A Python trace ends with the exception's name.
        let is_named = self.sections.last().is_some_and(|section| section.exception_type.is_some());
        let mut truncated = self.truncated || (self.cut_short && !(is_python && is_named));
        if self.language == Some(Language::Rust) {
            for frame in self.sections.iter_mut().flat_map(|section| &mut section.frames) {
                frame.in_app = self.rules.is_in_app(Language::Rust, frame.function.as_deref(), frame.file.as_deref());
            }
        }
        if is_python {
            for section in &mut self.sections {
                section.frames.reverse();
            }
        }
        if matches!(self.language, Some(Language::Python | Language::Php)) {
            self.sections.reverse();
        }
        self.sections.retain(|section| *section != Section::default());
        let mut left = MAX_FRAMES;
        for section in &mut self.sections {
            truncated |= section.frames.len() > left;
            section.frames.truncate(left);
            left -= section.frames.len();
        }
        let any = self.sections.iter().any(|section| !section.frames.is_empty());
        StackTrace { language: self.language.filter(|_| any), sections: self.sections, truncated: truncated && any }
    }
}

#[cfg(test)]
mod tests;
