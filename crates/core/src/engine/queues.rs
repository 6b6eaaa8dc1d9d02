//! What waits to be decided: bounded, and what keeps or ends leases has a share of its own.

use std::collections::VecDeque;

use onex_types::{
    ids::CommandId,
    time::{MonoMillis, Now},
};
use uuid::Uuid;

use crate::{
    command::{Action, Class, Command, Outcome, Refusal},
    decide::{Decided, Local, decide},
    key::Key,
    mechanism::Mechanism,
    txn::Txn,
};

use super::{
    bounds::{CONFIRM_MILLIS, ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, EXPIRIES_BESIDE_REQUESTS},
    io::{Job, Output},
    room::Room,
};

/// Of an entry so many commands are left to others by renewals.
const OTHERS_SHARE: usize = ENTRY_COMMANDS_MAX / 4;
/// Of an entry so many commands are left to what ends because its time is up.
const EXPIRIES_SHARE: usize = ENTRY_COMMANDS_MAX / 8;

/// What waits to be decided.
#[derive(Default)]
pub(super) struct Queues {
    /// What keeps or ends what is there.
    upkeep: VecDeque<Job>,
    others: VecDeque<Job>,
    pub(super) expiries: VecDeque<Key>,
    /// Confirms of grants whose ports were found free. Nobody waits for them: they go along with something else.
    confirms: VecDeque<Job>,
    /// When they are decided though there is nothing else.
    confirms_at: MonoMillis,
}

/// A command that was decided, with what came of it and at which revision.
pub(super) type Done = (Job, Result<Decided, Refusal>, u64);

impl Queues {
    fn of(&mut self, job: &Job) -> &mut VecDeque<Job> {
        let action = &job.command.action;
        if matches!(action, Action::Confirm(..)) {
            return &mut self.confirms;
        }
        // The begin of an execution may still wait: its end waits behind that.
        if action.class() == Class::Upkeep && !action.ends_execution() {
            &mut self.upkeep
        } else {
            &mut self.others
        }
    }

    /// Takes a command, or hands it back if as many wait as may. The registry's own are always taken; and ends of
    /// executions while twice as many wait, because more of these cannot have begun.
    pub(super) fn admit(&mut self, job: Job, waiting_max: usize) -> Option<Job> {
        let action = &job.command.action;
        let own = action.class() == Class::Own;
        let waiting_max = if action.ends_execution() {
            waiting_max.saturating_mul(2)
        } else {
            waiting_max
        };
        let queue = self.of(&job);
        if queue.len() >= waiting_max && !own {
            return Some(job);
        }
        queue.push_back(job);
        None
    }

    /// Puts jobs back in front of those that came later, in their order.
    pub(super) fn put_back(&mut self, jobs: impl DoubleEndedIterator<Item = Job>) {
        for job in jobs.rev() {
            self.of(&job).push_front(job);
        }
    }

    /// Takes a confirm of a grant.
    pub(super) fn add_confirm(&mut self, job: Job, now: MonoMillis) {
        if self.confirms.is_empty() {
            self.confirms_at = now.plus(CONFIRM_MILLIS);
        }
        self.confirms.push_back(job);
    }

    /// When grants are to be confirmed at the latest.
    pub(super) fn confirms_at(&self) -> Option<MonoMillis> {
        (!self.confirms.is_empty()).then_some(self.confirms_at)
    }

    /// Takes out what would add something.
    pub(super) fn take_growth(&mut self) -> VecDeque<Job> {
        let others = std::mem::take(&mut self.others);
        let (growth, others) = others
            .into_iter()
            .partition(|job| job.command.action.class() == Class::Growth);
        self.others = others;
        growth
    }

    /// Whether no command waits, but for confirms.
    pub(super) fn is_empty(&self) -> bool {
        self.upkeep.is_empty() && self.others.is_empty()
    }

    /// Both queues, in the order in which they are decided.
    pub(super) fn both(&mut self) -> [&mut VecDeque<Job>; 2] {
        [&mut self.upkeep, &mut self.others]
    }

    /// Decides as many as one entry holds. Renewals before everything else, requests before timers: a renewal that has
    /// arrived is taken before its lease is looked at.
    pub(super) fn decide(
        &mut self,
        txn: &mut Txn<'_>,
        local: &Local,
        room: &Room,
        only_own: bool,
        out: &mut Vec<Output>,
    ) -> Vec<Done> {
        if only_own {
            return self.decide_own(txn, local, room, out);
        }
        let early = !txn.state.mechanisms.on(Mechanism::RequestsBeforeTimers);
        if early {
            expire(txn, local, &mut self.expiries, ENTRY_COMMANDS_MAX, room);
        }
        let commands_max = ENTRY_COMMANDS_MAX - self.expiries.len().min(EXPIRIES_SHARE);
        let upkeep_max = commands_max - self.others.len().min(OTHERS_SHARE);
        let takes_confirms = self.takes_confirms(txn.now.mono);
        let mut done = Vec::new();
        fill(
            &mut self.upkeep,
            &mut done,
            upkeep_max,
            txn,
            local,
            room,
            out,
        );
        // Before requests, so that who asks for such a grant again does not wait.
        if takes_confirms {
            fill(
                &mut self.confirms,
                &mut done,
                commands_max,
                txn,
                local,
                room,
                out,
            );
        }
        fill(
            &mut self.others,
            &mut done,
            commands_max,
            txn,
            local,
            room,
            out,
        );
        if self.upkeep.is_empty() && !early {
            let beside = if done.is_empty() {
                ENTRY_COMMANDS_MAX
            } else {
                EXPIRIES_BESIDE_REQUESTS
            };
            expire(txn, local, &mut self.expiries, beside, room);
        }
        done
    }

    /// Whether grants are confirmed in this entry: there is something else to decide, or they have waited long enough.
    fn takes_confirms(&self, now: MonoMillis) -> bool {
        let alone = self.is_empty() && self.expiries.is_empty();
        !alone || now >= self.confirms_at
    }

    /// Decides what the registry itself asks for, and leaves everything else waiting.
    fn decide_own(
        &mut self,
        txn: &mut Txn<'_>,
        local: &Local,
        room: &Room,
        out: &mut Vec<Output>,
    ) -> Vec<Done> {
        let all = std::mem::take(&mut self.others).into_iter();
        let (mut own, others): (VecDeque<Job>, VecDeque<Job>) =
            all.partition(|job| job.command.action.class() == Class::Own);
        if self.takes_confirms(txn.now.mono) {
            own.append(&mut self.confirms);
        }
        let mut done = Vec::new();
        fill(
            &mut own,
            &mut done,
            ENTRY_COMMANDS_MAX,
            txn,
            local,
            room,
            out,
        );
        own.extend(others);
        self.others = own;
        done
    }
}

/// Decides commands of one queue until the entry is full.
fn fill(
    queue: &mut VecDeque<Job>,
    done: &mut Vec<Done>,
    commands_max: usize,
    txn: &mut Txn<'_>,
    local: &Local,
    room: &Room,
    out: &mut Vec<Output>,
) {
    let bounds = txn.state.mechanisms.on(Mechanism::StoreBounds);
    let bytes_max = if bounds {
        room.closed_bytes()
    } else {
        ENTRY_BYTES_MAX
    };
    while done.len() < commands_max
        && txn.bytes() < bytes_max
        && let Some(job) = queue.pop_front()
    {
        if is_late(&job, txn.now) && txn.state.mechanisms.on(Mechanism::CommandDeadline) {
            let revision = txn.state.revision();
            let result = Err(Refusal::Unavailable);
            let outcome = Outcome { revision, result };
            out.extend(job.id.map(|id| Output::Reply(id, outcome)));
            continue;
        }
        let mark = txn.mark();
        let mut result = decide(txn, local, &job.command);
        if bounds && txn.bytes() > room.commands_bytes() && !mark.is_first() {
            // It comes first in the next entry.
            txn.back_to(&mark);
            return queue.push_front(job);
        }
        if let Some(refusal) = room.refusal(&job.command, txn, &mark) {
            txn.back_to(&mark);
            result = Err(refusal);
        }
        let revision = txn.state.revision();
        done.push((job, result, revision));
    }
}

fn is_late(job: &Job, now: Now) -> bool {
    job.deadline <= now.mono
}

/// Ends what is due, at most `most`, as many as the entry has room for.
fn expire(
    txn: &mut Txn<'_>,
    local: &Local,
    expiries: &mut VecDeque<Key>,
    most: usize,
    room: &Room,
) {
    let commands_max = txn.len().saturating_add(most).min(ENTRY_COMMANDS_MAX);
    while txn.len() < commands_max && txn.bytes() < room.closed_bytes() {
        let Some(key) = expiries.pop_front() else {
            return;
        };
        let command = Command {
            id: CommandId(Uuid::nil()),
            correlation_id: None,
            action: Action::Expire(key),
        };
        // An expiry is never refused: there is something to end, or there is not.
        let _ = decide(txn, local, &command);
    }
}
