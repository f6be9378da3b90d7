//! What tracerag tells of itself: structured logs, Prometheus metrics, health.

mod partitions;
mod process;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::output;

pub(crate) use partitions::PartitionGauge;

/// Upper bounds of the buckets of everything that is timed, from a warm look-up to a query's time limit.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// How often timed values are put into their buckets: until then each is kept.
const SORT_EVERY: Duration = Duration::from_secs(5);

/// Logs go to stderr: one line a record for people, JSON lines for a worker without a terminal.
/// `TRACERAG_LOG` sets the levels in `tracing`'s syntax.
///
/// Without it a command that ends by itself leaves out what librdkafka complains of while it tries: the command's own
/// answer names the last of it, and what to do.
pub(crate) fn init_logs(worker: bool) {
    let default = match worker {
        true => "info,lance=warn,lance_core=warn,lance_io=warn,rmcp=warn",
        false => "warn,librdkafka=off",
    };
    let filter = EnvFilter::try_from_env("TRACERAG_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second initialisation can only happen in tests that share a process.
    let _ = if worker && !output::is_terminal() {
        builder.json().try_init()
    } else {
        builder.with_ansi(output::is_terminal()).try_init()
    };
}

/// What `/readyz` wants to know of a worker.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    assigned: AtomicBool,
    landed_at_ms: AtomicI64,
    /// The time between two epochs, where it is longer than configured.
    interval_ms: AtomicU64,
    fault: Mutex<Option<String>>,
}

impl Readiness {
    /// The worker has its partitions, or has lost them.
    pub(crate) fn set_assigned(&self, assigned: bool) {
        self.assigned.store(assigned, Ordering::Relaxed);
        self.landed();
    }

    /// An epoch landed, or there was nothing to write; the next one comes within this time.
    pub(crate) fn landed_with(&self, interval: Duration) {
        self.interval_ms.store(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.landed();
    }

    /// Something was done that has no intervals of its own.
    pub(crate) fn landed(&self) {
        self.landed_at_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Why the worker cannot go on at present, if it cannot.
    pub(crate) fn set_fault(&self, reason: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Whether it is ready, or why not, in words. An epoch has to have landed within three intervals, those that are
    /// configured or those that a slow lake has made of them.
    pub(crate) fn ready(&self, configured: Duration) -> Result<(), String> {
        let interval = configured.max(Duration::from_millis(self.interval_ms.load(Ordering::Relaxed)));
        let within = interval.saturating_mul(3).saturating_add(Duration::from_secs(1));
        if let Some(reason) = &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(reason.clone());
        }
        if !self.assigned.load(Ordering::Relaxed) {
            return Err(String::from("no partitions assigned yet\n"));
        }
        let age = now_ms() - self.landed_at_ms.load(Ordering::Relaxed);
        match u128::try_from(age) {
            Ok(age) if age > within.as_millis() => {
                Err(String::from("the last epoch is older than three flush intervals\n"))
            }
            _ => Ok(()),
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// Installs the recorder behind the `metrics` macros.
///
/// # Errors
/// When another recorder is installed already.
pub(crate) fn install_metrics() -> Result<PrometheusHandle, Error> {
    let failed = |error: BuildError| Error::Stopped { what: "the metrics recorder", detail: error.to_string() };
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix(String::from("_seconds")), &SECONDS)
        .map_err(failed)?
        .install_recorder()
        .map_err(failed)
}

async fn sort(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(SORT_EVERY).await;
        handle.run_upkeep();
    }
}

/// Answers `/metrics`, `/healthz` and `/readyz` until the process ends. An empty address: nowhere.
///
/// # Errors
/// When the address is no address or is taken.
pub(crate) async fn serve(
    listen: &str,
    handle: PrometheusHandle,
    readiness: Arc<Readiness>,
    flush_interval: Duration,
) -> Result<Option<SocketAddr>, Error> {
    tokio::spawn(sort(handle.clone()));
    process::began();
    if listen.is_empty() {
        return Ok(None);
    }
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(Error::io(format!("listen on {listen} (change metrics.listen, or set it to \"\")")))?;
    let address = listener.local_addr().map_err(Error::io("read the listener's address"))?;
    let at_scrape = Arc::clone(&readiness);
    let router = Router::new()
        .route(
            "/metrics",
            get(move || {
                process::measure();
                let ready = at_scrape.ready(flush_interval).is_ok();
                metrics::gauge!("tracerag_ready").set(f64::from(u8::from(ready)));
                std::future::ready(handle.render())
            }),
        )
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route(
            "/readyz",
            get(move || {
                std::future::ready(match readiness.ready(flush_interval) {
                    Ok(()) => (StatusCode::OK, String::from("ready\n")),
                    Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
                })
            }),
        );
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the metrics listener stopped");
        }
    });
    Ok(Some(address))
}
