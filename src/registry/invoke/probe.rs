//! Whether anybody listens on a subject, and whether whoever did is gone: found out without sending anything there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{Client, StatusCode, Subscriber};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::protocol::{names::NODE_GROUP, subject::covers};

use super::super::bus::Bus;

/// Where every NATS server says who of an account is connected to it.
const CONNECTIONS: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
/// Where it says how many leaf nodes are: it does not know who listens behind those.
const ACCOUNT: &str = "$SYS.REQ.ACCOUNT.PING.STATZ";
/// How long servers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Calls on a subject share what was seen of it so long before they were sent.
const SEEN_BEFORE: Duration = Duration::from_secs(1);
/// How long a call waits before it is looked again who listens; then twice as long each time.
const LOOK_FIRST: Duration = Duration::from_millis(200);
/// Looks that are so young are shared.
const LOOK_SHARED: Duration = Duration::from_millis(100);
/// The longest time between two looks.
const LOOK_LAST: Duration = Duration::from_secs(2);
/// How long an answer is waited for that the news of its sender's end may have overtaken.
const OVERTAKEN: Duration = Duration::from_millis(100);
/// Client libraries wait for two seconds before they connect again: for so long, somebody who has lost its connection
/// may come back and answer.
const RECONNECT: Duration = Duration::from_millis(2_500);
/// Connections that are watched for one call, at most; of more it is not said that they are gone.
const WATCHED_MAX: usize = 16;
/// So long at most a call waits before it is sent until it is seen who listens.
const SEEN_FIRST: Duration = Duration::from_millis(50);
/// So long no server is asked again where none has said anything: the account may not be allowed to ask.
const DEAF: Duration = Duration::from_mins(1);
/// Looks of one instance in a second, at most. Without one it is found out later, or not, that a provider is gone.
const LOOKS_PER_SECOND_MAX: u32 = 500;
/// Subjects of which it is remembered what was seen a moment ago, at most.
const SUBJECTS_SEEN_MAX: usize = 1_024;
/// So long it is remembered in which way somebody listened on a subject: whoever listens in a lesser way observes.
const WAY_KEPT: Duration = Duration::from_mins(10);
/// Subjects of which that is remembered, at most.
const WAYS_MAX: usize = 16_384;

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
        now: Timestamp,
        connections: Vec<Connection>,
    },
    Account {
        account_statz: Vec<Account>,
    },
}

#[derive(Deserialize)]
struct Connection {
    cid: u64,
    /// When it connected.
    start: Timestamp,
    /// All that it listens to, where that was asked for.
    #[serde(default, rename = "subscriptions_list_detail")]
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
struct Subscription {
    subject: String,
    #[serde(default, rename = "qgroup")]
    group: String,
}

/// In which way somebody listens. Where several do in different ways, those in the lesser ones observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// By a pattern.
    Pattern,
    /// By the subject itself, or in a queue group.
    Named,
    /// In the queue group of nodes.
    Node,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
struct Listener {
    /// When it was made; none where that is longer ago than the clock goes back.
    made: Option<Instant>,
    way: Way,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    leafnodes: u64,
}

/// What servers have said.
#[derive(Debug, Clone, Default)]
struct Heard {
    /// The connections that were asked for, by server.
    connections: BTreeMap<String, BTreeMap<u64, Listener>>,
    /// Whether there are more.
    cut_off: bool,
    /// How many said how many leaf nodes there are.
    accounts: usize,
    leaf_nodes: u64,
}

/// What is seen of one subject, for all who wait for that.
type Look = Shared<BoxFuture<'static, Option<Arc<Heard>>>>;

/// Looks who listens on subjects.
pub(super) struct Probe {
    bus: Bus,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    /// What was seen last, and when it was looked.
    looks: HashMap<String, (Instant, Look)>,
    /// Since when looks are counted, and how many there were.
    second: Option<Instant>,
    begun: u32,
    /// Until when no server is asked.
    deaf_until: Option<Instant>,
    /// In which way somebody listened, and when that was seen last.
    ways: HashMap<String, (Instant, Way)>,
}

/// Watches those who listened when a request was sent.
#[derive(Clone)]
pub(super) struct Watch {
    probe: Arc<Probe>,
    subject: String,
    sent: Instant,
    /// What was seen then; none where that is not known.
    before: Option<Look>,
}

/// Who listens in the place of those who are gone.
enum Away {
    Nobody,
    Others,
}

impl Probe {
    pub(super) fn new(bus: Bus) -> Self {
        Self {
            bus,
            recent: Mutex::default(),
        }
    }

    /// Whether anybody listens there; none where that cannot be found out: the servers do not say, or somebody may
    /// listen behind a leaf node.
    pub(super) async fn listens(self: &Arc<Self>, subject: &str) -> Option<bool> {
        let heard = self.look(subject, Instant::now()).await?.await?;
        let listens = heard.count() > 0;
        (listens || heard.is_complete()).then_some(listens)
    }

    /// To be called before a request is sent there: the server is asked first who listens.
    pub(super) async fn watch(this: &Arc<Self>, subject: &str) -> Watch {
        let sent = Instant::now();
        let since = sent.checked_sub(SEEN_BEFORE).unwrap_or(sent);
        let before = this.look(subject, since).await;
        if let Some(look) = before.clone().filter(|_| this.is_one_server()) {
            // A server may pass on a request that comes behind the question before it answers that. Of several servers
            // nobody knows when all have answered.
            let _ = tokio::time::timeout(SEEN_FIRST, look).await;
        }
        Watch {
            probe: Arc::clone(this),
            subject: subject.to_owned(),
            sent,
            before,
        }
    }

    /// Who listens there, at that time or later; none where too many looks were begun.
    async fn look(self: &Arc<Self>, subject: &str, since: Instant) -> Option<Look> {
        let now = Instant::now();
        {
            let mut recent = self.recent();
            if let Some((_, look)) = recent.looks.get(subject).filter(|(at, _)| *at >= since) {
                return Some(look.clone());
            }
            recent.count(now)?;
        }
        let filter = json!({
            "filter_subject": subject,
            "limit": WATCHED_MAX + 1,
            "subscriptions": true,
            "subscriptions_detail": true,
        });
        let answers = send(
            &self.bus.client(),
            [(CONNECTIONS, filter), (ACCOUNT, json!({}))],
        )
        .await?;
        let one_server = self.is_one_server();
        let all =
            move |heard: &Heard| one_server && !heard.connections.is_empty() && heard.accounts > 0;
        let (this, own) = (Arc::clone(self), subject.to_owned());
        // A task of its own: whoever asked first may not wait for it.
        let gather = tokio::spawn(async move {
            let mut heard = gather(answers, &own, all).await;
            let mut recent = this.recent();
            if heard.connections.is_empty() {
                recent.deaf_until = Some(Instant::now() + DEAF);
            }
            if let Some(way) = recent.way(&own, heard.way(), now) {
                heard.forget_observers(way);
            }
            drop(recent);
            Arc::new(heard)
        });
        let look = gather.map(Result::ok).boxed().shared();
        self.recent().keep(subject, now, look.clone());
        Some(look)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_one_server(&self) -> bool {
        self.bus.client().server_info().cluster.is_none()
    }

    /// Whether each of these connections is closed, by what its server says.
    async fn all_closed(&self, watched: &Heard) -> bool {
        for (server, cids) in &watched.connections {
            for cid in cids.keys() {
                let asked = [(CONNECTIONS, json!({"cid": cid}))];
                let Some(answers) = send(&self.bus.client(), asked).await else {
                    return false;
                };
                let said = |heard: &Heard| heard.connections.contains_key(server);
                let heard = gather(answers, "", said).await;
                let open = heard.connections.get(server);
                if open.is_none_or(|open| !open.is_empty()) {
                    return false;
                }
            }
        }
        true
    }
}

impl Recent {
    /// Counts one look more, if there may be one.
    fn count(&mut self, now: Instant) -> Option<()> {
        if self.deaf_until.is_some_and(|until| now < until) {
            return None;
        }
        let over = |since| now.saturating_duration_since(since) >= Duration::from_secs(1);
        if self.second.is_none_or(over) {
            self.second = Some(now);
            self.begun = 0;
        }
        self.begun += 1;
        (self.begun <= LOOKS_PER_SECOND_MAX).then_some(())
    }

    /// In which way whoever serves that subject listens, by what is seen of it now and what was seen before.
    fn way(&mut self, subject: &str, seen: Option<Way>, now: Instant) -> Option<Way> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < WAY_KEPT;
        let before = self.ways.get(subject).filter(|(at, _)| fresh(*at));
        let before = before.map(|(_, way)| *way);
        // That somebody listens by a pattern outweighs nothing.
        if let Some(way) = seen.filter(|way| *way > Way::Pattern && Some(*way) >= before) {
            if self.ways.len() >= WAYS_MAX {
                self.ways.retain(|_, (at, _)| fresh(*at));
            }
            if self.ways.len() < WAYS_MAX || before.is_some() {
                self.ways.insert(subject.to_owned(), (now, way));
            }
        }
        before.max(seen)
    }

    fn keep(&mut self, subject: &str, now: Instant, look: Look) {
        if self.looks.len() >= SUBJECTS_SEEN_MAX {
            self.looks
                .retain(|_, (at, _)| now.saturating_duration_since(*at) < SEEN_BEFORE);
        }
        if self.looks.len() < SUBJECTS_SEEN_MAX {
            self.looks.insert(subject.to_owned(), (now, look));
        }
    }
}

impl Watch {
    /// Waits until all who listened when the request was sent have lost their connections. One that only unsubscribes is
    /// about to stop, and may still answer. With `patience` nobody else may be asked in their place: then one who comes
    /// back is waited for.
    pub(super) async fn deserted(self, patience: bool) {
        let mut wait = LOOK_FIRST;
        tokio::time::sleep(wait).await;
        let Some(watched) = self.watched().await else {
            return std::future::pending().await;
        };
        let mut missing: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            match self.away(&watched).await {
                Some(_) if !patience => break,
                Some(Away::Nobody) => {
                    let since = *missing.get_or_insert(asked);
                    if since.elapsed() >= RECONNECT {
                        break;
                    }
                    wait = LOOK_FIRST;
                }
                Some(Away::Others) | None => {
                    missing = None;
                    wait = (wait * 2).min(LOOK_LAST);
                }
            }
            tokio::time::sleep(wait).await;
        }
        tokio::time::sleep(OVERTAKEN).await;
    }

    /// Who listened when the request was sent; none where that is not known, or where they are too many. Somebody did, or
    /// it would have been said at once: who was not seen was gone in the same moment.
    async fn watched(&self) -> Option<Heard> {
        let before = match self.before.clone() {
            Some(look) => look.await.filter(|heard| heard.is_complete()),
            None => None,
        };
        let now = self.probe.look(&self.subject, recently()).await?;
        let mut now = (*now.await?).clone();
        let known = before.is_some() || now.count() > 0;
        // Another look may be from a while before, and miss some. Who has come since is not meant.
        now.forget_after(self.sent);
        if let Some(before) = before {
            now.add(&before);
        }
        (known && !now.cut_off && now.count() <= WATCHED_MAX).then_some(now)
    }

    /// Whether all those have lost their connections.
    async fn away(&self, watched: &Heard) -> Option<Away> {
        let now = self.probe.look(&self.subject, recently()).await?.await?;
        if !now.is_complete() || now.has_any_of(watched) || !self.probe.all_closed(watched).await {
            return None;
        }
        Some(match now.count() {
            0 => Away::Nobody,
            _ => Away::Others,
        })
    }
}

/// Since when looks may be shared.
fn recently() -> Instant {
    let now = Instant::now();
    now.checked_sub(LOOK_SHARED).unwrap_or(now)
}

/// Asks the servers; none where nothing can be asked.
async fn send<const N: usize>(
    client: &Client,
    asked: [(&'static str, Value); N],
) -> Option<Subscriber> {
    let inbox = client.new_inbox();
    let answers = client.subscribe(inbox.clone()).await.ok()?;
    for (subject, body) in asked {
        let sent = client.publish_with_reply(subject, inbox.clone(), body.to_string().into());
        sent.await.ok()?;
    }
    Some(answers)
}

/// What the servers answer about that subject until that is enough, or nothing more is waited for.
async fn gather(mut answers: Subscriber, subject: &str, enough: impl Fn(&Heard) -> bool) -> Heard {
    let mut heard = Heard::default();
    let gather = async {
        while let Some(message) = answers.next().await {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return;
            }
            if let Ok(answer) = serde_json::from_slice::<Answer>(&message.payload) {
                heard.take(subject, answer.data);
            }
            if enough(&heard) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, gather).await;
    heard
}

impl Connection {
    /// In which way it listens on that subject. A server that does not say may mean any.
    fn way(&self, subject: &str) -> Way {
        let about = self.subscriptions.iter();
        let about = about.filter(|one| covers(&one.subject, subject));
        about
            .map(|one| match one.group.as_str() {
                NODE_GROUP => Way::Node,
                "" if one.subject != subject => Way::Pattern,
                _ => Way::Named,
            })
            .max()
            .unwrap_or(Way::Named)
    }
}

impl Heard {
    fn take(&mut self, subject: &str, data: Data) {
        match data {
            Data::Connections {
                server_id,
                now,
                connections,
            } => {
                let (here, all) = (Instant::now(), self.connections.entry(server_id));
                let made = |start| {
                    let age = Duration::try_from(now.duration_since(start)).unwrap_or_default();
                    here.checked_sub(age)
                };
                let listeners = connections.iter().map(|one| {
                    let (made, way) = (made(one.start), one.way(subject));
                    (one.cid, Listener { made, way })
                });
                self.cut_off |= connections.len() > WATCHED_MAX;
                all.or_default().extend(listeners);
            }
            Data::Account { account_statz } => {
                self.accounts += 1;
                self.leaf_nodes += account_statz.iter().map(|one| one.leafnodes).sum::<u64>();
            }
        }
    }

    fn count(&self) -> usize {
        self.connections.values().map(BTreeMap::len).sum()
    }

    /// Whether nobody else listens: not behind a leaf node, and none that were left out.
    fn is_complete(&self) -> bool {
        let said = !self.connections.is_empty() && self.accounts > 0;
        said && self.leaf_nodes == 0 && !self.cut_off && self.count() <= WATCHED_MAX
    }

    /// The best way in which somebody listens.
    fn way(&self) -> Option<Way> {
        let all = self.connections.values().flat_map(BTreeMap::values);
        all.map(|one| one.way).max()
    }

    /// Forgets who listens in a lesser way than that.
    fn forget_observers(&mut self, way: Way) {
        for all in self.connections.values_mut() {
            all.retain(|_, one| one.way >= way);
        }
    }

    /// Forgets connections that were made after that.
    fn forget_after(&mut self, then: Instant) {
        for all in self.connections.values_mut() {
            all.retain(|_, one| one.made.is_none_or(|made| made <= then));
        }
    }

    fn add(&mut self, other: &Self) {
        for (server, all) in &other.connections {
            let here = self.connections.entry(server.clone()).or_default();
            here.extend(all);
        }
    }

    fn has_any_of(&self, other: &Self) -> bool {
        other.connections.iter().any(|(server, cids)| {
            let here = self.connections.get(server);
            here.is_some_and(|here| cids.keys().any(|cid| here.contains_key(cid)))
        })
    }
}
