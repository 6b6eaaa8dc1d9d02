//! The calls of a node's tools: taken while it lives, done with what its program gave for that.

mod build;
mod call;
mod failure;
mod listen;
mod offer;
mod work;

use std::{collections::BTreeMap, convert::Infallible, future::Future, sync::Arc, time::Duration};

use onex_contract::subject_of;
use onex_nats::serving::round_trip;
use onex_protocol::{inbox::Inboxes, names::Namespace};
use onex_types::ids::NodeId;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::Error;

use super::{registration::NodeRequests, state::State};

use listen::{Listening, SubjectOffers};
use work::Desk;

pub use call::Call;
pub use failure::{Failure, OrFail};
pub use offer::Calls;

pub(super) use offer::Offer;

/// Calls of one tool that are under way at the same time, where its node does not say: enough for handlers that wait
/// for others, and few enough for those that compute.
pub const CALLS_AT_ONCE_DEFAULT: usize = 16;
/// Calls of one tool that may be under way at the same time, at most.
pub const CALLS_AT_ONCE_MAX: usize = 4_096;
/// How long a node that takes leave waits for its calls where it does not say.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(10);
/// How long calls that are given up may take to say so. A handler that does not come to an await cannot be stopped.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// The calls of a node, over all its lives.
#[derive(Debug)]
pub(super) struct Serving {
    by_subject: Vec<SubjectOffers>,
    patience: Duration,
    desk: Desk,
    cut: watch::Sender<bool>,
    /// Told when nothing is under way any more.
    done: oneshot::Receiver<()>,
    /// Ends when that is answered as well.
    answered: JoinHandle<()>,
    now: Option<Listening>,
}

impl Serving {
    pub(super) fn new(requests: &NodeRequests) -> Self {
        let NodeRequests { client, plan } = requests;
        let (cut, may_go_on) = watch::channel(false);
        let (under_way, all) = mpsc::channel(1);
        let (settled, done) = oneshot::channel();
        let nats = client.nats().clone();
        Self {
            by_subject: by_subject(&plan.offers, &plan.request.node_id, client.namespace()),
            patience: plan.drain,
            desk: Desk {
                nats: nats.clone(),
                inboxes: Inboxes::new(plan.inbox_prefixes.clone()),
                cut: may_go_on,
                under_way,
            },
            cut,
            done,
            answered: tokio::spawn(settle(nats, all, settled)),
            now: None,
        }
    }

    /// Takes calls from before the node is announced: who finds it can call it at once. Not any more if that fails.
    pub(super) async fn from<T>(
        &mut self,
        announced: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.now = Some(Listening::begin(self.desk.clone(), &self.by_subject).await?);
        let result = announced.await;
        if result.is_err() {
            self.refuse();
        }
        result
    }

    /// The node lives, for as long as this says.
    pub(super) fn alive(&self, state: watch::Receiver<State>) {
        if let Some(now) = &self.now {
            now.alive(state);
        }
    }

    /// Takes no more calls from now on. Those that are under way go on.
    pub(super) fn refuse(&mut self) {
        self.now = None;
    }

    /// Takes no more calls, and waits for those that are under way, for as long as the node said. Then they are given
    /// up.
    pub(super) async fn finish(self) {
        let Self {
            desk,
            cut,
            mut done,
            answered,
            now,
            patience,
            ..
        } = self;
        if let Some(now) = now {
            now.drain().await;
        }
        let is_idle = desk.under_way.strong_count() == 1;
        drop(desk);
        let mut is_done = is_idle || timeout(patience, &mut done).await.is_ok();
        if !is_done {
            tracing::warn!(
                ?patience,
                "calls of tools are given up: the node takes leave"
            );
            cut.send_replace(true);
            is_done = timeout(CUT_TIMEOUT, done).await.is_ok();
        }
        if is_done {
            // It does not panic.
            let _ = answered.await;
        }
    }
}

/// Waits until nothing is under way any more, and until the server has got the answers: a connection that nobody has
/// any more is closed at once, with what was still to be sent.
async fn settle(
    nats: async_nats::Client,
    mut under_way: mpsc::Receiver<Infallible>,
    settled: oneshot::Sender<()>,
) {
    under_way.recv().await;
    let _ = settled.send(());
    round_trip(&nats).await;
}

/// Where the tools listen, each subject once, with the newest version first.
fn by_subject(offers: &[Arc<Offer>], node: &NodeId, namespace: &Namespace) -> Vec<SubjectOffers> {
    let mut by_subject: BTreeMap<String, Vec<Arc<Offer>>> = BTreeMap::new();
    for offer in offers {
        let subject = subject_of(&offer.tool, node, namespace);
        by_subject
            .entry(subject)
            .or_default()
            .push(Arc::clone(offer));
    }
    for offers in by_subject.values_mut() {
        offers.sort_by(|one, other| other.tool.version.cmp(&one.tool.version));
    }
    by_subject.into_iter().collect()
}

/// What came of the calls of the tool of that name, all its versions together; none if it is not served.
pub(super) fn calls(offers: &[Arc<Offer>], name: &str) -> Option<Calls> {
    let named = offers
        .iter()
        .filter(|offer| offer.tool.name.as_str() == name);
    named.map(|offer| offer.calls()).reduce(Calls::and)
}
