//! Renewal.

use crate::domain::{
    command::{Answer, Decision, Effect, Held, Refusal},
    ids::{LeaseId, RequesterId, Ttl},
    key::{Key, Revision},
    mechanism::Mechanism,
    record::{Body, Lease, Request},
    standing::Standing,
};

use super::Case;

impl Case<'_> {
    /// The lease lasts its TTL again, from when this write is first seen. A lease that is due can be
    /// renewed as well: it has not ended.
    pub(super) fn renew(
        &self,
        requester_id: RequesterId,
        lease_id: LeaseId,
        ttl: Option<Ttl>,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        if ttl > Some(self.index.policy.ttl_max) {
            return Err(Refusal::TtlTooLong(self.index.policy.ttl_max.seconds()));
        }
        self.check_digest(requester_id, request)?;
        let live = self.live(requester_id, lease_id)?;
        if !self.index.mechanisms.on(Mechanism::EndingIsAWrite)
            && self.index.standing(live.key, self.now.mono) == Standing::Due
        {
            return Err(Refusal::LeaseExpired(lease_id, live.key.port));
        }
        self.check_reserved(&Key::Port(live.key.clone()))?;
        let repeated = request.is_some() && live.lease.renewal == request;
        let written = live
            .entry
            .record
            .as_ref()
            .is_some_and(|record| record.write == self.command.id);
        // One that is bound to a node needs no renewal; it is only told of as one that stays.
        let bound = live.lease.node.is_some() && !live.lease.unanswered;
        if repeated || written || bound {
            return Ok(Decision::Answer(Answer::Lease(self.held(&live))));
        }
        // A holder whose reply was lost counts the longer of two times.
        let ttl = match ttl {
            Some(ttl) if !self.index.mechanisms.on(Mechanism::OnlyLengthens) => ttl,
            ttl => ttl.map_or(live.lease.ttl, |ttl| ttl.max(live.lease.ttl)),
        };
        let lease = Lease {
            ttl,
            renewed_at: self.now.wall,
            granted: Some(live.lease.granted.unwrap_or(live.entry.revision.0)),
            renewal: request,
            unanswered: false,
            ..live.lease.clone()
        };
        let held = self.held(&live);
        Ok(Decision::Commit {
            writes: vec![self.write_port(live.key, Body::Lease(lease.clone()), None)],
            answer: Answer::Lease(Held {
                revision: Revision::default(),
                since: if lease.node.is_some() {
                    held.since
                } else {
                    self.now.mono
                },
                lease,
                ..held
            }),
            then: Effect::Reply,
        })
    }
}
