//! Schedules of starts, snapshots, trims and the named instance.

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    ids::LeaseId,
};
use uuid::Uuid;

use crate::{
    command::{Action, Probed},
    engine::{Input, Limits, StartError},
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::load,
    stage::{Stage, held, needs, release, renew, requester, wants},
    store::Store,
    truth::records,
};

/// Snapshots whenever something has changed, in chunks of about one record.
fn small() -> Limits {
    Limits {
        snapshot_bytes: 1,
        snapshot_millis: 1,
        chunk_bytes: 1,
        kept_millis: 0,
        ..Limits::default()
    }
}

fn stage(instances: usize, mechanisms: Mechanisms, limits: &Limits) -> Stage {
    let mut stage = Stage::empty(instances, mechanisms, limits);
    for index in 0..instances {
        stage.start(index);
        stage.settle();
    }
    stage
}

fn grant(stage: &mut Stage, index: usize, n: u128, port: u16) -> LeaseId {
    let job = stage.ask(index, wants(n, 8, None, Some(port)));
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.settle();
    stage.lease(job).unwrap().0
}

/// A snapshot is complete once only the named instance's empty entries follow.
fn snapshot(stage: &mut Stage) -> Sequence {
    let before = stage.engine(0).snapshots().newest();
    for _ in 0..200 {
        stage.pass(10);
        stage.settle();
        let newest = stage.engine(0).snapshots().newest();
        if newest != before {
            return newest.unwrap().sequence;
        }
    }
    panic!("no snapshot")
}

#[test]
fn a_start_reads_from_the_newest_snapshot_and_finds_the_same() {
    let mut stage = stage(2, Mechanisms::default(), &small());
    let kept = grant(&mut stage, 0, 1, 20_000);
    let ended = grant(&mut stage, 1, 2, 20_001);
    let at = snapshot(&mut stage);
    assert!(at > Sequence(1));
    stage.ask(0, renew(1, kept, None));
    stage.ask(1, release(2, ended));
    stage.settle();
    stage.pass(10);
    stage.settle();
    assert!(stage.alike());
    // What is below the snapshot is not needed any more.
    stage.store.trim(at);
    assert!(stage.alike());
    stage.instances[1].engine = None;
    stage.start(1);
    stage.settle();
    assert_eq!(stage.engine(1).state().indexes.held(requester(1)), 1);
    assert!(stage.alike());
}

#[test]
fn s36_a_start_in_the_middle_of_a_snapshot_reads_from_the_one_before() {
    let mut stage = stage(1, Mechanisms::default(), &small());
    for n in 0..5 {
        grant(&mut stage, 0, 10 + u128::from(n), 20_000 + n);
    }
    let first = snapshot(&mut stage);
    // Another snapshot begins; its instance is killed after each of its chunks in turn.
    grant(&mut stage, 0, 99, 20_005);
    let begun = stage.store.last();
    let mut hints = 0;
    for _ in 0..40 {
        stage.pass(1);
        if stage.sent.is_empty() {
            continue;
        }
        stage.arrive_acked();
        hints += 1;
        let now = stage.now(0);
        let loaded = load(&stage.store, None, Mechanisms::default(), now).unwrap();
        assert_eq!(records(loaded.state()), records(stage.engine(0).state()));
    }
    assert!(
        hints > 2,
        "chunks of {begun}, behind the snapshot at {first}"
    );
}

#[test]
fn a_chunk_has_the_records_as_of_its_own_entry() {
    needs(Mechanism::ChunkAsOfItsEntry, |mechanisms| {
        let mut stage = stage(1, mechanisms, &small());
        let other = grant(&mut stage, 0, 10, 20_000);
        let lease = grant(&mut stage, 0, 1, 20_005);
        for _ in 0..40 {
            stage.pass(5);
            stage.settle();
        }
        // Another snapshot begins, and while it is being written the last of its keys changes.
        let before = stage.engine(0).snapshots().newest();
        stage.ask(0, renew(10, other, None));
        let mut entries = 0;
        while stage.engine(0).snapshots().newest() == before {
            stage.pass(5);
            if stage.sent.is_empty() {
                continue;
            }
            stage.arrive_acked();
            entries += 1;
            // The renewal, and the first chunk.
            if entries == 2 {
                stage.ask(0, release(1, lease));
            }
        }
        // The first entry that names it.
        stage.pass(5_000);
        stage.arrive_acked();
        stage.alike()
    });
}

#[test]
fn s34_a_snapshot_of_an_instance_that_was_replaced_does_not_go_on() {
    let mut stage = stage(2, Mechanisms::default(), &small());
    for n in 0..5 {
        grant(&mut stage, 0, 10 + u128::from(n), 20_000 + n);
    }
    // Instance 0 stands still with a chunk under way; instance 1 takes over.
    stage.pass(1);
    stage.sent.clear();
    stage.t += 10_000;
    stage.input(1, [Input::Tick]);
    for _ in 0..400 {
        stage.t += 1;
        stage.input(1, [Input::Tick]);
        while !stage.sent.is_empty() {
            stage.arrive_acked();
        }
    }
    let named = stage.engine(1).state().named().unwrap().instance;
    assert_eq!(named, stage.engine(1).local.instance);
    // Instance 0 wakes and goes on with what it was doing.
    stage.t += 1_000;
    stage.input(0, [Input::Tick]);
    stage.settle();
    assert!(stage.alike());
    assert_eq!(
        stage.engine(0).snapshots().newest(),
        stage.engine(1).snapshots().newest()
    );
}

#[test]
fn s34_what_is_not_published_is_not_trimmed() {
    needs(Mechanism::TrimOnlyCovered, |mechanisms| {
        let mut stage = stage(1, mechanisms, &small());
        grant(&mut stage, 0, 1, 20_000);
        snapshot(&mut stage);
        grant(&mut stage, 0, 2, 20_001);
        snapshot(&mut stage);
        stage.pass(10);
        stage.settle();
        let trims = |stage: &Stage| stage.notes.iter().any(|note| note.contains("trims"));
        if trims(&stage) {
            return false;
        }
        let engine = stage.engine(0);
        let (revision, sequence) = (engine.state().revision(), engine.head().0);
        let instance = engine.local.instance;
        stage.ask(
            0,
            Action::Published {
                instance,
                revision,
                sequence,
            },
        );
        stage.settle();
        stage.pass(10);
        trims(&stage)
    });
}

#[test]
fn an_instance_that_has_just_started_does_not_trim_to_the_snapshot_that_it_has_read() {
    let mut stage = stage(1, Mechanisms::default(), &small());
    grant(&mut stage, 0, 1, 20_000);
    let read = snapshot(&mut stage);
    stage.instances[0].engine = None;
    // Nothing more is due until something has grown.
    stage.instances[0].limits.snapshot_bytes = usize::MAX;
    stage.instances[0].limits.snapshot_millis = u64::MAX;
    stage.start(0);
    for _ in 0..12 {
        stage.pass(1_000);
        stage.settle();
    }
    let engine = stage.engine(0);
    assert_eq!(
        engine.snapshots().newest().map(|it| it.sequence),
        Some(read)
    );
    let (revision, sequence) = (engine.state().revision(), engine.head().0);
    let instance = engine.local.instance;
    assert_eq!(engine.state().named().unwrap().instance, instance);
    stage.ask(
        0,
        Action::Published {
            instance,
            revision,
            sequence,
        },
    );
    stage.settle();
    stage.pass(10);
    let kept = stage.trims.iter().all(|below| *below < read);
    assert!(kept, "{:?}: the snapshot before is kept", stage.trims);
}

#[test]
fn s39_a_publisher_that_was_replaced_does_not_say_what_is_published() {
    needs(Mechanism::OnlyNamedPublishes, |mechanisms| {
        let mut stage = stage(2, mechanisms, &Limits::default());
        grant(&mut stage, 0, 1, 20_000);
        let engine = stage.engine(0);
        let (revision, sequence) = (engine.state().revision(), engine.head().0);
        let instance = engine.local.instance;
        // It has published, stands still before it says so, and is replaced by one that has to read the events' stream
        // first. What it says then may be of another one's stream.
        stage.t += 11_000;
        stage.input(1, [Input::Tick]);
        stage.settle_only(1);
        stage.settle();
        let successor = stage.engine(1).local.instance;
        assert_eq!(stage.engine(0).state().named().unwrap().instance, successor);
        stage.ask(
            0,
            Action::Published {
                instance,
                revision,
                sequence,
            },
        );
        stage.settle();
        stage.pass(10);
        stage.settle();
        assert!(stage.alike());
        stage.engine(1).state().named().unwrap().published == 0
    });
}

#[test]
fn s35_an_instance_that_was_away_for_longer_than_the_log_goes_back_begins_anew() {
    let mut stage = stage(2, Mechanisms::default(), &small());
    grant(&mut stage, 0, 1, 20_000);
    stage.input(1, [Input::Disconnected]);
    let known = stage.engine(1).known();
    for n in 0..3 {
        let job = stage.ask(0, wants(5 + n, 8, None, None));
        while stage.reply(job).is_none() {
            stage.t += 10;
            stage.input(0, [Input::Tick]);
            while !stage.sent.is_empty() {
                stage.arrive_acked();
            }
            stage.probed(Probed::Bindable);
        }
    }
    while !stage.sent.is_empty() {
        stage.arrive_acked();
    }
    let older = stage.engine(0).snapshots().older().unwrap().sequence;
    assert!(older > known.0);
    stage.store.trim(older);
    assert!(stage.instances[1].follow(&stage.store).is_none());
    let now = stage.now(1);
    let loaded = load(&stage.store, Some(known), Mechanisms::default(), now).unwrap();
    assert_eq!(records(loaded.state()), records(stage.engine(0).state()));
}

#[test]
fn s37_takeovers_that_follow_one_another_complete_a_snapshot_in_the_end() {
    let mut stage = stage(2, Mechanisms::default(), &small());
    for n in 0..4 {
        grant(&mut stage, 0, 10 + u128::from(n), 20_000 + n);
    }
    let before = stage.engine(1).snapshots().newest();
    // Each of them is killed in the middle of its snapshot, again and again.
    for round in 0..4 {
        let index = round % 2;
        stage.instances[index].engine = None;
        stage.start(index);
        stage.settle();
        for _ in 0..3 {
            stage.pass(10);
            if !stage.sent.is_empty() {
                stage.arrive_acked();
            }
        }
        stage.sent.clear();
    }
    stage.t += 12_000;
    for _ in 0..60 {
        stage.pass(10);
        stage.settle();
    }
    assert_ne!(stage.engine(1).snapshots().newest(), before);
    assert!(stage.alike());
}

#[test]
fn s45_what_is_void_at_the_end_of_the_log_is_passed_over_by_starts() {
    let mut stage = stage(1, Mechanisms::default(), &small());
    grant(&mut stage, 0, 1, 20_000);
    snapshot(&mut stage);
    let copied = stage.store.get(stage.store.last()).unwrap().header.unwrap();
    let header = EntryHeader {
        id: EntryId(Uuid::from_u128(9)),
        predecessor: EntryId(Uuid::from_u128(8)),
        format: 99,
        ..copied
    };
    for header in [None, Some(copied), Some(header)] {
        stage.foreign(header);
        let now = stage.now(0);
        let loaded = load(&stage.store, None, Mechanisms::default(), now).unwrap();
        assert_eq!(records(loaded.state()), records(stage.engine(0).state()));
    }
    stage.settle();
    grant(&mut stage, 0, 2, 20_001);
    assert!(stage.alike());
}

#[test]
fn a_message_that_names_a_snapshot_which_is_not_there_does_not_mislead_a_start() {
    let mut stage = stage(1, Mechanisms::default(), &small());
    grant(&mut stage, 0, 1, 20_000);
    snapshot(&mut stage);
    let last = stage.store.get(stage.store.last()).unwrap().header.unwrap();
    let mut snapshot = last.snapshot.unwrap();
    snapshot.id = EntryId(Uuid::from_u128(4));
    let header = EntryHeader {
        id: EntryId(Uuid::from_u128(5)),
        predecessor: EntryId(Uuid::from_u128(6)),
        snapshot: Some(snapshot),
        ..last
    };
    stage.foreign(Some(header));
    let now = stage.now(0);
    let loaded = load(&stage.store, None, Mechanisms::default(), now).unwrap();
    assert_eq!(records(loaded.state()), records(stage.engine(0).state()));
}

#[test]
fn s46_of_two_first_starts_one_writes_the_first_entry() {
    let limits = small();
    let mut stage = Stage::empty(2, Mechanisms::default(), &limits);
    stage.start(0);
    stage.start(1);
    assert_eq!(stage.sent.len(), 2);
    stage.sent.swap(0, 1);
    stage.settle();
    assert!(stage.alike());
    let settings = stage.engine(0).state().settings().cloned();
    assert_eq!(settings.as_ref(), stage.engine(1).state().settings());
    assert!(settings.is_some());
    // Killed before the first snapshot: the first entry is one, complete and empty.
    stage.instances[0].engine = None;
    stage.start(0);
    stage.settle();
    assert!(stage.alike());
}

#[test]
fn s44_a_log_that_went_back_is_not_taken() {
    let mut stage = stage(1, Mechanisms::default(), &small());
    grant(&mut stage, 0, 1, 20_000);
    let known = stage.engine(0).known();
    let before = Sequence(known.0.0 - 1);
    stage.store.go_back(before);
    let now = stage.now(0);
    let loaded = load(&stage.store, Some(known), Mechanisms::default(), now);
    assert!(matches!(loaded, Err(StartError::WentBack(_))));
    let empty = load(&Store::new(), Some(known), Mechanisms::default(), now);
    assert!(matches!(empty, Err(StartError::WentBack(_))));
}

#[test]
fn what_is_due_when_an_instance_stops_is_not_live_again_after_a_restart() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    // The named instance is gone; the other one leaves it a second to end what is due.
    stage.instances[0].engine = None;
    for _ in 0..87 {
        stage.pass(100);
        stage.settle();
    }
    let holds = |stage: &Stage| {
        let state = stage.engine(1).state();
        state
            .indexes
            .lease(lease_id)
            .is_some_and(|key| state.lease(key).is_some())
    };
    assert!(holds(&stage));
    stage.input(1, [Input::Stop]);
    stage.settle();
    assert!(!holds(&stage));
    stage.start(1);
    stage.settle();
    assert!(!holds(&stage));
}

#[test]
fn the_named_instance_is_replaced_when_it_is_gone_and_leaves_when_it_stops() {
    let mut stage = stage(2, Mechanisms::default(), &Limits::default());
    let named = |stage: &Stage| stage.engine(1).state().named().unwrap().instance;
    assert_eq!(named(&stage), stage.engine(0).local.instance);
    // It is there: its own entries show it, though nothing happens.
    for _ in 0..100 {
        stage.pass(500);
        stage.settle();
    }
    assert_eq!(named(&stage), stage.engine(0).local.instance);
    stage.input(0, [Input::Stop]);
    stage.settle();
    assert!(stage.engine(0).is_idle());
    stage.instances[0].engine = None;
    stage.pass(10);
    stage.settle();
    assert_eq!(named(&stage), stage.engine(1).local.instance);
    // Killed without a word, it is replaced after ten seconds.
    stage.start(0);
    stage.settle();
    stage.instances[1].engine = None;
    for _ in 0..11 {
        stage.pass(1_000);
        stage.settle();
    }
    let named = stage.engine(0).state().named().unwrap().instance;
    assert_eq!(named, stage.engine(0).local.instance);
}
