//! Callers that send one request after the other, and how long each took.

use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, Request, Subject};
use bytes::Bytes;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    pub(crate) subject: Subject,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Shot {
    pub(crate) fn new(subject: Subject, body: impl Into<Bytes>) -> Self {
        Self {
            subject,
            headers: None,
            body: body.into(),
        }
    }
}

/// What one caller does.
pub(crate) trait Work: Send + 'static {
    /// The next request; none when it has nothing left to do.
    fn next(&mut self) -> Option<Shot>;

    /// What came of the last one.
    fn answered(&mut self, _message: &Message) {}
}

/// How long the requests of all callers took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Of each, the shortest first.
    times: Vec<Duration>,
    /// From the first to the last.
    took: Duration,
}

impl Sample {
    /// Of requests that took so long each, and together.
    pub(crate) fn new(mut times: Vec<Duration>, took: Duration) -> Self {
        assert!(!times.is_empty(), "nobody had anything to do");
        times.sort_unstable();
        Self { times, took }
    }

    /// Requests a second.
    #[expect(clippy::cast_precision_loss, reason = "there are not so many")]
    pub(crate) fn rate(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }

    /// What so many of a hundred did not exceed, in microseconds.
    pub(crate) fn percentile(&self, of_hundred: usize) -> f64 {
        let at = (self.times.len() * of_hundred / 100).min(self.times.len() - 1);
        self.times[at].as_secs_f64() * 1e6
    }

    /// All of them as if they were one.
    pub(crate) fn together<'a>(samples: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for sample in samples {
            all.times.extend(&sample.times);
            all.took += sample.took;
        }
        all.times.sort_unstable();
        all
    }
}

/// Each caller does its work until the window is over or nothing is left, over the clients in turn.
pub(crate) async fn drive<W: Work>(
    clients: &[Client],
    works: Vec<W>,
    window: Duration,
) -> (Sample, Vec<W>) {
    let began = Instant::now();
    let until = began + window;
    let callers = works.into_iter().zip(clients.iter().cycle().cloned());
    let tasks: Vec<_> = callers
        .map(|(work, client)| tokio::spawn(call(client, work, until)))
        .collect();
    let (mut times, mut works) = (Vec::new(), Vec::new());
    for task in tasks {
        let (of_one, work) = task.await.unwrap();
        times.extend(of_one);
        works.push(work);
    }
    (Sample::new(times, began.elapsed()), works)
}

async fn call<W: Work>(client: Client, mut work: W, until: Instant) -> (Vec<Duration>, W) {
    let mut times = Vec::new();
    while Instant::now() < until
        && let Some(shot) = work.next()
    {
        let subject = shot.subject.clone();
        let mut request = Request::new().payload(shot.body);
        if let Some(headers) = shot.headers {
            request = request.headers(headers);
        }
        let began = Instant::now();
        let message = client.send_request(shot.subject, request).await;
        times.push(began.elapsed());
        let message = message.unwrap_or_else(|error| panic!("{subject}: {error}"));
        let refused = message.headers.as_ref().is_some_and(|headers| {
            headers.get("Nats-Service-Error-Code").is_some() || headers.get("Status").is_some()
        });
        assert!(!refused, "{subject}: {message:?}");
        work.answered(&message);
    }
    (times, work)
}

/// The same request again and again.
#[derive(Debug, Clone)]
pub(crate) struct Repeated(pub(crate) Shot);

impl Repeated {
    pub(crate) fn new(subject: &str, body: impl Into<Bytes>) -> Self {
        Self(Shot::new(subject.into(), body))
    }
}

impl Work for Repeated {
    fn next(&mut self) -> Option<Shot> {
        Some(self.0.clone())
    }
}
