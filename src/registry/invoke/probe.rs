//! Whether anybody listens on a subject, and whether whoever did is gone: found out without sending anything there.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{Client, StatusCode};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where every NATS server says who of an account is connected to it.
const CONNECTIONS: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
/// Where it says how many leaf nodes are: it does not know who listens behind those.
const ACCOUNT: &str = "$SYS.REQ.ACCOUNT.PING.STATZ";
/// How long servers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a call waits before it is looked who listens.
const LOOK_FIRST: Duration = Duration::from_secs(1);
/// Connections that are watched for one call, at most; of more it is not said that they are gone.
const WATCHED_MAX: usize = 16;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

/// What one of the two answers with.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Connections {
        server_id: String,
        connections: Vec<Connection>,
    },
    Account {
        account_statz: Vec<Account>,
    },
}

#[derive(Deserialize)]
struct Connection {
    cid: u64,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    leafnodes: u64,
}

/// What servers have said.
#[derive(Debug, Default)]
struct Heard {
    /// The connections that were asked for, by server.
    connections: BTreeMap<String, Vec<u64>>,
    /// How many said how many leaf nodes there are.
    accounts: usize,
    leaf_nodes: u64,
}

/// Whether anybody listens there; none where that cannot be found out: the servers do not say, or somebody may listen
/// behind a leaf node.
pub(super) async fn listens(client: &Client, subject: &str) -> Option<bool> {
    let asked = [(CONNECTIONS, of_subject(subject, 1)), (ACCOUNT, json!({}))];
    let one_server = client.server_info().cluster.is_none();
    let done = |heard: &Heard| {
        let all = one_server && !heard.connections.is_empty() && heard.accounts > 0;
        all || heard.count() > 0
    };
    let heard = ask(client, asked, done).await?;
    if heard.count() > 0 {
        return Some(true);
    }
    let complete = !heard.connections.is_empty() && heard.accounts > 0 && heard.leaf_nodes == 0;
    complete.then_some(false)
}

/// Waits until whoever listens there after a second has lost its connection, and nobody listens any more. One that only
/// unsubscribes is about to stop, and may still answer. It is looked ever less often, so that who finds out has waited at
/// most about twice as long as it could have known.
pub(super) async fn deserted(client: &Client, subject: &str) {
    tokio::time::sleep(LOOK_FIRST).await;
    let asked = [(CONNECTIONS, of_subject(subject, WATCHED_MAX + 1))];
    let one_server = client.server_info().cluster.is_none();
    let heard = ask(client, asked, |heard| one_server && heard.count() > 0).await;
    let heard = heard.filter(|heard| (1..=WATCHED_MAX).contains(&heard.count()));
    let Some(heard) = heard else {
        return std::future::pending().await;
    };
    let mut wait = LOOK_FIRST;
    loop {
        tokio::time::sleep(wait).await;
        wait *= 2;
        if all_closed(client, &heard).await && listens(client, subject).await == Some(false) {
            return;
        }
    }
}

/// Whether each of these connections is closed, by what its server says.
async fn all_closed(client: &Client, watched: &Heard) -> bool {
    for (server, cids) in &watched.connections {
        for cid in cids {
            let asked = [(CONNECTIONS, json!({"cid": cid}))];
            let said = |heard: &Heard| heard.connections.contains_key(server);
            let heard = ask(client, asked, said).await.unwrap_or_default();
            if heard
                .connections
                .get(server)
                .is_none_or(|open| !open.is_empty())
            {
                return false;
            }
        }
    }
    true
}

fn of_subject(subject: &str, limit: usize) -> Value {
    json!({"filter_subject": subject, "limit": limit})
}

/// What the servers answer until that is enough, or nothing more is waited for; none where nothing can be asked.
async fn ask<const N: usize>(
    client: &Client,
    asked: [(&'static str, Value); N],
    enough: impl Fn(&Heard) -> bool,
) -> Option<Heard> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.ok()?;
    for (subject, body) in asked {
        let sent = client.publish_with_reply(subject, inbox.clone(), body.to_string().into());
        sent.await.ok()?;
    }
    let mut heard = Heard::default();
    let gather = async {
        while let Some(message) = answers.next().await {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return;
            }
            if let Ok(answer) = serde_json::from_slice::<Answer>(&message.payload) {
                heard.take(answer.data);
            }
            if enough(&heard) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, gather).await;
    Some(heard)
}

impl Heard {
    fn take(&mut self, data: Data) {
        match data {
            Data::Connections {
                server_id,
                connections,
            } => {
                let cids = connections.iter().map(|one| one.cid);
                self.connections.entry(server_id).or_default().extend(cids);
            }
            Data::Account { account_statz } => {
                self.accounts += 1;
                self.leaf_nodes += account_statz.iter().map(|one| one.leafnodes).sum::<u64>();
            }
        }
    }

    fn count(&self) -> usize {
        self.connections.values().map(Vec::len).sum()
    }
}
