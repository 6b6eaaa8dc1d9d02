//! What a command has announced, to be looked at again once it is seen.

use super::{
    command::{Action, Answer, Claim},
    key::Revision,
    node::Tool,
};

/// Something that was announced and is seen now.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// By which life.
    pub of: Claim,
    /// The tools that were announced.
    pub tools: Vec<Tool>,
    /// What had been seen when it was decided on.
    pub decided: Revision,
    /// Where it is in the stream.
    pub landed: Revision,
    /// The answer if the life goes on.
    pub answer: Answer,
    /// Whether it is the answer also when it does not.
    pub anyway: bool,
}

impl Review {
    /// Of what a command has done; none when that is not looked at again. `decided` is what had been seen
    /// when it was decided on, `landed` where it is.
    pub fn of(
        action: &Action,
        answer: &Answer,
        decided: Revision,
        landed: Revision,
    ) -> Option<Self> {
        let (of, tools, anyway) = match (action, answer) {
            (Action::AddTool { of, tool, .. }, _) => (of.clone(), vec![(**tool).clone()], false),
            (Action::RemoveTool { of, .. }, _) => (of.clone(), Vec::new(), false),
            (Action::Announce(announce), Answer::Node(known)) => {
                let of = Claim {
                    node_id: announce.node_id.clone(),
                    requester_id: announce.requester_id,
                    epoch: known.live.epoch,
                };
                (of, announce.registration.tools.clone(), true)
            }
            _ => return None,
        };
        Some(Self {
            of,
            tools,
            decided,
            landed,
            answer: answer.clone(),
            anyway,
        })
    }
}
