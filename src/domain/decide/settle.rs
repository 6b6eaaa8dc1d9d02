//! What time asks for: ends of what is due, and forgetting what ended long ago.

use crate::domain::{
    agenda::Change,
    command::{Answer, Decision, Effect, Refusal},
    ids::NodeId,
    key::{Key, Revision},
    node::LifeEnd,
    nodes::Seen,
};

use super::Case;

impl Case<'_> {
    /// Does what is due under that key. If another instance has written there, the write is lost.
    pub(super) fn settle(&self, key: &Key) -> Result<Decision, Refusal> {
        if let Key::Port(port) = key {
            return self.expire(port);
        }
        self.check_reserved(key)?;
        if self.index.change(key, self.now.mono) != Change::Due {
            return Ok(Decision::Answer(Answer::Nothing));
        }
        let nodes = &self.index.nodes;
        match key {
            Key::Live(id) => self.settle_life(id),
            Key::Bus(id) => {
                let Some(entry) = nodes.bus(id) else {
                    return Ok(Decision::Answer(Answer::Nothing));
                };
                let bus = entry.body().map(|bus| &bus.bus);
                let over = bus.and_then(|bus| {
                    let ended = self.index.bus_over(bus, entry.revision)?;
                    bus.ended.is_none().then_some((bus, ended))
                });
                Ok(match over {
                    Some((bus, ended)) => self.end_bus(id, bus, ended),
                    None => commit(vec![Self::forget(key.clone(), entry)]),
                })
            }
            Key::Node(id) => Ok(nodes
                .said(id)
                .map_or(Decision::Answer(Answer::Nothing), |entry| {
                    commit(vec![Self::forget(key.clone(), entry)])
                })),
            Key::Verdict(id) => Ok(nodes
                .verdict(id)
                .map_or(Decision::Answer(Answer::Nothing), |entry| {
                    commit(vec![Self::forget(key.clone(), entry)])
                })),
            Key::Port(_) | Key::Sys | Key::Barrier | Key::Checkpoint => {
                Ok(Decision::Answer(Answer::Nothing))
            }
        }
    }

    /// A life that is due ends; one that ended long ago is forgotten, in one piece with what was said
    /// and thought of the node.
    fn settle_life(&self, id: &NodeId) -> Result<Decision, Refusal> {
        let nodes = &self.index.nodes;
        if let Some(seen) = nodes.seen(id).filter(Seen::is_live) {
            let tools = &seen.node.registration.tools;
            return Ok(self.end_life(id, seen.live, tools, LifeEnd::Expired));
        }
        let Some(life) = nodes.life(id) else {
            return Ok(Decision::Answer(Answer::Nothing));
        };
        if let Some(live) = nodes.live(id).filter(|live| live.ended.is_none()) {
            // What the node announced is gone; its life ends all the same.
            return Ok(self.end_life(id, live, &[], LifeEnd::Expired));
        }
        let (said_key, verdict_key) = (Key::Node(id.clone()), Key::Verdict(id.clone()));
        self.check_reserved(&said_key)?;
        self.check_reserved(&verdict_key)?;
        let said = nodes.said(id).filter(|entry| !entry.forgotten);
        let verdict = nodes.verdict(id).filter(|entry| !entry.forgotten);
        let said = said.map(|entry| Self::forget(said_key, entry));
        let verdict = verdict.map(|entry| Self::forget(verdict_key, entry));
        // What was thought of the node goes last: it is never shown without that.
        let life = Self::forget(Key::Live(id.clone()), life);
        Ok(commit(
            said.into_iter().chain([life]).chain(verdict).collect(),
        ))
    }
}

fn commit(writes: Vec<crate::domain::write::Write>) -> Decision {
    Decision::Commit {
        writes,
        answer: Answer::Done(Revision::default()),
        then: Effect::Reply,
    }
}
