//! Whether the cluster answers, lets the client in, and lets it do what it wants.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;
use tracerag_schemas::SourcePartition;

use super::context::SourceContext;
use super::{KafkaConfig, SourceError};

/// How long the first try may take; each further one takes twice as long. Between two of them is looked at why there is
/// no answer, so a login that fails is told after the first one, and the last one waits for a cluster that is slow.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// Events of the client that are handled after a try, and how long the next one is waited for.
const EVENTS_AT_ONCE: usize = 256;
const EVENT_WITHIN: Duration = Duration::from_millis(20);
/// Events that are handled before a question. That a token is wanted goes before all others.
const EVENTS_BETWEEN: usize = 16;

/// What stands in the words of librdkafka where TLS itself has failed: the name of OpenSSL's library, before what it or
/// the other side (an alert) says.
const TLS_SAYS: &str = "SSL routines";
/// What OpenSSL says of a connection that breaks, as all do of a broker that stops.
const TLS_BROKE: &str = "unexpected eof";

/// How librdkafka begins to say that a token endpoint gave it no token.
const NO_TOKEN: &str = "Failed to acquire SASL OAUTHBEARER token";

/// A login that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedLogin {
    /// What librdkafka says.
    pub(super) reason: String,
    /// Whether the client had no token to show. It asks for the next one long before the last one ends, and again ten
    /// seconds after a failure; who is connected stays so meanwhile.
    pub(super) is_without_token: bool,
}

impl FailedLogin {
    pub(super) fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_without_token: reason.starts_with(NO_TOKEN) }
    }
}

/// Whether an error says that the client could not log in.
pub(super) fn is_failed_login(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism)
    )
}

/// Whether the client or the broker has refused the other's certificate, or they agree on no way to talk: it stays so
/// until somebody changes a file or a setting.
pub(super) fn is_failed_handshake(reason: &str) -> bool {
    reason.contains(TLS_SAYS) && !reason.contains(TLS_BROKE)
}

/// What the client wanted of the broker, as far as it is known where an error is met.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    pub(super) topic: Option<&'a str>,
    pub(super) group: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// To read a topic.
    pub(super) fn topic(topic: &'a str) -> Self {
        Self { topic: Some(topic), group: None }
    }

    /// To use a group.
    pub(super) fn group(group: &'a str) -> Self {
        Self { topic: None, group: Some(group) }
    }
}

/// The error of a broker that refuses the client, if it is one. It names the permission that is missing, as an ACL does.
pub(super) fn refused(action: &str, wanted: Wanted<'_>, error: &KafkaError) -> Option<SourceError> {
    use RDKafkaErrorCode as Code;
    let permit = |what: String| format!("permit the user that the client logs in as {what} (an ACL of the cluster)");
    let remedy = match error.rdkafka_error_code()? {
        Code::TopicAuthorizationFailed => permit(match wanted.topic {
            Some(topic) => format!("READ on topic {topic:?}"),
            None => "READ on each topic that is read".to_owned(),
        }),
        Code::GroupAuthorizationFailed => permit(match wanted.group {
            Some(group) => format!("READ on group {group:?}"),
            None => "READ on group kafka.group_id".to_owned(),
        }),
        Code::ClusterAuthorizationFailed => permit("this on the cluster".to_owned()),
        Code::UnknownTopic => "check the name of the topic under [topics]".to_owned(),
        _ if is_failed_login(error) => "check sasl.* under [kafka.options]".to_owned(),
        _ => return None,
    };
    Some(SourceError::Refused { action: action.to_owned(), reason: Box::new(error.clone()), remedy })
}

/// Which errors end reading.
pub(super) fn judge(
    context: &SourceContext,
    config: &KafkaConfig,
    source: Option<&SourcePartition>,
    error: &KafkaError,
) -> Result<(), SourceError> {
    if let KafkaError::MessageConsumptionFatal(_) = error {
        return Err(SourceError::Kafka { action: "reading".to_owned(), reason: error.clone() });
    }
    if is_failed_login(error) {
        let reason = match context.take_failed_login() {
            Some(login) if login.is_without_token => {
                tracing::warn!("kafka: no new token ({}); the client asks for it again", login.reason);
                return Ok(());
            }
            login => login.map_or_else(|| error.to_string(), |login| login.reason),
        };
        return Err(SourceError::Login { servers: config.bootstrap_servers.clone(), reason });
    }
    let wanted = Wanted { topic: source.map(|source| &*source.topic), group: Some(&config.group_id) };
    if let Some(error) = refused("reading", wanted, error) {
        return Err(error);
    }
    tracing::warn!(%error, source = source.map(ToString::to_string), "kafka; the client tries again");
    Ok(())
}

/// Lets a client that reads nothing do what it wants a polling thread to do: ask for its next token, and tell of errors.
pub(super) fn serve(client: &BaseConsumer<SourceContext>) {
    // A poll without waiting handles one event and does not say whether there are more.
    for _ in 0..EVENTS_BETWEEN {
        client.poll(Duration::ZERO);
    }
}

/// All topics of the cluster, which is waited for so long.
///
/// # Errors
/// When no broker answers, or none lets the client in.
pub(super) fn metadata(
    probe: &BaseConsumer<SourceContext>,
    config: &KafkaConfig,
    within: Duration,
) -> Result<Metadata, SourceError> {
    let servers = || config.bootstrap_servers.clone();
    let (mut rest, mut patience) = (within, FIRST_TRY);
    loop {
        serve(probe);
        let failure = match probe.fetch_metadata(None, patience.min(rest)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error.to_string(),
        };
        // Why a connection failed is told in events, which are handed out by polling only.
        for _ in 0..EVENTS_AT_ONCE {
            if probe.poll(EVENT_WITHIN).is_none() {
                break;
            }
        }
        if let Some(login) = probe.context().take_failed_login() {
            return Err(SourceError::Login { servers: servers(), reason: login.reason });
        }
        if let Some(reason) = probe.context().last_error().filter(|reason| is_failed_handshake(reason)) {
            return Err(SourceError::Handshake { servers: servers(), reason });
        }
        rest = rest.saturating_sub(patience);
        patience *= 2;
        if rest.is_zero() {
            let reason = probe.context().last_error().unwrap_or(failure);
            return Err(SourceError::Unreachable { servers: servers(), reason });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rdkafka::ClientContext;

    use super::*;

    fn config() -> KafkaConfig {
        serde_json::from_str(r#"{"bootstrap_servers": "kafka:9092", "group_id": "g"}"#).unwrap()
    }

    /// What a broker forbids ends reading, with the permission that is missing by the name that an ACL has for it, and
    /// the topic or group that it is missing on. Guarantees that an operator need not look for either.
    #[test]
    fn a_missing_permission_is_named() {
        let source = SourcePartition::new("c", "otlp_spans", 3);
        for (code, source, part) in [
            (RDKafkaErrorCode::TopicAuthorizationFailed, Some(&source), "READ on topic \"otlp_spans\""),
            (RDKafkaErrorCode::TopicAuthorizationFailed, None, "READ on each topic that is read"),
            (RDKafkaErrorCode::GroupAuthorizationFailed, Some(&source), "READ on group \"g\""),
        ] {
            let error = KafkaError::MessageConsumption(code);
            let told = judge(&SourceContext::default(), &config(), source, &error).unwrap_err().to_string();
            assert!(told.starts_with("kafka refuses reading") && told.contains(part), "{told}");
        }
    }

    /// Certificates that either side refuses are told apart from a connection that breaks, which a broker that restarts
    /// does, too: only the former stays as it is. The texts are librdkafka's.
    #[test]
    fn failed_handshakes_are_told_apart() {
        for failed in [
            "ssl://k:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
             broker certificate could not be verified (after 3ms in state SSL_HANDSHAKE)",
            "ssl://k:9093/bootstrap: Receive failed: error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL \
             alert number 46 (after 17ms in state APIVERSION_QUERY)",
        ] {
            assert!(is_failed_handshake(failed), "{failed}");
        }
        for other in [
            "ssl://k:9093/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
            "ssl://k:9093/1: Receive failed: error:0A000126:SSL routines::unexpected eof while reading",
            "k:9092/1: Connect to ipv4#127.0.0.1:9092 failed: Connection refused",
        ] {
            assert!(!is_failed_handshake(other), "{other}");
        }
    }

    /// A login that fails is told apart from other errors by its code, and the one that lacks a token by its words:
    /// librdkafka has one code for both.
    #[test]
    fn failed_logins_are_told_apart() {
        assert!(is_failed_login(&KafkaError::Global(RDKafkaErrorCode::Authentication)));
        assert!(!is_failed_login(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure)));
        assert!(FailedLogin::new("Failed to acquire SASL OAUTHBEARER token: refused").is_without_token);
        assert!(!FailedLogin::new("SASL authentication error: invalid credentials").is_without_token);
    }

    /// A login that fails ends reading and says why; that a token endpoint does not answer does not: the client asks
    /// again, and reads on with the token that it has.
    #[test]
    fn only_a_refused_login_ends_reading() {
        let context = SourceContext::default();
        let told = |reason: &str| {
            context.error(KafkaError::Global(RDKafkaErrorCode::Authentication), reason);
            let error = KafkaError::MessageConsumption(RDKafkaErrorCode::Authentication);
            judge(&context, &config(), None, &error)
        };
        told("Failed to acquire SASL OAUTHBEARER token: connection refused").unwrap();
        let error = told("SASL authentication error: invalid credentials").unwrap_err();
        assert!(matches!(error, SourceError::Login { .. }), "{error}");
        assert!(error.to_string().contains("invalid credentials"), "{error}");
    }

    /// Why a broker is down is kept when it is reported next that all are; the login is handed out once.
    #[test]
    fn the_reason_is_kept() {
        let context = SourceContext::default();
        let error = |code, reason| context.error(KafkaError::Global(code), reason);
        error(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(context.last_error().as_deref(), Some("1/1 brokers are down"));
        error(RDKafkaErrorCode::Authentication, "wrong password");
        error(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(context.last_error().as_deref(), Some("wrong password"));
        assert_eq!(context.take_failed_login(), Some(FailedLogin::new("wrong password")));
        assert_eq!(context.take_failed_login(), None);
    }
}
