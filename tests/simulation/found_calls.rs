//! Calls with a request id, each sequence of events as the few steps that lead there.

use uuid::Uuid;

use crate::domain::{
    call::{Begin, Completed, End, Executed, Failure, Outcome},
    command::{Action, Answer, Command, Refusal},
    deed::{Deed, Fed, Step},
    ids::{Digest, ExecutionId, NodeId, RequestId},
    key::{Key, Revision},
    record::{Stored, Unknown},
    time::{Moment, slack},
    transition::{Happened, How},
};

use super::found::Bench;

const TIMEOUT: u64 = 2_000;

fn request(id: u128) -> RequestId {
    RequestId(Uuid::from_u128(id))
}

fn begin(id: u128, idempotent: bool) -> Begin {
    Begin {
        request_id: request(id),
        digest: Digest(Uuid::from_u128(id)),
        tool_name: "add".parse().unwrap(),
        tool_version: "1.0.0".parse().unwrap(),
        contract_hash: "c2:0".to_owned(),
        node_id: "calc".parse::<NodeId>().unwrap(),
        idempotent,
        requester_id: None,
        trace_log_id: None,
        timeout_ms: TIMEOUT,
    }
}

fn completed(sum: u64) -> Outcome {
    Outcome::Completed(Completed {
        result: Some(sum.to_string()),
    })
}

fn failed(executed: Executed, retryable: bool) -> Outcome {
    Outcome::Failed(Box::new(Failure {
        code: "ANY".to_owned(),
        message: "no".to_owned(),
        retryable,
        executed,
        details: Unknown::new(),
    }))
}

impl Bench {
    fn begin_call(&mut self, id: u128, idempotent: bool) -> (ExecutionId, Deed) {
        let deed = self.deed(Action::BeginCall(Box::new(begin(id, idempotent))));
        (ExecutionId(deed.id().0), deed)
    }

    fn end_call(&mut self, id: u128, execution_id: ExecutionId, outcome: Outcome) -> Deed {
        self.deed(Action::EndCall(Box::new(End {
            request_id: request(id),
            execution_id,
            by: None,
            attempts: 1,
            asked: Vec::new(),
            duration_ms: 5,
            outcome,
        })))
    }

    /// Runs it, with a store that takes everything, and a follower that sees it.
    fn carry_out(&mut self, instance: usize, mut deed: Deed) -> Result<Answer, Refusal> {
        let mut fed = Fed::Go;
        loop {
            fed = match self.step(instance, &mut deed, fed) {
                Step::Done(outcome) => {
                    self.follow(instance);
                    return outcome;
                }
                Step::Write(writes) => self
                    .store
                    .write(&writes, true)
                    .map_or(Fed::Lost, Fed::Written),
                Step::Moved(_) | Step::Exact(_) | Step::Barrier => {
                    self.follow(instance);
                    Fed::Go
                }
                Step::Pause(_) => Fed::Go,
                Step::Probe(_) => unreachable!(),
            };
        }
    }

    fn settle(&mut self, instance: usize, id: u128) -> Result<Answer, Refusal> {
        self.follow(instance);
        let key = Key::Call(request(id));
        let now = self.now();
        self.cores[instance].index.advance(now.mono);
        let command = Command::settle(self.id(), key);
        let deed = Deed::new(command, Moment(self.time + 4_000));
        self.carry_out(instance, deed)
    }

    fn transitions(&self, id: u128) -> Vec<(Happened, Option<How>)> {
        let Some(Stored::Call(record)) = self.store.value(&Key::Call(request(id))) else {
            panic!("no call");
        };
        let told = record.outbox.iter();
        told.map(|told| {
            let ended = told.execution.as_ref().and_then(|of| of.ended.as_ref());
            (told.event, ended.map(|ended| ended.how))
        })
        .collect()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as deeds answer")]
fn execution(execution_id: ExecutionId, outcome: Option<Outcome>) -> Result<Answer, Refusal> {
    Ok(Answer::Execution {
        own: outcome.is_none(),
        execution_id,
        outcome,
    })
}

/// Two instances get the same request at the same moment: one carries it out, and both answer the same.
#[test]
fn one_of_two_goes() {
    let mut bench = Bench::new(2);
    let (first, mut one) = bench.begin_call(1, false);
    let (_, mut other) = bench.begin_call(1, false);
    let write = bench.until_write(0, &mut one, Fed::Go);
    let late = bench.until_write(1, &mut other, Fed::Go);
    let at = bench.land(&write);
    let went = bench.step(0, &mut one, Fed::Written(at));
    assert_eq!(went, Step::Done(execution(first, None)));
    assert_eq!(bench.store.write(&[late], true), None);
    bench.step(1, &mut other, Fed::Lost);
    bench.follow(1);
    bench.step(1, &mut other, Fed::Go);
    let runs = bench.step(1, &mut other, Fed::Go);
    let not_own = Answer::Execution {
        execution_id: first,
        own: false,
        outcome: None,
    };
    assert_eq!(runs, Step::Done(Ok(not_own)));
    bench.follow(0);
    let end = bench.end_call(1, first, completed(3));
    let told = execution(first, Some(completed(3)));
    assert_eq!(bench.carry_out(0, end), told);
    bench.follow(1);
    let (_, again) = bench.begin_call(1, false);
    assert_eq!(bench.carry_out(1, again), told);
    assert_eq!(
        bench.transitions(1),
        [
            (Happened::CallBegan, None),
            (Happened::CallCompleted, Some(How::Completed))
        ]
    );
}

/// The acknowledgement is lost, and the repeated write finds that the first has landed: it is this one that goes.
#[test]
fn a_lost_acknowledgement_goes_once() {
    let mut bench = Bench::new(1);
    let (first, mut deed) = bench.begin_call(1, false);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    bench.land(&write);
    let again = bench.until_write(0, &mut deed, Fed::Unknown);
    assert_eq!(again, write);
    bench.step(0, &mut deed, Fed::Lost);
    bench.follow(0);
    bench.step(0, &mut deed, Fed::Go);
    let went = bench.step(0, &mut deed, Fed::Go);
    assert_eq!(went, Step::Done(execution(first, None)));
}

/// Whoever ran it was stopped, and says too late what came of it: what others were told stays.
#[test]
fn an_outcome_that_is_there_stays() {
    let mut bench = Bench::new(2);
    let (first, deed) = bench.begin_call(1, false);
    assert_eq!(bench.carry_out(0, deed), execution(first, None));
    bench.follow(1);
    bench.time += TIMEOUT + slack(TIMEOUT) - 1;
    assert_eq!(bench.settle(1, 1), Ok(Answer::Nothing));
    bench.time += 1;
    let unknown = execution(first, Some(Outcome::Unknown));
    assert_eq!(bench.settle(1, 1), unknown);
    let end = bench.end_call(1, first, completed(3));
    assert_eq!(bench.carry_out(0, end), unknown);
    let (_, again) = bench.begin_call(1, false);
    assert_eq!(bench.carry_out(1, again), unknown);
    assert_eq!(
        bench.transitions(1),
        [
            (Happened::CallBegan, None),
            (Happened::CallFailed, Some(How::Unknown))
        ]
    );
}

/// What does no harm twice, or was not done, is carried out anew; the first execution keeps its outcome.
#[test]
fn some_calls_run_again() {
    for (outcome, idempotent, again) in [
        (Outcome::Unknown, true, true),
        (Outcome::Unknown, false, false),
        (failed(Executed::No, true), false, true),
        (failed(Executed::No, false), true, false),
        (failed(Executed::Yes, true), true, false),
        (completed(3), true, false),
    ] {
        let mut bench = Bench::new(1);
        let (first, deed) = bench.begin_call(1, idempotent);
        assert_eq!(bench.carry_out(0, deed), execution(first, None));
        let end = bench.end_call(1, first, outcome.clone());
        let told = execution(first, Some(outcome.clone()));
        assert_eq!(bench.carry_out(0, end), told);
        let (second, deed) = bench.begin_call(1, idempotent);
        let begun = bench.carry_out(0, deed);
        if !again {
            assert_eq!(begun, told, "{outcome:?}");
            continue;
        }
        assert_eq!(begun, execution(second, None), "{outcome:?}");
        let late = bench.end_call(1, first, completed(3));
        let told = execution(first, Some(Outcome::Unknown));
        assert_eq!(bench.carry_out(0, late), told);
        let end = bench.end_call(1, second, completed(4));
        let told = execution(second, Some(completed(4)));
        assert_eq!(bench.carry_out(0, end), told);
    }
}

/// What is remembered is bounded, in number and in time.
#[test]
fn calls_are_forgotten() {
    let mut bench = Bench::new(1);
    let mut executions = Vec::new();
    for id in 1..=4 {
        let (execution_id, deed) = bench.begin_call(id, false);
        assert_eq!(bench.carry_out(0, deed), execution(execution_id, None));
        executions.push(execution_id);
    }
    let (_, deed) = bench.begin_call(5, false);
    assert_eq!(bench.carry_out(0, deed), Err(Refusal::CallsFull));
    let end = bench.end_call(1, executions[0], completed(3));
    bench.carry_out(0, end).unwrap();
    bench.time += 59_999;
    assert_eq!(bench.settle(0, 1), Ok(Answer::Nothing));
    // Its events are not out: it is not forgotten before they are.
    bench.time += 1;
    assert_eq!(bench.settle(0, 1), Ok(Answer::Nothing));
    let last = bench.store.last;
    bench.published(0, last);
    bench.time += 1_000;
    assert_eq!(
        bench.settle(0, 1),
        Ok(Answer::Done(Revision(bench.store.last)))
    );
    let key = Key::Call(request(1));
    assert_eq!(bench.store.value(&key), Some(&Stored::Forgotten));
    let (fifth, deed) = bench.begin_call(5, false);
    assert_eq!(bench.carry_out(0, deed), execution(fifth, None));
}

/// The request id belongs to its parameters; and what somebody else wrote over says nothing.
#[test]
fn another_call_is_refused() {
    let mut bench = Bench::new(1);
    let (first, deed) = bench.begin_call(1, true);
    bench.carry_out(0, deed).unwrap();
    let other = Begin {
        digest: Digest(Uuid::from_u128(99)),
        ..begin(1, true)
    };
    let deed = bench.deed(Action::BeginCall(Box::new(other)));
    assert_eq!(
        bench.carry_out(0, deed),
        Err(Refusal::IdempotencyMismatch(request(1)))
    );
    bench.store.put(Key::Call(request(1)), Stored::Foreign);
    bench.follow(0);
    let end = bench.end_call(1, first, completed(3));
    assert_eq!(
        bench.carry_out(0, end),
        execution(first, Some(Outcome::Unknown))
    );
    let (_, deed) = bench.begin_call(1, true);
    assert!(matches!(
        bench.carry_out(0, deed),
        Ok(Answer::Execution {
            outcome: Some(Outcome::Unknown),
            ..
        })
    ));
}

/// The acknowledgement is lost, and the call has ended by the time that this is noticed: it may be made again, but
/// under another name, for the first has had its end.
#[test]
fn an_execution_begins_once() {
    let mut bench = Bench::new(2);
    let (first, mut deed) = bench.begin_call(1, true);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    bench.land(&write);
    let again = bench.until_write(0, &mut deed, Fed::Unknown);
    assert_eq!(again, write);
    bench.follow(1);
    bench.time += TIMEOUT + slack(TIMEOUT);
    let unknown = execution(first, Some(Outcome::Unknown));
    assert_eq!(bench.settle(1, 1), unknown);
    bench.time -= TIMEOUT;
    bench.step(0, &mut deed, Fed::Lost);
    bench.follow(0);
    bench.step(0, &mut deed, Fed::Go);
    let second = bench.until_write(0, &mut deed, Fed::Go);
    assert_ne!(ExecutionId(deed.id().0), first);
    let at = bench.land(&second);
    let went = bench.step(0, &mut deed, Fed::Written(at));
    assert_eq!(went, Step::Done(execution(ExecutionId(deed.id().0), None)));
}
