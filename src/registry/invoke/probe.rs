//! Whether anybody listens on a subject, found out without sending anything there.

use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subscriber};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

/// Where every NATS server says who of an account is connected to it.
const CONNECTIONS: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
/// Where it says how many leaf nodes are: it does not know who listens behind those.
const ACCOUNT: &str = "$SYS.REQ.ACCOUNT.PING.STATZ";
/// How long servers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a call waits before it is looked whether anybody listens any more.
const LOOK_FIRST: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

/// What one of the two answers with.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Connections { num_connections: u64 },
    Account { account_statz: Vec<Account> },
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    leafnodes: u64,
}

/// Whether anybody listens there; none where that cannot be found out: the servers do not say, or somebody may listen
/// behind a leaf node.
pub(super) async fn listens(client: &Client, subject: &str) -> Option<bool> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.ok()?;
    let of_subject = json!({"filter_subject": subject, "limit": 1}).to_string();
    for (ask, body) in [(CONNECTIONS, of_subject), (ACCOUNT, "{}".to_owned())] {
        let sent = client.publish_with_reply(ask, inbox.clone(), body.into());
        sent.await.ok()?;
    }
    let one_server = client.server_info().cluster.is_none();
    let mut heard = Heard::default();
    let all = heard.gather(&mut answers, one_server);
    let _ = tokio::time::timeout(PATIENCE, all).await;
    heard.listens()
}

/// Waits until nobody listens there any more. It is looked for ever less often, so that who finds out has waited at most
/// about twice as long as it could have known; and twice, for a client may be about to connect again.
pub(super) async fn deserted(client: &Client, subject: &str) {
    let mut wait = LOOK_FIRST;
    loop {
        tokio::time::sleep(wait).await;
        if listens(client, subject).await == Some(false) {
            tokio::time::sleep(LOOK_FIRST).await;
            if listens(client, subject).await == Some(false) {
                return;
            }
        }
        wait *= 2;
    }
}

/// What servers have said.
#[derive(Debug, Default)]
struct Heard {
    /// How many said who is connected.
    connections: u32,
    /// How many said how many leaf nodes there are.
    accounts: u32,
    listeners: u64,
    leaf_nodes: u64,
}

impl Heard {
    /// Listens until nothing can change what is known, if that comes.
    async fn gather(&mut self, answers: &mut Subscriber, one_server: bool) {
        while let Some(message) = answers.next().await {
            self.take(&message);
            let all = one_server && self.connections > 0 && self.accounts > 0;
            if self.listeners > 0 || all || message.status == Some(StatusCode::NO_RESPONDERS) {
                return;
            }
        }
    }

    fn take(&mut self, message: &Message) {
        match serde_json::from_slice::<Answer>(&message.payload) {
            Ok(Answer {
                data: Data::Connections { num_connections },
            }) => {
                self.connections += 1;
                self.listeners += num_connections;
            }
            Ok(Answer {
                data: Data::Account { account_statz },
            }) => {
                self.accounts += 1;
                self.leaf_nodes += account_statz.iter().map(|one| one.leafnodes).sum::<u64>();
            }
            Err(_) => {}
        }
    }

    fn listens(&self) -> Option<bool> {
        if self.listeners > 0 {
            return Some(true);
        }
        let complete = self.connections > 0 && self.accounts > 0 && self.leaf_nodes == 0;
        complete.then_some(false)
    }
}
