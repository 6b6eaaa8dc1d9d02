//! Schedules of executions without a request id, of counts, and of what events report.

use onex_types::entry::Sequence;

use crate::{
    call::{Executed, ExecutionStatus},
    command::Refusal,
    engine::{EXPIRIES_BESIDE_REQUESTS, JobId, Limits},
    entry::{CommandRecord, Entry, EventKind, Reported},
    execution::RUN_LATE_MILLIS,
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::{CALLS_MAX, RUNS_MAX},
    stage::{Stage, needs},
    stage_calls::{TIMEOUT, begin_run, completed, end, end_by, end_run, failed, stage},
};

#[test]
fn c08_an_execution_ends_and_counts_once() {
    needs(Mechanism::OneEnd, |mechanisms| {
        let mut stage = stage(1, mechanisms);
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
fn an_end_does_not_overtake_its_begin() {
    let mut stage = stage(1, Mechanisms::default());
    // Both wait for the entry that is under way.
    stage.ask(0, begin_run(1));
    stage.ask(0, begin_run(2));
    stage.ask(0, end_run(2, &completed("3")));
    stage.settle();
    assert_eq!(stage.counts(0, "calc"), (1, 1));
    assert_eq!(stage.engine(0).state().indexes.runs(), 1);
}

#[test]
fn c09_an_end_in_an_entry_that_was_lost_counts_once() {
    needs(Mechanism::UndoOnLoss, |mechanisms| {
        let mut stage = stage(2, mechanisms);
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
    let mut stage = stage(1, Mechanisms::default());
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
fn executions_under_way_are_bounded_and_a_refused_one_has_no_end() {
    let mut stage = stage(1, Mechanisms::default());
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
fn calls_executions_and_counts_are_in_snapshots() {
    let limits = Limits {
        snapshot_bytes: 2_000,
        snapshot_millis: u64::MAX,
        chunk_bytes: 300,
        ..Limits::default()
    };
    let mut stage = Stage::empty(2, Mechanisms::default(), &limits);
    for index in 0..2 {
        stage.start(index);
        stage.settle();
    }
    stage.register_calc();
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

#[test]
fn counts_are_forgotten_with_their_node() {
    let mut stage = stage(2, Mechanisms::default());
    for n in 0..2 {
        stage.ask(0, begin_run(n));
    }
    stage.ask(0, end_run(0, &completed("3")));
    stage.settle();
    assert_eq!(stage.counts(1, "calc"), (1, 1));
    // The node's time is up, and then the time for which it is remembered.
    for _ in 0..5 {
        stage.pass(3_000);
        stage.settle();
    }
    assert_eq!(stage.counts(1, "calc"), (2, 1));
    for _ in 0..6 {
        stage.pass(3_000);
        stage.settle();
    }
    let known = |key: &str| {
        stage
            .engine(1)
            .state()
            .slot(&key.parse().unwrap())
            .is_some()
    };
    assert!(!known("live.calc") && !known("exec.calc"));
    stage.ask(0, begin_run(3));
    stage.ask(0, end_run(3, &completed("3")));
    stage.settle();
    assert_eq!(stage.counts(1, "calc"), (0, 0));
    assert_eq!(stage.engine(1).state().indexes.runs(), 0);
    assert!(stage.alike());
}

/// An event of an execution: kind, its number, whether there is a request id, provider, how it ended.
type Event = (EventKind, u64, bool, String, Option<ExecutionStatus>);

/// The events of executions in an entry.
fn reports(entry: &Entry) -> Vec<Event> {
    let changes = entry.cmds.iter().flat_map(CommandRecord::changes);
    let reports = changes.filter_map(|change| {
        let reported = Reported::of(change)?;
        let node_id = reported.run.execution.node_id.to_string();
        let named = reported.request_id.is_some();
        let how = reported.end.map(|end| end.how);
        let event = change.event()?;
        Some((event.kind, event.n, named, node_id, how))
    });
    reports.collect()
}

#[test]
fn events_say_what_was_executed_by_whom_and_how_it_ended() {
    let mut stage = stage(1, Mechanisms::default());
    let before = stage.store.last().0;
    let call = stage.begin_call(0, 1, false);
    stage.ask(0, end_by(1, call, completed("3"), "calc.two"));
    stage.settle();
    stage.ask(0, begin_run(2));
    stage.settle();
    stage.ask(0, end_run(2, &failed(Executed::No, true)));
    stage.settle();
    let entries = (before + 1..=stage.store.last().0).filter_map(|at| {
        let message = stage.store.get(Sequence(at))?;
        message.entry.clone()
    });
    let reported: Vec<_> = entries.flat_map(|entry| reports(&entry)).collect();
    let invoked = |named| (EventKind::ToolInvoked, 1, named, "calc".to_owned(), None);
    assert_eq!(
        reported,
        [
            invoked(true),
            (
                EventKind::ToolCompleted,
                2,
                true,
                "calc.two".to_owned(),
                Some(ExecutionStatus::Completed)
            ),
            invoked(false),
            (
                EventKind::ToolFailed,
                2,
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
fn ends_that_are_due_at_once_leave_room_for_who_waits() {
    let mut stage = stage(1, Mechanisms::default());
    let all = 240;
    for n in 0..all {
        stage.ask(0, begin_run(n));
    }
    stage.settle();
    // A request's entry is under way when the time of all is up, and another one comes.
    stage.pass(TIMEOUT + RUN_LATE_MILLIS - 100);
    stage.settle();
    stage.ask(0, begin_run(all));
    stage.pass(900);
    let waits = stage.ask(0, begin_run(all + 1));
    stage.arrive_acked().unwrap();
    stage.arrive_acked().unwrap();
    assert!(stage.reply(waits).is_some());
    let entry = &stage.store.get(stage.store.last()).unwrap().bytes;
    let entry: Entry = serde_json::from_slice(entry).unwrap();
    assert_eq!(entry.cmds.len(), 1 + EXPIRIES_BESIDE_REQUESTS);
    stage.settle();
    assert_eq!(stage.engine(0).state().indexes.runs(), 2);
}
