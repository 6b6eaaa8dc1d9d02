//! One instance in the simulation: an engine with what drives it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onex_types::{
    entry::{EntryId, Sequence, SnapshotRef},
    ids::{CommandId, Host, Port, Ttl},
    ports::PortRange,
    time::{MonoMillis, Now},
};
use uuid::Uuid;

use crate::{
    command::{Action, Command, Genesis},
    decide::Local,
    engine::{Engine, Input, Job, JobId, Limits, Loaded, Loader, StartError},
    mechanism::Mechanisms,
    node_record::NodeLimits,
    record::{InstanceId, Store as StoreRecord},
    record_parts::Unknown,
    settings::Settings,
};

use super::store::Store;

/// The host of all instances and ports.
pub(super) fn host() -> Host {
    "h".parse().unwrap()
}

pub(super) const PORT_FIRST: u16 = 20_000;
pub(super) const PORTS: u16 = 6;
pub(super) const TTL_MAX: u32 = 8;
/// How many calls are remembered, and for how long.
pub(super) const CALLS_MAX: usize = 8;
pub(super) const CALLS_KEPT_MILLIS: u64 = 30_000;
/// How long what has ended is remembered.
pub(super) const RETENTION_MILLIS: u64 = 12_000;
/// How many executions without a request id may be under way.
pub(super) const RUNS_MAX: usize = 250;

/// Somebody who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Person {
    Holder(usize),
    Process(usize),
    /// Who does not wait for an answer.
    Administrator,
}

/// Who waits for a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) person: Person,
    pub(super) ask: u64,
}

/// One instance.
pub(super) struct Instance {
    pub(super) engine: Option<Engine>,
    /// Counts its starts: what was on its way to an earlier one is lost.
    pub(super) epoch: u64,
    pub(super) paused_until: u64,
    /// The follower's next position; none while it is broken.
    pub(super) next: Option<Sequence>,
    pub(super) follower: u64,
    pub(super) jobs: BTreeMap<JobId, Asked>,
    pub(super) known: Option<(Sequence, Option<EntryId>)>,
    /// How fast its clock runs, in millionths more than it should.
    pub(super) drift: i64,
    pub(super) skew: i64,
    pub(super) mechanisms: Mechanisms,
    pub(super) limits: Limits,
    pub(super) publishing: bool,
    /// With what it makes a log that is not there.
    pub(super) settings: Settings,
    /// The start and position at which its records were last compared with the log's.
    pub(super) compared: (u64, Sequence),
}

/// What a clock shows that runs `drift` millionths too fast.
pub(super) fn clock(t: u64, drift: i64) -> MonoMillis {
    let t = i64::try_from(t).unwrap();
    MonoMillis(u64::try_from(t + t * drift / 1_000_000).unwrap())
}

impl Instance {
    pub(super) fn new(mechanisms: Mechanisms, limits: Limits) -> Self {
        Self {
            engine: None,
            epoch: 0,
            paused_until: 0,
            next: None,
            follower: 0,
            jobs: BTreeMap::new(),
            known: None,
            drift: 0,
            skew: 0,
            mechanisms,
            limits,
            publishing: false,
            settings: settings(),
            compared: (0, Sequence::default()),
        }
    }

    pub(super) fn now(&self, t: u64) -> Now {
        let wall = 1_700_000_000_000 + i64::try_from(t).unwrap() + self.skew;
        Now {
            mono: clock(t, self.drift),
            micros: 0,
            wall: Timestamp::from_millisecond(wall).unwrap(),
        }
    }

    /// Reads the log and begins anew. An error that lasts stops the instance for good.
    pub(super) fn start(
        &mut self,
        index: usize,
        store: &Store,
        t: u64,
    ) -> Result<Vec<Input>, StartError> {
        self.epoch += 1;
        self.follower += 1;
        self.next = None;
        self.publishing = false;
        self.jobs.clear();
        let now = self.now(t);
        let loaded = load(store, self.known.take(), self.mechanisms, now)?;
        let instance = InstanceId(((index as u64 + 1) << 32) | self.epoch);
        let local = Local {
            instance,
            probes: [host()].into(),
        };
        let mut engine = Engine::new(local, self.limits.clone(), loaded, now);
        engine.switch(self.mechanisms);
        self.engine = Some(engine);
        let settings = self.settings.clone();
        Ok(vec![Input::Command(genesis(instance, settings))])
    }

    /// The first delivery of a new follower; none when the log does not reach back as far.
    pub(super) fn follow(&mut self, store: &Store) -> Option<Input> {
        let head = self.engine.as_ref()?.head();
        self.follower += 1;
        self.next = Some(head.next());
        if head == Sequence::default() {
            return Some(Input::Following(None));
        }
        let message = store.get(head)?;
        Some(Input::Following(Some((
            head,
            message.header.map(|header| header.id),
        ))))
    }
}

pub(super) fn settings() -> Settings {
    let port = |number| Port::new(number).unwrap();
    Settings {
        ttl_max: Ttl::try_from(TTL_MAX).unwrap(),
        holder_leases_max: 3,
        hosts_max: 2,
        ports_default: vec![PortRange {
            first: port(PORT_FIRST),
            last: port(PORT_FIRST + PORTS - 1),
        }],
        reserved_default: Vec::new(),
        known_hosts_only: false,
        retention_ms: RETENTION_MILLIS,
        nodes: NodeLimits {
            nodes_max: 6,
            buses_max: 4,
            node_bytes_max: 10_000,
        },
        calls_max: CALLS_MAX,
        calls_kept_ms: CALLS_KEPT_MILLIS,
        runs_max: RUNS_MAX,
        unknown: Unknown::new(),
    }
}

pub(super) fn genesis(instance: InstanceId, settings: Settings) -> Job {
    let store = StoreRecord {
        store_id: Uuid::from_u128(7),
        created_at: Timestamp::UNIX_EPOCH,
    };
    let action = Action::Genesis(Box::new(Genesis {
        store,
        settings,
        given: Vec::new(),
    }));
    let id = CommandId(Uuid::from_u64_pair(instance.0, u64::MAX));
    let command = Command {
        id,
        correlation_id: None,
        action,
    };
    Job {
        id: None,
        command,
        deadline: MonoMillis::NEVER,
    }
}

/// As a start does it: the last message names a snapshot; if it turns out not to belong there, the one before does.
pub(super) fn load(
    store: &Store,
    known: Option<(Sequence, Option<EntryId>)>,
    mechanisms: Mechanisms,
    now: Now,
) -> Result<Loaded, StartError> {
    if store.last() == Sequence::default() {
        return known.map_or_else(
            || Ok(Loaded::empty()),
            |(known, _)| Err(StartError::WentBack(known)),
        );
    }
    let mut error = StartError::Hint(store.last());
    for hint in (store.first().0..=store.last().0)
        .rev()
        .take(1_000)
        .map(Sequence)
    {
        let Some(header) = store.get(hint).and_then(|message| message.header) else {
            continue;
        };
        let own = SnapshotRef {
            sequence: hint,
            id: header.id,
        };
        let genesis = header.predecessor == EntryId::NONE;
        let Some(snapshot) = header.snapshot.or(genesis.then_some(own)) else {
            continue;
        };
        match load_from(store, snapshot, hint, known, mechanisms, now) {
            Ok(loaded) => return Ok(loaded),
            Err(StartError::WentBack(at)) => return Err(StartError::WentBack(at)),
            Err(other) => error = other,
        }
    }
    Err(error)
}

fn load_from(
    store: &Store,
    snapshot: SnapshotRef,
    hint: Sequence,
    known: Option<(Sequence, Option<EntryId>)>,
    mechanisms: Mechanisms,
    now: Now,
) -> Result<Loaded, StartError> {
    let mut loader = Loader::new(snapshot, hint, known);
    loader.switch(mechanisms);
    for sequence in (snapshot.sequence.0..=store.last().0).map(Sequence) {
        let delivered = store.delivered(sequence).ok_or(StartError::Gap(sequence))?;
        loader.take(&delivered, now)?;
    }
    loader.finish()
}
