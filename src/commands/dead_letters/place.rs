//! The name of a letter: where it came from.

use std::fmt;
use std::str::FromStr;

/// `TOPIC/PARTITION/OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || String::from("write TOPIC/PARTITION/OFFSET, as `tracerag dead-letters list` prints it");
        let mut parts = text.rsplitn(3, '/');
        let (offset, partition, topic) = (parts.next(), parts.next(), parts.next());
        let topic = topic.filter(|topic| !topic.is_empty()).ok_or_else(wrong)?.to_owned();
        let partition = partition.and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        let offset = offset.and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { topic, partition, offset })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A name is read as it is printed, that of a file's line too; what is none says what one looks like.
    #[test]
    fn places_are_read_as_they_are_printed() {
        for text in ["otlp_spans/1/42", "file:00ff/0/3", "a/b/2/7"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["otlp_spans", "otlp_spans/42", "/1/42", "otlp_spans/x/42", "otlp_spans/1/"] {
            assert!(text.parse::<Place>().unwrap_err().contains("TOPIC/PARTITION/OFFSET"), "{text}");
        }
    }
}
