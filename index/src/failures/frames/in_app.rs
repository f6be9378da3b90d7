//! Which frames belong to the application.
//!
//! The rule is a list of what does not: the runtimes, their standard libraries, the places where
//! package managers install, and - for Java and .NET, whose traces name no place - the packages of
//! widespread frameworks. What is in no list belongs to the application.

use super::Language;

/// Own rules, tried before the built-in ones. Each is the beginning of a function's name or a part of a file's path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InAppRules {
    /// What belongs to the application although a built-in rule says otherwise.
    pub in_app: Vec<String>,
    /// What does not belong to it.
    pub not_in_app: Vec<String>,
}

const JAVA: &[&str] = &[
    "akka.",
    "android.",
    "androidx.",
    "brave.",
    "ch.qos.logback.",
    "co.elastic.",
    "com.datastax.",
    "com.fasterxml.",
    "com.google.",
    "com.mongodb.",
    "com.mysql.",
    "com.netflix.",
    "com.rabbitmq.",
    "com.sun.",
    "com.zaxxer.",
    "dalvik.",
    "feign.",
    "groovy.",
    "io.grpc.",
    "io.lettuce.",
    "io.micrometer.",
    "io.micronaut.",
    "io.netty.",
    "io.opentelemetry.",
    "io.quarkus.",
    "io.reactivex.",
    "io.undertow.",
    "io.vertx.",
    "jakarta.",
    "java.",
    "javax.",
    "jdk.",
    "jodd.",
    "junit.",
    "kotlin.",
    "kotlinx.",
    "net.sf.",
    "okhttp3.",
    "okio.",
    "oracle.",
    "org.apache.",
    "org.aspectj.",
    "org.codehaus.",
    "org.eclipse.",
    "org.glassfish.",
    "org.hibernate.",
    "org.jboss.",
    "org.jetbrains.",
    "org.junit.",
    "org.mockito.",
    "org.mongodb.",
    "org.mybatis.",
    "org.postgresql.",
    "org.slf4j.",
    "org.springframework.",
    "play.",
    "reactor.",
    "redis.clients.",
    "retrofit2.",
    "rx.",
    "scala.",
    "sun.",
    "zipkin2.",
];

const DOT_NET: &[&str] = &[
    "Amazon.",
    "AutoMapper.",
    "Autofac.",
    "Azure.",
    "Castle.",
    "Confluent.Kafka.",
    "Dapper.",
    "FluentValidation.",
    "Google.",
    "Grpc.",
    "Hangfire.",
    "Interop.",
    "MassTransit.",
    "MediatR.",
    "Microsoft.",
    "MongoDB.",
    "MySql.",
    "MySqlConnector.",
    "NLog.",
    "NUnit.",
    "Newtonsoft.",
    "Npgsql.",
    "OpenTelemetry.",
    "Polly.",
    "Quartz.",
    "RabbitMQ.",
    "Serilog.",
    "StackExchange.",
    "Swashbuckle.",
    "System.",
    "Xunit.",
    "lambda_method",
];

/// The first element of every package path of Go's standard library.
const GO: &[&str] = &[
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
    "vendor",
    "weak",
];

const RUST: &[&str] = &[
    "<unknown>",
    "__libc_start",
    "__pthread",
    "__rust",
    "_start",
    "actix",
    "alloc::",
    "anyhow::",
    "axum",
    "backtrace::",
    "clone",
    "core::",
    "eyre::",
    "futures",
    "h2::",
    "hyper",
    "opentelemetry",
    "panic_unwind::",
    "rayon",
    "reqwest::",
    "rust_begin_unwind",
    "rust_panic",
    "rustc",
    "serde",
    "sqlx",
    "start_thread",
    "std::",
    "tokio",
    "tonic",
    "tower",
    "tracing",
];

impl InAppRules {
    /// Whether a frame belongs to the application.
    #[must_use]
    pub fn is_in_app(&self, language: Language, function: Option<&str>, file: Option<&str>) -> bool {
        let function = function.unwrap_or_default();
        let path = file.unwrap_or_default();
        let matches = |rules: &[String]| {
            rules
                .iter()
                .any(|rule| !rule.is_empty() && (function.starts_with(rule.as_str()) || path.contains(rule.as_str())))
        };
        if matches(&self.in_app) {
            return true;
        }
        if matches(&self.not_in_app) || (function.is_empty() && path.is_empty()) {
            return false;
        }
        !match language {
            Language::Java => begins(java_class(function), JAVA),
            Language::DotNet => begins(function, DOT_NET),
            Language::Python => python(path),
            Language::Go => go(function, path),
            Language::JavaScript => java_script(path),
            Language::Ruby => {
                within(path, &["/gems/", "/lib/ruby/", "/rubygems/", "/bundler/"])
                    || path.starts_with("<internal:")
                    || path == "(eval)"
            }
            Language::Php => within(path, &["/vendor/"]) || path.is_empty() || function == "{main}",
            Language::Rust => rust(function, path),
        }
    }
}

fn begins(name: &str, prefixes: &[&str]) -> bool {
    let first = name.as_bytes().first();
    prefixes.iter().any(|prefix| prefix.as_bytes().first() == first && name.starts_with(prefix))
}

fn within(path: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| path.contains(part))
}

/// Without the module or class loader: `java.base/java.lang.Thread.run`, `app//shop.Cart.add`.
pub(super) fn java_class(function: &str) -> &str {
    function.rsplit('/').next().unwrap_or(function)
}

fn python(path: &str) -> bool {
    within(path, &["site-packages", "dist-packages", "/lib/python", "/lib64/python", "\\Lib\\", "importlib/_bootstrap"])
        || (path.starts_with('<') && path != "<stdin>")
}

/// The path of the package in `example.org/shop/cart.(*Cart).Add`.
fn go_package(function: &str) -> &str {
    let last = function.rfind('/').map_or(0, |at| at + 1);
    let end = function[last..].find('.').map_or(function.len(), |at| last + at);
    &function[..end]
}

fn go(function: &str, path: &str) -> bool {
    let root = go_package(function).split('/').next().unwrap_or_default();
    let installed =
        within(path, &["/pkg/mod/", "/vendor/", "/usr/local/go/src/", "/usr/lib/go", "/hostedtoolcache/go/", "@v"]);
    installed || GO.contains(&root) || begins(function, &["google.golang.org/", "go.opentelemetry.io/", "golang.org/"])
}

fn java_script(path: &str) -> bool {
    within(path, &["node_modules", "webpack/bootstrap", "(webpack)"])
        || path.starts_with("node:")
        || path.starts_with("internal/")
        || path.starts_with("index ")
        || matches!(path, "" | "<anonymous>" | "native" | "anonymous")
        // Node before version 16 names its own files without a folder.
        || (!path.contains(['/', '\\']) && matches!(path, "events.js" | "net.js" | "_http_server.js" | "_stream_readable.js" | "timers.js" | "module.js" | "vm.js" | "fs.js" | "domain.js"))
}

fn rust(function: &str, path: &str) -> bool {
    if within(path, &["/rustc/", ".cargo/registry", ".cargo/git", "/rustup/", ".rustup/"]) {
        return true;
    }
    // `<shop::Cart as core::ops::Add>::add`: the type says whose it is.
    let name = function.trim_start_matches(['<', '&', '*']);
    begins(name, RUST)
}
