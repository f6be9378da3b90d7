//! Tokens that are known by their form: JSON web tokens, keys of services, PEM private keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use super::super::class::Class;
use super::{Span, at, before, is_base64, run_end};

/// Longest header of a JSON web token that is decoded, in bytes of base64.
const MAX_JWT_HEADER: usize = 8192;

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Three (or, encrypted, five) parts whose first decodes to a JSON object. A cut-off token counts with two.
pub(in super::super) fn find_jwt(text: &[u8], spans: &mut Vec<Span>) {
    let mut next = 0;
    for start in memmem::find_iter(text, b"ey") {
        if start < next || is_base64url(before(text, start)) && !is_escaped(text, start) {
            continue;
        }
        let header_end = run_end(text, start, is_base64url);
        next = header_end;
        if at(text, header_end) != b'.' || header_end - start > MAX_JWT_HEADER {
            continue;
        }
        let is_header = URL_SAFE_NO_PAD
            .decode(&text[start..header_end])
            .is_ok_and(|header| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&header).is_ok());
        let mut end = run_end(text, header_end + 1, is_base64url);
        if !is_header || end < header_end + 5 {
            continue;
        }
        while at(text, end) == b'.' && (is_base64url(at(text, end + 1)) || at(text, end + 1) == b'.') {
            end = run_end(text, end + 1, is_base64url);
        }
        if at(text, end) == b'.' && text[start..end].iter().filter(|b| **b == b'.').count() == 1 {
            end += 1;
        }
        next = end;
        spans.push(Span::new(start, end, Class::Jwt));
    }
}

/// The letter before `start` belongs to an escape such as `%20` or `\n`.
fn is_escaped(text: &[u8], start: usize) -> bool {
    (start >= 3 && text[start - 3] == b'%') || (start >= 2 && text[start - 2] == b'\\')
}

/// The form of a service's keys: prefix, the bytes that follow, their least and greatest number.
struct KeyForm {
    prefix: &'static [u8],
    accept: fn(u8) -> bool,
    min: usize,
    max: usize,
    /// Whether prose and names begin so too: of these only what has a digit is a key.
    is_wordy: bool,
}

const fn key(prefix: &'static str, accept: fn(u8) -> bool, min: usize, max: usize) -> KeyForm {
    KeyForm { prefix: prefix.as_bytes(), accept, min, max, is_wordy: false }
}

const fn wordy(prefix: &'static str, accept: fn(u8) -> bool, min: usize, max: usize) -> KeyForm {
    KeyForm { prefix: prefix.as_bytes(), accept, min, max, is_wordy: true }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn dotted(byte: u8) -> bool {
    is_base64url(byte) || byte == b'.'
}

fn lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// From the services' own documentation of their key formats. Lengths are lower bounds where they have varied.
const KEY_FORMS: &[KeyForm] = &[
    key("AKIA", upper, 16, 16),
    key("ASIA", upper, 16, 16),
    key("ABIA", upper, 16, 16),
    key("ACCA", upper, 16, 16),
    key("ghp_", alnum, 20, 255),
    key("gho_", alnum, 20, 255),
    key("ghu_", alnum, 20, 255),
    key("ghs_", alnum, 20, 255),
    key("ghr_", alnum, 20, 255),
    key("github_pat_", is_base64url, 20, 255),
    // https://docs.gitlab.com/security/tokens/#token-prefixes
    key("glpat-", dotted, 16, 255),
    key("gloas-", dotted, 16, 255),
    key("gldt-", dotted, 16, 255),
    key("glrt-", dotted, 16, 255),
    key("glrtr-", dotted, 16, 255),
    key("glcbt-", dotted, 16, 255),
    key("glptt-", dotted, 16, 255),
    key("glft-", dotted, 16, 255),
    key("glimt-", dotted, 16, 255),
    wordy("glagent-", dotted, 40, 255),
    key("glsoat-", dotted, 16, 255),
    key("glffct-", dotted, 16, 255),
    key("glwt-", dotted, 16, 255),
    key("GR1348941", is_base64url, 20, 255),
    wordy("sk-", is_base64url, 20, 255),
    key("sk_live_", alnum, 16, 255),
    key("sk_test_", alnum, 16, 255),
    key("rk_live_", alnum, 16, 255),
    key("rk_test_", alnum, 16, 255),
    key("pk_live_", alnum, 16, 255),
    key("pk_test_", alnum, 16, 255),
    key("whsec_", is_base64, 20, 255),
    wordy("xoxa-", is_base64url, 10, 255),
    wordy("xoxb-", is_base64url, 10, 255),
    wordy("xoxc-", is_base64url, 10, 255),
    wordy("xoxd-", is_base64url, 10, 255),
    wordy("xoxe-", is_base64url, 10, 255),
    wordy("xoxe.", dotted, 10, 255),
    wordy("xoxo-", is_base64url, 10, 255),
    wordy("xoxp-", is_base64url, 10, 255),
    wordy("xoxr-", is_base64url, 10, 255),
    wordy("xoxs-", is_base64url, 10, 255),
    wordy("xapp-", is_base64url, 10, 255),
    key("AIza", is_base64url, 35, 35),
    key("ya29.", is_base64url, 20, 2048),
    key("GOCSPX-", is_base64url, 20, 64),
    wordy("npm_", alnum, 36, 36),
    wordy("pypi-", is_base64url, 50, 1024),
    wordy("hf_", alnum, 30, 64),
    wordy("SG.", dotted, 40, 128),
    wordy("hvs.", is_base64url, 24, 255),
    wordy("hvb.", is_base64url, 24, 1024),
    wordy("hvr.", is_base64url, 24, 255),
    key("shpat_", lower_hex, 32, 32),
    key("shpss_", lower_hex, 32, 32),
    key("shpca_", lower_hex, 32, 32),
    key("shppa_", lower_hex, 32, 32),
    key("dop_v1_", lower_hex, 64, 64),
    key("doo_v1_", lower_hex, 64, 64),
    key("dor_v1_", lower_hex, 64, 64),
    key("dapi", lower_hex, 32, 32),
    key("ATATT3", is_base64url, 40, 512),
    wordy("LTAI", alnum, 12, 24),
    wordy("dckr_pat_", is_base64url, 20, 255),
    wordy("glc_", is_base64, 40, 512),
    wordy("glsa_", is_base64url, 32, 255),
    key("NRAK-", upper, 27, 27),
    key("AGE-SECRET-KEY-1", upper, 58, 58),
];

/// The secret of an application in Microsoft Entra ID (Azure AD): three characters and a digit, this, and 31 to 34 more.
const ENTRA_MARK: &[u8] = b"Q~";
const ENTRA_HEAD: usize = 4;
const ENTRA_BODY: std::ops::RangeInclusive<usize> = 31..=34;

fn is_entra(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'~' | b'.' | b'-')
}

/// Whether the text may hold such a secret. Nearly all texts are too short to.
pub(in super::super) fn may_have_entra_secret(text: &[u8]) -> bool {
    text.len() >= ENTRA_HEAD + ENTRA_MARK.len() + ENTRA_BODY.start()
        && memchr::memchr_iter(b'~', text)
            .any(|at| at > ENTRA_HEAD && text[at - 1] == b'Q' && text[at - 2].is_ascii_digit())
}

fn find_entra_secrets(text: &[u8], spans: &mut Vec<Span>) {
    for mark in memmem::find_iter(text, ENTRA_MARK) {
        let Some(start) = mark.checked_sub(ENTRA_HEAD) else { continue };
        let is_head = text[start..mark - 1].iter().all(|b| is_entra(*b)) && text[mark - 1].is_ascii_digit();
        if !is_head {
            continue;
        }
        let from = mark + ENTRA_MARK.len();
        let bounded = &text[..text.len().min(from + ENTRA_BODY.end() + 2)];
        let whole = &bounded[from..run_end(bounded, from, is_entra)];
        // A full stop may end the sentence.
        let body = whole.strip_suffix(b".").unwrap_or(whole);
        if ENTRA_BODY.contains(&body.len()) {
            spans.push(Span::new(start, from + body.len(), Class::Key));
        }
    }
}

/// The secret path behind these hosts is the credential of a webhook.
const WEBHOOKS: &[&[u8]] = &[
    b"hooks.slack.com/services/",
    b"hooks.slack.com/workflows/",
    b"hooks.slack.com/triggers/",
    b"discord.com/api/webhooks/",
    b"discordapp.com/api/webhooks/",
];

/// First bytes of [`KEY_FORMS`].
fn may_start_key(byte: u8) -> bool {
    matches!(
        byte,
        b'A' | b'G' | b'L' | b'N' | b'S' | b'd' | b'g' | b'h' | b'n' | b'p' | b'r' | b's' | b'w' | b'x' | b'y'
    )
}

pub(in super::super) fn find_keys(text: &[u8], spans: &mut Vec<Span>) {
    let mut start = 0;
    while start < text.len() {
        if !may_start_key(text[start]) || (before(text, start).is_ascii_alphanumeric() && !is_escaped(text, start)) {
            start += 1;
            continue;
        }
        let rest = &text[start..];
        let found = KEY_FORMS.iter().filter(|form| rest.starts_with(form.prefix)).find_map(|form| {
            let from = start + form.prefix.len();
            let end = run_end(&text[..text.len().min(from + form.max + 1)], from, form.accept);
            let body = &text[from..end];
            let is_key =
                (form.min..=form.max).contains(&body.len()) && (!form.is_wordy || body.iter().any(u8::is_ascii_digit));
            (is_key && is_dense(form, body)).then_some(end)
        });
        match found {
            Some(end) => {
                spans.push(Span::new(start, end, Class::Key));
                start = end;
            }
            None => start += 1,
        }
    }
    find_entra_secrets(text, spans);
    for host in WEBHOOKS {
        for found in memmem::find_iter(text, host) {
            let from = found + host.len();
            let end = run_end(text, from, |b| is_base64(b) && b != b'+');
            if end > from + 8 {
                spans.push(Span::new(from, end, Class::Key));
            }
        }
    }
}

/// `sk-` also starts slugs: a key has a run of at least 16 characters without a dash, with a digit in it.
fn is_dense(form: &KeyForm, body: &[u8]) -> bool {
    form.prefix != b"sk-"
        || body.split(|b| matches!(b, b'-' | b'_')).any(|run| run.len() >= 16 && run.iter().any(u8::is_ascii_digit))
}

/// From the begin line to the end line, or to the end of a text that was cut off.
pub(in super::super) fn find_private_keys(text: &[u8], spans: &mut Vec<Span>) {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    let mut next = 0;
    // Both searches only go forward: the end of a text is not looked for again at each of a thousand begin lines.
    let mut ends = memmem::find_iter(text, END).peekable();
    for start in memmem::find_iter(text, BEGIN) {
        if start < next {
            continue;
        }
        let label_from = start + BEGIN.len();
        let label_end =
            run_end(&text[..text.len().min(label_from + 64)], label_from, |b| b.is_ascii_uppercase() || b == b' ');
        if memmem::find(&text[label_from..label_end], b"PRIVATE KEY").is_none() {
            continue;
        }
        while ends.next_if(|end| *end < label_end).is_some() {}
        next = match ends.peek() {
            Some(end) => {
                let label = end + END.len();
                let label_end = run_end(text, label, |b| b.is_ascii_uppercase() || b == b' ');
                run_end(&text[..text.len().min(label_end + 5)], label_end, |b| b == b'-')
            }
            // Cut off: keep the quote that closes a JSON string around it, so that the document stays one.
            None => run_end(text, label_end, |b| b != b'"' && b != b'\''),
        };
        spans.push(Span::new(start, next, Class::PrivateKey));
    }
}
