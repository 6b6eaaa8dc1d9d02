//! Tools of a node that lives: offered and withdrawn without a new announcement.

use semver::Version;

use crate::domain::{
    command::{Answer, BOUND_PATTERNS, BOUND_TOOLS, Claim, Decision, Effect, Refusal},
    ids::{NodeId, Token},
    key::Revision,
    node::{Announced, NODE_PATTERNS_MAX, NODE_TOOLS_MAX, Node, Registration, Tool},
    nodes::Seen,
    record::Request,
    transition::Transition,
};

use super::{Case, node::remember};

impl Case<'_> {
    /// Offers a tool, in the place of what the node offered by that name and version. It is answered only
    /// when it is seen and the node still lives.
    pub(super) fn add_tool(
        &self,
        of: &Claim,
        tool: &Tool,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        let seen = self.claimed(of)?;
        let tools = &seen.node.registration.tools;
        let there = tools.contains(tool);
        // One that changes nothing is written all the same when it has a name: it is not to be done when
        // it comes again after something else.
        if changed_before(&seen, request)? || there && request.is_none() {
            return Ok(Decision::Answer(Answer::Done(seen.said_at)));
        }
        let others = tools
            .iter()
            .filter(|other| !other.is(&tool.name, &tool.version));
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
        if changed_before(&seen, request)? {
            return Ok(Decision::Answer(Answer::Done(seen.said_at)));
        }
        let named = |tool: &Tool| {
            tool.name == *name && version.is_none_or(|version| tool.version == *version)
        };
        let tools = &seen.node.registration.tools;
        if !tools.iter().any(named) {
            // After an unknown outcome it may be this very command that has removed it.
            return if self.wrote(&seen) {
                Ok(Decision::Answer(Answer::Done(seen.said_at)))
            } else {
                Err(Refusal::ToolNotFound(of.node_id.clone(), name.clone()))
            };
        }
        let tools = tools.iter().filter(|tool| !named(tool)).cloned().collect();
        self.change_tools(&seen, tools, request)
    }

    fn wrote(&self, seen: &Seen<'_>) -> bool {
        let said = self.index.nodes.said(seen.node_id);
        let record = said.and_then(|entry| entry.record.as_deref());
        record.is_some_and(|record| record.write == self.command.id)
    }

    fn change_tools(
        &self,
        seen: &Seen<'_>,
        tools: Vec<Tool>,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        let id = seen.node_id;
        let before = &seen.node.registration;
        let registration = Registration {
            tools,
            ..before.clone()
        };
        let registration = registration.seal();
        self.check_frozen(id, &registration)?;
        self.check_tool_bounds(id, before, &registration)?;
        self.check_room(self.index.nodes.said(id))?;
        let happened = Transition {
            requester_id: Some(seen.live.requester_id),
            epoch: Some(seen.live.epoch),
            ..self.tools_changed(id, &before.tools, &registration.tools)
        };
        let happened = happened.tells_of_tools().then_some(happened);
        let mut requests = seen.node.requests.clone();
        remember(&mut requests, request);
        let node = Node {
            registration,
            requests,
            ..seen.node.clone()
        };
        Ok(Decision::Commit {
            writes: self.write_node(seen, Announced { node }, happened)?,
            answer: Answer::Done(Revision::default()),
            then: Effect::Review,
        })
    }

    /// A node's tools stay within its bounds; one that is beyond them may still get smaller.
    fn check_tool_bounds(
        &self,
        id: &NodeId,
        before: &Registration,
        after: &Registration,
    ) -> Result<(), Refusal> {
        let exceeded = |what, limit, of: fn(&Registration) -> usize| {
            if of(after) > limit && of(after) > of(before) {
                return Err(Refusal::LimitExceeded { what, limit });
            }
            Ok(())
        };
        exceeded(BOUND_TOOLS, NODE_TOOLS_MAX, |said| said.tools.len())?;
        exceeded(BOUND_PATTERNS, NODE_PATTERNS_MAX, Registration::patterns)?;
        let limit = self.index.policy.node_bytes_max;
        if after.total_bytes() > limit && after.total_bytes() > before.total_bytes() {
            return Err(Refusal::NodeTooLarge(id.clone(), limit));
        }
        Ok(())
    }
}

/// Whether this request has changed the node already.
fn changed_before(seen: &Seen<'_>, request: Option<Request>) -> Result<bool, Refusal> {
    let Some(request) = request else {
        return Ok(false);
    };
    let mut remembered = seen.node.requests.iter();
    match remembered.find(|remembered| remembered.id == request.id) {
        Some(same) if *same != request => Err(Refusal::IdempotencyMismatch(request.id)),
        same => Ok(same.is_some()),
    }
}
