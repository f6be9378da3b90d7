//! Telemetry of any size, of two recordings of real systems: each copy has trace ids and times of its own.
//!
//! The train-ticket system brings many small spans without attributes, the checkout example spans with many attributes,
//! flags, exceptions, and metrics with exemplars. About half of the spans come from each. The copies lie in the six days
//! before the checkout example was recorded.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// The time over which copies are spread, in ns.
const SPREAD: i64 = 6 * 86_400 * 1_000_000_000;
/// Before the hex digits of a trace id, of which half are a copy's own.
const TRACE: &str = "traceId\":\"";
const DIGITS: usize = 16;
/// Before a time in ns.
const TIME: &str = "UnixNano\":\"";
/// Once in each span.
const BEGIN: &str = "\"startTimeUnixNano\":\"";
const END: &str = "\"endTimeUnixNano\":\"";

/// A place in a text that is another in each copy.
struct Place {
    at: Range<usize>,
    value: Value,
}

enum Value {
    /// Half of a trace id.
    Trace(u64),
    /// In ns since the epoch.
    Time(i64),
}

/// OTLP/JSON lines of one signal.
struct Signal {
    name: &'static str,
    text: String,
    places: Vec<Place>,
}

/// What was recorded of one system.
struct Recording {
    name: &'static str,
    signals: Vec<Signal>,
    spans: u64,
    /// From the first start of a span to the last end, in ns since the epoch.
    time: Range<i64>,
}

/// A copy: its number, and by how much it is later than the original, in ns.
type CopyOf = (u64, i64);

/// Writes at least so many spans with their logs and metrics as files to replay, and gives the files. `train_ticket` is a
/// folder with traces and logs of that system.
///
/// # Errors
/// When a recording cannot be read, or a file cannot be written.
pub fn write(folder: &Path, train_ticket: &Path, spans: u64) -> Outcome<Vec<PathBuf>> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkout/recording");
    let checkout = Recording::read("checkout", &checkout, &["traces", "logs", "metrics"])?;
    let train_ticket = Recording::read("train-ticket", train_ticket, &["traces", "logs"])?;
    let each = (train_ticket.spans / checkout.spans).max(1);
    let rounds = spans.div_ceil(train_ticket.spans + each * checkout.spans).max(1);
    let copies = rounds * each;
    let step = (SPREAD / i64::try_from(copies)?).max(checkout.time.end - checkout.time.start);
    // The last copy is at the time of the original.
    let earlier = |copy: u64| -> Outcome<i64> { Ok(-step * i64::try_from(copies - 1 - copy)?) };
    let of_checkout: Vec<CopyOf> =
        (0..copies).map(|copy| Ok((copy, earlier(copy)?))).collect::<Outcome<Vec<CopyOf>>>()?;
    let beside = checkout.time.start - train_ticket.time.start;
    let of_train_ticket: Vec<CopyOf> =
        (0..rounds).map(|round| Ok((round, beside + earlier(round * each)?))).collect::<Outcome<Vec<CopyOf>>>()?;
    let mut files = checkout.write(folder, &of_checkout)?;
    files.extend(train_ticket.write(folder, &of_train_ticket)?);
    Ok(files)
}

impl Recording {
    fn read(name: &'static str, folder: &Path, signals: &[&'static str]) -> Outcome<Self> {
        let signals = signals.iter().map(|signal| Signal::read(folder, signal)).collect::<Outcome<Vec<Signal>>>()?;
        let times = |key: &'static str| {
            let texts = signals.iter().filter(|signal| signal.name == "traces").map(|signal| signal.text.as_str());
            texts
                .flat_map(move |text| text.match_indices(key).filter_map(move |(at, key)| number(text, at + key.len())))
        };
        let spans = times(BEGIN).count() as u64;
        let (Some(begin), Some(end)) = (times(BEGIN).min(), times(END).max()) else {
            return Err(format!("{} has no spans", folder.display()).into());
        };
        Ok(Self { name, signals, spans, time: begin..end })
    }

    fn write(&self, folder: &Path, copies: &[CopyOf]) -> Outcome<Vec<PathBuf>> {
        let mut files = Vec::new();
        for signal in &self.signals {
            let path = folder.join(format!("{}-{}.jsonl.zst", self.name, signal.name));
            let mut out = BufWriter::with_capacity(1 << 20, zstd::Encoder::new(File::create(&path)?, 1)?);
            for copy in copies {
                signal.write(&mut out, *copy)?;
            }
            out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()?;
            files.push(path);
        }
        Ok(files)
    }
}

impl Signal {
    fn read(folder: &Path, name: &'static str) -> Outcome<Self> {
        let path = folder.join(format!("{name}.jsonl.zst"));
        let file = File::open(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let mut text = String::new();
        zstd::Decoder::new(file)?.read_to_string(&mut text)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let places = places(&text);
        Ok(Self { name, text, places })
    }

    fn write(&self, out: &mut impl Write, (copy, later): CopyOf) -> std::io::Result<()> {
        let mut from = 0;
        for Place { at, value } in &self.places {
            out.write_all(&self.text.as_bytes()[from..at.start])?;
            match value {
                Value::Trace(half) => write!(out, "{:016x}", half ^ copy)?,
                Value::Time(time) => write!(out, "{}", time + later)?,
            }
            from = at.end;
        }
        out.write_all(&self.text.as_bytes()[from..])
    }
}

/// Trace ids and times of a text in their order. A time of zero means that there is none.
fn places(text: &str) -> Vec<Place> {
    let traces = text.match_indices(TRACE).filter_map(|(at, key)| {
        let at = at + key.len()..at + key.len() + DIGITS;
        let half = u64::from_str_radix(text.get(at.clone())?, 16).ok()?;
        Some(Place { at, value: Value::Trace(half) })
    });
    let times = text.match_indices(TIME).filter_map(|(at, key)| {
        let at = digits(text, at + key.len());
        let time = text[at.clone()].parse::<i64>().ok().filter(|time| *time > 0)?;
        Some(Place { at, value: Value::Time(time) })
    });
    let mut places: Vec<Place> = traces.chain(times).collect();
    places.sort_unstable_by_key(|place| place.at.start);
    places
}

fn digits(text: &str, from: usize) -> Range<usize> {
    let length = text[from..].bytes().take_while(u8::is_ascii_digit).count();
    from..from + length
}

fn number(text: &str, from: usize) -> Option<i64> {
    text[digits(text, from)].parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Signal, places};

    /// A copy of a line. Guarantees that trace ids, those of links too, and times are another copy's, that what is no time
    /// stays none, and that nothing else changes.
    #[test]
    fn a_copy_has_ids_and_times_of_its_own() {
        let text = r#"{"traceId":"00000000000000010000000000000007","spanId":"0000000000000002","links":[{"traceId":"000000000000000f0000000000000007"}],"startTimeUnixNano":"1000","endTimeUnixNano":"2000","observedTimeUnixNano":"0","name":"1000"}"#;
        let signal = Signal { name: "traces", text: text.to_owned(), places: places(text) };
        let mut copied = Vec::new();
        signal.write(&mut copied, (2, 500)).unwrap();
        let expected = text
            .replace("\"0000000000000001", "\"0000000000000003")
            .replace("\"000000000000000f", "\"000000000000000d")
            .replace(":\"1000\",\"end", ":\"1500\",\"end")
            .replace("2000", "2500");
        assert_eq!(String::from_utf8(copied).unwrap(), expected);
    }
}
