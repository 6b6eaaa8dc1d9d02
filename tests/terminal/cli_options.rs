//! Options of the command line that several commands have, and commands that ask no registry.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Caller, PATIENCE, Registry, User, assert_members, node};

fn ports(list: &Value) -> Vec<u64> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["port"].as_u64().unwrap()).collect()
}

#[test]
fn port_list_by_port_finds_it_on_every_host_and_transport() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    for more in [
        "--host one",
        "--host two",
        "--host two --transport udp",
        "--name other",
    ] {
        let port = if more.contains("other") { 20081 } else { 20080 };
        user.run(&format!(
            "port lease --preferred-port {port} --exact {more}"
        ))
        .exits(0);
    }
    let found = |more: &str| {
        let list = user
            .run(&format!("port list --port 20080 {more} -o json"))
            .json();
        let items = list["items"].as_array().unwrap().iter();
        let place =
            |item: &Value| format!("{}/{}", item["host"], item["transport"]).replace('"', "");
        assert!(ports(&list).iter().all(|port| *port == 20080), "{list}");
        items.map(place).collect::<Vec<_>>()
    };
    assert_eq!(found(""), ["one/tcp", "two/tcp", "two/udp"]);
    assert_eq!(found("--limit 1"), ["one/tcp", "two/tcp", "two/udp"]);
    assert_eq!(found("--host two"), ["two/tcp", "two/udp"]);
    assert_eq!(found("--mine").len(), 3);
    assert!(found("--name other").is_empty());
    assert_eq!(
        ports(&user.run("port list --port 20081 -o json").json()),
        [20081]
    );
    assert!(ports(&user.run("port list --port 20082 -o json").json()).is_empty());
    user.run("port list --port 70000").exits(2);
}

#[test]
fn release_all_gives_back_what_the_user_holds_and_nothing_else() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let (user, other) = (User::of(&registry), User::of(&registry));
    other.run("port lease").exits(0);
    for more in [
        "",
        "--name api",
        "--host there",
        "--host there --transport udp",
    ] {
        user.run(&format!("port lease {more}")).exits(0);
    }
    let there = user
        .run("port release --all --host there --transport udp -o json")
        .json();
    assert_members(&there, &["released", "failed"]);
    assert_eq!(there["released"].as_array().unwrap().len(), 1);
    assert_eq!(there["released"][0]["status"], "released");
    let table = user.run("port release --all").table();
    assert_eq!(table[0], ["LEASE ID", "STATUS", "ENDED"]);
    assert_eq!(table.len(), 4, "{table:?}");
    let left = user.run("port list -o json").json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
    let none = user.run("port release --all").exits(0);
    assert_eq!(none.stderr, "You hold no lease.\n");
    for line in [
        "--all --port 20000",
        "--all --name api",
        "--all --lease-id 0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f",
    ] {
        user.run(&format!("port release {line}")).exits(2);
    }
}

#[test]
fn a_lease_is_shown_as_a_port_or_as_variables() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    let line = "port lease --preferred-port 20080 --exact --name api.v2";
    let ran = user.run(&format!("{line} -o port")).exits(0);
    assert_eq!(ran.stdout, "20080\n");
    // Only the first lease on a host says that nobody had named it, so that must reach whoever runs a script.
    assert!(
        ran.stderr.starts_with("onex: warning: host "),
        "{}",
        ran.stderr
    );
    user.run("port release --name api.v2").exits(0);
    let ran = user.run(&format!("{line} -o env")).exits(0);
    let lease = user.run("port list -o json").json()["items"][0].clone();
    let id = lease["lease_id"].as_str().unwrap();
    let expected = format!("PORT=20080\nONEX_PORT_API_V2=20080\nONEX_LEASE_ID={id}\n");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        (expected.as_str(), "")
    );
    for line in ["port list -o port", "node list -o env", "version -o env"] {
        let told = user.run(line).exits(2).stderr;
        assert!(told.contains("`onex port lease` only"), "{line}: {told}");
    }
}

#[test]
fn a_set_is_leased_shown_and_given_back_as_one() {
    let registry = Registry::start(&["--ports", "20080-20089", "--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    let line = "port lease --host here --count 3 --contiguous --port 20082 --name db";
    assert_eq!(
        user.run(&format!("{line} --both -o port")).exits(0).stdout,
        "20082\n20083\n20084\n"
    );
    let listed = user.run("port list").exits(0).stdout;
    assert!(listed.contains("20082-20084/tcp+udp"), "{listed}");
    let wrong = user.run(&format!("{line} --both -o json")).json_error(1);
    assert_eq!(wrong["code"], "PORT_UNAVAILABLE");
    // By any of its ports.
    user.run("port release --host here --port 20083").exits(0);
    let env = user.run(&format!("{line} -o env")).exits(0).stdout;
    let begin = "PORT=20082\nPORTS=20082,20083,20084\nONEX_PORT_DB=20082\n";
    assert!(env.starts_with(begin), "{env}");
    let none = user.run("port lease --host here --count 6 --contiguous -o json");
    let none = none.json_error(75);
    assert_eq!(none["code"], "RESOURCE_EXHAUSTED");
    let message = none["message"].as_str().unwrap();
    assert!(message.contains("no 6 neighbouring tcp ports"), "{message}");
    for wrong in [
        "--count 0",
        "--count 65",
        "--contiguous",
        "--both --transport udp",
    ] {
        user.run(&format!("port lease {wrong}")).exits(2);
    }
}

/// The command line, started; `await_note` returns when it says that it waits.
/// As everywhere; a port that is only preferred is said so.
#[test]
fn a_lease_of_a_port_is_of_that_port_and_no_other() {
    let registry = Registry::start(&["--ports", "20080-20089", "--no-probe"]);
    let user = User::of(&registry);
    let lease = user.run("port lease --port 20085 -o json").json();
    assert_eq!(lease["port"], 20085);
    for exact in ["--port 20085", "--preferred-port 20085 --exact"] {
        let error = user.run(&format!("port lease {exact} -o json"));
        let error = error.json_error(1);
        assert_eq!(error["code"], "PORT_UNAVAILABLE", "{exact}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("--preferred-port"), "{exact}: {hint}");
    }
    let other = user.run("port lease --preferred-port 20085 -o json").json();
    assert_ne!(other["port"], 20085);
    user.run("port lease --port 20086 --preferred-port 20087")
        .exits(2);
    user.run("port lease --exact").exits(2);
    let help = user.run("port lease --help").exits(0).stdout;
    assert!(help.contains("--port <PORT>"), "{help}");
}

fn start(user: &User, line: &str) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_onex"))
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", user.home.path())
        .envs(user.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn await_note(child: &mut std::process::Child) -> String {
    use std::io::{BufRead as _, BufReader};
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    // All else that it says is read, so that it is not held up.
    thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    line
}

#[test]
fn a_lease_waits_for_a_port_that_becomes_free() {
    let registry = Registry::start(&["--ports", "21000", "--no-probe"]);
    let (user, other) = (User::of(&registry), User::of(&registry));
    for options in ["", "--port 21000 --exact", "-o env"] {
        other.run("port lease --ttl 1h").exits(0);
        let line = format!("port lease {options} --wait 50s --ttl 1h");
        let mut child = start(&user, &line);
        let told = await_note(&mut child);
        assert!(told.starts_with("Waiting for up to 50s: "), "{told}");
        let since = Instant::now();
        other.run("port release --all").exits(0);
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{options}: {ended:?}");
        assert!(
            since.elapsed() < PATIENCE / 2,
            "{options}: it does not ask often enough"
        );
        user.run("port release --all").exits(0);
    }
}

#[test]
fn a_lease_that_waited_in_vain_is_refused_as_without_waiting() {
    let registry = Registry::start(&["--ports", "21000", "--reserved", "22000", "--no-probe"]);
    let user = User::of(&registry);
    user.run("port lease --ttl 1h").exits(0);
    let since = Instant::now();
    let error = user.run("port lease --wait 300ms -o json").json_error(75);
    assert_eq!(error["code"], "RESOURCE_EXHAUSTED");
    assert!(since.elapsed() >= Duration::from_millis(300));
    // What waiting cannot change is said at once.
    let since = Instant::now();
    let line = "port lease --port 22000 --exact --wait 50s -o json";
    assert_eq!(user.run(line).json_error(1)["code"], "PORT_UNAVAILABLE");
    assert!(since.elapsed() < Duration::from_secs(40));
    user.run("port lease --wait 2h").exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_by_a_column_and_may_have_no_header() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    for (port, name, ttl) in [(20001, "b", "3h"), (20002, "c", "1h"), (20003, "a", "2h")] {
        let line = format!("port lease --preferred-port {port} --exact --name {name} --ttl {ttl}");
        user.run(&line).exits(0);
    }
    user.run("port lease --preferred-port 20004 --exact")
        .exits(0);
    for (column, expected) in [
        ("name", [20003, 20001, 20002, 20004]),
        ("-name", [20002, 20001, 20003, 20004]),
        ("LEFT", [20004, 20002, 20003, 20001]),
        ("-port", [20004, 20003, 20002, 20001]),
    ] {
        let list = user
            .run(&format!("port list --sort {column} -o json"))
            .json();
        assert_eq!(ports(&list), expected, "{column}");
    }
    let table = user
        .run("port list --sort -left --no-headers")
        .exits(0)
        .stdout;
    let first: Vec<_> = table.lines().map(|line| &line[..9]).collect();
    assert_eq!(
        first,
        ["20001/tcp", "20003/tcp", "20002/tcp", "20004/tcp"],
        "{table}"
    );
    let error = user.run("port list --sort size -o json").json_error(2);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("\"size\"") && message.contains("port, host, name"),
        "{message}"
    );

    let caller = Caller::of(&registry).await;
    for (node_id, version) in [("a", "1.9.0"), ("b", "1.10.0"), ("c", "1.2.0")] {
        let more = json!({"version": version, "node_type": "tool", "host": "here",
            "tools": [{"name": format!("tool-{node_id}"), "version": version}]});
        let body = node(Uuid::from_u128(1), node_id, more);
        caller.get("node.register", body).await;
    }
    caller.see("node.list", json!({})).await;
    let names = |line: &str| user.run(&format!("{line} -o name")).exits(0).stdout;
    assert_eq!(names("node list --sort version"), "c\na\nb\n");
    assert_eq!(names("tool list --sort=-tool"), "tool-c\ntool-b\ntool-a\n");
    let more = json!({"tools": [
        {"name": "t", "version": "1.10.0", "tags": ["red"]},
        {"name": "u", "version": "1.9.0", "tags": ["blue"]},
        {"name": "v", "version": "1.2.0"},
    ], "version": "1.0.0", "node_type": "tool", "host": "here"});
    let body = node(Uuid::from_u128(1), "d", more);
    caller.get("node.register", body).await;
    caller.see("tool.list", json!({})).await;
    let of_d = "tool list --node d";
    assert_eq!(names(&format!("{of_d} --sort versions")), "v\nu\nt\n");
    assert_eq!(names(&format!("{of_d} --sort tags")), "u\nt\nv\n");
    for list in [
        "port list",
        "node list",
        "tool list",
        "bus list",
        "pool list",
        "schema list",
        "port resolve --name a",
    ] {
        let error = user
            .run(&format!("{list} --sort nothing -o json"))
            .json_error(2);
        let message = error["message"].as_str().unwrap();
        let columns = message.rsplit_once("choose one of ").unwrap().1;
        for column in columns.split(", ") {
            user.run(&format!("{list} --sort {column}")).exits(0);
        }
        // Each column is typed as it is shown.
        let wide = user.run(&format!("{list} -o wide")).exits(0).stdout;
        let header = wide.lines().next().unwrap().split("  ");
        for column in header.map(str::trim).filter(|column| !column.is_empty()) {
            let column = column.replace(' ', "-");
            user.run(&format!("{list} --sort {column}")).exits(0);
        }
        let shown = user.run(&format!("{list} --no-headers")).exits(0).stdout;
        assert!(
            !shown.starts_with(|c: char| c.is_ascii_uppercase()),
            "{list}: {shown}"
        );
    }
}

#[test]
fn an_option_that_is_repeated_takes_the_last_value() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    user.run("pool list -o yaml -o json").json();
    user.run("-o yaml pool list -o wide --output json").json();
    user.run("--timeout 1s pool list --timeout 2s --host here --host there -o json")
        .json();
    let list = user
        .run("port lease --label a --label b -o table -o json")
        .json();
    assert_eq!(
        list["labels"],
        json!(["a", "b"]),
        "what may be given several times still may"
    );
    // So do arguments that cannot be followed.
    let error = user.run("pool list -o table -o json --bad").json_error(2);
    assert_eq!(error["code"], "USAGE");
    let told = user.run("pool list -o json -o table --bad").exits(2).stderr;
    assert!(told.starts_with("error: "), "{told}");
}

#[test]
fn help_shows_a_commands_own_options_and_the_shared_ones_on_demand() {
    const SHARED: [&str; 6] = [
        "--nats <",
        "--context <",
        "--creds <",
        "--tls-ca <",
        "--namespace <",
        "--timeout <",
    ];
    let user = User::new();
    for line in [
        "",
        "port list",
        "port lease",
        "serve",
        "tool invoke",
        "run",
        "version",
    ] {
        for flag in ["--help", "-h"] {
            let help = user.run(&format!("{line} {flag}")).exits(0).stdout;
            for shared in SHARED {
                assert!(!help.contains(shared), "{line} {flag}: {help}");
            }
            let pointer = help.lines().filter(|line| line.ends_with("see --help-all"));
            assert_eq!(pointer.count(), 1, "{line} {flag}: {help}");
        }
        let all = user.run(&format!("{line} --help-all")).exits(0).stdout;
        for shared in SHARED {
            assert!(all.contains(shared), "{line}: {all}");
        }
    }
    let help = user.run("port list --help").exits(0).stdout;
    let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text}: {help}"));
    assert!(at("--mine") < at("Shared options") && at("Shared options") < at("Examples:"));
    let all = user.run("port list --help-all").exits(0).stdout;
    assert!(
        all.find("--mine").unwrap() < all.find("--nats <").unwrap(),
        "{all}"
    );
}

#[test]
fn the_version_is_told_without_a_registry() {
    let user = User::new().with("NATS_URL", "nats://127.0.0.1:1");
    let version = env!("CARGO_PKG_VERSION");
    let shown = user.run("version").table();
    assert_eq!(shown[0], ["Version", version]);
    assert_eq!(shown[1], ["Protocol", "1.0"]);
    let json = user.run("version -o json").json();
    assert_eq!(json, json!({"version": version, "protocol": "1.0"}));
    assert_eq!(
        user.run("version -o name").exits(0).stdout,
        format!("{version}\n")
    );
}

#[test]
fn shells_are_given_completions_for_every_command() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = user.run(&format!("completions {shell}")).exits(0).stdout;
        for word in ["heartbeat", "--no-headers", "--nats", "codegen"] {
            let word = if shell == "fish" {
                word.trim_start_matches('-')
            } else {
                word
            };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    user.run("completions tcsh").exits(2);
    // A shell that takes it finds a command by its beginning.
    let script = user.path("onex.bash");
    std::fs::write(&script, user.run("completions bash").exits(0).stdout).unwrap();
    let ask = "source \"$0\"; COMP_WORDS=(onex port hea); COMP_CWORD=2; _onex onex hea port; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", ask, script.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "heartbeat\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let user = User::new();
    let dir = user.path("man/man1");
    let line = format!("man --dir {}", dir.display());
    assert_eq!(user.run(&line).exits(0).stdout, "");
    let page = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    for name in [
        "onex.1",
        "onex-serve.1",
        "onex-port.1",
        "onex-port-lease.1",
        "onex-tool-invoke.1",
    ] {
        assert!(page(name).contains(".TH"), "{name}");
    }
    let lease = page("onex-port-lease.1");
    let (_, synopsis) = lease.split_once(".SH SYNOPSIS").unwrap();
    let (synopsis, rest) = synopsis.split_once(".SH").unwrap();
    assert!(synopsis.contains("OPTIONS"), "{synopsis}");
    assert!(
        !synopsis.contains("nats") && rest.contains("nats"),
        "{synopsis}"
    );
    for part in ["\\-\\-ttl", "\\-\\-nats", "onex port lease"] {
        assert!(lease.contains(part), "{part}: {lease}");
    }
    assert_eq!(user.run("man").exits(0).stdout, page("onex.1"));
    user.run("man --dir /proc/nowhere").exits(2);
}

/// What no command of that kind looks at cannot be wrong for it.
#[test]
fn a_variable_that_a_command_has_no_use_for_does_not_end_it() {
    for (name, value) in [
        ("ONEX_OUTPUT", "xml"),
        ("ONEX_OUTPUT", "port"),
        ("ONEX_NAMESPACE", "no namespace"),
    ] {
        let user = User::new().with(name, value);
        for command in ["version", "man", "completions bash"] {
            let told = user.run(command).exits(0).stdout;
            assert!(!told.is_empty(), "{name}={value} {command}");
        }
    }
    // Its own server is none that could be reached.
    let unreachable = "serve --nats nats://127.0.0.1:1";
    User::new()
        .with("ONEX_OUTPUT", "xml")
        .run(unreachable)
        .exits(69);
    // Where it has one, it counts; and an argument that is wrong stays wrong.
    let user = User::new().with("ONEX_OUTPUT", "json");
    let shown = user.run("version").json();
    assert!(shown["version"].is_string(), "{shown}");
    for command in ["version -o xml", "version -o port", "man -o xml"] {
        User::new().run(command).exits(2);
    }
}
