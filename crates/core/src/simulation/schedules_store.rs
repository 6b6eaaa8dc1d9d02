//! Schedules of a store that is full, of entries that are too long, and of what waits.

use onex_types::entry::Sequence;

use crate::{
    command::{Action, Answer, Probed, Refusal},
    engine::{Engine, Input, Limits, NotAppended, Sizes},
    entry::{Change, EventKind, Gap},
    lease::LeaseEnd,
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::load,
    stage::{Stage, held, named, needs, release, renew, requester, wants},
};

/// Snapshots in chunks of about one record, and everything that they cover is old enough to be removed.
fn limits() -> Limits {
    Limits {
        snapshot_bytes: usize::MAX,
        snapshot_millis: u64::MAX,
        chunk_bytes: 1,
        kept_millis: 0,
        ..Limits::default()
    }
}

fn stage(mechanisms: Mechanisms) -> Stage {
    let mut stage = Stage::empty(1, mechanisms, &limits());
    stage.start(0);
    stage.settle();
    stage
}

fn sizes(stage: &Stage, bytes: u64, bytes_max: u64) -> Input {
    Input::Sizes(Sizes {
        bytes,
        bytes_max,
        payload_max: 1024 * 1024,
        first: stage.store.first(),
    })
}

pub(super) fn grant(stage: &mut Stage, n: u128, port: u16) -> Option<onex_types::ids::LeaseId> {
    let job = stage.ask(0, wants(n, 8, None, Some(port)));
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.settle();
    stage.lease(job).map(|(lease_id, _)| lease_id)
}

/// Time in which snapshots are written.
fn wait(stage: &mut Stage) {
    for _ in 0..100 {
        stage.pass(10);
        stage.settle();
    }
}

#[test]
fn above_nine_tenths_leases_are_renewed_and_released_and_none_is_granted() {
    needs(Mechanism::StoreBounds, |mechanisms| {
        let (mut stage, lease_id) = held(1, mechanisms, 8);
        let full = sizes(&stage, 91_000_000, 100_000_000);
        stage.input(0, [full]);
        let new = stage.ask(0, wants(2, 8, None, Some(20_001)));
        let again = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        let heartbeat = stage.ask(0, renew(1, lease_id, Some(8)));
        stage.settle();
        assert_eq!(
            stage.lease(heartbeat).map(|(lease_id, _)| lease_id),
            Some(lease_id)
        );
        assert_eq!(
            stage.lease(again).map(|(lease_id, _)| lease_id),
            Some(lease_id)
        );
        let end = stage.ask(0, release(1, lease_id));
        stage.settle();
        let ended = &stage.reply(end).unwrap().result;
        assert!(matches!(
            ended,
            Ok(Answer::Ended {
                how: LeaseEnd::Released,
                ..
            })
        ));
        let refused = stage.refusal(new) == Some(&Refusal::StoreFull);
        let less = sizes(&stage, 60_000_000, 100_000_000);
        stage.input(0, [less]);
        refused && grant(&mut stage, 2, 20_001).is_some() && stage.alike()
    });
}

#[test]
fn what_would_make_the_state_exceed_an_eighth_of_the_store_is_refused() {
    needs(Mechanism::StoreBounds, |mechanisms| {
        let mut stage = stage(mechanisms);
        let state = u64::try_from(stage.engine(0).state().bytes()).unwrap();
        let told = sizes(&stage, 0, 8 * (state + 500));
        stage.input(0, [told]);
        let first = grant(&mut stage, 1, 20_000).expect("one lease has room");
        let job = stage.ask(0, wants(2, 8, None, Some(20_001)));
        stage.settle();
        let refused = matches!(
            stage.refusal(job),
            Some(Refusal::LimitExceeded {
                what: "bytes of state",
                ..
            })
        );
        let heartbeat = stage.ask(0, renew(1, first, Some(8)));
        stage.settle();
        refused && stage.lease(heartbeat).is_some() && stage.alike()
    });
}

#[test]
fn room_for_a_snapshot_is_kept_while_nobody_writes_one() {
    needs(Mechanism::SnapshotReserve, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        // The named instance is gone, and the other one does not know it yet.
        stage.instances[0].engine = None;
        let bytes_max = stage.store.bytes + 40_000;
        let mut last = None;
        for _ in 0..400 {
            let told = sizes(&stage, stage.store.bytes, bytes_max);
            stage.input(1, [told]);
            last = Some(stage.ask(1, renew(1, lease_id, None)));
            stage.settle_only(1);
            stage.pass(5);
        }
        let state = stage.engine(1).state();
        let named = state.named().unwrap().instance;
        assert_ne!(named, stage.engine(1).local.instance);
        let left = bytes_max.saturating_sub(stage.store.bytes);
        let kept = left >= 2 * u64::try_from(state.bytes()).unwrap();
        // It takes over, and what waited is decided.
        for _ in 0..60 {
            stage.pass(200);
            stage.settle_only(1);
            let newest = stage.engine(1).snapshots().newest().unwrap().sequence;
            if stage.trims.last() == Some(&newest) {
                stage.store.trim(newest);
            }
            let told = sizes(&stage, stage.store.bytes, bytes_max);
            stage.input(1, [told]);
        }
        assert!(!kept || stage.reply(last.unwrap()).is_some());
        kept && stage.store.bytes < bytes_max / 2
    });
}

/// Else it may take the last room, and the entry that names it has none: nothing can be removed any more.
#[test]
fn a_snapshot_in_the_room_that_is_kept_for_it_takes_nothing_along() {
    let in_one_chunk = Limits {
        chunk_bytes: 100_000,
        ..limits()
    };
    let mut stage = Stage::empty(1, Mechanisms::default(), &in_one_chunk);
    stage.start(0);
    stage.settle();
    let lease_id = grant(&mut stage, 1, 20_000).unwrap();
    wait(&mut stage);
    let before = stage.engine(0).snapshots().newest();
    let state = u64::try_from(stage.engine(0).state().bytes()).unwrap();
    // The first one is under way, the others wait.
    let waiting: Vec<_> = (0..400)
        .map(|_| stage.ask(0, renew(1, lease_id, None)))
        .collect();
    let bytes_max = stage.store.bytes + 3 * state - 1;
    let told = sizes(&stage, stage.store.bytes, bytes_max);
    stage.input(0, [told]);
    stage.settle();
    let newest = stage.engine(0).snapshots().newest();
    assert_ne!(newest, before, "it is written");
    assert!(
        stage.store.bytes < bytes_max,
        "and there is room to name it"
    );
    assert_eq!(
        stage.trims.last(),
        newest.map(|newest| newest.sequence).as_ref()
    );
    // What waited is decided as soon as there is room again.
    stage.store.trim(newest.unwrap().sequence);
    let told = sizes(&stage, stage.store.bytes, 100_000_000);
    stage.input(0, [told]);
    wait(&mut stage);
    assert!(waiting.iter().all(|job| stage.reply(*job).is_some()));
}

#[test]
fn the_state_counts_its_bytes_as_records_come_and_go() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    stage.ask(1, renew(1, lease_id, None));
    stage.settle();
    // One entry is lost: its changes are undone.
    stage.ask(0, wants(2, 8, Some(2), Some(20_001)));
    stage.ask(1, wants(3, 8, Some(3), Some(20_001)));
    stage.settle();
    stage.ask(0, release(1, lease_id));
    stage.settle();
    assert!(stage.alike());
    let counted = |engine: &Engine| {
        let written = |engine: &Engine| -> usize {
            let slots = engine.state().slots_from(None);
            slots
                .map(|(_, slot)| serde_json::to_vec(&slot.record).unwrap().len() + 96)
                .sum()
        };
        engine.state().bytes() == written(engine)
    };
    assert!(counted(stage.engine(0)) && counted(stage.engine(1)));
}

#[test]
fn above_eight_tenths_a_snapshot_is_written_and_the_log_trimmed_at_once() {
    let mut stage = stage(Mechanisms::default());
    for n in 0..5 {
        grant(&mut stage, 1 + u128::from(n), 20_000 + n).unwrap();
    }
    wait(&mut stage);
    assert_eq!(
        stage.engine(0).snapshots().newest().unwrap().sequence,
        Sequence(1)
    );
    let told = sizes(&stage, 81_000, 100_000);
    stage.input(0, [told]);
    wait(&mut stage);
    let newest = stage.engine(0).snapshots().newest().unwrap().sequence;
    assert!(newest > Sequence(1));
    // Nothing was published: what is removed becomes one gap, which is in the log before.
    let trims = format!("I0 trims below {newest}");
    assert_eq!(stage.notes, [trims]);
    let events = stage
        .changes(0)
        .into_iter()
        .filter_map(|change| match change {
            Change::Put { event, .. } => event,
            _ => None,
        });
    let gaps: Vec<Gap> = events
        .filter(|event| event.kind == EventKind::Gap)
        .filter_map(|event| event.gap)
        .collect();
    let last = stage.engine(0).snapshots().before_newest();
    assert_eq!(gaps, [Gap { from: 1, to: last }]);
    stage.store.trim(newest);
    assert!(stage.alike());
    let told = sizes(&stage, 10_000, 100_000);
    stage.input(0, [told]);
    wait(&mut stage);
    assert_eq!(stage.notes.len(), 1);
}

#[test]
fn entries_are_kept_for_ten_minutes_though_snapshots_cover_them() {
    let mut limits = limits();
    limits.snapshot_millis = 20_000;
    limits.kept_millis = Limits::default().kept_millis;
    let mut stage = Stage::empty(1, Mechanisms::default(), &limits);
    stage.start(0);
    stage.settle();
    let started = stage.t;
    let mut trimmed = Sequence(1);
    let mut heads = Vec::new();
    while stage.t < started + 1_500_000 {
        stage.ask(0, wants(1, 8, None, None));
        let (instance, revision) = {
            let engine = stage.engine(0);
            (engine.local.instance, engine.state().revision())
        };
        let sequence = stage.engine(0).head().0;
        stage.ask(
            0,
            Action::Published {
                instance,
                revision,
                sequence,
            },
        );
        stage.settle();
        let head = stage.store.last();
        heads.push((stage.t, head));
        stage.pass(10_000);
        stage.settle();
        if let Some(below) = stage.trims.pop() {
            assert!(below > trimmed);
            trimmed = below;
            let young = heads.iter().find(|(at, _)| stage.t - at < 600_000);
            assert!(
                below <= young.unwrap().1,
                "{below} is younger than ten minutes"
            );
        }
    }
    assert!(trimmed > Sequence(50), "{trimmed}");
}

#[test]
fn s40_a_store_that_takes_nothing_more_refuses_cleanly_and_recovers() {
    needs(Mechanism::CutFullLog, |mechanisms| {
        let mut limits = limits();
        limits.snapshot_millis = 1;
        let mut stage = Stage::empty(1, mechanisms, &limits);
        stage.start(0);
        stage.settle();
        let lease_id = grant(&mut stage, 1, 20_000).unwrap();
        wait(&mut stage);
        assert_eq!(stage.trims, [], "nothing was published");
        // The server is full, whatever was said of it before.
        let new = stage.ask(0, wants(2, 8, None, Some(20_001)));
        let id = stage.sent.remove(0).2.id;
        stage.input(
            0,
            [Input::Refused {
                id,
                why: NotAppended::Full,
            }],
        );
        assert_eq!(stage.refusal(new), Some(&Refusal::StoreFull));
        assert_eq!(
            stage.engine(0).state().indexes.held(requester(2)),
            0,
            "nothing is half done"
        );
        // A renewal waits, and is in the log as soon as that takes something again.
        let heartbeat = stage.ask(0, renew(1, lease_id, None));
        assert!(stage.sent.is_empty(), "not at once again");
        let newest = stage.engine(0).snapshots().newest().unwrap().sequence;
        assert!(newest > Sequence(1));
        let cut = stage.trims.pop() == Some(newest);
        stage.pass(1_000);
        stage.settle();
        cut && stage.lease(heartbeat).is_some() && stage.alike()
    });
}

#[test]
fn a_full_log_is_not_cut_below_the_snapshot_that_a_start_would_read() {
    needs(Mechanism::TrimToNamed, |mechanisms| {
        let mut limits = limits();
        limits.snapshot_millis = 1;
        limits.chunk_bytes = usize::MAX;
        let mut stage = Stage::empty(1, mechanisms, &limits);
        stage.start(0);
        stage.settle();
        wait(&mut stage);
        let lease_id = grant(&mut stage, 1, 20_000).unwrap();
        stage.confirm();
        let before = stage.engine(0).snapshots().newest();
        while stage.engine(0).snapshots().newest() == before {
            stage.pass(1);
            if !stage.sent.is_empty() {
                stage.arrive_acked();
            }
        }
        // No entry behind it names it yet: one that does is on its way, or the next will.
        stage.ask(0, renew(1, lease_id, None));
        let id = stage.sent.pop().unwrap().2.id;
        let why = NotAppended::Full;
        stage.input(0, [Input::Refused { id, why }]);
        for below in std::mem::take(&mut stage.trims) {
            stage.store.trim(below);
        }
        load(&stage.store, None, mechanisms, stage.now(0)).is_ok()
    });
}

#[test]
fn s40_an_entry_of_which_an_earlier_copy_may_land_is_not_given_up_when_the_store_is_full() {
    let mut stage = stage(Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
    let first = stage.sent.remove(0);
    stage.pass(1_000);
    let id = stage.sent.remove(0).2.id;
    stage.input(
        0,
        [Input::Refused {
            id,
            why: NotAppended::Full,
        }],
    );
    assert_eq!(stage.reply(job), None);
    // The first copy lands.
    stage.sent.push(first);
    stage.arrive().unwrap();
    stage.deliver(0);
    stage.probed(Probed::Bindable);
    stage.settle();
    assert!(stage.lease(job).is_some());
}

#[test]
fn s43_what_does_not_fit_into_one_message_goes_into_several_entries() {
    needs(Mechanism::StoreBounds, |mechanisms| {
        let mut stage = stage(mechanisms);
        let told = Input::Sizes(Sizes {
            bytes: 0,
            bytes_max: u64::MAX,
            payload_max: 3_000,
            first: Sequence(1),
        });
        stage.input(0, [told]);
        let lease_id = grant(&mut stage, 1, 20_000).unwrap();
        // The first of them is under way while the others come.
        let beats = (0..40).map(|n| Action::Renew {
            requester_id: requester(1),
            lease_id,
            ttl: None,
            request: Some(named(100 + n)),
        });
        let jobs: Vec<_> = beats.map(|heartbeat| stage.ask(0, heartbeat)).collect();
        let mut longest = 0;
        for _ in 0..200 {
            for (_, _, header, bytes) in &stage.sent {
                longest = longest.max(bytes.len() + header.to_string().len() + 200);
            }
            if stage.sent.is_empty() {
                stage.pass(5);
                stage.probed(Probed::Bindable);
            } else {
                stage.arrive_acked();
            }
        }
        assert!(jobs.iter().all(|job| stage.lease(*job).is_some()));
        longest < 3_000 && stage.alike()
    });
}

#[test]
fn s43_a_command_that_fits_into_no_message_is_refused_and_stops_nothing() {
    let mut stage = stage(Mechanisms::default());
    // So small that no grant fits: as a command that writes 100,000 records is to a real server.
    let told = |payload_max| {
        Input::Sizes(Sizes {
            bytes: 0,
            bytes_max: u64::MAX,
            payload_max,
            first: Sequence(1),
        })
    };
    stage.input(0, [told(1_400)]);
    let job = stage.ask(0, wants(1, 8, None, Some(20_000)));
    stage.settle();
    assert!(matches!(stage.refusal(job), Some(Refusal::TooLarge { .. })));
    assert_eq!(stage.engine(0).state().indexes.held(requester(1)), 0);
    stage.input(0, [told(1024 * 1024)]);
    assert!(grant(&mut stage, 1, 20_000).is_some());
    // A server whose bound was lowered says so when it is too late: the entry is undone, its command refused.
    let job = stage.ask(0, wants(2, 8, None, Some(20_001)));
    let (_, _, header, _) = stage.sent.remove(0);
    let refused = Input::Refused {
        id: header.id,
        why: NotAppended::TooLarge,
    };
    stage.input(0, [refused]);
    stage.settle();
    assert!(matches!(stage.refusal(job), Some(Refusal::TooLarge { .. })));
    assert!(stage.alike());
}
