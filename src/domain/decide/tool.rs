//! Tools of a node that lives: offered and withdrawn without a new announcement.

use semver::Version;

use crate::domain::{
    command::{Answer, Claim, Decision, Effect, Refusal},
    ids::Token,
    key::{Key, Revision},
    node::{Announced, Live, Lived, Node, Registration, Tool},
    nodes::Seen,
    record::Request,
    transition::Transition,
};

use super::{Case, node::remember};

impl Case<'_> {
    /// Offers a tool, in the place of what the node offered by that name and version.
    pub(super) fn add_tool(
        &self,
        of: &Claim,
        tool: &Tool,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        let seen = self.claimed(of)?;
        if self.changed_before(&seen, request)? {
            return Ok(Decision::Answer(Answer::Done(seen.said_at)));
        }
        let tools = &seen.node.registration.tools;
        if tools.contains(tool) {
            return Ok(Decision::Answer(Answer::Done(seen.said_at)));
        }
        let others = tools
            .iter()
            .filter(|other| other.name != tool.name || other.version != tool.version);
        let tools = others.chain([tool]).cloned().collect();
        self.change_tools(&seen, tools, request)
    }

    /// Offers a tool no longer.
    pub(super) fn remove_tool(
        &self,
        of: &Claim,
        name: &Token,
        version: Option<&Version>,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        let seen = self.claimed(of)?;
        if self.changed_before(&seen, request)? {
            return Ok(Decision::Answer(Answer::Done(seen.said_at)));
        }
        let named = |tool: &Tool| {
            tool.name == *name && version.is_none_or(|version| tool.version == *version)
        };
        let tools = &seen.node.registration.tools;
        let wrote = self.index.nodes.said(&of.node_id).is_some_and(|entry| {
            let record = entry.record.as_deref();
            record.is_some_and(|record| record.write == self.command.id)
        });
        if !tools.iter().any(named) {
            if wrote {
                return Ok(Decision::Answer(Answer::Done(seen.said_at)));
            }
            return Err(Refusal::ToolNotFound);
        }
        let tools = tools.iter().filter(|tool| !named(tool)).cloned().collect();
        self.change_tools(&seen, tools, request)
    }

    /// Whether this request has changed the node already.
    fn changed_before(&self, seen: &Seen<'_>, request: Option<Request>) -> Result<bool, Refusal> {
        let Some(request) = request else {
            return Ok(false);
        };
        let mut remembered = seen.node.requests.iter();
        match remembered.find(|remembered| remembered.id == request.id) {
            Some(same) if *same != request => Err(Refusal::IdempotencyMismatch),
            same => Ok(same.is_some()),
        }
    }

    fn change_tools(
        &self,
        seen: &Seen<'_>,
        tools: Vec<Tool>,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        let id = seen.node_id;
        let registration = Registration {
            tools,
            ..seen.node.registration.clone()
        };
        let registration = registration.seal();
        let limit = self.index.policy.node_bytes_max;
        if registration.total_bytes() > limit {
            return Err(Refusal::NodeTooLarge(limit));
        }
        self.check_frozen(id, &registration)?;
        self.check_reserved(&Key::Node(id.clone()))?;
        self.check_reserved(&Key::Live(id.clone()))?;
        let said = self.index.nodes.said(id);
        self.check_room(said)?;
        let happened = self.tools_changed(id, &seen.node.registration.tools, &registration.tools);
        let mut requests = seen.node.requests.clone();
        remember(&mut requests, request);
        let node = Node {
            registration,
            requests,
            ..seen.node.clone()
        };
        let happened = Transition {
            requester_id: Some(seen.live.requester_id),
            epoch: Some(seen.live.epoch),
            ..happened
        };
        let happened = happened.tells_of_tools().then_some(happened);
        // Its life is written as well: the tools change while it lasts, or not at all, and whoever ends it
        // knows what it offered.
        let life = self.index.nodes.life(id);
        let live = Live {
            renewed_at: self.now.wall,
            ..seen.live.clone()
        };
        Ok(Decision::Commit {
            writes: vec![
                self.write(Key::Node(id.clone()), said, Announced { node }, happened),
                self.write(Key::Live(id.clone()), life, Lived { live }, None),
            ],
            answer: Answer::Done(Revision::default()),
            then: Effect::Seen,
        })
    }
}
