//! What time asks for: ends of what is due, and forgetting what ended long ago.

use crate::domain::{
    agenda::Change,
    command::{Answer, Decision, Effect, Refusal},
    ids::{NodeId, RequestId},
    key::{Key, Revision},
    node::LifeEnd,
    nodes::Seen,
    write::Write,
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
            Key::Exec(id) => Ok(nodes
                .counted(id)
                .map_or(Decision::Answer(Answer::Nothing), |entry| {
                    commit(vec![Self::forget(key.clone(), entry)])
                })),
            Key::Call(id) => Ok(self.settle_call(key, *id)),
            Key::Port(_)
            | Key::Host(_)
            | Key::Sys
            | Key::Barrier
            | Key::Checkpoint
            | Key::Folded => Ok(Decision::Answer(Answer::Nothing)),
        }
    }

    /// A call that is due ends; one that ended long ago is forgotten.
    fn settle_call(&self, key: &Key, id: RequestId) -> Decision {
        let Some(entry) = self.index.calls.entry(id) else {
            return Decision::Answer(Answer::Nothing);
        };
        match entry.body().map(|called| &called.call) {
            Some(call) if call.ended.is_none() => self.give_call_up(key, entry, call),
            _ => commit(vec![Self::forget(key.clone(), entry)]),
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
        let said = nodes.said(id).filter(|entry| !entry.forgotten);
        let verdict = nodes.verdict(id).filter(|entry| !entry.forgotten);
        let counted = nodes.counted(id).filter(|entry| !entry.forgotten);
        let said = said.map(|entry| Self::forget(Key::Node(id.clone()), entry));
        let life = Self::forget(Key::Live(id.clone()), life);
        // What was thought of the node, and counted, goes last: it is never shown without that.
        let verdict = verdict.map(|entry| Self::forget(Key::Verdict(id.clone()), entry));
        let counted = counted.map(|entry| Self::forget(Key::Exec(id.clone()), entry));
        let writes: Vec<Write> = said
            .into_iter()
            .chain([life])
            .chain(verdict)
            .chain(counted)
            .collect();
        for write in &writes {
            self.check_reserved(&write.key)?;
        }
        Ok(commit(writes))
    }
}

fn commit(writes: Vec<crate::domain::write::Write>) -> Decision {
    Decision::Commit {
        writes,
        answer: Answer::Done(Revision::default()),
        then: Effect::Reply,
    }
}
