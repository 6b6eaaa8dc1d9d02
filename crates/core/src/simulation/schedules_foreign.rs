//! Schedules of what somebody else does to the stream of the log.

use std::sync::Arc;

use onex_types::entry::Sequence;

use crate::{
    command::Probed,
    engine::{Input, Limits, Sizes},
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::load,
    stage::{Stage, needs, wants},
    truth::records,
};

/// One instance that has granted three leases. It writes no snapshot by itself.
fn stage(mechanisms: Mechanisms, chunk_bytes: usize) -> Stage {
    let limits = Limits {
        snapshot_bytes: usize::MAX,
        snapshot_millis: u64::MAX,
        chunk_bytes,
        kept_millis: 0,
        ..Limits::default()
    };
    let mut stage = Stage::empty(1, mechanisms, &limits);
    stage.start(0);
    stage.settle();
    for n in 0..3 {
        let job = stage.ask(0, wants(1 + u128::from(n), 8, None, Some(20_000 + n)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        stage.lease(job).unwrap();
    }
    wait(&mut stage);
    stage
}

fn wait(stage: &mut Stage) {
    for _ in 0..100 {
        stage.pass(10);
        stage.settle();
    }
}

fn say_sizes(stage: &mut Stage, bytes_max: u64) {
    let sizes = Sizes {
        bytes: 1_000,
        bytes_max,
        payload_max: 1024 * 1024,
        first: stage.store.first(),
    };
    stage.input(0, [Input::Sizes(sizes)]);
}

#[test]
fn a_log_that_others_have_nearly_filled_is_cut_short_at_once() {
    needs(Mechanism::CountVoid, |mechanisms| {
        let mut stage = stage(mechanisms, 300);
        say_sizes(&mut stage, 100_000);
        for _ in 0..17 {
            let bytes: Arc<[u8]> = vec![b'x'; 5_000].into();
            stage.store.append(None, None, bytes);
        }
        let others = stage.store.last();
        stage.deliver(0);
        wait(&mut stage);
        let newest = stage.engine(0).snapshots().newest().unwrap().sequence;
        stage.trims.last().is_some_and(|below| *below > others) && newest > others
    });
}

#[test]
fn a_log_that_somebody_purged_gets_another_snapshot_and_can_be_read_again() {
    // In one chunk, and in several.
    for chunk_bytes in [100_000, 300] {
        needs(Mechanism::SnapshotAfterPurge, |mechanisms| {
            let mut stage = stage(mechanisms, chunk_bytes);
            let end = stage.store.last().next();
            stage.store.trim(end);
            say_sizes(&mut stage, 100_000_000);
            wait(&mut stage);
            let now = stage.now(0);
            let Ok(loaded) = load(&stage.store, None, mechanisms, now) else {
                return false;
            };
            assert_eq!(records(loaded.state()), records(stage.engine(0).state()));
            stage.alike()
        });
    }
}

#[test]
fn a_snapshot_whose_beginning_somebody_removed_is_begun_again() {
    let mut stage = stage(Mechanisms::default(), 300);
    stage.store.trim(Sequence(2));
    say_sizes(&mut stage, 100_000_000);
    // One chunk is there, and goes.
    stage.pass(10);
    stage.arrive_acked();
    let end = stage.store.last().next();
    stage.store.trim(end);
    say_sizes(&mut stage, 100_000_000);
    wait(&mut stage);
    let newest = stage.engine(0).snapshots().newest().unwrap().sequence;
    assert!(newest >= end, "{newest} {end}");
    let now = stage.now(0);
    assert!(load(&stage.store, None, Mechanisms::default(), now).is_ok());
}
