//! Whoever has a tool called, and for how long it waits.

use onex_core::command::{Action, Command};
use onex_machine::new_id;
use onex_types::{ids::CommandId, time::MonoMillis};
use tokio::time::Instant;

use crate::registry::contracts::Asking;

use super::super::clock::Clock;

/// Whoever has a tool called.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Caller {
    pub(super) correlation_id: String,
    /// By whom it is asked, and when it is answered, whatever came of it.
    pub(super) asking: Asking,
    /// The same by the engine's clock: after this nothing is decided for it.
    pub(super) deadline: MonoMillis,
}

impl Caller {
    /// One that waits until then.
    pub(in crate::registry) fn new(correlation_id: String, asking: Asking, clock: Clock) -> Self {
        let caller = Self {
            correlation_id,
            asking,
            deadline: MonoMillis(0),
        };
        caller.until(asking.until, clock)
    }

    /// The same, waiting until another time.
    pub(super) fn until(&self, until: Instant, clock: Clock) -> Self {
        let now = clock.now().mono;
        let left = until.saturating_duration_since(Instant::now());
        Self {
            correlation_id: self.correlation_id.clone(),
            asking: Asking {
                until,
                ..self.asking
            },
            deadline: now.plus(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Whether it waits no longer.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.asking.until
    }

    /// What is left of its time, in milliseconds.
    pub(super) fn left(&self) -> u64 {
        let left = self.asking.until.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    /// Something to be decided for it.
    pub(super) fn command(&self, action: Action) -> Command {
        Command {
            id: CommandId(new_id()),
            correlation_id: Some(self.correlation_id.clone()),
            action,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nothing_is_decided_when_the_caller_waits_no_longer() {
        let clock = Clock::start();
        let until = |millis| Instant::now() + Duration::from_millis(millis);
        let asking = Asking {
            caller: 0,
            until: until(60_000),
        };
        let caller = Caller::new(String::new(), asking, clock);
        for millis in [0, 1_000, 7_200_000] {
            let until = until(millis);
            let caller = caller.until(until, clock);
            assert_eq!(caller.asking.until, until);
            let latest = clock.now().mono.plus(millis);
            let earliest = MonoMillis(latest.0.saturating_sub(1_000));
            assert!((earliest..=latest).contains(&caller.deadline), "{millis}");
        }
    }
}
