//! Argo CD's notifications: an application as a template hands it over, `{{toJson .app}}`, or below `app`.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::form_urlencoded::byte_serialize;

use super::event::Deployment;
use super::{Misread, Reported, below, non_empty, text};
use crate::config::{Platform, WebhookSection};

/// Annotations of an application that say what its name does not.
const SERVICE: &str = "tracerag.dev/service";
/// See [`SERVICE`].
const ENVIRONMENT: &str = "tracerag.dev/environment";

/// Reads an application.
pub(super) fn read(body: &Map<String, Value>, webhook: &WebhookSection) -> Result<Reported, Misread> {
    let missing = |member| Misread::member(Platform::ArgoCd, member);
    let app = body.get("app").and_then(Value::as_object).unwrap_or(body);
    let name = text(app, &["metadata", "name"]).ok_or_else(|| missing("metadata.name"))?;
    let phase = text(app, &["status", "operationState", "phase"]);
    if phase != Some("Succeeded") {
        let phase = phase.unwrap_or("unknown");
        return Ok(Reported::Nothing(format!("the sync is {phase}; it counts once it has Succeeded")));
    }
    let time = text(app, &["status", "operationState", "finishedAt"])
        .ok_or_else(|| missing("status.operationState.finishedAt"))?;
    // What was synced; what is compared with may be newer by now.
    let revision = text(app, &["status", "operationState", "syncResult", "revision"])
        .or_else(|| text(app, &["status", "sync", "revision"]));
    let annotation = |name: &str| text(app, &["metadata", "annotations", name]).map(str::to_owned);
    let images = below(app, &["status", "summary", "images"]).and_then(Value::as_array);
    // Which of several images is the service's own nobody says.
    let image = images.filter(|images| images.len() == 1).and_then(|images| images.first()).and_then(Value::as_str);
    let image = image.map(Image::parse);
    let service = annotation(SERVICE).unwrap_or_else(|| webhook.service(name).to_owned());
    let id = Sha256::digest(format!("{name}\0{time}\0{}", revision.unwrap_or_default()));
    let deployment = Deployment {
        id: hex::encode(id),
        source: format!("/argocd/{name}"),
        time: time.to_owned(),
        service,
        environment: annotation(ENVIRONMENT).or_else(|| non_empty(&webhook.environment)),
        artifact: image.as_ref().map(Image::purl),
        version: image.as_ref().and_then(|image| image.tag).map(str::to_owned),
        commit: revision.filter(|_| webhook.revision_is_commit).map(str::to_owned),
        ..Deployment::default()
    };
    Ok(Reported::Changes(vec![deployment.change()]))
}

/// The name of a container image: `registry:5000/shop/payments:1.9.0@sha256:...`.
struct Image<'i> {
    /// Without tag and digest.
    repository: &'i str,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
}

impl<'i> Image<'i> {
    fn parse(image: &'i str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        // A colon before the last slash is that of a port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        Self { repository, tag, digest }
    }

    /// As purl has it for the type `oci`: the name is the last part, the version the digest.
    fn purl(&self) -> String {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let name = self.repository.rsplit('/').next().unwrap_or(self.repository).to_ascii_lowercase();
        let version = self.digest.map(|digest| format!("@{}", encoded(digest))).unwrap_or_default();
        let tag = self.tag.map(|tag| format!("&tag={}", encoded(tag))).unwrap_or_default();
        format!("pkg:oci/{name}{version}?repository_url={}{tag}", encoded(self.repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever an application gives as the tag of its image is one value of the purl, not further qualifiers of it.
    #[test]
    fn a_tag_is_one_value() {
        let purl = Image::parse("registry:5000/shop/payments:1.9&repository_url=elsewhere#x").purl();
        assert_eq!(
            purl,
            "pkg:oci/payments?repository_url=registry%3A5000%2Fshop%2Fpayments&tag=1.9%26repository_url%3Delsewhere%23x"
        );
    }
}
