//! Buses.

use crate::domain::{
    bus::{Announcement, Bus, BusEnded},
    command::{Answer, BOUND_BUSES, BusWish, Decision, Effect, Refusal},
    ids::{BusId, RequesterId},
    key::{Key, Revision},
    node::Life,
    record::{Ended, Request},
    transition::{Happened, Transition},
};

use super::{Case, node::remember};

impl Case<'_> {
    /// Announces a bus, anew or again.
    pub(super) fn announce_bus(&self, wish: &BusWish) -> Result<Decision, Refusal> {
        let key = Key::Bus(wish.bus_id.clone());
        self.check_reserved(&key)?;
        let entry = self.index.nodes.bus(&wish.bus_id);
        let before = entry.and_then(|entry| Some((entry.revision, &entry.body()?.bus)));
        if let Some((revision, bus)) = before {
            let over = self.index.bus_over(bus, revision).is_some();
            if bus.ended.is_none() && over {
                // Its end is to be told before it is announced again: the reaper is about to write it.
                return Err(Refusal::Contended);
            }
            if bus.ended.is_none() && bus.requester_id != wish.requester_id {
                return Err(Refusal::NotBusHolder(wish.bus_id.clone()));
            }
            if changed_before(bus, wish.requester_id, wish.request)? {
                return Ok(Decision::Answer(Answer::Done(revision)));
            }
        }
        let node = wish.node_id.as_ref();
        let node = node
            .map(|node_id| self.living(node_id, wish.requester_id, None))
            .transpose()?;
        if let Some(lease_id) = wish.lease_id {
            self.live(wish.requester_id, lease_id)?;
        }
        let limit = self.index.policy.buses_max;
        let nodes = &self.index.nodes;
        let known = |id: &BusId| nodes.bus(id).is_some_and(|entry| !entry.forgotten);
        let coming = self.reserved.buses().filter(|id| !known(id)).count();
        if !known(&wish.bus_id) && nodes.buses_known() + coming >= limit {
            return Err(Refusal::LimitExceeded {
                what: BOUND_BUSES,
                limit,
            });
        }
        self.check_room(entry)?;
        let bus = Announcement {
            requester_id: wish.requester_id,
            protocol: wish.protocol.clone(),
            node: node.map(|node| Life {
                node_id: node.node_id.clone(),
                incarnation: node.live.incarnation,
            }),
            lease_id: wish.lease_id,
            registered_at: self.now.wall,
            ended: None,
            request: wish.request,
            earlier: before.map_or(Vec::new(), |(_, bus)| earlier(bus, None)),
            more: wish.more.clone(),
        };
        let news = before.is_none_or(|(_, bus)| bus.ended.is_some());
        let happened = self.happened(Happened::BusRegistered, Some(wish.requester_id));
        let write = self.write(key, entry, Bus { bus }, news.then_some(happened));
        Ok(Decision::Commit {
            writes: vec![write],
            answer: Answer::Done(Revision::default()),
            then: Effect::Seen,
        })
    }

    /// Ends a bus for who announced it. Again: the same.
    pub(super) fn remove_bus(
        &self,
        requester_id: RequesterId,
        bus_id: &BusId,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        self.check_reserved(&Key::Bus(bus_id.clone()))?;
        let entry = self.index.nodes.bus(bus_id);
        let bus = entry.and_then(|entry| Some((entry.revision, &entry.body()?.bus)));
        let (revision, bus) = bus.ok_or_else(|| Refusal::BusNotFound(bus_id.clone()))?;
        if bus.requester_id != requester_id {
            // One that has ended is nobody's, as with nodes.
            return Err(if bus.ended.is_some() {
                Refusal::BusNotFound(bus_id.clone())
            } else {
                Refusal::NotBusHolder(bus_id.clone())
            });
        }
        if changed_before(bus, requester_id, request)? || bus.ended.is_some() {
            return Ok(Decision::Answer(Answer::Done(revision)));
        }
        let bus = Announcement {
            request: None,
            earlier: earlier(bus, request),
            ..bus.clone()
        };
        Ok(self.end_bus(bus_id, &bus, Ended::Released))
    }

    /// The write that ends a bus.
    pub(super) fn end_bus(&self, bus_id: &BusId, bus: &Announcement, how: Ended) -> Decision {
        let happened = self.happened(Happened::BusRemoved, Some(bus.requester_id));
        let bus = Announcement {
            ended: Some(BusEnded {
                how,
                at: self.now.wall,
            }),
            ..bus.clone()
        };
        let happened = Transition {
            outcome: Some(how),
            ..happened
        };
        let entry = self.index.nodes.bus(bus_id);
        let write = self.write(Key::Bus(bus_id.clone()), entry, Bus { bus }, Some(happened));
        Decision::Commit {
            writes: vec![write],
            answer: Answer::Done(Revision::default()),
            then: Effect::Seen,
        }
    }
}

/// Whether that request has announced or ended the bus already.
fn changed_before(
    bus: &Announcement,
    requester_id: RequesterId,
    request: Option<Request>,
) -> Result<bool, Refusal> {
    let Some(request) = request else {
        return Ok(false);
    };
    let mut remembered = bus.request.iter().chain(&bus.earlier);
    match remembered.find(|remembered| remembered.id == request.id) {
        // An id belongs to its requester.
        Some(same) if *same != request && bus.requester_id == requester_id => {
            Err(Refusal::IdempotencyMismatch(request.id))
        }
        same => Ok(same == Some(&request)),
    }
}

/// The requests that a bus has come from, with another one.
fn earlier(bus: &Announcement, request: Option<Request>) -> Vec<Request> {
    let mut earlier = bus.earlier.clone();
    remember(&mut earlier, bus.request);
    remember(&mut earlier, request);
    earlier
}
