//! `onex admin`: what is taken away, and what is said of it.

use std::net::TcpListener;

use crate::harness::{Caller, Registry, User, assert_members, node};
use serde_json::json;
use uuid::Uuid;

const REASON: [&str; 2] = ["--reason", "hangs"];

#[test]
fn a_lease_is_revoked_by_its_port_or_its_id() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", "20000-20099"]);
    let user = User::of(&registry);
    let lease = user
        .run("port lease --host here --port 20050 -o json")
        .json();
    let lease_id = lease["lease_id"].as_str().unwrap();
    // Whose machine it is need not be said where only one has it.
    let ran = user
        .run("admin revoke --port 20050 --reason hangs")
        .exits(0);
    assert!(
        ran.stdout.contains(lease_id) && ran.stdout.contains("revoked"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stderr,
        "Its holder may use its ports until its time is up: nobody gets them before.\n"
    );
    let again = format!("admin revoke --lease-id {lease_id} --reason hangs");
    let reply = user.run(&format!("{again} -o json")).json();
    assert_members(&reply, &["lease_id", "outcome", "ended_at", "revision"]);
    assert_eq!(
        user.run(&format!("{again} -o name")).stdout,
        format!("{lease_id}\n")
    );
    let error = user
        .run(&format!("port heartbeat --lease-id {lease_id} -o json"))
        .json_error(1);
    assert_eq!(
        (&error["code"], &error["details"]["admin_reason"]),
        (&json!("LEASE_EXPIRED"), &json!("hangs"))
    );

    // Why is where somebody looks for it.
    let ran = user.run("port explain 20050 --host here").exits(0);
    assert!(
        ran.stdout.contains("(hangs), who may still"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("UTC: hangs\n"), "{}", ran.stdout);
    let lift = "admin unquarantine --port 20050 --host here --reason hangs";
    let told = user.run(lift).exits(1).stderr;
    assert!(
        told.contains("`onex port explain 20050 --host here`"),
        "{told}"
    );

    // On several hosts it has to be said which.
    user.run("port lease --host here --port 20051").exits(0);
    user.run("port lease --host there --port 20051").exits(0);
    let ran = user
        .run("admin revoke --port 20051 --reason hangs")
        .exits(1);
    for part in ["20051/tcp on here", "20051/tcp on there", "--host"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    user.run("admin revoke --port 20051 --host there --reason hangs")
        .exits(0);
    let left = user.run("port list -o json").json();
    assert_eq!(left["items"][0]["host"], "here");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);

    let ran = user
        .run("admin revoke --port 20052 --host here --reason hangs")
        .exits(1);
    assert!(
        ran.stderr
            .contains("nobody holds tcp port 20052 of host here"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_evicted_and_its_leases_are_not_taken_without_it() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", "20000-20099"]);
    let user = User::of(&registry);
    let (caller, me) = (Caller::of(&registry).await, Uuid::new_v4());
    caller
        .get("node.register", node(me, "calc.1", json!({})))
        .await;
    let lease = json!({"node_id": "calc.1", "epoch": 1, "preferred_port": 20_050});
    let lease = caller.lease(me, lease).await;
    let ran = user
        .run("admin revoke --port 20050 --reason hangs")
        .exits(1);
    for part in ["ends with node calc.1", "`onex admin evict NODE"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let ran = user.run("admin evict calc.2 --reason hangs").exits(1);
    assert!(ran.stderr.contains("calc.1"), "{}", ran.stderr);
    user.run("admin evict calc.1 --epoch 2 --reason hangs")
        .exits(1);
    let ran = user
        .run("admin evict calc.1 --epoch 1 --reason hangs")
        .exits(0);
    assert!(ran.stdout.contains("evicted"), "{}", ran.stdout);
    let reply = user.run("admin evict calc.1 --reason hangs -o json").json();
    assert_eq!(
        (&reply["status"], &reply["epoch"]),
        (&json!("evicted"), &json!(1))
    );
    let id = lease["lease_id"].as_str().unwrap();
    let heartbeat = format!("port heartbeat --lease-id {id} --requester {me}");
    user.run(&heartbeat).exits(1);
    let table = user.run("node list --no-headers").table();
    assert_eq!(table[0][3], "ended");
    let ran = user.run("describe --node calc.1").exits(0);
    assert!(ran.stdout.contains("(evicted): hangs\n"), "{}", ran.stdout);
}

#[test]
fn a_quarantine_is_lifted() {
    let registry = Registry::start(&["--host", "here", "--ports", "18940-18949"]);
    let user = User::of(&registry);
    let program = TcpListener::bind("127.0.0.1:18940").unwrap();
    user.run("port lease --host here --port 18940").exits(1);
    drop(program);
    let ran = user.run("port lease --host here --port 18940").exits(1);
    assert!(ran.stderr.contains("quarantined"), "{}", ran.stderr);
    let lift = "admin unquarantine --port 18940 --host here --reason gone";
    assert!(user.run(lift).exits(0).stdout.contains("18940"));
    user.run("port lease --host here --port 18940").exits(0);
    let ran = user.run(lift).exits(1);
    assert!(
        ran.stderr
            .contains("port 18940 is not quarantined: it is held"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_host_is_forgotten_when_nothing_is_on_it() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", "20000-20099"]);
    let user = User::of(&registry);
    user.run("pool set there --ports 30000-30009").exits(0);
    let lease = user.run("port lease --host there -o json").json();
    let forget = "admin forget-host there --reason gone";
    let ran = user.run(forget).exits(1);
    let port = format!("leases hold ports {}/tcp", lease["port"]);
    assert!(
        ran.stderr.contains(&port) && ran.stderr.contains("`onex port list"),
        "{}",
        ran.stderr
    );
    user.run("port release --all").exits(0);
    assert!(user.run(forget).exits(0).stdout.contains("there"));
    assert_eq!(
        user.run(&format!("{forget} -o name")).exits(0).stdout,
        "there\n"
    );
    assert!(!user.run("pool list").exits(0).stdout.contains("there"));
    let ran = user.run("admin forget-host here --reason gone").exits(1);
    assert!(
        ran.stderr
            .contains("an instance of the registry runs there"),
        "{}",
        ran.stderr
    );
}

#[test]
fn why_has_to_be_said() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    let long = "x".repeat(257);
    for line in [
        "admin revoke --port 20000".to_owned(),
        "admin evict calc".to_owned(),
        "admin unquarantine --port 20000".to_owned(),
        format!("admin evict calc --reason {long}"),
        format!("admin revoke {} {}", REASON[0], REASON[1]),
        "admin revoke --port 1 --lease-id 0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f --reason x"
            .to_owned(),
        "admin revoke --lease-id 0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f --host here --reason x"
            .to_owned(),
    ] {
        user.run(&line).exits(2);
    }
}
