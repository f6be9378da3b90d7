//! What is known about an attribute name, found once per distinct name: names repeat in every span.
//!
//! A name can itself be personal (a map from address to something), so the name that is kept, judged and written is the
//! redacted one. Names that become equal are one name here: their entries stay, one behind the other, as those of a name
//! that was sent twice do. A name that something was masked in is redacted anew each time, so that only its masked form
//! takes room, however many persons there are. No well-known name has anything to mask, so that they are looked up by
//! the redacted name is the same.

use std::borrow::Cow;
use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use tracerag_schemas::conventions::{self, Rename};

use super::clean::CleanTexts;
use super::derive::Side;
use crate::redact::{AttributeRule, RedactionCounts, Redactor, end_of_name};

/// Names kept; senders that make names up do not fill the memory.
const MAX_KEYS: usize = 1 << 16;

/// Attributes with a text column of their own on spans; the column has `_` for `.`.
pub(super) const SPAN_TEXTS: [&str; 15] = [
    "error.type",
    "http.request.method",
    "http.route",
    "url.path",
    "rpc.system.name",
    "rpc.method",
    "rpc.status_code",
    "db.system.name",
    "db.namespace",
    "db.collection.name",
    "db.operation.name",
    "db.query.summary",
    "messaging.system",
    "messaging.destination.name",
    "server.address",
];

/// Position of `rpc.method` in [`SPAN_TEXTS`].
pub(super) const RPC_METHOD: usize = 5;

/// Attributes with a number column of their own on spans.
pub(super) const SPAN_CODES: [&str; 2] = ["http.response.status_code", "server.port"];

/// Attributes of resources with a column of their own; the last one stands in for the instance.
pub(super) const RESOURCE_TEXTS: [&str; 6] = [
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "k8s.pod.name",
];

/// What else an attribute's value is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promoted {
    /// A column of [`SPAN_TEXTS`].
    SpanText(u8),
    /// A column of [`SPAN_CODES`].
    SpanCode(u8),
    /// A column of [`RESOURCE_TEXTS`].
    ResourceText(u8),
    /// `event.name`, which older log libraries send as an attribute.
    EventName,
    /// `rpc.service`, the first part of a fully qualified method.
    RpcService,
    /// The content type of a request's payload.
    RequestContentType,
    /// The content type of a response's payload.
    ResponseContentType,
}

fn promoted(name: &str) -> Option<Promoted> {
    let position = |names: &[&str]| names.iter().position(|other| *other == name).map(|index| index as u8);
    match name {
        "event.name" => Some(Promoted::EventName),
        "rpc.service" => Some(Promoted::RpcService),
        "http.request.header.content-type" => Some(Promoted::RequestContentType),
        "http.response.header.content-type" => Some(Promoted::ResponseContentType),
        _ => position(&SPAN_TEXTS)
            .map(Promoted::SpanText)
            .or_else(|| position(&SPAN_CODES).map(Promoted::SpanCode))
            .or_else(|| position(&RESOURCE_TEXTS).map(Promoted::ResourceText)),
    }
}

/// All sides, each at its number.
const SIDES: [Side; 2] = [Side::Server, Side::Other];

/// The rules of a name, by [`Side`]: its own, and those with what holds for the names that it leads to. A value is
/// the same under its old and its new name, and so is what must not be stored of it. A connection string is a secret
/// of which host and port are none.
fn rules(name: &str, rename: Option<Rename>, redactor: &Redactor) -> [[AttributeRule; 2]; 2] {
    let rule = |name: &str, side| match side {
        Side::Server => redactor.server_attribute_rule(name),
        Side::Other => redactor.attribute_rule(name),
    };
    let own = SIDES.map(|side| rule(name, side));
    let folded = SIDES.map(|side| {
        let own = rule(name, side);
        let with = |own, target: &str| with_target(own, rule(target, side));
        match rename {
            None | Some(Rename::ConnectionString) => own,
            Some(Rename::To(target) | Rename::AsText(target)) => with(own, target),
            Some(Rename::Prefix { old, new }) => {
                with(own, &format!("{new}{}", name.strip_prefix(old).unwrap_or_default()))
            }
            Some(Rename::Peer { on_server, on_client }) => {
                with(own, if side == Side::Server { on_server } else { on_client })
            }
            Some(rename) => rename.targets().iter().fold(own, |own, &target| with(own, target)),
        }
    });
    [own, folded]
}

/// The stricter of the rule of an old name and that of a name that it leads to.
fn with_target(own: AttributeRule, target: AttributeRule) -> AttributeRule {
    match (own, target) {
        (AttributeRule::Payload | AttributeRule::Drop, _) => own,
        (_, AttributeRule::DenyMask) => target,
        (
            AttributeRule::Scan | AttributeRule::RecordId | AttributeRule::Pass,
            AttributeRule::Secret(_) | AttributeRule::Suspect(_) | AttributeRule::Identifier | AttributeRule::Payload,
        ) => target,
        _ => own,
    }
}

/// What is known about a name.
pub(super) struct KeyInfo {
    /// As it is stored.
    pub(super) name: Box<str>,
    /// The bytes as sent, where they are not UTF-8.
    raw: Option<Box<[u8]>>,
    hash: u64,
    /// What is done with values under this name, by [`Side`].
    rules: [AttributeRule; 2],
    /// What would be done if it were not an old name of another.
    own_rules: [AttributeRule; 2],
    pub(super) rename: Option<Rename>,
    /// Whether an old name may lead to this one.
    pub(super) is_target: bool,
    pub(super) promoted: Option<Promoted>,
    /// Values that the rule of [`Side::Other`] left as they are.
    pub(super) clean: CleanTexts<4>,
    /// The list in which the name was seen last.
    seen: u32,
    /// The name that stood behind this one the last time: senders write their attributes in the same order.
    next: u32,
}

impl KeyInfo {
    fn raw(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.name.as_bytes())
    }

    /// What is done with values under this name on a record of this side.
    #[inline]
    pub(super) fn rule(&self, side: Side) -> AttributeRule {
        self.rules[side as usize]
    }

    /// What is done with what is derived from such a value, as far as the old name says it.
    pub(super) fn own_rule(&self, side: Side) -> AttributeRule {
        self.own_rules[side as usize]
    }

    /// Whether [`Self::clean`] holds for records of this side.
    #[inline]
    pub(super) fn is_clean_known(&self, side: Side) -> bool {
        side == Side::Other || self.rules[0] == self.rules[1]
    }
}

/// All names met, numbered.
#[derive(Default)]
pub(super) struct KeyTable {
    infos: Vec<KeyInfo>,
    by_name: HashTable<u32>,
    list: u32,
    last: u32,
}

impl KeyTable {
    /// Begins a list; numbers of names hold until the next one.
    #[inline]
    pub(super) fn begin_list(&mut self) {
        if self.infos.len() > MAX_KEYS || self.list == u32::MAX {
            *self = Self::default();
        }
        self.list += 1;
    }

    /// The number of a name; `counts` are told what is masked in it.
    #[inline]
    pub(super) fn id(&mut self, name: &[u8], redactor: &Redactor, counts: &mut RedactionCounts) -> u32 {
        if let Some(last) = self.infos.get(self.last as usize) {
            let guess = last.next;
            if self.infos.get(guess as usize).is_some_and(|info| info.raw() == name) {
                self.last = guess;
                return guess;
            }
        }
        let id = self.find_or_add(name, redactor, counts);
        if let Some(last) = self.infos.get_mut(self.last as usize) {
            last.next = id;
        }
        self.last = id;
        id
    }

    /// The number of `key` under the name `parent`: the member `id` of a map `user` is a `user.id`.
    pub(super) fn qualified(&mut self, parent: u32, key: u32, redactor: &Redactor) -> u32 {
        let name = format!("{}.{}", end_of_name(&self.get(parent).name), self.get(key).name);
        // Nothing is written under it.
        self.find_or_add(name.as_bytes(), redactor, &mut RedactionCounts::default())
    }

    fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        self.by_name.find(hash, |id| self.infos[*id as usize].raw() == name).copied()
    }

    fn find_or_add(&mut self, name: &[u8], redactor: &Redactor, counts: &mut RedactionCounts) -> u32 {
        let hash = FxBuildHasher.hash_one(name);
        if let Some(id) = self.find(hash, name) {
            return id;
        }
        let text = String::from_utf8_lossy(name);
        match redactor.redact_name(&text, counts) {
            Cow::Borrowed(_) => {
                let raw = (text.as_bytes() != name).then(|| Box::from(name));
                self.add(hash, &text, raw, redactor)
            }
            Cow::Owned(masked) => {
                let hash = FxBuildHasher.hash_one(masked.as_bytes());
                self.find(hash, masked.as_bytes()).unwrap_or_else(|| self.add(hash, &masked, None, redactor))
            }
        }
    }

    /// Takes in a name as it is stored.
    fn add(&mut self, hash: u64, text: &str, raw: Option<Box<[u8]>>, redactor: &Redactor) -> u32 {
        let id = self.infos.len() as u32;
        let rename = conventions::rename(text);
        let [own_rules, rules] = rules(text, rename, redactor);
        self.infos.push(KeyInfo {
            raw,
            hash,
            rules,
            own_rules,
            rename,
            is_target: conventions::is_target(text),
            promoted: promoted(text),
            name: Box::from(text),
            clean: CleanTexts::default(),
            seen: 0,
            next: id,
        });
        let infos = &self.infos;
        self.by_name.insert_unique(hash, id, |id| infos[*id as usize].hash);
        id
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &KeyInfo {
        &self.infos[id as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> &mut KeyInfo {
        &mut self.infos[id as usize]
    }

    /// Marks a name as present in the list; says whether it was already.
    #[inline]
    pub(super) fn mark(&mut self, id: u32) -> bool {
        let seen = &mut self.infos[id as usize].seen;
        std::mem::replace(seen, self.list) == self.list
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::redact::{Class, PayloadConfig, RedactionConfig};

    /// A thousand names with a thousand persons in them are one name here, and each is counted: guarantees that senders
    /// which make a name for each person neither fill the table nor push well-known names out of it.
    #[test]
    fn names_of_persons_take_no_room() {
        let config = RedactionConfig { key: "a key of the tests, long enough".into(), ..Default::default() };
        let redactor = Redactor::new(&config, &PayloadConfig::default()).unwrap();
        let (mut keys, mut counts) = (KeyTable::default(), RedactionCounts::default());
        keys.begin_list();
        let route = keys.id(b"http.route", &redactor, &mut counts);
        for person in 0..1000 {
            let id = keys.id(format!("cart of p{person}@example.com").as_bytes(), &redactor, &mut counts);
            assert_eq!(&*keys.get(id).name, "cart of <email>");
        }
        assert_eq!((keys.infos.len(), counts.get(Class::Email)), (2, 1000));
        assert_eq!(keys.id(b"http.route", &redactor, &mut counts), route);
    }
}
