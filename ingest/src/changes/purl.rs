//! Package URLs, as far as a deployment needs them (<https://github.com/package-url/purl-spec>).

use percent_encoding::percent_decode_str;

/// The parts of a purl that say which build it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Purl {
    /// What stands behind `@`, unless it is a digest.
    pub(super) version: Option<String>,
    /// The qualifier `tag`, as `oci` and `docker` purls have it.
    pub(super) tag: Option<String>,
}

impl Purl {
    /// Reads `scheme:type/namespace/name@version?qualifiers#subpath`; `None` if it is no purl.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("pkg:")?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        // A scope such as `@angular` in a namespace is percent-encoded, so the last `@` starts the version,
        // unless a `/` follows it: then somebody did not encode, and there is no version.
        let version = path.rsplit_once('@').map(|(_, version)| version).filter(|version| !version.contains('/'));
        let version = version.and_then(decode);
        let tag = qualifiers.split('&').find_map(|pair| decode(pair.strip_prefix("tag=")?));
        Some(Self { version: version.filter(|version| !is_digest(version)), tag })
    }

    /// The version that people know: the tag, else the version.
    pub(super) fn human_version(&self) -> Option<&str> {
        self.tag.as_deref().or(self.version.as_deref())
    }
}

fn decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (!decoded.is_empty()).then(|| decoded.into_owned())
}

/// `sha256:...`: it names bytes, and is no version.
fn is_digest(version: &str) -> bool {
    version.split_once(':').is_some_and(|(algorithm, digest)| {
        !algorithm.is_empty() && digest.len() >= 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether a text is a git commit: a whole SHA-1 or SHA-256, or a short one that cannot be a date, a number
/// or a word (`20231116`, `1234567`, `decade`).
pub(super) fn is_commit(text: &str) -> bool {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    let has_letter = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    match text.len() {
        40 | 64 => is_hex,
        7..40 => is_hex && has_letter && has_digit,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn versions(purl: &str) -> (Option<String>, Option<String>) {
        let purl = Purl::parse(purl).unwrap();
        (purl.version, purl.tag)
    }

    /// Version and tag are found in the forms that registries use; a digest is no version; scopes do not confuse.
    #[test]
    fn versions_and_tags() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            versions("pkg:golang/mygit.com/myapp@234fd47e07d1004f0aed9c"),
            (some("234fd47e07d1004f0aed9c"), None)
        );
        let digest = "sha256%3A0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427";
        assert_eq!(
            versions(&format!("pkg:oci/myapp@{digest}?repository_url=mycr.io/myapp&tag=1.9.0")),
            (None, some("1.9.0"))
        );
        assert_eq!(versions(&format!("pkg:oci/myapp@{digest}")), (None, None));
        assert_eq!(versions("pkg:npm/%40angular/animation@12.3.1#src"), (some("12.3.1"), None));
        assert_eq!(versions("pkg:npm/@angular/animation"), (None, None));
        assert_eq!(versions("pkg:docker/cassandra@latest?tag="), (some("latest"), None));
        assert_eq!(Purl::parse("myapp:1.9.0"), None);
    }

    /// Commits are told from dates, numbers and words.
    #[test]
    fn commits() {
        for commit in ["a1b2c3d", "234fd47e07d1004f0aed9c", "0123456789012345678901234567890123456789"] {
            assert!(is_commit(commit), "{commit}");
        }
        for other in ["20231116", "1.9.0", "defaced", "a1b2c3", "A1B2C3D", "v1a2b3c4", ""] {
            assert!(!is_commit(other), "{other}");
        }
    }
}
