//! What rights the registry has at the NATS server: its callers may not have them.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{sync::watch, time::Instant};

use crate::{
    connect,
    protocol::{names::SERVICE, subject::ToolSubjects},
};

use super::{settings::Settings, stop::Stop};

/// Where a NATS server says who its client is to it.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";
/// How long it may take to.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long until a server that cannot be reached is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often a server is asked again that did not answer, though it did before.
const ASKED_AGAIN_MAX: usize = 3;
/// How long a call waits until it is known again what may be called.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct UserInfo {
    data: User,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    user: String,
}

/// What the server takes the registry for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    ForNobody,
    /// For one of its users: it has rights that its callers may lack.
    ForUser,
    /// The connection was lost, and the server has not been asked since.
    Unknown,
}

/// What the registry may call for others.
#[derive(Clone)]
pub(super) struct Rights {
    /// Where it has no rights of its own.
    all: Arc<ToolSubjects>,
    /// Where it has: only what it was told.
    named: Arc<ToolSubjects>,
    has_credentials: bool,
    taken: watch::Sender<Taken>,
}

impl Rights {
    /// Before the first connection.
    pub(super) fn new(settings: &Settings, nats: &connect::Options) -> Self {
        let subjects = settings.tool_subjects.clone();
        Self {
            named: Arc::new(subjects.clone().named_only()),
            all: Arc::new(subjects),
            has_credentials: nats.has_credentials(),
            taken: watch::Sender::new(Taken::Unknown),
        }
    }

    /// Asks the server, and again whenever the connection was lost: its configuration may be another one then.
    pub(super) async fn start(
        &self,
        nats: &connect::Options,
        stop: &Stop,
    ) -> Result<(), connect::Error> {
        if self.has_credentials {
            self.taken.send_replace(Taken::ForUser);
            self.warn_of_widest();
            return Ok(());
        }
        let mut before = self.ask(nats, Taken::Unknown).await?;
        let (this, nats) = (self.clone(), nats.clone());
        stop.watch("what the NATS server takes us for", async move {
            let mut taken = this.taken.subscribe();
            loop {
                // The sender is a field of `this`.
                let _ = taken.wait_for(|taken| *taken == Taken::Unknown).await;
                match this.ask(&nats, before).await {
                    Ok(now) => before = now,
                    Err(error) => {
                        tracing::debug!(%error, "cannot ask what the server takes us for");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        });
        Ok(())
    }

    /// The connection is lost, or back: what was known is not to be trusted any more.
    pub(super) fn doubt(&self) {
        if !self.has_credentials {
            self.taken.send_replace(Taken::Unknown);
        }
    }

    /// Waits until it is known what may be called, not for long. Whether it is known by then.
    pub(super) async fn known(&self, until: Instant) -> bool {
        let mut taken = self.taken.subscribe();
        let known = taken.wait_for(|taken| *taken != Taken::Unknown);
        let soon = tokio::time::timeout(KNOWN_TIMEOUT, known);
        matches!(tokio::time::timeout_at(until, soon).await, Ok(Ok(_)))
    }

    pub(super) fn is_known(&self) -> bool {
        *self.taken.borrow() != Taken::Unknown
    }

    pub(super) fn callable(&self) -> &ToolSubjects {
        match *self.taken.borrow() {
            Taken::ForNobody => &self.all,
            Taken::ForUser | Taken::Unknown => &self.named,
        }
    }

    async fn ask(&self, nats: &connect::Options, before: Taken) -> Result<Taken, connect::Error> {
        // A connection that is lost while it is asked is asked about again.
        self.taken.send_replace(Taken::Unknown);
        let changes = self.taken.subscribe();
        let mut told = user(nats).await?;
        // A server that told it before may be busy: it is not silent because it must not tell.
        for _ in 0..ASKED_AGAIN_MAX {
            if told.is_some() || before != Taken::ForNobody {
                break;
            }
            told = user(nats).await?;
        }
        let user = told;
        let now = if user.as_deref() == Some("") {
            Taken::ForNobody
        } else {
            Taken::ForUser
        };
        if changes.has_changed().unwrap_or(true) {
            return Ok(before);
        }
        self.taken.send_replace(now);
        match (before, now) {
            (Taken::Unknown | Taken::ForNobody, Taken::ForUser) => {
                tracing::info!(
                    user = user.as_deref().unwrap_or("(not told)"),
                    "the NATS server takes this registry for one of its users: it calls tools on their default subjects \
                     and on --tool-subjects only"
                );
                self.warn_of_widest();
            }
            (Taken::ForUser, Taken::ForNobody) => {
                tracing::info!(
                    "the NATS server takes this registry for none of its users any more: it calls tools on all of --tool-subjects"
                );
            }
            _ => {}
        }
        Ok(now)
    }

    fn warn_of_widest(&self) {
        if let Some(pattern) = self.all.widest() {
            tracing::warn!(
                "--tool-subjects {pattern}: whoever announces a tool chooses where this registry publishes with its own \
                 rights; name the subjects of tools instead"
            );
        }
    }
}

/// Which user the server takes us for, who say nothing of it (`no_auth_user`): empty for none; none where it does not
/// tell. On a connection of its own: where it is not allowed to ask, the server complains of it.
async fn user(nats: &connect::Options) -> Result<Option<String>, connect::Error> {
    let client = nats.connect(&format!("{SERVICE} rights"), |_| ()).await?;
    let request = async_nats::Request::new().timeout(Some(PATIENCE));
    let reply = client.send_request(USER_INFO, request).await.ok();
    let info = reply.and_then(|reply| serde_json::from_slice::<UserInfo>(&reply.payload).ok());
    Ok(info.map(|info| info.data.user))
}
