//! `onex pool`: the ports of hosts, shown and set.

use crate::harness::{Nats, Registry, User};
use serde_json::json;

const SERVE: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20099"];

#[test]
fn a_pool_is_set_shown_and_deleted() {
    let registry = Registry::start(&SERVE);
    let user = User::of(&registry);
    user.run("port lease --host here --port 20050").exits(0);
    let set = "pool set here --ports 30005-30009,30000-30004 --reserved 30005 --description builds";
    let ran = user.run(set).exits(0);
    assert!(
        ran.stdout.contains("30000-30009 without 30005"),
        "{}",
        ran.stdout
    );
    let told = "1 held outside of these ports: they stay until their leases end\n";
    assert_eq!(ran.stderr, told);
    // The same again, for programs: nothing is said beside the data.
    let again = user.run(&format!("{set} -o json")).json();
    let tcp = &again["items"][0];
    assert_eq!(
        (&tcp["description"], &tcp["held_outside"]),
        (&json!("builds"), &json!(1))
    );
    let revision = tcp["revision"].as_u64().unwrap();
    assert_eq!(user.run(&format!("{set} -o name")).stdout, "here\n");

    let wide = user.run("pool list -o wide --no-headers").table();
    let row = wide.iter().find(|row| row[1] == "tcp").unwrap();
    let revision_text = revision.to_string();
    assert_eq!(row[7..], ["9", "1", revision_text.as_str(), "builds"]);

    let stale = format!(
        "pool set here --ports 30000-30001 --expected-revision {}",
        revision + 1
    );
    let ran = user.run(&stale).exits(1);
    for part in [&format!("it is at {revision}"), "`onex pool list -o wide"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let udp = format!(
        "pool set here --ports 40000-40009 --transport udp --expected-revision {revision} -o json"
    );
    let items = user.run(&udp).json()["items"].clone();
    assert_eq!(
        items[0]["ranges"],
        json!([{"first": 30_000, "last": 30_009}])
    );
    assert_eq!(
        items[1]["ranges"],
        json!([{"first": 40_000, "last": 40_009}])
    );
    assert_eq!(items[1].get("description"), None);

    let deleted = user.run("pool delete here").exits(0).stdout;
    assert!(deleted.contains("20000-20099"), "{deleted}");
    let error = user.run("pool delete here -o json").json_error(1);
    assert_eq!(error["code"], "POOL_NOT_FOUND");
}

#[test]
fn ranges_that_are_none_are_usage_errors() {
    let registry = Registry::start(&SERVE);
    let user = User::of(&registry);
    for line in [
        "pool set here",
        "pool set --ports 1-9",
        "pool set here --ports",
        "pool set here --ports ,",
        "pool set here --ports 9-1",
        "pool set here --ports 0-9",
        "pool set here --ports 1-9 --transport all",
        "pool set here --ports 1-9 --expected-revision x",
        "pool set Here! --ports 1-9",
        "pool delete",
    ] {
        user.run(line).exits(2);
    }
    let ran = user.run("pool set here --ports 1-9 --reserved 10").exits(1);
    assert!(
        ran.stderr.contains("reserved/0 must be within ranges"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_start_with_other_ports_says_how_they_are_changed() {
    let nats = Nats::start();
    let mut first = Registry::on(&nats, &SERVE);
    first.terminate();
    assert!(first.ended().0.success());
    let mut other = Registry::spawn_on(
        &nats,
        &["--host", "here", "--no-probe", "--ports", "21000-21099"],
    );
    assert_eq!(other.ended().0.code(), Some(2));
    let said = other.said();
    for part in [
        "--ports says 21000-21099",
        "has 20000-20099",
        "`onex pool set HOST --ports RANGES",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
