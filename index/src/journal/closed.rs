//! The traces closed in an epoch, as bytes: columns one after the other, then zstd.
//!
//! Layout before compression, all integers little-endian: number of tenants (u32), each as length
//! (u32) and UTF-8; number of traces n (u32); n tenant numbers (u32); n trace ids (16 bytes); n close
//! times (i64); n counts of offsets (u32); then all offsets as source number (u32) and offset (i64).

use std::collections::HashMap;
use std::sync::Arc;

use super::ClosedTrace;

/// Bytes above which the list lies in a file beside the journal.
pub(crate) const INLINE_BYTES: usize = 64 << 10;
/// zstd level: the lists are mostly random ids, so a higher one gains nothing.
const LEVEL: i32 = 3;

pub(crate) fn encode(traces: &[ClosedTrace]) -> std::io::Result<Vec<u8>> {
    let mut tenants: Vec<&str> = Vec::new();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let of: Vec<u32> = traces
        .iter()
        .map(|trace| {
            *numbers.entry(&trace.tenant).or_insert_with(|| {
                tenants.push(&trace.tenant);
                count(tenants.len() - 1)
            })
        })
        .collect();
    let mut out = Vec::with_capacity(16 + traces.len() * 44);
    out.extend(count(tenants.len()).to_le_bytes());
    for tenant in tenants {
        out.extend(count(tenant.len()).to_le_bytes());
        out.extend(tenant.as_bytes());
    }
    out.extend(count(traces.len()).to_le_bytes());
    out.extend(of.iter().flat_map(|tenant| tenant.to_le_bytes()));
    out.extend(traces.iter().flat_map(|trace| trace.trace_id));
    out.extend(traces.iter().flat_map(|trace| trace.closed_at.to_le_bytes()));
    out.extend(traces.iter().flat_map(|trace| count(trace.last_offsets.len()).to_le_bytes()));
    for (source, offset) in traces.iter().flat_map(|trace| &trace.last_offsets) {
        out.extend(source.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    zstd::bulk::compress(&out, LEVEL)
}

/// Nothing here is counted beyond 32 bits: an epoch is bounded by `flush_bytes`.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The traces, or `None` if the bytes are damaged.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<ClosedTrace>> {
    let plain = zstd::stream::decode_all(bytes).ok()?;
    let mut input = Input(&plain);
    let tenants: Vec<Arc<str>> = (0..input.u32()?)
        .map(|_| {
            let length = input.u32()? as usize;
            std::str::from_utf8(input.take(length)?).ok().map(Arc::from)
        })
        .collect::<Option<_>>()?;
    let n = input.u32()? as usize;
    // Every trace takes more than four bytes, so a damaged count cannot ask for much memory.
    if n > plain.len() / 4 {
        return None;
    }
    let of = (0..n).map(|_| tenants.get(input.u32()? as usize).cloned()).collect::<Option<Vec<_>>>()?;
    let ids = (0..n).map(|_| input.take(16)?.try_into().ok()).collect::<Option<Vec<[u8; 16]>>>()?;
    let times = (0..n).map(|_| input.i64()).collect::<Option<Vec<_>>>()?;
    let counts = (0..n).map(|_| input.u32()).collect::<Option<Vec<_>>>()?;
    let traces = of.into_iter().zip(ids).zip(times).zip(counts).map(|(((tenant, trace_id), closed_at), offsets)| {
        let last_offsets = (0..offsets).map(|_| Some((input.u32()?, input.i64()?))).collect::<Option<_>>()?;
        Some(ClosedTrace { tenant, trace_id, closed_at, last_offsets })
    });
    traces.collect()
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was closed comes back as it was, however many tenants and offsets.
        #[test]
        fn closed_traces_survive(
            traces in prop::collection::vec(
                ("[a-c]{0,3}", any::<[u8; 16]>(), any::<i64>(), prop::collection::vec(any::<(u32, i64)>(), 0..4)),
                0..50,
            )
        ) {
            let traces: Vec<ClosedTrace> = traces
                .into_iter()
                .map(|(tenant, trace_id, closed_at, last_offsets)| ClosedTrace {
                    tenant: tenant.into(), trace_id, closed_at, last_offsets,
                })
                .collect();
            prop_assert_eq!(decode(&encode(&traces).unwrap()), Some(traces));
        }

        /// Damaged bytes give nothing, and never a panic.
        #[test]
        fn damage_is_seen(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let compressed = zstd::bulk::compress(&bytes, LEVEL).unwrap();
            let _ = decode(&bytes);
            if let Some(traces) = decode(&compressed) {
                prop_assert!(traces.len() <= bytes.len() / 4);
            }
        }
    }
}
