//! Fair queueing: a bounded number of jobs at a time, shared fairly between the clients that ask for them.
//!
//! The jobs of one flow wait in one queue, and the time that they take is measured. The next permit goes to the flow that
//! has used the least time, and among equals to the flow whose first job came first. So a job of a new flow waits for the
//! jobs that are being done, and for flows that have used as little, but not for the jobs of flows that have used more.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use onex_types::ids::RequesterId;
use tokio::sync::oneshot;

/// Flows without a job whose used time is remembered; beyond that all of them are forgotten.
const IDLE_FLOWS_MAX: usize = 4_096;
/// A flow that begins is at most so far ahead of flows that are always busy, in microseconds of work. Without this bound
/// ever new flows would keep the others waiting for ever.
const CREDIT_MICROS_MAX: u64 = 2_000_000;
/// Smaller differences in used time do not count, in microseconds.
const GRANULARITY_MICROS: u64 = 50_000;

/// Whose job it is. Jobs of one flow share a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Flow {
    /// Whoever sent the request: see [`Callers::number`](super::callers::Callers::number).
    Caller(u64),
    /// Whoever announced a contract.
    Requester(RequesterId),
}

/// Hands out permits to do jobs of one kind.
pub(super) struct FairQueue(Mutex<State>);

/// Leave to do one job; returned when it is dropped.
pub(super) struct Permit {
    /// None for a permit that nobody received.
    queue: Option<Arc<FairQueue>>,
    flow: Flow,
    since: Instant,
}

struct State {
    permits_max: usize,
    /// Permits in use.
    running: usize,
    /// Flows that have a job, waiting or running.
    busy: usize,
    /// The time that a flow has used that was busy from the start, in microseconds.
    virtual_time: u64,
    arrivals: u64,
    flows: HashMap<Flow, Queue>,
    /// The flows that may get a permit, the next one first.
    ready: BTreeMap<Rank, Flow>,
}

/// The order of flows: used time in units of [`GRANULARITY_MICROS`], then the arrival of the first job.
type Rank = (u64, u64);

/// The jobs of one flow.
#[derive(Default)]
struct Queue {
    /// In microseconds.
    used: u64,
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    arrival: u64,
    permit: oneshot::Sender<Permit>,
}

impl FairQueue {
    pub(super) fn new(permits_max: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::new(permits_max))))
    }

    /// Waits for a permit. Always returns one: no queue is ever closed.
    pub(super) async fn acquire(self: &Arc<Self>, flow: Flow) -> Option<Permit> {
        let (permit, granted) = oneshot::channel();
        let arrival = {
            let mut state = self.lock();
            let arrival = state.enqueue(flow, permit);
            self.grant(&mut state);
            arrival
        };
        let _guard = WaitGuard {
            queue: self,
            flow,
            arrival,
        };
        granted.await.ok()
    }

    /// Grants as many permits as are free.
    fn grant(self: &Arc<Self>, state: &mut State) {
        while state.running < state.permits_max {
            let Some((flow, granted)) = state.dequeue() else {
                break;
            };
            let permit = Permit {
                queue: Some(Arc::clone(self)),
                flow,
                since: Instant::now(),
            };
            match granted.send(permit) {
                Ok(()) => state.begin(flow),
                // Nobody waits for it any more.
                Err(mut permit) => permit.queue = None,
            }
        }
        if state.running == 0 {
            *state = State {
                arrivals: state.arrivals,
                ..State::new(state.permits_max)
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the job of a caller of [`FairQueue::acquire`] out of its queue when it is dropped.
struct WaitGuard<'a> {
    queue: &'a FairQueue,
    flow: Flow,
    arrival: u64,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.queue.lock().withdraw(self.flow, self.arrival);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        let took = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut state = queue.lock();
        state.end(self.flow, took);
        queue.grant(&mut state);
    }
}

impl State {
    fn new(permits_max: usize) -> Self {
        Self {
            permits_max,
            running: 0,
            busy: 0,
            virtual_time: 0,
            arrivals: 0,
            flows: HashMap::new(),
            ready: BTreeMap::new(),
        }
    }

    fn enqueue(&mut self, flow: Flow, permit: oneshot::Sender<Permit>) -> u64 {
        if self.flows.len().saturating_sub(self.busy) >= IDLE_FLOWS_MAX {
            self.flows.retain(|_, queue| queue.is_busy());
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        let used_min = self.virtual_time.saturating_sub(CREDIT_MICROS_MAX);
        self.flows.entry(flow).or_default();
        self.update(flow, |queue| {
            if !queue.is_busy() {
                queue.used = queue.used.max(used_min);
            }
            queue.waiting.push_back(Waiting { arrival, permit });
        });
        arrival
    }

    /// Removes a job that nobody waits for any more.
    fn withdraw(&mut self, flow: Flow, arrival: u64) {
        self.update(flow, |queue| {
            let at = queue
                .waiting
                .binary_search_by_key(&arrival, |waiting| waiting.arrival);
            if let Ok(at) = at {
                queue.waiting.remove(at);
            }
        });
    }

    /// Takes the next job out of its queue.
    fn dequeue(&mut self) -> Option<(Flow, oneshot::Sender<Permit>)> {
        let (_, &flow) = self.ready.first_key_value()?;
        let first = self.update(flow, |queue| queue.waiting.pop_front())??;
        Some((flow, first.permit))
    }

    fn begin(&mut self, flow: Flow) {
        self.running += 1;
        self.update(flow, |queue| queue.running += 1);
    }

    fn end(&mut self, flow: Flow, took: u64) {
        // The share that each busy flow could have had of that time.
        let share = took / u64::try_from(self.busy).unwrap_or(u64::MAX).max(1);
        self.virtual_time = self.virtual_time.saturating_add(share);
        self.running = self.running.saturating_sub(1);
        self.update(flow, |queue| {
            queue.running = queue.running.saturating_sub(1);
            queue.used = queue.used.saturating_add(took);
        });
    }

    /// Changes the queue of a flow, and what is derived from it. None if the flow is not known.
    fn update<R>(&mut self, flow: Flow, change: impl FnOnce(&mut Queue) -> R) -> Option<R> {
        // One flow leaves a permit to others, where there is more than one.
        let running_max = self.permits_max.saturating_sub(1).max(1);
        let queue = self.flows.get_mut(&flow)?;
        if let Some(rank) = queue.rank(running_max) {
            self.ready.remove(&rank);
        }
        self.busy = self.busy.saturating_sub(usize::from(queue.is_busy()));
        let result = change(queue);
        self.busy += usize::from(queue.is_busy());
        if let Some(rank) = queue.rank(running_max) {
            self.ready.insert(rank, flow);
        }
        Some(result)
    }
}

impl Queue {
    fn is_busy(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    /// None if this flow may not have a permit now, or wants none.
    fn rank(&self, running_max: usize) -> Option<Rank> {
        let first = self.waiting.front()?;
        (self.running < running_max).then_some((self.used / GRANULARITY_MICROS, first.arrival))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Jobs of numbered flows, done one after the other; new ones may come meanwhile.
    struct Run {
        state: State,
        /// Kept, so that every job is waited for.
        granted: Vec<oneshot::Receiver<Permit>>,
    }

    impl Run {
        fn new() -> Self {
            Self {
                state: State::new(1),
                granted: Vec::new(),
            }
        }

        fn enqueue(&mut self, flow: u64) {
            let (permit, granted) = oneshot::channel();
            self.granted.push(granted);
            self.state.enqueue(Flow::Caller(flow), permit);
        }

        /// Does the next job, which takes so many microseconds, and returns the number of its flow.
        fn serve(&mut self, took: u64) -> Option<u64> {
            self.serve_as(|_| took)
        }

        fn serve_as(&mut self, took: impl Fn(u64) -> u64) -> Option<u64> {
            let (flow, _) = self.state.dequeue()?;
            let Flow::Caller(number) = flow else {
                return None;
            };
            self.state.begin(flow);
            self.state.end(flow, took(number));
            Some(number)
        }
    }

    const MILLIS: u64 = 1_000;

    #[tokio::test]
    async fn job_that_nobody_waits_for_leaves_its_queue() {
        let queue = FairQueue::new(1);
        let flow = Flow::Caller(1);
        let permit = queue.acquire(flow).await;
        for _ in 0..1_000 {
            let waiting = tokio::time::timeout(Duration::ZERO, queue.acquire(flow));
            assert!(waiting.await.is_err());
        }
        assert!(queue.lock().flows[&flow].waiting.is_empty());
        assert!(queue.lock().ready.is_empty());
        drop(permit);
        assert!(queue.acquire(flow).await.is_some());
    }

    #[test]
    fn new_flow_is_next_however_many_jobs_another_has_waiting() {
        let mut run = Run::new();
        (0..1_000).for_each(|_| run.enqueue(1));
        assert_eq!(run.serve(100 * MILLIS), Some(1));
        run.enqueue(2);
        assert_eq!(run.serve(100 * MILLIS), Some(2));
        assert_eq!(run.serve(100 * MILLIS), Some(1));
    }

    #[test]
    fn new_flow_is_next_however_many_jobs_were_done_before() {
        let mut run = Run::new();
        (0..40).for_each(|flow| run.enqueue(flow));
        for round in 0..1_000 {
            let served = run.serve((100 + round % 7) * MILLIS).unwrap();
            run.enqueue(served);
        }
        // Also for its next jobs.
        for _ in 0..4 {
            run.enqueue(1_000);
            assert_eq!(run.serve(100 * MILLIS), Some(1_000));
        }
    }

    #[test]
    fn flow_of_shorter_jobs_gets_more_permits() {
        let mut run = Run::new();
        (0..100).for_each(|_| run.enqueue(1));
        (0..100).for_each(|_| run.enqueue(2));
        let mut served = [0; 3];
        for _ in 0..60 {
            let flow = run.serve_as(|flow| if flow == 1 { 900 } else { 100 } * MILLIS);
            served[usize::try_from(flow.unwrap()).unwrap()] += 1;
        }
        assert!(served[2] >= 8 * served[1], "{served:?}");
    }

    #[test]
    fn ever_new_flows_do_not_keep_one_waiting_for_ever() {
        let mut run = Run::new();
        run.enqueue(0);
        run.enqueue(1);
        assert_eq!(run.serve(1_000 * MILLIS), Some(0));
        run.enqueue(0);
        let mut flow = 2;
        let served = (0..1_000).position(|_| {
            run.enqueue(flow);
            flow += 1;
            run.serve(100 * MILLIS) == Some(0)
        });
        assert!(served.is_some(), "{served:?}");
    }

    #[test]
    fn flows_that_used_about_the_same_are_served_as_they_came() {
        let mut run = Run::new();
        run.enqueue(1);
        assert_eq!(run.serve(10 * MILLIS), Some(1));
        run.enqueue(1);
        run.enqueue(2);
        assert_eq!(run.serve(10 * MILLIS), Some(1));
        assert_eq!(run.serve(10 * MILLIS), Some(2));
    }

    #[test]
    fn idle_flows_are_forgotten_and_busy_ones_are_not() {
        let mut run = Run::new();
        run.enqueue(0);
        assert_eq!(run.serve(1_000 * MILLIS), Some(0));
        run.enqueue(0);
        for flow in 1..=2 * IDLE_FLOWS_MAX as u64 {
            run.enqueue(flow);
            assert_eq!(run.serve(0), Some(flow));
        }
        assert!(run.state.flows.len() <= IDLE_FLOWS_MAX + 1);
        assert_eq!(run.state.flows[&Flow::Caller(0)].used, 1_000 * MILLIS);
        assert_eq!(run.state.busy, 1);
    }

    #[tokio::test]
    async fn flow_leaves_one_permit_to_others_and_a_job_that_is_gone_takes_none() {
        let queue = FairQueue::new(3);
        let (one, other) = (Flow::Caller(1), Flow::Caller(2));
        let first = queue.acquire(one).await;
        let second = queue.acquire(one).await;
        let third = queue.acquire(one);
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        {
            let mut gone = Box::pin(queue.acquire(one));
            assert!(futures::poll!(&mut gone).is_pending());
        }
        let others = queue.acquire(other).await;
        drop(first);
        let third = third.await;
        assert_eq!(queue.lock().running, 3);
        drop((third, second));
        assert_eq!(queue.lock().running, 1);
        drop(others);
        assert!(queue.lock().flows.is_empty());
    }

    /// How long one job takes to queue, while so many flows have one waiting.
    fn time_among(flows: u64) -> Duration {
        const JOBS: u32 = 2_000;
        let mut run = Run::new();
        (0..flows).for_each(|flow| run.enqueue(flow));
        let start = Instant::now();
        for _ in 0..JOBS {
            let served = run.serve(100 * MILLIS).unwrap();
            run.enqueue(served);
        }
        start.elapsed() / JOBS
    }

    #[test]
    fn time_per_job_hardly_grows_with_the_number_of_flows() {
        // The shortest of some: the machine may be busy with something else.
        let shortest = |flows| (0..3).map(|_| time_among(flows)).min().unwrap();
        let (few, many) = (shortest(100), shortest(10_000));
        assert!(many < 10 * few, "{few:?} among 100, {many:?} among 10,000");
    }
}
