//! Schedules of commands that wait.

use crate::{
    command::{Probed, Refusal},
    engine::ENTRY_COMMANDS_MAX,
    mechanism::Mechanisms,
};

use super::{
    schedules_store::grant,
    stage::{held, renew, wants},
};

#[test]
fn a_flood_of_grants_does_not_keep_a_renewal_waiting() {
    let (mut stage, lease_id) = held(1, Mechanisms::default(), 8);
    let waiting_max = 1_000;
    stage.instances[0].limits.waiting_max = waiting_max;
    stage.instances[0].engine = None;
    stage.start(0);
    stage.settle();
    // An entry is under way, so that everything waits.
    stage.ask(0, renew(1, lease_id, None));
    let jobs: Vec<_> = (0..=waiting_max)
        .map(|_| stage.ask(0, wants(9, 8, None, Some(1))))
        .collect();
    let (last, first) = jobs.split_last().unwrap();
    assert_eq!(stage.refusal(*last), Some(&Refusal::QueueFull));
    assert!(first.iter().all(|job| stage.reply(*job).is_none()));
    let heartbeat = stage.ask(0, renew(1, lease_id, None));
    assert_eq!(stage.reply(heartbeat), None, "it is taken");
    stage.arrive_acked();
    stage.arrive_acked();
    assert!(stage.lease(heartbeat).is_some(), "and is in the next entry");
}

#[test]
fn renewals_that_never_stop_leave_room_for_grants_and_ends() {
    let (mut stage, lease_id) = held(1, Mechanisms::default(), 8);
    let other = grant(&mut stage, 2, 20_001).unwrap();
    stage.ask(0, renew(1, lease_id, None));
    for _ in 0..3 * ENTRY_COMMANDS_MAX {
        stage.ask(0, renew(1, lease_id, None));
    }
    let job = stage.ask(0, wants(3, 8, None, Some(20_002)));
    stage.arrive_acked();
    stage.arrive_acked();
    stage.probed(Probed::Bindable);
    assert!(stage.lease(job).is_some());
    stage.settle();
    assert!(stage.holds(other));
}
