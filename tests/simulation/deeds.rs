//! Deeds as an instance runs them: each step is done, and what came of it fed back.

use crate::domain::{
    command::{Action, Answer, Command, Probed, Refusal},
    deed::{Deed, Fed, Step},
    ids::CommandId,
    key::{Key, PortKey, Revision},
};

use super::{
    instance::BARRIER,
    world::{Ask, Event, Outcome, Ticket, World, trace},
};

/// How long a follower may take to show who won a key, in milliseconds; then it is looked for.
const MOVED_MILLIS: u64 = 2_000;
/// What a caller allows.
const CALLER_MILLIS: u64 = 4_000;

#[derive(Debug, PartialEq)]
pub(super) enum Wait {
    Ack(u64),
    Barrier,
    /// And since which attempt.
    Moved(Vec<(Key, Revision)>, u64),
    /// It does not move: behind a barrier it is looked for.
    Missing(Vec<(Key, Revision)>),
    Exact(Revision),
    Pause(u64),
    Probe(u64, PortKey),
}

/// A deed under way, and who asked for it.
pub(super) struct Job {
    deed: Deed,
    pub(super) wait: Wait,
    pub(super) ask: Option<Ask>,
    answered: bool,
    pub(super) reaps: Option<Key>,
    /// How far the stream was when it came.
    pub(super) behind: Revision,
    /// Every id that its command has had.
    pub(super) ids: Vec<CommandId>,
}

impl World {
    pub(super) fn begin_deed(
        &mut self,
        instance: usize,
        command: Command,
        ask: Option<Ask>,
        reaps: Option<Key>,
    ) {
        let now = self.now(instance);
        let caller = ask.is_some();
        let job = Job {
            ids: vec![command.id],
            deed: Deed::new(command, now.mono.plus(CALLER_MILLIS)),
            wait: Wait::Pause(0),
            ask,
            answered: false,
            reaps,
            behind: Revision(self.store.last),
        };
        let one = &mut self.instances[instance];
        let id = one.jobs_ever;
        one.jobs_ever += 1;
        one.jobs.insert(id, job);
        if caller {
            let ticket = self.ticket(instance, id);
            let reading = now.mono.0 + CALLER_MILLIS;
            let deadline = self.instances[instance].clock.when(reading);
            self.after(deadline - self.time, Event::Deadline(ticket, reading));
        }
        self.drive(instance, id, Fed::Go);
    }

    pub(super) fn drive(&mut self, instance: usize, id: u64, fed: Fed) {
        let mut fed = fed;
        loop {
            let now = self.now(instance);
            let one = &mut self.instances[instance];
            let Some(job) = one.jobs.get_mut(&id) else {
                return;
            };
            let step = job.deed.step(&mut one.core, fed, now);
            if job.ids.last() != Some(&job.deed.id()) {
                job.ids.push(job.deed.id());
            }
            if self.loud {
                let step = format!("{step:?}");
                eprintln!(
                    "{:>9}   #{instance}.{id} {fed:?} -> {:.90}",
                    self.time, step
                );
            }
            let wait = match step {
                Step::Done(outcome) => return self.done(instance, id, outcome),
                Step::Moved(judged)
                    if judged
                        .iter()
                        .any(|(key, at)| one.core.index.revision(key) > *at) =>
                {
                    fed = Fed::Go;
                    continue;
                }
                Step::Exact(at) if one.core.index.exact() >= at => {
                    fed = Fed::Go;
                    continue;
                }
                Step::Moved(judged) => {
                    let ticket = self.ticket(instance, id);
                    self.after(MOVED_MILLIS, Event::Wake(ticket));
                    Wait::Moved(judged, ticket.attempt)
                }
                Step::Exact(at) => Wait::Exact(at),
                Step::Barrier => {
                    job.wait = Wait::Barrier;
                    one.barrier.waiting.push(id);
                    return self.raise_barrier(instance);
                }
                Step::Write(writes) => Wait::Ack(self.send(instance, id, writes.to_vec())),
                Step::Pause(times) => {
                    let longest = if times == 0 {
                        0
                    } else {
                        (10 << times.min(7)).min(1_000)
                    };
                    let after = self.chance.below(longest + 1);
                    let ticket = self.ticket(instance, id);
                    self.after(after, Event::Wake(ticket));
                    Wait::Pause(ticket.attempt)
                }
                Step::Probe(key) => {
                    let ticket = self.ticket(instance, id);
                    let after = self.latency();
                    self.after(after, Event::Wake(ticket));
                    Wait::Probe(ticket.attempt, key)
                }
            };
            if let Some(job) = self.instances[instance].jobs.get_mut(&id) {
                job.wait = wait;
            }
            return;
        }
    }

    pub(super) fn wake(&mut self, ticket: Ticket) {
        let Ticket {
            instance,
            job: id,
            attempt,
            ..
        } = ticket;
        if !self.live(ticket) {
            return;
        }
        if id == BARRIER {
            return self.barrier_fed(instance, attempt, Fed::Unknown);
        }
        let Some(job) = self.instances[instance].jobs.get_mut(&id) else {
            return;
        };
        if let Wait::Moved(judged, at) = &job.wait
            && *at == attempt
        {
            job.wait = Wait::Missing(judged.clone());
            self.instances[instance].barrier.waiting.push(id);
            return self.raise_barrier(instance);
        }
        let Some(job) = self.instances[instance].jobs.get(&id) else {
            return;
        };
        match &job.wait {
            Wait::Pause(at) if *at == attempt => self.drive(instance, id, Fed::Go),
            Wait::Probe(at, key) if *at == attempt => {
                let key = key.clone();
                let caller = job.ask.as_ref().map(|ask| ask.who);
                let ids = job.ids.clone();
                let probed = if job.deed.may_probe(self.now(instance).mono) {
                    self.probed(instance, &key, &ids, caller);
                    self.probe(&key)
                } else {
                    Probed::Unknown
                };
                self.drive(instance, id, Fed::Probed(probed));
            }
            _ => {}
        }
    }

    fn probe(&mut self, key: &PortKey) -> Probed {
        let taken = self.is_bound(key);
        if self.trouble(20) {
            Probed::Unknown
        } else if taken {
            self.count("probes in use");
            Probed::InUse
        } else {
            self.count("probes bindable");
            Probed::Bindable
        }
    }

    /// Where the server says that the keys are which do not move; what follows from that.
    pub(super) fn locate(&mut self, instance: usize, judged: &[(Key, Revision)]) {
        let one = &mut self.instances[instance];
        let index = &mut one.core.index;
        if judged.iter().any(|(key, past)| index.revision(key) > *past) || one.cut.is_some() {
            return;
        }
        for (key, _) in judged {
            let (known, there) = (index.revision(key), Revision(self.store.revision(key)));
            if there == Revision(0) && known > there {
                index.vanish(key, known);
                *self.counts.entry("vanished").or_default() += 1;
            } else if there < known || (known == Revision(0) && there > known) {
                return self.subscribe(instance, true);
            }
        }
    }

    fn done(&mut self, instance: usize, id: u64, outcome: Result<Answer, Refusal>) {
        let Some(job) = self.instances[instance].jobs.remove(&id) else {
            return;
        };
        if let Some(ask) = &job.ask
            && self.call_done(instance, ask, job.answered, &outcome)
            && !job.answered
        {
            let outcome = match outcome {
                Ok(answer) => Outcome::Done(answer),
                Err(Refusal::Unreachable) => Outcome::TimedOut {
                    unknown: job.deed.is_unsettled(),
                },
                Err(refusal) => Outcome::Refused(refusal),
            };
            self.answer(instance, &job, outcome);
        }
    }

    /// The caller waits no longer.
    pub(super) fn deadline(&mut self, ticket: Ticket, reading: u64) {
        if !self.live(ticket) {
            return;
        }
        let clock = self.instances[ticket.instance].clock;
        if clock.at(self.time) < reading {
            // The clock stood in the meantime.
            let after = clock.when(reading) - self.time;
            return self.after(after, Event::Deadline(ticket, reading));
        }
        let Some(mut job) = self.instances[ticket.instance].jobs.remove(&ticket.job) else {
            return;
        };
        if !job.answered {
            job.answered = true;
            let unknown = job.deed.is_unsettled();
            self.answer(ticket.instance, &job, Outcome::TimedOut { unknown });
        }
        self.instances[ticket.instance].jobs.insert(ticket.job, job);
    }

    fn answer(&mut self, instance: usize, job: &Job, outcome: Outcome) {
        self.judge(instance, job, &outcome);
        let Some(ask) = job.ask.clone() else {
            return;
        };
        trace!(
            self,
            "#{instance} answers {} ({}): {outcome:?}", ask.who, ask.request
        );
        if self.trouble(self.setup.reply_lost) {
            self.count("replies lost");
            return;
        }
        let after = self.latency();
        self.after(after, Event::Reply(Box::new((ask, outcome))));
    }

    /// A request reaches an instance.
    pub(super) fn asked(&mut self, instance: usize, ask: Ask) {
        if !self.instances[instance].up {
            return;
        }
        let command = Command {
            id: CommandId(self.chance.uuid()),
            correlation_id: Some(format!("{}/{}/{}", ask.who, ask.life, ask.request)),
            confirmed: false,
            action: ask.action.clone(),
        };
        trace!(
            self,
            "#{instance} is asked by {} ({}): {}",
            ask.who,
            ask.request,
            brief(&ask.action)
        );
        self.call_before_it_begins(instance, command.id, &ask);
        self.begin_deed(instance, command, Some(ask), None);
    }
}

fn brief(action: &Action) -> String {
    match action {
        Action::Lease(wish) => format!(
            "lease ttl {} preferred {:?} exact {} request {:?}",
            wish.ttl.seconds(),
            wish.preferred,
            wish.exact,
            wish.request.map(|request| request.id.0)
        ),
        Action::Announce(announce) => format!(
            "announce {} epoch {:?} ttl {} request {:?}",
            announce.node_id,
            announce.epoch,
            announce.ttl.seconds(),
            announce.request.map(|request| request.id.0)
        ),
        Action::Renew { lease_id, ttl, .. } => format!("renew {lease_id} {ttl:?}"),
        Action::Release { lease_id, .. } => format!("release {lease_id}"),
        other => format!("{other:?}"),
    }
}
