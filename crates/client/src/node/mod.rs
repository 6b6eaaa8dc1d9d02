//! A node: registered, and kept alive for as long as its program runs.

mod builder;
mod keeper;
mod life;
mod plan;
mod registration;
mod serve;
mod state;

use std::sync::Arc;

use onex_contract::subject_of;
use onex_protocol::node_life::DeregisterReply;
use onex_types::ids::NodeId;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{BootTime, Client, Error, Loss};

use keeper::{Keeper, wait};
use plan::Plan;
use registration::NodeRequests;
use serve::Serving;
use state::{Phase, State};

pub use builder::NodeBuilder;
pub use life::Life;
pub use plan::OnLoss;
pub use serve::{
    CALLS_AT_ONCE_DEFAULT, CALLS_AT_ONCE_MAX, Call, Calls, DRAIN_DEFAULT, Failure, OrFail,
};

/// A node that is kept registered in the background, with its ports and buses, until it takes leave.
///
/// Heartbeats are sent on a holder's clock, as [`LeaseGuard`](super::LeaseGuard) does it: a [`Life`] is over before the
/// registry can give its ports to someone else, and [`Life::ending`] says when to begin to stop. Then the node registers anew, and the next life may have other ports; or
/// it stops, when another program has registered the same node. [`NodeBuilder::on_expired`] and
/// [`NodeBuilder::on_superseded`] say otherwise. When the registry turns out to have waited longer, the life that was
/// thought to be over goes on, with the same ports.
///
/// ```no_run
/// # async fn serve(_: tokio::net::TcpListener) {}
/// # async fn example(nats: async_nats::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use onex_client::{Client, Error, Node, protocol::names::Namespace};
///
/// let client = Client::new(nats, Namespace::default());
/// let node = Node::builder("calc").version("1.0.0").port("http", "http").start(&client).await?;
/// loop {
///     let life = node.online().await?;
///     let listener = match life.listen("http", [127, 0, 0, 1].into()).await {
///         Err(Error::Over(_)) => continue,
///         listener => listener?,
///     };
///     tokio::select! {
///         () = serve(listener) => break,
///         ending = life.ending() => eprintln!("stopped serving: {}", ending.why),
///     }
/// }
/// node.deregister().await?;
/// # Ok(())
/// # }
/// ```
///
/// Dropping it takes leave as well as possible: nobody waits for it, and a program that exits at once does not get the
/// word out. Then node and ports end when the TTL has passed.
#[must_use = "the node takes leave when it is dropped"]
#[derive(Debug)]
pub struct Node {
    requests: NodeRequests,
    state: watch::Receiver<State>,
    /// Dropped, it tells the keeper to take leave.
    held: oneshot::Sender<()>,
    keeper: JoinHandle<Result<DeregisterReply, Error>>,
}

impl Node {
    /// A node to be, by its name: 1 to 128 letters, digits, `-`, `_`, and single dots inside.
    pub fn builder(id: &str) -> NodeBuilder {
        NodeBuilder::new(id)
    }

    async fn start(client: &Client, plan: Plan) -> Result<Self, Error> {
        let requests = NodeRequests {
            client: client.clone(),
            plan: Arc::new(plan),
        };
        let mut serving = Serving::new(&requests);
        let mut pause = keeper::PAUSE_FIRST;
        let (registration, tenure) = loop {
            match serving.from(requests.register(None)).await {
                Ok(begun) => break begun,
                Err(error) if error.retryable() => pause = wait(&error, pause).await,
                Err(error) => return Err(error),
            }
        };
        let registration = Arc::new(registration);
        let (sender, state) = watch::channel(State {
            phase: Phase::Online(Arc::clone(&registration)),
            term: tenure.term(),
        });
        serving.alive(state.clone());
        let (held, gone) = oneshot::channel();
        let keeper = Keeper {
            requests: requests.clone(),
            state: sender,
        };
        Ok(Self {
            requests,
            state,
            held,
            keeper: tokio::spawn(keeper.run(serving, registration, tenure, gone)),
        })
    }

    /// Its name.
    pub fn id(&self) -> &NodeId {
        &self.requests.plan.request.node_id
    }

    /// Where its tool of that name takes its calls; none if it has none of that name.
    pub fn tool_subject(&self, name: &str) -> Option<String> {
        let NodeRequests { client, plan } = &self.requests;
        let tools = &plan.request.tools;
        let tool = tools.iter().find(|tool| tool.name.as_str() == name)?;
        Some(subject_of(tool, self.id(), client.namespace()))
    }

    /// What came of the calls of its tool of that name, all its versions together, since it was started; none if it
    /// [serves](NodeBuilder::serve) none of that name.
    pub fn calls(&self, name: &str) -> Option<Calls> {
        serve::calls(&self.requests.plan.offers, name)
    }

    /// The present life; while there is none, or it is about to end, the next one. An error when there will be no other: why.
    pub async fn online(&self) -> Result<Life, Loss> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state.phase {
            Phase::Online(_) => state.term.stop_at > BootTime::now(),
            Phase::Offline => false,
            Phase::Ended(_) => true,
        });
        let registration = match settled.await.ok().map(|state| state.phase.clone()) {
            Some(Phase::Online(registration)) => registration,
            Some(Phase::Ended(loss)) => return Err(loss),
            // Its runtime is gone.
            Some(Phase::Offline) | None => return Err(Loss::Expired(None)),
        };
        Ok(Life {
            requests: self.requests.clone(),
            registration,
            state,
        })
    }

    /// Takes leave. Its tools take no more calls, and those that are under way are waited for, as long as
    /// [`NodeBuilder::drain`] says. Then heartbeats stop, and the registry is told, again where no answer comes, for
    /// three times the client's timeout at most. The node's ports, buses and tools end with it: stop using them before.
    ///
    /// After an error they end when the TTL has passed, if they have not already. If the returned future is dropped it
    /// goes on.
    pub async fn deregister(self) -> Result<DeregisterReply, Error> {
        drop(self.held);
        // It does not panic; it is stopped when its runtime ends.
        self.keeper.await.unwrap_or(Err(Error::Connection(None)))
    }
}

impl NodeBuilder {
    /// Registers it, leases its ports, announces its buses, and keeps all of that up in the background: see [`Node`].
    ///
    /// Where no registry answers, or one asks to come back later, it is asked again for as long as it takes; bound that
    /// with [`tokio::time::timeout`] if need be. A refusal that asking again would not mend is returned; what was
    /// already done is taken back. When the returned future is dropped, what it has done ends when the node's TTL
    /// has passed.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, and in one without timers.
    pub async fn start(self, client: &Client) -> Result<Node, Error> {
        Node::start(client, self.0?.plan()?).await
    }
}
