//! What is known about an attribute name, found once per distinct name: names repeat in every span.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use tracerag_schemas::conventions::{self, Rename};

use super::clean::CleanTexts;
use crate::redact::{AttributeRule, Redactor};

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

/// What is known about a name.
pub(super) struct KeyInfo {
    pub(super) name: Box<str>,
    /// The bytes as sent, where they are not UTF-8.
    raw: Option<Box<[u8]>>,
    hash: u64,
    pub(super) rule: AttributeRule,
    pub(super) rename: Option<Rename>,
    /// Whether an old name may lead to this one.
    pub(super) is_target: bool,
    pub(super) promoted: Option<Promoted>,
    /// Values that the rule left as they are.
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

    /// The number of a name.
    #[inline]
    pub(super) fn id(&mut self, name: &[u8], redactor: &Redactor) -> u32 {
        if let Some(last) = self.infos.get(self.last as usize) {
            let guess = last.next;
            if self.infos.get(guess as usize).is_some_and(|info| info.raw() == name) {
                self.last = guess;
                return guess;
            }
        }
        let id = self.find_or_add(name, redactor);
        if let Some(last) = self.infos.get_mut(self.last as usize) {
            last.next = id;
        }
        self.last = id;
        id
    }

    fn find_or_add(&mut self, name: &[u8], redactor: &Redactor) -> u32 {
        let hash = FxBuildHasher.hash_one(name);
        let infos = &self.infos;
        if let Some(id) = self.by_name.find(hash, |id| infos[*id as usize].raw() == name) {
            return *id;
        }
        let text = String::from_utf8_lossy(name);
        let raw = (text.as_bytes() != name).then(|| Box::from(name));
        let id = self.infos.len() as u32;
        self.infos.push(KeyInfo {
            raw,
            hash,
            rule: redactor.attribute_rule(&text),
            rename: conventions::rename(&text),
            is_target: conventions::is_target(&text),
            promoted: promoted(&text),
            name: Box::from(&*text),
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
