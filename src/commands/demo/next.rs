//! The commands to type after the demo.

use tracerag_ingest::tenant::TenantConfig;
use tracerag_schemas::bundle::Evidence;

use super::evidence;
use crate::cli::Context;
use crate::config::EmbeddingSection;

/// Three commands about a trace that work as they stand.
pub(super) fn commands(context: &Context, evidence: &Evidence) -> String {
    let program = std::env::current_exe().map_or_else(|_| String::from("tracerag"), |path| path.display().to_string());
    let command = command(&program, context);
    let question = question(evidence)
        .unwrap_or_else(|| String::from("select service_name, count(*) from failures group by 1 order by 2 desc"));
    format!(
        "\nTry next\n  {command} sql {}\n  {command} similar \"an amount with too many digits is refused\"\n  \
         {command} bundle --format markdown {}\n",
        in_double_quotes(&question),
        evidence.trace.trace_id
    )
}

/// In which versions and with which variants of the flag the incident occurs: what the trace alone does not tell.
fn question(evidence: &Evidence) -> Option<String> {
    let failure = evidence::failure(evidence)?;
    let key = evidence::flag(evidence, failure)?.key.as_deref()?.replace('\'', "''");
    let fingerprint = failure.fingerprint.as_deref()?;
    Some(format!(
        "select service_version, flags['{key}'] as variant, count(*) as failures from failures \
         where fingerprint = '{fingerprint}' group by 1, 2"
    ))
}

/// What a command must begin with to see what this one sees, whatever its folder and environment are.
fn command(program: &str, context: &Context) -> String {
    let (embedding, usual) = (&context.config.embedding, EmbeddingSection::default());
    let mut words = Vec::new();
    let cache = embedding.cache_folder();
    if cache != usual.cache_folder() {
        words.push(format!("TRACERAG_EMBEDDING__CACHE={}", quoted(&cache.display().to_string())));
    }
    if embedding.model != usual.model {
        words.push(format!("TRACERAG_EMBEDDING__MODEL={}", quoted(&embedding.model)));
    }
    words.extend([quoted(program), String::from("--lake"), quoted(&context.config.lake.uri)]);
    if context.tenant != TenantConfig::default().default {
        words.extend([String::from("--tenant"), quoted(&context.tenant)]);
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,~".contains(c);
    match !word.is_empty() && !word.starts_with('~') && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// A text with single quotes in it, as SQL has them, in the form that stays readable.
fn in_double_quotes(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// A lake in a folder with spaces is one word, and what the environment said of the model is said again; what is
    /// as usual is left out.
    #[test]
    fn commands_work_anywhere() {
        let mut context =
            Context { config: Config::default(), tenant: String::from("default"), server: None, snapshot: None };
        context.config.lake.uri = String::from("/tmp/my lake's/lake");
        assert_eq!(command("/bin/tracerag", &context), r"/bin/tracerag --lake '/tmp/my lake'\''s/lake'");
        context.config.lake.uri = String::from("./lake");
        context.config.embedding.cache = "/var/my cache".into();
        context.config.embedding.model = String::from("hashed-ngrams");
        context.tenant = String::from("acme");
        assert_eq!(
            command("tracerag", &context),
            "TRACERAG_EMBEDDING__CACHE='/var/my cache' TRACERAG_EMBEDDING__MODEL=hashed-ngrams tracerag --lake ./lake \
             --tenant acme"
        );
    }

    /// A shell sees a query as it was written: what it would replace within double quotes is escaped, single quotes are
    /// not. Guarantees that a flag's key from the outside is never run.
    #[test]
    fn a_query_is_one_word() {
        assert_eq!(in_double_quotes("flags['a.b'] = 'x'"), "\"flags['a.b'] = 'x'\"");
        assert_eq!(in_double_quotes(r#"$(a) `b` "c" \"#), r#""\$(a) \`b\` \"c\" \\""#);
    }
}
