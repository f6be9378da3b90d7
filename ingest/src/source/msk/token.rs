//! The token: an address at AWS that is signed (Signature Version 4, in its query) and, in base64, shown to MSK, which
//! calls it to learn who signed. Its form is that of AWS's own signers for Kafka clients (aws-msk-iam-sasl-signer).

use std::error::Error;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use url::Url;

/// How long a token holds; MSK takes none that holds longer.
const LASTS: Duration = Duration::from_secs(900);

/// How long credentials are looked for. The thread that waits is the one that reads.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(5);

/// A token from now on, by the credentials that AWS's default chain finds.
///
/// # Errors
/// When it finds none in time.
pub(super) fn next(region: &str) -> Result<OAuthToken, Box<dyn Error>> {
    let credentials = credentials(region).map_err(|reason| format!("no credentials of aws: {reason}"))?;
    signed(region, &credentials, SystemTime::now())
}

/// The environment, the profile, a web identity (EKS), the container (ECS, EKS Pod Identity), the instance (EC2), in
/// this order.
fn credentials(region: &str) -> Result<Credentials, String> {
    let region = Region::new(region.to_owned());
    // Whoever polls the client may be a thread of a runtime, and such a one must not wait for another.
    let found = thread::Builder::new().name("aws-credentials".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|reason| format!("cannot look for them: {reason}"))?;
        let found = runtime.block_on(async {
            let look = async {
                let chain = DefaultCredentialsChain::builder().region(region).build().await;
                chain.provide_credentials().await.map_err(|reason| in_words(&reason))
            };
            tokio::time::timeout(CREDENTIALS_WITHIN, look).await
        });
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
        found.unwrap_or_else(|_| Err(format!("none found within {} seconds", CREDENTIALS_WITHIN.as_secs())))
    });
    let found = found.map_err(|reason| format!("cannot look for them: {reason}"))?;
    found.join().unwrap_or_else(|_| Err("looking for them panicked".to_owned()))
}

/// An error with its causes: those of AWS's libraries say little themselves.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// The token of these credentials, from this time on.
fn signed(region: &str, credentials: &Credentials, at: SystemTime) -> Result<OAuthToken, Box<dyn Error>> {
    let host = format!("https://kafka.{region}.amazonaws.com/");
    let mut address = Url::parse_with_params(&host, [("Action", "kafka-cluster:Connect")])?;

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LASTS);
    let identity = credentials.clone().into();
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(at)
        .settings(settings)
        .build()?
        .into();
    let request = SignableRequest::new("GET", address.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    // Who asks is not signed.
    let agent = ("User-Agent", concat!("tracerag/", env!("CARGO_PKG_VERSION")));
    address.query_pairs_mut().extend_pairs(instructions.params()).append_pair(agent.0, agent.1);

    // It is worth nothing without the credentials.
    let ends = credentials.expiry().map_or(at + LASTS, |expiry| expiry.min(at + LASTS));
    Ok(OAuthToken {
        token: URL_SAFE_NO_PAD.encode(address.as_str()),
        principal_name: "tracerag".to_owned(),
        lifetime_ms: i64::try_from(ends.duration_since(UNIX_EPOCH)?.as_secs() * 1_000)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    /// 2026-11-16T12:00:00Z.
    const AT: Duration = Duration::from_secs(1_794_830_400);

    const SESSION: &str = "IQoJb3JpZ2luX2VjEJ+/token//with+signs==";

    fn credentials(session: Option<&str>, expires: Option<Duration>) -> Credentials {
        let expires = expires.map(|at| UNIX_EPOCH + at);
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        Credentials::new("AKIDEXAMPLE", secret, session.map(str::to_owned), expires, "test")
    }

    fn token(session: Option<&str>, expires: Option<Duration>) -> OAuthToken {
        signed("eu-central-1", &credentials(session, expires), UNIX_EPOCH + AT).unwrap()
    }

    /// Host, path and query of an address.
    fn parts(address: &str) -> (String, String, BTreeMap<String, String>) {
        let address = Url::parse(address).unwrap();
        let query = address.query_pairs().into_owned().collect();
        (address.host_str().unwrap().to_owned(), address.path().to_owned(), query)
    }

    /// The tokens of fixed credentials at a fixed time, with a session and without, are compared part by part with
    /// those that AWS's signer for Python (aws-msk-iam-sasl-signer-python 1.0.2) made of the same: all are equal, the
    /// signature among them, but for the name of the client. Guarantees that MSK takes them as it takes those.
    #[test]
    fn tokens_are_those_of_awss_own_signer() {
        const BEGIN: &str = "https://kafka.eu-central-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
            &X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIDEXAMPLE%2F20261116%2Feu-central-1%2Fkafka-cluster%2Faws4_request\
            &X-Amz-Date=20261116T120000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host";
        for (session, rest) in [
            (None, "&X-Amz-Signature=ebfb7cec6271569e2df47c6c451eee00011c6a5099deabc24374d8df247f226c"),
            (
                Some(SESSION),
                "&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEJ%2B%2Ftoken%2F%2Fwith%2Bsigns%3D%3D\
                 &X-Amz-Signature=f207fc9b8b1ec5297a58cf0b5d9723e1b42eb9f403df2645e258231ac450a54c",
            ),
        ] {
            let token = token(session, None);
            let address = String::from_utf8(URL_SAFE_NO_PAD.decode(&token.token).unwrap()).unwrap();
            let (host, path, mut query) = parts(&address);
            assert!(query.remove("User-Agent").unwrap().starts_with("tracerag/"));
            assert_eq!((host, path, query), parts(&format!("{BEGIN}{rest}")));
            assert_eq!(token.lifetime_ms, 1_794_831_300_000);
        }
    }

    /// A token ends with the credentials that signed it if they end first, and otherwise after a quarter of an hour.
    /// Guarantees that the client does not show one that MSK must refuse.
    #[test]
    fn a_token_ends_with_its_credentials() {
        let ends = |expires| token(Some(SESSION), Some(expires)).lifetime_ms;
        assert_eq!(ends(AT + Duration::from_secs(60)), 1_794_830_460_000);
        assert_eq!(ends(AT + Duration::from_secs(3_600)), 1_794_831_300_000);
    }

    /// Causes stand behind an error in its words.
    #[test]
    fn causes_are_told() {
        let inner = std::io::Error::other("the innermost");
        let outer = aws_credential_types::provider::error::CredentialsError::provider_error(inner);
        assert!(in_words(&outer).ends_with(": the innermost"), "{}", in_words(&outer));
    }
}
