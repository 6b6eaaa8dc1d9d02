//! Schedules of calls with a request id: each holds as the engine is, and breaks without the mechanism that it names.

use onex_types::time::slack;

use crate::{
    call::{CALL_RESULT_BYTES_MAX, CallOutcome, CallStatus, Executed},
    command::{Answer, Refusal},
    engine::Input,
    execution::RUN_LATE_MILLIS,
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::{CALLS_KEPT_MILLIS, CALLS_MAX},
    stage::{Stage, needs},
    stage_calls::{
        TIMEOUT, begin, begin_other, begin_run, completed, end, end_run, execution, failed, find,
        request, stage,
    },
};

/// Until a call is ended as unknown by an instance that is not the named one.
const UP_MILLIS: u64 = TIMEOUT + 2_000;

#[test]
fn c01_of_two_instances_that_get_a_call_at_once_one_executes_it() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let mut stage = stage(2, mechanisms);
        let jobs = [stage.ask(0, begin(1, false)), stage.ask(1, begin(1, false))];
        stage.settle();
        let begun = jobs.into_iter().filter_map(|job| stage.begun(job));
        begun.count() == 1
    });
}

#[test]
fn c02_the_same_request_finds_its_call_wherever_it_is_asked() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let mut stage = stage(2, mechanisms);
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
    let mut stage = stage(2, Mechanisms::default());
    stage.begin_call(0, 1, true);
    let other = stage.ask(1, begin_other(1));
    stage.settle();
    assert_eq!(
        stage.refusal(other),
        Some(&Refusal::IdempotencyMismatch(super::stage_calls::request(
            1
        )))
    );
}

#[test]
fn c03_an_outcome_that_was_told_stays() {
    needs(Mechanism::OutcomeStays, |mechanisms| {
        let mut stage = stage(2, mechanisms);
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
        let mut stage = stage(2, Mechanisms::default());
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
        let mut stage = stage(1, mechanisms);
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
        let mut stage = stage(2, mechanisms);
        let call = stage.begin_call(0, 1, true);
        stage.ask(0, begin_run(2));
        stage.settle();
        stage.instances[0].engine = None;
        for _ in 0..11 {
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
    let mut stage = stage(1, Mechanisms::default());
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
        let mut stage = stage(1, mechanisms);
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
fn c11_a_begin_whose_outcome_its_caller_did_not_wait_for_is_taken_back() {
    for lands in [true, false] {
        let mut stage = stage(2, Mechanisms::default());
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
fn c12_a_lagging_instance_does_not_say_that_there_is_no_call() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let mut stage = stage(2, mechanisms);
        let before = stage.ask(1, find(1));
        stage.settle();
        assert_eq!(stage.refusal(before), Some(&Refusal::CallNotFound));
        stage.pass(10);
        stage.settle();
        stage.ask(0, begin(1, false));
        stage.arrive_acked().unwrap();
        // Instance 1 has not heard of the call, and has nobody to ask for it.
        let job = stage.ask(1, find(1));
        stage.settle();
        stage.call(job).is_some()
    });
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
        let mut stage = stage(2, Mechanisms::default());
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
    let mut stage = stage(1, Mechanisms::default());
    let first = stage.begin_call(0, 1, true);
    stage.ask(0, end(1, first, CallOutcome::Unknown));
    stage.settle();
    let job = stage.ask(0, begin(1, false));
    stage.settle();
    assert_eq!(stage.call(job), Some((first, Some(CallOutcome::Unknown))));
}

#[test]
fn remembered_calls_are_bounded_in_number_and_time() {
    let mut stage = stage(2, Mechanisms::default());
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
fn a_result_that_is_too_large_is_answered_once_and_not_kept() {
    let mut stage = stage(1, Mechanisms::default());
    let id = stage.begin_call(0, 1, false);
    let large = "1".repeat(CALL_RESULT_BYTES_MAX + 1);
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
fn an_end_that_finds_nothing_is_answered_as_unknown() {
    let mut stage = stage(1, Mechanisms::default());
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
