//! The judge of what is said of nodes, tools and buses: true at some moment between request and answer.

use crate::domain::{
    command::{Action, Held, Refusal},
    ids::{LeaseId, NodeId, RequesterId},
    key::{Key, Revision},
    record::Stored,
};

use super::{check::Rule, world::World};

/// The life of a node that a request is about.
struct About {
    id: NodeId,
    epoch: Option<u64>,
    requester: Option<RequesterId>,
}

fn about(action: &Action) -> Option<About> {
    match action {
        Action::Beat { of, .. }
        | Action::Leave(of)
        | Action::AddTool { of, .. }
        | Action::RemoveTool { of, .. } => Some(About {
            id: of.node_id.clone(),
            epoch: Some(of.epoch),
            requester: Some(of.requester_id),
        }),
        Action::Lease(wish) => Some(About {
            id: wish.node_id.clone()?,
            epoch: wish.epoch,
            requester: Some(wish.requester_id),
        }),
        Action::AnnounceBus(wish) => Some(About {
            id: wish.node_id.clone()?,
            epoch: None,
            requester: Some(wish.requester_id),
        }),
        Action::Judge(judgement) => Some(About {
            id: judgement.node_id.clone(),
            epoch: None,
            requester: None,
        }),
        Action::Announce(announce) => Some(About {
            id: announce.node_id.clone(),
            epoch: None,
            requester: Some(announce.requester_id),
        }),
        _ => None,
    }
}

fn keys(id: &NodeId) -> [Key; 2] {
    [Key::Node(id.clone()), Key::Live(id.clone())]
}

impl World {
    /// Why a refusal was false all the time from `behind` to now; none when it was true once.
    pub(super) fn node_is_false(
        &self,
        behind: Revision,
        action: &Action,
        refusal: &Refusal,
    ) -> Option<String> {
        let about = about(action);
        match refusal {
            Refusal::NodeNotFound(_) => {
                let about = about?;
                let missing = |at: Revision| {
                    let node = self.check.living(&about.id, at);
                    node.is_none_or(|node| {
                        about.epoch.is_some_and(|epoch| node.live.epoch != epoch)
                    })
                };
                self.never(&keys(&about.id), behind, missing)
                    .then(|| format!("{} lived all the time", about.id))
            }
            Refusal::NodeTaken { epoch, .. } => {
                let about = about?;
                let taken = |at: Revision| {
                    let node = self.check.stored(&Key::Live(about.id.clone()), at);
                    let Some((_, Stored::Live(record))) = node else {
                        return false;
                    };
                    let live = &record.body.live;
                    live.epoch == *epoch
                        && live.ended.is_none()
                        && Some(live.requester_id) != about.requester
                };
                self.never(&keys(&about.id), behind, taken)
                    .then(|| format!("{} was never taken", about.id))
            }
            Refusal::Superseded { last, .. } => {
                let about = about?;
                let mut keys = keys(&about.id).into_iter();
                if keys.any(|key| self.check.foreign.contains_key(&key)) {
                    return None;
                }
                let asked = match action {
                    Action::Announce(announce) => announce.epoch,
                    _ => about.epoch,
                };
                let history = self.check.history.get(&Key::Live(about.id.clone()));
                let over = history.into_iter().flatten().any(|(_, stored)| {
                    let Stored::Live(record) = stored else {
                        return false;
                    };
                    let live = &record.body.live;
                    live.epoch == *last
                        && (asked.is_none_or(|asked| *last > asked) || live.ended.is_some())
                });
                (!over).then(|| format!("no life of {} is behind that", about.id))
            }
            Refusal::NotNodesHolder(_) | Refusal::NotBusHolder(_) => {
                self.is_holder(behind, action, about.as_ref())
            }
            Refusal::ToolNotFound(..) => {
                let (about, Action::RemoveTool { name, .. }) = (about?, action) else {
                    return Some("that was not asked for".to_owned());
                };
                let missing = |at: Revision| {
                    let node = self.check.living(&about.id, at);
                    node.is_none_or(|node| {
                        let mut tools = node.node.registration.tools.iter();
                        !tools.any(|tool| tool.name == *name)
                    })
                };
                self.never(&keys(&about.id), behind, missing)
                    .then(|| format!("{name} was offered all the time"))
            }
            Refusal::BusNotFound(_) => {
                let Action::RemoveBus { bus_id, .. } = action else {
                    return Some("that was not asked for".to_owned());
                };
                let key = Key::Bus(bus_id.clone());
                let missing = |at: Revision| {
                    let stored = self.check.stored(&key, at);
                    match stored {
                        Some((_, Stored::Bus(record))) => record.body.bus.ended.is_some(),
                        _ => true,
                    }
                };
                self.never(std::slice::from_ref(&key), behind, missing)
                    .then(|| format!("{bus_id} was there all the time"))
            }
            Refusal::NotValidator(_) => {
                let Action::Judge(judgement) = action else {
                    return Some("that was not asked for".to_owned());
                };
                let not = |at: Revision| {
                    let node = self.check.living(&judgement.validator_id, at);
                    node.is_none_or(|node| node.live.requester_id != judgement.requester_id)
                };
                self.never(&keys(&judgement.validator_id), behind, not)
                    .then(|| format!("{} lived all the time", judgement.validator_id))
            }
            Refusal::Inbound { why, .. } => {
                let Action::Announce(announce) = action else {
                    return Some("that was not asked for".to_owned());
                };
                let ports = &announce.registration.inbound_ports;
                let mut leases = ports.iter().filter_map(|port| port.lease_id);
                let live = leases.all(|lease_id| self.is_live(lease_id));
                live.then(|| format!("all are live, and {why:?}"))
            }
            Refusal::IdempotencyMismatch(_)
            | Refusal::TtlTooLong(_)
            | Refusal::OwnVerdict(_)
            | Refusal::OtherPort(..)
            | Refusal::NodeTooLarge(..)
            | Refusal::Frozen(_)
            | Refusal::OtherContract(..)
            | Refusal::LimitExceeded { .. } => Some("there is no reason for it".to_owned()),
            _ => None,
        }
    }

    /// Whether that lease is live now, and with it the node that it is bound to.
    pub(super) fn is_live(&self, lease_id: LeaseId) -> bool {
        let at = Revision(self.store.last);
        self.store.log.values().any(|(_, stored)| match stored {
            Stored::Port(record) => record.lease().is_some_and(|lease| {
                let life = lease.node.as_ref();
                let lasts = life.is_none_or(|life| self.check.lasts(life, at) == Some(true));
                lease.lease_id == lease_id && lasts
            }),
            _ => false,
        })
    }

    /// A lease that is bound to a node is told of only when both were there at one moment.
    pub(super) fn judge_bond(&mut self, instance: usize, held: &Held) {
        let Some(life) = &held.lease.node else {
            return;
        };
        let granted = Revision(held.lease.granted.unwrap_or(held.revision.0));
        if self.check.lasts(life, granted) == Some(false) {
            let text = format!(
                "#{instance} tells of {}, whose node had ended before @{}",
                held.key, granted.0
            );
            self.fail(Rule::TrueAnswers, text);
        }
    }

    /// Whether who is refused was the holder all the time.
    fn is_holder(
        &self,
        behind: Revision,
        action: &Action,
        about: Option<&About>,
    ) -> Option<String> {
        let other_bus = |bus_id, requester| {
            let key = Key::Bus(bus_id);
            let other = |at: Revision| match self.check.stored(&key, at) {
                Some((_, Stored::Bus(record))) => record.body.bus.requester_id != requester,
                _ => false,
            };
            !self.never(std::slice::from_ref(&key), behind, other)
        };
        let bus = match action {
            Action::AnnounceBus(wish) => other_bus(wish.bus_id.clone(), wish.requester_id),
            Action::RemoveBus {
                requester_id,
                bus_id,
                ..
            } => other_bus(bus_id.clone(), *requester_id),
            _ => false,
        };
        let node = about.is_some_and(|about| {
            let other = |at: Revision| {
                let node = self.check.living(&about.id, at);
                node.is_some_and(|node| Some(node.live.requester_id) != about.requester)
            };
            !self.never(&keys(&about.id), behind, other)
        });
        (!bus && !node).then(|| "nobody else was".to_owned())
    }

    /// Whether that was so at no moment from `behind` on.
    fn never(&self, keys: &[Key], behind: Revision, is_so: impl Fn(Revision) -> bool) -> bool {
        let moments = self.check.moments(keys, behind).into_iter();
        // Half a piece is nothing that anybody may be told of.
        let mut whole = moments.filter(|at| self.store.within(*at).is_none());
        !whole.any(is_so)
    }
}
