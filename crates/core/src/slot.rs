//! A record in its place: with what an instance knows of it besides.

use jiff::Timestamp;
use onex_types::time::{MonoMillis, Now, slack};

use crate::{
    entry::Kept,
    execution::RUN_LATE_MILLIS,
    key::Key,
    lease::{Cooldown, Last, Lease, LeaseEnd, cooldown_millis, was_told},
    mechanism::{Mechanism, Mechanisms},
    pool::PortState,
    record::Record,
    record_parts::Request,
};

/// A record in its place.
#[derive(Debug, Clone)]
pub struct Slot {
    /// What is stored.
    pub record: Record,
    /// The revision of the command that last changed it, a renewal included.
    pub revision: u64,
    /// When that was, for people.
    pub at: Timestamp,
    /// Whether it is a grant that its granter may still roll back.
    pub tentative: bool,
    /// How many events its key has had: the number of the last one.
    pub event_count: u64,
    /// When this instance applied that change: its TTL counts from here.
    pub since: MonoMillis,
    /// How long the record is in a snapshot, in bytes, without its key.
    pub(crate) bytes: usize,
    /// What the port is by this instance's clock, as its pool counts it.
    pub(crate) state: PortState,
    /// The timer that is armed for it; [`MonoMillis::NEVER`] if none.
    pub(crate) armed: MonoMillis,
}

/// When and where a change happens.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The revision of its command.
    pub revision: u64,
    /// When it was decided, for people.
    pub at: Timestamp,
    /// What the time is here.
    pub now: Now,
}

impl Stamp {
    /// When a TTL begins to count: now, whatever anybody's clock said when it was written.
    pub(crate) fn since(self, mechanisms: Mechanisms) -> MonoMillis {
        if mechanisms.on(Mechanism::OwnClock) {
            return self.now.mono;
        }
        let age = self.now.wall.as_millisecond() - self.at.as_millisecond();
        MonoMillis(
            self.now
                .mono
                .0
                .saturating_sub(u64::try_from(age).unwrap_or(0)),
        )
    }
}

/// What stands around a record in a snapshot, in bytes.
const KEPT_BYTES: usize = 96;

/// How long a record is as JSON.
fn written_bytes(record: &Record) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Nothing that cannot be written is put: see Txn.
    let _ = serde_json::to_writer(&mut count, record);
    count.0
}

impl Slot {
    pub(crate) fn new(
        record: Record,
        stamp: Stamp,
        tentative: bool,
        mechanisms: Mechanisms,
    ) -> Self {
        Self {
            bytes: KEPT_BYTES + written_bytes(&record),
            record,
            revision: stamp.revision,
            at: stamp.at,
            tentative,
            event_count: 0,
            since: stamp.since(mechanisms),
            state: PortState::Free,
            armed: MonoMillis::NEVER,
        }
    }

    /// As a snapshot keeps it.
    pub fn kept(&self, key: &Key) -> Kept {
        Kept {
            key: key.clone(),
            rev: self.revision,
            at: self.at,
            tentative: self.tentative,
            event_count: self.event_count,
            record: self.record.clone(),
        }
    }

    /// When its time is up, by this instance's clock: of a lease or node, when it ends; of a port that cools down, when it
    /// is free; of a node or bus that has ended, when it is forgotten. None where time changes nothing.
    pub(crate) fn due(&self, mechanisms: Mechanisms) -> Option<MonoMillis> {
        let millis = match &self.record {
            Record::Lease(lease) if lease.owner.is_none() => lease.ttl.millis(),
            Record::Cooldown(cooldown) if cooldown.cooldown_ms > 0 => cooldown.cooldown_ms,
            Record::Live(live) => match &live.ended {
                Some(ended) => ended.kept_ms,
                None => live.ttl.millis(),
            },
            Record::Bus(bus) => bus.ended?.kept_ms,
            Record::Call(call) if call.ended.is_some() => call.timer_millis(),
            Record::Call(_) | Record::Run(_) if !mechanisms.on(Mechanism::UnknownInTime) => {
                return None;
            }
            Record::Call(call) => call.timer_millis(),
            Record::Run(run) => run.timeout_ms.saturating_add(RUN_LATE_MILLIS),
            _ => return None,
        };
        let longer = if mechanisms.on(Mechanism::Slack) {
            slack(millis)
        } else {
            0
        };
        Some(self.since.plus(millis.saturating_add(longer)))
    }

    /// When a timer has to be armed for what the record asks for. One that fires early looks again: only where the one that
    /// is armed would fire late.
    pub(crate) fn arm(&mut self, now: MonoMillis, mechanisms: Mechanisms) -> Option<MonoMillis> {
        let due = self.due(mechanisms);
        let due = due.filter(|due| *due > now || self.ends_in_time());
        let due = due.filter(|due| self.armed > *due)?;
        self.armed = due;
        Some(due)
    }

    /// Whether a command ends it when its time is up.
    pub(crate) fn ends_in_time(&self) -> bool {
        matches!(
            self.record,
            Record::Lease(_) | Record::Live(_) | Record::Bus(_) | Record::Call(_) | Record::Run(_)
        )
    }

    pub(crate) fn state_at(&self, now: MonoMillis, mechanisms: Mechanisms) -> PortState {
        match &self.record {
            Record::Lease(_) | Record::Member(_) => PortState::Held,
            Record::Cooldown(cooldown) => {
                let over = self.due(mechanisms).is_none_or(|due| due <= now);
                match cooldown.how {
                    _ if over => PortState::Free,
                    LeaseEnd::InUse | LeaseEnd::Rebound => PortState::Quarantined,
                    LeaseEnd::Released
                    | LeaseEnd::Expired
                    | LeaseEnd::Superseded
                    | LeaseEnd::Revoked => PortState::Resting,
                }
            }
            _ => PortState::Free,
        }
    }
}

/// What is kept of a lease that ends.
pub(crate) fn ended(
    lease: &Lease,
    how: LeaseEnd,
    cooldown_ms: Option<u64>,
    release: Option<Request>,
    at: Timestamp,
) -> Cooldown {
    Cooldown {
        how,
        ended_at: at,
        cooldown_ms: cooldown_ms.unwrap_or_else(|| cooldown_millis(how)),
        holder_ms: 0,
        reason: None,
        last: Last {
            lease_id: lease.lease_id,
            requester_id: lease.requester_id,
            name: lease.name.clone(),
            holder: lease.holder.clone(),
            fence: lease.fence,
            request: lease.request.filter(|_| was_told(how)),
            release,
            part: false,
        },
    }
}

/// The same of a port whose lease is or was under another key, which remembers its requests.
pub(crate) fn ended_part(
    lease: &Lease,
    how: LeaseEnd,
    cooldown_ms: Option<u64>,
    at: Timestamp,
) -> Cooldown {
    let mut cooldown = ended(lease, how, cooldown_ms, None, at);
    cooldown.last.request = None;
    cooldown.last.part = true;
    cooldown
}
