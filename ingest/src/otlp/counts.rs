//! What a decoder dropped, changed or put up with, by kind.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often each deviation was met. All of them are harmless for the rest of the message.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct DecodeCounts { $($(#[$doc])* pub $name: u64,)* }

        impl DecodeCounts {
            /// Every kind that was met, by name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter().filter(|(_, count)| *count > 0)
            }

            /// Adds the counts of `other`.
            pub fn merge(&mut self, other: &DecodeCounts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Records and metric points that are no protobuf of their kind or nested too deeply, dropped from a message
    /// that is otherwise good.
    bad_records,
    /// Spans dropped because their trace id has another length than 16 bytes or is all zeros.
    invalid_trace_id,
    /// Spans dropped because their span id has another length than 8 bytes or is all zeros.
    invalid_span_id,
    /// Parent ids of another length or all zeros, taken as absent; an empty one is no deviation.
    invalid_parent_id,
    /// Ids of logs, links and exemplars of another length or all zeros, taken as absent.
    invalid_reference_id,
    /// Log records without any field, dropped.
    empty_records,
    /// Metrics without a kind of data, or of one that OTLP does not know: they have no points.
    metrics_without_data,
    /// Further entries of a key in one list of attributes; all are kept.
    duplicate_keys,
    /// Old and new name of an attribute in one list with different values; both are kept.
    rename_conflicts,
    /// Texts that were not UTF-8; the bad bytes became U+FFFD.
    invalid_utf8,
    /// Times and counts above 2^63 - 1, which became that.
    saturated_numbers,
    /// Ids in base64 in JSON, where hex is the rule.
    json_base64_ids,
    /// Names of enumerations in JSON, where numbers are the rule.
    json_enum_names,
    /// Names of fields in snake case in JSON, where lower camel case is the rule.
    json_snake_case,
    /// Values in JSON of another type than the field's, read as that type where it is clear what is meant.
    json_other_types,
    /// Values in JSON that cannot be read as their field's type or are nested too deeply, left out.
    json_misfits,
    /// Halves of surrogate pairs that stand alone in JSON; each became U+FFFD.
    json_lone_surrogates,
}

impl DecodeCounts {
    /// Records dropped for their ids.
    pub(super) fn invalid_ids(&self) -> u64 {
        self.invalid_trace_id + self.invalid_span_id
    }
}
