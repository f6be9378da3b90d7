//! The same vectors in others' hands: exported as `.npy` and `.fvecs`, and searched by faiss and hnswlib.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Setup;
use super::table::note;
use crate::Outcome;

/// What a search came to.
#[derive(Debug)]
pub(super) struct Measured {
    /// Part of the true nearest ones that was found.
    pub recall: f64,
    /// Quantiles of the times of single queries, in ms.
    pub p50: f64,
    pub p95: f64,
    /// Time of building the index, in s.
    build: Option<f64>,
}

impl Measured {
    pub(super) fn new(recall: f64, mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let quantile = |part: f64| {
            let rank = (times.len().saturating_sub(1) as f64 * part) as usize;
            times.get(rank).copied().unwrap_or(f64::NAN)
        };
        Self { recall, p50: quantile(0.5), p95: quantile(0.95), build: None }
    }

    pub(super) fn built(self, seconds: f64) -> Self {
        Self { build: Some(seconds), ..self }
    }
}

/// Files of vectors that are being written.
pub(super) struct Export<'f> {
    folder: &'f Path,
    base: BufWriter<File>,
}

impl<'f> Export<'f> {
    /// Begins `base.npy` with so many vectors of a dimension.
    pub(super) fn create(folder: &'f Path, rows: usize, dimension: usize) -> Outcome<Self> {
        let mut base = BufWriter::new(File::create(folder.join("base.npy"))?);
        // NumPy's format, version 1.0: the header ends with a line feed at a multiple of 64 bytes.
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}");
        let before = b"\x93NUMPY\x01\x00".len() + size_of::<u16>();
        while !(before + header.len() + 1).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        base.write_all(b"\x93NUMPY\x01\x00")?;
        base.write_all(&u16::try_from(header.len())?.to_le_bytes())?;
        base.write_all(header.as_bytes())?;
        Ok(Self { folder, base })
    }

    /// Appends vectors, one behind the other.
    pub(super) fn take(&mut self, numbers: &[f32]) -> Outcome<()> {
        for number in numbers {
            self.base.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    /// Ends `base.npy` and writes `queries.fvecs`: the dimension before each vector.
    pub(super) fn finish(mut self, queries: &[Vec<f32>]) -> Outcome<()> {
        self.base.flush()?;
        let mut file = BufWriter::new(File::create(self.folder.join("queries.fvecs"))?);
        for query in queries {
            file.write_all(&i32::try_from(query.len())?.to_le_bytes())?;
            for number in query {
                file.write_all(&number.to_le_bytes())?;
            }
        }
        Ok(file.flush()?)
    }
}

/// Has the peers search in the exported vectors, and print them with what was measured here in one table.
pub(super) fn measure(setup: &Setup, folder: &Path, rows: &[(&str, Measured)], tenth: &[f32]) -> Outcome<()> {
    let engine = |(name, measured): &(&str, Measured)| -> Value {
        let Measured { recall, p50, p95, build } = measured;
        json!({"engine": name, "recall": recall, "p50_ms": p50, "p95_ms": p95, "build_s": build})
    };
    let engines: Vec<Value> = rows.iter().map(engine).collect();
    let ours = json!({"engines": engines, "tenth": tenth});
    fs::write(folder.join("ours.json"), ours.to_string())?;
    if let Some(kept) = &setup.export {
        note(&format!("vectors are kept in {}", kept.display()));
    }
    let Some(python) = &setup.python else {
        note("faiss and hnswlib are not asked: give --python \"$(scripts/peers/build.sh)\"");
        return Ok(());
    };
    let script = super::repository("benches/quality/beside.py");
    let status = Command::new(python).arg(script).arg(folder).status()?;
    if !status.success() {
        return Err(format!("searching with the peers failed: {status}").into());
    }
    Ok(())
}
