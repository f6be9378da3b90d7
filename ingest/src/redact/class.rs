//! What was found: the classes of personal data and secrets, their masks, and how often each was met.

/// A class of text that must not be stored. The name of the class is what stands in its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// An e-mail address.
    Email,
    /// A payment card number (issuer prefix, length and Luhn digit agree).
    Card,
    /// A JSON web token.
    Jwt,
    /// The value of an authorization header, or a bearer or basic credential.
    Credentials,
    /// A key or token of a cloud or service, recognised by its prefix.
    Key,
    /// A PEM private key.
    PrivateKey,
    /// The value of a cookie header.
    Cookie,
    /// A password in a DSN or behind a password keyword.
    Password,
    /// Any other value behind a secret keyword.
    Secret,
    /// An international bank account number (length by country and mod 97 agree).
    Iban,
    /// A US social security number near its keyword.
    Ssn,
    /// A phone number near its keyword.
    Phone,
    /// An IP address; found only where configured.
    Ip,
    /// A match of one of the configured deny patterns.
    Denied,
    /// An identifier that became a keyed token; it has no mask.
    Identifier,
    /// An attribute that the strict policy left out; it has no mask.
    Dropped,
    /// A field of a payload that was left out of its sample.
    Field,
    /// A whole payload, kept only as its shape.
    Payload,
}

impl Class {
    /// Number of classes.
    pub const COUNT: usize = 18;

    /// Every class, in the order of the counters.
    pub const ALL: [Class; Self::COUNT] = [
        Class::Email,
        Class::Card,
        Class::Jwt,
        Class::Credentials,
        Class::Key,
        Class::PrivateKey,
        Class::Cookie,
        Class::Password,
        Class::Secret,
        Class::Iban,
        Class::Ssn,
        Class::Phone,
        Class::Ip,
        Class::Denied,
        Class::Identifier,
        Class::Dropped,
        Class::Field,
        Class::Payload,
    ];

    /// The mask that replaces a match, e.g. `<email>`.
    pub const fn mask(self) -> &'static str {
        match self {
            Class::Email => "<email>",
            Class::Card => "<card>",
            Class::Jwt => "<jwt>",
            Class::Credentials => "<credentials>",
            Class::Key => "<key>",
            Class::PrivateKey => "<private_key>",
            Class::Cookie => "<cookie>",
            Class::Password => "<password>",
            Class::Secret => "<secret>",
            Class::Iban => "<iban>",
            Class::Ssn => "<ssn>",
            Class::Phone => "<phone>",
            Class::Ip => "<ip>",
            Class::Denied => "<denied>",
            Class::Identifier => "<identifier>",
            Class::Dropped => "<dropped>",
            Class::Field => "<field>",
            Class::Payload => "<payload>",
        }
    }

    /// The name under which the class is counted, e.g. `email`.
    pub fn name(self) -> &'static str {
        let mask = self.mask();
        &mask[1..mask.len() - 1]
    }
}

/// Length of the mask that starts `bytes`, if one does.
pub(super) fn mask_at(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'<') {
        return None;
    }
    Class::ALL.iter().map(|class| class.mask()).find(|mask| bytes.starts_with(mask.as_bytes())).map(str::len)
}

/// How often each class was met. Small and `Copy`, so that it can be kept per trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedactionCounts {
    counts: [u32; Class::COUNT],
}

impl RedactionCounts {
    /// Counts one match of `class`.
    pub fn add(&mut self, class: Class) {
        let count = &mut self.counts[class as usize];
        *count = count.saturating_add(1);
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &RedactionCounts) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
    }

    /// The count of one class.
    pub fn get(&self, class: Class) -> u32 {
        self.counts[class as usize]
    }

    /// Adds `count` to the class called `name`; false if there is no such class.
    /// For counts that were stored by name and are read back.
    pub fn add_named(&mut self, name: &str, count: u32) -> bool {
        let Some(class) = Class::ALL.into_iter().find(|class| class.name() == name) else { return false };
        let total = &mut self.counts[class as usize];
        *total = total.saturating_add(count);
        true
    }

    /// True if nothing was met.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// The classes that were met, by name, with their counts; in the fixed order of [`Class::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        Class::ALL.into_iter().map(|class| (class.name(), self.get(class))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bundles count masks by the vocabulary's list: a class that it lacks would go uncounted.
    #[test]
    fn the_vocabulary_knows_every_class() {
        let names: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names, tracerag_schemas::bundle::REDACTION_CLASSES);
    }
}
