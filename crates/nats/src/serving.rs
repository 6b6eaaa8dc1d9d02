//! What whoever takes messages needs of a NATS server: to know that it has done what it was told, and to stop the messages
//! without losing any.

use std::time::Duration;

use async_nats::{Client, Subscriber, UnsubscribeError};
use futures::StreamExt as _;
use tokio::time::timeout;

/// Bytes of a message that no registry can do with: a server has to take longer ones (`max_payload`; 1 MiB, where nobody
/// sets it).
pub const MESSAGE_BYTES_MIN: usize = 8 * 1024;

/// How long the server may take to do what it is told.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(2);

/// To a server: unsubscribe at once, because this is no number that it takes for a count of messages; to the client
/// library: a count that is never reached, so that it goes on handing over what still comes. The library's own drain
/// forgets a subscription too early and loses messages.
const UNSUBSCRIBE_NOW: u64 = 10_000_000_000;

/// Waits until the server has done all that this connection has told it so far, but not for ever: a message to oneself
/// comes behind it, and behind everything that the server had routed here before. To flush is less: then it is only sent.
pub async fn round_trip(nats: &Client) {
    let inbox = nats.new_inbox();
    let Ok(mut echo) = nats.subscribe(inbox.clone()).await else {
        return;
    };
    if nats.publish(inbox, Vec::new().into()).await.is_ok() {
        let _ = timeout(ROUND_TRIP_TIMEOUT, echo.next()).await;
    }
}

/// Tells the server to send nothing more. What it has sent still comes: until behind a [`round_trip`].
pub async fn unsubscribe(messages: &mut Subscriber) -> Result<(), UnsubscribeError> {
    messages.unsubscribe_after(UNSUBSCRIBE_NOW).await
}
