//! Messages that their client takes in time. On HTTP/2 each answer has a window of its own, which a client may leave
//! closed while its connection lives, and nobody asks for the next message then: what an answer holds would stay.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::status;

/// The same messages, made one ahead. One that is not taken for so long, and not until a time either, ends them: what
/// makes them is dropped at once, and who goes on then gets an error.
pub(super) fn in_time<T>(
    mut messages: BoxStream<'static, Result<T, Status>>,
    until: Instant,
    patience: Duration,
) -> BoxStream<'static, Result<T, Status>>
where
    T: Send + 'static,
{
    let (given, taken) = mpsc::channel(1);
    let mut making = JoinSet::new();
    making.spawn(async move {
        while let Some(message) = messages.next().await {
            let limit = until.max(Instant::now() + patience);
            if !matches!(timeout_at(limit, given.send(Some(message))).await, Ok(Ok(()))) {
                return;
            }
        }
        drop(messages);
        // Without this the end would look like that of what was not taken.
        let _ = given.send(None).await;
    });
    let messages = futures::stream::unfold(Some((taken, making)), |reading| async move {
        let (mut taken, making) = reading?;
        match taken.recv().await {
            Some(Some(message)) => Some((message, Some((taken, making)))),
            Some(None) => None,
            None => Some((Err(status::not_taken().into()), None)),
        }
    });
    messages.boxed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tonic::Code;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    /// Messages arrive in their order, and end as they did: well, or with their own error.
    #[tokio::test]
    async fn what_is_taken_arrives() {
        for last in [Ok(3), Err(Code::Cancelled)] {
            let made = [Ok(1), Ok(2), last].map(|message| message.map_err(|code| Status::new(code, "")));
            let messages = in_time(futures::stream::iter(made).boxed(), Instant::now(), Duration::from_secs(60));
            let taken: Vec<_> = messages.map(|message| message.map_err(|error| error.code())).collect().await;
            assert_eq!(taken, [Ok(1), Ok(2), last]);
        }
    }

    /// Nobody takes an answer. Guarantees that what makes it is dropped, and that who reads on is not told that the rows
    /// were all.
    #[tokio::test]
    async fn what_is_not_taken_is_dropped() {
        let held = Arc::new(());
        let kept = Arc::clone(&held);
        let endless = futures::stream::repeat_with(move || {
            let _ = &kept;
            Ok::<_, Status>(0)
        });
        let mut messages = in_time(endless.boxed(), Instant::now() + SHORT, SHORT);
        let until = Instant::now() + Duration::from_secs(30);
        while Arc::strong_count(&held) > 1 {
            assert!(Instant::now() < until, "it is still held");
            tokio::time::sleep(SHORT).await;
        }
        assert_eq!(messages.next().await.unwrap().unwrap(), 0);
        assert_eq!(messages.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(messages.next().await.is_none());
    }
}
