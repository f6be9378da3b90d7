//! The start of a connection: TLS where there is a certificate, and the token as the password, of any user.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, PgWireConnectionState, PidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::Connection;
use super::settings::{Settings, Unset, no_time, too_long};
use super::{INTERFACE, MOST_CONNECTIONS, Service, failure};
use crate::access::Remote;

#[async_trait]
impl StartupHandler for Service {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if self.inner.needs_tls && !client.is_secure() {
                    return Err(failure::fatal_of(
                        "28000",
                        "this server speaks TLS only; connect with sslmode=require",
                    ));
                }
                if self.inner.app.gate().is_open() {
                    return self.let_in(client, None).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                client.send(PgWireBackendMessage::Authentication(Authentication::CleartextPassword)).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(password) => {
                let secret = password.into_password()?.password;
                self.let_in(client, Some(secret)).await
            }
            _ => Ok(()),
        }
    }
}

impl Service {
    async fn let_in<C>(&self, client: &mut C, secret: Option<String>) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let remote = Remote { interface: INTERFACE, address: Some(client.socket_addr().ip().to_canonical()) };
        self.inner.app.gate().let_in(secret.as_deref(), remote).await.map_err(failure::fatal)?;
        let place = Arc::clone(&self.inner.places).try_acquire_owned().map_err(|_| {
            let most = format!(
                "too many connections: this server has {MOST_CONNECTIONS} at once; close one that idles, or share them \
                 by a pool"
            );
            failure::fatal_of("53300", most)
        })?;
        let settings = asked_for(client.metadata())?;
        let reported = settings.reported().map(|(name, value)| (name.to_owned(), value)).collect();
        let (pid, key) = self.inner.keys.generate(&*client);
        client.set_pid_and_secret_key(pid, key.clone());
        let (handle, guard) = self.inner.connections.register(pid, key);
        client.session_extensions().insert(Connection::new(secret, remote, settings, place, handle, guard));
        finish_authentication(client, &Reported(reported)).await
    }
}

/// The settings that a client asks for when it connects, by name or in `options`.
fn asked_for(parameters: &HashMap<String, String>) -> PgWireResult<Settings> {
    let mut settings = Settings::default();
    let named = parameters.iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in named.chain(in_options(parameters.get("options").map_or("", String::as_str))) {
        match settings.set(&name, Some(&value)) {
            // The rest is no setting: user, database, options, or of no bearing here.
            Ok(()) | Err(Unset::Unknown(_) | Unset::NoSavepoint(_) | Unset::NoTransaction) => {}
            Err(Unset::NoTime { name, value }) => return Err(failure::fatal_of("22023", no_time(name, &value))),
            Err(Unset::TooLong { name }) => return Err(failure::fatal_of("22023", too_long(name))),
            Err(Unset::Fixed { name, value }) => {
                return Err(failure::fatal_of("22023", format!("{name} is {value} here; connect without setting it")));
            }
        }
    }
    settings.begin();
    Ok(settings)
}

/// Settings in options as PostgreSQL's server takes them on its command line: `-c name=value`, `-cname=value` and
/// `--name=value`, with blanks between, unless a backslash stands before one.
fn in_options(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut rest = options.chars();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_ascii_whitespace() => words.push(String::new()),
            c => {
                let c = if c == '\\' { rest.next() } else { Some(c) };
                if let (Some(word), Some(c)) = (words.last_mut(), c) {
                    word.push(c);
                }
            }
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(setting) => Some(setting.to_owned()),
            None => word.strip_prefix("--").map(str::to_owned),
        };
        if let Some((name, value)) = setting.as_deref().and_then(|setting| setting.split_once('=')) {
            // On a command line a name may be written with either.
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

/// Settings that a client is told when it was let in.
struct Reported(HashMap<String, String>);

impl ServerParameterProvider for Reported {
    fn server_parameters<C>(&self, _: &C) -> Option<HashMap<String, String>>
    where
        C: ClientInfo,
    {
        Some(self.0.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Settings come by name and in `options`; a name that is no setting is passed over, and a value that would change
    /// how values are written is refused.
    #[test]
    fn a_client_asks_for_settings() {
        let asked = |pairs: &[(&str, &str)]| {
            asked_for(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let settings = asked(&[
            ("user", "anna"),
            ("TimeZone", "Europe/Berlin"),
            ("options", "-c statement_timeout=5s --application_name=psql"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.show("timezone").unwrap().1, "Europe/Berlin");
        assert_eq!(settings.show("statement_timeout").unwrap().1, "5s");
        assert_eq!(settings.show("application_name").unwrap().1, "psql");
        assert!(asked(&[("client_encoding", "LATIN1")]).is_err());
        assert!(asked(&[("options", "-cclient_encoding=LATIN1")]).is_err());
    }

    /// Options are read in each form that PostgreSQL reads, and what is no setting is passed over.
    #[test]
    fn options_have_three_forms() {
        let read = in_options(r"-cstatement_timeout=5s  -c TimeZone=Asia/Tokyo --application-name=a\ b\\c -e -c");
        let wanted = [("statement_timeout", "5s"), ("TimeZone", "Asia/Tokyo"), ("application_name", r"a b\c")];
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
