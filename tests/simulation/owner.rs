//! Programs that are nodes, with the rules that every node has to keep: they announce themselves, stay
//! alive, hang ports, tools and buses on that, leave, die, and are replaced while they still run.
//!
//! A place runs one process after another. Several places may be of one node: then a process that begins
//! at one of them ends the life of another that knows nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    command::{Action, Announce, BusWish, Claim, Judgement, Wish},
    ids::{BusId, Incarnation, LeaseId, NodeId, RequesterId, Token, Transport, Ttl},
    key::PortKey,
    node::{Inbound, NodeType, Registration, Tool},
    record::{Request, Unknown},
    trust::Outcome,
};

use super::{
    chance::{Chance, Clock},
    holder::TRIES_MAX,
    setup::{Rules, Setup},
    world::{Ask, Event, Who, World, host, trace},
};

const NODES: [&str; 3] = ["a", "a.b", "a-b"];
const TOOLS: [&str; 3] = ["add", "sub", "mul"];
const BUSES: [&str; 2] = ["x", "y"];
/// Whoever starts processes chooses epochs that the registry does not: two processes of one epoch are one.
const EPOCHS_APART: u64 = 1_000;
/// Ports of one process, at most.
const PORTS_MAX: usize = 2;

pub(super) fn node_ids(names: usize) -> impl Iterator<Item = NodeId> {
    NODES.iter().take(names).map(|id| id.parse().unwrap())
}

pub(super) fn tool_names() -> impl Iterator<Item = Token> {
    TOOLS.iter().map(|name| name.parse().unwrap())
}

pub(super) fn bus_ids() -> impl Iterator<Item = BusId> {
    BUSES.iter().map(|id| id.parse().unwrap())
}

/// One request of a process, sent once or more often.
pub(super) struct Errand {
    pub(super) first: u64,
    pub(super) last: u64,
    tries: u32,
    pub(super) retry_at: u64,
    pub(super) action: Action,
}

/// What a process thinks that it is and has.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) epoch: u64,
    /// The test knows which life that is.
    pub(super) incarnation: Incarnation,
    pub(super) until: u64,
    pub(super) ports: BTreeMap<LeaseId, PortKey>,
}

/// A place at which processes of a node run.
pub(super) struct Owner {
    pub(super) node_id: NodeId,
    pub(super) requester: RequesterId,
    pub(super) clock: Clock,
    pub(super) asleep: Option<(u64, u64)>,
    /// Which process.
    pub(super) life: u64,
    alarm: u64,
    pub(super) errands: Vec<Errand>,
    pub(super) joining: Option<usize>,
    pub(super) beating: Option<usize>,
    /// Anything else that it waits for.
    pub(super) busy: Option<usize>,
    pub(super) alive: Option<Alive>,
    /// Leases that it does not use any more, whatever it is told of them.
    pub(super) stopped: BTreeSet<LeaseId>,
    /// Epochs that it took its leave of.
    pub(super) left: BTreeSet<u64>,
    /// The last epoch that a process here has lived in.
    pub(super) last_epoch: Option<u64>,
    pub(super) beat_at: u64,
    pub(super) leave_at: u64,
    join_at: u64,
}

impl Owner {
    /// All places; those of one node mostly belong to one requester.
    pub(super) fn all(chance: &mut Chance, setup: &Setup) -> Vec<Self> {
        let mut owners: BTreeMap<NodeId, RequesterId> = BTreeMap::new();
        (0..setup.owners)
            .map(|_| {
                let name = NODES[chance.index(setup.names)];
                let node_id: NodeId = name.parse().unwrap();
                let own = RequesterId(chance.uuid());
                let first = *owners.entry(node_id.clone()).or_insert(own);
                let other = chance.hit(setup.other_owner);
                Self {
                    node_id,
                    requester: if other { own } else { first },
                    clock: Clock::new(chance, false),
                    asleep: None,
                    life: 0,
                    alarm: 0,
                    errands: Vec::new(),
                    joining: None,
                    beating: None,
                    busy: None,
                    alive: None,
                    stopped: BTreeSet::new(),
                    left: BTreeSet::new(),
                    last_epoch: None,
                    beat_at: 0,
                    leave_at: 0,
                    join_at: 0,
                }
            })
            .collect()
    }

    /// What its own clock shows.
    pub(super) fn reading(&self, time: u64, rules: Rules) -> u64 {
        match self.asleep {
            Some((since, _)) if !rules.clock_runs_asleep => self.clock.at(since),
            _ => self.clock.at(time),
        }
    }

    /// What it is and has now, by its own reckoning.
    pub(super) fn lives(&self, time: u64, rules: Rules) -> Option<&Alive> {
        let reading = self.reading(time, rules);
        self.alive.as_ref().filter(|alive| reading < alive.until)
    }

    /// Whether its process has that port bound.
    pub(super) fn binds(&self, key: &PortKey) -> bool {
        let ports = self.alive.iter().flat_map(|alive| alive.ports.values());
        ports.into_iter().any(|port| port == key)
    }

    /// Its process ends; the next one begins at `join_at`.
    pub(super) fn end(&mut self, join_at: u64) {
        self.life += 1;
        self.errands.clear();
        (self.joining, self.beating, self.busy) = (None, None, None);
        self.alive = None;
        self.stopped.clear();
        self.join_at = join_at;
    }

    pub(super) fn claim(&self, epoch: u64) -> Claim {
        Claim {
            node_id: self.node_id.clone(),
            requester_id: self.requester,
            epoch,
        }
    }
}

impl World {
    pub(super) fn owner_alarm(&mut self, owner: usize, after: u64) {
        let one = &mut self.owners[owner];
        one.alarm += 1;
        let alarm = one.alarm;
        self.after(after, Event::Owner(owner, alarm));
    }

    /// A process looks at its clock.
    pub(super) fn owner(&mut self, owner: usize, alarm: u64) {
        if self.owners[owner].alarm != alarm {
            return;
        }
        let (time, rules) = (self.time, self.setup.rules);
        let one = &mut self.owners[owner];
        if let Some((since, _)) = one.asleep.take()
            && !rules.clock_runs_asleep
        {
            one.clock.stood(time - since);
        }
        let now = one.reading(time, rules);
        if one.alive.is_some() && one.lives(time, rules).is_none() {
            self.count("nodes ran out");
            self.over(owner);
        }
        if self.owners[owner].alive.is_some() {
            self.live_on(owner, now);
        } else {
            self.join(owner, now);
        }
        let one = &self.owners[owner];
        let after = match (one.asleep, one.alive.is_some() || one.joining.is_some()) {
            (Some((_, until)), _) => until - self.time,
            (None, false) => self.chance.between((100, 3_000)),
            (None, true) => self.chance.between((10, 300)),
        };
        self.owner_alarm(owner, after);
    }

    /// Its process ends, and another one begins after a while.
    pub(super) fn over(&mut self, owner: usize) {
        let away = self.chance.between(self.setup.away);
        let now = self.owners[owner].reading(self.time, self.setup.rules);
        trace!(self, "owner {owner} ends");
        self.owners[owner].end(now + away);
    }

    /// Announces the node, or does so again.
    fn join(&mut self, owner: usize, now: u64) {
        if let Some(errand) = self.owners[owner].joining {
            let next = self.again_errand(owner, errand, now);
            if let Some(next) = next {
                self.owners[owner].joining = Some(next);
            } else {
                self.over(owner);
            }
            return;
        }
        if self.calm || now < self.owners[owner].join_at {
            return;
        }
        let again = self.owners[owner].last_epoch;
        let again = again.filter(|epoch| !self.owners[owner].left.contains(epoch));
        let epoch = if let Some(again) = again
            && self.chance.hit(self.setup.same_epoch)
        {
            Some(again)
        } else if self.chance.hit(self.setup.with_epoch) {
            let id = self.owners[owner].node_id.clone();
            let highest = self.epochs.entry(id).or_default();
            *highest = (*highest / EPOCHS_APART + 1) * EPOCHS_APART;
            Some(*highest)
        } else {
            None
        };
        let announce = self.announcement(owner, epoch);
        let errand = self.begin_errand(owner, Action::Announce(Box::new(announce)));
        self.owners[owner].joining = Some(errand);
    }

    fn announcement(&mut self, owner: usize, epoch: Option<u64>) -> Announce {
        let ttl = self.ttl();
        let request = self.request(self.setup.with_request_id);
        let tools = TOOLS
            .iter()
            .filter_map(|name| {
                let offered = self.chance.hit(500);
                offered.then(|| self.tool(name))
            })
            .collect();
        let unlike = self.chance.uuid().to_string();
        let one = &self.owners[owner];
        let ports = one.alive.iter().flat_map(|alive| &alive.ports);
        let inbound = ports.map(|(lease_id, key)| Inbound {
            lease_id: Some(*lease_id),
            port: key.port.number(),
            more: Unknown::new(),
        });
        let registration = Registration {
            version: semver::Version::new(1, 0, 0),
            node_type: NodeType::Validator,
            tags: Vec::new(),
            host: None,
            contract_hash: String::new(),
            base_hash: unlike,
            bytes: 100,
            inbound_ports: inbound.collect(),
            tools,
            more: Unknown::new(),
        };
        Announce {
            node_id: one.node_id.clone(),
            requester_id: one.requester,
            epoch,
            chosen: None,
            ttl,
            registration: registration.seal(),
            request,
        }
    }

    fn ttl(&mut self) -> Ttl {
        let ttl = self.chance.between(self.setup.ttl);
        Ttl::try_from(u32::try_from(ttl).unwrap()).unwrap()
    }

    fn tool(&mut self, name: &str) -> Tool {
        Tool {
            name: name.parse().unwrap(),
            version: semver::Version::new(1, self.chance.below(2), 0),
            contract_hash: self.chance.below(2).to_string(),
            bytes: 10,
            patterns: 0,
            subject: format!("tool.{name}"),
            tags: Vec::new(),
            more: Unknown::new(),
        }
    }

    /// Something new is asked.
    pub(super) fn begin_errand(&mut self, owner: usize, action: Action) -> usize {
        let now = self.owners[owner].reading(self.time, self.setup.rules);
        let one = &mut self.owners[owner];
        one.errands.push(Errand {
            first: now,
            last: now,
            tries: 0,
            retry_at: 0,
            action,
        });
        let errand = one.errands.len() - 1;
        self.send_errand(owner, errand, now);
        errand
    }

    fn send_errand(&mut self, owner: usize, errand: usize, now: u64) {
        let wait = self.chance.between((600, 5_000));
        let one = &mut self.owners[owner];
        let sent = &mut one.errands[errand];
        sent.retry_at = now + wait;
        sent.tries += 1;
        sent.last = now;
        let ask = Ask {
            who: Who::Owner(owner),
            life: one.life,
            request: errand,
            action: sent.action.clone(),
        };
        self.post(ask);
    }

    /// The same once more when no answer has come, or a new one where it has no name; none when that has
    /// been tried often enough.
    fn again_errand(&mut self, owner: usize, errand: usize, now: u64) -> Option<usize> {
        let sent = &self.owners[owner].errands[errand];
        if now < sent.retry_at {
            return Some(errand);
        }
        if sent.tries >= TRIES_MAX || self.owners[owner].errands.len() > 200 {
            self.count("nodes gave up");
            return None;
        }
        let named = match &sent.action {
            Action::Announce(announce) => announce.request.is_some(),
            Action::Lease(wish) => wish.request.is_some(),
            Action::AnnounceBus(wish) => wish.request.is_some(),
            Action::Judge(judgement) => judgement.request.is_some(),
            Action::Release { request, .. }
            | Action::AddTool { request, .. }
            | Action::RemoveTool { request, .. }
            | Action::RemoveBus { request, .. } => request.is_some(),
            _ => false,
        };
        if named {
            self.send_errand(owner, errand, now);
            return Some(errand);
        }
        let (action, tries) = (sent.action.clone(), sent.tries);
        let next = self.begin_errand(owner, action);
        self.owners[owner].errands[next].tries = tries + 1;
        Some(next)
    }

    /// A process that lives: it stays alive, and does this and that.
    fn live_on(&mut self, owner: usize, now: u64) {
        if self.calm || now >= self.owners[owner].leave_at {
            return self.end_of_life(owner);
        }
        if self.trouble(self.setup.sleeps / 20) {
            let longest = self.setup.ttl.1 * 2_000;
            let lasts = self.chance.between((500, longest));
            self.count("nodes slept");
            trace!(self, "owner {owner} sleeps for {lasts} ms");
            self.owners[owner].asleep = Some((self.time, self.time + lasts));
            return;
        }
        let one = &self.owners[owner];
        if let Some(errand) = one.beating {
            self.owners[owner].beating = self.again_errand(owner, errand, now);
        } else if now >= one.beat_at
            && let Some(epoch) = one.alive.as_ref().map(|alive| alive.epoch)
        {
            let ttl = self.chance.hit(self.setup.changes_ttl).then(|| self.ttl());
            let beat = Action::Beat {
                of: self.owners[owner].claim(epoch),
                ttl,
                health: None,
            };
            let errand = self.begin_errand(owner, beat);
            self.owners[owner].beating = Some(errand);
        }
        if let Some(errand) = self.owners[owner].busy {
            self.owners[owner].busy = self.again_errand(owner, errand, now);
        } else if self.chance.hit(self.setup.errands)
            && let Some(action) = self.idea(owner)
        {
            let errand = self.begin_errand(owner, action);
            self.owners[owner].busy = Some(errand);
        }
    }

    /// Its last word, or none.
    fn end_of_life(&mut self, owner: usize) {
        let leaves = self.chance.hit(self.setup.releases);
        if !self.calm && !leaves && !self.chance.hit(self.setup.dies) {
            // It stays alive no more, and uses what it has for as long as it may.
            return;
        }
        let one = &mut self.owners[owner];
        let Some(epoch) = one.alive.as_ref().map(|alive| alive.epoch) else {
            return;
        };
        let leave = Action::Leave(one.claim(epoch));
        if leaves {
            one.left.insert(epoch);
        }
        self.over(owner);
        if leaves {
            trace!(self, "owner {owner} leaves {epoch}");
            // Whatever comes of it: it never lives in that epoch again.
            let errand = self.begin_errand(owner, leave);
            self.owners[owner].busy = Some(errand);
        } else {
            self.count("nodes died");
        }
    }

    /// Something that a process does beside staying alive.
    fn idea(&mut self, owner: usize) -> Option<Action> {
        let request = self.request(self.setup.with_request_id);
        let which = self.chance.below(10);
        let epoch = self.owners[owner].alive.as_ref()?.epoch;
        let of = self.owners[owner].claim(epoch);
        let has = self.owners[owner].alive.as_ref()?.ports.len();
        match which {
            0..4 if has < PORTS_MAX => {
                let wish = self.bound_wish(owner, epoch, request);
                Some(Action::Lease(wish))
            }
            0..5 if has > 0 => self.give_back(owner, request),
            5 => {
                let name = TOOLS[self.chance.index(TOOLS.len())];
                let tool = Box::new(self.tool(name));
                Some(Action::AddTool { of, tool, request })
            }
            6 => Some(Action::RemoveTool {
                of,
                name: TOOLS[self.chance.index(TOOLS.len())].parse().unwrap(),
                version: None,
                request,
            }),
            7 => {
                let announce = self.announcement(owner, Some(epoch));
                Some(Action::Announce(Box::new(announce)))
            }
            8 => {
                let bus_id = BUSES[self.chance.index(BUSES.len())].parse().unwrap();
                if self.chance.hit(300) {
                    let requester_id = self.owners[owner].requester;
                    return Some(Action::RemoveBus {
                        requester_id,
                        bus_id,
                        request,
                    });
                }
                let (by_node, by_lease) = (self.chance.hit(700), self.chance.hit(500));
                let one = &self.owners[owner];
                let lease = one.alive.as_ref()?.ports.keys().next().copied();
                let lease_id = lease.filter(|_| by_lease);
                Some(Action::AnnounceBus(Box::new(BusWish {
                    bus_id,
                    requester_id: one.requester,
                    protocol: "jetstream".parse().unwrap(),
                    // What hangs on nothing would stay for ever.
                    node_id: (by_node || lease_id.is_none()).then(|| one.node_id.clone()),
                    lease_id,
                    more: Unknown::new(),
                    request,
                })))
            }
            9 => {
                let node_id: NodeId = NODES[self.chance.index(self.setup.names)].parse().unwrap();
                let passes = self.chance.hit(700);
                let one = &self.owners[owner];
                (node_id != one.node_id).then(|| {
                    Action::Judge(Box::new(Judgement {
                        node_id,
                        validator_id: one.node_id.clone(),
                        requester_id: one.requester,
                        outcome: if passes { Outcome::Pass } else { Outcome::Fail },
                        failure_mode: None,
                        lifecycle: None,
                        contract_hash: None,
                        request,
                    }))
                })
            }
            _ => None,
        }
    }

    fn bound_wish(&mut self, owner: usize, epoch: u64, request: Option<Request>) -> Wish {
        let own = !self.chance.hit(self.setup.other_host);
        let port = u16::try_from(self.chance.below(u64::from(self.setup.ports))).unwrap();
        let exact = self.chance.hit(self.setup.exact);
        let named = self.chance.hit(self.setup.named);
        let names_its_life = self.setup.rules.names_its_life;
        let one = &self.owners[owner];
        Wish {
            requester_id: one.requester,
            protocol: "http".parse().unwrap(),
            ttl: Ttl::try_from(1).unwrap(),
            node_id: Some(one.node_id.clone()),
            epoch: names_its_life.then_some(epoch),
            host: Some(host(own)),
            transport: Transport::Tcp,
            preferred: exact.then(|| crate::domain::ids::Port::new(20_000 + port).unwrap()),
            exact,
            name: named.then(|| "api".parse().unwrap()),
            labels: Vec::new(),
            requested_at: None,
            request,
        }
    }

    /// It uses one of its ports no longer, and says so.
    fn give_back(&mut self, owner: usize, request: Option<Request>) -> Option<Action> {
        let one = &mut self.owners[owner];
        let (lease_id, _) = one.alive.as_mut()?.ports.pop_first()?;
        one.stopped.insert(lease_id);
        Some(Action::Release {
            requester_id: one.requester,
            lease_id,
            request,
        })
    }
}
