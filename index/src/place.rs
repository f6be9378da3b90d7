//! Where a lake may lie: in a folder, or in a bucket of S3.
//!
//! | address | is | a commit is decided by |
//! | --- | --- | --- |
//! | a path, `file://…` | a folder | a link or rename that does not replace |
//! | `s3://BUCKET/PREFIX` | S3, or a store that speaks its protocol | a put with `If-None-Match: *` |
//!
//! A store that ignores the condition would let two writers take the same version, and lose the one that came first
//! without a word. Nothing of what a lake promises would hold on it, so a lake is created only where a second put is seen
//! to be refused.

use std::sync::Arc;

use bytes::Bytes;
use lance_io::object_store::{ObjectStore, ObjectStoreRegistry};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use uuid::Uuid;

use crate::error::{At, Error, Result};
use crate::folder_store::FolderProvider;

const NOT_BUILT: &str =
    "this program was built without S3; build it with its default features, or name a folder with --lake or lake.uri";
const NO_SUCH_STORE: &str = "a lake lies in a folder, or in S3 and what speaks its protocol (s3://BUCKET/PREFIX, with \
                             lake.storage_options.aws_endpoint for other makers); name one with --lake or lake.uri";
const NO_BUCKET: &str = "the address names no bucket; write s3://BUCKET/PREFIX";
const HAS_MORE: &str = "an address has a bucket and a prefix and nothing else; logins and settings belong in \
                        lake.storage_options or the environment";
const IGNORES_CONDITIONS: &str = "the store does not refuse a put with `If-None-Match: *` where there is an object \
                                  already, so two workers could write the same version; use one that does";

/// Refuses an address at which no lake can be.
///
/// # Errors
/// [`Error::NoStore`], which says what can be.
pub(crate) fn accept(uri: &str) -> Result<()> {
    let refuse = |why| Err(Error::NoStore { uri: without_login(uri), why });
    match uri.split_once("://") {
        None | Some(("file", _)) => Ok(()),
        Some(("s3", _)) if !cfg!(feature = "s3") => refuse(NOT_BUILT),
        Some(("s3", rest)) if rest.contains(['@', '?', '#']) => refuse(HAS_MORE),
        Some(("s3", rest)) if rest.starts_with('/') || rest.is_empty() => refuse(NO_BUCKET),
        Some(("s3", _)) => Ok(()),
        Some(_) => refuse(NO_SUCH_STORE),
    }
}

/// Whether the lake lies in a folder, which may be a volume that is not mounted.
pub(crate) fn is_folder(uri: &str) -> bool {
    !uri.contains("://") || uri.starts_with("file://")
}

/// An address as it may be shown: what stands before an `@` or behind a `?` may be a password.
fn without_login(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}://{}", rest.split(['?', '#']).next().unwrap_or_default())
}

/// The stores that a lake may lie in; `folders` makes those of folders, Lance's own provider if there is none.
pub(crate) fn registry(folders: Option<FolderProvider>) -> ObjectStoreRegistry {
    let registry = ObjectStoreRegistry::default();
    if let Some(folders) = folders {
        registry.insert("file", Arc::new(folders));
    }
    #[cfg(feature = "s3")]
    registry.insert("s3", Arc::new(crate::s3::S3Provider));
    registry
}

/// Makes sure that a store refuses the second of two puts that must not replace. Leaves nothing behind.
///
/// # Errors
/// [`Error::NoStore`] if it does not; otherwise when the store cannot be written.
pub(crate) async fn refuses_second_put(uri: &str, store: &ObjectStore, folder: Path) -> Result<()> {
    const STEP: &str = "trying conditional puts";
    let path = folder.join(format!("_probe-{}", Uuid::new_v4().simple()).as_str());
    let put = |content: &'static [u8]| {
        let (payload, path) = (PutPayload::from(Bytes::from_static(content)), path.clone());
        async move { store.inner.put_opts(&path, payload, PutOptions::from(PutMode::Create)).await }
    };
    put(b"1").await.map_err(lance::Error::from).at("lake", STEP)?;
    let second = put(b"2").await;
    store.inner.delete(&path).await.map_err(lance::Error::from).at("lake", STEP)?;
    match second {
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(()),
        Err(error) => Err(lance::Error::from(error)).at("lake", STEP),
        Ok(_) => Err(Error::NoStore { uri: uri.to_owned(), why: IGNORES_CONDITIONS }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(uri: &str) -> String {
        accept(uri).unwrap_err().to_string()
    }

    /// Folders and buckets are taken. Guarantees that a path with odd characters is still a folder.
    #[test]
    fn folders_and_buckets_are_taken() {
        for folder in ["lake", "./lake", "/var/lib/lake", "file:///var/lib/lake", "a:b/c@d?e"] {
            assert!(accept(folder).is_ok() && is_folder(folder), "{folder}");
        }
        for bucket in ["s3://bucket", "s3://bucket/", "s3://bucket/a/b"] {
            assert_eq!((accept(bucket).is_ok(), is_folder(bucket)), (cfg!(feature = "s3"), false), "{bucket}");
        }
    }

    /// Other stores are refused with what there is instead, an address without a bucket or with more than that with how
    /// to write it. Guarantees that a login in an address is not repeated.
    #[test]
    fn other_addresses_say_what_to_do() {
        for other in ["gs://bucket/lake", "az://container/lake", "s3+ddb://bucket/lake?ddbTableName=t", "hdfs://h/lake"]
        {
            assert!(refusal(other).contains("s3://BUCKET/PREFIX"), "{other}");
        }
        if cfg!(feature = "s3") {
            assert!(refusal("s3://").contains("no bucket") && refusal("s3:///lake").contains("no bucket"));
        }
        for secret in ["s3://key:opensesame@bucket/lake", "gs://opensesame@b", "s3://bucket/lake?token=opensesame"] {
            assert!(!refusal(secret).contains("opensesame"), "{}", refusal(secret));
        }
    }
}
