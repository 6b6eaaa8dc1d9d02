//! What `onex serve` makes of its flags and of the environment: which NATS server is meant, and what is told.

use crate::harness::{Nats, Registry, User};

/// Nobody listens there.
const NOBODY: &str = "nats://127.0.0.1:1";

#[test]
fn a_flag_for_a_server_of_its_own_goes_before_nats_url() {
    // No program is found without a PATH; that it was looked for says that it would have been started.
    let user = User::new().with("NATS_URL", NOBODY);
    for line in [
        "--listen 127.0.0.1:0",
        "--data /nowhere",
        "--listen 127.0.0.1:0 --data /nowhere",
        "--embedded",
    ] {
        let told = user.run(&format!("serve {line}")).exits(1).stderr;
        assert!(told.contains("no nats-server"), "{line}: {told}");
    }
    let user = User::new().with("NATS_CONTEXT", "no-such-context");
    let told = user.run("serve --listen 127.0.0.1:0").exits(1).stderr;
    assert!(told.contains("no nats-server"), "{told}");
    // Then what says who we are has no meaning.
    for line in [
        "--listen 127.0.0.1:0 --creds /nowhere",
        "--replicas 3 --data /nowhere",
        "--embedded --replicas 2",
    ] {
        user.run(&format!("serve {line}")).exits(2);
    }
}

#[test]
fn a_server_that_the_environment_names_is_told_of() {
    let nats = Nats::start();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_onex"));
    let home = tempfile::tempdir().unwrap();
    command
        .args(["serve", "--host", "here", "--no-probe"])
        .env_clear()
        .env("HOME", home.path())
        .env("NATS_URL", nats.url())
        .env("ONEX_DATA", "/nowhere");
    let mut registry = Registry::spawn_command(command, false);
    registry.await_ready();
    let said = registry.said();
    assert!(
        said.contains("using a running NATS server, from NATS_URL"),
        "{said}"
    );
    assert!(said.contains("ONEX_DATA is not used"), "{said}");
}

#[test]
fn a_server_that_cannot_be_reached_is_told_of_with_what_else_can_be_done() {
    let user = User::new().with("NATS_URL", NOBODY);
    let told = user.run("serve").exits(69).stderr;
    for word in [NOBODY, "from NATS_URL", "onex serve --embedded"] {
        assert!(told.contains(word), "{told}");
    }
    assert_eq!(told.matches("Connection refused").count(), 1, "{told}");
    let told = user.run("port list").exits(69).stderr;
    for word in [NOBODY, "from NATS_URL", "onex serve --embedded"] {
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_from_none() {
    let nats = Nats::start();
    let user = User::new().with("NATS_URL", &nats.url().replace("nats://", "tls://"));
    for line in ["serve", "port list", "run --port web -- true"] {
        let told = user.run(line).exits(69).stderr;
        assert!(told.contains("does not speak TLS"), "{line}: {told}");
        assert!(told.contains("nats://"), "{line}: {told}");
        assert!(!told.contains("no NATS server"), "{line}: {told}");
    }
    let told = user.run("-o json port list").exits(69).stderr;
    assert!(told.contains("\"NO_TLS\""), "{told}");
}

#[test]
fn an_empty_variable_is_unset() {
    let names = [
        "NATS_URL",
        "NATS_CONTEXT",
        "NATS_CREDS",
        "NATS_CA",
        "NATS_CERT",
        "NATS_KEY",
        "ONEX_LISTEN",
        "ONEX_DATA",
        "ONEX_HOST",
        "ONEX_PORTS",
        "ONEX_RESERVED",
        "ONEX_TTL_MAX",
        "ONEX_REPLICAS",
        "ONEX_EVENTS_BYTES_MAX",
        "ONEX_STORE_BYTES_MAX",
        "ONEX_STORE_NATS",
        "ONEX_STORE_CREDS",
        "ONEX_EVENTS_AGE_MAX",
        "ONEX_KNOWN_HOSTS_ONLY",
        "ONEX_NO_PROBE",
        "ONEX_NO_HOLDER",
        "ONEX_HOLDER_LEASES_MAX",
        "ONEX_HOSTS_MAX",
        "ONEX_NODES_MAX",
        "ONEX_BUSES_MAX",
        "ONEX_RETENTION",
        "ONEX_TOOL_SUBJECTS",
        "ONEX_INBOX_PREFIX",
        "ONEX_INVOKE_QUEUE_MAX",
        "ONEX_IN_FLIGHT_MAX",
        "ONEX_INVOKES_MAX",
        "ONEX_INVOKES_PER_PROVIDER_MAX",
        "ONEX_CALLS_MAX",
        "ONEX_CALLS_KEPT",
        "ONEX_LOG_JSON",
        "ONEX_NAMESPACE",
        "ONEX_OUTPUT",
        "ONEX_REQUESTER_ID",
        "ONEX_NATS_SERVER",
        "RUST_LOG",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
    ];
    let user = names
        .iter()
        .fold(User::new(), |user, name| user.with(name, ""));
    let told = user.run("serve").exits(1).stderr;
    assert!(told.contains("no nats-server"), "{told}");
    let told = user.run("port lease").exits(69).stderr;
    assert!(told.contains("nats://127.0.0.1:4222"), "{told}");
    // None that there is was forgotten.
    let help = user.run("serve --help").exits(0).stdout;
    let help = help + &user.run("port lease --help").exits(0).stdout;
    for (_, rest) in help
        .match_indices("[env: ")
        .map(|(at, mark)| help.split_at(at + mark.len()))
    {
        let name = rest.split([']', '=']).next().unwrap();
        assert!(names.contains(&name), "{name}");
    }
    let full = User::new().run("serve --help").exits(0).stdout;
    for (_, rest) in full
        .match_indices("[env: ")
        .map(|(at, mark)| full.split_at(at + mark.len()))
    {
        let name = rest.split([']', '=']).next().unwrap();
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn flags_in_the_environment_take_yes_and_no() {
    for value in ["1", "true", "yes", "TRUE", "0", "false", "no"] {
        for name in ["ONEX_KNOWN_HOSTS_ONLY", "ONEX_NO_PROBE", "ONEX_LOG_JSON"] {
            let user = User::new().with(name, value);
            let told = user.run("serve --embedded").exits(1).stderr;
            assert!(told.contains("no nats-server"), "{name}={value}: {told}");
        }
    }
    let user = User::new().with("ONEX_NO_PROBE", "perhaps");
    let told = user.run("serve --embedded").exits(2).stderr;
    assert!(told.contains("ONEX_NO_PROBE"), "{told}");
}

#[test]
fn a_value_from_a_variable_is_told_of_by_its_name() {
    for (name, value, line) in [
        ("ONEX_TTL_MAX", "0", "serve"),
        ("ONEX_LISTEN", "nowhere", "serve"),
        ("ONEX_HOSTS_MAX", "many", "serve"),
        ("ONEX_HOST", "No Name", "serve"),
        ("ONEX_NAMESPACE", "UPPER", "port list"),
        ("ONEX_OUTPUT", "xml", "port list"),
        ("ONEX_REQUESTER_ID", "me", "port lease"),
        ("NATS_URL", "not%a%url:x", "port list"),
    ] {
        let user = User::new().with(name, value);
        let told = user.run(line).exits(2).stderr;
        assert!(told.contains(name), "{name}: {told}");
    }
    // And one that is given by what it was given as.
    let user = User::new().with("ONEX_TTL_MAX", "0");
    let told = user.run("serve --ttl-max 0").exits(2).stderr;
    assert!(
        told.contains("--ttl-max") && !told.contains("ONEX_TTL_MAX"),
        "{told}"
    );
}

#[test]
fn who_we_are_is_said_once() {
    let user = User::new();
    let twice = "port list --nats nats://me:secret@127.0.0.1:1 --creds /nowhere";
    let told = user.run(twice).exits(2).stderr;
    assert!(
        told.contains("--creds") && !told.contains("secret"),
        "{told}"
    );
    let told = user.run("port list --tls-cert /nowhere").exits(2).stderr;
    assert!(told.contains("--tls-key"), "{told}");
    // The user in a URL that is given goes before a file that the environment names: it is not even read.
    let user = user.with("NATS_CREDS", "/no/such/file");
    user.run("port list --nats nats://me:secret@127.0.0.1:1")
        .exits(69);
    user.run("port list --nats nats://127.0.0.1:1").exits(2);
    // So does a context that is given.
    user.context(
        "here",
        &serde_json::json!({"url": NOBODY, "user": "me", "password": "secret"}),
    );
    user.run("port list --context here").exits(69);
    // One that the environment names is no more than the file.
    let user = user.with("NATS_CONTEXT", "here");
    user.run("port list").exits(2);
}

#[test]
fn a_secret_in_a_url_is_not_shown() {
    let user = User::new();
    for url in [
        "nats://127.0.0.1:1?pass=secret",
        "nats://me:secret@127.0.0.1:1",
        "nats://127.0.0.1:1/#secret",
        "nats://me:se#secret@127.0.0.1:1",
        "nats://me:secret＠127.0.0.1:1",
        "nats://secret%40127.0.0.1:1",
        "nats://127.0.0.1:1/x/nats://me:secret@h",
    ] {
        for line in ["serve", "port list", "port list -o json"] {
            let ran = user.run(&format!("{line} --nats {url}"));
            assert_ne!(ran.exit, 0);
            assert!(
                !ran.stderr.contains("secret"),
                "{line} {url}: {}",
                ran.stderr
            );
        }
    }
    let nats = Nats::start();
    let url = format!("{}?pass=secret", nats.url());
    let mut registry = Registry::spawn(&["--nats", &url, "--host", "here", "--no-probe"]);
    registry.await_ready();
    let said = registry.said();
    assert!(!said.contains("secret"), "{said}");
    // But that it is not used is told.
    assert!(said.contains("behind host and port"), "{said}");
    let told = user.run(&format!("port list --nats {url}")).exits(0).stderr;
    assert!(
        told.contains("the query of the URL") && !told.contains("secret"),
        "{told}"
    );
}

/// A flag that is given goes before its variable: that is not even looked at.
#[test]
fn a_wrong_variable_does_not_matter_beside_its_flag() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let uuid = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
    for (name, value, line) in [
        ("ONEX_HOST", "No Name", "port lease --host build-7"),
        ("ONEX_HOST", "127.1", "port lease --host build-7"),
        ("ONEX_HOST", "No Name", "port list --host build-7"),
        ("ONEX_NAMESPACE", "UPPER", "port list --namespace ci"),
        ("ONEX_NAMESPACE", "UPPER", "--namespace ci port list"),
        ("ONEX_OUTPUT", "xml", "port list -o json"),
        ("ONEX_OUTPUT", "port", "port list -o json"),
        ("ONEX_OUTPUT", "xml", "-o json port list"),
        (
            "ONEX_REQUESTER_ID",
            "me",
            &format!("port lease --requester {uuid}"),
        ),
        (
            "NATS_URL",
            "not%a%url:x",
            &format!("port list --nats {}", registry.url()),
        ),
        (
            "NATS_CONTEXT",
            "none",
            &format!("port list --nats {}", registry.url()),
        ),
        (
            "NATS_CERT",
            "/nowhere",
            &format!("version --nats {}", registry.url()),
        ),
    ] {
        let user = User::of(&registry).with(name, value);
        let ran = user.run(line);
        let in_ci = line.contains("--namespace");
        assert_eq!(
            ran.exit,
            if in_ci { 69 } else { 0 },
            "{name} {line}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.contains(name), "{name} {line}: {}", ran.stderr);
    }
    let serve = |name, value, flag: &str| {
        let user = User::new().with(name, value);
        let told = user
            .run(&format!("serve --embedded {flag}"))
            .exits(1)
            .stderr;
        assert!(told.contains("no nats-server"), "{name} {flag}: {told}");
    };
    for (name, flag) in [
        ("ONEX_NAMESPACE", "--namespace ci"),
        ("ONEX_OUTPUT", "-o json"),
        ("ONEX_LISTEN", "--listen 127.0.0.1:0"),
        ("ONEX_HOST", "--host build-7"),
        ("ONEX_PORTS", "--ports 20000"),
        ("ONEX_RESERVED", "--reserved 20000"),
        ("ONEX_TTL_MAX", "--ttl-max 1h"),
        ("ONEX_REPLICAS", "--replicas 1"),
        ("ONEX_EVENTS_BYTES_MAX", "--events-bytes-max 1000"),
        ("ONEX_STORE_BYTES_MAX", "--store-bytes-max 100000000"),
        ("ONEX_EVENTS_AGE_MAX", "--events-age-max 1h"),
        ("ONEX_KNOWN_HOSTS_ONLY", "--known-hosts-only"),
        ("ONEX_NO_PROBE", "--no-probe"),
        ("ONEX_HOLDER_LEASES_MAX", "--holder-leases-max 1"),
        ("ONEX_HOSTS_MAX", "--hosts-max 1"),
        ("ONEX_NODES_MAX", "--nodes-max 1"),
        ("ONEX_BUSES_MAX", "--buses-max 1"),
        ("ONEX_RETENTION", "--retention 1h"),
        ("ONEX_TOOL_SUBJECTS", "--tool-subjects calc.>"),
        ("ONEX_INBOX_PREFIX", "--inbox-prefix my.inbox"),
        ("ONEX_IN_FLIGHT_MAX", "--in-flight-max 1"),
        ("ONEX_INVOKES_MAX", "--invokes-max 1"),
        (
            "ONEX_INVOKES_PER_PROVIDER_MAX",
            "--invokes-per-provider-max 1",
        ),
        ("ONEX_INVOKE_QUEUE_MAX", "--invoke-queue-max 1"),
        ("ONEX_CALLS_MAX", "--calls-max 1"),
        ("ONEX_CALLS_KEPT", "--calls-kept 1h"),
        ("ONEX_LOG_JSON", "--log-json"),
    ] {
        // Wrong for each of them.
        serve(name, "a..B c", flag);
    }
}

/// What is wrong with a value is said with where that came from, and with what would be right.
#[test]
fn a_wrong_variable_is_named_with_what_is_right() {
    for (name, value, line, right) in [
        (
            "ONEX_NO_PROBE",
            "2",
            "serve --embedded",
            "1, true, yes or on",
        ),
        (
            "ONEX_HOSTS_MAX",
            "x",
            "serve --embedded",
            "a whole number of at least 1",
        ),
        (
            "ONEX_HOSTS_MAX",
            "0",
            "serve --embedded",
            "a whole number of at least 1",
        ),
        (
            "ONEX_REPLICAS",
            "9",
            "serve --embedded",
            "a whole number from 1 to 5",
        ),
        (
            "ONEX_HOLDER_LEASES_MAX",
            "-1",
            "serve --embedded",
            "from 1 to 1000",
        ),
        (
            "ONEX_IN_FLIGHT_MAX",
            "1e3",
            "serve --embedded",
            "a whole number from 1 to",
        ),
        (
            "ONEX_EVENTS_BYTES_MAX",
            "1GiB",
            "serve --embedded",
            "a whole number from 1 to",
        ),
        (
            "ONEX_OUTPUT",
            "port",
            "port list",
            "table, wide, json, yaml or name",
        ),
        (
            "ONEX_OUTPUT",
            "env",
            "describe",
            "table, wide, json, yaml or name",
        ),
        ("NATS_CONTEXT", "none", "port list", "nats context ls"),
        ("NATS_CONTEXT", "a/b", "port list", "not the name"),
        ("NATS_CONTEXT", "none", "serve", "no NATS context"),
        (
            "NATS_CERT",
            "/nowhere",
            "port list",
            "--tls-key or NATS_KEY",
        ),
        (
            "NATS_KEY",
            "/nowhere",
            "port list",
            "--tls-cert or NATS_CERT",
        ),
    ] {
        let user = User::new().with(name, value);
        let told = user.run(line).exits(2).stderr;
        for word in [name, right] {
            assert!(told.contains(word), "{name}={value} {line}: {told}");
        }
    }
    let told = User::new()
        .run("serve --embedded --hosts-max x")
        .exits(2)
        .stderr;
    assert!(
        told.contains("--hosts-max") && told.contains("at least 1"),
        "{told}"
    );
    let told = User::new().run("port list --context none").exits(2).stderr;
    assert!(
        told.contains("--context: there is no NATS context"),
        "{told}"
    );
}

/// A file is named with the flag or variable that names it, whoever says which server it is for.
#[test]
fn a_file_that_cannot_be_used_is_told_of_by_what_names_it() {
    let user = |name| User::new().with("NATS_URL", NOBODY).with(name, "/nowhere");
    for name in ["NATS_CREDS", "NATS_CA"] {
        for line in ["port list", "serve"] {
            let told = user(name).run(line).exits(2).stderr;
            assert!(told.contains(&format!("{name}: ")), "{name} {line}: {told}");
            // Of the log, which says which server is meant, it is the last line.
            let told = told.lines().rfind(|line| line.starts_with("onex")).unwrap();
            assert!(
                told.contains("/nowhere") && !told.contains("NATS_URL"),
                "{told}"
            );
            // Nobody was asked.
            assert!(!told.contains("connection"), "{told}");
        }
    }
    let both = user("NATS_CERT").with("NATS_KEY", "/elsewhere");
    let one = User::new().with("NATS_URL", NOBODY);
    for line in ["port list", "serve"] {
        let told = both.run(line).exits(2).stderr;
        assert!(told.contains("NATS_CERT: "), "{line}: {told}");
        for flag in ["--creds", "--tls-ca"] {
            let told = one.run(&format!("{line} --nats {NOBODY} {flag} /nowhere"));
            let told = told.exits(2).stderr;
            assert!(told.contains(&format!("{flag}: ")), "{flag} {line}: {told}");
        }
        let wrong = User::new().with("NATS_URL", "not%a%url:x");
        let told = wrong.run(line).exits(2).stderr;
        assert!(told.contains("NATS_URL: "), "{line}: {told}");
    }
}

#[test]
fn a_blank_variable_is_unset() {
    let names = [
        "NATS_URL",
        "NATS_CONTEXT",
        "NATS_CREDS",
        "ONEX_HOST",
        "ONEX_NAMESPACE",
        "ONEX_OUTPUT",
        "ONEX_REQUESTER_ID",
        "ONEX_TTL_MAX",
        "ONEX_NO_PROBE",
        "ONEX_PORTS",
        "ONEX_TOOL_SUBJECTS",
    ];
    let user = names
        .iter()
        .fold(User::new(), |user, name| user.with(name, " \t"));
    let told = user.run("serve").exits(1).stderr;
    assert!(told.contains("no nats-server"), "{told}");
    let told = user.run("port lease").exits(69).stderr;
    assert!(told.contains("nats://127.0.0.1:4222"), "{told}");
}

/// An address that is none is not shown: it may be nothing but a secret.
#[test]
fn an_address_that_is_none_is_not_shown() {
    for address in ["{\"pass\":\"SECRET\"}", "nats://token:SECRET"] {
        for line in ["port list", "serve"] {
            let told = User::new().run(&format!("{line} --nats {address}"));
            let told = told.exits(2).stderr;
            assert!(!told.contains("SECRET"), "{told}");
            assert!(
                told.contains("(not shown)") && told.contains("--nats"),
                "{told}"
            );
        }
    }
}

#[test]
fn an_empty_address_is_a_usage_error() {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_onex"))
        .args(["port", "list", "--nats", ""])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("--nats") && told.contains("nats://HOST:PORT"),
        "{told}"
    );
}

/// A variable that is no text is named, and not passed over.
#[test]
fn a_variable_that_is_no_text_is_told_of() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let registry = Registry::start(&[]);
    for (name, value, line) in [
        ("NATS_URL", &b"nats://127.0.0.1:1\xff"[..], "port list"),
        ("NATS_URL", b"nats://u:\xff@127.0.0.1:1", "port list"),
        ("NATS_URL", b"nats://127.0.0.1:1\xff", "serve"),
        ("NATS_URL", b"\xff", "run --port web -- true"),
        ("NATS_CREDS", b"/nowhere\xff", "port list"),
        ("NATS_CA", b"/nowhere\xff", "port list"),
        ("ONEX_PORTS", b"\xff", "serve"),
        ("ONEX_TTL_MAX", b"\xff", "serve"),
        ("ONEX_STORE_NATS", b"\xff", "serve"),
        ("ONEX_HOST", b"\xff", "run --port web -- true"),
        ("TRACEPARENT", b"\xff", "tool invoke x"),
        ("NATS_CONTEXT", b"\xff", "port list"),
        ("ONEX_HOST", b"\xff", "port lease"),
        ("ONEX_HOST", b"\xff", "serve"),
        ("ONEX_NAMESPACE", b"\xff", "port list"),
        ("ONEX_REQUESTER_ID", b"\xff", "port lease"),
        ("ONEX_OUTPUT", b"\xff", "port list"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_onex"))
            .args(line.split(' '))
            .env_clear()
            .env("HOME", home.path())
            .env("NATS_URL", registry.url())
            .env(name, OsStr::from_bytes(value))
            .timeout(crate::harness::PATIENCE)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name} {line}: {told}");
        assert!(told.contains(name), "{name} {line}: {told}");
        assert!(told.ends_with('\n'), "{name} {line}: {told:?}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told_of_by_what_names_it() {
    let path = std::env::var("PATH").unwrap();
    for folder in ["/proc/nope", "/dev/null"] {
        let by_variable = User::new().with("PATH", &path).with("ONEX_DATA", folder);
        let told = by_variable.run("serve --embedded").exits(2).stderr;
        assert!(
            told.contains("ONEX_DATA: ") && told.contains(folder),
            "{told}"
        );
        let user = User::new().with("PATH", &path);
        let told = user.run(&format!("serve --data {folder}")).exits(2).stderr;
        assert!(told.contains("--data: ") && told.contains(folder), "{told}");
    }
}
