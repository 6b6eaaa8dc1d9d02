//! Who holds a port, and why, for someone at a terminal.

use std::net::UdpSocket;

use crate::harness::{PATIENCE, Registry, User, free_port};

/// What is said of a process: the name of its program is that of this test's file.
fn own_name() -> String {
    let program = std::env::args().next().unwrap();
    let (_, name) = program.rsplit_once('/').unwrap();
    name.to_owned()
}

#[test]
fn a_lease_names_the_process_that_asked_for_it_unless_that_is_kept_back() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry);
    let lease = user.run("port lease --host here --name api -o json").json();
    let holder = &lease["holder"];
    // `onex port lease` has ended; whoever started it has the port.
    assert_eq!(holder["pid"], std::process::id());
    assert_eq!(holder["command"], own_name());
    assert!(holder["user"].is_string() && holder["host"].is_string());
    let wide = user.run("port list -o wide").exits(0).stdout;
    let process = format!("({}, pid {})", own_name(), std::process::id());
    assert!(wide.contains(&process), "{wide}");

    let silent = user
        .run("port lease --host here --no-holder -o json")
        .json();
    assert_eq!(silent.get("holder"), None);
    let quiet = User::of(&registry).with("ONEX_NO_HOLDER", "yes");
    let silent = quiet.run("port lease --host here -o json").json();
    assert_eq!(silent.get("holder"), None);
    let odd = User::of(&registry).with("ONEX_NO_HOLDER", "perhaps");
    let refused = odd.run("port lease --host here").exits(2);
    assert!(
        refused.stderr.contains("ONEX_NO_HOLDER"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_command_that_ports_are_leased_for_is_named_without_its_arguments() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let user = User::of(&registry).with("PATH", "/usr/bin:/bin");
    let onex = env!("CARGO_BIN_EXE_onex");
    let held = |flags: &str| {
        let line = format!("run -q {flags} --host here --port web -- {onex} port list -o json");
        let list = user.run(&line).exits(0).stdout;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list["items"][0].clone()
    };
    let held_by = held("");
    assert_eq!(held_by["holder"]["command"], "onex", "{held_by:#}");
    assert!(held_by["holder"]["pid"].is_u64());
    assert_eq!(held("--no-holder").get("holder"), None);
}

#[test]
fn a_refusal_names_the_holder_and_what_comes_free() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", "20001"]);
    let user = |registry: &Registry| {
        User::of(registry)
            .with("COLUMNS", "80")
            .with("ONEX_HOST", "here")
    };
    let (holder, other) = (user(&registry), user(&registry));
    let lease = holder.run("port lease --name api --ttl 10m -o json").json();
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let who = format!("({}, pid {}) as \"api\"", own_name(), std::process::id());
    let told = flat(&other.run("port lease --port 20001").exits(1).stderr);
    for said in [
        "port 20001 is held by ",
        &who,
        " for another 9m",
        "unless it is renewed before",
    ] {
        assert!(told.contains(said), "no {said:?} in: {told}");
    }
    let line = format!(
        "port release --lease-id {}",
        lease["lease_id"].as_str().unwrap()
    );
    let told = flat(&other.run(&line).exits(1).stderr);
    assert!(
        told.contains("belongs to another requester: ") && told.contains(&who),
        "{told}"
    );
    let told = flat(&other.run("port lease").exits(75).stderr);
    let said = "1 of 1 tcp ports held; the next to come free may be 20001 in 10m";
    assert!(told.contains(said), "{told}");
    let error = other.run("port lease --port 20001 -o json").json_error(1);
    assert_eq!(error["details"]["holder"], lease["holder"]);
}

#[test]
fn a_refusal_for_another_program_names_it() {
    let port = free_port();
    let ports = format!("{port}-{}", port + 1);
    let registry = Registry::start(&["--host", "here", "--ports", &ports]);
    let user = User::of(&registry).with("COLUMNS", "200");
    let _other = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let lease = format!("port lease --port {port} --host here --transport udp");
    // In use, and a moment later quarantined.
    for _ in 0..2 {
        let told = user.run(&lease).exits(1).stderr;
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        let program = format!("; {} (pid {}) uses it now", own_name(), std::process::id());
        assert!(told.contains(&program), "{told}");
    }
}

#[test]
fn explain_says_who_holds_a_port_in_a_sentence_and_below_it_what_is_known() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", "20000-20009"]);
    let user = User::of(&registry)
        .with("COLUMNS", "80")
        .with("ONEX_HOST", "here");
    let lease = user
        .run("port lease --name api --port 20001 --ttl 10m -o json")
        .json();
    let id = lease["lease_id"].as_str().unwrap();
    let held = user.run("port explain 20001").exits(0).stdout;
    let flat = held.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = "Port 20001/tcp on here is held by ";
    assert!(flat.starts_with(says), "{held}");
    for word in [
        "as \"api\" for another 9m",
        "unless it is renewed before.",
        "(you)",
        id,
    ] {
        assert!(flat.contains(word), "no {word:?} in:\n{held}");
    }
    assert!(
        held.lines().all(|line| line.chars().count() <= 80),
        "{held}"
    );
    let row = |text: &str, name: &str| -> Option<String> {
        let row = text.lines().find_map(|line| line.trim().strip_prefix(name));
        Some(row?.trim().to_owned())
    };
    assert_eq!(row(&held, "Next free").unwrap(), "20002");
    assert_eq!(row(&held, "Name").unwrap(), "api");
    // Nobody here can look.
    assert_eq!(row(&held, "In use"), None);
    let who = user.run("port who 20001").exits(0).stdout;
    assert_eq!(row(&who, "Lease").as_deref(), Some(id));
    let wide = user.run("port explain 20001 -o wide").exits(0).stdout;
    assert_eq!(row(&wide, "TTL").as_deref(), Some("10m"));
    assert_eq!(
        user.run("port explain 20001 -o name").exits(0).stdout,
        format!("{id}\n")
    );
    let yaml = user.run("port explain 20001 -o yaml").exits(0).stdout;
    assert!(yaml.contains("state: held"), "{yaml}");

    let udp = user
        .run("port explain 20001 --transport udp -o json")
        .json();
    assert_eq!(
        (&udp["state"], &udp["transport"]),
        (&"free".into(), &"udp".into())
    );
    let there = user.run("port explain 20001 --host there -o json").json();
    assert_eq!(
        (&there["state"], &there["host"]),
        (&"free".into(), &"there".into())
    );
    assert_eq!(user.run("port explain 20002 -o name").exits(0).stdout, "");
    user.run("port release --name api").exits(0);
    let free = user.run("port explain 20001").exits(0).stdout;
    assert!(
        row(&free, "Ended").unwrap().starts_with("released, "),
        "{free}"
    );
    for wrong in [
        "port explain",
        "port explain 0",
        "port explain 1 --transport both",
        "port explain 70000",
    ] {
        user.run(wrong).exits(2);
    }
    // Events are published a moment later.
    let since = std::time::Instant::now();
    let told = loop {
        let told = user.run("port explain 20001").exits(0).stdout;
        if told.contains("HISTORY (2)") {
            break told;
        }
        assert!(since.elapsed() < PATIENCE, "no history in:\n{told}");
    };
    let wide = user.run("port explain 20001 -o wide").exits(0).stdout;
    for word in ["SINCE", "it was leased", "its holder released it", id] {
        assert!(wide.contains(word), "no {word:?} in:\n{wide}");
    }
    assert!(
        told.lines().all(|line| line.chars().count() <= 80),
        "{told}"
    );
    let list = user.run("port list --port 20001 -o json").json();
    assert_eq!(list["items"].as_array().unwrap().len(), 0);
}
