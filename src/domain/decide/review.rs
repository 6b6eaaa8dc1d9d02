//! What was announced, looked at again once it is seen: does the life go on, and did another one announce
//! the same tools at the same moment?

use crate::domain::{
    command::{Decision, Effect, Refusal},
    nodes::Seen,
    review::Review,
    standing::Entry,
    transition::{Happened, ToolTold, Transition},
};

use super::{Case, node::told};

impl Case<'_> {
    /// Tells of the collisions that nobody could know of when the announcement was decided on.
    ///
    /// Of two announcements that had not seen each other, the one that is later in the stream tells.
    pub(super) fn review(&self, review: &Review) -> Result<Decision, Refusal> {
        let seen = match self.claimed(&review.of) {
            Err(_) if review.anyway => return Ok(Decision::Answer(review.answer.clone())),
            claimed => claimed?,
        };
        let missed = self.missed(&seen, review);
        let said = self.index.nodes.said(seen.node_id);
        // An announcement of another life may be on its way; then this one's is told of no more.
        let latest = said.filter(|said| said.revision == seen.said_at);
        let Some(node) = latest.and_then(Entry::body).filter(|_| !missed.is_empty()) else {
            return Ok(Decision::Answer(review.answer.clone()));
        };
        self.check_room(said)?;
        let happened = Transition {
            epoch: Some(seen.live.epoch),
            collisions: missed,
            ..self.happened(Happened::ToolsChanged, Some(seen.live.requester_id))
        };
        Ok(Decision::Commit {
            writes: self.write_node(&seen, node.clone(), Some(happened))?,
            answer: review.answer.clone(),
            then: Effect::Reply,
        })
    }

    /// Tools of the announcement that collide with one that came before it in the stream, and after what
    /// had been seen.
    fn missed(&self, seen: &Seen<'_>, review: &Review) -> Vec<ToolTold> {
        let nodes = &self.index.nodes;
        let unseen = |other: &&_| {
            let said_at = nodes.seen(other).map(|other| other.said_at);
            said_at.is_some_and(|at| at > review.decided && at < review.landed)
        };
        let offered = |tool: &&_| seen.node.registration.tools.contains(tool);
        let tools = review.tools.iter().filter(offered);
        tools
            .filter_map(|tool| {
                let other = nodes.colliding(seen.node_id, tool).find(unseen)?;
                Some(told(tool, Some(other)))
            })
            .collect()
    }
}
