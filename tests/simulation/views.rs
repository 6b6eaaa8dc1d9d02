//! What an instance lists and describes, held against what is so.

use std::collections::BTreeSet;

use crate::domain::{
    ids::NodeId,
    index::Index,
    key::{Key, PortKey, Revision},
    node::{Life, Live},
    nodes::Seen,
    record::{Body, Ended, Stored},
    standing::{Bond, Standing},
    time::Moment,
    trust::Trust,
};

use super::{
    check::{Check, Fate, Rule, True},
    owner::{bus_ids, node_ids, tool_names},
    store::Piece,
    world::World,
};

impl World {
    /// An instance has seen another message, and there is nothing behind it if `exact`.
    pub(super) fn compare(&mut self, instance: usize, exact: bool) {
        if self.setup.owners == 0 {
            return;
        }
        let index = &self.instances[instance].core.index;
        let names = self.setup.names;
        let mut text = node_ids(names).find_map(|id| half(index, &id));
        if exact {
            let (check, at) = (&self.check, index.applied());
            let now = self.now(instance).mono;
            text = text
                .or_else(|| node_ids(names).find_map(|id| node(index, check, at, &id)))
                .or_else(|| lists(index, check, at, names))
                .or_else(|| self.hangs(index, at, now));
            self.count("comparisons");
        }
        self.judge_view(instance, text);
    }

    /// An instance has seen a message of `piece`, which is not its last. What it shows is what was so before,
    /// or what is so behind it, when it knew all that was `known` before; so is what it holds if it takes
    /// the point for an `exact` one.
    pub(super) fn compare_within(
        &mut self,
        instance: usize,
        exact: bool,
        known: bool,
        piece: Piece,
    ) {
        if self.setup.owners == 0 {
            return;
        }
        let index = &self.instances[instance].core.index;
        let (check, names) = (&self.check, self.setup.names);
        let now = self.now(instance).mono;
        let mut text = node_ids(names).find_map(|id| half(index, &id));
        if exact || known {
            let wrong = piece.around().map(|at| {
                node_ids(names)
                    .find_map(|id| content(index, check, at, &id))
                    .or_else(|| lists(index, check, at, names))
                    .or_else(|| self.hangs(index, at, now).filter(|_| exact))
            });
            if let [Some(before), Some(behind)] = wrong {
                text = text.or_else(|| Some(format!("half a piece: {before}; {behind}")));
            }
            self.count("halves compared");
        }
        self.judge_view(instance, text);
    }

    fn judge_view(&mut self, instance: usize, text: Option<String>) {
        if let Some(text) = text {
            let at = self.instances[instance].core.index.applied().0;
            self.fail(Rule::Described, format!("#{instance} @{at}: {text}"));
        }
    }

    /// What hangs on nodes and leases.
    fn hangs(&self, index: &Index, at: Revision, now: Moment) -> Option<String> {
        let (check, ports) = (&self.check, self.ports());
        ports
            .iter()
            .find_map(|key| port(index, check, at, now, key))
            .or_else(|| bound(index, check, at, self.setup.names, &ports))
            .or_else(|| buses(index, check, at))
    }
}

/// What was announced for one life is never shown with another one.
fn half(index: &Index, id: &NodeId) -> Option<String> {
    let seen = index.nodes.seen(id)?;
    let (said, lives) = (seen.node.incarnation, seen.live.incarnation);
    (said != lives).then(|| format!("{id}: what {said} announced is shown as of {lives}"))
}

/// A node as it is, and where in the stream.
fn node(index: &Index, check: &Check, at: Revision, id: &NodeId) -> Option<String> {
    described(index, check, at, id, |seen, truth| {
        seen.said_at == truth.said_at && seen.live == truth.live && seen.revision == truth.lives_at
    })
}

/// The same, whatever may have been written again as it was: then its life was renewed.
fn content(index: &Index, check: &Check, at: Revision, id: &NodeId) -> Option<String> {
    described(index, check, at, id, |seen, truth| {
        let renewed_at = seen.live.renewed_at;
        let truth = Live {
            renewed_at,
            ..truth.live.clone()
        };
        *seen.live == truth
    })
}

fn described(
    index: &Index,
    check: &Check,
    at: Revision,
    id: &NodeId,
    same: impl Fn(&Seen<'_>, &True<'_>) -> bool,
) -> Option<String> {
    let seen = index.nodes.seen(id);
    let truth = check.node(id, at);
    let same = match (&seen, &truth) {
        (Some(seen), Some(truth)) => {
            let contract = &truth.node.registration.contract_hash;
            seen.node == truth.node
                && same(seen, truth)
                && index.nodes.trust(seen) == check.trust(id, contract, at)
        }
        (None, None) => true,
        _ => false,
    };
    let short = |at: Revision, live: &Live, trust: Trust| {
        let Live { epoch, ended, .. } = live;
        let ended = ended.map(|ended| ended.how);
        let at = at.0;
        format!("epoch {epoch}, ended {ended:?}, announced @{at}, {trust:?}")
    };
    let truth = truth.map(|truth| {
        let trust = check.trust(id, &truth.node.registration.contract_hash, at);
        short(truth.said_at, truth.live, trust)
    });
    let seen = seen.map(|seen| short(seen.said_at, seen.live, index.nodes.trust(&seen)));
    (!same).then(|| format!("{id} is shown as {seen:?}, and is {truth:?}"))
}

/// Lists of nodes, and of tools with those that offer them.
fn lists(index: &Index, check: &Check, at: Revision, names: usize) -> Option<String> {
    let listed: Vec<NodeId> = index
        .nodes
        .all(None)
        .map(|seen| seen.node_id.clone())
        .collect();
    let mut known: Vec<NodeId> = node_ids(names)
        .filter(|id| check.node(id, at).is_some())
        .collect();
    known.sort();
    if listed != known {
        return Some(format!("{listed:?} are listed, not {known:?}"));
    }
    let named: BTreeSet<_> = index.nodes.tool_names(None).cloned().collect();
    tool_names().find_map(|tool| {
        let offers = |id: &NodeId| {
            check.living(id, at).is_some_and(|node| {
                let mut tools = node.node.registration.tools.iter();
                tools.any(|other| other.name == tool)
            })
        };
        let offered: BTreeSet<NodeId> = node_ids(names).filter(offers).collect();
        let shown: BTreeSet<NodeId> = index
            .nodes
            .providers(&tool)
            .map(|seen: Seen<'_>| seen.node_id.clone())
            .collect();
        let missing = !offered.is_empty() && !named.contains(&tool);
        (shown != offered || missing)
            .then(|| format!("{tool} is shown as of {shown:?}, and is of {offered:?}; {named:?}"))
    })
}

/// A port is held for exactly as long as what it hangs on lasts, and ends as that did.
fn port(index: &Index, check: &Check, at: Revision, now: Moment, key: &PortKey) -> Option<String> {
    let (_, stored) = check.stored(&Key::Port(key.clone()), at)?;
    let standing = index.standing(key, now);
    let taken = matches!(standing, Standing::Held(_) | Standing::Due);
    let Stored::Port(record) = stored else {
        return (!taken).then(|| format!("{key} is {standing:?}, and nobody knows whose"));
    };
    let lease = match &record.body {
        Body::Rest(rest) => {
            return taken.then(|| format!("{key} is {standing:?}, and rests: {rest:?}"));
        }
        Body::Lease(lease) => lease,
    };
    let Some(life) = &lease.node else {
        return (!taken).then(|| format!("{key} is {standing:?}, and leased"));
    };
    let lasts = check.lasts(life, at)?;
    let right = if lasts {
        standing == Standing::Held(Moment::NEVER)
    } else {
        standing == Standing::Due
    };
    if !right {
        return Some(format!("{key} is {standing:?}, its node lives: {lasts}"));
    }
    let entry = index.entry(key)?;
    let how = match (index.bond(entry), check.fates.get(&life.incarnation)?) {
        (Some(Bond::Over(how, _)), fate) => (how, fate),
        _ => return None,
    };
    let wrong = matches!(how, (Ended::Released | Ended::Expired, Fate::Superseded));
    wrong.then(|| format!("{key} ended as {:?}, its node's life as {:?}", how.0, how.1))
}

/// What is looked up by node.
fn bound(
    index: &Index,
    check: &Check,
    at: Revision,
    names: usize,
    ports: &[PortKey],
) -> Option<String> {
    node_ids(names).find_map(|id| {
        let of = |key: &&PortKey| match check.stored(&Key::Port((*key).clone()), at) {
            Some((_, Stored::Port(record))) => record
                .lease()
                .and_then(|lease| lease.node.as_ref())
                .is_some_and(|life| life.node_id == id),
            _ => false,
        };
        let truth: BTreeSet<&PortKey> = ports.iter().filter(of).collect();
        let shown: BTreeSet<&PortKey> = index.lookup.bound_to(&id, None).collect();
        (truth != shown).then(|| format!("{shown:?} are shown as bound to {id}, not {truth:?}"))
    })
}

/// A bus is active for exactly as long as what it hangs on.
fn buses(index: &Index, check: &Check, at: Revision) -> Option<String> {
    bus_ids().find_map(|id| {
        let truth = match check.stored(&Key::Bus(id.clone()), at) {
            Some((_, Stored::Bus(record))) => Some(&record.body.bus),
            _ => None,
        };
        let entry = index.nodes.bus(&id);
        let shown = entry.and_then(|entry| Some(&entry.body()?.bus));
        if truth != shown {
            return Some(format!("{id} is shown as {shown:?}, and is {truth:?}"));
        }
        let (bus, entry) = (truth?, entry?);
        // Who was told what is not known of a life that was overwritten.
        let lasts = |life: &Life| check.lasts(life, at).unwrap_or(true);
        let node = bus.node.as_ref().is_none_or(lasts);
        let lease = bus.lease_id.is_none_or(|lease_id| {
            check.history.keys().any(|key| {
                let Some((_, Stored::Port(record))) = check.stored(key, at) else {
                    return false;
                };
                record.lease().is_some_and(|lease| {
                    lease.lease_id == lease_id && lease.node.as_ref().is_none_or(lasts)
                })
            })
        });
        let over = index.bus_over(bus, entry.revision);
        ((node && lease) == over.is_some())
            .then(|| format!("{id} is over: {over:?}; its node lives: {node}, its lease: {lease}"))
    })
}
