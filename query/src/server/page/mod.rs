//! The page for people, at `/`: what broke, since when, and under which flag and build.
//!
//! Everything that a browser loads is part of the program. The page asks the same HTTP interface as every other client
//! and shows the same token, so it needs no rights of its own; it sends nothing to any other host, which its headers
//! hold it to. What comes from telemetry is only ever set as text.

mod assets;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::app::App;
use assets::{ASSETS, DOCUMENT};

/// Addresses of the page's views. One document answers all of them and shows the view of its address.
const VIEWS: [&str; 5] = ["/", "/incidents/{fingerprint}", "/traces/{id}", "/bundles/{id}", "/sql"];
/// Below it stand the document's scripts and styles.
const FOLDER: &str = "/page";

/// What holds the page to itself: scripts and styles of this server only, none within the document, no text that becomes
/// markup, and no other page around it.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every answer, besides those of its kind.
static HEADERS: [(HeaderName, &str); 6] = [
    // Kept, and asked for again each time: a new release shows at once.
    (header::CACHE_CONTROL, "no-cache"),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A file of the page.
#[derive(Clone, Copy)]
struct Asset {
    /// Below [`FOLDER`].
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// The paths, for the router of everything.
pub(super) fn routes() -> Router<App> {
    let views = VIEWS.iter().map(|path| ((*path).to_owned(), DOCUMENT));
    let files = ASSETS.iter().map(|asset| (format!("{FOLDER}/{}", asset.name), *asset));
    views.chain(files).fold(Router::new(), |router, (path, asset)| {
        let tag = tag(asset.bytes);
        router.route(&path, get(move |headers: HeaderMap| std::future::ready(answer(asset, &tag, &headers))))
    })
}

/// What names these bytes (RFC 9110, section 8.8.3).
fn tag(bytes: &[u8]) -> String {
    let digest = hex::encode(Sha256::digest(bytes));
    format!("\"{}\"", digest.get(..32).unwrap_or(&digest))
}

/// The file, or that what the browser has is the same.
fn answer(asset: Asset, tag: &str, headers: &HeaderMap) -> Response {
    let mut response = match is_kept(tag, headers) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, asset.media_type)], asset.bytes).into_response(),
    };
    let answer = response.headers_mut();
    for (name, value) in &HEADERS {
        answer.insert(name, HeaderValue::from_static(value));
    }
    // A tag is hex digits in quotes, which every header takes.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.insert(header::ETAG, tag);
    }
    response
}

/// Whether the browser has these bytes, by any of the tags that it names.
fn is_kept(tag: &str, headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The document and each of its files come with their kind, a tag and the policy; whoever names the tag is told that
    /// nothing changed. Guarantees that no answer of the page lacks what holds it to itself.
    #[test]
    fn answers_carry_their_headers() {
        for asset in ASSETS.iter().chain([&DOCUMENT]) {
            let tag = tag(asset.bytes);
            let whole = answer(*asset, &tag, &HeaderMap::new());
            assert_eq!(whole.status(), StatusCode::OK);
            assert_eq!(whole.headers()[header::CONTENT_TYPE], asset.media_type, "{}", asset.name);
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&format!("\"0\", W/{tag}")).unwrap());
            let kept = answer(*asset, &tag, &headers);
            assert_eq!(kept.status(), StatusCode::NOT_MODIFIED);
            for response in [&whole, &kept] {
                assert_eq!(response.headers()[header::ETAG], tag.as_str());
                assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
            }
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"0\""));
            assert_eq!(answer(*asset, &tag, &headers).status(), StatusCode::OK);
        }
    }

    /// No file names another host, no script makes markup of text, and the document has neither scripts nor styles of its
    /// own: the policy would stop them, and the page would be broken where it matters.
    #[test]
    fn files_keep_to_the_policy() {
        for asset in ASSETS.iter().chain([&DOCUMENT]) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            // The names of XML's vocabularies look like addresses, and are asked for by nobody.
            let text = text.replace("http://www.w3.org/", "");
            for refused in
                ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(refused), "{} has {refused}", asset.name);
            }
        }
        let document = std::str::from_utf8(DOCUMENT.bytes).unwrap();
        for refused in ["<style", " style=", " onclick=", " onload=", "<script>"] {
            assert!(!document.contains(refused), "{refused}");
        }
    }

    /// Every file that the document and the scripts name is part of the program.
    #[test]
    fn every_file_that_is_named_is_there() {
        let names: Vec<&str> = ASSETS.iter().map(|asset| asset.name).collect();
        for asset in ASSETS.iter().chain([&DOCUMENT]) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            let of_document = text.split("\"/page/").skip(1).filter_map(|rest| rest.split('"').next());
            let of_scripts = text.split("from './").skip(1).filter_map(|rest| rest.split('\'').next());
            for name in of_document.chain(of_scripts) {
                assert!(names.contains(&name), "{} names {name}", asset.name);
            }
        }
    }
}
