//! The log as its one loop sees it: appends go in, events come out.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use onex_types::entry::Sequence;
use tokio::time::{Instant, sleep_until};

use crate::{
    append::Append,
    error::{Error, Lost},
    event::{Event, Refusal},
    link::Servers,
    session::Session,
    store::Store,
};

/// How far apart the first attempts to start a session begin; each further one twice as far.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// And at most so long.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// How long something that was sent may be unsettled before it is looked whether another server would do it: none that has a
/// leader takes so long.
const UNSETTLED_MAX: Duration = Duration::from_secs(2);

/// The log, for one loop that appends and follows.
pub struct Log {
    servers: Servers,
    store: Store,
    state: State,
    /// The last session's connection ended: the next messages may be the reason.
    careful: bool,
    failures: u32,
    /// When the last attempt to start a session began: one that took long need not be waited after.
    tried: Option<Instant>,
    /// Since when something was sent, and nothing was heard of the log but that it is there.
    unsettled: Option<Instant>,
    /// Looks whether another server would settle it.
    look: Option<BoxFuture<'static, Servers>>,
}

enum State {
    Idle,
    Starting(BoxFuture<'static, (Servers, Result<Session, Error>)>),
    Running(Session),
}

impl Log {
    pub(crate) fn new(servers: Servers, store: Store) -> Self {
        Self {
            servers,
            store,
            state: State::Idle,
            careful: false,
            failures: 0,
            tried: None,
            unsettled: None,
            look: None,
        }
    }

    /// Ends the session, if there is one, and starts the next. It follows from `from`, the last sequence that the caller has
    /// applied: that message comes first, to be compared. 0 if none has been.
    pub fn follow(&mut self, from: Sequence) {
        self.settle();
        let mut servers = self.servers.clone();
        let names = self.store.names().clone();
        let created = self.store.created();
        let careful = self.careful;
        let apart = match self.failures {
            0 => Duration::ZERO,
            n => BACK_OFF_MAX.min(BACK_OFF_MIN * 2_u32.saturating_pow(n - 1).min(1 << 10)),
        };
        let now = Instant::now();
        let begin = self.tried.map_or(now, |tried| now.max(tried + apart));
        self.tried = Some(begin);
        self.state = State::Starting(Box::pin(async move {
            sleep_until(begin).await;
            let session = Session::start(&mut servers, names, created, from, careful).await;
            (servers, session)
        }));
    }

    /// Sends an entry, once, while [`Log::next`] is awaited. Nothing is sent where there is no session. What becomes of it is
    /// told by events, or by nothing at all.
    pub fn append(&mut self, append: Append) {
        if let State::Running(session) = &self.state {
            session.append(append);
            self.unsettled.get_or_insert_with(Instant::now);
        } else {
            tracing::debug!(id = %append.header.id, "no session: an append was not sent");
        }
    }

    /// The most bytes that header and body of an entry may have together; none without a session.
    pub fn max_payload(&self) -> Option<usize> {
        match &self.state {
            State::Running(session) => Some(session.max_payload()),
            _ => None,
        }
    }

    /// Waits until something happens and adds all that has happened to `events`, in its order. Nothing is lost where the
    /// future is dropped before it is ready. Without a session it never is.
    pub async fn next(&mut self, events: &mut Vec<Event>) {
        poll_fn(|cx| self.poll(cx, events)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<Event>) -> Poll<()> {
        let before = events.len();
        if let State::Starting(starting) = &mut self.state {
            let Poll::Ready((servers, started)) = starting.poll_unpin(cx) else {
                return Poll::Pending;
            };
            self.servers = servers;
            match started {
                Ok(session) => {
                    self.careful = false;
                    self.state = State::Running(session);
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.lose(Lost::NotStarted(error), events);
                }
            }
        }
        if let State::Running(session) = &mut self.state
            && let Err(lost) = session.poll(cx, events)
        {
            self.careful = matches!(lost, Lost::Connection);
            self.failures = if session.was_of_use() {
                0
            } else {
                self.failures.saturating_add(1)
            };
            self.lose(lost, events);
        }
        if events.iter().skip(before).any(settles) {
            self.settle();
        }
        if let Poll::Ready(servers) = self.poll_look(cx) {
            self.settle();
            self.servers = servers;
            self.state = State::Idle;
            events.push(Event::Lost(Lost::Unsettled));
        }
        if events.len() > before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn settle(&mut self) {
        self.unsettled = None;
        self.look = None;
    }

    /// Where nothing is settled for a while, another server is looked for that knows a leader: this one may be cut off from
    /// the others, and then goes on saying that its consumer is there.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Servers> {
        let is_late = |since: Instant| since.elapsed() >= UNSETTLED_MAX;
        if self.look.is_none()
            && matches!(self.state, State::Running(_))
            && self.unsettled.is_some_and(is_late)
        {
            let (names, created) = (self.store.names().clone(), self.store.created());
            let looking = self.servers.clone().look_for_leader(names, created);
            self.look = Some(Box::pin(looking));
        }
        let Some(look) = &mut self.look else {
            return Poll::Pending;
        };
        look.poll_unpin(cx)
    }

    fn lose(&mut self, lost: Lost, events: &mut Vec<Event>) {
        // Perhaps another server is better.
        self.servers.turn();
        self.state = State::Idle;
        events.push(Event::Lost(lost));
    }
}

/// Whether it shows that the server has to do with whoever leads the log. One that is full says no itself.
fn settles(event: &Event) -> bool {
    match event {
        Event::Acked { .. } | Event::Delivered(_) => true,
        Event::Refused { refusal, .. } => *refusal == Refusal::Full,
        Event::Following { .. } | Event::Lost(_) => false,
    }
}
