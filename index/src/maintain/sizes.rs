//! What a dataset takes on disk, by column and by index.

use std::collections::HashMap;
use std::sync::Arc;

use lance::Dataset;
use lance::dataset::statistics::DatasetStatisticsExt;
use lance::index::DatasetIndexExt;

use crate::error::{At, Result};

/// The part of a dataset's bytes that one column or one index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Name of the column, or of the index.
    pub name: String,
    /// Whether it is an index.
    pub is_index: bool,
    /// Bytes on disk, of the version that was asked about.
    pub bytes: u64,
}

/// The shares of a dataset's columns (nested ones with their parent) and indices, the largest first.
///
/// # Errors
/// When its files or indices cannot be read.
pub async fn shares(name: &str, dataset: &Arc<Dataset>) -> Result<Vec<Share>> {
    let statistics = dataset.calculate_data_stats().await.at(name, "summing its columns")?;
    let bytes: HashMap<u32, u64> = statistics.fields.iter().map(|field| (field.id, field.bytes_on_disk)).collect();
    let mut shares: Vec<Share> = Vec::new();
    for field in &dataset.schema().fields {
        let (mut total, mut fields) = (0, vec![field]);
        while let Some(field) = fields.pop() {
            total += u32::try_from(field.id).ok().and_then(|id| bytes.get(&id)).copied().unwrap_or(0);
            fields.extend(&field.children);
        }
        shares.push(Share { name: field.name.clone(), is_index: false, bytes: total });
    }
    for index in dataset.load_indices().await.at(name, "reading its indices")?.iter() {
        let bytes: u64 = index.files.iter().flatten().map(|file| file.size_bytes).sum();
        match shares.iter_mut().find(|share| share.is_index && share.name == index.name) {
            Some(share) => share.bytes += bytes,
            None => shares.push(Share { name: index.name.clone(), is_index: true, bytes }),
        }
    }
    shares.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    Ok(shares)
}
