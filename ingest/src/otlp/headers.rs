//! Headers of the Kafka record as attributes of the resources in it, as the Collector's `header_extraction` has them.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

/// Attributes `kafka.header.<name>` in the wire format of a `Resource`, to be put behind one: a text, or an array of
/// texts where the header comes more than once. Empty, and free, without headers.
pub(super) fn header_attributes(headers: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    let mut by_name: Vec<(&str, Vec<Value>)> = Vec::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        match by_name.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) => values.push(Value::StringValue(text)),
            None => by_name.push((*name, vec![Value::StringValue(text)])),
        }
    }
    let attribute = |(name, mut values): (&str, Vec<Value>)| {
        let value = match values.len() {
            1 => values.pop(),
            _ => {
                let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
                Some(Value::ArrayValue(ArrayValue { values }))
            }
        };
        KeyValue { key: format!("kafka.header.{name}"), value: Some(AnyValue { value }), key_strindex: 0 }
    };
    let attributes = by_name.into_iter().map(attribute).collect();
    Resource { attributes, ..Resource::default() }.encode_to_vec()
}
