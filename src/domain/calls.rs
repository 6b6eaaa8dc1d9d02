//! Calls that their callers named, as the index knows them.

use std::collections::BTreeMap;

use super::{
    agenda::Change,
    call::{Call, Called, Outcome},
    ids::{ExecutionId, RequestId},
    nodes::{due_from, marker_change},
    policy::Policy,
    standing::{Entry, Terms},
    time::Moment,
};

pub use onex_core::call::CallStatus as Course;

/// The calls that are known, by their request ids.
#[derive(Debug, Default)]
pub struct Calls {
    entries: BTreeMap<RequestId, Entry<Called>>,
    /// How many of them are markers of what was forgotten.
    markers: usize,
}

impl Calls {
    /// The call is seen.
    pub(super) fn put(&mut self, id: RequestId, entry: Entry<Called>) {
        self.markers += usize::from(entry.forgotten);
        let before = self.entries.insert(id, entry);
        self.markers -= usize::from(before.is_some_and(|entry| entry.forgotten));
    }

    /// Nothing is in the stream under its key any more.
    pub(super) fn drop_key(&mut self, id: RequestId) {
        let gone = self.entries.remove(&id);
        self.markers -= usize::from(gone.is_some_and(|entry| entry.forgotten));
    }

    /// The entry under `call.<request_id>`.
    pub fn entry(&self, id: RequestId) -> Option<&Entry<Called>> {
        self.entries.get(&id)
    }

    /// The call, while it is remembered.
    pub fn call(&self, id: RequestId) -> Option<&Call> {
        Some(&self.entries.get(&id)?.body()?.call)
    }

    /// How an execution of a call stands, for who has seen that it runs: one that another execution has followed,
    /// or that is forgotten, ended as unknown.
    pub fn course(&self, id: RequestId, execution_id: ExecutionId) -> Course {
        let call = self.call(id);
        let same = call.filter(|call| call.execution.execution_id == execution_id);
        match same.map(Call::outcome) {
            Some(None) => Course::Running,
            Some(Some(outcome)) => Course::Ended(outcome.clone()),
            None => Course::Ended(Outcome::Unknown),
        }
    }

    /// How many are remembered.
    pub fn known(&self) -> usize {
        self.entries.len() - self.markers
    }

    /// All that are remembered.
    pub fn all(&self) -> impl Iterator<Item = (RequestId, &Call)> {
        self.entries
            .iter()
            .filter_map(|(id, entry)| Some((*id, &entry.body()?.call)))
    }

    /// When a call changes by itself: its time is up, or it ended so long ago that it is forgotten.
    pub(super) fn change(
        &self,
        id: RequestId,
        now: Moment,
        terms: Terms,
        policy: &Policy,
    ) -> Change {
        let Some(entry) = self.entries.get(&id) else {
            return Change::At(Moment::NEVER);
        };
        let running = entry
            .body()
            .map(|called| &called.call)
            .filter(|call| call.ended.is_none());
        match running {
            _ if entry.forgotten => marker_change(entry.observed, now, policy),
            _ if entry.later => Change::At(Moment::NEVER),
            Some(call) => {
                let lasts = terms.lengthened(call.timeout_ms);
                due_from(entry.observed.plus(lasts), now)
            }
            None => due_from(entry.observed.plus(policy.calls_kept_millis), now),
        }
    }
}
