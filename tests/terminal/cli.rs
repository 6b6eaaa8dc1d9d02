//! The command line against a real registry: what comes out on stdout and stderr, and the exit codes. All
//! three are contracts.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use futures::{StreamExt, stream};
use onex_registry::{
    client::Client,
    ids::{RequestId, RequesterId},
    protocol::{names::Namespace, port::LeaseRequest},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Nats, Registry, User, assert_members, behind_wire, round_trip, until};

const NOBODY: &str = "nats://127.0.0.1:1";
const NO_LEASE: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";

/// A page that names itself as the next one.
const ROUND: &str = r#"{"items":[],"next_cursor":"a","revision":1}"#;

#[test]
fn a_lease_is_taken_seen_renewed_and_released() {
    let registry = Registry::start(&["--host", "here"]);
    let user = User::of(&registry);

    let ran = user.run("port lease --name api --ttl 10m");
    assert!(ran.stderr.starts_with("Yours for 10m."), "{}", ran.stderr);
    let table = ran.table();
    assert_eq!(
        table[0],
        ["PORT", "HOST", "NAME", "HOLDER", "PROTOCOL", "LEFT"]
    );
    let [port, host, name, holder, protocol, left] = table[1].as_slice() else {
        panic!("{table:?}");
    };
    assert_eq!(
        [host, name, holder, protocol],
        ["here", "api", "you", "tcp"]
    );
    assert!(left == "10m" || left.starts_with("9m"), "{left}");
    let number = port.strip_suffix("/tcp").unwrap();
    assert!((20_000..30_000).contains(&number.parse::<u16>().unwrap()));

    let seen = user.run("port list").table();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[1][..5], table[1][..5]);
    let wide = user.run("port list -o wide").table();
    assert_eq!(wide[0][6], "LEASE ID");
    let lease_id = &wide[1][6];
    lease_id.parse::<Uuid>().unwrap();
    let found = user.run("port resolve api").table();
    let address = format!("here:{number}");
    assert_eq!(
        found[0],
        ["ADDRESS", "TRANSPORT", "PROTOCOL", "NAME", "LABELS"]
    );
    assert_eq!(found[1], [&address, "tcp", "tcp", "api", "-"]);

    let before = user.run("port list -o json").json();
    let renewed = user.run("port heartbeat").table();
    assert_eq!(renewed[0], ["LEASE ID", "STATE", "LEFT"]);
    assert_eq!(renewed[1][..2], [lease_id.as_str(), "renewed"]);
    let after = user.run("port list -o json").json();
    let of = |list: &Value, member: &str| list["items"][0][member].as_u64().unwrap();
    assert_eq!(of(&after, "fencing_token"), of(&before, "fencing_token"));
    assert!(after["revision"].as_u64() > before["revision"].as_u64());

    let released = user.run("port release --name api").table();
    assert_eq!(released[0], ["LEASE ID", "STATUS", "ENDED"]);
    assert_eq!(released[1][..2], [lease_id.as_str(), "released"]);
    assert_eq!(user.run("port list").table().len(), 1);
    let none = user.run("port heartbeat").exits(0);
    assert_eq!(none.stderr, "You hold no lease.\n");
}

#[allow(clippy::too_many_lines, reason = "one table")]
#[test]
fn json_is_one_document_with_the_wires_members() {
    let registry = Registry::start(&["--host", "here"]);
    let user = User::of(&registry);
    let lease = user
        .run("-o json port lease --host there --transport udp --label blue --label red --name a.b --ttl 90")
        .json();
    assert_members(
        &lease,
        &[
            "lease_id",
            "status",
            "port",
            "ports",
            "host",
            "transport",
            "protocol",
            "requester_id",
            "assigned_to",
            "name",
            "labels",
            "ttl",
            "holder",
            "requested_at",
            "granted_at",
            "expires_at",
            "expires_in_ms",
            "renew_after_ms",
            "fencing_token",
            "revision",
            "availability",
            // The host is new.
            "warnings",
        ],
    );
    assert_members(&lease["warnings"][0], &["code", "message"]);
    assert_eq!(lease["protocol"], "udp");
    assert_eq!(lease["labels"], json!(["blue", "red"]));
    assert_eq!(lease["ttl"], 90);
    assert_eq!(lease["availability"], "unverified");

    let list = user.run("port list -o json").json();
    assert_members(&list, &["items", "revision"]);
    assert_eq!(list["items"][0]["lease_id"], lease["lease_id"]);
    for filter in ["--mine", "--host there", "--label red", "--name a.b"] {
        let found = user.run(&format!("port list {filter} -ojson")).json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{filter}");
    }
    for filter in ["--host here", "--label green", "--name a"] {
        let found = user
            .run(&format!("port list {filter} --output=json"))
            .json();
        assert_eq!(found["items"], json!([]), "{filter}");
    }
    let found = user.run("port resolve --label blue -o json").json();
    assert_eq!(found["items"][0]["port"], lease["port"]);

    let one = format!(
        "port heartbeat --lease-id {} -o json",
        lease["lease_id"].as_str().unwrap()
    );
    assert_eq!(user.run(&one).json()["lease_id"], lease["lease_id"]);
    let all = user.run("port heartbeat -o json").json();
    assert_members(&all, &["renewed", "lost", "unknown", "revision"]);
    assert_members(
        &all["renewed"][0],
        &["lease_id", "fencing_token", "expires_in_ms", "revision"],
    );

    let pools = user.run("pool list --host there -o json").json();
    assert_members(&pools, &["items", "revision"]);
    assert_members(
        &pools["items"][0],
        &[
            "host",
            "transport",
            "ranges",
            "reserved",
            "capacity",
            "held",
            "resting",
            "quarantined",
            "free",
        ],
    );
    assert_eq!(pools["items"][1]["transport"], "udp");
    assert_eq!(pools["items"][1]["held"], 1);
    let registry = user.run("describe -o json").json();
    assert_members(
        &registry,
        &[
            "registry",
            "instances",
            "counts",
            "pools",
            "nodes",
            "tools",
            "buses",
            "revision",
        ],
    );
    assert_eq!(registry["counts"]["leases"], 1);
    let hosts: BTreeSet<_> = registry["pools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| pool["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, BTreeSet::from(["here", "there"]));

    let port = lease["port"].to_string();
    let released = user
        .run(&format!("port release --port {port} -o json"))
        .json();
    assert_members(
        &released,
        &["lease_id", "status", "released_at", "revision"],
    );
    assert_eq!(released["status"], "released");
}

#[test]
fn tables_fit_into_80_columns() {
    let registry = Registry::start(&[
        "--host",
        "build-machine-7.lab.example.org",
        "--reserved",
        "22000",
    ]);
    let user = User::of(&registry).with("COLUMNS", "80");
    let name = "a-service-with-a-rather-long-name.of-a-team";
    let lease = user
        .run(&format!(
            "port lease --name {name} --protocol jetstream --label blue --ttl 24h -o json"
        ))
        .json();
    let listed = user.run("port list -o wide").stdout;
    let lease_id = lease["lease_id"].as_str().unwrap();
    assert!(
        listed.contains(lease_id),
        "what is copied is in one piece: {listed}"
    );
    for line in [
        "port list",
        &format!("port resolve {name}"),
        "port heartbeat",
        "pool list",
        "describe",
    ] {
        let shown = user.run(line).exits(0).stdout;
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80),
            "{shown}"
        );
        assert!(
            shown.lines().all(|line| line.trim_end() == line),
            "{shown:?}"
        );
    }
    let described = user.run("describe").stdout;
    for part in [
        "Registry  ",
        "Version  ",
        "INSTANCES (1)",
        "INSTANCE  ",
        "HOST  ",
        "22000",
    ] {
        assert!(described.contains(part), "{part}: {described}");
    }
}

#[test]
fn refusals_say_what_to_do_and_whether_to_come_back() {
    let registry = Registry::start(&["--ports", "21000", "--no-probe"]);
    let user = User::of(&registry);
    let other = User::of(&registry);
    let lease = user.run("port lease -o json").json();
    let lease_id = lease["lease_id"].as_str().unwrap();

    let error = user.run("port lease -o json").json_error(75);
    assert_eq!(error["code"], "RESOURCE_EXHAUSTED");
    assert_eq!(error["retryable"], true);
    assert!(error["retry_after_ms"].as_u64().unwrap() > 1_000);
    assert!(error["correlation_id"].is_string());
    let told = user.run("port lease").exits(75).stderr;
    assert!(told.contains("`onex pool list`"), "{told}");

    let error = user
        .run("port lease --port 21000 --exact -o json")
        .json_error(1);
    assert_eq!(error["code"], "PORT_UNAVAILABLE");
    assert_eq!(error["details"]["state"], "held");

    let error = other
        .run(&format!("port release --lease-id {lease_id} -o json"))
        .json_error(1);
    assert_eq!(error["code"], "NOT_HOLDER");
    let told = other
        .run(&format!("port release --lease-id {lease_id}"))
        .exits(1)
        .stderr;
    assert!(told.contains("--requester"), "{told}");
    let error = other.run("port release --port 21000 -o json").json_error(1);
    assert_eq!(error["code"], "LEASE_NOT_FOUND");

    let many = " --label a".repeat(17);
    let error = user.run(&format!("port lease{many} -o json")).json_error(1);
    assert_eq!(error["details"]["pointer"], "/labels");
    let told = user.run(&format!("port lease{many}")).exits(1).stderr;
    assert!(told.starts_with("onex: labels must be"), "{told}");

    let gone = user
        .run(&format!("port heartbeat --lease-id {NO_LEASE}"))
        .exits(1);
    assert!(
        gone.stdout.is_empty() && gone.stderr.contains("must not be used"),
        "{}",
        gone.stderr
    );
    let both = format!("port heartbeat --lease-id {lease_id} --lease-id {NO_LEASE}");
    let partly = user.run(&both).exits(3);
    assert!(
        partly.stdout.contains("lost: LEASE_NOT_FOUND"),
        "{}",
        partly.stdout
    );
    assert!(partly.stderr.contains("must stop"), "{}", partly.stderr);
    let partly = user.run(&format!("{both} -o json")).exits(3);
    let reply: Value = serde_json::from_str(&partly.stdout).unwrap();
    let revision = &reply["lost"][0]["revision"];
    assert!(revision.as_u64() <= reply["revision"].as_u64(), "{reply}");
    assert_eq!(
        reply["lost"],
        json!([{"lease_id": NO_LEASE, "code": "LEASE_NOT_FOUND", "revision": revision}])
    );
    assert_eq!(partly.stderr, "");
    let lost = format!("port heartbeat --lease-id {NO_LEASE} --lease-id {NO_LEASE}");
    user.run(&lost).exits(1);
}

#[test]
fn the_same_request_id_gets_the_same_lease() {
    let registry = Registry::start(&[]);
    let user = User::of(&registry);
    let line = format!("port lease --protocol http --request-id {NO_LEASE} -o json");
    let (one, two) = (user.run(&line).json(), user.run(&line).json());
    assert_eq!(one["lease_id"], two["lease_id"]);
    let error = user.run(&format!("{line} --ttl 5")).json_error(1);
    assert_eq!(error["code"], "IDEMPOTENCY_MISMATCH");
    let fresh = user.run("port lease --protocol http -o json").json();
    assert_ne!(one["lease_id"], fresh["lease_id"]);
}

#[test]
fn a_port_that_is_held_twice_is_released_where_it_is_said() {
    let registry = Registry::start(&[]);
    let user = User::of(&registry);
    for host in ["one", "two"] {
        user.run(&format!(
            "port lease --host {host} --preferred-port 20080 --exact"
        ))
        .exits(0);
    }
    user.run("port lease --host two --preferred-port 20080 --exact --transport udp")
        .exits(0);
    let error = user.run("port release --port 20080 -o json").json_error(1);
    assert_eq!(error["code"], "AMBIGUOUS");
    let told = user
        .run("port release --port 20080 --host two")
        .exits(1)
        .stderr;
    assert!(
        told.contains("20080/tcp on two, 20080/udp on two"),
        "{told}"
    );
    user.run("port release --port 20080 --host two --transport udp")
        .exits(0);
    user.run("port release --port 20080 --host two").exits(0);
    user.run("port release --port 20080").exits(0);
    assert_eq!(user.run("port list -o json").json()["items"], json!([]));
}

#[test]
fn a_command_line_that_cannot_be_followed_exits_with_2() {
    let user = User::new().with("NATS_URL", NOBODY);
    for line in [
        "",
        "port",
        "port take",
        "port lease --exact",
        "port lease --ttl 0",
        "port lease --ttl 25h",
        "port lease --protocol h.ttp",
        "port lease --host Upper",
        "port lease --port 0",
        "port lease --transport sctp",
        "port lease --request-id 7",
        "port lease --no-such-flag",
        "port lease extra",
        "port release",
        &format!("port release --lease-id {NO_LEASE} --port 20000"),
        "port resolve",
        "port resolve api --label blue",
        "port list --mine --requester 0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f",
        "port list --limit 0",
        "port list --limit 1001",
        "port list -o xml",
        "port list --timeout soon",
        "port list --timeout 0s",
        "port list --namespace UPPER",
        "port list --context no-such-context",
        "port list --context ../x",
        "port list --nats not%a%url:x",
        "port list --creds /no/such/file",
        "port list --tls-ca /no/such/file",
        "port list --tls-ca /dev/null",
        "port list --tls-cert /no/such/file --tls-key /no/such/file",
    ] {
        let ran = user.run(line).exits(2);
        assert_eq!(ran.stdout, "", "{line}");
        assert!(!ran.stderr.is_empty(), "{line}");
        if !line.is_empty() && !line.contains("-o ") {
            let error = user.run(&format!("{line} -o json")).json_error(2);
            assert_eq!(error["code"], "USAGE", "{line}");
            assert_ne!(error["message"], "", "{line}");
        }
    }
    for line in ["--help", "port lease -h", "--version"] {
        let asked = user.run(line).exits(0);
        assert!(
            !asked.stdout.is_empty() && asked.stderr.is_empty(),
            "{line}"
        );
    }
}

#[test]
fn flags_of_serve_that_contradict_each_other_exit_with_2() {
    let user = User::new();
    for (line, word) in [
        ("--embedded --nats nats://127.0.0.1:1", "--embedded"),
        ("--embedded --context here", "--context"),
        ("--nats nats://127.0.0.1:1 --listen 127.0.0.1:0", "--listen"),
        ("--data /nowhere --context here", "--data"),
        ("--creds /nowhere", "--creds"),
        ("--embedded --creds /nowhere", "--creds"),
        ("--tls-ca /nowhere", "--tls-ca"),
        ("--tls-cert /nowhere --tls-key /nowhere", "--tls-cert"),
        ("--in-flight-max 0", "--in-flight-max"),
        ("--holder-leases-max 0", "--holder-leases-max"),
        ("--holder-leases-max 1001", "--holder-leases-max"),
        ("--hosts-max 0", "--hosts-max"),
        ("--ports 30000-20000", "--ports"),
        ("--ports 30000-20000", "write 20000-30000"),
        ("--ports 20000-70000", "--ports"),
        ("--ports 20000-70000", "70000, in 20000-70000, is no port"),
        ("--ports 20000-20009,20005-20019", "write 20000-20019"),
        ("--ports 20000,20000", "20000 is there twice"),
        ("--reserved 20000-20009,20005", "write 20000-20009"),
        (
            "--ports 20000-20009 --reserved 20005,20000-20004,20006-21000",
            "--reserved 20000-20004,20005,20006-21000 leaves no port of --ports 20000-20009",
        ),
        (
            "--reserved 1-65535",
            "--reserved 1-65535 leaves no port of --ports, 20000-29999 by default",
        ),
        (
            "--nats nats://127.0.0.1:1 --context here",
            "--nats and --context both name a server",
        ),
        ("--ports ,", "--ports"),
        ("--reserved 9-8", "--reserved"),
        ("--listen nowhere", "--listen"),
        ("--ttl-max 25h", "--ttl-max"),
        ("--retention 0", "--retention"),
    ] {
        let told = user.run(&format!("serve {line}")).exits(2).stderr;
        assert!(told.starts_with("error: ") && told.contains(word), "{told}");
    }
    let user = User::new().with("ONEX_RESERVED", "1-65535");
    let told = user.run("serve --ports 20000").exits(2).stderr;
    let word = "ONEX_RESERVED=1-65535 leaves no port of --ports 20000";
    assert!(told.contains(word), "{told}");
    // The environment is for all commands, and a flag goes before it.
    let user = User::new()
        .with("NATS_URL", NOBODY)
        .with("NATS_CREDS", "/nowhere")
        .with("ONEX_DATA", "/proc/nowhere")
        .with("ONEX_LISTEN", "127.0.0.1:0");
    // No program is found without a PATH; it was looked for.
    let told = user.run("serve --embedded").exits(1).stderr;
    assert!(told.contains("no nats-server"), "{told}");
    let told = user.run(&format!("serve --nats {NOBODY}")).exits(2).stderr;
    assert!(told.contains("/nowhere"), "{told}");
    let told = user.run("serve --creds /no/where").exits(2).stderr;
    assert!(told.contains("/no/where"), "{told}");
    let told = user.run("serve --context no-such-context").exits(2).stderr;
    assert!(told.contains("no-such-context"), "{told}");
    let user = User::new().with("NATS_URL", NOBODY);
    let told = user.run("serve --tls-ca /no/where").exits(2).stderr;
    assert!(told.contains("/no/where"), "{told}");
    user.run("serve").exits(69);
}

/// By seconds, or with a unit.
#[test]
fn durations_are_written_alike_everywhere() {
    let registry = Registry::start(&[
        "--ttl-max",
        "10m",
        "--retention",
        "1h",
        "--calls-kept",
        "90s",
        "--events-age-max",
        "7d",
    ]);
    let user = User::of(&registry);
    let lease = user.run("port lease --ttl 10m --timeout 4 -o json").json();
    assert_eq!(lease["ttl"], 600);
    let told = user.run("port lease --ttl 601").exits(1).stderr;
    assert!(told.contains("600"), "{told}");
    for line in [
        "port list --timeout 1m",
        "port list --timeout 500ms",
        "run --port web --ttl 1m --grace 2 -- true",
    ] {
        // The command is looked for on a path.
        let ran = user.run(line);
        assert_ne!(ran.exit, 2, "{line}: {}", ran.stderr);
    }
}

#[test]
fn every_command_has_an_example() {
    let user = User::new();
    for command in [
        "port lease",
        "port heartbeat",
        "port release",
        "port list",
        "port resolve",
        "pool list",
        "describe",
    ] {
        let help = user.run(&format!("{command} --help")).exits(0).stdout;
        assert!(help.contains(&format!("\n  onex {command}")), "{help}");
    }
}

#[test]
fn nobody_there_exits_with_69() {
    let user = User::new();
    let told = user
        .run(&format!("port list --nats {NOBODY}"))
        .exits(69)
        .stderr;
    assert!(
        told.contains(NOBODY) && told.contains("is `onex serve` running?"),
        "{told}"
    );
    assert!(told.contains("say where with --nats"), "{told}");
    let error = user
        .run(&format!("describe --nats {NOBODY} -o json"))
        .json_error(69);
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("NO_SERVER"), &json!(true))
    );

    let registry = Registry::start(&[]);
    let url = registry.url();
    let user = User::of(&registry);
    let told = user.run("pool list --namespace other").exits(69).stderr;
    let says = format!(
        "a NATS server answers at {url}, but no registry of namespace \"other\" serves there"
    );
    assert!(told.contains(&says), "{told}");
    assert!(
        told.contains(&format!("onex serve --nats {url} --namespace other")),
        "{told}"
    );
    let error = user
        .run("pool list --namespace other -o json")
        .json_error(69);
    assert_eq!(error["code"], "NO_REGISTRY");
}

/// Someone who answers requests to `port.list` of a namespace with `replies`, and to more of them never.
async fn answering(url: &str, namespace: &str, replies: &'static [&'static str]) {
    answering_to("port.list", url, namespace, replies).await;
}

async fn answering_to(
    endpoint: &str,
    url: &str,
    namespace: &str,
    replies: &'static [&'static str],
) {
    let nats = async_nats::connect(url).await.unwrap();
    let subject = format!("onex.{namespace}.registry.v1.{endpoint}");
    let mut requests = nats.subscribe(subject).await.unwrap();
    round_trip(&nats).await;
    tokio::spawn(async move {
        for reply in replies {
            let request = requests.next().await.unwrap();
            let to = request.reply.unwrap();
            nats.publish(to, (*reply).into()).await.unwrap();
        }
        let _unanswered: Vec<_> = requests.collect().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_exits_with_69_and_no_sense_with_1() {
    let registry = Registry::start(&[]);
    let user = User::of(&registry);
    answering(registry.url(), "silent", &[]).await;
    let error = user
        .run("port list --namespace silent --timeout 200ms -o json")
        .json_error(69);
    assert_eq!(error["code"], "TIMED_OUT");
    assert_eq!(error["message"], "no reply to port.list within 200ms");

    answering(registry.url(), "odd", &["[]"]).await;
    let error = user.run("port list --namespace odd -o json").json_error(1);
    assert_eq!(error["code"], "MALFORMED_REPLY");

    answering(registry.url(), "round", &[ROUND, ROUND]).await;
    let error = user
        .run("port list --namespace round -o json")
        .json_error(1);
    assert_eq!(error["code"], "MALFORMED_REPLY");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_names_the_request_to_repeat() {
    let registry = Registry::start(&[]);
    let user = User::of(&registry);
    for (endpoint, line) in [
        ("port.lease", "port lease".to_owned()),
        (
            "port.release",
            format!("port release --lease-id {NO_LEASE}"),
        ),
    ] {
        answering_to(endpoint, registry.url(), "silent", &[]).await;
        let line = format!("{line} --namespace silent --timeout 200ms");
        let error = user.run(&format!("{line} -o json")).json_error(69);
        assert_eq!(error["code"], "TIMED_OUT");
        let request_id = error["request_id"].as_str().unwrap();
        let flag = format!("--request-id {request_id}");
        assert!(error["hint"].as_str().unwrap().contains(&flag), "{error}");
        let told = user.run(&format!("{line} {flag}")).exits(69).stderr;
        assert!(told.contains(&flag), "{told}");
    }
}

/// The first instance lags; that a lease does not exist is said by one that has checked it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_one_instance_has_not_seen_is_found() {
    const NONE: &str = r#"{"items":[],"revision":1}"#;
    const CHECKED: &str = r#"{"renewed":[],"unknown":[],"revision":9,
        "lost":[{"lease_id":"0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f","code":"LEASE_NOT_FOUND"}]}"#;
    const UNCHECKED: &str = r#"{"renewed":[],"lost":[],"revision":1,
        "unknown":["0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f"]}"#;
    const FOUND: &str = r#"{"items":[{"lease_id":"0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f","status":"active","port":20000,
        "ports":[20000],"host":"here","transport":"tcp","protocol":"tcp",
        "requester_id":"0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21","assigned_to":"0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21",
        "ttl":60,"granted_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-01T00:01:00Z","expires_in_ms":1,
        "renew_after_ms":1,"fencing_token":9,"revision":9}],"revision":9}"#;
    const RELEASED: &str = r#"{"lease_id":"0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f","status":"released",
        "released_at":"2026-01-01T00:00:00Z","revision":10}"#;
    let registry = Registry::start(&[]);
    let user = User::of(&registry);
    let url = registry.url();
    let nats = async_nats::connect(url).await.unwrap();
    let mut lists = nats
        .subscribe("onex.lags.registry.v1.port.list")
        .await
        .unwrap();
    round_trip(&nats).await;
    answering(url, "lags", &[NONE, FOUND]).await;
    answering_to("port.heartbeat", url, "lags", &[CHECKED]).await;
    answering_to("port.release", url, "lags", &[RELEASED]).await;
    let released = user.run("port release --port 20000 --namespace lags -o json");
    assert_eq!(released.json()["lease_id"], NO_LEASE);
    lists.next().await.unwrap();
    let second: Value = serde_json::from_slice(&lists.next().await.unwrap().payload).unwrap();
    assert_eq!(second["min_revision"], 9);

    answering(url, "stuck", &[NONE]).await;
    answering_to("port.heartbeat", url, "stuck", &[UNCHECKED]).await;
    let error = user
        .run("port release --port 20000 --namespace stuck -o json")
        .json_error(75);
    assert_eq!(error["code"], "NOT_SEEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_as_things_were_where_that_is_asked_for() {
    let (nats, wire, _registry, _caller) = behind_wire(&[]).await;
    let user = User::of_registries(&nats);
    let lease = user.run("port lease --name api --ttl 10m -o json").json();
    wire.silence_store();
    let refused = until("what is known to be old", async || {
        let ran = user.run("port list --timeout 1s");
        (ran.exit != 0).then_some(ran)
    })
    .await
    .exits(75);
    assert!(
        refused
            .stderr
            .contains("ask how things were before with --max-age 1h"),
        "{}",
        refused.stderr
    );
    let shown = user.run("port list --max-age 1h --timeout 1s").exits(0);
    assert!(
        shown.stdout.contains(&lease["port"].to_string()),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stderr.contains("onex: warning: this is how it was 1"),
        "{}",
        shown.stderr
    );
    // Of a write it says nothing.
    let write = user.run("port release --name api --max-age 1h --timeout 1s");
    assert_ne!(write.exit, 0, "{}", write.stderr);
    wire.mend();
    until("the store to be asked", async || {
        let ran = user.run("port list --max-age 1h --timeout 1s");
        ran.stderr.is_empty().then_some(())
    })
    .await;
}

#[test]
fn the_requester_id_is_kept_for_each_user() {
    let registry = Registry::start(&[]);
    let (user, other) = (User::of(&registry), User::of(&registry));
    let requester = |user: &User, flags: &str| {
        let lease = user.run(&format!("port lease -o json {flags}")).json();
        lease["requester_id"].as_str().unwrap().to_owned()
    };
    let own = requester(&user, "");
    assert_eq!(requester(&user, ""), own);
    assert_ne!(requester(&other, ""), own);
    let file = user.requester_file();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{own}\n"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let given = Uuid::new_v4().to_string();
    assert_eq!(requester(&user, &format!("--requester {given}")), given);
    let told = Uuid::new_v4().to_string();
    let user = user.with("ONEX_REQUESTER_ID", &told);
    assert_eq!(requester(&user, ""), told);
    assert_eq!(requester(&user, &format!("--requester {given}")), given);
    let mine = user.run("port list --mine -o json").json();
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
    let theirs = user
        .run(&format!("port list --requester {given} -o json"))
        .json();
    assert_eq!(theirs["items"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{own}\n"));

    let elsewhere = other.path("state");
    let other = other.with("XDG_STATE_HOME", elsewhere.to_str().unwrap());
    let new = requester(&other, "");
    let file = elsewhere.join("onex-registry/requester-id");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{new}\n"));
    std::fs::write(&file, "").unwrap();
    let error = other.run("port lease -o json").json_error(1);
    assert_eq!(error["code"], "NO_REQUESTER_ID");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains(file.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn flag_then_environment_then_selected_context_say_where() {
    let registry = Registry::start(&[]);
    let url = registry.url();
    let user = User::new();
    user.context(
        "here",
        &json!({"url": url, "description": "d", "windows_ca_certs_match": null}),
    );
    user.context("nowhere", &json!({"url": NOBODY}));
    user.context("odd", &json!({"url": url, "nsc": "nsc://o/a/u"}));

    user.run("describe --context here").exits(0);
    let told = user.run("describe --context nowhere").exits(69).stderr;
    assert!(told.contains("NATS context \"nowhere\""), "{told}");
    let told = user.run("describe --context odd").exits(2).stderr;
    assert!(told.contains("nsc, which onex does not support"), "{told}");

    // A flag outranks the environment, but two flags contradict each other.
    let told = user
        .run(&format!("describe --nats {url} --context here"))
        .exits(2)
        .stderr;
    for word in ["--nats", "--context", "give one of the two", "--help"] {
        assert!(told.contains(word), "{told}");
    }
    user.run(&format!("--context here port list --nats {url}"))
        .exits(2);

    user.select("here");
    user.run("describe").exits(0);
    user.run(&format!("describe --nats {NOBODY}")).exits(69);
    let user = user.with("NATS_CONTEXT", "nowhere");
    user.run("describe").exits(69);
    user.run("describe --context here").exits(0);
    user.run(&format!("describe --nats {url}")).exits(0);
    let user = user.with("NATS_URL", url);
    user.run("describe").exits(0);
    user.select("nowhere");
    user.run("describe --context nowhere").exits(69);
}

#[test]
fn serve_takes_a_context_that_is_named_and_never_the_selected_one() {
    let user = User::new();
    user.context("nowhere", &json!({"url": NOBODY}));
    user.select("nowhere");
    let data = user.path("data");
    let own = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut registry = Registry::spawn_at_home(&own, Some(user.home.path()));
    registry.await_ready();

    user.context("first", &json!({"url": registry.url()}));
    let args = [
        "--context",
        "first",
        "--namespace",
        "second",
        "--ports",
        "19000-19009",
    ];
    let second = Registry::spawn_at_home(&args, Some(user.home.path()));
    let typed = second.line("try: nats ");
    let word = "--context first req onex.second.registry.v1.port.lease";
    assert!(typed.starts_with(word), "{typed}");
    let asked = user
        .run("describe -o json --context first --namespace second")
        .json();
    assert_eq!(asked["registry"]["namespace"], "second");
}

/// A command that is shown to be typed reaches the same server as the one that was given.
#[test]
fn a_command_in_a_hint_has_the_flags_that_were_given() {
    let registry = Registry::start(&["--ports", "21000"]);
    let url = registry.url();
    let user = User::new();
    user.context("my own", &json!({"url": url}));
    user.context("here", &json!({"url": url}));
    let secret = url.replace("nats://", "nats://me:secret@");
    for (line, exit, typed) in [
        (
            "tool describe nothing --context here",
            1,
            "`onex tool list --context here`".to_owned(),
        ),
        (
            &format!("node describe nothing --nats {url}"),
            1,
            format!("`onex node list --nats {url}`"),
        ),
        (
            &format!("node describe nothing --nats {secret}"),
            1,
            format!("`onex node list --nats {url}`"),
        ),
        (
            "port lease --context here",
            0,
            "`onex port release --port 21000 --context here`".to_owned(),
        ),
        (
            "port lease --context here",
            75,
            "`onex pool list --context here`".to_owned(),
        ),
        (
            "node list --context here --namespace other",
            69,
            "`onex serve --context here --namespace other`".to_owned(),
        ),
        (
            &format!("node list --nats {url} --namespace other"),
            69,
            format!("`onex serve --nats {url} --namespace other`"),
        ),
    ] {
        let told = user.run(line).exits(exit).stderr;
        assert!(told.contains(&typed), "{line}: {told}");
        assert!(!told.contains("secret"), "{line}: {told}");
    }
    let error = user.run("tool describe nothing --context here -o json");
    let hint = error.json_error(1)["hint"].as_str().unwrap().to_owned();
    assert!(
        hint.starts_with("`onex tool list --context here`"),
        "{hint}"
    );
    // A variable is there for the next command as well.
    let user = user.with("NATS_CONTEXT", "here");
    let told = user.run("tool describe nothing").exits(1).stderr;
    assert!(told.contains("`onex tool list`"), "{told}");
}

#[test]
fn a_context_says_who_we_are() {
    let server = Nats::start_with("authorization { user: ann, password: secret }");
    let url = server.url();
    let user = User::new();
    let context = |password: &str| json!({"url": url, "user": "ann", "password": password});
    user.context("right", &context("secret"));
    user.context("wrong", &context("guess"));
    // Let in, and told that nobody serves there.
    let error = user.run("describe --context right -o json").json_error(69);
    assert_eq!(error["code"], "NO_REGISTRY");
    for line in [
        "describe --context wrong",
        &format!("describe --nats {url}"),
    ] {
        let error = user.run(&format!("{line} -o json")).json_error(1);
        assert_eq!(error["code"], "ACCESS_DENIED", "{line}");
        assert!(!error.to_string().contains("guess"), "{error}");
    }
    // A context that only the environment names is not shown to a server that a flag names.
    let user = user.with("NATS_CONTEXT", "right");
    user.run(&format!("describe --nats {url}")).exits(1);
    user.run("describe").exits(69);
}

#[test]
fn what_may_not_be_asked_is_told_as_that() {
    let server = Nats::start_with(
        "authorization { users: [{ user: ann, password: secret, permissions: { publish: { deny: \"onex.>\" } } }] }",
    );
    let user = User::new();
    user.context(
        "ann",
        &json!({"url": server.url(), "user": "ann", "password": "secret"}),
    );
    let error = user
        .run("describe --context ann --timeout 1s -o json")
        .json_error(1);
    assert_eq!(error["code"], "ACCESS_DENIED");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.to_lowercase().contains("permissions violation"),
        "{error}"
    );
}

/// Takes `count` leases for one requester.
async fn lease(registry: &Registry, requester_id: Uuid, count: usize) {
    let nats = async_nats::connect(registry.url()).await.unwrap();
    let client = Client::new(nats, Namespace::default());
    let leases = stream::iter(0..count).map(|_| async {
        let request = LeaseRequest {
            request_id: Some(RequestId(Uuid::new_v4())),
            ..serde_json::from_value(json!({"requester_id": requester_id, "protocol": "tcp"}))
                .unwrap()
        };
        assert_eq!(request.requester_id, RequesterId(requester_id));
        client.lease(&request).await.unwrap();
    });
    leases.buffer_unordered(32).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_run_to_the_end() {
    const LEASES: usize = 250;
    let registry = Registry::start(&["--no-probe"]);
    let requester = Uuid::new_v4();
    lease(&registry, requester, LEASES).await;
    let user = User::of(&registry);
    for line in [
        "port list --limit 20",
        "port list --limit 249",
        "port list",
        &format!("port list --requester {requester} --limit 125"),
    ] {
        let list = user.run(&format!("{line} -o json")).json();
        let ports: Vec<_> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["port"].as_u64().unwrap())
            .collect();
        assert_eq!(ports.len(), LEASES, "{line}");
        assert!(ports.is_sorted_by(|a, b| a < b), "{line}: {ports:?}");
        assert_members(&list, &["items", "revision"]);
    }
    assert_eq!(user.run("port list --limit 20").table().len(), LEASES + 1);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let registry = Registry::start(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_onex"))
        .args(["describe", "--nats", registry.url()])
        .env("HOME", Path::new("/"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
}
