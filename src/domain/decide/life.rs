//! Lives of nodes: who may act for one, its heartbeats, and its end.

use crate::domain::{
    command::{Answer, Claim, Decision, Effect, Known, Refusal},
    ids::{NodeId, RequesterId, Ttl},
    key::{Key, Revision},
    mechanism::Mechanism,
    node::{Announced, LifeEnd, LifeEnded, Live, Lived, Tool},
    nodes::Seen,
    record::Json,
    time::Moment,
    transition::{Happened, Transition},
    write::Write,
};

use super::Case;

impl<'a> Case<'a> {
    /// The life of that epoch, which must last and be `requester_id`'s.
    pub(super) fn claimed(&self, of: &Claim) -> Result<Seen<'a>, Refusal> {
        let nodes = &self.index.nodes;
        let none = || Refusal::NodeNotFound(of.node_id.clone());
        let live = nodes.live(&of.node_id).ok_or_else(none)?;
        if of.epoch < live.epoch {
            return Err(superseded(&of.node_id, live));
        }
        let seen = nodes.seen(&of.node_id).ok_or_else(none)?;
        if of.epoch > live.epoch || !seen.is_live() {
            return Err(none());
        }
        if live.requester_id != of.requester_id {
            return Err(Refusal::NotNodesHolder(of.node_id.clone()));
        }
        Ok(seen)
    }

    /// A node that lives, in that epoch if one is named, and is `requester_id`'s.
    pub(super) fn living(
        &self,
        id: &NodeId,
        requester_id: RequesterId,
        epoch: Option<u64>,
    ) -> Result<Seen<'a>, Refusal> {
        if let Some(epoch) = epoch {
            return self.claimed(&Claim {
                node_id: id.clone(),
                requester_id,
                epoch,
            });
        }
        let seen = self.index.nodes.seen(id).filter(Seen::is_live);
        let seen = seen.ok_or_else(|| Refusal::NodeNotFound(id.clone()))?;
        if seen.live.requester_id != requester_id {
            return Err(Refusal::NotNodesHolder(id.clone()));
        }
        Ok(seen)
    }

    /// The node's life lasts its TTL again, from when this write is first seen.
    pub(super) fn beat(
        &self,
        of: &Claim,
        ttl: Option<Ttl>,
        health: Option<&Json>,
    ) -> Result<Decision, Refusal> {
        self.check_ttl(ttl)?;
        let seen = self.claimed(of)?;
        self.check_reserved(&Key::Live(of.node_id.clone()))?;
        let live = Live {
            // A node whose reply was lost counts the longer of two times.
            ttl: match ttl {
                Some(ttl) if !self.index.mechanisms.on(Mechanism::OnlyLengthens) => ttl,
                ttl => ttl.map_or(seen.live.ttl, |ttl| ttl.max(seen.live.ttl)),
            },
            renewed_at: self.now.wall,
            health: health.or(seen.live.health.as_ref()).cloned(),
            ..seen.live.clone()
        };
        let answer = Answer::Node(Box::new(Known {
            node_id: of.node_id.clone(),
            live: live.clone(),
            revision: Revision::default(),
            since: self.now.mono,
        }));
        Ok(Decision::Commit {
            writes: vec![self.write_live(&of.node_id, live, None)],
            answer,
            then: Effect::Reply,
        })
    }

    /// The node takes its leave; all that hangs on this life ends with it.
    pub(super) fn leave(&self, of: &Claim) -> Result<Decision, Refusal> {
        if let Some(seen) = self.index.nodes.seen(&of.node_id)
            && seen.live.epoch == of.epoch
            && seen.live.requester_id == of.requester_id
            && seen
                .live
                .ended
                .is_some_and(|ended| ended.how == LifeEnd::Deregistered)
        {
            let Seen { node_id, live, .. } = seen;
            let answer = known(node_id, live, seen.revision, seen.since);
            return Ok(Decision::Answer(answer));
        }
        let seen = self.claimed(of)?;
        self.check_reserved(&Key::Live(of.node_id.clone()))?;
        let tools = &seen.node.registration.tools;
        Ok(self.end_life(seen.node_id, seen.live, tools, LifeEnd::Deregistered))
    }

    /// The write that ends a life of a node which offers these tools.
    pub(super) fn end_life(
        &self,
        id: &NodeId,
        live: &Live,
        tools: &[Tool],
        how: LifeEnd,
    ) -> Decision {
        let live = Live {
            ended: Some(LifeEnded {
                how,
                at: self.now.wall,
            }),
            health: None,
            ..live.clone()
        };
        let event = match how {
            LifeEnd::Deregistered => Happened::NodeDeregistered,
            LifeEnd::Expired => Happened::NodeExpired,
        };
        let happened = Transition {
            event,
            requester_id: Some(live.requester_id),
            epoch: Some(live.epoch),
            ..self.tools_changed(id, tools, &[])
        };
        let answer = Answer::Node(Box::new(Known {
            node_id: id.clone(),
            live: live.clone(),
            revision: Revision::default(),
            since: self.now.mono,
        }));
        Decision::Commit {
            writes: vec![self.write_live(id, live, Some(happened))],
            answer,
            then: Effect::Reply,
        }
    }

    /// The writes that put `node` in the place of what the node has announced, with what happened when
    /// something did. Its life is written as well, for as long as it lasts: what was announced changes while
    /// it does, or not at all, and whoever ends it knows what was announced.
    pub(super) fn write_node(
        &self,
        seen: &Seen<'_>,
        node: Announced,
        happened: Option<Transition>,
    ) -> Result<Vec<Write>, Refusal> {
        let id = seen.node_id;
        let (said, life) = (Key::Node(id.clone()), Key::Live(id.clone()));
        self.check_reserved(&said)?;
        self.check_reserved(&life)?;
        let said = self.write(said, self.index.nodes.said(id), node, happened);
        let live = Live {
            renewed_at: self.now.wall,
            ..seen.live.clone()
        };
        Ok(vec![said, self.write_live(id, live, None)])
    }

    fn write_live(&self, id: &NodeId, live: Live, happened: Option<Transition>) -> Write {
        let life = self.index.nodes.life(id);
        self.write(Key::Live(id.clone()), life, Lived { live }, happened)
    }
}

pub(super) fn known(id: &NodeId, live: &Live, revision: Revision, since: Moment) -> Answer {
    Answer::Node(Box::new(Known {
        node_id: id.clone(),
        live: live.clone(),
        revision,
        since,
    }))
}

pub(super) fn superseded(node_id: &NodeId, live: &Live) -> Refusal {
    Refusal::Superseded {
        node_id: node_id.clone(),
        last: live.epoch,
    }
}
