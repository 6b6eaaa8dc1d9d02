//! From what the index knows to what the wire says.

use jiff::SignedDuration;

use crate::{
    domain::{
        command::{Answer, Held, Probed},
        ids::{Host, Transport},
        index::Index,
        key::Revision,
        policy::Policy,
        pool::Pool,
        record::Ended,
        time::Moment,
    },
    protocol::{
        error::{Error, ErrorCode},
        pool::PoolItem,
        port::{Availability, EndStatus, LeaseReply, LeaseStatus, ReleaseReply},
    },
};

/// A heartbeat is due after this part of what is left.
const RENEW_AFTER_PART: u64 = 3;

/// The lease as its holder and everyone else sees it; true for `revision` or for its own, if that is later.
pub(super) fn lease(held: Held, revision: Revision, lineage: u64, now: Moment) -> LeaseReply {
    let Held {
        key,
        lease,
        revision: own,
        since,
        ..
    } = held;
    let left = lease.ttl.millis().saturating_sub(now.since(since));
    let ttl = SignedDuration::from_secs(lease.ttl.seconds().into());
    LeaseReply {
        lease_id: lease.lease_id,
        status: LeaseStatus::Active,
        port: lease.ports.first().copied().unwrap_or(key.port),
        ports: lease.ports,
        host: key.host,
        transport: key.transport,
        protocol: lease.protocol,
        requester_id: lease.requester_id,
        assigned_to: lease.requester_id,
        node_id: lease.node.map(|life| life.node_id),
        name: lease.name,
        labels: lease.labels,
        ttl: lease.ttl,
        requested_at: lease.requested_at,
        granted_at: lease.granted_at,
        expires_at: lease
            .renewed_at
            .saturating_add(ttl)
            .unwrap_or(lease.renewed_at),
        expires_in_ms: left,
        renew_after_ms: left / RENEW_AFTER_PART,
        fencing_token: own.wire(lineage),
        revision: revision.max(own).wire(lineage),
        availability: None,
        verified_on: None,
        warnings: Vec::new(),
        ignored: Vec::new(),
    }
}

/// The reply to a grant: with what trying the port said.
pub(super) fn granted(held: Held, revision: Revision, lineage: u64, now: Moment) -> LeaseReply {
    let verified = held.probed == Some(Probed::Bindable);
    let host = held.key.host.clone();
    LeaseReply {
        availability: Some(if verified {
            Availability::Verified
        } else {
            Availability::Unverified
        }),
        verified_on: verified.then_some(host),
        ..lease(held, revision, lineage, now)
    }
}

/// The reply to a release; true for `applied` or for its own revision, if that is later.
pub(super) fn released(
    answer: &Answer,
    applied: Revision,
    lineage: u64,
) -> Result<ReleaseReply, Error> {
    match *answer {
        Answer::Ended {
            lease_id,
            ended,
            at,
            revision,
        } => Ok(ReleaseReply {
            lease_id,
            status: if ended == Ended::Released {
                EndStatus::Released
            } else {
                EndStatus::Expired
            },
            released_at: at,
            revision: applied.max(revision).wire(lineage),
            ignored: Vec::new(),
        }),
        Answer::Lease(_)
        | Answer::Node(_)
        | Answer::Execution { .. }
        | Answer::Done(_)
        | Answer::Nothing => Err(Error::new(ErrorCode::Internal, "a release ended nothing")),
    }
}

/// A pool with its numbers.
pub(super) fn pool(policy: &Policy, host: &Host, transport: Transport, pool: &Pool) -> PoolItem {
    let counts = pool.counts();
    PoolItem {
        host: host.clone(),
        transport,
        ranges: policy.ranges.iter().copied().map(Into::into).collect(),
        reserved: policy.reserved.iter().copied().map(Into::into).collect(),
        capacity: counts.capacity,
        held: counts.held,
        resting: counts.resting,
        quarantined: counts.quarantined,
        free: counts.free,
    }
}

/// A live lease of the index.
pub(super) fn held(index: &Index, key: &crate::domain::key::PortKey) -> Option<Held> {
    let entry = index.entry(key)?;
    let lease = entry.lease()?.clone();
    // One that has ended with its node is no longer there, though the port's record does not say so yet.
    let over = lease.node.is_some() && index.lease_over(key).is_some();
    (!over).then(|| index.held(key, entry, lease))
}
