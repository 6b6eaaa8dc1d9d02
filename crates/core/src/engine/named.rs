//! What the named instance does besides deciding: snapshots into the log, trimming it, staying named.

use onex_types::{
    ids::Host,
    time::{MonoMillis, Now},
};

use crate::{
    command::{Action, Command},
    record::InstanceId,
};

use super::{Engine, Phase, io::Job};

/// The named instance that made no entry for so long has gone, and another one takes over, in milliseconds.
pub(super) const NAMED_PATIENCE_MILLIS: u64 = 10_000;

/// How often the named instance looks for what is idle or over, in milliseconds.
const LOOK_AROUND_MILLIS: u64 = 1_000;

impl Engine {
    /// Becomes the named instance where there is none, and does what that does.
    pub(super) fn keep_named(&mut self, now: Now) {
        if !self.follows || self.phase == Phase::Stopping {
            return;
        }
        self.collect_due(now);
        let named = self.state.named().map(|named| named.instance);
        let gone = now.mono.since(self.named_seen) >= NAMED_PATIENCE_MILLIS;
        let vacant = named.is_none_or(|named| named == InstanceId::default());
        if (vacant || gone) && !self.is_named() && self.pending.is_none() {
            self.named_seen = now.mono;
            let action = Action::TakeOver {
                from: named,
                to: self.local.instance,
            };
            return self.submit(action);
        }
        if !self.is_named() {
            return;
        }
        self.look_around(now);
        // What an entry says that is under way may be undone.
        if self.pending.is_none() {
            self.say_gap();
            self.trim(now.mono);
        }
    }

    /// Forgets hosts that are idle, so that others can be known; lets leases be granted again after a restore.
    fn look_around(&mut self, now: Now) {
        if now.mono.since(self.hosts_seen) < LOOK_AROUND_MILLIS {
            return;
        }
        self.hosts_seen = now.mono;
        let quiet = self.state.quiet_until();
        if quiet.is_some_and(|until| until <= now.mono) {
            self.submit(Action::EndQuiet);
        }
        let idle: Vec<Host> = self.state.idle_hosts(now.wall).cloned().collect();
        for host in idle {
            self.submit(Action::ForgetHost(host));
        }
    }

    /// Begins a snapshot if one is due. Called when an entry is about to be decided.
    pub(super) fn begins_snapshot(&self, now: MonoMillis) -> bool {
        let tight =
            self.room.is_tight(&self.state) && self.snapshots.has_grown(self.room.regrown_bytes());
        let due = tight
            || self
                .snapshots
                .is_due(self.limits.snapshot_bytes, self.limits.snapshot_millis, now);
        self.is_named() && due && !self.snapshots.wants_chunk(self.local.instance)
    }

    pub(super) fn submit(&mut self, action: Action) {
        let command = Command {
            id: self.next_command_id(),
            correlation_id: None,
            action,
        };
        self.enqueue(Job {
            id: None,
            command,
            deadline: MonoMillis::NEVER,
        });
    }
}
