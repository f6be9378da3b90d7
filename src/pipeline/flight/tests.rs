//! An epoch in flight while the lake's folder is away.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tracerag_ingest::source::Signal;
use tracerag_schemas::{SourcePartition, Table};

use super::super::tests::{Bench, HOUR, record, root_span, take};
use super::*;
use crate::telemetry::Readiness;

/// A lake whose address is a link, so that it can be led elsewhere in one step.
struct Moving {
    bench: Bench,
    folder: TempDir,
}

impl Moving {
    fn new() -> Self {
        let (mut bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path().join("there")).unwrap();
        std::fs::write(folder.path().join("nothing"), "").unwrap();
        bench.config.lake.uri = folder.path().join("lake").display().to_string();
        let moving = Self { bench, folder };
        moving.lead_to("there");
        moving
    }

    fn lead_to(&self, target: &str) {
        let link: PathBuf = self.folder.path().join("link");
        symlink(self.folder.path().join(target), &link).unwrap();
        std::fs::rename(&link, self.folder.path().join("lake")).unwrap();
    }

    /// A patient pipeline that has begun to write a closed trace into a lake that is away.
    async fn begun(&self, spans: &SourcePartition) -> (Pipeline, Patience) {
        let mut pipeline = self.bench.pipeline().await;
        let patience = Patience::new(Arc::new(Readiness::default()));
        pipeline.wait_for_lake(patience.clone());
        pipeline.assign(std::slice::from_ref(spans), |_| true).await.unwrap();
        take(&mut pipeline, &record(spans, Signal::Spans, 0, HOUR, &root_span(1, HOUR)));
        self.lead_to("nothing");
        let flushed = pipeline.window.drain().unwrap();
        pipeline.write(flushed, false).await.unwrap();
        patience.until_cannot_write(Duration::from_secs(60)).await;
        assert!(patience.cannot_write(), "the lake is away, and nothing fails");
        (pipeline, patience)
    }
}

/// The lake is away when an epoch is written, and comes back. Guarantees that the same epoch is written then, once, and
/// that the pipeline goes on without a new claim.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_waits_for_the_lake() {
    let (moving, spans) = (Moving::new(), SourcePartition::new("c", "otlp_spans", 0));
    let (mut pipeline, patience) = moving.begun(&spans).await;
    assert!(!pipeline.is_due(), "one epoch at a time");
    moving.lead_to("there");
    pipeline.settle().await.unwrap();
    assert!(!patience.cannot_write());
    take(&mut pipeline, &record(&spans, Signal::Spans, 1, HOUR, &root_span(2, HOUR)));
    pipeline.drain().await.unwrap();
    assert_eq!([Table::Spans, Table::Traces].map(|table| pipeline.tally.rows(table)), [2, 2]);
}

/// The group wants partitions back while the lake is away: the epoch is given up at once. Guarantees that nobody waits
/// for the lake, and that after starting over the same records are taken again and written once.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_given_up_for_a_rebalance() {
    let (moving, spans) = (Moving::new(), SourcePartition::new("c", "otlp_spans", 0));
    let (mut pipeline, _) = moving.begun(&spans).await;
    let error = pipeline.revoke(std::slice::from_ref(&spans)).await.unwrap_err();
    assert!(matches!(error, Error::GivenUp), "{error}");
    assert!(error.is_passing() && !error.is_lost_claim());
    pipeline.start_over().await;
    let error = pipeline.assign(std::slice::from_ref(&spans), |_| true).await.unwrap_err();
    assert!(error.is_passing(), "{error}");

    moving.lead_to("there");
    let starts = pipeline.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    assert_eq!(starts, [(spans.clone(), None)]);
    take(&mut pipeline, &record(&spans, Signal::Spans, 0, HOUR, &root_span(1, HOUR)));
    pipeline.drain().await.unwrap();
    assert_eq!([Table::Spans, Table::Traces].map(|table| pipeline.tally.rows(table)), [1, 1]);
}

/// A command does not wait: the fault is its error.
#[tokio::test(flavor = "multi_thread")]
async fn without_patience_a_fault_is_an_error() {
    let (moving, spans) = (Moving::new(), SourcePartition::new("c", "otlp_spans", 0));
    let mut pipeline = moving.bench.pipeline().await;
    pipeline.assign(std::slice::from_ref(&spans), |_| true).await.unwrap();
    take(&mut pipeline, &record(&spans, Signal::Spans, 0, HOUR, &root_span(1, HOUR)));
    moving.lead_to("nothing");
    let error = pipeline.drain().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
}
