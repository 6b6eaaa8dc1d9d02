//! Why a registry does not start.

use onex_core::{command::Refusal, settings::SettingDiffers};
use onex_nats::serving::MESSAGE_BYTES_MIN;

use crate::{connect, protocol::names::PEER_INSTANCES};

use super::{driver::LoadError, grants::Conflict};

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] connect::Error),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[from] onex_log::Error),
    /// The log cannot be read.
    #[error("{0}")]
    Load(String),
    /// The server does not let it subscribe.
    #[error("the NATS server does not allow what a registry needs: {0}")]
    Refused(String),
    /// The server does not let an agent do what it does.
    #[error(
        "the NATS server does not allow what an agent needs: {0}. It subscribes to {PEER_INSTANCES}, to its host's probes and \
         to inboxes, and publishes on {PEER_INSTANCES} and on inboxes"
    )]
    RefusedAgent(String),
    /// The server of the requests takes short messages only.
    #[error(
        "the NATS server takes messages of {0} bytes; a registry needs more than {MESSAGE_BYTES_MIN}: raise its max_payload"
    )]
    MessagesTooShort(usize),
    /// No subscription.
    #[error("cannot subscribe")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The store has other settings.
    #[error("{}", Refusal::SettingsDiffer(.0.clone()))]
    Settings(Vec<SettingDiffers>),
    /// Somebody else grants the same ports.
    #[error("{0}. {advice}", advice = advice(.0))]
    Conflict(Conflict),
    /// A machine has one name, and an agent has another one for it.
    #[error(
        "this machine is host {running} to a registry or agent that runs here, and not {own}: start the agent with --host {running}"
    )]
    OtherName {
        /// The agent's.
        own: String,
        /// The other one.
        running: String,
    },
    /// Another machine has the host of an agent, and of the two whichever is asked would answer.
    #[error(
        "another machine is host {0} to a registry or agent that runs there: start the agent with --host NAME, the one by which \
         ports of this machine are leased"
    )]
    Namesake(String),
    /// The engine ended.
    #[error("the engine ended while starting: {0}")]
    Ended(String),
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Load(onex_types::chain(&error))
    }
}

/// What can be done about it.
fn advice(conflict: &Conflict) -> String {
    match conflict {
        Conflict::Namespaces(_) => "Choose other --ports".to_owned(),
        Conflict::Hosts { own, running } => format!(
            "Start this one with --host {running} too, or stop that one first; with --no-probe where {own} is another \
             machine than the one that this process runs on"
        ),
    }
}
