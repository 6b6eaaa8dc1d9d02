//! Schedules of hosts that have several names: their ports are those of one machine.

use std::collections::BTreeSet;

use onex_types::{
    bounds::ALIASES_MAX,
    ids::{Host, Transport},
    key::PortKey,
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Held, Probed, Refusal, Unavailable},
    host_names::HOST_RECORDS_MAX,
    host_record::{HostRecord, TellHost},
    key::Key,
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::{RETENTION_MILLIS, host},
    node_stage::{registers, wants_for},
    schedules_sets::rebind,
    schedules_settings::pool as pool_on,
    stage::{Stage, held, needs, renew, wants},
};

fn name(text: &str) -> Host {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> BTreeSet<Host> {
    texts.iter().map(|text| name(text)).collect()
}

fn told(host: &str, by: u128, aliases: &[&str]) -> TellHost {
    TellHost {
        host: name(host),
        said_by: Uuid::from_u128(by),
        port_space: Some(format!("space {by}")),
        aliases: names(aliases),
        replaces: BTreeSet::new(),
        alone: true,
        running: BTreeSet::new(),
    }
}

fn tell(host: &str, by: u128, aliases: &[&str]) -> Action {
    Action::TellHost(Box::new(told(host, by, aliases)))
}

fn rename(host: &str, by: u128, to: &str) -> Action {
    Action::RenameHost {
        host: name(host),
        said_by: Uuid::from_u128(by),
        to: name(to),
    }
}

fn on_host(action: Action, host: &str) -> Action {
    match action {
        Action::Lease(mut grant) => {
            grant.host = name(host);
            Action::Lease(grant)
        }
        other => other,
    }
}

/// What comes of it.
fn asked(stage: &mut Stage, index: usize, action: Action) -> Result<Answer, Refusal> {
    let job = stage.ask(index, action);
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.pass(10);
    stage.settle();
    stage.reply(job).unwrap().result.clone()
}

fn granted(stage: &mut Stage, index: usize, action: Action) -> Result<Held, Refusal> {
    match asked(stage, index, action)? {
        Answer::Lease(held) => Ok(held),
        other => panic!("no lease: {other:?}"),
    }
}

fn record(stage: &Stage, host: &str) -> HostRecord {
    HostRecord::clone(stage.engine(0).state().host(&name(host)).unwrap())
}

#[test]
fn a_port_held_under_a_former_name_of_its_host_is_not_granted_under_its_new_one() {
    needs(Mechanism::NamesOfHost, |mechanisms| {
        let (mut stage, _) = held(2, mechanisms, 8);
        for action in [
            tell("h", 1, &[]),
            tell("new", 2, &[]),
            rename("h", 1, "new"),
        ] {
            asked(&mut stage, 0, action).unwrap();
        }
        let exact = |n, host: &str| on_host(wants(n, 8, None, Some(20_000)), host);
        let refused = [("new", 2), ("h", 3)].map(|(host, n)| {
            let refusal = granted(&mut stage, 1, exact(n, host));
            matches!(
                refusal,
                Err(Refusal::PortUnavailable {
                    why: Unavailable::Held,
                    ..
                })
            )
        });
        refused == [true, true] && stage.alike()
    });
}

#[test]
fn what_a_host_is_called_is_forgotten_once_no_instance_says_it_and_nothing_is_there() {
    needs(Mechanism::ForgetHosts, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        for action in [
            tell("h", 1, &["held.test"]),
            tell("idle", 2, &["idle.test"]),
            tell("kept", 3, &["kept.test"]),
            tell("former", 4, &[]),
            rename("former", 4, "kept"),
        ] {
            asked(&mut stage, 0, action).unwrap();
        }
        for _ in 0..6 {
            stage.pass(RETENTION_MILLIS / 4);
            stage.settle();
            asked(&mut stage, 0, tell("kept", 3, &["kept.test"])).unwrap();
            stage.ask(0, renew(1, lease_id, None));
            stage.settle();
        }
        let state = stage.engine(1).state();
        for host in ["h", "kept", "former"] {
            assert!(state.host(&name(host)).is_some(), "{host}");
        }
        state.host(&name("idle")).is_none() && stage.alike()
    });
}

#[test]
fn a_grant_that_names_a_host_as_it_was_called_before_is_for_the_host_that_it_is_now() {
    needs(Mechanism::NamesOfHost, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        for action in [tell("h", 1, &[]), tell("new", 2, &[])] {
            asked(&mut stage, 0, action).unwrap();
        }
        // Instance 1 has not seen that the host was renamed when it decides.
        stage.ask(0, rename("h", 1, "new"));
        stage.arrive_acked().unwrap();
        let job = stage.ask(1, wants(1, 8, None, Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        match &stage.reply(job).unwrap().result {
            Ok(Answer::Lease(held)) => held.key.host == name("new"),
            other => panic!("no lease: {other:?}"),
        }
    });
}

#[test]
fn an_exchanged_port_is_not_one_that_is_held_under_another_name_of_its_host() {
    let (mut stage, lease_id) = held(1, Mechanisms::default(), 8);
    for action in [
        tell("h", 1, &[]),
        tell("new", 2, &[]),
        rename("h", 1, "new"),
    ] {
        asked(&mut stage, 0, action).unwrap();
    }
    // All others of the range but one.
    let ports: Vec<u16> = (20_001..20_005).collect();
    for port in &ports {
        let exact = on_host(wants(u128::from(*port), 8, None, Some(*port)), "new");
        granted(&mut stage, 0, exact).unwrap();
    }
    let held = granted(&mut stage, 0, rebind(1, lease_id, 20_000, None)).unwrap();
    assert_eq!((held.key.host, held.key.port.number()), (host(), 20_005));
}

#[test]
fn a_lease_of_a_node_is_on_the_host_that_the_nodes_name_means() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let mut calc = registers("calc", 1, None, Vec::new(), None);
    calc.registration.host = Some(name("vm"));
    asked(&mut stage, 0, Action::Register(Box::new(calc))).unwrap();
    let mut request = wants_for("calc", 1, None, None);
    if let Action::Lease(grant) = &mut request {
        grant.owner.as_mut().unwrap().on_its_host = true;
    }
    let host = |stage: &mut Stage| granted(stage, 0, request.clone()).unwrap().key.host;
    assert_eq!(host(&mut stage), name("vm"));
    asked(&mut stage, 0, tell("here", 1, &["vm"])).unwrap();
    assert_eq!(host(&mut stage), name("here"));
    // One that several hosts have in common is kept as the node said it.
    asked(&mut stage, 0, tell("there", 2, &["vm"])).unwrap();
    assert_eq!(host(&mut stage), name("vm"));
}

#[test]
fn a_name_that_several_hosts_have_in_common_is_refused_with_them() {
    let mut stage = Stage::new(1, Mechanisms::default());
    for action in [tell("one", 1, &["vm"]), tell("two", 2, &["vm"])] {
        asked(&mut stage, 0, action).unwrap();
    }
    let refusal = granted(&mut stage, 0, on_host(wants(1, 8, None, None), "vm"));
    let several = Refusal::HostAmbiguous {
        host: name("vm"),
        hosts: names(&["one", "two"]),
    };
    assert_eq!(refusal, Err(several));
}

#[test]
fn the_first_lease_on_a_host_that_nobody_has_named_says_so() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let mut is_first = |host: &str| {
        let request = on_host(wants(1, 8, None, None), host);
        granted(&mut stage, 0, request).unwrap().is_first_on_host
    };
    assert_eq!([is_first("a"), is_first("a")], [true, false]);
    let mut stage = Stage::new(1, Mechanisms::default());
    asked(&mut stage, 0, tell("a", 1, &[])).unwrap();
    let mut calc = registers("calc", 1, None, Vec::new(), None);
    calc.registration.host = Some(name("b"));
    asked(&mut stage, 0, Action::Register(Box::new(calc))).unwrap();
    for host in ["a", "b"] {
        let request = on_host(wants(1, 8, None, None), host);
        assert!(!granted(&mut stage, 0, request).unwrap().is_first_on_host);
    }
}

#[test]
fn a_host_on_which_an_instance_runs_has_ports_and_is_known_until_it_is_renamed() {
    let mut settings = super::instance::settings();
    settings.known_hosts_only = true;
    let mut stage = Stage::with_settings(&settings);
    asked(&mut stage, 0, tell("a", 1, &[])).unwrap();
    asked(&mut stage, 0, tell("b", 2, &[])).unwrap();
    let pool = |stage: &Stage, host: &str| {
        let state = stage.engine(0).state();
        state.pool(&name(host), Transport::Udp).is_some()
    };
    assert!(pool(&stage, "a") && pool(&stage, "b"));
    assert_eq!(stage.engine(0).state().hosts_with_ports(), 2);
    let pool_of = |host: &str| pool_on(&name(host), 1, 9);
    let limit = Refusal::LimitExceeded {
        what: "hosts",
        limit: 2,
    };
    assert_eq!(asked(&mut stage, 0, pool_of("c")), Err(limit));
    let on = |host: &str| on_host(wants(1, 8, None, None), host);
    assert!(granted(&mut stage, 0, on("a")).is_ok());
    assert_eq!(
        granted(&mut stage, 0, on("c")),
        Err(Refusal::PoolNotFound(name("c")))
    );
    asked(&mut stage, 0, rename("b", 2, "a")).unwrap();
    assert!(!pool(&stage, "b"));
    assert_eq!(granted(&mut stage, 0, on("b")).unwrap().key.host, name("a"));
}

#[test]
fn a_host_is_renamed_only_while_the_instance_that_spoke_for_it_is_the_last() {
    let mut stage = Stage::new(2, Mechanisms::default());
    for action in [tell("a", 1, &["vm"]), tell("b", 2, &["vm"])] {
        asked(&mut stage, 0, action).unwrap();
    }
    asked(&mut stage, 1, tell("a", 3, &["vm"])).unwrap();
    asked(&mut stage, 0, rename("a", 1, "b")).unwrap();
    assert_eq!(record(&stage, "a").renamed_to, None);
    asked(&mut stage, 0, rename("a", 3, "b")).unwrap();
    assert_eq!(record(&stage, "a").renamed_to, Some(name("b")));
    // Whoever uses the name again has it again.
    asked(&mut stage, 0, tell("a", 4, &["vm"])).unwrap();
    assert_eq!(record(&stage, "a").renamed_to, None);
    assert!(stage.alike());
}

#[test]
fn names_that_others_say_stay_while_they_run() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let mut says = |tell: TellHost| {
        let host = tell.host.to_string();
        asked(&mut stage, 0, Action::TellHost(Box::new(tell))).unwrap();
        record(&stage, &host).aliases
    };
    assert_eq!(says(told("h", 1, &["a", "b"])), names(&["a", "b"]));
    let beside = TellHost {
        alone: false,
        ..told("h", 2, &["c"])
    };
    assert_eq!(says(beside.clone()), names(&["a", "b", "c"]));
    let instead = TellHost {
        replaces: names(&["c"]),
        aliases: names(&["d"]),
        ..beside
    };
    assert_eq!(says(instead), names(&["a", "b", "d"]));
    // One that is not on the machine's network knows nothing of it.
    let apart = TellHost {
        port_space: None,
        ..told("h", 3, &[])
    };
    assert_eq!(says(apart), names(&["a", "b", "d"]));
    assert_eq!(says(told("h", 4, &["e"])), names(&["e"]));
    let many: Vec<String> = (0..2 * ALIASES_MAX).map(|n| format!("n{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(says(told("h", 5, &many)).len(), ALIASES_MAX);
}

#[test]
fn hosts_whose_names_are_kept_are_bounded() {
    let mut stage = Stage::new(1, Mechanisms::default());
    for n in 0..HOST_RECORDS_MAX {
        stage.ask(0, tell(&format!("h{n}"), 1, &[]));
        if n % 64 == 0 {
            stage.settle();
        }
    }
    stage.settle();
    let known = |stage: &Stage| stage.engine(0).state().indexes.hosts.len();
    assert_eq!(known(&stage), HOST_RECORDS_MAX);
    let mut more = told("more", 2, &[]);
    more.running = names(&["h0", "h1"]);
    asked(&mut stage, 0, Action::TellHost(Box::new(more.clone()))).unwrap();
    let state = stage.engine(0).state();
    let there = ["h0", "h1", "h2", "more"].map(|host| state.host(&name(host)).is_some());
    assert_eq!(there, [true, true, false, true]);
    assert_eq!(known(&stage), HOST_RECORDS_MAX);
    // Nobody's is forgotten who runs.
    more.host = name("last");
    more.running = (0..HOST_RECORDS_MAX)
        .map(|n| name(&format!("h{n}")))
        .collect();
    more.running.insert(name("more"));
    let refusal = asked(&mut stage, 0, Action::TellHost(Box::new(more)));
    assert!(matches!(refusal, Err(Refusal::LimitExceeded { .. })));
}

#[test]
fn what_hosts_are_called_survives_a_start() {
    let mut stage = Stage::new(2, Mechanisms::default());
    asked(&mut stage, 0, tell("h", 1, &["vm", "192.0.2.1"])).unwrap();
    assert!(stage.alike());
    let state = stage.engine(1).state();
    assert!(state.slot(&Key::Host(name("h"))).is_some());
    assert_eq!(state.names_in_use(&name("vm")), names(&["vm"]));
    assert_eq!(state.ports_from(&PortKey::first()).count(), 0);
}
