//! A process that only tries ports: for the instances of a registry that run on other hosts.

use std::{convert::Infallible, time::Duration};

use onex_machine::{Machine, new_id};
use onex_nats::serving::round_trip;
use onex_types::ids::Host;
use tokio::{sync::watch, time::sleep};

use crate::{
    connect::Options,
    protocol::{
        inbox::Inboxes,
        names::{AGENT, Namespace},
    },
};

use super::{
    clock::Clock,
    connection_events::{Refusals, request_events},
    grants::{self, Beside},
    peers::{self, Peer},
    probing::ProbeAnswers,
    start_error::StartError,
    stop::Stop,
};

/// How long until the next attempt to connect; twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What an agent is told at its start.
pub struct AgentSettings {
    /// Of which registry.
    pub namespace: Namespace,
    /// The host that its machine is known by.
    pub host: Host,
    /// Where answers may be sent.
    pub inboxes: Inboxes,
}

/// A process that tries the ports of its host.
pub struct Agent {
    nats: Options,
    peer: Peer,
    probes: ProbeAnswers,
    /// The connection that there is.
    session: Stop,
}

impl Agent {
    /// Connects, and answers from then on.
    pub async fn start(settings: AgentSettings, nats: &Options) -> Result<Self, StartError> {
        let AgentSettings {
            namespace,
            host,
            inboxes,
        } = settings;
        let machine = Machine::local(host.clone());
        let identity = grants::agent(&namespace, &machine, new_id());
        let peer = Peer {
            identity: watch::Sender::new(identity.clone()).subscribe(),
            inboxes: inboxes.clone(),
            reads: None,
            clock: Clock::start(),
        };
        let probes = ProbeAnswers {
            namespace,
            host,
            inboxes,
        };
        let mut agent = Self {
            nats: nats.clone(),
            peer,
            probes,
            session: Stop::new(),
        };
        agent.session = agent.open().await?;
        Ok(agent)
    }

    /// Answers for ever; over another connection, where one is lost for good.
    pub async fn run(mut self) -> Infallible {
        loop {
            let why = self.session.failed().await;
            self.session.abandon();
            tracing::error!(%why, "connecting again");
            self.session = self.again().await;
            tracing::info!("trying ports again");
        }
    }

    async fn again(&self) -> Stop {
        let mut pause = PAUSE_MIN;
        loop {
            match self.open().await {
                Ok(session) => return session,
                Err(error) => {
                    tracing::warn!(error = onex_types::chain(&error), "no ports can be tried");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn open(&self) -> Result<Stop, StartError> {
        let (session, refusals) = (Stop::new(), Refusals::default());
        let on_event = request_events(refusals.clone(), session.clone(), || {});
        let client = self.nats.connect(AGENT, on_event).await?;
        let others = peers::all(&client).await;
        let beside = grants::beside(&self.peer.identity.borrow(), &others);
        let own = || self.probes.host.to_string();
        match beside {
            Some(Beside::OtherName(running)) => {
                return Err(StartError::OtherName {
                    own: own(),
                    running,
                });
            }
            Some(Beside::Namesake) => return Err(StartError::Namesake(own())),
            None => {}
        }
        session.watch_connection(&client).await?;
        self.probes.listen(&client, &session).await?;
        self.peer.listen(&client, &session).await?;
        round_trip(&client).await;
        if let Some(refusal) = refusals.first() {
            session.abandon();
            return Err(StartError::RefusedAgent(refusal));
        }
        Ok(session)
    }
}
