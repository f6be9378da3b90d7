//! Redaction of structured values that are stored as JSON text: names decide there as they do for attributes.

use std::borrow::Cow;

use super::class::RedactionCounts;
use super::json_tokens::{Token, Tokens, is_json, unquote};
use super::names::end_of_name;
use super::{AttributeRule, Redactor};

/// Members of OTLP's `AnyValue` and its lists: their names say the type, not the meaning of what is in them.
const ANY_VALUE_MEMBERS: &[&str] = &[
    "stringValue",
    "boolValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
    "values",
    "value",
];

/// One open object or array.
struct Level {
    is_object: bool,
    /// The name under which it stands; lists and OTLP's own members hand on the one around them.
    parent: String,
    /// The name under which what is read now stands.
    name: String,
    /// The rule that holds for values here unless a name says otherwise.
    rule: AttributeRule,
    /// The rule of the member that is being read.
    member: AttributeRule,
    /// The rule of the name in `{"key": name, "value": ...}`, OTLP's form of a map entry.
    entry: Option<AttributeRule>,
    entry_name: String,
    is_entry_key: bool,
    /// The next string is the name of a member.
    expects_name: bool,
}

impl Redactor {
    /// Redacts JSON text (plain, or OTLP/JSON `AnyValue`): the rules of attribute names apply to its members at any
    /// depth, all other strings are searched. Everything that is not redacted stays byte for byte; the result is
    /// valid JSON if `text` was. Text that is no JSON is treated as free text.
    pub fn redact_json_text<'a>(&self, tenant: &str, text: &'a str, counts: &mut RedactionCounts) -> Cow<'a, str> {
        if self.is_off() {
            return Cow::Borrowed(text);
        }
        if !is_json(text) {
            return self.redact_text(text, counts);
        }
        let mut rewriter = Rewriter { redactor: self, tenant, text, output: String::new(), copied: 0 };
        rewriter.run(counts);
        if rewriter.copied == 0 {
            return Cow::Borrowed(text);
        }
        rewriter.output.push_str(&text[rewriter.copied..]);
        Cow::Owned(rewriter.output)
    }

    /// A value that may be JSON: by the names in it, and as the text that it is, so that what is found in a text is
    /// found in it as well.
    pub(super) fn redact_json_value<'a>(
        &self,
        tenant: &str,
        text: &'a str,
        counts: &mut RedactionCounts,
    ) -> Cow<'a, str> {
        let redacted = match self.redact_json_text(tenant, text, counts) {
            Cow::Borrowed(text) => return self.redact_text(text, counts),
            Cow::Owned(redacted) => redacted,
        };
        let Cow::Owned(searched) = self.redact_text(&redacted, counts) else { return Cow::Owned(redacted) };
        // What was masked in a name now decides over its value, as it would if this text were read again.
        match self.redact_json_text(tenant, &searched, counts) {
            Cow::Owned(again) => Cow::Owned(again),
            Cow::Borrowed(_) => Cow::Owned(searched),
        }
    }
}

struct Rewriter<'r, 'a> {
    redactor: &'r Redactor,
    tenant: &'r str,
    text: &'a str,
    output: String,
    /// How much of the text stands in the output already.
    copied: usize,
}

impl Rewriter<'_, '_> {
    fn run(&mut self, counts: &mut RedactionCounts) {
        let mut tokens = Tokens::new(self.text);
        let mut levels: Vec<Level> = Vec::new();
        while let Some((token, raw)) = tokens.next() {
            let end = tokens.position();
            match token {
                Token::Mark(mark @ (b'{' | b'[')) => {
                    let (rule, parent) = match levels.last() {
                        // The members of a list or map are no ids of records because it is named like one.
                        Some(level) if level.member == AttributeRule::RecordId && mark == b'{' => {
                            (AttributeRule::Scan, level.name.clone())
                        }
                        Some(level) => (level.member, level.name.clone()),
                        None => (AttributeRule::Scan, String::new()),
                    };
                    let is_object = mark == b'{';
                    levels.push(Level {
                        is_object,
                        name: parent.clone(),
                        parent,
                        rule,
                        member: rule,
                        entry: None,
                        entry_name: String::new(),
                        is_entry_key: false,
                        expects_name: is_object,
                    });
                }
                Token::Mark(b'}' | b']') => {
                    levels.pop();
                }
                Token::Mark(b',') => {
                    if let Some(level) = levels.last_mut() {
                        level.expects_name = level.is_object;
                    }
                }
                Token::Mark(_) => {}
                Token::String => match levels.last_mut() {
                    Some(level) if level.expects_name => {
                        level.expects_name = false;
                        let name = unquote(raw);
                        // A name can itself be personal, e.g. a map from address to something. What is masked then
                        // decides, as it would if this text were read again.
                        let kept = self.redactor.redact_text(&name, counts);
                        self.enter_member(level, &kept);
                        if let Cow::Owned(masked) = &kept {
                            self.replace(end - raw.len(), end, masked);
                        }
                    }
                    Some(level) if level.is_entry_key => {
                        level.is_entry_key = false;
                        let name = unquote(raw);
                        let kept = self.redactor.redact_text(&name, counts);
                        level.entry = Some(self.rule_of(&level.parent, &kept, level.rule));
                        level.entry_name.clear();
                        level.entry_name.push_str(end_of_name(&kept));
                        if let Cow::Owned(masked) = &kept {
                            self.replace(end - raw.len(), end, masked);
                        }
                    }
                    level => {
                        let rule = level.map_or(AttributeRule::Scan, |level| level.member);
                        let value = unquote(raw);
                        if let Cow::Owned(masked) = self.redactor.redact_value(self.tenant, rule, &value, counts) {
                            self.replace(end - raw.len(), end, &masked);
                        }
                    }
                },
                Token::Number => {
                    let rule = levels.last().map_or(AttributeRule::Scan, |level| level.member);
                    let value = match rule {
                        AttributeRule::Scan | AttributeRule::Pass if raw.len() < 13 => Cow::Borrowed(raw),
                        // Read alone, so that nothing around the number is needed to see that it is a card.
                        rule => self.redactor.redact_value(self.tenant, rule, raw, counts),
                    };
                    if let Cow::Owned(masked) = value {
                        self.replace(end - raw.len(), end, &masked);
                    }
                }
                Token::Word => {}
            }
        }
    }

    fn enter_member(&self, level: &mut Level, name: &str) {
        level.is_entry_key = name == "key";
        let (member, name) = match level.entry {
            Some(entry) if name == "value" => (entry, level.entry_name.as_str()),
            _ if level.is_entry_key || ANY_VALUE_MEMBERS.contains(&name) => (level.rule, level.parent.as_str()),
            _ => (self.rule_of(&level.parent, name, level.rule), name),
        };
        level.member = member;
        let name = end_of_name(name).to_owned();
        level.name = name;
    }

    /// The rule of a name under `parent`, within a value whose own rule is `outer`: `{"user": {"id": ...}}` is a
    /// `user.id`. The strict policy judges whole attributes only.
    fn rule_of(&self, parent: &str, name: &str, outer: AttributeRule) -> AttributeRule {
        let rule = |name: &str| match self.redactor.attributes.remembered_rule(name) {
            AttributeRule::Scan | AttributeRule::Pass | AttributeRule::Drop => None,
            rule => Some(rule),
        };
        if parent.is_empty() {
            return rule(name).unwrap_or(outer);
        }
        // What it stands in may say that it is no record's: `{"card": {"reference_id": ...}}`.
        let alone = |name: &str| rule(name).filter(|rule| *rule != AttributeRule::RecordId);
        rule(&format!("{parent}.{name}")).or_else(|| alone(name)).unwrap_or(outer)
    }

    /// Puts a JSON string in place of a token.
    fn replace(&mut self, start: usize, end: usize, value: &str) {
        self.output.push_str(&self.text[self.copied..start]);
        self.output.push_str(&serde_json::Value::from(value).to_string());
        self.copied = end;
    }
}
