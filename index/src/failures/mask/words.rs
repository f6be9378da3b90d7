//! What words around a number or a quoted text say about it.

/// Keys whose quoted value says what went wrong: its inside is masked like any other text instead of
/// being replaced whole.
pub(super) const TELLING_KEYS: &[&str] = &[
    "action",
    "cause",
    "class",
    "code",
    "description",
    "detail",
    "details",
    "err",
    "error",
    "errorcode",
    "exception",
    "grpc_message",
    "kind",
    "message",
    "method",
    "msg",
    "op",
    "operation",
    "path",
    "reason",
    "service",
    "state",
    "status",
    "title",
    "type",
];

/// Words that end in digits and are names, lower case.
const NAMES_WITH_DIGITS: &[&str] = &[
    "a11y", "aes128", "aes256", "amd64", "arm64", "argon2id", "base32", "base58", "base64", "cp1252", "crc32",
    "es2015", "es2020", "fp16", "fp32", "float16", "float32", "float64", "h264", "h265", "http11", "i128", "i16",
    "i18n", "i32", "i64", "int128", "int16", "int32", "int64", "iso8601", "iso8859", "jsr310", "k8s", "l10n", "latin1",
    "log4j2", "log4net", "neo4j", "rfc1123", "rfc2822", "rfc3339", "rfc7231", "rsa2048", "rsa4096", "sha1", "sha224",
    "sha256", "sha384", "sha512", "sse41", "sse42", "u128", "u16", "u32", "u64", "http2", "http3", "ipv4", "ipv6",
    "md5", "oauth2", "uint128", "uint16", "uint32", "uint64", "utf8", "utf16", "utf16le", "utf16be", "utf32", "win32",
    "win64", "x509", "x86_64",
];

/// Prefixes of error codes of databases, compilers and identity providers; such a code is the error's name.
const ERROR_CODE_PREFIXES: &[&str] = &[
    "AADSTS", "CS", "CVE", "DB2", "DFHC", "DPI", "ER", "ERR", "ERROR", "HTTP", "IMAP", "LNK", "MSB", "ORA", "PGRST",
    "PLS", "RFC", "SMTP", "SP2", "SQL", "SQLSTATE", "TNS", "TS", "WSA",
];

/// Words that begin the reason phrase behind an HTTP status.
const REASON_PHRASES: &[&str] = &[
    "accepted",
    "bad",
    "client",
    "conflict",
    "created",
    "expectation",
    "failed",
    "forbidden",
    "found",
    "gateway",
    "gone",
    "http",
    "insufficient",
    "internal",
    "length",
    "locked",
    "loop",
    "method",
    "moved",
    "multiple",
    "network",
    "no",
    "not",
    "ok",
    "partial",
    "payload",
    "payment",
    "permanent",
    "precondition",
    "proxy",
    "range",
    "request",
    "see",
    "server",
    "service",
    "temporary",
    "too",
    "unauthorized",
    "unprocessable",
    "unsupported",
    "upgrade",
    "uri",
    "variant",
];

/// Words before `code` that make it a person's or an article's, not an error's.
const CODES_OF_SOMETHING: &[&str] = &[
    "auth",
    "booking",
    "coupon",
    "discount",
    "invite",
    "pin",
    "postal",
    "product",
    "promo",
    "security",
    "sms",
    "verification",
    "voucher",
    "zip",
];

/// Whether a quoted text is a name in a program, not a value: letters, `_`, `.`, `$`, `::` and `-`, no digits.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.' | b'$' | b':' | b'-'))
}

/// Whether a quoted text is a URL or a route, of which a part is worth keeping.
pub(super) fn is_address(text: &str) -> bool {
    !text.contains(' ')
        && (text.starts_with('/')
            || text.starts_with("<url")
            || text.split_once("://").is_some_and(|(scheme, _)| is_name(scheme)))
}

/// The key in lower case if what stands before is `key=`, `key:` or `"key": `.
pub(super) fn value_key(before: &str) -> Option<String> {
    let trimmed = before.trim_end_matches(' ');
    let key_part = if let Some(rest) = trimmed.strip_suffix('=') {
        rest
    } else {
        let rest = trimmed.strip_suffix(':')?;
        if trimmed.len() != before.len() && !rest.ends_with(['"', '\'']) {
            return None;
        }
        rest
    };
    let key_part = key_part.trim_end_matches([' ', '"', '\'', '\\']);
    let start =
        key_part.rfind(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).map_or(0, |at| at + 1);
    let key = key_part.get(start..).unwrap_or_default();
    Some(key.rsplit('.').next().unwrap_or_default().to_ascii_lowercase())
}

/// Whether what stands before makes the number behind it an error's code: `status code 502`,
/// `[Errno 111]`, `SQLSTATE[42P01]`, `HTTP 500`, `os error 2`.
pub(super) fn announces_code(before: &str) -> bool {
    if before.ends_with("<ip>:") {
        return true;
    }
    let trimmed = before.trim_end_matches([' ', ':', '=', '#', '[', '(', '"', '\'', '\\', '-']);
    let gap = &before[trimmed.len()..];
    if gap.is_empty() || gap.len() > 4 {
        return false;
    }
    let start = trimmed
        .rfind(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '/' || letter == '.'))
        .map_or(0, |at| at + trimmed[at..].chars().next().map_or(1, char::len_utf8));
    let word = trimmed[start..].to_ascii_lowercase();
    if word.starts_with("http/") {
        return true;
    }
    let previous = || {
        let head = trimmed[..start].trim_end();
        head.rsplit(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase()
    };
    match word.as_str() {
        "http" | "errno" | "sqlstate" | "signal" | "exitcode" | "hresult" | "rc" => true,
        "error" => gap == " ",
        "zipcode" | "postcode" | "barcode" | "qrcode" | "postalcode" | "promocode" | "couponcode" => false,
        "code" => !CODES_OF_SOMETHING.contains(&previous().as_str()),
        other => other.ends_with("status") || other.ends_with("code"),
    }
}

/// Whether the text behind a number from 100 to 599 makes it an HTTP status: `500 Internal Server Error`.
pub(super) fn reason_phrase_follows(number: &str, behind: &str) -> bool {
    let is_status = number.len() == 3 && matches!(number.as_bytes()[0], b'1'..=b'5');
    let Some(phrase) = behind.strip_prefix(' ') else {
        return false;
    };
    if !is_status || !phrase.starts_with(|first: char| first.is_ascii_uppercase()) {
        return false;
    }
    let word: String = phrase.chars().take_while(char::is_ascii_alphabetic).take(24).collect();
    REASON_PHRASES.contains(&word.to_ascii_lowercase().as_str())
}

/// Whether a word with digits is a technical name (`sha256`, `utf8`).
pub(super) fn is_technical(word: &str) -> bool {
    word.len() <= 12 && NAMES_WITH_DIGITS.contains(&word.to_ascii_lowercase().as_str())
}

/// Whether `word` is an error code such as `TS2345`, or the prefix of one such as `ORA` in `ORA-00942`.
pub(super) fn is_error_code(word: &str) -> bool {
    let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let digits = word.len() - letters;
    digits <= 6
        && word.bytes().skip(letters).all(|byte| byte.is_ascii_digit())
        && ERROR_CODE_PREFIXES.contains(&&word[..letters])
}
