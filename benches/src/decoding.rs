//! Decoding of spans under a policy of redaction, for benches that need no lake.

use std::sync::Arc;
use std::time::Duration;

use tracerag_ingest::otlp::{DecoderConfig, Encoding, Message, OtlpDecoder, Signal};
use tracerag_ingest::redact::{PayloadConfig, Policy, RedactionConfig, Redactor};

use crate::{Outcome, machine};

/// A redactor with the defaults of a policy.
pub fn redactor(policy: Policy) -> Outcome<Redactor> {
    let config =
        RedactionConfig { policy, key: "0123456789abcdef0123456789abcdef".to_owned(), ..RedactionConfig::default() };
    Ok(Redactor::new(&config, &PayloadConfig::default())?)
}

/// CPU time of a run, and what it gives.
pub fn measured(run: impl FnOnce() -> Outcome<usize>) -> Outcome<(Duration, usize)> {
    let before = machine::cpu_time();
    let rows = run()?;
    Ok((machine::cpu_time() - before, rows))
}

/// Decodes messages of spans in batches as a worker does; gives the number of rows.
pub fn decode(messages: &[Vec<u8>], policy: Policy) -> Outcome<usize> {
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(Arc::new(redactor(policy)?)));
    let mut rows = 0;
    for (offset, value) in messages.iter().enumerate() {
        let message = Message {
            value,
            topic: "otlp_spans",
            partition: 0,
            offset: offset as i64,
            tenant: "default",
            timestamp_ns: 1,
            ingested_at: 1,
            headers: &[],
        };
        decoder.decode(Signal::Spans, Encoding::Proto, message)?;
        if decoder.rows() >= 8_192 {
            rows += decoder.finish()?.spans.map_or(0, |batch| batch.num_rows());
        }
    }
    Ok(rows + decoder.finish()?.spans.map_or(0, |batch| batch.num_rows()))
}
