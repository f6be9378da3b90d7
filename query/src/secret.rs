//! The secret that all servers of a lake share. It is random and lies in the lake, where the first server that needs it
//! puts it; clients cannot reach it. Who can read the lake's files has it, and all rows of all tenants anyhow.

use ring::hmac;
use tracerag_index::{Document, Lake};

use crate::error::{QueryError, Result};

/// The folder of the secret below the lake.
const FOLDER: &str = "handles";
/// Bytes of the secret. It is kept in hex.
const SECRET: usize = 32;

/// The secret of a lake, which is made where there is none.
///
/// # Errors
/// When it can neither be read nor made.
pub(crate) async fn of(lake: &Lake) -> Result<hmac::Key> {
    let document = Document::new(lake.clone(), FOLDER);
    if document.read().await?.is_none() {
        // Of several servers that make one at once one does, and all take that one.
        document.replace(None, hex::encode(rand::random::<[u8; SECRET]>()).as_bytes(), &[]).await?;
    }
    match document.read().await? {
        Some((_, text)) if text.len() == 2 * SECRET => Ok(hmac::Key::new(hmac::HMAC_SHA256, &text)),
        _ => Err(QueryError::Secret { folder: FOLDER }),
    }
}
