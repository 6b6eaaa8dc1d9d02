//! Several instances whose callers never stop asking, on a clock of microseconds: how much they get done, and whether each
//! gets its share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use onex_types::{
    entry::{EntryHeader, Sequence},
    ids::{CommandId, LeaseId, Port, Transport, Ttl},
    ports::PortRange,
    time::{MonoMillis, Now},
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Command, Genesis, GrantRequest, Outcome},
    decide::Local,
    engine::{Engine, Input, Job, JobId, Limits, Loaded, NotAppended, Output},
    mechanism::{Mechanism, Mechanisms},
    node_record::NodeLimits,
    record::{InstanceId, Store as StoreRecord},
    record_parts::Unknown,
    settings::Settings,
};

use super::{
    chance::Chance,
    instance::{TTL_MAX, host},
    stage::{renew, requester},
    store::Store,
};

/// How long the server takes to store one message, in microseconds.
const SYNC: u64 = 200;
/// Callers of each instance.
const CALLERS: u64 = 12;
/// Until everybody has a lease, in microseconds.
const WARM_UP: u64 = 100_000;
/// How long is measured, in microseconds.
const MEASURED: u64 = 100_000;

enum Event {
    Append(usize, Sequence, EntryHeader, Arc<[u8]>),
    Input(usize, Input),
    Wake(usize),
}

struct Race {
    chance: Chance,
    t: u64,
    events: u64,
    queue: BTreeMap<(u64, u64), Event>,
    store: Store,
    server_free: u64,
    engines: Vec<Engine>,
    /// Until when something is on its way to an instance: nothing overtakes it.
    arrives: Vec<u64>,
    wakes: Vec<u64>,
    leases: BTreeMap<JobId, LeaseId>,
    done: Vec<u64>,
    jobs: u64,
}

impl Race {
    fn new(seed: u64, instances: usize, mechanisms: Mechanisms) -> Self {
        let mut race = Self {
            chance: Chance::new(seed),
            t: 0,
            events: 0,
            queue: BTreeMap::new(),
            store: Store::new(),
            server_free: 0,
            engines: Vec::new(),
            arrives: vec![0; instances],
            wakes: vec![u64::MAX; instances],
            leases: BTreeMap::new(),
            done: vec![0; instances],
            jobs: 0,
        };
        for index in 0..instances {
            let local = Local {
                instance: InstanceId((index as u64 + 1) << 32),
                probes: BTreeSet::new(),
            };
            let mut engine = Engine::new(local, Limits::default(), Loaded::empty(), race.now());
            engine.switch(mechanisms);
            race.engines.push(engine);
            let genesis = race.job(0, genesis());
            race.after(0, Event::Input(index, Input::Command(genesis)));
            race.after(0, Event::Input(index, Input::Following(None)));
            for caller in 0..CALLERS {
                let id = JobId(index as u64 * CALLERS + caller + 1);
                let job = race.job(id.0, grant(u128::from(id.0)));
                race.after(20_000 + caller, Event::Input(index, Input::Command(job)));
            }
        }
        race
    }

    fn now(&self) -> Now {
        let wall = 1_700_000_000_000 + i64::try_from(self.t / 1_000).unwrap();
        Now {
            mono: MonoMillis(self.t / 1_000),
            micros: u16::try_from(self.t % 1_000).unwrap(),
            wall: Timestamp::from_millisecond(wall).unwrap(),
        }
    }

    /// A caller's command; nobody waits for that of caller 0.
    fn job(&mut self, caller: u64, action: Action) -> Job {
        self.jobs += 1;
        Job {
            id: (caller > 0).then_some(JobId(caller)),
            command: Command {
                id: CommandId(Uuid::from_u64_pair(99, self.jobs)),
                correlation_id: None,
                action,
            },
            deadline: MonoMillis::NEVER,
        }
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.t + micros, self.events), event);
    }

    fn send(&mut self, index: usize, input: Input) {
        let at = (self.t + self.latency(index)).max(self.arrives[index]);
        self.arrives[index] = at;
        self.after(at - self.t, Event::Input(index, input));
    }

    /// From an instance to the server, or back: each is a little farther away than the one before.
    fn latency(&mut self, index: usize) -> u64 {
        self.chance.between(40, 60) + 25 * index as u64
    }

    fn run(&mut self, until: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > until {
                return;
            }
            self.t = entry.key().0;
            let event = entry.remove();
            match event {
                Event::Append(from, expected, header, bytes) => {
                    let stored = self.t.max(self.server_free);
                    if stored > self.t {
                        self.after(
                            stored - self.t,
                            Event::Append(from, expected, header, bytes),
                        );
                        continue;
                    }
                    self.append(from, expected, header, bytes);
                }
                Event::Input(index, input) => self.handle(index, Some(input)),
                Event::Wake(index) if self.wakes[index] == self.t => {
                    self.wakes[index] = u64::MAX;
                    self.handle(index, None);
                }
                Event::Wake(_) => {}
            }
        }
    }

    fn append(&mut self, from: usize, expected: Sequence, header: EntryHeader, bytes: Arc<[u8]>) {
        let id = header.id;
        let Some(sequence) = self.store.append(Some(expected), Some(header), bytes) else {
            return self.send(
                from,
                Input::Refused {
                    id,
                    why: NotAppended::Conflict,
                },
            );
        };
        self.server_free = self.t + SYNC;
        let now = self.t;
        self.t += SYNC;
        self.send(from, Input::Acked { id, sequence });
        let delivered = self.store.delivered(sequence).unwrap();
        for index in 0..self.engines.len() {
            self.send(index, Input::Delivered(delivered.clone()));
        }
        self.t = now;
    }

    fn handle(&mut self, index: usize, input: Option<Input>) {
        let now = self.now();
        let outputs = self.engines[index].handle(input, now);
        for output in outputs {
            match output {
                Output::Append {
                    expected,
                    header,
                    bytes,
                } => {
                    let delay = self.latency(index);
                    self.after(delay, Event::Append(index, expected, header, bytes));
                }
                Output::Reply(id, outcome) => self.reply(index, id, &outcome),
                Output::Fatal(fatal) => panic!("{fatal}"),
                Output::Fetch(_) | Output::ReadAgain | Output::Follow => panic!("not in a race"),
                _ => {}
            }
        }
        let wake = self.engines[index].wake_at(now).0;
        if wake < self.wakes[index] {
            self.wakes[index] = wake;
            self.after(wake - self.t, Event::Wake(index));
        }
    }

    /// An answered caller asks again in a moment.
    fn reply(&mut self, index: usize, id: JobId, outcome: &Outcome) {
        if let Ok(Answer::Lease(held)) = &outcome.result {
            self.leases.insert(id, held.lease.lease_id);
        }
        let lease_id = *self.leases.get(&id).expect("every caller has a lease");
        self.done[index] += 1;
        let job = self.job(id.0, renew(u128::from(id.0), lease_id, None));
        let delay = self.chance.between(100, 300);
        self.after(delay, Event::Input(index, Input::Command(job)));
    }
}

fn genesis() -> Action {
    let port = |number| Port::new(number).unwrap();
    let settings = Settings {
        ttl_max: Ttl::try_from(TTL_MAX).unwrap(),
        holder_leases_max: 1,
        hosts_max: 1,
        ports_default: vec![PortRange {
            first: port(20_000),
            last: port(29_999),
        }],
        reserved_default: Vec::new(),
        known_hosts_only: false,
        retention_ms: 60_000,
        nodes: NodeLimits::default(),
        calls_max: 1,
        calls_kept_ms: 1,
        runs_max: 1,
        unknown: Unknown::new(),
    };
    let store = StoreRecord {
        store_id: Uuid::from_u128(7),
        created_at: Timestamp::UNIX_EPOCH,
    };
    Action::Genesis(Box::new(Genesis {
        store,
        settings,
        given: Vec::new(),
    }))
}

fn grant(n: u128) -> Action {
    Action::Lease(Box::new(GrantRequest {
        requester_id: requester(n),
        protocol: "p".parse().unwrap(),
        ttl: Ttl::try_from(TTL_MAX).unwrap(),
        owner: None,
        host: host(),
        transport: Transport::Tcp,
        both: false,
        count: 1,
        contiguous: false,
        preferred: None,
        exact: false,
        name: None,
        labels: Vec::new(),
        holder: None,
        requested_at: None,
        request: None,
    }))
}

/// What each of so many instances gets done.
fn race(instances: usize, mechanisms: Mechanisms) -> Vec<u64> {
    let mut race = Race::new(instances as u64, instances, mechanisms);
    race.run(WARM_UP);
    let before = race.done.clone();
    race.run(WARM_UP + MEASURED);
    let done = race.done.iter().zip(before);
    done.map(|(after, before)| after - before).collect()
}

/// Whether each has from four fifths to six fifths of an equal share: of two, 40 to 60 per cent.
fn is_fair(done: &[u64]) -> bool {
    let share = done.iter().sum::<u64>() / done.len() as u64;
    done.iter()
        .all(|done| (share * 4 / 5..=share * 6 / 5).contains(done))
}

#[test]
fn winners_that_yield_share_the_log_and_get_more_done() {
    let off = Mechanisms::default().without(Mechanism::WinnersYield);
    let without = race(2, off);
    assert!(!is_fair(&without), "{without:?}");
    for instances in 2..=5_usize {
        let done = race(instances, Mechanisms::default());
        assert!(is_fair(&done), "{done:?}");
        let total = done.iter().sum::<u64>();
        assert!(total > without.iter().sum::<u64>() * 5 / 4, "{done:?}");
    }
}
