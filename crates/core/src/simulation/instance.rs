//! One instance in the simulation: an engine with what drives it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onex_types::{
    entry::{EntryId, Sequence, SnapshotRef},
    ids::{CommandId, Host, Port, Ttl},
    ports::PortRange,
    time::{Moment, Now},
};
use uuid::Uuid;

use crate::{
    command::{Action, Command, Genesis},
    decide::Local,
    engine::{Engine, Input, Job, JobId, Limits, Loaded, Loader, StartError},
    mechanism::Mechanisms,
    record::{InstanceId, Settings, Store as StoreRecord, Unknown},
};

use super::store::Store;

/// The host of all instances and ports.
pub(super) fn host() -> Host {
    "h".parse().unwrap()
}

pub(super) const PORT_FIRST: u16 = 20_000;
pub(super) const PORTS: u16 = 6;
pub(super) const TTL_MAX: u32 = 8;

/// Who waits for a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) holder: usize,
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
    /// The start and position at which its records were last compared with the log's.
    pub(super) compared: (u64, Sequence),
}

/// What a clock shows that runs `drift` millionths too fast.
pub(super) fn clock(t: u64, drift: i64) -> Moment {
    let t = i64::try_from(t).unwrap();
    Moment(u64::try_from(t + t * drift / 1_000_000).unwrap())
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
            probes: Some(host()),
        };
        let mut engine = Engine::new(local, self.limits.clone(), loaded, now);
        engine.switch(self.mechanisms);
        self.engine = Some(engine);
        Ok(vec![Input::Command(genesis(instance))])
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

pub(super) fn genesis(instance: InstanceId) -> Job {
    let port = |number| Port::new(number).unwrap();
    let settings = Settings {
        ttl_max: Ttl::try_from(TTL_MAX).unwrap(),
        holder_leases_max: 3,
        hosts_max: 2,
        ports_default: vec![PortRange {
            first: port(PORT_FIRST),
            last: port(PORT_FIRST + PORTS - 1),
        }],
        reserved_default: Vec::new(),
        known_hosts_only: false,
        retention_ms: 60_000,
        unknown: Unknown::new(),
    };
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
        deadline: Moment::NEVER,
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
