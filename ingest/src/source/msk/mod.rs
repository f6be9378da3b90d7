//! Logging in to Amazon MSK by AWS's IAM: librdkafka asks for a token whenever it needs the next one, and gets it here.

#[cfg(feature = "msk")]
mod token;

use std::error::Error;

use rdkafka::client::OAuthToken;

use super::{KafkaConfig, SourceError};

const NOT_BUILT_IN: &str = "which this program cannot use: build it with the feature `msk`, or remove the key";

/// Gives a client its tokens, if the configuration says that they are AWS's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Msk {
    region: String,
}

impl Msk {
    pub(crate) fn new(config: &KafkaConfig) -> Self {
        Self { region: config.aws_msk_iam_region.clone() }
    }

    /// The next token. It blocks for as long as it takes to find AWS's credentials, a few seconds at most.
    ///
    /// # Errors
    /// When there are no credentials, or nothing says where tokens come from. librdkafka reports it, and asks again ten
    /// seconds later.
    pub(crate) fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        if self.region.is_empty() {
            return Err("nothing says where tokens come from: set \"sasl.oauthbearer.method\" = \"oidc\" under \
                        [kafka.options], or kafka.aws_msk_iam_region"
                .into());
        }
        self.next_token()
    }

    #[cfg(feature = "msk")]
    fn next_token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        token::next(&self.region)
    }

    #[cfg(not(feature = "msk"))]
    fn next_token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        Err(NOT_BUILT_IN.into())
    }
}

/// Looks whether the options fit the login, where it is by IAM: librdkafka asks for no token otherwise, and what is
/// wrong would look like a broker that does not answer.
///
/// # Errors
/// When they do not, when the region cannot be one, or when the program was built without the login.
pub(super) fn check(config: &KafkaConfig) -> Result<(), SourceError> {
    let region = config.aws_msk_iam_region.as_str();
    if region.is_empty() {
        return Ok(());
    }
    let refuse = |detail: &str| Err(SourceError::MskIam { region: region.to_owned(), detail: detail.to_owned() });
    if !cfg!(feature = "msk") {
        return refuse(NOT_BUILT_IN);
    }
    // It becomes a part of a host name.
    if !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return refuse("which is no region of AWS; write one such as \"eu-central-1\"");
    }
    let option = |names: &[&str]| {
        let value = names.iter().find_map(|name| config.options.get(*name));
        value.map(|value| value.to_ascii_lowercase()).unwrap_or_default()
    };
    if option(&["sasl.mechanism", "sasl.mechanisms"]) != "oauthbearer" {
        return refuse(
            "but the client logs in otherwise; set \"sasl.mechanism\" = \"OAUTHBEARER\" under [kafka.options]",
        );
    }
    if !option(&["security.protocol"]).starts_with("sasl_") {
        return refuse("but the protocol has no login; set \"security.protocol\" = \"sasl_ssl\" under [kafka.options]");
    }
    if !matches!(option(&["sasl.oauthbearer.method"]).as_str(), "" | "default") {
        return refuse(
            "but tokens come from elsewhere; remove \"sasl.oauthbearer.method\" from [kafka.options], or the key",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(region: &str, options: &str) -> KafkaConfig {
        serde_json::from_str(&format!(r#"{{"aws_msk_iam_region": "{region}", "options": {{{options}}}}}"#)).unwrap()
    }

    /// Options that do not fit the login by IAM are refused, each with the setting to change, and so is a region that
    /// would make another host of the address; those of the manual are taken, and where no region is set any are.
    /// Guarantees that a login is not waited for that the client never tries.
    #[test]
    fn options_fit_the_login() {
        const LOGIN: &str = r#""security.protocol": "sasl_ssl", "sasl.mechanism": "OAUTHBEARER""#;
        for (region, options, told) in [
            ("eu-central-1", "", "sasl.mechanism"),
            ("eu-central-1", r#""security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN""#, "sasl.mechanism"),
            ("eu-central-1", r#""security.protocol": "ssl", "sasl.mechanisms": "OAUTHBEARER""#, "security.protocol"),
            ("eu-central-1", &format!(r#"{LOGIN}, "sasl.oauthbearer.method": "oidc""#), "sasl.oauthbearer.method"),
            ("example.com/", LOGIN, "no region"),
        ] {
            let error = check(&config(region, options)).unwrap_err().to_string();
            // Without the feature all are refused alike.
            assert!(error.contains(if cfg!(feature = "msk") { told } else { "feature `msk`" }), "{error}");
        }
        assert_eq!(check(&config("eu-central-1", LOGIN)).is_ok(), cfg!(feature = "msk"));
        assert!(check(&config("", r#""security.protocol": "plaintext""#)).is_ok());
    }

    /// A client that is to show a token, and is told of no way to one, gets an error that names both ways instead of
    /// waiting for ever.
    #[test]
    fn a_token_from_nowhere_is_an_error() {
        let error = Msk::default().token().err().unwrap().to_string();
        assert!(error.contains("sasl.oauthbearer.method") && error.contains("aws_msk_iam_region"), "{error}");
    }
}
