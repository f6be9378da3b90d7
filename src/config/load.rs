//! Reading the configuration: file, then environment, then placeholders.

use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::DeValue;

use super::Config;
use super::document::{Document, Mistake, Unresolved, placeholder, typed};

/// Environment variables that are no configuration keys although they begin like one.
const RESERVED: &[&str] = &["TRACERAG_CONFIG", "TRACERAG_TOKEN", "TRACERAG_LOG"];
const PREFIX: &str = "TRACERAG_";
/// Keys outside a section, so without `__` in their variable.
const WITHOUT_SECTION: &[&str] = &["TRACERAG_MEMORY_LIMIT"];

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not readable.
    #[error("cannot read the configuration {path}: {source}; give another with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, has an unknown key or a wrong value. The line itself is not shown: it may hold a secret.
    #[error("{path}, {place}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// Line and column, as far as they are known.
        place: String,
        /// What is wrong and what is permitted.
        message: String,
    },
    /// An environment variable has a wrong name or value.
    #[error("environment variable {name}: {message}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong and what is permitted.
        message: String,
    },
    /// `${...}` cannot be resolved.
    #[error("cannot resolve {} of {}: {}{}", .0.placeholder, .0.key, .0.reason, remedy(.0))]
    Placeholder(Unresolved),
    /// Values that do not go together.
    #[error("{0}")]
    Together(String),
}

fn remedy(unresolved: &Unresolved) -> &'static str {
    match unresolved.key.as_str() {
        "redaction.key" if unresolved.is_absent_file => {
            ", or make a key with `head -c 32 /dev/urandom | base64 > FILE`"
        }
        _ => "",
    }
}

/// What options of the command line say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--lake`.
    pub lake: Option<String>,
    /// `--tenant`.
    pub tenant: Option<String>,
}

impl Config {
    /// Loads `--config`, else `TRACERAG_CONFIG`, else `./tracerag.toml` where it exists, else defaults.
    ///
    /// # Errors
    /// See [`ConfigError`]; an error of the file names the line. A placeholder that cannot be resolved is an error
    /// only for who needs it: see [`Self::require`].
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        let named = overrides.config.clone().or_else(|| std::env::var_os("TRACERAG_CONFIG").map(PathBuf::from));
        let path = named.or_else(|| Some(PathBuf::from("tracerag.toml")).filter(|path| path.is_file()));
        let text = match &path {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?
            }
            None => String::new(),
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let mut config = Self::from_parts(path.as_deref().unwrap_or(Path::new("defaults")), &text, variables)?;
        if let Some(lake) = &overrides.lake {
            config.lake.uri.clone_from(lake);
        }
        if let Some(tenant) = &overrides.tenant {
            config.tenant.default.clone_from(tenant);
        }
        Ok(config)
    }

    fn from_parts(
        path: &Path,
        text: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let in_file = |mistake: Mistake| ConfigError::File {
            path: path.to_owned(),
            place: place(text, &mistake),
            message: mistake.message,
        };
        let mut document = Document::parse(text).map_err(in_file)?;
        let mut config = match document.config() {
            Ok(config) => config,
            // Text in the place of a number or a list: what is wrong is that it was not resolved.
            Err(mistake) => {
                return Err(match document.unresolved.into_iter().find(|wanted| text_at(text, &mistake, wanted)) {
                    Some(unresolved) => ConfigError::Placeholder(unresolved),
                    None => in_file(mistake),
                });
            }
        };
        for (name, value) in variables.filter(|(name, _)| is_key(name)) {
            (document, config) = set(document, &name, &value)?;
        }
        config.unresolved = std::mem::take(&mut document.unresolved);
        config.check().map_err(|refused| placed(refused, path, text, &mut document))?;
        Ok(config)
    }

    /// That all placeholders below these sections or keys are resolved; without any: all.
    ///
    /// # Errors
    /// The first that is not.
    pub fn require(&self, sections: &[&str]) -> Result<(), ConfigError> {
        let is_wanted = |wanted: &&Unresolved| {
            sections.is_empty() || sections.iter().any(|section| wanted.key.starts_with(section))
        };
        match self.unresolved.iter().find(is_wanted) {
            Some(unresolved) => Err(ConfigError::Placeholder(unresolved.clone())),
            None => Ok(()),
        }
    }
}

/// A refusal with the line of the first key in it that stands in the file.
fn placed(refused: ConfigError, path: &Path, text: &str, document: &mut Document) -> ConfigError {
    let ConfigError::Together(message) = refused else { return refused };
    let words = message.split([' ', '[', '(', ',', ':', ';']).enumerate();
    let mut keys = words.filter(|(number, word)| *number == 0 || word.contains(['.', '_'])).map(|(_, word)| word);
    let place_of = keys.find_map(|key| document.place_of(key));
    match place_of {
        Some(span) => {
            let mistake = Mistake { span: Some(span), message };
            ConfigError::File { path: path.to_owned(), place: place(text, &mistake), message: mistake.message }
        }
        None => ConfigError::Together(message),
    }
}

/// Line and column of a mistake.
fn place(text: &str, mistake: &Mistake) -> String {
    let Some(before) = mistake.span.as_ref().and_then(|span| text.get(..span.start)) else {
        return String::from("as a whole");
    };
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    format!("line {}, column {}", before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Whether a mistake stands where a placeholder does.
fn text_at(text: &str, mistake: &Mistake, wanted: &Unresolved) -> bool {
    let at = mistake.span.clone().and_then(|span| text.get(span));
    at.is_some_and(|at| at.contains(&wanted.placeholder))
}

/// Whether a variable is meant for the configuration. Others begin alike: a cluster's address of a service that is
/// named `tracerag`, say.
fn is_key(name: &str) -> bool {
    let is_meant = name.contains("__") || WITHOUT_SECTION.contains(&name);
    if !is_meant && !RESERVED.contains(&name) {
        tracing::debug!(name, "ignored: a key has two underscores between section and name");
    }
    is_meant && !name.starts_with("TRACERAG_TEST_")
}

/// `TRACERAG_KAFKA__BOOTSTRAP_SERVERS` sets `kafka.bootstrap_servers`. Lists, tables, numbers and truth values are
/// written as in TOML; where text is wanted, everything is text.
fn set(document: Document, name: &str, value: &str) -> Result<(Document, Config), ConfigError> {
    let refuse = |message: String| ConfigError::Environment { name: name.to_owned(), message };
    let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    let path: Vec<&str> = key.split("__").collect();
    let value = match placeholder(&path.join("."), value) {
        None => value.to_owned(),
        Some(Ok(found)) => found,
        Some(Err(unresolved)) => return Err(ConfigError::Placeholder(unresolved)),
    };
    let mut mistake = None;
    for candidate in [Some(DeValue::String(value.clone().into())), typed(&value)].into_iter().flatten() {
        let mut next = document.with(&path, candidate).map_err(refuse)?;
        match next.config() {
            Ok(config) => return Ok((next, config)),
            Err(wrong) => mistake = Some(wrong.message),
        }
    }
    Err(refuse(mistake.unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_parts(Path::new("tracerag.toml"), text, variables)
    }

    /// The environment overrides the file, the file the defaults; lists are written as in TOML.
    #[test]
    fn precedence() {
        let text = "[kafka]\ngroup_id = \"a\"\n[window]\nidle_gap = \"3s\"\n";
        let config = load(text, &[("TRACERAG_KAFKA__GROUP_ID", "b"), ("TRACERAG_LAKE__FLUSH_BYTES", "1MiB")]).unwrap();
        assert_eq!(config.kafka.group_id, "b");
        assert_eq!(config.window.idle_gap, super::super::Span::seconds(3));
        assert_eq!(config.lake.flush_bytes.0, 1 << 20);
    }

    /// An unknown key is refused with its line and the permitted keys; so is a wrong value.
    #[test]
    fn mistakes_name_the_line() {
        let error = load("[window]\nidle_gab = \"3s\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("idle_gap"), "{error}");
        let error = load("[lake]\n\nflush_interval = \"soon\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("10m"), "{error}");
        let error = load("", &[("TRACERAG_LAKE__FLUSH_BITES", "1")]).unwrap_err().to_string();
        assert!(error.contains("flush_bites") && error.contains("flush_bytes"), "{error}");
    }

    /// The shipped example names placeholders in its comments; a typo in it is still found by its line.
    #[test]
    fn a_mistake_in_the_example_names_the_line() {
        let example = include_str!("../../tracerag.example.toml");
        let line = example.lines().position(|line| line.starts_with("idle_gap")).unwrap() + 1;
        let error = load(&example.replace("\nidle_gap", "\nidle_gab"), &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("line {line},")) && error.contains("idle_gap"), "{error}");
    }

    /// Peers are reached by TLS, on this machine, or through proxies that speak it; a server that computes for others knows
    /// them. The environment names them as the file does.
    #[test]
    fn peers_are_reached_in_secret() {
        let serve = |text: &str| load(&format!("[serve]\n{text}\n"), &[]);
        for good in [
            "peers = [\"https://serve-1.example.com:8082\"]",
            "peers = [\"http://127.0.0.1:8082\", \"http://localhost:8083\"]",
            "peers = [\"http://serve-1:8082\"]\nbehind_tls = true",
            "peers = [\"http://127.0.0.1:8082\"]\nexchange = \"127.0.0.1:8082\"",
        ] {
            serve(good).unwrap().check_exchange().unwrap();
        }
        for (wrong, key) in [
            ("peers = [\"http://serve-1:8082\"]", "serve.peers"),
            ("peers = [\"serve-1:8082\"]\nbehind_tls = true", "serve.peers"),
        ] {
            let error = serve(wrong).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let lonely = serve("exchange = \"127.0.0.1:8082\"").unwrap().check_exchange().unwrap_err().to_string();
        assert!(lonely.contains("serve.exchange"), "{lonely}");
        let variables = [("TRACERAG_SERVE__PEERS", "[\"https://a:1\", \"https://b:1\"]")];
        assert_eq!(load("", &variables).unwrap().serve.peers, ["https://a:1", "https://b:1"]);
    }

    /// A placeholder that cannot be resolved says which variable or file is wanted, and only to who needs it: an
    /// analyst does not have to read the key of the redaction.
    #[test]
    fn placeholders() {
        let config = load("[lake]\nuri = \"${env:TRACERAG_TEST_NOT_SET}\"\n", &[]).unwrap();
        config.require(&["redaction"]).unwrap();
        let error = config.require(&["lake", "embedding"]).unwrap_err().to_string();
        assert!(error.contains("lake.uri") && error.contains("TRACERAG_TEST_NOT_SET"), "{error}");
        let config = load("[redaction]\nkey = \"${file:/nowhere/hmac.key}\"\n", &[]).unwrap();
        let error = config.require(&[]).unwrap_err().to_string();
        assert!(error.contains("/nowhere/hmac.key") && error.contains("urandom"), "{error}");
        let error = load("[kafka]\ninitial_offset = \"${env:TRACERAG_TEST_NOT_SET}\"\n", &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Placeholder(_)), "{error}");
    }

    /// What a variable or a placeholder says is text where text is wanted, and TOML elsewhere.
    #[test]
    fn values_take_the_type_that_is_wanted() {
        let config = load(
            "[redaction]\nip_addresses = \"${env:TRACERAG_TEST_FLAG}\"\n",
            &[("TRACERAG_KAFKA__GROUP_ID", "42"), ("TRACERAG_REDACTION__KEY", "1234567890123456")],
        );
        // The variable of the placeholder is not set here: a truth value is wanted, so it is needed at once.
        assert!(matches!(config.unwrap_err(), ConfigError::Placeholder(_)));
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
            format!("\"${{file:{}}}\"", folder.path().join(name).display())
        };
        let (flag, topics, group) = (file("flag", "true\n"), file("topics", "[\"a\", \"b\"]"), file("group", "42"));
        let text = format!(
            "[redaction]\nip_addresses = {flag}\n[topics]\nspans = {{ topics = {topics} }}\n[kafka]\ngroup_id = {group}\n"
        );
        let config = load(&text, &[]).unwrap();
        assert!(config.redaction.ip_addresses);
        assert_eq!(config.topics.spans.topics, Some(vec![String::from("a"), String::from("b")]));
        assert_eq!(config.kafka.group_id, "42");
        let config = load(
            "",
            &[
                ("TRACERAG_KAFKA__GROUP_ID", "42"),
                ("TRACERAG_REDACTION__IP_ADDRESSES", "true"),
                ("TRACERAG_KAFKA__OPTIONS", "{ \"session.timeout.ms\" = 6000, \"enable.partition.eof\" = true }"),
            ],
        )
        .unwrap();
        assert_eq!(config.kafka.group_id, "42");
        assert!(config.redaction.ip_addresses);
        assert_eq!(config.kafka.options["session.timeout.ms"], "6000");
    }

    /// Variables that only begin alike are no keys: a cluster sets some for every service.
    #[test]
    fn foreign_variables_are_ignored() {
        load("", &[("TRACERAG_PORT", "tcp://10.0.0.1:80"), ("TRACERAG_SERVICE_HOST", "10.0.0.1")]).unwrap();
        let config = load("", &[("TRACERAG_MEMORY_LIMIT", "3GiB")]).unwrap();
        assert_eq!(config.memory_limit.0.0, 3 << 30);
    }

    /// No error shows the value of a key that may be secret.
    #[test]
    fn secrets_are_not_shown() {
        for text in [
            "[redaction]\nkey = 1234567890123456\n",
            "[redaction]\nkey = \"1234567890123456\n",
            "[kafka]\noptions = { \"sasl.password\" = [\"1234567890123456\"] }\n",
        ] {
            let error = load(text, &[]).unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains("1234567890123456"), "{error}");
        }
    }

    /// Topics that are written are two, and none is that of dead letters; a mistake in the section names its line.
    #[test]
    fn rekeyed_topics_are_their_own() {
        for text in
            ["[rekey]\nspans = \"x\"\nlogs = \"x\"\n", "[kafka]\ndead_letter_topic = \"x\"\n[rekey]\nlogs = \"x\"\n"]
        {
            let error = load(text, &[]).unwrap_err().to_string();
            assert!(error.contains("rekey"), "{error}");
        }
        let error = load("[rekey]\n\npartitions = 0\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
        let error = load("[rekey]\ntopics = 1\n", &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("group_id"), "{error}");
    }

    /// What cannot be told, and what would come back, is refused with what to do; an address that may hold a secret is
    /// not shown.
    #[test]
    fn incident_events_are_checked() {
        let hook = |url: &str| format!("webhooks = [{{ url = \"{url}\", secret_env = \"S\" }}]\n");
        for (text, part) in [
            ("topic = \"otlp_spans\"\n".to_owned(), "is read as spans"),
            (hook("ftp://example.com/T0SECRET"), "no address of HTTP"),
            ("webhooks = [{ url = \"https://example.com\", secret_env = \"\" }]\n".to_owned(), "secret_env"),
            ("per_minute = 0\n".to_owned(), "per_minute"),
            ("spike = { window = \"1s\" }\n".to_owned(), "window is a minute"),
            ("spike = { least = 3 }\n".to_owned(), "least"),
            ("spike = { chance = 1.0 }\n".to_owned(), "chance"),
            ("quiet_after = \"1h\"\n".to_owned(), "quiet_after"),
        ] {
            let error = load(&format!("[incident_events]\n{text}"), &[]).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("T0SECRET"), "{error}");
        }
        load(&format!("[incident_events]\ntopic = \"incident_events\"\n{}", hook("https://example.com/x")), &[])
            .unwrap();
    }

    /// A webhook without a secret, without a platform, or of a tenant that no record can be of is refused when the
    /// configuration is loaded, not when the first change comes.
    #[test]
    fn webhooks_are_checked() {
        let hook = |more: &str| load(&format!("[serve.webhooks.github]\nsecret = \"swordfish\"\n{more}"), &[]);
        hook("tenant = \"acme\"\n").unwrap();
        for tenant in ["  ".to_owned(), "a\\tb".to_owned(), "x".repeat(129)] {
            let error = hook(&format!("tenant = \"{tenant}\"\n")).unwrap_err().to_string();
            assert!(error.contains("serve.webhooks.github.tenant"), "{error}");
        }
        assert!(load("[serve.webhooks.github]\n", &[]).unwrap_err().to_string().contains("secret"));
        assert!(load("[serve.webhooks.x]\nsecret = \"s\"\n", &[]).unwrap_err().to_string().contains("platform"));
    }

    /// The keys of an issuer come over https, or from this machine: a name that only begins like it is another machine.
    #[test]
    fn keys_of_an_issuer_come_in_secret() {
        let with = |issuer: &str| {
            load(&format!("[serve]\npublic_url = \"https://a.example.com\"\noauth_issuer = \"{issuer}\"\n"), &[])
        };
        for good in ["https://login.example.com", "http://localhost:8080/realm", "http://127.0.0.1:1", "http://[::1]:1"]
        {
            assert!(with(good).is_ok(), "{good}");
        }
        for wrong in
            ["http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://login.example.com", "login"]
        {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("oauth_issuer"), "{error}");
        }
    }

    /// Re-keying in the worker's process needs memory of its own, which is asked for only there.
    #[test]
    fn rekeying_is_granted_memory() {
        load("", &[]).unwrap().check_rekeying().unwrap();
        let config = load("memory_limit = \"768MiB\"\n", &[]).unwrap();
        let error = config.check_rekeying().unwrap_err().to_string();
        assert!(error.contains("768 MiB") && error.contains("tracerag rekey"), "{error}");
    }

    /// A value that is of the right type and wrong all the same is refused with its line, or that of its section, and with
    /// what is permitted. Guarantees that no worker waits for ever for what can never come.
    #[test]
    fn wrong_values_name_their_line() {
        for (text, line, part) in [
            ("[kafka]\n\nbootstrap_servers = \"\"\n", "line 3", "HOST:PORT"),
            ("[kafka]\nbootstrap_servers = \"kafka-1:9092,kafka-2:port\"\n", "line 2", "kafka-2:port"),
            ("[topics]\nspans = { topics = [\"^[\"] }\n", "line 1", "^["),
            ("[topics]\nspans = { topics = [\"x\"] }\nlogs = { topics = [\"x\"] }\n", "line 1", "\"x\""),
            ("\n[metrics]\nlisten = \"localhost\"\n", "line 3", "HOST:PORT"),
            ("[metrics]\nlisten = \"127.0.0.1:99999\"\n", "line 2", "HOST:PORT"),
            ("[serve]\npostgres = \"5433\"\n", "line 2", "HOST:PORT"),
            ("[embedding]\nmodel = \"gpt-4\"\n", "line 2", "hashed-ngrams"),
            ("memory_limit = \"64MiB\"\n", "line 1", "memory_limit"),
        ] {
            let error = load(text, &[]).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(part), "{text}{error}");
        }
        for good in [
            "[kafka]\nbootstrap_servers = \"kafka-1, kafka-2:9093, [::1]:9092, SASL_SSL://kafka-3:9094\"\n",
            "[kafka]\nbootstrap_servers = \"${env:TRACERAG_TEST_NOT_SET}\"\n",
            "[metrics]\nlisten = \"\"\n",
            "[metrics]\nlisten = \"localhost:9464\"\n",
            "[serve]\nhttp = \"[::1]:8080\"\n",
            "[embedding]\nmodel = \"/models/another\"\n",
        ] {
            load(good, &[]).unwrap();
        }
    }

    /// Bounds that do not fit into the memory limit are refused with the numbers.
    #[test]
    fn memory_is_granted_once() {
        let error = load("memory_limit = \"256MiB\"\n", &[]).unwrap_err().to_string();
        assert!(error.contains("256 MiB") && error.contains("window.memory 512 MiB"), "{error}");
        assert!(load("[lake]\nflush_bytes = 0\n", &[]).is_err());
    }
}
