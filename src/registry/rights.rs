//! Which rights the registry has at the NATS server. Its callers may not have them.

use std::{sync::Arc, time::Duration};

use async_nats::Client;
use serde::Deserialize;
use tokio::{sync::watch, time::Instant};

use crate::{
    connect,
    protocol::{
        names::SERVICE,
        subject::{ToolSubjects, covers},
    },
};

use super::{settings::Settings, stop::Stop};

/// The NATS server's endpoint that tells a client as which user it is connected.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";
/// How long the server may take to answer that.
const USER_INFO_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a server that cannot be reached is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Retries when a server that answered before does not answer.
const RETRIES_MAX: usize = 3;
/// How long a call waits, after the connection was lost, until the login is known again.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct UserInfo {
    data: User,
}

/// As whom a connection is known to the server, and what it may do.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct User {
    /// Its name; empty where the server knows none.
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(super) permissions: Permissions,
}

/// What a user may publish on and subscribe to.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Permissions {
    #[serde(default)]
    pub(super) publish: Permission,
    #[serde(default)]
    pub(super) subscribe: Permission,
}

/// Patterns of subjects.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Permission {
    /// Those that are allowed; all where there is none.
    #[serde(default)]
    allow: Vec<String>,
    /// Those that are not.
    #[serde(default)]
    deny: Vec<String>,
}

impl Permission {
    /// Whether a subject without wildcards is allowed.
    pub(super) fn has(&self, subject: &str) -> bool {
        let is_in = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, subject));
        (self.allow.is_empty() || is_in(&self.allow)) && !is_in(&self.deny)
    }
}

/// As whom the registry is connected to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// The server knows no user for this connection: it has the rights that everybody has.
    Anonymous,
    /// As a user, who may have rights that callers lack.
    User,
    /// The connection was lost, and the server has not been asked since.
    Unknown,
}

/// On which subjects the registry may call tools.
#[derive(Clone)]
pub(super) struct Rights {
    /// Without a login: wherever tools may listen.
    all: Arc<ToolSubjects>,
    /// With a login: only the subjects of `--tool-subjects`, and the defaults.
    named: Arc<ToolSubjects>,
    has_credentials: bool,
    login: watch::Sender<Login>,
}

impl Rights {
    /// Before the first connection.
    pub(super) fn new(settings: &Settings, nats: &connect::Options) -> Self {
        let subjects = settings.tool_subjects.clone();
        Self {
            named: Arc::new(subjects.clone().named_only()),
            all: Arc::new(subjects),
            has_credentials: nats.has_credentials(),
            login: watch::Sender::new(Login::Unknown),
        }
    }

    /// Asks the server, and asks again whenever the connection was lost: the configuration may have changed.
    pub(super) async fn start(
        &self,
        nats: &connect::Options,
        stop: &Stop,
    ) -> Result<(), connect::Error> {
        if self.has_credentials {
            self.login.send_replace(Login::User);
            self.warn_of_broad_pattern();
            return Ok(());
        }
        let mut before = self.ask(nats, Login::Unknown).await?;
        let (this, nats) = (self.clone(), nats.clone());
        stop.watch("the login at the NATS server", async move {
            let mut login = this.login.subscribe();
            loop {
                // The sender is a field of `this`.
                let _ = login.wait_for(|login| *login == Login::Unknown).await;
                match this.ask(&nats, before).await {
                    Ok(now) => before = now,
                    Err(error) => {
                        tracing::debug!(%error, "cannot ask the server for our user");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        });
        Ok(())
    }

    /// To be called when the connection is lost or back: the login may have changed.
    pub(super) fn forget(&self) {
        if !self.has_credentials {
            self.login.send_replace(Login::Unknown);
        }
    }

    /// Waits until the login is known, for a bounded time. Returns whether it is.
    pub(super) async fn known(&self, until: Instant) -> bool {
        let mut login = self.login.subscribe();
        let known = login.wait_for(|login| *login != Login::Unknown);
        let soon = tokio::time::timeout(LOGIN_TIMEOUT, known);
        matches!(tokio::time::timeout_at(until, soon).await, Ok(Ok(_)))
    }

    pub(super) fn is_known(&self) -> bool {
        *self.login.borrow() != Login::Unknown
    }

    pub(super) fn callable(&self) -> &ToolSubjects {
        match *self.login.borrow() {
            Login::Anonymous => &self.all,
            Login::User | Login::Unknown => &self.named,
        }
    }

    async fn ask(&self, nats: &connect::Options, before: Login) -> Result<Login, connect::Error> {
        // If the connection is lost meanwhile, the answer does not count.
        self.login.send_replace(Login::Unknown);
        let changes = self.login.subscribe();
        let mut told = user(nats).await?;
        // A server that answered before is allowed to: it is silent because it is busy.
        for _ in 0..RETRIES_MAX {
            if told.is_some() || before != Login::Anonymous {
                break;
            }
            told = user(nats).await?;
        }
        let user = told;
        let now = if user.as_deref() == Some("") {
            Login::Anonymous
        } else {
            Login::User
        };
        if changes.has_changed().unwrap_or(true) {
            return Ok(before);
        }
        self.login.send_replace(now);
        match (before, now) {
            (Login::Unknown | Login::Anonymous, Login::User) => {
                tracing::info!(
                    user = user.as_deref().unwrap_or("(not told)"),
                    "the NATS server knows this registry as a user: it calls tools on their default subjects and on \
                     --tool-subjects only"
                );
                self.warn_of_broad_pattern();
            }
            (Login::User, Login::Anonymous) => {
                tracing::info!(
                    "the NATS server no longer knows this registry as a user: it calls tools on all of --tool-subjects"
                );
            }
            _ => {}
        }
        Ok(now)
    }

    fn warn_of_broad_pattern(&self) {
        if let Some(pattern) = self.all.widest() {
            tracing::warn!(
                "--tool-subjects {pattern}: whoever announces a tool chooses where this registry publishes with its own \
                 rights; name the subjects of tools instead"
            );
        }
    }
}

/// The user of connections without credentials (`no_auth_user`): empty if there is none, `None` if the server does not
/// tell. Asks on a connection of its own, because a server that does not allow the question reports an error on it.
async fn user(nats: &connect::Options) -> Result<Option<String>, connect::Error> {
    let client = nats.connect(&format!("{SERVICE} rights"), |_| ()).await?;
    Ok(user_of(&client).await.map(|user| user.user))
}

/// As whom that connection is known; none if the server does not tell.
pub(super) async fn user_of(client: &Client) -> Option<User> {
    let request = async_nats::Request::new().timeout(Some(USER_INFO_TIMEOUT));
    let reply = client.send_request(USER_INFO, request).await.ok()?;
    let info = serde_json::from_slice::<UserInfo>(&reply.payload).ok()?;
    Some(info.data)
}
