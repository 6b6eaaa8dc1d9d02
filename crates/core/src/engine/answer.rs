//! Answers: sent with their entry's acknowledgement, or after the port was tried, or never because it is too late.

use onex_types::{
    ids::LeaseId,
    key::PortKey,
    time::{MonoMillis, Now},
};

use crate::{
    command::{Action, Answer, Command, GrantRequest, Outcome, Probed, Refusal, Rollback},
    decide::{Decided, PORTS_TRIED_MAX, Then},
    mechanism::Mechanism,
};

use super::{
    Engine, Probing,
    bounds::{PROBE_MILLIS, PROBE_WAIT_MILLIS},
    io::{Job, JobId, Output},
};

impl Engine {
    pub(super) fn finish(
        &mut self,
        job: Job,
        result: Result<Decided, Refusal>,
        revision: u64,
        sent: MonoMillis,
        now: Now,
    ) {
        let Some(id) = job.id else { return };
        let then = result.as_ref().map_or(Then::Answer, |decided| decided.then);
        let outcome = Outcome {
            revision,
            result: result.map(|decided| decided.answer),
        };
        match (then, &outcome.result) {
            (Then::Probe, Ok(Answer::Lease(held))) => {
                let (grant, tried) = match &job.command.action {
                    Action::Lease(grant) => (GrantRequest::clone(grant), 0),
                    Action::Rollback(rollback) => (rollback.grant.clone(), rollback.tried),
                    _ => return self.out.push(Output::Reply(id, outcome)),
                };
                let (key, lease_id) = (held.key.clone(), held.lease.lease_id);
                // Counted from when it was sent: nobody can have applied it earlier, and whoever answers for it waits
                // longer than this.
                let until = sent.plus(PROBE_MILLIS);
                self.out.push(Output::Probe {
                    lease_id,
                    keys: held.lease.port_keys(&key.host).collect(),
                    until,
                });
                let probing = Probing {
                    job: id,
                    deadline: job.deadline,
                    key,
                    grant,
                    outcome,
                    until,
                    tried,
                    command: job.command,
                };
                self.probing.insert(lease_id, probing);
            }
            (Then::WaitForProbe, Ok(Answer::Lease(held))) => {
                let granted = held.since.plus(PROBE_WAIT_MILLIS);
                if granted <= now.mono {
                    self.out.push(Output::Reply(id, outcome));
                } else {
                    self.waiting.insert((granted, id), outcome);
                }
            }
            _ => self.out.push(Output::Reply(id, outcome)),
        }
    }

    /// A port was tried: the grant stands, or another port takes its place.
    pub(super) fn probed(
        &mut self,
        lease_id: LeaseId,
        probed: Probed,
        in_use: Vec<PortKey>,
        now: Now,
    ) {
        let Some(probing) = self.probing.remove(&lease_id) else {
            return;
        };
        let probed = if now.mono > probing.until {
            Probed::Unknown
        } else {
            probed
        };
        if probed == Probed::InUse {
            // The grant is taken back in any case; another one only for a caller that still waits.
            let waits = probing.deadline > now.mono;
            let rollback = Rollback {
                key: probing.key,
                lease_id,
                grant: probing.grant,
                tried: if waits {
                    probing.tried + 1
                } else {
                    PORTS_TRIED_MAX
                },
                in_use,
            };
            let command = Command {
                id: probing.command.id.next(),
                correlation_id: probing.command.correlation_id,
                action: Action::Rollback(Box::new(rollback)),
            };
            let job = Job {
                id: Some(probing.job),
                command,
                deadline: MonoMillis::NEVER,
            };
            return self.enqueue(job);
        }
        let Outcome {
            revision,
            mut result,
        } = probing.outcome;
        if let Ok(Answer::Lease(held)) = &mut result {
            held.verified = probed == Probed::Bindable;
        }
        self.out
            .push(Output::Reply(probing.job, Outcome { revision, result }));
        let command = Command {
            id: self.next_command_id(),
            correlation_id: None,
            action: Action::Confirm(probing.key, lease_id),
        };
        let job = Job {
            id: None,
            command,
            deadline: MonoMillis::NEVER,
        };
        self.queues.add_confirm(job, now.mono);
    }

    /// Answers what has waited long enough.
    pub(super) fn answer_waiting(&mut self, now: Now) {
        while let Some(entry) = self.waiting.first_entry() {
            let (at, id) = *entry.key();
            if at > now.mono {
                break;
            }
            self.out.push(Output::Reply(id, entry.remove()));
        }
        let late = self
            .probing
            .iter()
            .filter(|(_, probing)| now.mono > probing.until);
        let late: Vec<LeaseId> = late.map(|(lease_id, _)| *lease_id).collect();
        for lease_id in late {
            self.probed(lease_id, Probed::Unknown, Vec::new(), now);
        }
    }

    /// Tells callers whose deadline has passed. What is in an entry that is under way is settled all the same.
    pub(super) fn give_up_late(&mut self, now: Now) {
        if !self.on(Mechanism::CommandDeadline) {
            return;
        }
        let revision = self.state.revision();
        let mut late = Vec::new();
        for (job, ..) in self
            .pending
            .iter_mut()
            .flat_map(|pending| &mut pending.jobs)
        {
            if job.deadline <= now.mono
                && let Some(id) = job.id.take()
            {
                late.push((id, Refusal::Unknown));
            }
        }
        if self.pending.is_some() || !self.follows {
            for queue in self.queues.both() {
                queue.retain(|job| {
                    let waits = job.deadline > now.mono;
                    late.extend(
                        job.id
                            .filter(|_| !waits)
                            .map(|id| (id, Refusal::Unavailable)),
                    );
                    waits
                });
            }
        }
        let reply = |(id, refusal)| {
            Output::Reply(
                id,
                Outcome {
                    revision,
                    result: Err(refusal),
                },
            )
        };
        self.out.extend(late.into_iter().map(reply));
    }

    /// Tells a caller that nothing was done, or that nobody knows.
    pub(super) fn refuse(&mut self, id: Option<JobId>, refusal: Refusal) {
        let outcome = Outcome {
            revision: self.state.revision(),
            result: Err(refusal),
        };
        self.out.extend(id.map(|id| Output::Reply(id, outcome)));
    }

    /// Tells everybody who waits: this engine does not go on.
    pub(super) fn give_up_all(&mut self) {
        let pending = self
            .pending
            .take()
            .into_iter()
            .flat_map(|pending| pending.jobs);
        let mut unknown: Vec<Option<JobId>> = pending.map(|(job, ..)| job.id).collect();
        let probing = std::mem::take(&mut self.probing);
        unknown.extend(probing.into_values().map(|probing| Some(probing.job)));
        let waiting = std::mem::take(&mut self.waiting);
        unknown.extend(waiting.into_keys().map(|(_, id)| Some(id)));
        for id in unknown {
            self.refuse(id, Refusal::Unknown);
        }
        let queues = self.queues.both().map(std::mem::take);
        for job in queues.into_iter().flatten() {
            self.refuse(job.id, Refusal::Unavailable);
        }
    }
}
