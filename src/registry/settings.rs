//! What an instance is told at its start.

use std::time::Duration;

pub use onex_log::Size;
use onex_types::{
    ids::{Host, Invalid, Port, Ttl},
    ports::PortRange,
};

use crate::{
    connect,
    protocol::{inbox::Inboxes, names::Namespace, subject::ToolSubjects},
};

use super::high_water::Notes;

/// Leases that one requester may hold: as many as one heartbeat can renew.
pub const HOLDER_LEASES_MAX: usize = crate::protocol::port::HEARTBEAT_LEASES_MAX;
/// Hosts for which ports are kept. Each takes about 80 KiB of memory, for good.
pub const HOSTS_MAX: usize = 1_024;
/// Nodes that may be known, those that have ended and are still remembered included.
pub const NODES_MAX: usize = 10_000;
/// Buses that may be known, those that have ended and are still remembered included.
pub const BUSES_MAX: usize = 10_000;
/// Seconds for which a node or bus that has ended is remembered: an hour.
pub const RETENTION_SECONDS: u64 = 3_600;
/// Requests under way at the same time; one more is BUSY.
pub const REQUESTS_IN_FLIGHT_MAX: u32 = 1_024;
/// Calls of tools under way at the same time; one more is BUSY.
pub const INVOKES_MAX: u32 = 1_024;
/// Calls that one provider may have under way from one instance.
pub const INVOKES_PER_PROVIDER_MAX: u32 = 64;
/// Calls that may wait until one provider has room, at one instance.
pub const INVOKE_QUEUE_MAX: usize = 1_024;
/// Calls with a request id that may be remembered. One takes about a kilobyte of memory, and its result up to 16 more.
pub const CALLS_MAX: usize = 16_384;
/// Seconds for which the outcome of a call with a request id is remembered: ten minutes.
pub const CALLS_KEPT_SECONDS: u64 = 600;
/// Seconds for which that can be told to be remembered, at most: a day.
pub const CALLS_KEPT_SECONDS_MAX: u64 = 86_400;
/// Bytes of events that are kept where nobody says how many; the oldest go first: 1 GiB.
pub const EVENTS_BYTES_MAX: u64 = 1 << 30;
/// How many bytes the log may take where it is created and nobody says it: 4 GiB.
pub const STORE_BYTES_MAX: u64 = 4 << 30;
/// How many bytes it can be told to take, at least: room for the largest record, and for snapshots of it.
pub const STORE_BYTES_MAX_MIN: u64 = 4 << 20;
/// Seconds that an event is kept: seven days.
pub const EVENTS_AGE_SECONDS: u64 = 7 * 24 * 60 * 60;
/// Seconds that an event can be told to be kept, at most: a hundred years. The server counts nanoseconds
/// in 64 bits.
pub const EVENTS_AGE_SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;
/// What is granted unless told otherwise: below the range from which Linux takes ports for outgoing
/// connections (32768-60999 by default), above what services are registered for in practice.
pub const RANGES_DEFAULT: &str = "20000-29999";

/// An instance's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which of the settings that all instances share somebody gave, by the names under which a log keeps them.
    pub given: Vec<&'static str>,
    /// Keeps registries on one NATS system apart.
    pub namespace: Namespace,
    /// Where it runs; the default of a request's `host`.
    pub host: Host,
    /// Whether ports of that host are tried after a grant.
    pub probe: bool,
    /// What is granted.
    pub ranges: Vec<PortRange>,
    /// What is never granted.
    pub reserved: Vec<PortRange>,
    /// The longest TTL.
    pub ttl_max: Ttl,
    /// Copies of the bucket and of the stream of events; none for those that the bucket has, or for a new one as many
    /// as there are servers, at most 3.
    pub replicas: Option<usize>,
    /// Bytes of events that are kept, where this instance makes their stream.
    pub events_size: Size,
    /// How long an event is kept, where this instance makes their stream; absent where nobody chose that.
    pub events_age_max: Option<Duration>,
    /// How the log is reached, where that is not how requests are.
    pub store: Option<connect::Options>,
    /// How many bytes the log may take.
    pub store_size: Size,
    /// After how many bytes of entries a snapshot of the log is due, where it is not the usual number.
    pub snapshot_bytes: Option<usize>,
    /// Where it is noted how far the store is; nowhere where there is no folder for it.
    pub notes: Option<Notes>,
    /// Whether hosts that have no pool yet are refused.
    pub known_hosts_only: bool,
    /// Leases that one requester may hold.
    pub holder_leases_max: usize,
    /// Hosts for which ports are kept.
    pub hosts_max: usize,
    /// Nodes that may be known.
    pub nodes_max: usize,
    /// Buses that may be known.
    pub buses_max: usize,
    /// For how long a node or bus that has ended is remembered.
    pub retention: Duration,
    /// Where answers may be sent.
    pub inboxes: Inboxes,
    /// Where tools may listen.
    pub tool_subjects: ToolSubjects,
    /// Calls with a request id that may be remembered.
    pub calls_max: usize,
    /// For how long the outcome of such a call is remembered.
    pub calls_kept: Duration,
    /// Requests under way at the same time.
    pub requests_in_flight_max: u32,
    /// Calls of tools under way at the same time.
    pub invokes_max: u32,
    /// Calls that one provider may have under way from this instance.
    pub invokes_per_provider_max: u32,
    /// Calls that may wait until one provider has room.
    pub invoke_queue_max: usize,
}

impl Settings {
    /// Where the log is, and how it is made.
    pub(super) fn log(&self, nats: &connect::Options) -> onex_log::Options {
        onex_log::Options {
            nats: self.store.as_ref().unwrap_or(nats).clone(),
            bucket: self.namespace.bucket(),
            replicas: self.replicas,
            size: self.store_size,
        }
    }

    /// Copies of what is derived from a log with so many: as many, where it is kept by the same server.
    pub(super) fn derived_replicas(&self, log: usize) -> Option<usize> {
        match self.store {
            None => Some(log),
            Some(_) => self.replicas,
        }
    }

    /// All defaults, on that host.
    pub fn on(host: Host) -> Self {
        Self {
            given: Vec::new(),
            namespace: Namespace::default(),
            host,
            probe: true,
            ranges: parse_ranges(RANGES_DEFAULT).unwrap_or_default(),
            reserved: Vec::new(),
            ttl_max: Ttl::MAX,
            replicas: None,
            events_size: Size::or(None, EVENTS_BYTES_MAX),
            events_age_max: None,
            store: None,
            store_size: Size::or(None, STORE_BYTES_MAX),
            snapshot_bytes: None,
            notes: None,
            known_hosts_only: false,
            holder_leases_max: HOLDER_LEASES_MAX,
            hosts_max: HOSTS_MAX,
            nodes_max: NODES_MAX,
            buses_max: BUSES_MAX,
            retention: Duration::from_secs(RETENTION_SECONDS),
            inboxes: Inboxes::default(),
            tool_subjects: ToolSubjects::default(),
            calls_max: CALLS_MAX,
            calls_kept: Duration::from_secs(CALLS_KEPT_SECONDS),
            requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX,
            invokes_max: INVOKES_MAX,
            invokes_per_provider_max: INVOKES_PER_PROVIDER_MAX,
            invoke_queue_max: INVOKE_QUEUE_MAX,
        }
    }
}

/// Ports and ranges of ports with commas between, as `20000-29999,31000`.
pub fn parse_ranges(text: &str) -> Result<Vec<PortRange>, Invalid> {
    let port = |end: &str, part: &str| {
        let number = end.trim().parse().ok().and_then(Port::new);
        number.ok_or_else(|| {
            let is_number = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
            let why = match (end.is_empty(), is_number) {
                (true, _) => format!("{part:?} lacks one of its two ends"),
                (_, true) if end == part => format!("{end} is no port"),
                (_, true) => format!("{end}, in {part}, is no port"),
                _ => format!("{end:?} is no number"),
            };
            let right = "must be ports from 1 to 65535, and ranges of them, as 20000-29999,31000";
            Invalid(format!("{right}: {why}"))
        })
    };
    let mut ranges = Vec::new();
    let parts = text.split(',').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = PortRange {
            first: port(first.trim(), part)?,
            last: port(last.trim(), part)?,
        };
        if range.first > range.last {
            return Err(Invalid(format!(
                "must have the lower end of each range first: for {part} write {}-{}",
                range.last, range.first
            )));
        }
        ranges.push(range);
    }
    ranges.sort();
    Ok(ranges)
}

/// The text that [`parse_ranges`] takes.
pub fn show_ranges(ranges: &[PortRange]) -> String {
    ranges
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_shown() {
        let ranges = parse_ranges("31000, 20000-29999").unwrap();
        assert_eq!(show_ranges(&ranges), "20000-29999,31000");
        for bad in ["x", "0-5", "9-8", "1-70000", "-"] {
            assert!(parse_ranges(bad).is_err(), "{bad}");
        }
    }
}
