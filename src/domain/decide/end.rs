//! Ends of leases: release, expiry, and grants that are taken back.

use crate::domain::{
    command::{Answer, Decision, Effect, Refusal},
    ids::{LeaseId, RequesterId},
    key::{Key, PortKey, Revision},
    mechanism::Mechanism,
    record::{Body, Ended, Last, Request, Rest},
    standing::Standing,
};

use super::{Case, LiveLease};

impl Case<'_> {
    /// Its holder gives it back. Once it has ended the answer says how, as long as that is remembered.
    pub(super) fn release(
        &self,
        requester_id: RequesterId,
        lease_id: LeaseId,
        request: Option<Request>,
    ) -> Result<Decision, Refusal> {
        self.check_digest(requester_id, request)?;
        match self.live(requester_id, lease_id) {
            Ok(live) => {
                self.check_reserved(&Key::Port(live.key.clone()))?;
                Ok(self.end(live.key, Ended::Released, request))
            }
            Err(Refusal::LeaseExpired(..)) => self.ended(lease_id),
            Err(refusal) => Err(refusal),
        }
    }

    fn ended(&self, lease_id: LeaseId) -> Result<Decision, Refusal> {
        let found = self.index.find_lease(lease_id);
        let (key, entry) = found.ok_or(Refusal::LeaseNotFound(lease_id))?;
        if let Some((ended, _)) = self.index.lease_over(key) {
            // It ended with its node, and the port's record does not say so yet.
            self.check_reserved(&Key::Port(key.clone()))?;
            return Ok(self.end(key, ended, None));
        }
        let rest = entry.rest().ok_or(Refusal::LeaseNotFound(lease_id))?;
        Ok(Decision::Answer(Answer::Ended {
            lease_id,
            ended: rest.ended,
            at: rest.ended_at,
            revision: entry.revision,
        }))
    }

    /// Its time is up, by this instance's clock. If another one has renewed it, the write is lost.
    pub(super) fn expire(&self, key: &PortKey) -> Result<Decision, Refusal> {
        self.check_reserved(&Key::Port(key.clone()))?;
        if self.index.standing(key, self.now.mono) != Standing::Due {
            return Ok(Decision::Answer(Answer::Nothing));
        }
        if let Some((ended, _)) = self.index.lease_over(key) {
            return Ok(self.end(key, ended, None));
        }
        let known = self
            .index
            .entry(key)
            .is_some_and(|entry| entry.record.is_some());
        Ok(self.end(
            key,
            if known {
                Ended::Expired
            } else {
                Ended::Overwritten
            },
            None,
        ))
    }

    /// The caller of that grant never got it; unless another command has told it in the meantime.
    pub(super) fn withdraw(
        &self,
        key: &PortKey,
        lease_id: LeaseId,
        ended: Ended,
    ) -> Result<Decision, Refusal> {
        let entry = self.index.entry(key);
        let Some((entry, lease)) = entry.and_then(|entry| Some((entry, entry.lease()?))) else {
            return Ok(Decision::Answer(Answer::Nothing));
        };
        if lease.lease_id != lease_id {
            return Ok(Decision::Answer(Answer::Nothing));
        }
        if !self.may_take_back(lease) {
            let held = self.held(&LiveLease { key, entry, lease });
            return Ok(Decision::Answer(Answer::Lease(held)));
        }
        self.check_reserved(&Key::Port(key.clone()))?;
        Ok(self.end(key, ended, None))
    }

    fn rest_millis(&self, key: &PortKey, ended: Ended) -> u64 {
        if ended == Ended::Superseded && !self.index.mechanisms.on(Mechanism::SupersededRests) {
            return 0;
        }
        let over = self.index.lease_over(key);
        ended.rest_millis(over.map_or(self.index.ttl_longest(), |(_, ttl)| ttl))
    }

    /// The write that ends what is under `key`.
    pub(super) fn end(&self, key: &PortKey, ended: Ended, release: Option<Request>) -> Decision {
        let entry = self.index.entry(key);
        let lease = entry.and_then(|entry| entry.lease());
        let last = entry.zip(lease).map(|(entry, lease)| {
            // A caller that never got this lease may ask again under the same id.
            let got = !matches!(ended, Ended::InUse | Ended::Duplicate | Ended::NodeGone)
                && self.index.mechanisms.on(Mechanism::Replay);
            Last {
                lease_id: lease.lease_id,
                requester_id: lease.requester_id,
                name: lease.name.clone(),
                granted: lease.granted.unwrap_or(entry.revision.0),
                request: lease.request.filter(|_| got),
                release,
            }
        });
        let answer = lease.map_or(Answer::Nothing, |lease| Answer::Ended {
            lease_id: lease.lease_id,
            ended,
            at: self.now.wall,
            revision: Revision::default(),
        });
        let happened = self.transition(ended.event(), lease, Some(ended));
        let rest = Rest {
            last,
            ended,
            ended_at: self.now.wall,
            rest_ms: self.rest_millis(key, ended),
        };
        Decision::Commit {
            writes: vec![self.write_port(key, Body::Rest(rest), Some(happened))],
            answer,
            then: Effect::Reply,
        }
    }
}
