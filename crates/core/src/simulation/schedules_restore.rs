//! Schedules of stores that went back, and of formats.

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    ids::LeaseId,
};
use uuid::Uuid;

use crate::{
    command::{Action, Probed, Refusal},
    decide::SKIPPED_REVISIONS,
    engine::{Limits, Loaded, StartError},
    entry::{Change, Changes, CommandRecord, Entry, FORMAT},
    key::Key,
    mechanism::{Mechanism, Mechanisms},
    record::Format,
};

use super::{
    instance::load,
    stage::{Stage, held, needs, renew, wants},
    truth::records,
};

fn granted(stage: &mut Stage, n: u128, port: u16) -> Option<LeaseId> {
    let job = stage.ask(0, wants(n, 8, None, Some(port)));
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.pass(10);
    stage.settle();
    stage.lease(job).map(|(lease_id, _)| lease_id)
}

/// Requester 2 holds port 20001 by a lease of which the store knows nothing any more: it came back as it was before. The
/// highest revision that anybody knows is returned, too.
fn restored(mechanisms: Mechanisms) -> (Stage, LeaseId, u64) {
    let limits = Limits {
        snapshot_millis: 600_000,
        ..Limits::default()
    };
    let mut stage = Stage::empty(1, mechanisms, &limits);
    stage.start(0);
    stage.settle();
    granted(&mut stage, 1, 20_000).unwrap();
    let backup = stage.store.last();
    let lost = granted(&mut stage, 2, 20_001).unwrap();
    let known = stage.engine(0).state().revision();
    stage.store.go_back(backup);
    stage.instances[0].engine = None;
    (stage, lost, known)
}

fn accept(known: u64, holders_restarted: bool) -> Action {
    Action::AcceptRestore {
        known,
        holders_restarted,
    }
}

#[test]
fn s44_a_log_that_is_older_than_what_is_known_elsewhere_is_refused() {
    needs(Mechanism::HighWater, |mechanisms| {
        let (stage, _, known) = restored(mechanisms);
        let now = stage.now(0);
        let loaded = load(&stage.store, None, mechanisms, now).unwrap();
        let found = loaded.state().revision();
        matches!(
            loaded.checked(Some(known)).map(|_| ()),
            Err(StartError::Older { found: at, known: to }) if at == found && to == known
        )
    });
    // A log that has all that is known is taken.
    let (stage, _) = held(1, Mechanisms::default(), 8);
    let revision = stage.engine(0).state().revision();
    let now = stage.now(0);
    for known in [None, Some(revision)] {
        let loaded = load(&stage.store, None, Mechanisms::default(), now).unwrap();
        assert!(loaded.checked(known).is_ok());
    }
}

#[test]
fn an_empty_stream_is_new_only_if_it_never_had_a_message_and_nothing_is_known_of_it() {
    let refused = |last, known| Loaded::of_empty(Sequence(last), known).err();
    assert_eq!(refused(0, None), None);
    assert_eq!(refused(9, None), Some(StartError::WentBack(Sequence(9))));
    let older = StartError::Older { found: 0, known: 7 };
    assert_eq!(refused(0, Some(7)), Some(older));
}

#[test]
fn s44_an_accepted_restore_raises_the_revision_above_all_that_is_known() {
    needs(Mechanism::SkipRevisions, |mechanisms| {
        let (mut stage, _, known) = restored(mechanisms);
        stage.start(0);
        stage.settle();
        let found = stage.engine(0).state().revision();
        let job = stage.ask(0, accept(known, true));
        stage.settle();
        let revision = stage.reply(job).unwrap().revision;
        // What nobody told us of may have had higher revisions than what we know.
        let above = revision >= known + SKIPPED_REVISIONS;
        let lease_id = granted(&mut stage, 3, 20_001).expect("all holders were restarted");
        let state = stage.engine(0).state();
        let fence = state
            .lease(state.indexes.lease(lease_id).unwrap())
            .unwrap()
            .1
            .fence;
        assert!(fence > revision && stage.alike());
        let skipped =
            state.is_skipped(found + 1) && state.is_skipped(known) && state.is_skipped(known + 77);
        assert!(!state.is_skipped(revision) && !state.is_skipped(fence));
        above && skipped
    });
}

#[test]
fn a_store_that_was_made_anew_goes_on_above_what_is_known_of_the_old_one() {
    let mut stage = Stage::empty(1, Mechanisms::default(), &Limits::default());
    stage.start(0);
    stage.settle();
    let job = stage.ask(0, accept(5_000, false));
    stage.settle();
    assert!(stage.reply(job).unwrap().revision >= 5_000 + SKIPPED_REVISIONS);
    assert!(stage.engine(0).state().is_skipped(4_711));
    assert!(granted(&mut stage, 1, 20_000).is_none());
    stage.pass(9_000);
    stage.settle();
    assert!(granted(&mut stage, 2, 20_000).is_some());
    assert!(stage.alike());
    // A second restore skips above the first.
    let known = stage.engine(0).state().revision();
    let job = stage.ask(0, accept(known, true));
    stage.settle();
    assert!(stage.reply(job).unwrap().revision >= known + SKIPPED_REVISIONS);
    assert!(stage.engine(0).state().is_skipped(4_711));
    assert!(stage.alike());
}

#[test]
fn after_a_restore_nothing_is_granted_until_what_may_be_lost_has_run_out() {
    needs(Mechanism::QuietAfterRestore, |mechanisms| {
        let (mut stage, _, known) = restored(mechanisms);
        stage.start(0);
        stage.settle();
        stage.ask(0, accept(known, false));
        stage.settle();
        let job = stage.ask(0, wants(3, 8, None, Some(20_001)));
        stage.settle();
        stage.pass(10);
        stage.settle();
        let quiet = matches!(stage.refusal(job), Some(Refusal::Quiet { .. }));
        // The longest TTL is eight seconds. A restart meanwhile counts it anew.
        stage.pass(5_000);
        stage.instances[0].engine = None;
        stage.start(0);
        stage.settle();
        stage.pass(5_000);
        stage.settle();
        let still = granted(&mut stage, 3, 20_001).is_none();
        stage.pass(5_000);
        stage.settle();
        assert!(granted(&mut stage, 4, 20_002).is_some());
        // Once it is over it is over for a restart, too.
        stage.instances[0].engine = None;
        stage.start(0);
        stage.settle();
        assert!(granted(&mut stage, 5, 20_003).is_some());
        quiet && still && stage.alike()
    });
}

#[test]
fn what_was_there_before_a_restore_goes_on_and_what_is_lost_is_not_there() {
    let (mut stage, lost, known) = restored(Mechanisms::default());
    stage.start(0);
    stage.settle();
    let kept = {
        let state = stage.engine(0).state();
        state
            .indexes
            .held_by(
                super::stage::requester(1),
                &onex_types::key::PortKey::first(),
            )
            .next()
            .cloned()
    };
    let kept = stage
        .engine(0)
        .state()
        .lease(&kept.unwrap())
        .unwrap()
        .1
        .lease_id;
    stage.ask(0, accept(known, false));
    stage.settle();
    let heartbeat = stage.ask(0, renew(1, kept, None));
    let gone = stage.ask(0, renew(2, lost, None));
    stage.settle();
    assert!(stage.lease(heartbeat).is_some());
    assert_eq!(stage.refusal(gone), Some(&Refusal::LeaseNotFound(lost)));
}

#[test]
fn an_accepted_restore_is_followed_by_a_snapshot_first_of_all() {
    let (mut stage, _, known) = restored(Mechanisms::default());
    stage.start(0);
    stage.settle();
    // The instance that was named before is not there any more.
    for _ in 0..12 {
        stage.pass(1_000);
        stage.settle();
    }
    let before = stage.engine(0).snapshots().newest();
    stage.ask(0, accept(known, true));
    stage.settle();
    let at = stage.store.last();
    stage.pass(1);
    stage.settle();
    let newest = stage.engine(0).snapshots().newest();
    assert_ne!(newest, before);
    assert!(newest.unwrap().sequence <= at.next());
    // A start from it counts revisions as those who were there.
    granted(&mut stage, 3, 20_003).unwrap();
    assert!(stage.alike());
    stage.store.trim(newest.unwrap().sequence);
    let now = stage.now(0);
    let loaded = load(&stage.store, None, Mechanisms::default(), now).unwrap();
    assert_eq!(
        loaded.state().revision(),
        stage.engine(0).state().revision()
    );
    assert_eq!(records(loaded.state()), records(stage.engine(0).state()));
    assert!(loaded.state().is_skipped(known + 1));
}

/// Who accepts does not know with which settings the registry will be started.
#[test]
fn a_log_may_begin_with_an_accepted_restore_and_gets_its_settings_with_the_next_start() {
    let mut stage = Stage::empty(1, Mechanisms::default(), &Limits::default());
    // Without what a start asks for.
    drop(stage.instances[0].start(0, &stage.store, stage.t));
    stage.follow(0);
    stage.settle();
    let job = stage.ask(0, accept(5_000, true));
    stage.settle();
    let revision = stage.reply(job).unwrap().revision;
    assert!(revision >= 5_000 + SKIPPED_REVISIONS);
    assert_eq!(stage.engine(0).state().settings(), None);
    stage.instances[0].engine = None;
    stage.start(0);
    stage.settle();
    assert!(stage.engine(0).state().settings().is_some());
    assert!(granted(&mut stage, 1, 20_000).is_some());
    assert!(stage.engine(0).state().is_skipped(4_711) && stage.alike());
}

/// An entry that raises the format, by a later version.
fn raise(stage: &mut Stage, format: u32) {
    let engine = stage.engine(0);
    let change = Change::Put {
        key: Key::Format,
        record: Format { format }.into(),
        tentative: false,
        event: None,
    };
    let changes = Changes {
        command: "format.raise".to_owned(),
        correlation_id: None,
        requester_id: None,
        changes: vec![change],
    };
    let entry = Entry {
        rev: engine.state().revision() + 1,
        at: stage.now(0).wall,
        cmds: vec![CommandRecord::Other(Box::new(changes))],
    };
    let header = EntryHeader {
        id: EntryId(Uuid::from_u64_pair(77 << 32, 1)),
        predecessor: engine.last_valid(),
        format: FORMAT,
        snapshot: engine.snapshots().newest(),
    };
    let bytes = serde_json::to_vec(&entry).unwrap();
    stage.store.append(None, Some(header), bytes.into());
}

#[test]
fn an_instance_stops_when_the_log_is_raised_to_a_format_that_it_does_not_know() {
    let mut stage = Stage::new(1, Mechanisms::default());
    raise(&mut stage, FORMAT + 1);
    stage.deliver(0);
    let note = stage.notes.last().unwrap();
    assert!(
        note.contains("stops") && note.contains("newer version"),
        "{note}"
    );
    let now = stage.now(0);
    let loaded = load(&stage.store, None, Mechanisms::default(), now).map(|_| ());
    assert!(matches!(loaded, Err(StartError::Format { .. })));
}

#[test]
fn a_format_that_this_version_does_not_know_is_not_raised_to() {
    let mut stage = Stage::new(1, Mechanisms::default());
    for format in [0, 1, FORMAT + 1] {
        let job = stage.ask(0, Action::RaiseFormat(format));
        stage.settle();
        stage.pass(10);
        stage.settle();
        assert_eq!(stage.refusal(job), Some(&Refusal::FormatUnknown(format)));
    }
    let before = stage.engine(0).state().revision();
    let job = stage.ask(0, Action::RaiseFormat(FORMAT));
    stage.settle();
    stage.pass(10);
    stage.settle();
    assert!(stage.reply(job).unwrap().result.is_ok());
    assert_eq!(stage.engine(0).state().revision(), before);
}
