//! What is wrong with a configuration although each of its values has its type.
//!
//! A message names the key that it is about, as it is written in the file, before any other: that is how its line is
//! found.

use std::path::Path;

use tracerag_ingest::source::{SourceError, TopicRules};
use url::Url;

use super::{Config, ConfigError};
use crate::server::is_this_machine;

/// Names of models; another name is that of a folder.
const MODELS: [&str; 2] = ["all-MiniLM-L6-v2", "hashed-ngrams"];

fn refuse<T>(message: String) -> Result<T, ConfigError> {
    Err(ConfigError::Together(message))
}

impl Config {
    /// That what belongs together fits together.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        const MIB: usize = 1 << 20;
        self.check_places()?;
        if self.lake.flush_bytes.0 < MIB {
            return refuse(String::from("lake.flush_bytes is below 1MiB, so nothing would ever be read; raise it"));
        }
        if self.window.memory.0 < 16 * MIB {
            return refuse(String::from("window.memory is below 16MiB, too little for the open traces; raise it"));
        }
        if self.rekey.spans == self.rekey.logs {
            return refuse(String::from("rekey.spans and rekey.logs name the same topic; give each signal its own"));
        }
        let letters = &self.kafka.dead_letter_topic;
        if !letters.is_empty() && (*letters == self.rekey.spans || *letters == self.rekey.logs) {
            return refuse(format!("{letters:?} is kafka.dead_letter_topic and cannot be named under [rekey], too"));
        }
        self.incident_events.check(&self.topics)?;
        let serve = &self.serve;
        if serve.tls_certificate.is_empty() != serve.tls_key.is_empty() {
            return refuse(String::from("serve.tls_certificate and serve.tls_key go together; set both or none"));
        }
        if !serve.oauth_issuer.is_empty() && serve.public_url.is_empty() {
            return refuse(String::from(
                "serve.oauth_issuer needs serve.public_url: who gives a token has to know what it is for; set both",
            ));
        }
        let is_secret = |url: &Url| match url.scheme() {
            "https" => true,
            "http" => is_this_machine(url),
            _ => false,
        };
        if !serve.oauth_issuer.is_empty() && !Url::parse(&serve.oauth_issuer).is_ok_and(|url| is_secret(&url)) {
            return refuse(format!(
                "serve.oauth_issuer is {:?}, whose keys anybody on the way could change; write its https address",
                serve.oauth_issuer
            ));
        }
        if !serve.oauth_issuer.is_empty() && serve.oauth_tenant_claim.is_empty() {
            return refuse(String::from(
                "serve.oauth_tenant_claim is empty, so no token would be of a tenant; name a claim, such as tenant",
            ));
        }
        // Rows of all tenants cross the network there.
        let is_safe = |url: &Url| is_secret(url) || (url.scheme() == "http" && serve.behind_tls);
        if let Some(peer) = serve.peers.iter().find(|peer| !Url::parse(peer).is_ok_and(|url| is_safe(&url))) {
            return refuse(format!(
                "serve.peers has {peer:?}, and rows would cross the network in clear; write its https address, or set \
                 serve.behind_tls = true where proxies between the servers speak TLS"
            ));
        }
        for (name, webhook) in &serve.webhooks {
            webhook.check(name)?;
        }
        if serve.query_memory.0 < MIB || serve.query_memory.0 > self.memory_limit.0.0 {
            return refuse(format!(
                "serve.query_memory is from 1MiB to memory_limit ({} MiB); change one of them",
                self.memory_limit.0.0 / MIB
            ));
        }
        if self.granted_bytes() > self.memory_limit.0.0 {
            return refuse(format!(
                "memory_limit ({} MiB) is less than what is granted: window.memory {} MiB, twice lake.flush_bytes {} \
                 MiB, fetch buffers {} MiB; raise it or lower those",
                self.memory_limit.0.0 / MIB,
                self.window.memory.0 / MIB,
                self.lake.flush_bytes.0 / MIB,
                self.fetch_bytes() / MIB
            ));
        }
        Ok(())
    }

    /// That a server which computes for others knows them.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn check_exchange(&self) -> Result<(), ConfigError> {
        if self.serve.exchange.is_empty() || !self.serve.peers.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Together(String::from(
            "serve.exchange computes for the servers of serve.peers, of which there are none; name them, or leave out \
             serve.exchange",
        )))
    }

    /// That a worker that re-keys in its own process stays within the memory: once more what is fetched ahead, and as
    /// much that waits to be sent.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn check_rekeying(&self) -> Result<(), ConfigError> {
        let rekeying = 2 * self.fetch_bytes();
        if self.granted_bytes().saturating_add(rekeying) <= self.memory_limit.0.0 {
            return Ok(());
        }
        Err(ConfigError::Together(format!(
            "memory_limit ({} MiB) is less than the {} MiB of the worker and the {} MiB of re-keying in the same \
             process; raise it, lower window.memory, or run `tracerag rekey` as a process of its own",
            self.memory_limit.0.0 >> 20,
            self.granted_bytes() >> 20,
            rekeying >> 20
        )))
    }

    /// That addresses, topics and the model can be what they are meant for.
    fn check_places(&self) -> Result<(), ConfigError> {
        let is_known = |key: &str| self.unresolved.iter().all(|unresolved| unresolved.key != key);
        let serve = &self.serve;
        for (key, address) in [
            ("metrics.listen", &self.metrics.listen),
            ("serve.http", &serve.http),
            ("serve.flight_sql", &serve.flight_sql),
            ("serve.postgres", &serve.postgres),
            ("serve.exchange", &serve.exchange),
        ] {
            if is_known(key) && !address.is_empty() && !has_host_and_port(address) {
                return refuse(format!("{key} is {address:?}; write HOST:PORT, or nothing for none"));
            }
        }
        let brokers = &self.kafka.bootstrap_servers;
        let wrong = brokers.split(',').map(str::trim).find(|broker| !is_broker(broker));
        if let Some(wrong) = wrong.filter(|_| is_known("kafka.bootstrap_servers")) {
            return refuse(format!(
                "kafka.bootstrap_servers has {wrong:?}; write HOST:PORT of one broker or more, with commas between them"
            ));
        }
        match TopicRules::new(&self.topics, &self.kafka.dead_letter_topic) {
            // Who reads no topics needs none.
            Ok(_) | Err(SourceError::NoTopics) => {}
            Err(error) => return refuse(format!("topics: {error}")),
        }
        let model = &self.embedding.model;
        let may_be_folder = model.contains('/') || Path::new(model).is_dir();
        if is_known("embedding.model") && !may_be_folder && !MODELS.contains(&model.as_str()) {
            return refuse(format!(
                "embedding.model is {model:?}; write \"{}\", \"{}\", or the path of a folder with a model",
                MODELS[0], MODELS[1]
            ));
        }
        Ok(())
    }
}

fn has_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// A broker as librdkafka takes it: `[PROTOCOL://]HOST[:PORT]`.
fn is_broker(text: &str) -> bool {
    let host = text.split_once("://").map_or(text, |(_, host)| host);
    !host.is_empty() && (!host.contains(':') || host.ends_with(']') || has_host_and_port(host))
}
