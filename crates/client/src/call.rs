//! One call: its headers, its timeout, and when it is made again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, Message, Request, connection::State};
use onex_protocol::{
    endpoint::Endpoint,
    frame::{self, AGE_MILLIS_MAX, AGE_MILLIS_MIN, TIMEOUT_MILLIS_DEFAULT, TIMEOUT_MILLIS_MAX},
    names::{
        HEADER_AGE_MS, HEADER_ERROR_NUMBER, HEADER_MAX_AGE_MS, HEADER_PROTOCOL, HEADER_TIMEOUT_MS,
        HEADER_TRACEPARENT, Namespace, PROTOCOL_MINOR,
    },
    port::LeaseRequest,
};
use onex_types::{
    holder::Holder,
    ids::{Invalid, RequestId},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{Error, clock::BootTime};

/// How long a call may take that does not say, all repetitions together.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_millis(TIMEOUT_MILLIS_DEFAULT);
/// How long a call may take at most: a registry takes no longer timeout.
pub const TIMEOUT_MAX: Duration = Duration::from_millis(TIMEOUT_MILLIS_MAX);

/// How old an answer may be that [`Client::with_max_age`] allows, at least: what is younger comes without it.
pub const AGE_MIN: Duration = Duration::from_millis(AGE_MILLIS_MIN);
/// How old it may be at most.
pub const AGE_MAX: Duration = Duration::from_millis(AGE_MILLIS_MAX);

/// How often a call is made that must come through, where no answer comes.
const TRIES_MAX: u32 = 3;
/// What is waited before the first repetition where the registry does not say; each further one waits
/// twice as long, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// What is waited before a repetition where the registry does not say, at most.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whether a call may be made again when a refusal says that this may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It changes nothing, or its request id keeps it from being done twice.
    Harmless,
    /// It could be done twice.
    Never,
}

impl Again {
    /// A write is made again under its request id only.
    pub(super) fn of(request_id: Option<RequestId>) -> Self {
        request_id.map_or(Self::Never, |_| Self::Harmless)
    }
}

/// A registry, over a connection to a NATS server. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    nats: async_nats::Client,
    namespace: Namespace,
    timeout: Duration,
    traceparent: Option<String>,
    holder: Option<Arc<Holder>>,
    age: Option<Age>,
}

/// How old answers may be, and the oldest that came.
#[derive(Debug, Clone)]
struct Age {
    max: Duration,
    /// In milliseconds.
    seen: Arc<AtomicU64>,
}

impl Client {
    /// The registry of `namespace`. Calls take up to [`TIMEOUT_DEFAULT`]. Requests for leases say which user, host and
    /// process asks, and the name of its program: [`with_holder`](Self::with_holder).
    pub fn new(nats: async_nats::Client, namespace: Namespace) -> Self {
        Self {
            nats,
            namespace,
            timeout: TIMEOUT_DEFAULT,
            traceparent: None,
            holder: onex_machine::own_holder().map(Arc::new),
            age: None,
        }
    }

    /// The same, with calls that take up to `timeout`: 1 ms to [`TIMEOUT_MAX`], what is outside counts
    /// as the nearest of these.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: timeout.clamp(Duration::from_millis(1), TIMEOUT_MAX),
            ..self
        }
    }

    /// The same, with calls that are a part of a trace, which a tool that is called is told of: a `traceparent` as
    /// W3C's Trace Context has it.
    pub fn with_traceparent(self, traceparent: &str) -> Result<Self, Invalid> {
        let good = frame::traceparent(Some(traceparent));
        let good = good.ok_or_else(|| Invalid(frame::traceparent_rule().to_owned()))?;
        Ok(Self {
            traceparent: Some(good.to_owned()),
            ..self
        })
    }

    /// The same, with requests for leases that say this of their holder where they say nothing themselves; with none they
    /// say nothing. The environment variable `ONEX_NO_HOLDER` does that, too.
    #[must_use]
    pub fn with_holder(self, holder: Option<Holder>) -> Self {
        Self {
            holder: holder.map(Arc::new),
            ..self
        }
    }

    /// The same, with reads that are also answered by an instance that cannot ask its store, as things were up to `max_age`
    /// ago: 10 s to seven days, what is outside counts as the nearest of these. [`oldest_answer`](Self::oldest_answer) says
    /// whether one was. Nothing else is answered differently.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        let max = max_age.clamp(AGE_MIN, AGE_MAX);
        let seen = Arc::default();
        Self {
            age: Some(Age { max, seen }),
            ..self
        }
    }

    /// How old the oldest of the answers is at most that came of this client and its clones: none below 10 s, the age to
    /// which every registry answers.
    pub fn oldest_answer(&self) -> Option<Duration> {
        let seen = Duration::from_millis(self.age.as_ref()?.seen.load(Ordering::Relaxed));
        (seen >= AGE_MIN).then_some(seen)
    }

    /// The request with what is to be said of the holder.
    pub(super) fn with_own_holder(&self, request: &LeaseRequest) -> LeaseRequest {
        let own = || self.holder.as_deref().cloned();
        LeaseRequest {
            holder: request.holder.clone().or_else(own),
            ..request.clone()
        }
    }

    /// The same, with calls that take up to `patience` if that is less.
    pub(super) fn at_most(&self, patience: Duration) -> Self {
        self.clone().with_timeout(self.timeout.min(patience))
    }

    /// Which registry's.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The connection.
    pub(super) fn nats(&self) -> &async_nats::Client {
        &self.nats
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes a call, again where that is harmless and may help, within the timeout. A refusal that says
    /// to come back later than that is returned at once.
    pub(super) async fn call<Req: Serialize, Rep: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        request: &Req,
        again: Again,
    ) -> Result<Rep, Error> {
        let until = Instant::now() + self.timeout;
        let body =
            serde_json::to_vec(request).map_err(|source| Error::Malformed { endpoint, source })?;
        let mut pause = PAUSE_FIRST;
        let mut unsettled = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let error = match self.send(endpoint, body.clone(), left).await {
                Ok(message) => return read(endpoint, &message),
                Err(error) => error,
            };
            let wait = jittered(error.retry_after().unwrap_or(pause));
            let repeat = again == Again::Harmless && error.is_refusal() && error.retryable();
            if !repeat || Instant::now() + wait >= until {
                return Err(after(unsettled, error));
            }
            if error.may_be_done() {
                unsettled = Some(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Makes a call that is harmless to repeat, also where no answer came: [`TRIES_MAX`] times at most, each for up
    /// to the timeout, and not after `until`, for as long as it is worth `again`.
    pub(super) async fn insist<Req: Serialize, Rep: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        request: &Req,
        until: BootTime,
        again: fn(&Error) -> bool,
    ) -> Result<Rep, Error> {
        let mut unsettled = None;
        for further in (0..TRIES_MAX).rev() {
            let left = until.since(BootTime::now());
            let client = self.at_most(left);
            let error = match client.call(endpoint, request, Again::Harmless).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let wait = jittered(PAUSE_FIRST);
            if further == 0 || !again(&error) || BootTime::now() + wait >= until {
                return Err(after(unsettled, error));
            }
            if error.may_be_done() {
                unsettled = Some(error);
            }
            tokio::time::sleep(wait).await;
        }
        Err(Error::Connection(None))
    }

    /// Sends it once. What comes back is no error.
    async fn send(
        &self,
        endpoint: Endpoint,
        body: Vec<u8>,
        left: Duration,
    ) -> Result<Message, Error> {
        let subject = self.namespace.subject(endpoint.name());
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_PROTOCOL, format!("1.{PROTOCOL_MINOR}"));
        headers.insert(HEADER_TIMEOUT_MS, left.as_millis().max(1).to_string());
        if let Some(traceparent) = &self.traceparent {
            headers.insert(HEADER_TRACEPARENT, traceparent.as_str());
        }
        if let Some(age) = &self.age {
            headers.insert(HEADER_MAX_AGE_MS, age.max.as_millis().to_string());
        }
        let request = Request::new()
            .payload(body.into())
            .headers(headers)
            .timeout(Some(left));
        let message = match self.nats.send_request(subject.clone(), request).await {
            Ok(message) => message,
            Err(error) => {
                let error = Error::of_request(error, endpoint, subject, self.timeout);
                let lost = self.nats.connection_state() != State::Connected;
                return Err(match error {
                    Error::TimedOut { .. } if lost => Error::Connection(None),
                    error => error,
                });
            }
        };
        let header = |name: &str| Some(message.headers.as_ref()?.get(name)?.as_str());
        let age = header(HEADER_AGE_MS).and_then(|age| age.parse().ok());
        if let (Some(age), Some(Age { seen, .. })) = (age, &self.age) {
            seen.fetch_max(age, Ordering::Relaxed);
        }
        if header(HEADER_ERROR_NUMBER).is_some() {
            return Err(Error::of_body(endpoint, &message.payload));
        }
        Ok(message)
    }
}

/// What is to be said of several tries. "Nothing was done" is about the last one only.
fn after(unsettled: Option<Error>, last: Error) -> Error {
    match unsettled {
        Some(earlier) if last.retryable() => earlier,
        _ => last,
    }
}

fn read<T: DeserializeOwned>(endpoint: Endpoint, message: &Message) -> Result<T, Error> {
    serde_json::from_slice(&message.payload).map_err(|source| Error::Malformed { endpoint, source })
}

/// Up to twice as long: callers that were refused together must not come back together.
pub(super) fn jittered(wait: Duration) -> Duration {
    let chance = Uuid::new_v4().as_u128() & u128::from(u8::MAX);
    let part = u32::try_from(chance).unwrap_or(0);
    wait + wait * part / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_shorter_than_asked_for() {
        let wait = Duration::from_millis(100);
        let waits: Vec<_> = (0..64).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|it| (wait..=wait * 2).contains(it)));
        assert!(waits.iter().any(|it| *it != waits[0]));
    }
}
