//! Nodes: their announcement, their heartbeats, and their leave.

use std::collections::BTreeSet;

use crate::domain::{
    command::{Announce, Answer, BOUND_NODES, Claim, Decision, Effect, Known, Refusal},
    ids::{Incarnation, NodeId, RequesterId, Token, Ttl},
    key::{Key, Revision},
    mechanism::Mechanism,
    node::{
        Announced, Begun, EARLIER_LIVES_MAX, LifeEnd, LifeEnded, Live, Lived, Node,
        REQUESTS_REMEMBERED, Registration, Tool,
    },
    nodes::Seen,
    record::{Request, Unknown},
    standing::Entry,
    time::Moment,
    transition::{Happened, Transition},
    write::Write,
};

use super::Case;

/// What an announcement makes of the life that the node leads or last led.
enum Course {
    /// It goes on.
    Goes,
    /// Another one begins, of that epoch.
    Begins(u64),
}

impl<'a> Case<'a> {
    /// Announces a node: its registration and its life in one piece.
    pub(super) fn announce(&self, announce: &Announce) -> Result<Decision, Refusal> {
        let Announce { node_id, .. } = announce;
        self.check_ttl(Some(announce.ttl))?;
        let (said, life) = (Key::Node(node_id.clone()), Key::Live(node_id.clone()));
        self.check_reserved(&said)?;
        self.check_reserved(&life)?;
        if let Some(decision) = self.announced_before(announce)? {
            return Ok(decision);
        }
        let course = self.course(announce)?;
        self.check_frozen(node_id, &announce.registration)?;
        self.check_inbound(announce)?;
        let limit = self.index.policy.node_bytes_max;
        if announce.registration.total_bytes() > limit {
            return Err(Refusal::NodeTooLarge(limit));
        }
        let known = self.index.nodes.life(node_id).is_some();
        let limit = self.index.policy.nodes_max;
        if !known && self.index.nodes.len() + self.reserved.lives() >= limit {
            return Err(Refusal::LimitExceeded {
                what: BOUND_NODES,
                limit,
            });
        }
        self.check_room(self.index.nodes.life(node_id))?;
        Ok(self.announced(announce, &course))
    }

    /// What this request, or this command, has led to already.
    fn announced_before(&self, announce: &Announce) -> Result<Option<Decision>, Refusal> {
        let nodes = &self.index.nodes;
        let (life, live) = match nodes.life(&announce.node_id) {
            Some(life) => (life, nodes.live(&announce.node_id)),
            None => return Ok(None),
        };
        let Some(live) = live else {
            return Ok(None);
        };
        let said = nodes.said(&announce.node_id).and_then(Entry::body);
        let now = said.filter(|said| said.node.incarnation == live.incarnation);
        let now = now.into_iter().flat_map(|said| &said.node.requests);
        let earlier = said.filter(|_| self.index.mechanisms.on(Mechanism::EarlierLives));
        let earlier = earlier.into_iter().flat_map(|said| &said.node.earlier);
        let now = live.request.iter().chain(now).map(|one| (live.epoch, one));
        let earlier = earlier.map(|begun| (begun.epoch, &begun.request));
        let same = announce.request.and_then(|request| {
            let mut remembered = now.chain(earlier);
            remembered.find(|(_, remembered)| remembered.id == request.id)
        });
        let own = live.incarnation == Incarnation(self.command.id.0);
        let epoch = match same {
            Some((epoch, same)) if Some(*same) == announce.request => epoch,
            // An id belongs to its requester.
            Some(_) if live.requester_id == announce.requester_id => {
                return Err(Refusal::IdempotencyMismatch);
            }
            _ if own => live.epoch,
            _ => return Ok(None),
        };
        if epoch != live.epoch || live.ended.is_some() {
            return Err(superseded(epoch, live));
        }
        Ok(Some(Decision::Answer(known(
            &announce.node_id,
            live,
            life.revision,
            life.observed,
        ))))
    }

    fn course(&self, announce: &Announce) -> Result<Course, Refusal> {
        let nodes = &self.index.nodes;
        let Some(live) = nodes.live(&announce.node_id) else {
            return Ok(Course::Begins(
                announce.epoch.or(announce.chosen).unwrap_or(1),
            ));
        };
        let lives = live.ended.is_none();
        let other = live.requester_id != announce.requester_id;
        // Epochs only grow: a life of the chosen epoch that is not its own is in the place of its own.
        let chosen = announce.chosen.filter(|chosen| *chosen != live.epoch);
        match announce.epoch.or(chosen) {
            None if lives && other => Err(Refusal::NodeTaken { epoch: live.epoch }),
            None => Ok(Course::Begins(live.epoch.saturating_add(1))),
            Some(epoch) if epoch > live.epoch => Ok(Course::Begins(epoch)),
            Some(epoch) if epoch == live.epoch && lives => {
                if other {
                    return Err(Refusal::NodeTaken { epoch });
                }
                // What it announced may have been overwritten from outside; its life has not.
                Ok(Course::Goes)
            }
            Some(epoch)
                if epoch == live.epoch && !self.index.mechanisms.on(Mechanism::EndedEpoch) =>
            {
                Ok(Course::Begins(epoch))
            }
            Some(epoch) => Err(superseded(epoch, live)),
        }
    }

    fn check_ttl(&self, ttl: Option<Ttl>) -> Result<(), Refusal> {
        let longest = self.index.policy.ttl_max;
        if ttl > Some(longest) {
            return Err(Refusal::TtlTooLong(longest.seconds()));
        }
        Ok(())
    }

    /// A node that is frozen keeps the contract that it was frozen with.
    pub(super) fn check_frozen(
        &self,
        id: &NodeId,
        registration: &Registration,
    ) -> Result<(), Refusal> {
        let verdicts = self.index.nodes.verdicts(id);
        match verdicts.and_then(|verdicts| verdicts.frozen()) {
            Some(frozen) if frozen != registration.contract_hash => Err(Refusal::Frozen),
            _ => Ok(()),
        }
    }

    /// A port that a node says it has leased is leased, and by who announces the node.
    fn check_inbound(&self, announce: &Announce) -> Result<(), Refusal> {
        for (index, inbound) in announce.registration.inbound_ports.iter().enumerate() {
            let Some(lease_id) = inbound.lease_id else {
                continue;
            };
            let checked = self.live(announce.requester_id, lease_id).and_then(|live| {
                let ports = &live.lease.ports;
                match ports.first() {
                    Some(port) if !ports.iter().any(|port| port.number() == inbound.port) => {
                        Err(Refusal::OtherPort(*port))
                    }
                    _ => Ok(()),
                }
            });
            checked.map_err(|why| Refusal::Inbound {
                index,
                why: Box::new(why),
            })?;
        }
        Ok(())
    }

    fn announced(&self, announce: &Announce, course: &Course) -> Decision {
        let node_id = &announce.node_id;
        let nodes = &self.index.nodes;
        let (before, life) = (nodes.seen(node_id), nodes.life(node_id));
        let old = life.and_then(|life| Some(&life.body()?.live));
        let live = match (course, old) {
            (Course::Goes, Some(old)) => Live {
                ttl: old.ttl.max(announce.ttl),
                renewed_at: self.now.wall,
                ..old.clone()
            },
            (Course::Begins(epoch), _) => self.begins(announce, *epoch),
            (Course::Goes, None) => self.begins(announce, 1),
        };
        let goes = matches!(course, Course::Goes);
        let was = before.filter(Seen::is_live);
        let mut happened = self.tools_changed(
            node_id,
            was.map_or(&[], |seen| &seen.node.registration.tools),
            &announce.registration.tools,
        );
        happened.event = match old.and_then(|old| old.ended) {
            _ if goes => Happened::ToolsChanged,
            Some(LifeEnded {
                how: LifeEnd::Expired,
                ..
            }) => Happened::NodeRejoined,
            _ => Happened::NodeRegistered,
        };
        happened.requester_id = Some(announce.requester_id);
        happened.epoch = Some(live.epoch);
        let told = !goes || happened.tells_of_tools();
        let mut requests = before
            .filter(|_| goes)
            .map(|seen| seen.node.requests.clone())
            .unwrap_or_default();
        if goes {
            remember(&mut requests, announce.request);
        }
        let unknown = before.map(|seen| seen.node.unknown.clone());
        let node = Node {
            incarnation: live.incarnation,
            registration: announce.registration.clone(),
            requests,
            earlier: self.earlier(node_id, old.filter(|_| !goes)),
            unknown: unknown.unwrap_or_default(),
        };
        let answer = Answer::Node(Box::new(Known {
            node_id: node_id.clone(),
            live: live.clone(),
            revision: Revision::default(),
            since: self.now.mono,
        }));
        let said = self.write(
            Key::Node(node_id.clone()),
            nodes.said(node_id),
            Announced { node },
            None,
        );
        let lives = self.write(
            Key::Live(node_id.clone()),
            life,
            Lived { live },
            told.then_some(happened),
        );
        Decision::Commit {
            writes: vec![said, lives],
            answer,
            then: Effect::Reply,
        }
    }

    /// The requests that earlier lives began with; `old` is the one that is followed by another one now.
    fn earlier(&self, id: &NodeId, old: Option<&Live>) -> Vec<Begun> {
        let said = self.index.nodes.said(id).and_then(Entry::body);
        let mut earlier = said.map_or(Vec::new(), |said| said.node.earlier.clone());
        earlier.extend(old.and_then(|old| {
            let epoch = old.epoch;
            old.request.map(|request| Begun { epoch, request })
        }));
        let surplus = earlier.len().saturating_sub(EARLIER_LIVES_MAX);
        earlier.drain(..surplus);
        earlier
    }

    fn begins(&self, announce: &Announce, epoch: u64) -> Live {
        let life = self.index.nodes.life(&announce.node_id);
        let old = life.and_then(|life| Some(&life.body()?.live));
        // Who held what on a record that was overwritten is not known.
        let foreign = life.is_some_and(|life| life.record.is_none() && !life.forgotten);
        let superseded = old.map_or(foreign.then(|| self.index.ttl_longest()), |old| {
            let still = old.ended.is_none().then_some(old.ttl);
            still.max(old.superseded_ttl)
        });
        Live {
            incarnation: Incarnation(self.command.id.0),
            epoch,
            requester_id: announce.requester_id,
            ttl: announce.ttl,
            registered_at: self.now.wall,
            renewed_at: self.now.wall,
            ended: None,
            superseded_ttl: superseded,
            request: announce.request,
            health: None,
            unknown: old
                .map(|old| old.unknown.clone())
                .unwrap_or_else(Unknown::new),
        }
    }

    /// What is told of a node whose tools change.
    pub(super) fn tools_changed(&self, id: &NodeId, from: &[Tool], to: &[Tool]) -> Transition {
        let contract = |tool: &Tool| (tool.version.clone(), tool.contract_hash.clone());
        let names = |tools: &[Tool]| -> BTreeSet<Token> {
            tools.iter().map(|tool| tool.name.clone()).collect()
        };
        let contracts = |tools: &[Tool], name: &Token| -> BTreeSet<_> {
            let named = tools.iter().filter(|tool| tool.name == *name);
            named.map(contract).collect()
        };
        let (before, after) = (names(from), names(to));
        let added: Vec<Token> = after
            .iter()
            .filter(|name| contracts(from, name) != contracts(to, name))
            .cloned()
            .collect();
        let collisions = added
            .iter()
            .filter(|name| {
                let mut mine = to.iter().filter(|tool| tool.name == **name);
                mine.any(|tool| self.collides(id, tool))
            })
            .cloned()
            .collect();
        Transition {
            tools_removed: before.difference(&after).cloned().collect(),
            collisions,
            tools_added: added,
            ..self.happened(Happened::ToolsChanged, None)
        }
    }

    /// Whether another node that lives offers that tool in that version under another contract.
    fn collides(&self, id: &NodeId, tool: &Tool) -> bool {
        self.index.nodes.colliding(id, tool).next().is_some()
    }

    /// The life of that epoch, which must last and be `requester_id`'s.
    pub(super) fn claimed(&self, of: &Claim) -> Result<Seen<'a>, Refusal> {
        let nodes = &self.index.nodes;
        let live = nodes.live(&of.node_id).ok_or(Refusal::NodeNotFound)?;
        if of.epoch < live.epoch {
            return Err(superseded(of.epoch, live));
        }
        let seen = nodes.seen(&of.node_id).ok_or(Refusal::NodeNotFound)?;
        if of.epoch > live.epoch || !seen.is_live() {
            return Err(Refusal::NodeNotFound);
        }
        if live.requester_id != of.requester_id {
            return Err(Refusal::NotHolder);
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
        let seen = seen.ok_or(Refusal::NodeNotFound)?;
        if seen.live.requester_id != requester_id {
            return Err(Refusal::NotHolder);
        }
        Ok(seen)
    }

    /// The node's life lasts its TTL again, from when this write is first seen.
    pub(super) fn beat(
        &self,
        of: &Claim,
        ttl: Option<Ttl>,
        health: Option<&serde_json::Value>,
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

    fn write_live(&self, id: &NodeId, live: Live, happened: Option<Transition>) -> Write {
        let life = self.index.nodes.life(id);
        self.write(Key::Live(id.clone()), life, Lived { live }, happened)
    }
}

fn known(id: &NodeId, live: &Live, revision: Revision, since: Moment) -> Answer {
    Answer::Node(Box::new(Known {
        node_id: id.clone(),
        live: live.clone(),
        revision,
        since,
    }))
}

fn superseded(asked: u64, live: &Live) -> Refusal {
    Refusal::Superseded {
        asked,
        last: live.epoch,
    }
}

/// The last requests with another one.
pub(super) fn remember(requests: &mut Vec<Request>, request: Option<Request>) {
    requests.extend(request);
    let surplus = requests.len().saturating_sub(REQUESTS_REMEMBERED);
    requests.drain(..surplus);
}
