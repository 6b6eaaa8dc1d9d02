//! Nodes: their announcement.

use crate::domain::{
    command::{Announce, Answer, BOUND_NODES, Decision, Effect, Known, Refusal},
    ids::{Incarnation, NodeId, Ttl},
    key::{Key, Revision},
    mechanism::Mechanism,
    node::{
        Announced, EARLIER_LIVES_MAX, EPOCH_NAMED_MAX, LifeEnd, LifeEnded, Live, Lived, Node,
        REQUESTS_REMEMBERED, Registration, Tool,
    },
    nodes::Seen,
    record::Request,
    standing::Entry,
    transition::{Happened, ToolTold, Transition},
};

use super::{
    Case,
    life::{known, superseded},
};

/// What an announcement makes of the life that the node leads or last led.
enum Course {
    /// It goes on.
    Goes,
    /// Another one begins, of that epoch.
    Begins(u64),
}

impl Case<'_> {
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
        self.check_inbound(announce, &course)?;
        let limit = self.index.policy.node_bytes_max;
        if announce.registration.total_bytes() > limit {
            return Err(Refusal::NodeTooLarge(announce.node_id.clone(), limit));
        }
        let limit = self.index.policy.nodes_max;
        let nodes = &self.index.nodes;
        let known = |id: &NodeId| nodes.life(id).is_some_and(|entry| !entry.forgotten);
        let coming = self.reserved.lives().filter(|id| !known(id)).count();
        if !known(node_id) && nodes.known() + coming >= limit {
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
        let Some((life, live)) = nodes
            .life(&announce.node_id)
            .and_then(|life| Some((life, &life.body()?.live)))
        else {
            return Ok(None);
        };
        let said = nodes.said(&announce.node_id).and_then(Entry::body);
        let earlier = said.zip(announce.request).is_some_and(|(said, request)| {
            self.index.mechanisms.on(Mechanism::EarlierLives)
                && said.node.earlier.contains(&request)
        });
        if earlier {
            // It led to a life that another one has followed since.
            return Err(superseded(&announce.node_id, live));
        }
        let said = said.filter(|said| said.node.incarnation == live.incarnation);
        let requests = said.into_iter().flat_map(|said| &said.node.requests);
        // Another requester's request under the same id is another request.
        let mine = live.requester_id == announce.requester_id;
        let same = announce.request.filter(|_| mine).and_then(|request| {
            let mut remembered = live.request.iter().chain(requests);
            remembered
                .find(|remembered| remembered.id == request.id)
                .copied()
        });
        if let Some(same) = same
            && Some(same) != announce.request
        {
            return Err(Refusal::IdempotencyMismatch(same.id));
        }
        let own = live.incarnation == Incarnation(self.command.id.0);
        if same.is_none() && !own {
            return Ok(None);
        }
        if live.ended.is_some() {
            return Err(superseded(&announce.node_id, live));
        }
        let answer = known(&announce.node_id, live, life.revision, life.observed);
        Ok(Some(Decision::Answer(answer)))
    }

    fn course(&self, announce: &Announce) -> Result<Course, Refusal> {
        let nodes = &self.index.nodes;
        let last = nodes.live(&announce.node_id).map_or(0, |live| live.epoch);
        if announce.epoch > Some(last.max(EPOCH_NAMED_MAX)) {
            return Err(Refusal::EpochTooHigh);
        }
        let Some(live) = nodes.live(&announce.node_id) else {
            return Ok(Course::Begins(
                announce.epoch.or(announce.chosen).unwrap_or(1),
            ));
        };
        let lives = live.ended.is_none();
        let other = live.requester_id != announce.requester_id;
        // Epochs only grow: a life of the chosen epoch that is not its own is in the place of its own.
        let chosen = announce.chosen.filter(|chosen| *chosen != live.epoch);
        let taken = |epoch| Refusal::NodeTaken {
            node_id: announce.node_id.clone(),
            epoch,
        };
        match announce.epoch.or(chosen) {
            None if lives && other => Err(taken(live.epoch)),
            None => Ok(Course::Begins(live.epoch.saturating_add(1))),
            Some(epoch) if epoch > live.epoch => Ok(Course::Begins(epoch)),
            Some(epoch) if epoch == live.epoch && lives && other => Err(taken(epoch)),
            Some(epoch) if epoch == live.epoch && lives => {
                // What it announced may have been overwritten from outside; its life has not.
                Ok(Course::Goes)
            }
            Some(epoch)
                if epoch == live.epoch && !self.index.mechanisms.on(Mechanism::EndedEpoch) =>
            {
                Ok(Course::Begins(epoch))
            }
            Some(_) => Err(superseded(&announce.node_id, live)),
        }
    }

    pub(super) fn check_ttl(&self, ttl: Option<Ttl>) -> Result<(), Refusal> {
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
        let nodes = &self.index.nodes;
        let Some((seen, verdicts)) = nodes.seen(id).zip(nodes.verdicts(id)) else {
            return Ok(());
        };
        let has = &seen.node.registration.contract_hash;
        if verdicts.is_frozen(has) && *has != registration.contract_hash {
            return Err(Refusal::Frozen(id.clone()));
        }
        Ok(())
    }

    /// A port that a node says it has leased is leased, and by who announces the node. A lease that ends
    /// with the node's last life ends by this announcement when that begins another one.
    fn check_inbound(&self, announce: &Announce, course: &Course) -> Result<(), Refusal> {
        let last = self.index.nodes.live(&announce.node_id);
        let last = last.map_or(0, |live| live.epoch);
        for (index, inbound) in announce.registration.inbound_ports.iter().enumerate() {
            let Some(lease_id) = inbound.lease_id else {
                continue;
            };
            let checked = self.live(announce.requester_id, lease_id).and_then(|live| {
                let ports = &live.lease.ports;
                let life = live.lease.node.as_ref();
                let of_last = life.is_some_and(|life| life.node_id == announce.node_id);
                match ports.first() {
                    _ if of_last && matches!(course, Course::Begins(_)) => {
                        Err(Refusal::LeaseOfLastLife(last))
                    }
                    Some(port) if !ports.iter().any(|port| port.number() == inbound.port) => {
                        Err(Refusal::OtherPort(lease_id, *port))
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
            then: Effect::Review,
        }
    }

    /// The requests that earlier lives began with; `old` is the one that is followed by another one now.
    fn earlier(&self, id: &NodeId, old: Option<&Live>) -> Vec<Request> {
        let said = self.index.nodes.said(id).and_then(Entry::body);
        let mut earlier = said.map_or(Vec::new(), |said| said.node.earlier.clone());
        earlier.extend(old.and_then(|old| old.request));
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
            unknown: old.map(|old| old.unknown.clone()).unwrap_or_default(),
        }
    }

    /// What is told of a node whose tools change.
    pub(super) fn tools_changed(&self, id: &NodeId, from: &[Tool], to: &[Tool]) -> Transition {
        let offers = |tools: &[Tool], tool: &Tool| {
            let mut same = tools
                .iter()
                .filter(|other| other.is(&tool.name, &tool.version));
            same.next().map(|same| same.contract_hash.clone())
        };
        let added = to
            .iter()
            .filter(|tool| offers(from, tool).as_ref() != Some(&tool.contract_hash));
        let removed = from.iter().filter(|tool| offers(to, tool).is_none());
        let collision = |tool: &Tool| {
            let other = self.index.nodes.colliding(id, tool).next();
            other.map(|other| told(tool, Some(other)))
        };
        Transition {
            tools_removed: removed.map(|tool| told(tool, None)).collect(),
            collisions: added.clone().filter_map(collision).collect(),
            tools_added: added.map(|tool| told(tool, None)).collect(),
            ..self.happened(Happened::ToolsChanged, None)
        }
    }
}

/// A tool as an event tells of it.
pub(super) fn told(tool: &Tool, other: Option<&NodeId>) -> ToolTold {
    ToolTold {
        name: tool.name.clone(),
        version: tool.version.clone(),
        other: other.cloned(),
    }
}

/// The last requests with another one.
pub(super) fn remember(requests: &mut Vec<Request>, request: Option<Request>) {
    requests.extend(request);
    let surplus = requests.len().saturating_sub(REQUESTS_REMEMBERED);
    requests.drain(..surplus);
}
