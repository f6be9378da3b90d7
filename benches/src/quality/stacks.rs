//! Stack traces as eight languages print them.

use super::drawn::{Call, Failure};

/// Frames of libraries, as they stand above and below those of a program.
const OF_JAVA: &str = "\tat java.base/java.lang.Thread.run(Thread.java:1583)";
const OF_PYTHON: &str = "  File \"/usr/local/lib/python3.12/site-packages/starlette/routing.py\", line 73, in app\n    \
                         response = await f(request)";
const OF_GO: &str = "net/http.HandlerFunc.ServeHTTP(0x0?, {0x0?, 0x0?}, 0x0?)\n\
                     \t/usr/local/go/src/net/http/server.go:2294 +0x29";
const OF_NODE: &str = "    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)";
const OF_RUST: &str = "   0: rust_begin_unwind\n             \
                       at /rustc/0123456789abcdef0123456789abcdef01234567/library/std/src/panicking.rs:697:5";

/// Whose form a stack has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Language {
    Java,
    Python,
    Go,
    Node,
    DotNet,
    Ruby,
    Php,
    Rust,
}

impl Language {
    pub(super) const ALL: [Self; 8] =
        [Self::Java, Self::Python, Self::Go, Self::Node, Self::DotNet, Self::Ruby, Self::Php, Self::Rust];

    /// The type that is raised for everything.
    fn common_type(self) -> &'static str {
        match self {
            Self::Java => "java.lang.IllegalStateException",
            Self::Python => "ValueError",
            Self::Go => "*errors.errorString",
            Self::Node => "Error",
            Self::DotNet => "System.InvalidOperationException",
            Self::Ruby => "RuntimeError",
            Self::Php => "RuntimeException",
            Self::Rust => "panic",
        }
    }
}

/// The exception's type, as instrumentation names it.
pub(super) fn exception_type(failure: &Failure) -> String {
    let Some([first, second]) = failure.kind else { return failure.language.common_type().to_owned() };
    let name = camel(&[first, second]);
    match failure.language {
        Language::Java => format!("com.acme.{}.{name}Exception", failure.service),
        Language::Python => format!("{}.errors.{name}Error", failure.service),
        Language::Go => format!("*{}.{name}Error", failure.service),
        Language::Node => format!("{name}Error"),
        Language::DotNet => format!("Acme.{}.{name}Exception", camel(&[failure.service])),
        Language::Ruby => format!("{}::{name}Error", camel(&[failure.service])),
        Language::Php => format!("App\\{}\\{name}Exception", camel(&[failure.service])),
        Language::Rust => format!("{}::{name}Error", failure.service),
    }
}

/// The stack with its header.
pub(super) fn stack(failure: &Failure, message: &str) -> String {
    let (kind, service) = (exception_type(failure), failure.service);
    let mut lines: Vec<String> = Vec::new();
    match failure.language {
        Language::Java => {
            lines.push(format!("{kind}: {message}"));
            lines.extend(failure.calls.iter().map(|call| {
                let class = format!("{}Service", camel(&call.module));
                format!("\tat com.acme.{service}.{class}.{}({class}.java:{})", lower_camel(&call.function), call.line)
            }));
            lines.push(OF_JAVA.to_owned());
        }
        Language::Python => {
            lines.push("Traceback (most recent call last):".to_owned());
            lines.push(OF_PYTHON.to_owned());
            for call in failure.calls.iter().rev() {
                let (file, function) = (snake(&call.module), snake(&call.function));
                lines.push(format!("  File \"/app/{service}/{file}.py\", line {}, in {function}", call.line));
                lines.push(format!("    return {function}(request)"));
            }
            lines.push(format!("{kind}: {message}"));
        }
        Language::Go => {
            lines.push("goroutine 87 [running]:".to_owned());
            for call in &failure.calls {
                let (package, file) = (call.module[0], snake(&call.module));
                lines.push(format!("acme.example/{service}/{package}.{}(0xc000122000)", lower_camel(&call.function)));
                lines.push(format!("\t/src/{service}/{package}/{file}.go:{} +0x1d4", call.line));
            }
            lines.push(OF_GO.to_owned());
        }
        Language::Node => {
            lines.push(format!("{kind}: {message}"));
            lines.extend(failure.calls.iter().map(|call| {
                let (file, function) = (kebab(&call.module), lower_camel(&call.function));
                format!("    at {function} (/app/{service}/src/{file}.js:{}:17)", call.line)
            }));
            lines.push(OF_NODE.to_owned());
        }
        Language::DotNet => {
            lines.push(format!("{kind}: {message}"));
            let space = camel(&[service]);
            lines.extend(failure.calls.iter().map(|call| {
                let (class, function) = (format!("{}Service", camel(&call.module)), camel(&call.function));
                let file = format!("/src/{space}/{class}.cs:line {}", call.line);
                format!("   at Acme.{space}.{class}.{function}(String id) in {file}")
            }));
        }
        Language::Ruby => {
            lines.extend(failure.calls.iter().enumerate().map(|(place, call)| {
                let file = format!("/app/app/services/{service}/{}.rb:{}", snake(&call.module), call.line);
                let said = if place == 0 { format!(": {message} ({kind})") } else { String::new() };
                let before = if place == 0 { "" } else { "\tfrom " };
                format!("{before}{file}:in `{}'{said}", snake(&call.function))
            }));
        }
        Language::Php => {
            let file = |call: &Call| format!("/var/www/src/{}/{}.php", camel(&[service]), camel(&call.module));
            let first = failure.calls.first().map(|call| format!("{}:{}", file(call), call.line)).unwrap_or_default();
            lines.push(format!("{kind}: {message} in {first}"));
            lines.push("Stack trace:".to_owned());
            lines.extend(failure.calls.iter().enumerate().map(|(place, call)| {
                let class = format!("App\\{}\\{}", camel(&[service]), camel(&call.module));
                format!("#{place} {}({}): {class}->{}()", file(call), call.line, lower_camel(&call.function))
            }));
            lines.push(format!("#{} {{main}}", failure.calls.len()));
        }
        Language::Rust => {
            lines.push(OF_RUST.to_owned());
            for (place, call) in (1..).zip(&failure.calls) {
                let module = snake(&call.module);
                lines.push(format!("{place:>4}: {service}::{module}::{}", snake(&call.function)));
                lines.push(format!("             at ./src/{module}.rs:{}:13", call.line));
            }
        }
    }
    lines.join("\n")
}

fn camel(words: &[&str]) -> String {
    words.iter().map(|word| capital(word)).collect()
}

fn lower_camel([first, second]: &[&str; 2]) -> String {
    format!("{first}{}", capital(second))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn snake(words: &[&str; 2]) -> String {
    words.join("_")
}

fn kebab(words: &[&str; 2]) -> String {
    words.join("-")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use tracerag_index::failures::InAppRules;
    use tracerag_index::failures::frames::StackTrace;

    use super::{Language, stack};
    use crate::quality::drawn;

    /// Every language's stack is read with a frame of the program for each call: a stack that is not understood would be
    /// grouped by its message, and the figures would be about something else.
    #[test]
    fn every_stack_is_read() {
        let mut rng = SmallRng::seed_from_u64(1);
        for language in Language::ALL {
            let failure = drawn::Failure { language, ..drawn::draw(&mut rng) };
            let text = stack(&failure, "the parcel has no owner");
            let read = StackTrace::parse(&text, &InAppRules::default());
            assert!(read.in_app_count() >= failure.calls.len(), "{language:?}\n{text}");
        }
    }
}
