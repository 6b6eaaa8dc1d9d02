//! One write that all who wait for a barrier share.

use crate::domain::{
    deed::Fed,
    key::{Key, Revision},
    record::Stored,
    write::Write,
};

use super::{
    deeds::Wait,
    instance::BARRIER,
    world::{Event, Ticket, World},
};

/// How long a barrier may take altogether.
const BARRIER_MILLIS: u64 = 5_000;

#[derive(Default)]
pub(super) struct Barrier {
    pub(super) waiting: Vec<u64>,
    pub(super) current: Vec<u64>,
    pub(super) attempt: u64,
    pub(super) reach: Option<Revision>,
}

impl World {
    pub(super) fn raise_barrier(&mut self, instance: usize) {
        let barrier = &mut self.instances[instance].barrier;
        if !barrier.current.is_empty() || barrier.waiting.is_empty() {
            return;
        }
        barrier.current = std::mem::take(&mut barrier.waiting);
        barrier.reach = None;
        let write = Write {
            key: Key::Barrier,
            expected: Revision::default(),
            value: Stored::Barrier,
        };
        let attempt = self.send(instance, BARRIER, vec![write]);
        self.instances[instance].barrier.attempt = attempt;
        let ticket = Ticket {
            instance,
            incarnation: self.instances[instance].incarnation,
            job: BARRIER,
            attempt,
        };
        self.after(BARRIER_MILLIS, Event::Wake(ticket));
    }

    pub(super) fn barrier_fed(&mut self, instance: usize, attempt: u64, fed: Fed) {
        let barrier = &mut self.instances[instance].barrier;
        if barrier.attempt != attempt || barrier.current.is_empty() {
            return;
        }
        match fed {
            Fed::Written(revision) => {
                barrier.reach = Some(revision);
                self.progress(instance);
            }
            _ if barrier.reach.is_none() || fed != Fed::Unknown => {
                self.count("barriers failed");
                self.lower_barrier(instance, Fed::Failed);
            }
            _ => {}
        }
    }

    pub(super) fn lower_barrier(&mut self, instance: usize, fed: Fed) {
        let barrier = &mut self.instances[instance].barrier;
        barrier.reach = None;
        for id in std::mem::take(&mut barrier.current) {
            let job = self.instances[instance].jobs.get_mut(&id);
            let judged = job.and_then(|job| match &mut job.wait {
                Wait::Missing(judged) => Some(std::mem::take(judged)),
                _ => None,
            });
            let Some(judged) = judged else {
                self.drive(instance, id, fed);
                continue;
            };
            if fed == Fed::Go {
                self.locate(instance, &judged);
            }
            self.drive(instance, id, Fed::Go);
        }
        self.raise_barrier(instance);
    }
}
