//! Counts of what was run.

use crate::domain::{
    command::{Answer, Decision, Effect, Refusal},
    counts::{Counted, Counts, Tally},
    key::{Key, Revision},
};

use super::Case;

impl Case<'_> {
    /// Adds ends of runs to what is counted of a node; those that are in it already count no second time.
    pub(super) fn count(&self, tally: &Tally) -> Result<Decision, Refusal> {
        let key = Key::Exec(tally.node_id.clone());
        self.check_reserved(&key)?;
        let nodes = &self.index.nodes;
        if nodes.life(&tally.node_id).is_none_or(|life| life.forgotten) {
            return Err(Refusal::NodeNotFound(tally.node_id.clone()));
        }
        let entry = nodes.counted(&tally.node_id);
        if entry.is_some_and(|entry| entry.later) {
            return Ok(Decision::Answer(Answer::Nothing));
        }
        let before = entry.and_then(|entry| Some(&entry.body()?.counts));
        let Some(counts) = Counts::with(before, tally) else {
            return Ok(Decision::Answer(Answer::Nothing));
        };
        Ok(Decision::Commit {
            writes: vec![self.write(key, entry, Counted { counts }, None)],
            answer: Answer::Done(Revision::default()),
            then: Effect::Reply,
        })
    }
}
