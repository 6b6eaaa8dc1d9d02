//! Schedules of calls and executions: each holds as the engine is, and breaks without the mechanism that it names.

use onex_types::time::slack;

use crate::{
    call::{CallOutcome, CallStatus, Executed, ExecutionStatus},
    command::{Answer, Refusal},
    engine::{Input, JobId},
    entry::{CommandRecord, Entry, EventKind},
    execution::{RUN_LATE_MILLIS, Reported},
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::{CALLS_KEPT_MILLIS, CALLS_MAX, RUNS_MAX},
    stage::{Stage, needs},
    stage_calls::{
        TIMEOUT, begin, begin_other, begin_run, completed, end, end_by, end_run, execution, failed,
        request,
    },
};

/// Until a call is ended as unknown by an instance that is not the named one.
const UP_MILLIS: u64 = TIMEOUT + 2_000;

#[test]
fn c01_of_two_instances_that_get_a_call_at_once_one_executes_it() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let jobs = [stage.ask(0, begin(1, false)), stage.ask(1, begin(1, false))];
        stage.settle();
        let begun = jobs.into_iter().filter_map(|job| stage.begun(job));
        begun.count() == 1
    });
}

#[test]
fn c02_the_same_request_finds_its_call_wherever_it_is_asked() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let first = stage.begin_call(0, 1, false);
        let again = stage.ask(1, begin(1, false));
        stage.settle();
        if stage.begun(again).is_some() {
            return false;
        }
        assert_eq!(stage.call(again), Some((first, None)));
        let ended = stage.ask(0, end(1, first, completed("3")));
        stage.settle();
        assert_eq!(stage.ended(ended), Some((first, completed("3"))));
        let again = stage.ask(1, begin(1, false));
        stage.settle();
        stage.call(again) == Some((first, Some(completed("3"))))
    });
}

#[test]
fn a_request_id_with_other_parameters_is_refused() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.begin_call(0, 1, true);
    let other = stage.ask(1, begin_other(1));
    stage.settle();
    assert_eq!(stage.refusal(other), Some(&Refusal::IdempotencyMismatch));
}

#[test]
fn c03_an_outcome_that_was_told_stays() {
    needs(Mechanism::OutcomeStays, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let first = stage.begin_call(0, 1, false);
        stage.pass(UP_MILLIS);
        stage.settle();
        let told = stage.ask(1, begin(1, false));
        stage.settle();
        assert_eq!(stage.call(told), Some((first, Some(CallOutcome::Unknown))));
        // The instance that executed it stood still, and reports what came of it.
        let late = stage.ask(0, end(1, first, completed("3")));
        stage.settle();
        let again = stage.ask(1, begin(1, false));
        stage.settle();
        stage.ended(late) == Some((first, CallOutcome::Unknown))
            && stage.call(again) == Some((first, Some(CallOutcome::Unknown)))
    });
}

#[test]
fn c04_an_instance_that_stood_still_is_not_told_that_nothing_was_executed() {
    for idempotent in [false, true] {
        let mut stage = Stage::new(2, Mechanisms::default());
        let first = stage.begin_call(0, 1, idempotent);
        stage.pass(UP_MILLIS);
        stage.settle();
        if idempotent {
            let second = stage.begin_call(1, 1, idempotent);
            stage.ask(1, end(1, second, completed("3")));
            stage.settle();
        }
        // It finds that it is too late to send anything.
        let late = stage.ask(0, end(1, first, failed(Executed::No, true)));
        stage.settle();
        assert_eq!(stage.ended(late), Some((first, CallOutcome::Unknown)));
    }
}

#[test]
fn c05_what_may_have_been_executed_before_is_not_said_to_be_not_executed() {
    needs(Mechanism::ExecutedBefore, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        stage.begin_call(0, 1, true);
        stage.pass(UP_MILLIS);
        stage.settle();
        // The provider declines the second execution.
        let second = stage.begin_call(0, 1, true);
        let job = stage.ask(0, end(1, second, failed(Executed::No, true)));
        stage.settle();
        stage.ended(job) == Some((second, failed(Executed::Unknown, true)))
    });
}

#[test]
fn c06_what_a_crash_leaves_ends_as_unknown_when_its_time_is_up() {
    needs(Mechanism::UnknownInTime, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let call = stage.begin_call(0, 1, true);
        stage.ask(0, begin_run(2));
        stage.settle();
        stage.instances[0].engine = None;
        for _ in 0..20 {
            stage.pass(1_500);
            stage.settle();
        }
        let state = stage.engine(1).state();
        state.call_status(request(1), call) == CallStatus::Ended(CallOutcome::Unknown)
            && state.run(execution(2)).is_none()
            && stage.counts(1, "calc") == (2, 0)
            && stage.alike()
    });
}

#[test]
fn a_call_is_not_given_up_before_its_time_and_the_slack_are_over() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let call = stage.begin_call(0, 1, true);
    stage.ask(0, begin_run(2));
    stage.settle();
    stage.pass(TIMEOUT + slack(TIMEOUT) - 1);
    stage.settle();
    let status = |stage: &Stage| stage.engine(0).state().call_status(request(1), call);
    assert_eq!(status(&stage), CallStatus::Running);
    stage.pass(2);
    stage.settle();
    assert_eq!(status(&stage), CallStatus::Ended(CallOutcome::Unknown));
    // Nobody waits for the other one, whose end may be on its way for longer.
    assert!(stage.engine(0).state().run(execution(2)).is_some());
    stage.pass(RUN_LATE_MILLIS + slack(RUN_LATE_MILLIS));
    stage.settle();
    assert!(stage.engine(0).state().run(execution(2)).is_none());
    assert_eq!(stage.counts(0, "calc"), (2, 0));
}

#[test]
fn c07_an_end_that_waited_for_the_store_is_taken_before_the_timer() {
    needs(Mechanism::RequestsBeforeTimers, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        let call = stage.begin_call(0, 1, false);
        stage.ask(0, begin_run(2));
        stage.settle();
        stage.input(0, [Input::Disconnected]);
        stage.t += TIMEOUT + RUN_LATE_MILLIS + 5_000;
        let job = stage.ask_until(0, end(1, call, completed("3")), 10_000);
        stage.ask_until(0, end_run(2, &completed("3")), 10_000);
        stage.follow(0);
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.ended(job) == Some((call, completed("3"))) && stage.counts(0, "calc") == (2, 2)
    });
}

#[test]
fn c08_an_execution_ends_and_counts_once() {
    needs(Mechanism::OneEnd, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        stage.ask(0, begin_run(1));
        stage.settle();
        stage.pass(TIMEOUT + RUN_LATE_MILLIS + 2_000);
        stage.settle();
        assert_eq!(stage.counts(0, "calc"), (1, 0));
        stage.ask(0, end_run(1, &completed("3")));
        stage.settle();
        stage.counts(0, "calc") == (1, 0)
    });
}

#[test]
fn c09_an_end_in_an_entry_that_was_lost_counts_once() {
    needs(Mechanism::UndoOnLoss, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        for n in 0..2 {
            stage.ask(0, begin_run(n));
            stage.settle();
        }
        stage.ask(0, end_run(0, &completed("3")));
        stage.ask(1, end_run(1, &failed(Executed::Yes, false)));
        // The second one lands first.
        let second = stage.sent.remove(1);
        stage.sent.insert(0, second);
        stage.arrive_acked().unwrap();
        let fits = stage.arrive_acked();
        assert_eq!(fits, None, "the first one must lose");
        stage.deliver(0);
        if stage.notes.iter().any(|note| note.contains("stops")) {
            return false;
        }
        stage.settle();
        (0..2).all(|index| stage.counts(index, "calc") == (2, 1)) && stage.alike()
    });
}

#[test]
fn c10_many_ends_in_one_entry_are_counted_each() {
    let mut stage = Stage::new(1, Mechanisms::default());
    for n in 0..200 {
        stage.ask(0, begin_run(n));
    }
    stage.settle();
    assert_eq!(stage.engine(0).state().indexes.runs(), 200);
    // The first goes alone, the others wait for it.
    for n in 0..200 {
        let outcome = if n % 4 == 0 {
            failed(Executed::Yes, false)
        } else {
            completed("3")
        };
        stage.ask(0, end_run(n, &outcome));
    }
    let before = stage.store.last();
    stage.arrive_acked().unwrap();
    stage.arrive_acked().unwrap();
    let entries = stage.store.last().0 - before.0;
    let bytes = stage.store.get(stage.store.last()).unwrap().bytes.len();
    assert_eq!((entries, stage.counts(0, "calc")), (2, (200, 150)));
    assert!(bytes < 199 * 450, "{bytes} bytes for 199 ends");
    assert_eq!(stage.engine(0).state().indexes.runs(), 0);
    assert!(stage.alike());
}

#[test]
fn c11_a_begin_whose_outcome_its_caller_did_not_wait_for_is_taken_back() {
    for lands in [true, false] {
        let mut stage = Stage::new(2, Mechanisms::default());
        let job = stage.ask_until(0, begin(1, false), 500);
        let command = stage.last_command();
        if lands {
            // It is in the log, and nobody hears of it.
            stage.arrive().unwrap();
        } else {
            let other = stage.ask(1, begin_run(5));
            let second = stage.sent.remove(1);
            stage.sent.insert(0, second);
            stage.arrive_acked().unwrap();
            assert!(stage.reply(other).is_some());
        }
        stage.pass(600);
        assert_eq!(stage.refusal(job), Some(&Refusal::Unknown));
        // Nothing was sent, and nothing will be.
        let back = stage.ask(0, end(1, command, failed(Executed::No, true)));
        stage.settle();
        let outcome = if lands {
            failed(Executed::No, true)
        } else {
            CallOutcome::Unknown
        };
        assert_eq!(stage.ended(back), Some((command, outcome)));
        let again = stage.ask(1, begin(1, false));
        stage.settle();
        assert!(stage.begun(again).is_some());
        assert!(stage.alike());
    }
}

#[test]
fn a_call_may_be_executed_again_where_that_does_no_harm() {
    for (outcome, idempotent, again) in [
        (CallOutcome::Unknown, true, true),
        (CallOutcome::Unknown, false, false),
        (failed(Executed::No, true), false, true),
        (failed(Executed::No, false), true, false),
        (failed(Executed::Yes, true), true, false),
        (completed("3"), true, false),
    ] {
        let mut stage = Stage::new(2, Mechanisms::default());
        let first = stage.begin_call(0, 1, idempotent);
        stage.ask(0, end(1, first, outcome.clone()));
        stage.settle();
        let job = stage.ask(1, begin(1, idempotent));
        stage.settle();
        let Some(second) = stage.begun(job) else {
            assert!(!again, "{outcome:?}");
            assert_eq!(stage.call(job), Some((first, Some(outcome))));
            continue;
        };
        assert!(again && second != first, "{outcome:?}");
        let late = stage.ask(0, end(1, first, completed("4")));
        let own = stage.ask(1, end(1, second, completed("5")));
        stage.settle();
        assert_eq!(stage.ended(late), Some((first, CallOutcome::Unknown)));
        assert_eq!(stage.ended(own), Some((second, completed("5"))));
    }
}

#[test]
fn a_provider_with_another_contract_does_not_execute_again_what_may_have_been() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let first = stage.begin_call(0, 1, true);
    stage.ask(0, end(1, first, CallOutcome::Unknown));
    stage.settle();
    let job = stage.ask(0, begin(1, false));
    stage.settle();
    assert_eq!(stage.call(job), Some((first, Some(CallOutcome::Unknown))));
}

#[test]
fn remembered_calls_are_bounded_in_number_and_time() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let max = u128::try_from(CALLS_MAX).unwrap();
    for n in 1..=max {
        let id = stage.begin_call(0, n, false);
        stage.ask(0, end(n, id, completed("3")));
        stage.settle();
    }
    let full = stage.ask(1, begin(99, false));
    let known = stage.ask(1, begin(1, false));
    stage.settle();
    assert_eq!(stage.refusal(full), Some(&Refusal::CallsFull));
    assert!(stage.call(known).is_some());
    stage.pass(CALLS_KEPT_MILLIS - 1_000);
    stage.settle();
    assert_eq!(stage.engine(0).state().indexes.calls(), CALLS_MAX);
    stage.pass(2_000);
    stage.settle();
    assert_eq!(stage.engine(1).state().indexes.calls(), 0);
    let room = stage.ask(1, begin(99, false));
    stage.settle();
    assert!(stage.begun(room).is_some());
    assert!(stage.alike());
}

#[test]
fn executions_under_way_are_bounded_and_a_refused_one_has_no_end() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let max = u128::try_from(RUNS_MAX).unwrap();
    let jobs: Vec<JobId> = (0..=max).map(|n| stage.ask(0, begin_run(n))).collect();
    stage.settle();
    let refused = stage.refusal(jobs[RUNS_MAX]);
    assert!(matches!(refused, Some(Refusal::LimitExceeded { .. })));
    assert_eq!(stage.engine(0).state().indexes.runs(), RUNS_MAX);
    stage.ask(0, end_run(max, &completed("3")));
    stage.ask(0, end_run(0, &completed("3")));
    stage.settle();
    assert_eq!(stage.counts(0, "calc"), (1, 1));
    let room = stage.ask(0, begin_run(max));
    stage.settle();
    assert_eq!(stage.refusal(room), None);
}

#[test]
fn a_result_that_is_too_large_is_answered_once_and_not_kept() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let id = stage.begin_call(0, 1, false);
    let large = "1".repeat(crate::call::CALL_RESULT_BYTES_MAX + 1);
    stage.ask(0, end(1, id, completed(&large)));
    stage.settle();
    let again = stage.ask(0, begin(1, false));
    stage.settle();
    let Some((_, Some(CallOutcome::Completed(kept)))) = stage.call(again) else {
        panic!("it has ended");
    };
    assert_eq!(kept.result, None);
}

#[test]
fn calls_executions_and_counts_are_in_snapshots() {
    let limits = crate::engine::Limits {
        snapshot_bytes: 2_000,
        snapshot_millis: u64::MAX,
        chunk_bytes: 300,
    };
    let mut stage = Stage::empty(2, Mechanisms::default(), &limits);
    for index in 0..2 {
        stage.start(index);
        stage.settle();
    }
    // Ends fall between the chunks of snapshots, before and behind the range that holds the counts.
    for n in 0..40 {
        stage.ask(0, begin_run(n));
        stage.ask(1, end_run(n.saturating_sub(3), &completed("3")));
        if n < u128::try_from(CALLS_MAX).unwrap() {
            let id = stage.begin_call(1, 100 + n, false);
            stage.ask(0, end(100 + n, id, completed("3")));
        }
        stage.settle();
        assert!(stage.alike(), "after {n}");
    }
    assert!(stage.engine(0).snapshots().older().is_some());
    let ends = 37 + u64::try_from(CALLS_MAX).unwrap();
    assert_eq!(stage.counts(1, "calc"), (ends, ends));
}

/// The events of executions in an entry: kind, request id, provider, how it ended.
fn reports(entry: &Entry) -> Vec<(EventKind, bool, String, Option<ExecutionStatus>)> {
    let changes = entry.cmds.iter().flat_map(CommandRecord::changes);
    let reports = changes.filter_map(|change| {
        let reported = Reported::of(change)?;
        let node_id = reported.run.execution.node_id.to_string();
        let named = reported.request_id.is_some();
        let how = reported.end.map(|end| end.how);
        Some((change.event()?.kind, named, node_id, how))
    });
    reports.collect()
}

#[test]
fn events_say_what_was_executed_by_whom_and_how_it_ended() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let before = stage.store.last().0;
    let call = stage.begin_call(0, 1, false);
    stage.ask(0, end_by(1, call, completed("3"), "calc.two"));
    stage.settle();
    stage.ask(0, begin_run(2));
    stage.settle();
    stage.ask(0, end_run(2, &failed(Executed::No, true)));
    stage.settle();
    let entries = (before + 1..=stage.store.last().0).filter_map(|at| {
        let message = stage.store.get(onex_types::entry::Sequence(at))?;
        message.entry.clone()
    });
    let reported: Vec<_> = entries.flat_map(|entry| reports(&entry)).collect();
    let invoked = |named| (EventKind::ToolInvoked, named, "calc".to_owned(), None);
    assert_eq!(
        reported,
        [
            invoked(true),
            (
                EventKind::ToolCompleted,
                true,
                "calc.two".to_owned(),
                Some(ExecutionStatus::Completed)
            ),
            invoked(false),
            (
                EventKind::ToolFailed,
                false,
                "calc".to_owned(),
                Some(ExecutionStatus::Failed)
            ),
        ]
    );
    // What certainly was not executed does not count; the other one counts for the node that answered.
    assert_eq!(stage.counts(0, "calc"), (0, 0));
    assert_eq!(stage.counts(0, "calc.two"), (1, 1));
}

#[test]
fn an_end_that_finds_nothing_is_answered_as_unknown() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, end(1, execution(1), completed("3")));
    stage.settle();
    let ended = stage.reply(job).map(|outcome| outcome.result.clone());
    let unknown = Answer::ExecutionEnded {
        execution_id: execution(1),
        outcome: CallOutcome::Unknown,
    };
    assert_eq!(ended, Some(Ok(unknown)));
    assert_eq!(stage.engine(0).state().indexes.calls(), 0);
}
