//! Compare-and-append: what is sent, and what the acknowledgement says.

use async_nats::{Client, HeaderMap, Message, PublishErrorKind, StatusCode, header};
use bytes::Bytes;
use onex_types::entry::{ENTRY_HEADER, EntryHeader, EntryId, Sequence};
use serde::Deserialize;

use crate::{
    api::{Names, code},
    event::{Event, Refusal},
};

/// An entry to be stored right behind `expected`, or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream's last sequence.
    pub expected: Sequence,
    /// The entry's header.
    pub header: EntryHeader,
    /// What it says.
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Hands an append to the client. Says something only where it was not sent at all.
pub(crate) async fn send(
    client: Client,
    names: Names,
    inbox: String,
    append: Append,
) -> Option<Event> {
    let id = append.header.id;
    let reply = format!("{inbox}.{}.{id}", append.expected);
    let mut headers = HeaderMap::new();
    headers.insert(
        header::NATS_EXPECTED_LAST_SEQUENCE,
        append.expected.0.to_string(),
    );
    headers.insert(header::NATS_EXPECTED_STREAM, names.stream);
    headers.insert(ENTRY_HEADER, append.header.to_string());
    let sent = client.publish_with_reply_and_headers(names.subject, reply, headers, append.body);
    match sent.await {
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
            Some(Event::Refused {
                id,
                refusal: Refusal::TooLarge,
                description: error.to_string(),
            })
        }
        // The connection has ended; the session will say so.
        _ => None,
    }
}

/// What an acknowledgement says; nothing where it is none of ours.
pub(crate) fn acknowledged(names: &Names, message: &Message) -> Option<Event> {
    let mut tokens = message.subject.rsplit('.');
    let id: EntryId = tokens.next()?.parse().ok()?;
    let expected = Sequence(tokens.next()?.parse().ok()?);
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Some(Event::Refused {
            id,
            refusal: Refusal::NoResponders,
            description: "no responders".to_owned(),
        });
    }
    let ack: Ack = serde_json::from_slice(&message.payload).ok()?;
    let sequence = Sequence(ack.seq);
    Some(match ack.error {
        None if ack.stream == names.stream && sequence == expected.next() => {
            Event::Acked { id, sequence }
        }
        None => Event::Refused {
            id,
            description: format!(
                "stored by {} at {sequence}, after {expected} was expected",
                ack.stream
            ),
            refusal: Refusal::Misplaced {
                stream: ack.stream,
                sequence,
            },
        },
        Some(error) => Event::Refused {
            id,
            refusal: match error.err_code {
                code::WRONG_LAST_SEQUENCE => Refusal::Conflict,
                code::STORE_FAILED
                | code::ACCOUNT_RESOURCES_EXCEEDED
                | code::STORAGE_RESOURCES_EXCEEDED
                | code::INSUFFICIENT_RESOURCES => Refusal::Full,
                code => Refusal::Other(code),
            },
            description: error.description,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000000000000000000000000007";

    fn judged(
        payload: &str,
        status: Option<StatusCode>,
    ) -> Option<(Option<Sequence>, Option<Refusal>)> {
        let message = Message {
            subject: format!("_INBOX.x.41.{ID}").into(),
            reply: None,
            payload: Bytes::from(payload.to_owned()),
            headers: None,
            status,
            description: None,
            length: 0,
        };
        match acknowledged(&Names::of("x"), &message)? {
            Event::Acked { sequence, .. } => Some((Some(sequence), None)),
            Event::Refused { refusal, .. } => Some((None, Some(refusal))),
            event => panic!("{event:?}"),
        }
    }

    #[test]
    fn only_the_next_place_in_our_stream_counts() {
        let misplaced = |stream: &str, sequence| Refusal::Misplaced {
            stream: stream.to_owned(),
            sequence: Sequence(sequence),
        };
        for (payload, sequence, refusal) in [
            (r#"{"stream":"KV_x","seq":42}"#, Some(Sequence(42)), None),
            (
                r#"{"stream":"KV_x","seq":43}"#,
                None,
                Some(misplaced("KV_x", 43)),
            ),
            (
                r#"{"stream":"KV_x","seq":41,"duplicate":true}"#,
                None,
                Some(misplaced("KV_x", 41)),
            ),
            (
                r#"{"stream":"other","seq":42}"#,
                None,
                Some(misplaced("other", 42)),
            ),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 42"},"stream":"KV_x","seq":0}"#,
                None,
                Some(Refusal::Conflict),
            ),
            (
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#,
                None,
                Some(Refusal::Full),
            ),
            (
                r#"{"error":{"code":503,"err_code":10023}}"#,
                None,
                Some(Refusal::Full),
            ),
            (
                r#"{"error":{"code":400,"err_code":10060}}"#,
                None,
                Some(Refusal::Other(10_060)),
            ),
        ] {
            assert_eq!(
                judged(payload, None),
                Some((sequence, refusal)),
                "{payload}"
            );
        }
        assert_eq!(
            judged("", Some(StatusCode::NO_RESPONDERS)),
            Some((None, Some(Refusal::NoResponders)))
        );
        assert_eq!(judged("+OK", None), None);
    }
}
