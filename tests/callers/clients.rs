//! Clients that nobody here wrote: the `nats` command and nats-py.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Registry};
use onex_registry::protocol::endpoint::Endpoint;
use serde_json::{Value, json};

const REQUESTER: &str = "7b0e7a52-6b8f-4c55-9d2c-0b5a4f0c9f11";

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools")
}

fn start() -> Registry {
    Registry::start(&["--host", "here", "--no-probe", "--ports", "20000-20009"])
}

/// What `nats` writes to stdout; it must succeed.
fn nats(registry: &Registry, args: &[&str]) -> String {
    nats_said(registry, args).0
}

/// What `nats` writes to stdout and to stderr; it must succeed.
fn nats_said(registry: &Registry, args: &[&str]) -> (String, String) {
    let output = run(registry, args);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "nats {args:?}: {err}{out}");
    (out, err)
}

fn run(registry: &Registry, args: &[&str]) -> Output {
    let program = tools().join("bin/nats");
    // No context, no history: nothing of the user's.
    let home = tempfile::tempdir().unwrap();
    Command::new(&program)
        .args(["--server", registry.url()])
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `make tools` installs it", program.display()))
}

fn request(registry: &Registry, endpoint: &str, body: &str) -> Value {
    let subject = format!("onex.registry.v1.{endpoint}");
    let reply = nats(registry, &["req", "--raw", &subject, body]);
    serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

/// The record of the view under that key, once it is there.
fn viewed(registry: &Registry, key: &str) -> Value {
    let since = Instant::now();
    loop {
        let get = ["kv", "get", "onex-registry-view", key, "--raw"];
        let output = run(registry, &get);
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        assert!(since.elapsed() < PATIENCE, "no {key}: {output:?}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn nats_req_leases_renews_lists_and_releases() {
    let registry = start();
    let lease_request =
        json!({"requester_id": REQUESTER, "protocol": "http", "name": "api"}).to_string();
    let lease = request(&registry, "port.lease", &lease_request);
    assert_eq!(lease["status"], "active", "{lease:#}");
    let mine = json!({"requester_id": REQUESTER, "lease_id": lease["lease_id"]}).to_string();
    let renewed = request(&registry, "port.heartbeat", &mine);
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    assert!(renewed["revision"].as_u64() > lease["revision"].as_u64());
    let newest = json!({"min_revision": renewed["revision"]}).to_string();
    let listed = request(&registry, "port.list", &newest);
    assert_eq!(
        listed["items"][0]["lease_id"], lease["lease_id"],
        "{listed:#}"
    );

    // The record is there for people to read, a moment later.
    let key = format!("port.here.tcp.{}", lease["port"]);
    let record = viewed(&registry, &key);
    assert_eq!(record["lease_id"], lease["lease_id"], "{record:#}");
    assert_eq!(record["requester_id"], REQUESTER, "{record:#}");
    // And who did what last.
    let entry = nats(&registry, &["kv", "get", "onex-registry", "log", "--raw"]);
    let entry: Value = serde_json::from_str(&entry).unwrap();
    assert!(entry["cmds"].is_array(), "{entry:#}");

    let released = request(&registry, "port.release", &mine);
    assert_eq!(released["status"], "released", "{released:#}");
    let refused = request(&registry, "port.heartbeat", &mine);
    assert_eq!(refused["error"]["code"], "LEASE_EXPIRED", "{refused:#}");
    // `nats req` shows the headers of an error as well.
    let (out, err) = nats_said(
        &registry,
        &["req", "onex.registry.v1.port.heartbeat", &mine],
    );
    let shown = out + &err;
    assert!(shown.contains("Nats-Service-Error-Code: 409"), "{shown}");
}

#[test]
fn nats_req_with_an_empty_body_teaches() {
    let registry = start();
    let refused = request(&registry, "port.lease", "");
    let help = &refused["error"]["details"]["help"];
    assert_eq!(help["endpoint"], "port.lease", "{refused:#}");
    // What it teaches works as it stands.
    let lease = request(&registry, "port.lease", &help["example"].to_string());
    assert_eq!(lease["status"], "active", "{lease:#}");
    let described = request(&registry, "describe", "");
    assert_eq!(described["counts"]["hosts"], 1, "{described:#}");
    // So does every other endpoint, or it answers.
    for endpoint in Endpoint::ALL {
        let reply = request(&registry, endpoint.name(), "");
        let taught = reply["error"]["details"]["help"]["endpoint"] == endpoint.name();
        assert!(taught || reply.get("error").is_none(), "{reply:#}");
    }
}

#[test]
fn nats_micro_knows_the_service() {
    let registry = start();
    request(&registry, "port.lease", "");
    request(&registry, "pool.list", "");
    let list = nats(&registry, &["micro", "ls"]);
    assert!(
        list.contains("onex-registry") && list.contains(env!("CARGO_PKG_VERSION")),
        "{list}"
    );
    let info = nats(&registry, &["micro", "info", "onex-registry"]);
    for shown in [
        "port-lease",
        "onex.registry.v1.port.lease",
        "pool-list",
        "help",
        "20000-20009",
    ] {
        assert!(info.contains(shown), "no {shown} in {info}");
    }
    let stats = nats(&registry, &["micro", "stats", "onex-registry", "--json"]);
    let stats: Value =
        serde_json::from_str(&stats).unwrap_or_else(|error| panic!("{error}: {stats}"));
    // One instance, or a list of them.
    let one = stats.as_array().map_or(&stats, |all| &all[0]);
    let endpoints = one["endpoints"].as_array().unwrap();
    let of = |name: &str| endpoints.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(
        (
            &of("port-lease")["num_requests"],
            &of("port-lease")["num_errors"]
        ),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (
            &of("pool-list")["num_requests"],
            &of("pool-list")["num_errors"]
        ),
        (&json!(1), &json!(0))
    );
    let table = nats(&registry, &["micro", "stats", "onex-registry"]);
    assert!(table.contains("port-lease"), "{table}");
}

/// What people do to the view changes nothing of what is so.
#[test]
fn foreign_hands_use_nats_kv() {
    let registry = start();
    let exact = |port: u16| {
        json!({"requester_id": REQUESTER, "protocol": "http", "preferred_port": port, "exact": true}).to_string()
    };
    for (port, hand) in [
        (
            20_000,
            vec!["kv", "del", "onex-registry-view", "KEY", "--force"],
        ),
        (
            20_001,
            vec!["kv", "put", "onex-registry-view", "KEY", "garbage"],
        ),
    ] {
        request(&registry, "port.lease", &exact(port));
        let key = format!("port.here.tcp.{port}");
        viewed(&registry, &key);
        let args: Vec<&str> = hand
            .iter()
            .map(|word| if *word == "KEY" { key.as_str() } else { word })
            .collect();
        nats(&registry, &args);
        let refused = request(&registry, "port.lease", &exact(port));
        assert_eq!(refused["error"]["code"], "PORT_UNAVAILABLE", "{refused:#}");
        assert_eq!(refused["error"]["details"]["state"], "held", "{refused:#}");
    }
    assert_eq!(
        request(&registry, "port.lease", &exact(20_002))["port"],
        20_002
    );
}

#[test]
fn nats_py_leases() {
    let registry = start();
    let modules = tools().join("nats-py");
    assert!(
        modules.is_dir(),
        "{} is missing; `make tools` installs it",
        modules.display()
    );
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/lease.py");
    let output = Command::new(python)
        .arg(script)
        .arg(registry.url())
        .env("PYTHONPATH", modules)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", said(&output.stderr));
    assert!(
        said(&output.stdout).starts_with("done 200"),
        "{}",
        said(&output.stdout)
    );
}
