//! One connection: messages are read within bounds of size and of time, and answered one after the other. A client that
//! is gone without a word is found by keepalive.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::response::TransactionStatus;
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::{Framed, FramedParts};

use super::door::LetIn;
use super::prepare::Prepared;
use super::stream::Stream;
use super::{Service, failure};
use crate::server::MOST_BYTES;

/// How long it may take until somebody is let in.
const LOGIN: Duration = Duration::from_secs(30);
/// Bytes of a message before that.
const LOGIN_BYTES: usize = 64 << 10;
/// How long a client that was let in may send nothing: pools of tools keep connections, and make others when they are
/// closed.
const IDLE: Duration = Duration::from_secs(3_600);
/// The same within a transaction, where cursors and what was fetched in part are kept.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(1_800);
/// After how long without a word from its machine a client is asked whether it is there, how often, and how many times.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);

/// Speaks with a client until it leaves, or the server stops and its last answer was sent.
pub(super) async fn speak(
    service: Service,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    let_in: LetIn,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let login_until = Instant::now() + LOGIN;
    let address = stream.peer_addr()?;
    super::super::without_delay(&stream);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE) {
        tracing::debug!(%address, %error, "a connection has no keepalive");
    }
    let (stream, read) = timeout_at(login_until, Stream::begin(stream, tls)).await.map_err(io::Error::from)??;
    let client: DefaultClient<Prepared> = DefaultClient::new(address, stream.is_tls());
    let mut parts = FramedParts::new(stream, PgWireMessageServerCodec::new(client));
    parts.read_buf = read;
    let mut socket = Framed::from_parts(parts);
    socket.set_state(PgWireConnectionState::AwaitingStartup);
    let cancel = Arc::new(DefaultCancelHandler::new(Arc::clone(&service.inner.connections)));
    let service = Arc::new(service);
    loop {
        let is_in = !matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress
        );
        if is_in {
            let_in.tell();
        }
        socket.get_mut().allow(if is_in { MOST_BYTES } else { LOGIN_BYTES });
        let stop = async {
            // A sender that is gone has stopped, too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let (idle_until, was_idle) = idle(socket.transaction_status());
        let message = tokio::select! {
            biased;
            () = stop => {
                let error = failure::fatal_of("57P01", "the server stops; connect again");
                return process_error(&mut socket, error, false).await;
            }
            () = sleep_until(login_until), if !is_in => return Ok(()),
            () = sleep_until(idle_until), if is_in => return process_error(&mut socket, was_idle, false).await,
            message = socket.next() => message,
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                let error = failure::fatal_of("08P01", error.to_string());
                return process_error(&mut socket, error, false).await;
            }
        };
        let is_extended = message.is_extended_query();
        let processed = process_message(
            message,
            &mut socket,
            Arc::clone(&service),
            Arc::clone(&service),
            Arc::clone(&service),
            Arc::new(NoopHandler),
            Arc::clone(&cancel),
        );
        if let Err(error) = processed.await {
            let error = ErrorInfo::from(error);
            let is_fatal = error.is_fatal();
            process_error(&mut socket, PgWireError::UserError(Box::new(error)), is_extended).await?;
            if is_fatal {
                return Ok(());
            }
        }
    }
}

/// Until when a client may send nothing from now on, and what it is told then.
fn idle(status: TransactionStatus) -> (Instant, PgWireError) {
    let (limit, error) = match status {
        TransactionStatus::Idle => {
            let message = "nothing was asked for an hour, so the connection is closed; connect again";
            (IDLE, failure::fatal_of("57P05", message))
        }
        _ => {
            let message = "nothing was asked for half an hour within a transaction, so the connection is closed; connect \
                           again, and end transactions with commit";
            (IDLE_IN_TRANSACTION, failure::fatal_of("25P03", message))
        }
    };
    (Instant::now() + limit, error)
}
