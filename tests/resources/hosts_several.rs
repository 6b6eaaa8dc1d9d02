//! Hosts with several instances on one NATS server: a name or address means the same host whichever of them answers.

use std::{collections::BTreeSet, time::Duration};

use crate::harness::{Caller, Log, Nats, Refused, Registry, User, node, round_trip, until};
use futures::StreamExt;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Which of two instances answers is by chance: of so many requests in a row both get some.
const ASKED: usize = 24;
/// Ports of the instances that try them.
const PORTS: [&str; 2] = ["--ports", "18950-18999"];

fn own_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().unwrap().to_ascii_lowercase()
}

/// The address from which this machine would reach others, where it has a way to.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip().to_string())
}

fn own_names() -> Vec<String> {
    own_address().into_iter().chain([own_name()]).collect()
}

/// This machine, as `name`.
fn on_this_machine(nats: &Nats, name: &str) -> Registry {
    Registry::on(nats, &["--host", name, PORTS[0], PORTS[1]])
}

/// Another machine, as far as the others can tell: nothing of this one is known there.
fn elsewhere(nats: &Nats, name: &str) -> Registry {
    let args = ["--host", name, "--no-probe", PORTS[0], PORTS[1]];
    Registry::on(nats, &args)
}

async fn pools(caller: &Caller) -> BTreeSet<String> {
    let pools = caller.see("pool.list", json!({})).await;
    let items = pools["items"].as_array().unwrap().iter();
    items
        .map(|pool| pool["host"].as_str().unwrap().to_owned())
        .collect()
}

/// Leases a port of that host again and again, each by a requester of its own: on which host it is each time.
async fn leased_on(caller: &Caller, host: &str) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for _ in 0..ASKED {
        let requester = Uuid::new_v4();
        let lease = caller.lease(requester, json!({"host": host})).await;
        hosts.insert(lease["host"].as_str().unwrap().to_owned());
        let release = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
        caller.get("port.release", release).await;
    }
    hosts
}

/// What is said of that host at every endpoint that takes one, by both instances.
async fn refusals(caller: &Caller, host: &str) -> Vec<Refused> {
    let requester = Uuid::new_v4();
    let requests = [
        (
            "port.lease",
            crate::harness::lease_request(requester, json!({"host": host})),
        ),
        (
            "node.register",
            node(requester, "calc", json!({"host": host})),
        ),
        ("port.list", json!({"host": host})),
        ("port.resolve", json!({"host": host, "name": "api"})),
        ("pool.list", json!({"host": host})),
        ("node.list", json!({"host": host})),
    ];
    let mut refusals = Vec::new();
    for (endpoint, body) in requests {
        for _ in 0..ASKED {
            let refused = caller.refused(endpoint, body.clone(), ErrorCode::InvalidRequest);
            refusals.push(refused.await);
        }
    }
    refusals
}

#[track_caller]
fn check_named(refusals: &[Refused], hosts: &[&str]) {
    let named: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    for refused in refusals {
        assert_eq!(refused.detail("pointer"), "/host");
        let message = refused.error["message"].as_str().unwrap();
        assert!(message.ends_with(&named.join(", ")), "{message}");
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_machine_mean_its_host_whichever_instance_answers() {
    let nats = Nats::start();
    let here = on_this_machine(&nats, "here");
    let mut there = elsewhere(&nats, "there");
    let caller = Caller::of(&here).await;
    for name in own_names() {
        assert_eq!(leased_on(&caller, &name).await, set(&["here"]), "{name}");
        let lease = caller.lease(Uuid::new_v4(), json!({"host": "here"})).await;
        for _ in 0..ASKED {
            let exact = json!({"requester_id": Uuid::new_v4(), "protocol": "http", "host": name,
                "preferred_port": lease["port"], "exact": true});
            let refused = caller.ask("port.lease", exact).await.unwrap_err();
            assert_eq!(refused.detail("state"), "held", "{name}");
        }
    }
    let pools_now = pools(&caller).await;
    assert!(
        pools_now.is_subset(&set(&["here", "there"])),
        "{pools_now:?}"
    );
    // What is known of the machine outlasts its instance.
    drop(here);
    until("the server to know that it is gone", async || {
        (caller.micro("PING").await.len() == 1).then_some(())
    })
    .await;
    for name in own_names() {
        assert_eq!(leased_on(&caller, &name).await, set(&["here"]), "{name}");
    }
    // And an instance that was not there when it was said.
    there.kill();
    let _later = elsewhere(&nats, "later");
    for name in own_names() {
        assert_eq!(leased_on(&caller, &name).await, set(&["here"]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_is_refused_while_instances_run_on_several_hosts() {
    let nats = Nats::start();
    let here = elsewhere(&nats, "here");
    let caller = Caller::of(&here).await;
    for name in ["localhost", "127.0.0.1", "::1", "0.0.0.0", "::"] {
        assert_eq!(leased_on(&caller, name).await, set(&["here"]), "{name}");
    }
    // A second one on the same host changes nothing.
    let _also = elsewhere(&nats, "here");
    assert_eq!(leased_on(&caller, "localhost").await, set(&["here"]));
    let there = elsewhere(&nats, "there");
    for name in ["localhost", "127.0.0.1", "::1", "0.0.0.0", "::"] {
        check_named(&refusals(&caller, name).await, &["here", "there"]);
    }
    // With one host left that is meant again, once the other has not been heard of for a while.
    drop(there);
    let lease = until("localhost to mean the only host", async || {
        let lease_request =
            crate::harness::lease_request(Uuid::new_v4(), json!({"host": "localhost"}));
        caller.ask("port.lease", lease_request).await.ok()
    })
    .await;
    assert_eq!(lease["host"], "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_of_an_instance_goes_before_an_alias_of_another() {
    let nats = Nats::start();
    let here = on_this_machine(&nats, "here");
    let caller = Caller::of(&here).await;
    assert_eq!(leased_on(&caller, &own_name()).await, set(&["here"]));
    let _there = elsewhere(&nats, &own_name());
    let own = own_name();
    assert_eq!(leased_on(&caller, &own).await, set(&[own.as_str()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_hosts_have_in_common_is_refused() {
    let nats = Nats::start();
    let one = on_this_machine(&nats, "one");
    let _two = elsewhere(&nats, "two");
    let caller = Caller::of(&one).await;
    // As if that machine had such names and addresses too.
    let log = Log::of(&caller).await;
    let mut said = log.record("host.two").await.unwrap()["host"].clone();
    said["aliases"] = json!(own_names());
    log.append(json!([{"put": "host.two", "host": said}])).await;
    until("both instances to know that", async || {
        for _ in 0..ASKED {
            let lease_request =
                crate::harness::lease_request(Uuid::new_v4(), json!({"host": own_name()}));
            if caller.ask("port.lease", lease_request).await.is_ok() {
                return None;
            }
        }
        Some(())
    })
    .await;
    for name in own_names() {
        check_named(&refusals(&caller, &name).await, &["one", "two"]);
    }
    assert_eq!(leased_on(&caller, "one").await, set(&["one"]));
    let pools_now = pools(&caller).await;
    assert!(pools_now.is_subset(&set(&["one", "two"])), "{pools_now:?}");
}

/// Each would grant the ports that the other one has granted.
#[tokio::test(flavor = "multi_thread")]
async fn one_machine_is_not_served_under_two_hosts() {
    let nats = Nats::start();
    let mut one = on_this_machine(&nats, "one");
    let args = ["--host", "two", PORTS[0], PORTS[1]];
    let refusal = Registry::spawn_on(&nats, &args).refusal();
    for word in ["as host one", "this one is two", "--host one", "--no-probe"] {
        assert_eq!(refusal.matches(word).count(), 1, "{word} in {refusal}");
    }
    one.kill();
    let two = on_this_machine(&nats, "two");
    let caller = Caller::of(&two).await;
    assert_eq!(leased_on(&caller, "two").await, set(&["two"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_served_under_a_new_name_keeps_the_old_one_as_an_alias() {
    let nats = Nats::start();
    let old = on_this_machine(&nats, &own_name());
    old.terminate();
    let mut old = old;
    assert!(old.ended().0.success());
    let new = on_this_machine(&nats, "new");
    let caller = Caller::of(&new).await;
    for name in own_names() {
        assert_eq!(leased_on(&caller, &name).await, set(&["new"]), "{name}");
    }
    // Also for one that runs elsewhere.
    let _there = elsewhere(&nats, "there");
    for name in own_names() {
        assert_eq!(leased_on(&caller, &name).await, set(&["new"]), "{name}");
    }
    // Until it is used again.
    let _old = elsewhere(&nats, &own_name());
    let own = own_name();
    until("every instance to know that", async || {
        (leased_on(&caller, &own).await == set(&[own.as_str()])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_named_an_alias_gets_ports_of_its_host() {
    let nats = Nats::start();
    let there = elsewhere(&nats, "there");
    let caller = Caller::of(&there).await;
    let requester = Uuid::new_v4();
    // Nobody knows yet what that is.
    let body = node(requester, "calc", json!({"host": own_name()}));
    caller.get("node.register", body).await;
    let _here = on_this_machine(&nats, "here");
    for _ in 0..ASKED {
        let lease_request =
            json!({"requester_id": requester, "protocol": "http", "node_id": "calc"});
        let lease = caller.get("port.lease", lease_request).await;
        assert_eq!(lease["host"], "here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_an_address_is_refused_with_the_right_one() {
    let nats = Nats::start();
    let here = elsewhere(&nats, "here");
    let caller = Caller::of(&here).await;
    for (host, right) in [
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("010.0.0.7", "8.0.0.7"),
        ("[::1]", "::1"),
        ("LOCALHOST", "localhost"),
        ("Build-7.LAB", "build-7.lab"),
        ("build-7.", "build-7"),
        ("fe80:0::1%eth0", "fe80::1"),
    ] {
        for refused in refusals(&caller, host).await {
            let message = refused.error["message"].as_str().unwrap();
            assert!(
                message.contains(&format!("write {right:?}")),
                "{host}: {message}"
            );
            assert_eq!(refused.detail("pointer"), "/host", "{host}");
        }
        let user = User::of(&here);
        for command in ["port lease", "port list", "pool list", "node list", "serve"] {
            let told = user
                .run(&format!("{command} --host {host}"))
                .exits(2)
                .stderr;
            assert!(
                told.contains(&format!("write {right:?}")),
                "{command} {host}: {told}"
            );
            assert!(told.contains("--host"), "{command} {host}: {told}");
        }
        let named = User::of(&here).with("ONEX_HOST", host);
        for command in ["port lease", "serve"] {
            let told = named.run(command).exits(2).stderr;
            assert!(
                told.contains(&format!("write {right:?}")),
                "{command} {host}: {told}"
            );
            assert!(told.contains("ONEX_HOST"), "{command} {host}: {told}");
        }
    }
    // One address in the two ways in which IPv6 can write it is one host.
    let lease = caller
        .lease(Uuid::new_v4(), json!({"host": "::ffff:192.0.2.7"}))
        .await;
    assert_eq!(lease["host"], "192.0.2.7");
    assert_eq!(pools(&caller).await, set(&["192.0.2.7", "here"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_is_called_is_in_the_log_and_bounded() {
    let nats = Nats::start();
    let here = on_this_machine(&nats, "here");
    let log = Log::of(&Caller::of(&here).await).await;
    let record = log.record("host.here").await.unwrap();
    let aliases: BTreeSet<&str> = record["host"]["aliases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for name in own_names() {
        assert!(aliases.contains(name.as_str()), "{record:#}");
    }
    for name in ["here", "localhost", "127.0.0.1", "::1"] {
        assert!(!aliases.contains(name), "{record:#}");
    }
    assert!(aliases.len() <= 128, "{record:#}");
}

/// What an instance says of its host outlasts it, for the retention time, and for as long as something is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_is_called_is_forgotten_in_time() {
    let nats = Nats::start();
    let there = ["--host", "there", "--no-probe", "--retention", "3"];
    let there = Registry::on(&nats, &[&there[..], &PORTS].concat());
    let caller = Caller::of(&there).await;
    let log = Log::of(&caller).await;
    let here = on_this_machine(&nats, "here");
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({"host": own_name(), "ttl": 60}));
    let lease = lease.await;
    assert_eq!(lease["host"], "here");
    drop(here);
    // Longer than the retention time.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(leased_on(&caller, &own_name()).await, set(&["here"]));
    let release = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    caller.get("port.release", release).await;
    until("it to be forgotten", async || {
        (!pools(&caller).await.contains("here")).then_some(())
    })
    .await;
    // The one that runs is not.
    assert!(log.record("host.there").await.is_some());
    let lease = caller
        .lease(Uuid::new_v4(), json!({"host": own_name()}))
        .await;
    assert_eq!(lease["host"], json!(own_name()));
    assert_eq!(lease["warnings"][0]["code"], "HOST_UNKNOWN", "{lease:#}");
    let _here = on_this_machine(&nats, "here");
    if let Some(address) = own_address() {
        assert_eq!(leased_on(&caller, &address).await, set(&["here"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_hosts_are_those_of_all_instances() {
    let nats = Nats::start();
    let args = ["--no-probe", "--known-hosts-only", "--host"];
    let one = Registry::on(&nats, &[&args[..], &["one"]].concat());
    let _two = Registry::on(&nats, &[&args[..], &["two"]].concat());
    let caller = Caller::of(&one).await;
    assert_eq!(leased_on(&caller, "two").await, set(&["two"]));
    assert_eq!(leased_on(&caller, "one").await, set(&["one"]));
    let lease_request = crate::harness::lease_request(Uuid::new_v4(), json!({"host": "three"}));
    caller
        .refused("port.lease", lease_request, ErrorCode::PoolNotFound)
        .await;
}

/// Leases every port of a host but one, which is live under another of its names; everywhere and by either name that
/// port is held, until its lease ends.
async fn holds_as_well(caller: &Caller, registry: &Registry, host: &str, held: &Value) {
    let (former, port) = (held["host"].as_str().unwrap(), &held["port"]);
    let exact = |host| {
        let more = json!({"host": host, "preferred_port": port, "exact": true});
        crate::harness::lease_request(Uuid::new_v4(), more)
    };
    for name in [former, host] {
        let lease_request = exact(name);
        let refused = caller.refused("port.lease", lease_request, ErrorCode::PortUnavailable);
        assert_eq!(refused.await.detail("state"), "held", "{name}");
        for (endpoint, body) in [
            ("port.list", json!({"host": name})),
            ("port.list", json!({"host": name, "port": port})),
            ("port.resolve", json!({"host": name, "name": "api"})),
        ] {
            let page = caller.see(endpoint, body.clone()).await;
            let items = page["items"].as_array().unwrap().iter();
            let ids: Vec<&Value> = items.map(|lease| &lease["lease_id"]).collect();
            assert_eq!(ids, [&held["lease_id"]], "{endpoint} {body}");
        }
    }
    let others = caller.lease(Uuid::new_v4(), json!({"host": host})).await;
    assert_ne!(&others["port"], port);
    let lease_request = crate::harness::lease_request(Uuid::new_v4(), json!({"host": host}));
    caller
        .refused("port.lease", lease_request, ErrorCode::ResourceExhausted)
        .await;
    // Pages go on where the one before ended.
    let mut all = Vec::new();
    let mut body = json!({"host": host, "limit": 1});
    loop {
        let page = caller.see("port.list", body.clone()).await;
        let items = page["items"].as_array().unwrap();
        all.extend(items.iter().map(|lease| lease["port"].clone()));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        body["cursor"] = json!(next);
    }
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.contains(port) && all.contains(&others["port"]));
    let told = registry.line("live under former names");
    assert!(told.contains("leases=1"), "{told}");
    let requester = held["requester_id"].as_str().unwrap();
    let release = format!("port release --host {former} --port {port} --requester {requester}");
    User::of(registry).run(&release).exits(0);
    let lease = caller.get("port.lease", exact(former)).await;
    assert_eq!((&lease["host"], &lease["port"]), (&json!(host), port));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_under_a_former_name_hold_the_ports_of_the_host() {
    let nats = Nats::start();
    let ports = ["--ports", "18940-18941"];
    let here = |name| Registry::on(&nats, &["--host", name, ports[0], ports[1]]);
    let mut old = here("old");
    let caller = Caller::of(&old).await;
    let held = json!({"host": "old", "preferred_port": 18940, "name": "api", "ttl": 3600});
    let held = caller.lease(Uuid::new_v4(), held).await;
    old.terminate();
    assert!(old.ended().0.success());
    let new = here("new");
    holds_as_well(&caller, &new, "new", &held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_under_an_alias_hold_the_ports_of_a_host_that_comes_later() {
    let nats = Nats::start();
    let ports = ["--ports", "18942-18943"];
    let other = ["--host", "other", "--no-probe", ports[0], ports[1]];
    let other = Registry::on(&nats, &other);
    let caller = Caller::of(&other).await;
    let own = own_name();
    let held = json!({"host": own, "preferred_port": 18942, "name": "api", "ttl": 3600});
    let held = caller.lease(Uuid::new_v4(), held).await;
    assert_eq!(held["host"], json!(own));
    let later = Registry::on(&nats, &["--host", "build-2", ports[0], ports[1]]);
    holds_as_well(&caller, &later, "build-2", &held).await;
}

#[test]
fn namespaces_on_one_machine_do_not_grant_the_same_ports_under_several_hosts() {
    let nats = Nats::start();
    let start = |namespace, host| {
        let args = ["--namespace", namespace, "--host", host];
        Registry::spawn_on(&nats, &[&args[..], &PORTS].concat())
    };
    let _one: Vec<Registry> = ["aa", "aa", "aa"]
        .map(|host| {
            let mut registry = start("one", host);
            registry.await_ready();
            registry
        })
        .into();
    for host in ["bb", &own_name(), "aa"] {
        let refusal = start("four", host).refusal();
        for word in ["namespace one grants", "on aa", PORTS[1], "--ports"] {
            assert_eq!(refusal.matches(word).count(), 1, "{word} in {refusal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_call_themselves_the_same_are_told_and_keep_their_names() {
    let nats = Nats::start();
    let mut there = elsewhere(&nats, "here");
    let caller = Caller::of(&there).await;
    let log = Log::of(&caller).await;
    let record = async || log.record("host.here").await.unwrap()["host"].clone();
    // As if another machine had said so.
    let say = async |said: Value| {
        let change = json!({"put": "host.here", "host": said});
        log.append(json!([change])).await;
    };
    // What the one that runs says of its machine.
    let mut said = record().await;
    said["port_space"] = json!("another");
    said["aliases"] = json!(["192.0.2.99"]);
    say(said).await;
    until("the names to be seen", async || {
        let lease_request =
            crate::harness::lease_request(Uuid::new_v4(), json!({"host": "192.0.2.99"}));
        let lease = caller.get("port.lease", lease_request).await;
        (lease["host"] == "here").then_some(())
    })
    .await;
    let here = on_this_machine(&nats, "here");
    let told = here.line("two machines call themselves");
    for word in ["here", "--host"] {
        assert!(told.contains(word), "{told}");
    }
    let aliases = record().await["aliases"].clone();
    let aliases = aliases.as_array().unwrap();
    for name in own_names().into_iter().chain(["192.0.2.99".to_owned()]) {
        assert!(aliases.contains(&json!(name)), "{name} in {aliases:?}");
    }
    // A second instance of the machine is none that needs a word.
    let also = on_this_machine(&nats, "here");
    assert!(!also.said().contains("two machines"), "{}", also.said());
    // And one that has gone needs no names.
    there.kill();
    drop((here, also));
    let mut said = record().await;
    said["port_space"] = json!("another");
    say(said).await;
    let last = on_this_machine(&nats, "here");
    assert!(!last.said().contains("two machines"), "{}", last.said());
    let aliases = record().await["aliases"].clone();
    let aliases = aliases.as_array().unwrap();
    assert!(!aliases.contains(&json!("192.0.2.99")), "{aliases:?}");
}

/// Answers as an instance would that says this of itself.
async fn stand_in(nats: &Nats, said: Value) -> async_nats::Client {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let asked = "onex.registry.v1.peer.instances";
    let mut asked = client.subscribe(asked).await.unwrap();
    let own = client.clone();
    tokio::spawn(async move {
        let id = Uuid::new_v4().simple().to_string();
        let metadata = crate::harness::with(json!({"registry_id": Uuid::new_v4()}), said);
        let answer =
            json!({"name": "onex-registry", "id": id, "version": "1.0.0", "metadata": metadata});
        while let Some(message) = asked.next().await {
            let reply = message.reply.unwrap();
            own.publish(reply, answer.to_string().into()).await.unwrap();
        }
    });
    client.flush().await.unwrap();
    client
}

/// One that started in the same moment, so that neither heard of the other at its start.
#[tokio::test(flavor = "multi_thread")]
async fn machines_of_the_same_name_that_start_at_once_are_told_as_well() {
    let nats = Nats::start();
    let here = on_this_machine(&nats, "here");
    assert!(!here.said().contains("two machines"), "{}", here.said());
    let said = json!({"namespace": "", "host": "here", "port_space": "another"});
    let _other = stand_in(&nats, said).await;
    let told = here.line("two machines call themselves");
    for word in ["here", "--host"] {
        assert!(told.contains(word), "{told}");
    }
    // Once, and not each time that it looks.
    let _third = elsewhere(&nats, "third");
    let caller = Caller::of(&here).await;
    until("it to have looked again", || async {
        let shown = caller.get("describe", json!({})).await;
        let known = shown["instances"].as_array().unwrap().len();
        (shown["registry"]["host"] == "here" && known == 3).then_some(())
    })
    .await;
    let told = here.said().matches("two machines").count();
    assert_eq!(told, 1, "{}", here.said());
}

/// Each host that may be known can have an agent.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_of_a_thousand_hosts_are_all_heard() {
    const HOSTS: usize = 1_024;
    let nats = Nats::start();
    let registry = elsewhere(&nats, "here");
    let agents = async_nats::connect(nats.url()).await.unwrap();
    let mut asked = agents
        .subscribe("onex.registry.v1.peer.instances")
        .await
        .unwrap();
    // The one whose answer comes last tries ports.
    let last = format!("host-{}", HOSTS - 1);
    let mut probes = agents
        .subscribe(format!("onex.registry.v1.internal.probe.{last}"))
        .await
        .unwrap();
    let own = agents.clone();
    tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            let inbox = message.reply.unwrap();
            for n in 0..HOSTS {
                let answer = json!({
                    "name": "onex-agent", "id": format!("agent{n}"), "version": "1.0.0",
                    "metadata": {"namespace": "", "host": format!("host-{n}"), "port_space": format!("machine-{n}")},
                });
                let answer = answer.to_string().into();
                own.publish(inbox.clone(), answer).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Some(message) = probes.next().await {
            let found = json!({"results": ["bindable"]}).to_string();
            let inbox = message.reply.unwrap();
            agents.publish(inbox, found.into()).await.unwrap();
        }
    });
    let caller = Caller::of(&registry).await;
    until("the last agent to be asked", || async {
        let lease = caller.lease(Uuid::new_v4(), json!({"host": last})).await;
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        caller.get("port.release", mine).await;
        (lease["availability"] == "verified").then_some(())
    })
    .await;
}

/// Registries that started at once, so that neither heard of the other at its start: the ids of starts grow with time.
async fn only_the_first_grants(caller: &Caller, nats: &Nats, said: Value, words: &[&str]) {
    let requester = Uuid::new_v4();
    let held = caller
        .lease(requester, json!({"host": "here", "ttl": 60}))
        .await;
    let later = json!({"registry_id": "ffffffff-ffff-7fff-bfff-ffffffffffff"});
    let later = stand_in(nats, crate::harness::with(said.clone(), later)).await;
    let known = async |count: usize| {
        let shown = caller.get("describe", json!({})).await;
        (shown["instances"].as_array().unwrap().len() == count).then_some(())
    };
    let of_registry = usize::from(said["namespace"] == "");
    until("the later one to be heard of", || known(1 + of_registry)).await;
    assert_eq!(leased_on(caller, "here").await, set(&["here"]));
    later.drain().await.unwrap();

    let first = json!({"registry_id": "00000000-0000-7000-8000-000000000000"});
    let first = stand_in(nats, crate::harness::with(said, first)).await;
    let refused = until("the one that was first to be heard of", async || {
        let lease_request = crate::harness::lease_request(Uuid::new_v4(), json!({"host": "here"}));
        match caller.ask("port.lease", lease_request).await {
            Ok(lease) => {
                let release =
                    json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
                caller.get("port.release", release).await;
                None
            }
            Err(refused) => Some(refused),
        }
    })
    .await;
    assert!(refused.is(ErrorCode::ResourceExhausted), "{refused:?}");
    let message = refused.error["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word} in {message}");
    }
    // Who holds a port goes on, and other hosts have nothing to do with it.
    let mine = json!({"requester_id": requester, "lease_id": held["lease_id"]});
    caller.get("port.heartbeat", mine.clone()).await;
    assert_eq!(leased_on(caller, "elsewhere").await, set(&["elsewhere"]));
    first.drain().await.unwrap();
    until("ports to be granted again", async || {
        let lease_request = crate::harness::lease_request(Uuid::new_v4(), json!({"host": "here"}));
        caller.ask("port.lease", lease_request).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_namespaces_that_start_at_once_with_the_same_ports_only_the_first_grants() {
    let nats = Nats::start();
    let here = on_this_machine(&nats, "here");
    let caller = Caller::of(&here).await;
    let said = json!({"namespace": "other", "host": "here", "ranges": "18990-19010"});
    let words = [
        "namespace other grants 18990-19010 on here",
        "was there first",
    ];
    only_the_first_grants(&caller, &nats, said, &words).await;
    let told = here.line("another registry grants the same ports");
    assert!(told.contains(words[0]), "{told}");
    here.line("ports are granted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_hosts_that_start_at_once_on_one_machine_only_the_first_grants() {
    let nats = Nats::start();
    let here = on_this_machine(&nats, "here");
    let caller = Caller::of(&here).await;
    let shown = caller.micro("PING").await;
    let port_space = shown[0]["metadata"]["port_space"].clone();
    let said = json!({"namespace": "", "host": "there", "port_space": port_space});
    let words = ["as host there", "this one is here", "was there first"];
    only_the_first_grants(&caller, &nats, said, &words).await;
}

/// A client that may not listen where instances ask cannot pass for one.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_service_discovery_makes_nobody_an_instance() {
    let nats = Nats::start();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut asked = client.subscribe("$SRV.>").await.unwrap();
    let own = client.clone();
    tokio::spawn(async move {
        let metadata = json!({"namespace": "other", "host": "here", "ranges": "1-65535"});
        let answer = json!({"type": "io.nats.micro.v1.ping_response", "name": "onex-registry",
            "id": "00000000000070008000000000000000", "version": "1.0.0", "metadata": metadata});
        while let Some(message) = asked.next().await {
            let Some(reply) = message.reply else { continue };
            own.publish(reply, answer.to_string().into()).await.unwrap();
        }
    });
    round_trip(&client).await;
    let here = on_this_machine(&nats, "here");
    let caller = Caller::of(&here).await;
    assert_eq!(leased_on(&caller, "here").await, set(&["here"]));
}

/// One answers to the other before both take requests, or not: neither takes the other's name away.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_once_on_one_machine_are_not_renamed() {
    let nats = Nats::start();
    let names = ["h1", "h2", "h3", "h4", "h5", "h6"];
    let mut all = names.map(|name| {
        let args = ["--host", name, PORTS[0], PORTS[1]];
        Registry::spawn_on(&nats, &args)
    });
    let url = nats.url();
    let mut serving = Vec::new();
    for (registry, name) in all.iter_mut().zip(names) {
        until("it to be ready or refused", async || {
            let said = registry.said();
            (said.contains(" ready ") || said.contains("onex serve: ")).then_some(())
        })
        .await;
        let said = registry.said();
        assert!(!said.contains("has another name now"), "{said}");
        if said.contains(" ready ") {
            serving.push(name);
        } else {
            assert!(said.contains("grants the ports of this machine"), "{said}");
        }
    }
    // Of those that serve one grants.
    let caller = Caller::connect(&url).await;
    until("the others to stop granting", async || {
        let mut granting = 0;
        for name in &serving {
            let lease_request =
                crate::harness::lease_request(Uuid::new_v4(), json!({"host": name}));
            granting += usize::from(caller.ask("port.lease", lease_request).await.is_ok());
        }
        (granting == 1).then_some(())
    })
    .await;
}
