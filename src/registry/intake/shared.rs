//! What requests are taken and answered with.

use std::sync::Arc;

use onex_core::command::{Action, Command, Outcome};
use onex_machine::new_id;
use onex_types::ids::{CommandId, Ttl};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    protocol::{describe::Registry, error::Error, names::Namespace},
    registry::{
        bus::Bus,
        clock::Clock,
        contracts::{Asking, Contracts},
        driver::Driver,
        invoke::Invoke,
        own_host::OwnHost,
        pause::PauseDetector,
        peers::Peers,
        probing::Probing,
        queries::Texts,
        request::{Completion, InFlight, Replies},
    },
};

use super::admission::Admission;

/// What requests are taken with.
pub(in crate::registry) struct Intake {
    pub(in crate::registry) bus: Bus,
    pub(in crate::registry) namespace: Namespace,
    pub(in crate::registry) clock: Clock,
    /// Where this instance grants ports by default.
    pub(in crate::registry) own_host: Arc<OwnHost>,
    /// This start of this instance, as replies name it.
    pub(in crate::registry) registry_id: Uuid,
    /// Checks contracts of tools.
    pub(in crate::registry) contracts: Arc<Contracts>,
    /// Has tools called.
    pub(in crate::registry) invoke: Invoke,
    /// The longest TTL that a request may ask for.
    pub(in crate::registry) ttl_max: Ttl,
    /// What `describe` says of this instance.
    pub(in crate::registry) registry: Registry,
    /// The other instances.
    pub(in crate::registry) peers: Peers,
    /// Has ports tried.
    pub(in crate::registry) probing: Probing,
    /// Descriptions of tools.
    pub(in crate::registry) texts: Texts,
    pub(in crate::registry) driver: Driver<Completion>,
    pub(in crate::registry) replies: Replies,
    /// When requests may be older than they look.
    pub(in crate::registry) pause_detector: PauseDetector,
    pub(in crate::registry) admission: Admission,
    /// One for each subscription that has told the server that it ends.
    pub(in crate::registry) unsubscribed: Semaphore,
}

impl Intake {
    /// For work that waits for its turn: until the caller is told that nothing is known.
    pub(in crate::registry) fn asking(&self, in_flight: &InFlight) -> Asking {
        Asking {
            caller: self.replies.callers.number(&in_flight.subject),
            until: self.clock.instant(in_flight.deadline),
        }
    }

    /// Lets the engine decide one command of a request, for a task.
    pub(in crate::registry) async fn decide(
        &self,
        in_flight: &InFlight,
        action: Action,
    ) -> Result<Outcome, Error> {
        let command = command(in_flight.correlation_id.clone(), action);
        let handle = &self.driver.handle;
        handle.decide(command, in_flight.deadline).await
    }
}

pub(super) fn command(correlation_id: String, action: Action) -> Command {
    Command {
        id: CommandId(new_id()),
        correlation_id: Some(correlation_id),
        action,
    }
}
