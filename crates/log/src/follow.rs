//! Following: a pull consumer of our own, without a filter, whose deliveries are checked one by one.
//!
//! Pull rather than push: what is under way is bounded by what was asked for, and the server says at once when the
//! consumer is gone. Deliveries take as long; reading a long log again is slower by a quarter (150,000 small messages a
//! second against 200,000, on two busy cores).

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_nats::{Client, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use jiff::Timestamp;
use onex_types::entry::Sequence;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    api::{Api, Found},
    error::{Error, Lost},
    event::{Delivery, Event},
    header,
};

/// How often the server says that the consumer is there while nothing happens.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long the consumer may say nothing: two heartbeats. Also how long the first delivery may take.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Messages asked for at once.
const PULL_MESSAGES: usize = 1_000;
/// When as few are still to come, more are asked for, so that the server never waits for us.
const PULL_MESSAGES_LOW: usize = 500;
/// Bytes asked for at once, at most.
const PULL_BYTES_MAX: usize = 8 << 20;
/// How long a request for messages lasts while there are none.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How long the server keeps a consumer of which nobody asks anything.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(10);
/// Messages that wait in one subscription: all that can be under way, and as many that say something of the consumer.
pub(crate) const SUBSCRIPTION_MESSAGES_MAX: usize = 2 * (PULL_MESSAGES + PULL_MESSAGES_LOW);
/// Deliveries handed out at once, at most, so that what else happens is seen between.
const BATCH_MESSAGES_MAX: usize = 1_024;
/// Messages read one by one before a consumer is tried again, at most.
const READ_AROUND_MAX: usize = 256;

pub(crate) struct Follower {
    messages: Subscriber,
    /// What a request for messages is published on, and answered on.
    pull_subject: String,
    inbox: String,
    pull_bytes_max: usize,
    /// Messages that were asked for and are still to come.
    outstanding: usize,
    /// Where the caller wanted to start.
    from: Sequence,
    next: Next,
    /// What was read one by one, before the consumer's first message.
    early: Vec<Delivery>,
    pending: u64,
    started: bool,
    progressed: bool,
    heard: bool,
    since: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Follower {
    /// A consumer that starts at `from`. Where the connection ended before, the next messages may be why: then they are
    /// looked at first, and those that cannot be delivered are read one by one.
    pub(crate) async fn start(api: &Api, from: Sequence, careful: bool) -> Result<Self, Error> {
        let early = if careful {
            read_around(api, from).await?
        } else {
            Vec::new()
        };
        let first = from.max(Sequence(1));
        let next = early.last().map_or(first, |last| last.sequence.next());
        let inbox = api.client.new_inbox();
        let ended = |_| Error::Ended { request: "SUB" };
        let messages = api.client.subscribe(inbox.clone()).await.map_err(ended)?;
        let (consumer, pending) = create(api, next).await?;
        let stream = &api.names.stream;
        Ok(Self {
            messages,
            pull_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            // Less than one message may take would never bring it.
            pull_bytes_max: PULL_BYTES_MAX.max(2 * api.client.max_payload()),
            outstanding: 0,
            from,
            next: Next {
                stream: next,
                consumer: 1,
            },
            early,
            pending,
            started: false,
            progressed: false,
            heard: false,
            since: Instant::now(),
            silence: Box::pin(sleep(SILENCE_MAX)),
        })
    }

    /// Whether it brought anything new, or lasted: then the next one may start at once.
    pub(crate) fn was_of_use(&self) -> bool {
        self.progressed || self.since.elapsed() > SILENCE_MAX
    }

    /// Hands out what has come.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Lost> {
        let mut batch = std::mem::take(&mut self.early);
        if !self.started && self.from == Sequence(0) && batch.is_empty() {
            self.started = true;
            events.push(Event::Following {
                first: None,
                pending: self.pending,
            });
        }
        let result = self.collect(cx, &mut batch);
        if batch.is_empty() {
            return result;
        }
        self.progressed |= self.started || batch.len() > 1;
        if !self.started {
            self.started = true;
            let first = (self.from > Sequence(0)).then(|| batch.remove(0));
            let pending = first.as_ref().map_or(self.pending, |first| first.pending);
            events.push(Event::Following { first, pending });
        }
        if !batch.is_empty() {
            events.push(Event::Delivered(batch));
        }
        result
    }

    fn collect(&mut self, cx: &mut Context<'_>, batch: &mut Vec<Delivery>) -> Result<(), Lost> {
        let before = batch.len();
        let mut heard = false;
        while batch.len() < BATCH_MESSAGES_MAX {
            match self.messages.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => {
                    heard = true;
                    batch.extend(self.take(message)?);
                }
                Poll::Ready(None) => return Err(Lost::Connection),
                Poll::Pending => break,
            }
        }
        self.heard |= heard;
        // A consumer that is behind what we have applied has heartbeats, and no first delivery.
        if batch.len() > before || (heard && self.started) {
            self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
        }
        match self.silence.poll_unpin(cx) {
            Poll::Ready(()) if self.heard && !self.started => {
                Err(Lost::Behind { wanted: self.from })
            }
            Poll::Ready(()) => Err(Lost::Silent),
            Poll::Pending => Ok(()),
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Delivery>, Lost> {
        let Some(info) = message.reply.as_deref().and_then(DeliveryInfo::read) else {
            return self.control(&message).map(|()| None);
        };
        self.next.advance(&info)?;
        self.outstanding = self.outstanding.saturating_sub(1);
        Ok(Some(Delivery {
            sequence: info.stream,
            header: header::of(message.headers.as_ref()),
            time: info.time,
            body: message.payload,
            pending: info.pending,
        }))
    }

    /// What the server says of a request for messages or of the consumer.
    fn control(&mut self, message: &Message) -> Result<(), Lost> {
        let text = message.description.as_deref().unwrap_or_default();
        let status = message.status.map_or(0, |status| status.as_u16());
        let over = match status {
            // A request is over, and says how much of it is not coming.
            404 | 408 => true,
            409 => text.starts_with("Message Size Exceeds") || text.starts_with("Batch Completed"),
            _ => false,
        };
        if over {
            let headers = message.headers.as_ref();
            let left = headers.and_then(|headers| headers.get("Nats-Pending-Messages"));
            let left = left.and_then(|left| left.as_str().parse().ok());
            self.outstanding = self
                .outstanding
                .saturating_sub(left.unwrap_or(PULL_MESSAGES));
            return Ok(());
        }
        if status == 409 || message.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(Lost::Consumer(format!("{text} ({status})")));
        }
        Ok(())
    }

    /// The next request for messages, when there should be one.
    pub(crate) fn pull(&mut self, client: &Client) -> Option<BoxFuture<'static, Option<Event>>> {
        if self.outstanding > PULL_MESSAGES_LOW {
            return None;
        }
        self.outstanding += PULL_MESSAGES;
        let request = json!({
            "batch": PULL_MESSAGES,
            "max_bytes": self.pull_bytes_max,
            "expires": nanoseconds(PULL_EXPIRES),
            "idle_heartbeat": nanoseconds(HEARTBEAT),
        });
        let (client, subject, inbox) = (
            client.clone(),
            self.pull_subject.clone(),
            self.inbox.clone(),
        );
        Some(Box::pin(async move {
            // It fails with the connection only, which is noticed elsewhere.
            let body = Bytes::from(request.to_string());
            let _ = client.publish_with_reply(subject, inbox, body).await;
            None
        }))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Its name, and how many messages it has to send.
async fn create(api: &Api, start: Sequence) -> Result<(String, u64), Error> {
    let stream = &api.names.stream;
    let name = uuid::Uuid::new_v4().simple().to_string();
    let config = json!({
        "name": name,
        "description": "onex-registry follower",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": start.0,
        "ack_policy": "none",
        "replay_policy": "instant",
        "inactive_threshold": nanoseconds(INACTIVE_THRESHOLD),
        "mem_storage": true,
        "num_replicas": 1,
    });
    let subject = format!("CONSUMER.CREATE.{stream}.{name}");
    let body = json!({ "stream_name": stream, "config": config, "action": "create" });
    let created = api
        .request::<Value>("CONSUMER.CREATE", subject, &body)
        .await?;
    let pending = created.get("num_pending").and_then(Value::as_u64);
    Ok((name, pending.unwrap_or_default()))
}

/// The messages from `from` on up to the last one that a consumer could not deliver; none if it can deliver the one at
/// `from` and the one behind it, which are the only ones that can have ended a connection.
async fn read_around(api: &Api, from: Sequence) -> Result<Vec<Delivery>, Error> {
    let mut found: Vec<Found> = Vec::new();
    let mut readable = 0;
    let mut at = from.max(Sequence(1));
    while readable < 2 && found.len() < READ_AROUND_MAX {
        let Some(message) = api.get(at).await? else {
            break;
        };
        readable = if message.readable { readable + 1 } else { 0 };
        found.push(message);
        at = at.next();
    }
    let end = found.iter().rposition(|message| !message.readable);
    found.truncate(end.map_or(0, |end| end + 1));
    if let Some(last) = found.last() {
        tracing::warn!(sequence = %last.sequence, "read around messages whose headers the client library cannot read");
    }
    let deliveries = found.into_iter().map(|message| Delivery {
        sequence: message.sequence,
        header: message.header,
        time: message.time,
        body: message.body,
        pending: u64::MAX,
    });
    Ok(deliveries.collect())
}

/// What is to come next: its place in the stream, and its number within the consumer.
struct Next {
    stream: Sequence,
    consumer: u64,
}

impl Next {
    fn advance(&mut self, info: &DeliveryInfo) -> Result<(), Lost> {
        // The consumer's numbers have no gap, whatever the stream's have: what is missing there did not reach us.
        if info.consumer != self.consumer || info.stream < self.stream {
            return Err(Lost::Gap);
        }
        if info.stream > self.stream {
            return Err(Lost::Trimmed {
                wanted: self.stream,
                first: info.stream,
            });
        }
        self.consumer += 1;
        self.stream = self.stream.next();
        Ok(())
    }
}

/// What the subject for acknowledging a delivery says of it.
struct DeliveryInfo {
    stream: Sequence,
    consumer: u64,
    time: Timestamp,
    pending: u64,
}

impl DeliveryInfo {
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`, or the same with
    /// `<domain>.<account>` in front of the stream and words behind.
    fn read(subject: &str) -> Option<Self> {
        let skip = match subject.strip_prefix("$JS.ACK.")?.split('.').count() {
            7 => 5,
            9.. => 7,
            _ => return None,
        };
        let mut words = subject.split('.').skip(skip);
        Some(Self {
            stream: Sequence(words.next()?.parse().ok()?),
            consumer: words.next()?.parse().ok()?,
            time: Timestamp::from_nanosecond(words.next()?.parse().ok()?).ok()?,
            pending: words.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_the_next_one_ends_the_session() {
        let mut next = Next {
            stream: Sequence(17),
            consumer: 1,
        };
        let info = |stream, consumer| {
            let subject = format!("$JS.ACK.KV_x.c.1.{stream}.{consumer}.1700000000000000000.0");
            DeliveryInfo::read(&subject).unwrap()
        };
        assert!(next.advance(&info(17, 1)).is_ok());
        assert!(next.advance(&info(18, 2)).is_ok());
        assert!(matches!(next.advance(&info(20, 4)), Err(Lost::Gap)));
        assert!(matches!(next.advance(&info(19, 4)), Err(Lost::Gap)));
        assert!(matches!(next.advance(&info(18, 3)), Err(Lost::Gap)));
        let trimmed = next.advance(&info(25, 3));
        assert!(matches!(
            trimmed,
            Err(Lost::Trimmed {
                wanted: Sequence(19),
                first: Sequence(25)
            })
        ));
        assert!(next.advance(&info(19, 3)).is_ok());
    }

    #[test]
    fn delivery_info_is_read_in_both_forms() {
        for subject in [
            "$JS.ACK.KV_x.c.1.17.5.1700000000000000000.3",
            "$JS.ACK.dom.acc.KV_x.c.1.17.5.1700000000000000000.3",
            "$JS.ACK._.acc.KV_x.c.1.17.5.1700000000000000000.3.token",
        ] {
            let info = DeliveryInfo::read(subject).unwrap();
            assert_eq!(
                (info.stream, info.consumer, info.pending),
                (Sequence(17), 5, 3),
                "{subject}"
            );
        }
        assert!(DeliveryInfo::read("_INBOX.x").is_none());
        assert!(DeliveryInfo::read("$JS.ACK.KV_x.c.1.17").is_none());
    }
}
