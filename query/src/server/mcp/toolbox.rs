//! The tools for a program that calls them itself, without a client of the protocol: what they answer is the same.

use serde_json::{Map, Value};
use tokio::sync::watch;
use tracerag_index::Lake;

use super::{refusal, tools};
use crate::access::{Caller, Gate, GateOptions};
use crate::server::app::App;
use crate::server::engine::Engine;
use crate::server::http::Origins;
use crate::server::sessions::Sessions;
use crate::server::{ServeError, ServerOptions};

/// The tools on one lake, for one caller who may everything of the tenant.
pub struct Toolbox {
    app: App,
    caller: Caller,
    /// As long as they are there, nothing stops.
    _running: [watch::Sender<bool>; 2],
}

impl Toolbox {
    /// Opens the tools. Of the options, those of HTTP are of no account.
    ///
    /// # Errors
    /// [`ServeError::Threads`], and [`ServeError::Client`] where the gate lets nobody in.
    pub fn open(lake: Lake, options: ServerOptions) -> Result<Self, ServeError> {
        let (stop, stopping) = watch::channel(false);
        let (cut, is_cut) = watch::channel(false);
        let app = local(lake, options, stopping, is_cut)?;
        let caller = app.gate().caller(None).map_err(|refusal| ServeError::Client(refusal.to_string()))?;
        Ok(Self { app, caller, _running: [stop, cut] })
    }

    /// Calls a tool by its name.
    ///
    /// # Errors
    /// What went wrong and what to call next, as clients of the protocol get it.
    pub async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Value, String> {
        match tools::call(name, &self.app, &self.caller, arguments).await {
            Some(done) => done.map_err(|problem| crate::untrusted::clean(&refusal::text(&problem))),
            None => Err(format!("tool-unknown: there is no tool {name:?}")),
        }
    }

    /// Writes `audit` to its end.
    pub async fn close(&self) {
        self.app.gate().close().await;
    }
}

/// What answers on this machine, without tokens.
pub(super) fn local(
    lake: Lake,
    options: ServerOptions,
    stopping: watch::Receiver<bool>,
    is_cut: watch::Receiver<bool>,
) -> Result<App, ServeError> {
    let gate = GateOptions { tokens_file: None, issuer: None, ..options.gate };
    let template = crate::server::template(options.session, &gate.limits);
    Ok(App::new(
        Gate::open(lake.clone(), gate),
        Sessions::new(lake, template),
        Engine::start().map_err(ServeError::Threads)?,
        Origins::new(vec![], true),
        stopping,
        is_cut,
    ))
}
