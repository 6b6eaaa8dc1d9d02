//! An engine that decides what an operator asks for, on a store on which no instance runs.

use std::time::Duration;

use onex_core::{
    command::{Action, Command, Outcome},
    engine::Limits,
    record::InstanceId,
    state::State,
};
use onex_log::{Log, Store};
use onex_machine::new_id;
use onex_types::{ids::CommandId, time::MonoMillis};
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use crate::registry::{
    clock::Clock,
    driver::{self, Driver, Submitted},
    high_water::{HighWaterSources, store_id},
};

use super::error::DoctorError;

/// How long the store may take to take a chunk of commands.
const DECIDE_TIMEOUT: Duration = Duration::from_secs(30);

/// Such an engine.
pub(super) struct Operator {
    driver: Driver<oneshot::Sender<Outcome>>,
    clock: Clock,
}

impl Operator {
    /// Starts it on what is in the log.
    pub(super) async fn start(mut log: Log, store: Store) -> Result<Self, DoctorError> {
        let nothing = HighWaterSources::default();
        let clock = Clock::start();
        let loaded = driver::load_once_led(&mut log, &store, &nothing, clock).await?;
        let options = driver::Options {
            instance: InstanceId(Uuid::new_v4().as_u64_pair().1),
            probing: None,
            limits: Limits::default(),
            // It is not known with which ones the registry will be started.
            settings: None,
            given: Vec::new(),
            high_water: nothing,
            clock,
            applied: Vec::new(),
        };
        let answer = |outcomes: Vec<(oneshot::Sender<Outcome>, Outcome)>| {
            for (waiter, outcome) in outcomes {
                let _ = waiter.send(outcome);
            }
        };
        let driver = Driver::start(log, store, loaded, options, answer);
        Ok(Self { driver, clock })
    }

    /// Which store it is.
    pub(super) fn store_id(&self) -> Option<Uuid> {
        let reads = &self.driver.handle.reads;
        reads.with(self.clock.now().mono, store_id).flatten()
    }

    /// The revision of the last command.
    pub(super) fn revision(&self) -> u64 {
        self.driver.handle.reads.revision()
    }

    /// For how long nothing is granted, in milliseconds.
    pub(super) fn quiet_ms(&self) -> u64 {
        let now = self.clock.now().mono;
        let until = self.driver.handle.reads.with(now, State::quiet_until);
        until.flatten().map_or(0, |until| until.since(now))
    }

    /// Decides these one after the other; the revision of the last one. After an error it has ended.
    pub(super) async fn decide(&self, actions: Vec<Action>) -> Result<u64, DoctorError> {
        let mut waiting = Vec::new();
        let submitted = actions.into_iter().map(|action| {
            let (waiter, outcome) = oneshot::channel();
            waiting.push(outcome);
            let command = Command {
                id: CommandId(new_id()),
                correlation_id: None,
                action,
            };
            Submitted {
                waiter: Some(waiter),
                command,
                deadline: MonoMillis::NEVER,
            }
        });
        let submitted: Vec<_> = submitted.collect();
        let _ = self.driver.handle.submit(submitted).await;
        let mut revision = 0;
        for outcome in waiting {
            let outcome = match timeout(DECIDE_TIMEOUT, outcome).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => return Err(self.undecided("no answer").await),
                Err(_) => return Err(self.undecided("no answer in time").await),
            };
            if let Err(refusal) = outcome.result {
                self.end().await;
                return Err(DoctorError::Undecided(refusal.to_string()));
            }
            revision = outcome.revision;
        }
        Ok(revision)
    }

    /// Ends it.
    pub(super) async fn end(&self) {
        self.driver.stop();
        let _ = self.driver.ended().await;
    }

    /// Why nothing came of it: where the engine has ended, that says why.
    async fn undecided(&self, why: &str) -> DoctorError {
        self.driver.stop();
        let ended = self.driver.ended().await;
        let ended = ended.map(|ended| onex_types::chain(&*ended));
        DoctorError::Undecided(ended.unwrap_or_else(|| why.to_owned()))
    }
}
