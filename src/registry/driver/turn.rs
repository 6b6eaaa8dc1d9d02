//! The task that owns the engine: gathers everything that has happened, lets the engine take it in one go, and carries out what
//! comes of it.

use std::{collections::HashMap, sync::Arc};

use futures::FutureExt as _;
use onex_core::{
    command::{self, Action, Command, Genesis, Outcome},
    engine::{self, Engine, Input, Job, JobId, Loaded, Output},
    entry::Entry,
    record::Store as StoreRecord,
};
use onex_log::{Append, Delivery, Event, Info, Log, Lost, Store};
use onex_types::{ids::CommandId, time::MonoMillis};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{
    Applied, Ended, Options, Submitted,
    doubt::{self, Doubt, Doubted},
    load::{self, LoadError},
    probe::{Probe, Prober},
    reads::Reads,
    refused::Refused,
    sizes::Sizes,
    store_tasks::{fetch, trim},
};
use crate::throttle::LogThrottle;

/// How long an engine that stops may take to settle what is under way, in milliseconds.
const SETTLE_MILLIS: u64 = 2_000;
/// Chunks of commands that are taken in one go, at most.
const CHUNKS_TAKEN_MAX: usize = 256;

/// The job of the first entry. Those of others follow.
const GENESIS: JobId = JobId(0);

/// Who gets outcomes.
pub(super) type Answer<T> = Box<dyn FnMut(Vec<(T, Outcome)>) + Send>;

/// What the task is made of.
pub(super) struct Parts<T> {
    pub(super) log: Log,
    pub(super) store: Store,
    pub(super) options: Options,
    pub(super) loaded: Loaded,
    pub(super) reads: Arc<Reads>,
    pub(super) submitted: mpsc::Receiver<Vec<Submitted<T>>>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) is_ready: watch::Sender<bool>,
    pub(super) answer: Answer<T>,
}

/// The task.
pub(super) struct Turn<T> {
    engine: Engine,
    log: Log,
    store: Store,
    options: Options,
    reads: Arc<Reads>,
    submitted: mpsc::Receiver<Vec<Submitted<T>>>,
    stopping: watch::Receiver<bool>,
    is_ready: watch::Sender<bool>,
    answer: Answer<T>,
    waiting: HashMap<JobId, T>,
    jobs: u64,
    prober: Prober,
    /// What tasks of ours have found out.
    found: mpsc::UnboundedReceiver<Input>,
    finds: mpsc::UnboundedSender<Input>,
    /// What has happened since the engine was called last, in its order.
    inputs: Vec<Input>,
    events: Vec<Event>,
    chunks: Vec<Vec<Submitted<T>>>,
    stop_by: Option<MonoMillis>,
    complaints: Arc<LogThrottle>,
    refused: Refused,
    sizes: Sizes,
    doubt: Doubt,
    /// Why the store is another one than the one that was opened.
    gone: Option<Lost>,
}

/// What follows a turn.
enum Next {
    Turn,
    ReadAgain,
    End(Ended),
}

impl<T: Send + 'static> Turn<T> {
    pub(super) fn new(parts: Parts<T>) -> Self {
        let Parts {
            log,
            store,
            options,
            loaded,
            reads,
            submitted,
            stopping,
            is_ready,
            answer,
        } = parts;
        let clock = options.clock;
        let (finds, found) = mpsc::unbounded_channel();
        let prober = Prober::start(finds.clone(), options.probing.clone());
        let engine = Engine::new(options.local(), options.limits.clone(), loaded, clock.now());
        Self {
            engine,
            log,
            sizes: Sizes::ask(store.clone()),
            store,
            options,
            reads,
            submitted,
            stopping,
            is_ready,
            answer,
            waiting: HashMap::new(),
            jobs: 0,
            prober,
            found,
            finds,
            inputs: Vec::new(),
            events: Vec::new(),
            chunks: Vec::new(),
            stop_by: None,
            complaints: LogThrottle::new("messages of the log"),
            refused: Refused::default(),
            doubt: Doubt::default(),
            gone: None,
        }
    }

    /// Runs the engine until it ends. Nobody is left without an answer.
    pub(super) async fn run(mut self) -> Ended {
        let ended = self.turns().await;
        self.submitted.close();
        while let Ok(chunk) = self.submitted.try_recv() {
            self.chunks.push(chunk);
        }
        let undecided = std::mem::take(&mut self.chunks).into_iter().flatten();
        let undecided = undecided.filter_map(|submitted| submitted.waiter);
        let undecided = undecided.map(|waiter| (waiter, Err(command::Refusal::Unavailable)));
        let unsettled = std::mem::take(&mut self.waiting).into_values();
        let unsettled = unsettled.map(|waiter| (waiter, Err(command::Refusal::Unknown)));
        let revision = self.reads.revision();
        let outcome = |(waiter, result)| (waiter, Outcome { revision, result });
        (self.answer)(undecided.chain(unsettled).map(outcome).collect());
        ended
    }

    async fn turns(&mut self) -> Ended {
        self.begin();
        loop {
            // What was found out at once is waiting already.
            if self.inputs.is_empty() {
                self.wait().await;
            }
            self.gather();
            let now = self.options.clock.now();
            let outputs = self.engine.handle(self.inputs.drain(..), now);
            match self.carry_out(outputs) {
                Next::Turn => {}
                Next::End(ended) => return ended,
                Next::ReadAgain => {
                    if let Err(ended) = self.read_again().await {
                        return ended;
                    }
                }
            }
            if let Some(lost) = self.gone.take() {
                return LoadError::from(lost).into();
            }
            if self.engine.is_ready() {
                self.is_ready
                    .send_if_modified(|ready| !std::mem::replace(ready, true));
            }
            let settled = self.stop_by.is_some() && self.engine.is_idle();
            let now = self.options.clock.now().mono;
            if settled || self.stop_by.is_some_and(|by| by <= now) {
                return Ended::Stopped;
            }
        }
    }

    /// A new engine follows the log from what it has read, and sees to it that the log has a first entry.
    fn begin(&mut self) {
        self.log.follow(self.engine.head());
        let store = StoreRecord {
            store_id: Uuid::new_v4(),
            created_at: self.store.created(),
        };
        let Options {
            settings, given, ..
        } = &mut self.options;
        let Some(settings) = settings.clone() else {
            return;
        };
        // Once this instance runs, somebody may change what it was started with.
        let genesis = Genesis {
            store,
            settings,
            given: std::mem::take(given),
        };
        let action = Action::Genesis(Box::new(genesis));
        self.inputs.push(Input::Command(Job {
            id: Some(GENESIS),
            command: Command {
                id: CommandId(Uuid::nil()),
                correlation_id: None,
                action,
            },
            deadline: MonoMillis::NEVER,
        }));
    }

    /// Waits until something happens.
    async fn wait(&mut self) {
        let clock = self.options.clock;
        let wake = clock.until_exact(self.engine.wake_at(clock.now()));
        let is_stopping = self.stop_by.is_some();
        tokio::select! {
            () = self.log.next(&mut self.events) => {}
            taken = self.submitted.recv_many(&mut self.chunks, CHUNKS_TAKEN_MAX), if !is_stopping => {
                if taken == 0 {
                    self.stop();
                }
            }
            Some(input) = self.found.recv() => self.inputs.push(input),
            () = self.options.probes_change() => self.engine.local = self.options.local(),
            info = self.sizes.next() => self.take_sizes(&info),
            () = tokio::time::sleep(wake) => {}
            () = async { let _ = self.stopping.wait_for(|stop| *stop).await; }, if !is_stopping => {
                // What has come before is decided.
                while let Ok(chunk) = self.submitted.try_recv() {
                    self.chunks.push(chunk);
                }
                self.take_chunks();
                self.stop();
            }
        }
    }

    fn stop(&mut self) {
        self.inputs.push(Input::Stop);
        self.stop_by = Some(self.options.clock.now().mono.plus(SETTLE_MILLIS));
    }

    /// Takes everything else that has happened, without waiting: the more one entry holds, the better.
    fn gather(&mut self) {
        let _ = self.log.next(&mut self.events).now_or_never();
        while let Ok(input) = self.found.try_recv() {
            self.inputs.push(input);
        }
        for event in std::mem::take(&mut self.events) {
            self.take_event(event);
        }
        while self.chunks.len() < CHUNKS_TAKEN_MAX
            && self.stop_by.is_none()
            && let Ok(chunk) = self.submitted.try_recv()
        {
            self.chunks.push(chunk);
        }
        self.take_chunks();
    }

    fn take_chunks(&mut self) {
        for submitted in std::mem::take(&mut self.chunks).into_iter().flatten() {
            let Submitted {
                waiter,
                command,
                deadline,
            } = submitted;
            let id = waiter.map(|waiter| {
                self.jobs += 1;
                let id = JobId(self.jobs);
                self.waiting.insert(id, waiter);
                id
            });
            self.inputs.push(Input::Command(Job {
                id,
                command,
                deadline,
            }));
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Following { first, .. } => {
                let first =
                    first.map(|first| (first.sequence, first.header.map(|header| header.id)));
                self.inputs.push(Input::Following(first));
                self.doubt.over();
                // Another server may take larger or smaller messages.
                self.sizes.again().notify_one();
            }
            Event::Delivered(batch) => {
                for delivery in batch {
                    self.deliver(&delivery);
                }
            }
            Event::Acked { id, sequence } => self.inputs.push(Input::Acked { id, sequence }),
            Event::Refused {
                id,
                refusal,
                description,
            } => {
                let why = self.refused.note(&refusal, &description, &self.complaints);
                self.inputs.push(Input::Refused { id, why });
            }
            Event::Lost(lost) => {
                if self.complaints.admits() {
                    let error = onex_types::chain(&lost);
                    tracing::warn!(error, "the log is not followed; connecting again");
                }
                self.inputs.push(Input::Disconnected);
                self.log.follow(self.engine.head());
                match self.doubt.note(&lost, self.options.clock.now().mono) {
                    Doubted::Nothing => {}
                    // Nothing is where this engine is.
                    Doubted::Log => self.inputs.push(Input::Following(None)),
                    Doubted::Store => self.gone = Some(lost),
                }
            }
        }
    }

    /// How large the log is and may be. Without a session it is asked for again with the next one.
    fn take_sizes(&mut self, info: &Info) {
        let sizes = self.log.max_payload().map(|payload_max| engine::Sizes {
            bytes: info.bytes,
            bytes_max: info.bytes_max,
            payload_max,
            first: info.first,
        });
        self.inputs.extend(sizes.map(Input::Sizes));
    }

    /// The body of an entry of our own is at hand.
    fn deliver(&mut self, delivery: &Delivery) {
        let id = delivery.header.map(|header| header.id);
        let needs_body = self.engine.needs_body(delivery.sequence, id);
        let delivered = load::delivered(delivery, needs_body);
        self.inputs.push(Input::Delivered(delivered));
    }

    /// Does what the engine wants, in its order but for this: readers see entries before anybody is answered.
    fn carry_out(&mut self, outputs: Vec<Output>) -> Next {
        let mut next = Next::Turn;
        let mut applied: Vec<Arc<Entry>> = Vec::new();
        let (mut answers, mut probes) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Append {
                    expected,
                    header,
                    bytes,
                } => self.log.append(Append {
                    expected,
                    header,
                    body: bytes::Bytes::from_owner(bytes),
                }),
                Output::Fetch(sequence) => fetch(&self.store, &self.finds, sequence),
                Output::Reply(GENESIS, outcome) => {
                    if let Err(command::Refusal::SettingsDiffer(differences)) = outcome.result {
                        next = Next::End(Ended::Differs(differences));
                    }
                }
                Output::Reply(id, outcome) => {
                    answers.extend(self.waiting.remove(&id).map(|waiter| (waiter, outcome)));
                }
                Output::Probe {
                    lease_id,
                    keys,
                    until,
                } => {
                    probes.push(Probe {
                        lease_id,
                        keys,
                        until,
                    });
                }
                Output::Applied {
                    sequence,
                    header,
                    entry,
                } => {
                    applied.push(Arc::clone(&entry));
                    let one = Applied {
                        sequence,
                        header,
                        entry,
                    };
                    for told in &self.options.applied {
                        let _ = told.send(one.clone());
                    }
                }
                Output::Trim(below) => trim(&self.store, self.sizes.again(), below),
                Output::Foreign(sequence) => {
                    if self.complaints.admits() {
                        tracing::error!(
                            sequence = sequence.0,
                            "a message in the log is no valid entry: somebody else writes there"
                        );
                    }
                }
                Output::Follow => self.log.follow(self.engine.head()),
                Output::ReadAgain => next = Next::ReadAgain,
                Output::Fatal(fatal) => next = Next::End(fatal.into()),
            }
        }
        if !applied.is_empty() {
            self.reads.apply(&applied, self.options.clock.now());
        }
        if !answers.is_empty() {
            (self.answer)(answers);
        }
        self.inputs.extend(self.prober.probe(probes));
        next
    }

    /// The log does not fit what was applied: begins anew with what it says now.
    async fn read_again(&mut self) -> Result<(), Ended> {
        let Options {
            clock, high_water, ..
        } = &self.options;
        let (applied, clock) = (self.engine.known(), *clock);
        let loaded =
            doubt::read_again(&mut self.log, &self.store, applied, high_water, clock).await?;
        let now = clock.now();
        self.reads.replace(&loaded, now.mono);
        let limits = self.options.limits.clone();
        self.doubt = Doubt::default();
        self.engine = Engine::new(self.options.local(), limits, loaded, now);
        self.inputs.clear();
        self.begin();
        Ok(())
    }
}
