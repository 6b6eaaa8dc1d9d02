//! What people are shown on terminals of different widths.

use std::{
    collections::BTreeSet,
    io::Read,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;
use uuid::Uuid;

use crate::harness::{Caller, Registry, User, terminal};

/// Seconds that leases and nodes of these tests last: longer than any test takes.
const TTL: u32 = 86_400;
const NODE: &str = "calc.eu-1";
const WIDTHS: [u16; 4] = [120, 80, 60, 40];

fn me() -> Uuid {
    Uuid::from_u128(1)
}

/// A registry with a bit of everything, by ordinary names.
async fn settled() -> (Registry, User) {
    let registry = Registry::start(&["--host", "build-7", "--no-probe", "--reserved", "22000"]);
    let user = User::of(&registry);
    for line in [
        "port lease --name api --protocol http --ttl 24h --label blue --label eu --label v2",
        "port lease --name metrics-exporter --protocol grpc --ttl 24h",
        "port lease --host gpu-worker-12 --protocol jetstream --ttl 24h --transport udp",
    ] {
        user.run(line).exits(0);
    }
    let caller = Caller::of(&registry).await;
    let add = json!({
        "name": "add", "version": "1.2.0", "tags": ["math", "units"], "description": "Adds two numbers.",
        "idempotent": true, "side_effects": ["disk", "mail"],
        "input_schema": {"type": "object", "required": ["left", "right"], "properties": {
            "left": {"type": "number", "description": "What is added to"}, "right": {"type": "number"},
            "mode": {"enum": ["fast", "exact"]}}},
        "output_schema": {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "number"}}},
    });
    let calc = json!({
        "node_id": NODE, "version": "1.4.2", "node_type": "tool", "requester_id": me(), "ttl": TTL,
        "description": "Arithmetic for agents.", "tags": ["math", "units"], "host": "build-7",
        "execution_mode": "container",
        "schema": {
            "inputs": [{"name": "left", "type": "number", "required": true, "description": "What is added to"}],
            "outputs": [{"name": "sum", "type": "number"}], "accepts_context": true,
        },
        "outbound_ports": [{"name": "results", "topic": "calc.results", "protocol": "jetstream"}],
        "inbound_ports": [{"name": "http", "port": 20080, "protocol": "http", "endpoint_uri": "http://build-7:20080/"}],
        "tools": [add],
    });
    let epoch = caller.get("node.register", calc).await["epoch"].clone();
    for (node_id, node_type) in [
        ("planner.1", "agent"),
        ("val-1", "validator"),
        ("val-2", "validator"),
    ] {
        let node = json!({"node_id": node_id, "version": "0.1.0", "node_type": node_type, "requester_id": me(),
            "ttl": TTL});
        caller.get("node.register", node).await;
    }
    for validator in ["val-1", "val-2"] {
        let report = json!({"node_id": NODE, "validator_id": validator, "requester_id": me(), "outcome": "pass"});
        caller.get("trust.report", report).await;
    }
    let bound =
        json!({"requester_id": me(), "protocol": "grpc", "node_id": NODE, "name": "calc-grpc"});
    caller.get("port.lease", bound).await;
    let health =
        json!({"node_id": NODE, "requester_id": me(), "epoch": epoch, "health": {"ok": true}});
    caller.get("node.heartbeat", health).await;
    let bus = json!({"bus_id": "calc-events", "protocol": "redis", "endpoint_uri": "redis://build-7:6379/0",
        "requester_id": me(), "node_id": NODE});
    caller.get("bus.register", bus).await;
    caller.see("node.list", json!({})).await;
    (registry, user)
}

/// What a terminal of that width is shown; what goes through a pipe, without one.
fn shown(user: &User, line: &str, columns: Option<u16>, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onex"));
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", user.home.path())
        .envs(user.environment.iter().map(|(name, value)| (name, value)))
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let Some(columns) = columns else {
        return String::from_utf8(command.output().unwrap().stdout).unwrap();
    };
    let (mut ours, theirs) = terminal(columns, 50);
    let mut child = command
        .stdout(theirs)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The other side stays open as long as the command has it.
    drop(command);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = ours.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    });
    child.wait().unwrap();
    reader.join().unwrap().replace('\r', "")
}

/// The words, less those that run with the time.
fn words(text: &str) -> BTreeSet<&str> {
    let runs = |word: &&str| {
        let word = word.trim_end_matches([',', '.']);
        word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['h', 'm', 's'])
            || word.matches(':').count() == 2
    };
    text.split_whitespace().filter(|word| !runs(word)).collect()
}

/// That all is there, in words that are whole, and that the lines fit.
#[track_caller]
fn assert_whole(user: &User, line: &str, columns: u16) {
    let whole = shown(user, line, None, &[]);
    assert!(!whole.is_empty(), "onex {line}");
    let text = shown(user, line, Some(columns), &[]);
    assert_eq!(
        words(&text),
        words(&whole),
        "onex {line} on {columns} columns:\n{text}\n{whole}"
    );
    for line in text.lines() {
        assert!(
            line.width() <= usize::from(columns),
            "{columns} columns:\n{text}"
        );
        assert_eq!(line.trim_end(), line, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_break_no_word_on_120_80_60_and_40_columns() {
    let (_registry, user) = settled().await;
    for line in [
        "port list",
        "port list --mine",
        "port resolve api",
        "port heartbeat",
        "pool list",
        "node list",
        "tool list",
        "bus list",
        "schema list",
        "schema list --kind tool",
        "trust get calc.eu-1",
        "describe",
        "describe --node calc.eu-1",
        "tool describe add",
        "tool resolve add",
        "tool invoke add --args {\"left\":1,\"right\":2} --dry-run",
    ] {
        for columns in WIDTHS {
            assert_whole(&user, line, columns);
        }
    }
    for columns in WIDTHS {
        let leased = shown(
            &user,
            "port lease --name web --ttl 24h --host build-7",
            Some(columns),
            &[],
        );
        assert!(
            leased.contains("build-7") && leased.contains("/tcp"),
            "{leased}"
        );
        let line = "port release --name web";
        let released = shown(&user, line, Some(columns), &[]);
        let id = released
            .split_whitespace()
            .find(|word| word.parse::<Uuid>().is_ok());
        assert!(id.is_some(), "{released}");
        assert!(
            released
                .lines()
                .all(|line| line.width() <= usize::from(columns)),
            "{released}"
        );
    }
}

/// It can be taken from there as it is: no text in it is broken.
#[tokio::test(flavor = "multi_thread")]
async fn json_is_that_at_any_width() {
    let registry = Registry::start(&["--host", "build-7", "--no-probe"]);
    let user = User::of(&registry);
    let caller = Caller::of(&registry).await;
    let text = "a description that goes on over far more columns than 80, and has spaces at which it could be broken";
    let schema = json!({"type": "object", "properties": {"a": {"description": text}}});
    let tool = json!({"name": "say", "version": "1.0.0", "input_schema": schema});
    let node = json!({"node_id": NODE, "version": "1.0.0", "node_type": "tool", "requester_id": me(), "tools": [tool]});
    caller.get("node.register", node).await;
    for columns in WIDTHS {
        let text = shown(&user, "tool describe say", Some(columns), &[]);
        let (_, after) = text.split_once("INPUT SCHEMA\n").unwrap();
        let (json, _) = after.split_once("\nOUTPUT SCHEMA").unwrap();
        let read: Value = serde_json::from_str(json).unwrap();
        assert_eq!(read, schema, "{columns}: {text}");
        assert!(
            json.contains(schema["properties"]["a"]["description"].as_str().unwrap()),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_a_table_on_80_columns_with_name_and_holder() {
    let (registry, user) = settled().await;
    for columns in [80, 120] {
        let text = shown(&user, "port list", Some(columns), &[]);
        let cells = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let lines: Vec<_> = text.lines().map(cells).collect();
        assert_eq!(
            lines[0],
            ["PORT", "HOST", "NAME", "HOLDER", "PROTOCOL", "LEFT"],
            "{text}"
        );
        assert_eq!(lines.len(), 5, "{text}");
        let of = |name: &str| lines.iter().find(|cells| cells[2] == name).unwrap()[3].clone();
        assert_eq!(of("api"), "you");
        assert_eq!(of("calc-grpc"), NODE);
    }
    let other = User::of(&registry);
    let text = shown(&other, "port list", Some(80), &[]);
    assert!(!text.contains(" you "), "{text}");
    let whole: Value = user.run("port list --name api -o json").json();
    let requester = whole["items"][0]["requester_id"].as_str().unwrap();
    assert!(text.contains(&format!(" …{} ", &requester[28..])), "{text}");
    assert!(!other.requester_file().exists(), "a list makes no id");
    let wide = user.run("port list --name api -o wide").exits(0).stdout;
    let lease_id = whole["items"][0]["lease_id"].as_str().unwrap();
    assert!(
        wide.contains(lease_id) && wide.contains(requester),
        "{wide}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_zero_is_not_a_width() {
    let (_registry, user) = settled().await;
    for zero in ["0", "", "many"] {
        let on_terminal = shown(&user, "pool list", Some(80), &[("COLUMNS", zero)]);
        assert_eq!(
            on_terminal,
            shown(&user, "pool list", Some(80), &[]),
            "COLUMNS={zero}"
        );
        let piped = shown(&user, "node list", None, &[("COLUMNS", zero)]);
        assert_eq!(piped.lines().count(), 5, "COLUMNS={zero}: {piped}");
        let help = shown(&user, "port lease --help", None, &[("COLUMNS", zero)]);
        assert!(
            help.lines().any(|line| line.width() > 60),
            "COLUMNS={zero}:\n{help}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_shows_its_header_at_any_width_and_no_blank_line() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    for line in ["port list", "node list", "tool list", "bus list"] {
        for (flags, columns) in [("", 80), ("", 40), ("-o wide", 40), ("--no-headers", 40)] {
            let text = shown(&user, &format!("{line} {flags}"), Some(columns), &[]);
            let blank = text.lines().filter(|line| line.trim().is_empty());
            assert_eq!(blank.count(), 0, "{line} {flags} {columns}: {text:?}");
            let header = flags != "--no-headers";
            assert_eq!(!text.is_empty(), header, "{line} {flags}: {text:?}");
        }
    }
}
