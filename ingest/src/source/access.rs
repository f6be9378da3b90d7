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

/// The error of a broker that refuses the client, if it is one.
pub(super) fn refused(action: &str, error: &KafkaError) -> Option<SourceError> {
    use RDKafkaErrorCode as Code;
    let is_refusal = is_failed_login(error)
        || matches!(
            error.rdkafka_error_code()?,
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::UnknownTopic
        );
    is_refusal.then(|| SourceError::Refused { action: action.to_owned(), reason: error.clone() })
}

/// Which errors end reading.
pub(super) fn judge(
    context: &SourceContext,
    servers: &str,
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
        return Err(SourceError::Login { servers: servers.to_owned(), reason });
    }
    if let Some(error) = refused("reading", error) {
        return Err(error);
    }
    tracing::warn!(%error, source = source.map(ToString::to_string), "kafka; the client tries again");
    Ok(())
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
            judge(&context, "kafka:9092", None, &error)
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
