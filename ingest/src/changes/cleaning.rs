//! Redaction of the fields of a record.

use crate::redact::{AttributeRule, RedactionCounts, Redactor};

/// Masks the fields of one tenant's record, and counts.
pub(super) struct Cleaner<'c> {
    redactor: &'c Redactor,
    counts: &'c mut RedactionCounts,
    tenant: &'c str,
}

impl<'c> Cleaner<'c> {
    pub(super) fn new(redactor: &'c Redactor, counts: &'c mut RedactionCounts, tenant: &'c str) -> Self {
        Self { redactor, counts, tenant }
    }

    /// A text of any content; where it is JSON, the names in it decide over what stands under them.
    pub(super) fn text(&mut self, text: &str) -> String {
        self.redactor.redact_value(self.tenant, AttributeRule::Scan, text, self.counts).into_owned()
    }

    /// A name: a key of a map, a file.
    pub(super) fn name(&mut self, name: &str) -> String {
        self.redactor.redact_name(name, self.counts).into_owned()
    }

    /// What names a record, so that a number is taken as it is.
    pub(super) fn record_id(&mut self, id: &str) -> String {
        self.redactor.redact_value(self.tenant, AttributeRule::RecordId, id, self.counts).into_owned()
    }

    /// The value of the attribute `name`, as the telemetry has it: rows are joined with spans by such values, so both
    /// have to become the same. The fields are the project's own, so none is left out because nobody has allowed it.
    pub(super) fn attribute(&mut self, name: &str, value: &str) -> String {
        match self.redactor.attribute_rule(name) {
            AttributeRule::Pass | AttributeRule::Drop => self.text(value),
            rule => self.redactor.redact_value(self.tenant, rule, value, self.counts).into_owned(),
        }
    }
}
