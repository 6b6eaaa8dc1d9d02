//! Schedules of rebinds: what is late, and what was there before.

use crate::{command::Refusal, mechanism::Mechanisms};
use onex_types::ids::Port;

use super::{
    schedules_sets::{answered, ports, rebind, set},
    stage::{Stage, release, wants},
};

#[test]
fn s06_a_late_copy_of_a_rebind_gives_up_no_other_port() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let first = answered(&mut stage, 0, wants(1, 8, Some(1), Some(20_002))).unwrap();
    let lease_id = first.lease.lease_id;
    let second = answered(&mut stage, 0, rebind(1, lease_id, 20_002, Some(5))).unwrap();
    let port = ports(&second)[0];
    let third = answered(&mut stage, 1, rebind(1, lease_id, port, Some(6))).unwrap();
    // The copy of the first one: the lease has neither that port nor that request any more.
    let late = answered(&mut stage, 1, rebind(1, lease_id, 20_002, Some(5)));
    assert_eq!(late, Err(Refusal::PortNotHeld(Port::new(20_002).unwrap())));
    let copy = answered(&mut stage, 0, rebind(1, lease_id, port, Some(6))).unwrap();
    assert_eq!(ports(&copy), ports(&third));
    assert!(stage.alike());
}

#[test]
fn s48_a_rebind_onto_a_port_with_a_higher_token_gets_one_that_is_higher_still() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let old = answered(&mut stage, 0, wants(1, 8, Some(1), Some(20_002))).unwrap();
    // All other ports are leased after that, with a higher token, and given back.
    let others = answered(&mut stage, 1, set(2, 5, false, false, None)).unwrap();
    assert!(others.lease.fence > old.lease.fence);
    stage.ask(1, release(2, others.lease.lease_id));
    stage.settle();
    let rebound = answered(
        &mut stage,
        1,
        rebind(1, old.lease.lease_id, 20_002, Some(5)),
    )
    .unwrap();
    assert!(ports(&others).contains(&ports(&rebound)[0]));
    assert!(rebound.lease.fence > others.lease.fence);
    // Whoever has that port next, or the one that was given up, has a higher one than that.
    stage.ask(0, release(1, old.lease.lease_id));
    stage.settle();
    stage.pass(70_000);
    stage.settle();
    for port in [ports(&rebound)[0], 20_002] {
        let next = answered(&mut stage, 0, wants(3, 8, None, Some(port))).unwrap();
        assert!(next.lease.fence > rebound.lease.fence, "{port}");
    }
}
