//! Requests to the JetStream API, as JSON. The client library's typed calls know fewer settings than the server, read
//! headers in a way that may panic, and have no request for some of what is asked here.

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{self, context::RequestErrorKind},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::Timestamp;
use onex_types::entry::{EntryHeader, Sequence};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::{error::Error, header};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long until who insists asks again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// `err_code`s, by the server's source (`server/errors.json`).
pub(crate) mod code {
    pub(crate) const CLUSTER_INCOMPLETE: u64 = 10_004;
    pub(crate) const CLUSTER_NO_PEERS: u64 = 10_005;
    pub(crate) const CLUSTER_NOT_AVAILABLE: u64 = 10_008;
    pub(crate) const CLUSTER_NOT_LEADER: u64 = 10_009;
    pub(crate) const ACCOUNT_RESOURCES_EXCEEDED: u64 = 10_002;
    pub(crate) const INSUFFICIENT_RESOURCES: u64 = 10_023;
    pub(crate) const NO_MESSAGE_FOUND: u64 = 10_037;
    pub(crate) const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
    pub(crate) const STORAGE_RESOURCES_EXCEEDED: u64 = 10_047;
    pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;
    pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10_071;
    pub(crate) const STREAM_REPLICAS_NOT_SUPPORTED: u64 = 10_074;
    pub(crate) const NOT_ENABLED: u64 = 10_076;
    pub(crate) const STORE_FAILED: u64 = 10_077;
}

/// A message of the log, asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its place.
    pub sequence: Sequence,
    /// Its header; absent in a message that is no entry.
    pub header: Option<EntryHeader>,
    /// When the server stored it.
    pub time: Timestamp,
    /// What it says.
    pub body: Bytes,
    /// Whether a consumer could deliver it: false for header blocks that the client library cannot read.
    pub(crate) readable: bool,
}

/// A message of any stream, as it is stored.
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// The stream, as its leader describes it. A leader that is cut off from the others says old things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// When it was created.
    pub created: Timestamp,
    /// Messages that are there.
    pub messages: u64,
    /// The first that is there; one behind the last where there is none.
    pub first: Sequence,
    /// The last that ever was; 0 in a stream that never had a message.
    pub last: Sequence,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many bytes they may take.
    pub bytes_max: u64,
    /// Which server leads it; absent where none does.
    pub leader: Option<String>,
}

/// The bucket's names in JetStream.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) bucket: String,
    pub(crate) stream: String,
    pub(crate) subject: String,
}

impl Names {
    pub(crate) fn of(bucket: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            stream: format!("KV_{bucket}"),
            subject: format!("$KV.{bucket}.log"),
        }
    }
}

/// The API over one connection.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
    context: jetstream::Context,
    pub(crate) names: Names,
    /// Whether it asks again while nobody answers.
    insists: bool,
}

/// A copy of a stream on another server than the one that leads it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Peer {
    /// The server.
    pub name: String,
    /// Whether the copy has everything.
    #[serde(default)]
    pub current: bool,
    /// Whether the server is away.
    #[serde(default)]
    pub offline: bool,
    /// How many operations the copy lacks.
    #[serde(default)]
    pub lag: u64,
}

#[derive(Deserialize)]
struct StreamInfo {
    config: Map<String, Value>,
    created: Timestamp,
    state: StreamState,
    cluster: Option<Cluster>,
    ts: Option<Timestamp>,
}

#[derive(Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    last_ts: Option<Timestamp>,
    #[serde(default)]
    subjects: Map<String, Value>,
}

#[derive(Deserialize)]
struct Cluster {
    /// Absent where the server is alone.
    name: Option<String>,
    leader: Option<String>,
    replicas: Option<Vec<Peer>>,
}

#[derive(Deserialize)]
struct Got {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default, deserialize_with = "base64")]
    hdrs: Vec<u8>,
    #[serde(default, deserialize_with = "base64")]
    data: Vec<u8>,
    time: Timestamp,
}

fn base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64_STANDARD.decode(text).map_err(D::Error::custom)
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

/// A stream's settings and state.
pub(crate) struct Described {
    pub(crate) config: Map<String, Value>,
    pub(crate) info: Info,
    /// The copies besides the leader's.
    pub(crate) peers: Vec<Peer>,
    pub(crate) is_clustered: bool,
    /// When the last message was stored; absent where there is none.
    pub(crate) last_at: Option<Timestamp>,
    /// The server's clock by then.
    pub(crate) told_at: Option<Timestamp>,
    /// Subjects that the filter of the question matches.
    pub(crate) subjects: Map<String, Value>,
}

impl Api {
    pub(crate) fn new(client: Client, names: Names) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ANSWER_TIMEOUT);
        Self {
            client,
            context,
            names,
            insists: false,
        }
    }

    /// The same, which asks again while nobody answers: a server that has just begun to lead answers what comes then, and
    /// nothing that came before. Only for what may be asked twice.
    pub(crate) fn insisting(self) -> Self {
        Self {
            insists: true,
            ..self
        }
    }

    pub(crate) async fn request<T: DeserializeOwned>(
        &self,
        request: &'static str,
        subject: String,
        body: &Value,
    ) -> Result<T, Error> {
        if !self.insists {
            return self.ask(request, subject, body).await;
        }
        let mut asked = FuturesUnordered::new();
        let mut last = Error::Silent { request };
        let until = Instant::now() + ANSWER_TIMEOUT;
        while Instant::now() < until {
            asked.push(self.ask(request, subject.clone(), body));
            let again = sleep(ASK_AGAIN);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    Some(answer) = asked.next() => match answer {
                        Err(error) if error.silence().is_some() => last = error,
                        answer => return answer,
                    },
                    () = &mut again => break,
                }
            }
        }
        Err(last)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: &'static str,
        subject: String,
        body: &Value,
    ) -> Result<T, Error> {
        let answer: Value =
            self.context
                .request(subject, body)
                .await
                .map_err(|error| match error.kind() {
                    RequestErrorKind::NoResponders => Error::NoResponders { request },
                    RequestErrorKind::TimedOut => Error::Silent { request },
                    _ => Error::Ended { request },
                })?;
        if let Some(error) = answer.get("error") {
            let number = error.get("err_code").and_then(Value::as_u64);
            let text = error.get("description").and_then(Value::as_str);
            return Err(Error::Refused {
                request,
                code: number.unwrap_or_default(),
                description: text.unwrap_or_default().to_owned(),
            });
        }
        serde_json::from_value(answer).map_err(|source| Error::Malformed { request, source })
    }

    /// The stream's settings and state, and the subjects with messages that `filter` matches.
    pub(crate) async fn describe(&self, filter: Option<&str>) -> Result<Described, Error> {
        let stream = &self.names.stream;
        let body = filter.map_or(json!({}), |filter| json!({ "subjects_filter": filter }));
        let answer = self.request("STREAM.INFO", format!("STREAM.INFO.{stream}"), &body);
        let found: StreamInfo = answer.await.map_err(|error| match error {
            Error::Refused {
                code: code::STREAM_NOT_FOUND,
                ..
            } => Error::Missing {
                stream: stream.clone(),
            },
            error => error,
        })?;
        let bytes_max = found.config.get("max_bytes").and_then(Value::as_u64);
        let (is_clustered, leader, peers) = match found.cluster {
            Some(cluster) => (cluster.name.is_some(), cluster.leader, cluster.replicas),
            None => (false, None, None),
        };
        Ok(Described {
            info: Info {
                created: found.created,
                messages: found.state.messages,
                first: Sequence(found.state.first_seq),
                last: Sequence(found.state.last_seq),
                bytes: found.state.bytes,
                bytes_max: bytes_max.unwrap_or(u64::MAX),
                leader: leader.filter(|leader| !leader.is_empty()),
            },
            peers: peers.unwrap_or_default(),
            is_clustered,
            last_at: found.state.last_ts.filter(|_| found.state.messages > 0),
            told_at: found.ts,
            config: found.config,
            subjects: found.state.subjects,
        })
    }

    /// The stream, if it is still the one that was created then.
    pub(crate) async fn identify(&self, created: Timestamp) -> Result<Described, Error> {
        let described = self.describe(None).await?;
        if described.info.created == created {
            return Ok(described);
        }
        Err(Error::Recreated {
            stream: self.names.stream.clone(),
            was: created,
            is: described.info.created,
        })
    }

    /// The message at a sequence, from the stream's leader.
    pub(crate) async fn get(&self, sequence: Sequence) -> Result<Option<Found>, Error> {
        self.find(&json!({ "seq": sequence.0 })).await
    }

    /// The last message, from the stream's leader.
    pub(crate) async fn last(&self) -> Result<Option<Found>, Error> {
        self.find(&json!({ "last_by_subj": self.names.subject }))
            .await
    }

    async fn find(&self, question: &Value) -> Result<Option<Found>, Error> {
        let found = self.raw(question).await?;
        Ok(found.map(|message| {
            let block = Some(&message.hdrs).filter(|block| !block.is_empty());
            let headers = block.map(|block| header::read(block));
            Found {
                sequence: Sequence(message.seq),
                header: header::of(headers.as_ref().and_then(Option::as_ref)),
                time: message.time,
                body: Bytes::from(message.data),
                readable: !matches!(headers, Some(None)),
            }
        }))
    }

    async fn raw(&self, question: &Value) -> Result<Option<Raw>, Error> {
        let subject = format!("STREAM.MSG.GET.{}", self.names.stream);
        let answer = self.request::<Got>("STREAM.MSG.GET", subject, question);
        match answer.await {
            Ok(Got { message }) => Ok(Some(message)),
            Err(Error::Refused {
                code: code::NO_MESSAGE_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the header of that name says in the message at a sequence, where both are there.
    pub(crate) async fn header_of(
        &self,
        sequence: Sequence,
        name: &str,
    ) -> Result<Option<String>, Error> {
        let found = self.raw(&json!({ "seq": sequence.0 })).await?;
        let headers = found.and_then(|message| header::read(&message.hdrs));
        let value = headers.as_ref().and_then(|headers| headers.get(name));
        Ok(value.map(|value| value.as_str().to_owned()))
    }

    /// The subject of the message at a sequence, where that is there.
    pub(crate) async fn subject_of(&self, sequence: Sequence) -> Result<Option<String>, Error> {
        let found = self.raw(&json!({ "seq": sequence.0 })).await?;
        Ok(found.map(|message| message.subject))
    }

    /// The first message from a sequence on, as it is stored.
    pub(crate) async fn next_from(&self, sequence: u64) -> Result<Option<Stored>, Error> {
        self.found(&json!({ "seq": sequence, "next_by_subj": ">" }))
            .await
    }

    /// The message that is asked for, as it is stored.
    pub(crate) async fn found(&self, question: &Value) -> Result<Option<Stored>, Error> {
        Ok(self.raw(question).await?.map(|message| Stored {
            subject: message.subject,
            sequence: message.seq,
            headers: message.hdrs,
            body: message.data,
        }))
    }

    /// The subjects that have a message. The server tells of so many at a time.
    pub(crate) async fn subjects(&self) -> Result<Vec<String>, Error> {
        let mut subjects = Vec::new();
        loop {
            let body = json!({ "subjects_filter": ">", "offset": subjects.len() });
            let subject = format!("STREAM.INFO.{}", self.names.stream);
            let answer: StreamInfo = self.request("STREAM.INFO", subject, &body).await?;
            if answer.state.subjects.is_empty() {
                return Ok(subjects);
            }
            subjects.extend(
                answer
                    .state
                    .subjects
                    .into_iter()
                    .map(|(subject, _)| subject),
            );
        }
    }

    /// Removes the stream.
    pub(crate) async fn remove(&self) -> Result<(), Error> {
        let subject = format!("STREAM.DELETE.{}", self.names.stream);
        let body = json!({});
        let answer = self.request::<Value>("STREAM.DELETE", subject, &body);
        answer.await.map(|_| ())
    }

    /// Removes what is before `below`. Only with the subject as filter: without one, a purge that is late moves the
    /// stream's numbers to where it was aimed.
    pub(crate) async fn purge(&self, below: Sequence) -> Result<u64, Error> {
        let subject = format!("STREAM.PURGE.{}", self.names.stream);
        let body = json!({ "filter": self.names.subject, "seq": below.0 });
        let answer = self.request::<Purged>("STREAM.PURGE", subject, &body);
        Ok(answer.await?.purged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[tokio::test]
    async fn who_insists_is_answered_as_soon_as_somebody_answers() {
        let fake = Fake::start(2).await;
        let client = async_nats::connect(&fake.url).await.unwrap();
        let api = Api::new(client, Names::of("x")).insisting();
        let since = Instant::now();
        let asked = api.request::<Value>("INFO", "INFO".to_owned(), &Value::Null);
        assert_eq!(asked.await.unwrap(), json!({}));
        assert!(
            since.elapsed() < ANSWER_TIMEOUT / 2,
            "{:?}",
            since.elapsed()
        );
    }
}
