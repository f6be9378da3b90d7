//! The interface on the example lake, asked over a connection with the client of Arrow's crate.

#![allow(clippy::unwrap_used)]

mod limits;
mod metadata;
mod replicas;
mod statements;
mod walls;

use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::access::Limits;
use crate::server::http::tests::Interface;
use crate::tests::lake::{FAILING, ask as ask_lake, rows as as_json};

type Client = FlightSqlServiceClient<Channel>;

/// A lake with its server.
struct Served {
    interface: Interface,
    channel: Channel,
    /// Stops the server when it is dropped.
    stop: watch::Sender<bool>,
}

impl Served {
    async fn with(limits: Limits) -> Self {
        let interface = Interface::with(limits).await;
        let (stop, stopped) = watch::channel(false);
        let channel = connected(&interface, stopped).await;
        Self { interface, channel, stop }
    }

    /// A client with the same token of another server of the lake: it knows what the first one knows of callers, and
    /// nothing of what was asked there.
    async fn elsewhere(&self, client: &Client) -> Client {
        let mut other = Client::new(connected(&self.interface, self.stop.subscribe()).await);
        other.set_token(client.token().unwrap().clone());
        other
    }

    /// A client without a token.
    fn nobody(&self) -> Client {
        Client::new(self.channel.clone())
    }

    async fn client(&self, tenant: &str, scopes: &[Scope]) -> Client {
        let mut client = self.nobody();
        client.set_token(self.interface.token(tenant, scopes).await);
        client
    }
}

/// A connection to a server that begins for it.
async fn connected(interface: &Interface, stopped: watch::Receiver<bool>) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(interface.app.clone(), listener, stopped));
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// All batches behind a ticket.
async fn fetched(client: &mut Client, ticket: Ticket) -> Result<Vec<RecordBatch>, Status> {
    let batches = client.do_get(ticket).await.map_err(status)?;
    batches.try_collect().await.map_err(status)
}

/// The rows of a statement.
async fn asked(client: &mut Client, query: &str) -> Result<Value, Status> {
    let info = client.execute(query.to_owned(), None).await.map_err(status)?;
    Ok(as_json(fetched(client, ticket(&info)).await?))
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    }
}

/// The short name of an error.
fn short(status: &Status) -> &str {
    status.metadata().get("tracerag-code").map_or("", |code| code.to_str().unwrap())
}
