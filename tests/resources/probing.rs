//! Ports that are tried by whoever runs on their host: an agent, or another instance.

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures::StreamExt as _;
use onex_registry::protocol::{error::ErrorCode, names::PEER_INSTANCES};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::harness::{Caller, Nats, Registry, UNTRIED, round_trip, until};

/// Longer than an instance waits for what is found elsewhere, and shorter than anything else that could be waited for.
const SOON: Duration = Duration::from_millis(1_500);

/// So many requests in a row do not all go to the same one of two instances, but once in a million times.
const IN_A_ROW: usize = 20;

/// An instance that is not on the network of its host.
fn instance(nats: &Nats, ports: &str) -> Registry {
    Registry::on(nats, &[&UNTRIED[..], &["--ports", ports]].concat())
}

async fn lease_there(caller: &Caller, more: Value) -> Value {
    let mut wanted = json!({"host": "there"});
    let members = wanted.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    caller.lease(Uuid::new_v4(), wanted).await
}

/// Waits until ports there are tried.
async fn until_tried(caller: &Caller) {
    until_tried_in(caller, "tcp").await;
}

async fn until_tried_in(caller: &Caller, transport: &str) {
    until("ports to be tried", async || {
        let lease = lease_there(caller, json!({"transport": transport})).await;
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        caller.get("port.release", mine).await;
        (lease["availability"] == "verified").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_tries_the_ports_of_its_host() {
    let nats = Nats::start();
    let registry = instance(&nats, "19240-19247");
    let caller = Caller::of(&registry).await;
    let before = lease_there(&caller, json!({"preferred_port": 19_240, "exact": true})).await;
    assert_eq!(before["availability"], "unverified");
    assert_eq!(before.get("verified_on"), None);

    let mut agent = Registry::agent(&nats, "there");
    until_tried(&caller).await;
    let strangers = [19_241, 19_242, 19_243];
    let strangers = strangers.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let _udp = UdpSocket::bind("127.0.0.1:19244").unwrap();
    let exact = json!({
        "requester_id": Uuid::new_v4(), "protocol": "http", "host": "there", "preferred_port": 19_241, "exact": true,
    });
    let refused = caller.refused("port.lease", exact, ErrorCode::PortUnavailable);
    assert_eq!(refused.await.detail("state"), "in_use");

    // It says who that is, too.
    let asked = json!({"port": 19_243, "host": "there"});
    let seen = caller.see("port.explain", asked.clone()).await;
    assert_eq!(seen["state"], "in_use", "{seen}");
    assert_eq!(seen["in_use"][0]["pid"], std::process::id());
    assert!(seen["next_free"].as_u64() > Some(19_243), "{seen}");

    // Of a set the worst port counts: 19244 is free in one port space only.
    let set = json!({"count": 2, "contiguous": true, "transport": "both"});
    let lease = lease_there(&caller, set).await;
    assert!(lease["ports"][0].as_u64() > Some(19_244), "{lease}");
    assert_eq!(lease["availability"], "verified");
    assert_eq!(lease["verified_on"], "there");

    // What a lease gets in exchange is tried, too.
    drop(strangers);
    let stranger = TcpListener::bind(("127.0.0.1", 19_242)).unwrap();
    let one = lease_there(&caller, json!({})).await;
    let rebind = json!({
        "requester_id": one["requester_id"], "lease_id": one["lease_id"], "port": one["port"],
    });
    let after = caller.get("port.rebind", rebind).await;
    assert_ne!(after["port"], 19_242);
    assert_eq!(after["verified_on"], "there");
    drop(stranger);

    // One that stands still holds nobody up for long, and one that is gone for less.
    agent.pause();
    let since = Instant::now();
    let transport = json!({"transport": "udp"});
    let unsure = lease_there(&caller, transport.clone()).await;
    assert_eq!(unsure["availability"], "unverified");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    agent.resume();
    until_tried_in(&caller, "udp").await;
    agent.kill();
    let unseen = caller.see("port.explain", asked).await;
    assert_eq!(unseen["in_use"], json!(null));
    let since = Instant::now();
    let unsure = lease_there(&caller, transport).await;
    assert_eq!(unsure["availability"], "unverified");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_try_the_ports_of_their_hosts_for_each_other() {
    let nats = Nats::start();
    // On one machine, so the other one must not say which that is.
    let registry = instance(&nats, "19250-19253");
    let there = Registry::on(&nats, &["--host", "there", "--ports", "19250-19253"]);
    let caller = Caller::of(&registry).await;
    let stranger = TcpListener::bind("127.0.0.1:19250").unwrap();
    until(
        "ports to be tried, whichever of the two answers",
        async || {
            let mut verified = 0;
            for _ in 0..IN_A_ROW {
                let lease = lease_there(&caller, json!({})).await;
                let own =
                    json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
                caller.get("port.release", own).await;
                if lease["verified_on"] == "there" {
                    assert_ne!(lease["port"], 19_250);
                    verified += 1;
                }
            }
            (verified == IN_A_ROW).then_some(())
        },
    )
    .await;
    drop((stranger, there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_the_ports_of_its_machine_tried() {
    let nats = Nats::start();
    let registry = instance(&nats, "19255-19259");
    let _agent = Registry::agent(&nats, "here");
    let caller = Caller::of(&registry).await;
    let lease = until("its own ports to be tried", async || {
        let lease = caller.lease(Uuid::new_v4(), json!({})).await;
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        caller.get("port.release", mine).await;
        (lease["availability"] == "verified").then_some(lease)
    });
    assert_eq!(lease.await["verified_on"], "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_outlives_its_server_and_refuses_another_name_of_a_machine() {
    let mut nats = Nats::start();
    let registry = instance(&nats, "19260-19269");
    let caller = Caller::of(&registry).await;
    let _agent = Registry::agent(&nats, "there");
    until_tried(&caller).await;
    nats.kill();
    nats.start_again();
    caller.await_answer().await;
    until_tried(&caller).await;

    let (status, said) = Registry::spawn_agent(&nats, &["--host", "elsewhere"]).ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("--host there"), "{said}");
}

/// So many looks one after another take longer than an instance waits.
const LOOKS: usize = 1_000;

/// Passes for an agent of host `there`, as whoever may listen and publish there can.
struct Pretender(JoinHandle<()>);

impl Pretender {
    /// It says that of itself besides, and gives that answer to each question of ports, after `pause`.
    async fn answering(
        nats: &Nats,
        said: Value,
        pause: Duration,
        answer: impl Fn(Value) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let client = Caller::connect(&nats.url()).await.client;
        let mut metadata = json!({"namespace": "", "host": "there"});
        let members = metadata.as_object_mut().unwrap();
        members.extend(said.as_object().unwrap().clone());
        let identity =
            json!({"name": "onex-agent", "id": "x", "version": "1.0.0", "metadata": metadata});
        let mut who = client.subscribe(PEER_INSTANCES).await.unwrap();
        let mut asked: Subscriber = client.subscribe(PROBES_THERE).await.unwrap();
        round_trip(&client).await;
        Self(tokio::spawn(async move {
            loop {
                let (to, body) = tokio::select! {
                    Some(message) = who.next() => (message.reply, identity.to_string().into_bytes()),
                    Some(message) = asked.next() => {
                        let question = serde_json::from_slice(&message.payload).unwrap();
                        tokio::time::sleep(pause).await;
                        (message.reply, answer(question))
                    }
                };
                client.publish(to.unwrap(), body.into()).await.unwrap();
            }
        }))
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where others ask for the ports of host `there`.
const PROBES_THERE: &str = "onex.registry.v1.internal.probe.there";

/// As an agent answers that can bind everything, and sees that many sockets.
fn as_asked(question: &Value, listeners: usize) -> Value {
    if let Some(ports) = question["try"].as_array() {
        let results: Vec<&str> = ports.iter().map(|_| "bindable").collect();
        return json!({"results": results});
    }
    let listener = json!({"address": "127.0.0.1", "pid": 77, "command": "python3"});
    json!({"listeners": vec![listener; listeners], "used": [], "ephemeral": null})
}

/// As one that cannot read its kernel's tables, in a container for instance.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_asked_that_cannot_tell_which_kernel_it_runs_on() {
    let nats = Nats::start();
    let registry = instance(&nats, "19270-19279");
    let caller = Caller::of(&registry).await;
    let answer = |question| as_asked(&question, 1).to_string().into_bytes();
    let _agent = Pretender::answering(&nats, json!({}), Duration::ZERO, answer).await;
    // Nobody warns of a host that an agent has named: at the first lease there others have been asked who they are.
    let port = json!({"port": 19_270, "host": "there"});
    until("the host to be looked at", async || {
        let seen = caller.see("port.explain", port.clone()).await;
        seen["in_use"].is_array().then_some(())
    })
    .await;
    let first = lease_there(&caller, json!({})).await;
    assert_eq!(first["availability"], "verified");
    assert_eq!(first.get("warnings"), None, "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_or_comes_late_leaves_a_port_unverified() {
    type Answer = fn(Value) -> Vec<u8>;
    let nats = Nats::start();
    let registry = instance(&nats, "19270-19279");
    let caller = Caller::of(&registry).await;
    let good: Answer = |question| as_asked(&question, 16).to_string().into_bytes();
    let late = Duration::from_millis(400);
    let wrong: [(&str, Duration, Answer); 5] = [
        ("late", late, good),
        ("no JSON", Duration::ZERO, |_| b"\xff{".to_vec()),
        ("nothing", Duration::ZERO, |_| Vec::new()),
        ("too few and too many", Duration::ZERO, |question| {
            let results = ["bindable", "bindable"];
            match question["try"].as_array() {
                Some(_) => json!({"results": results}).to_string().into_bytes(),
                None => as_asked(&question, 17).to_string().into_bytes(),
            }
        }),
        ("too many ports in use", Duration::ZERO, |question| {
            let mut answer = as_asked(&question, 1);
            answer["used"] = json!((1..=8_193).collect::<Vec<u16>>());
            match question["try"].as_array() {
                Some(_) => json!({"results": ["free"]}).to_string().into_bytes(),
                None => answer.to_string().into_bytes(),
            }
        }),
    ];
    let asked = json!({"port": 19_270, "host": "there"});
    for (what, pause, answer) in wrong {
        let right = Pretender::answering(&nats, json!({}), Duration::ZERO, good).await;
        until_tried(&caller).await;
        let seen = caller.see("port.explain", asked.clone()).await;
        assert_eq!(seen["in_use"].as_array().unwrap().len(), 16, "{seen}");
        drop(right);
        let _wrong = Pretender::answering(&nats, json!({}), pause, answer).await;
        let since = Instant::now();
        let lease = lease_there(&caller, json!({})).await;
        assert_eq!(lease["availability"], "unverified", "{what}: {lease}");
        let seen = caller.see("port.explain", asked.clone()).await;
        assert_eq!(seen["in_use"], json!(null), "{what}");
        assert!(since.elapsed() < SOON, "{what}: {:?}", since.elapsed());
    }
}

/// Of two machines with one name either would be asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_refused_where_another_machine_has_its_host() {
    let nats = Nats::start();
    let other = json!({"port_space": "another"});
    let answer = |_| Vec::new();
    let other = Pretender::answering(&nats, other, Duration::ZERO, answer).await;
    let (status, said) = Registry::spawn_agent(&nats, &["--host", "there"]).ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another machine is host there"), "{said}");
    // An instance starts, and says so.
    let registry = Registry::on(&nats, &["--host", "there", "--ports", "19280-19289"]);
    registry.line("two machines call themselves there");
    drop(other);
    let _agent = Registry::agent(&nats, "there");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_do_not_wait_for_those_who_look_at_ports() {
    let nats = Nats::start();
    let registry = instance(&nats, "19290-19299");
    let caller = Caller::of(&registry).await;
    let _agent = Registry::agent(&nats, "there");
    until_tried(&caller).await;
    // Who uses a port takes a look at all processes.
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port();
    let look = json!({"look": {"transport": "tcp", "port": port}}).to_string();
    let mut seen = caller.client.subscribe("_INBOX.seen").await.unwrap();
    for _ in 0..LOOKS {
        let publish =
            caller
                .client
                .publish_with_reply(PROBES_THERE, "_INBOX.seen", look.clone().into());
        publish.await.unwrap();
    }
    let lease = lease_there(&caller, json!({})).await;
    assert_eq!(lease["availability"], "verified", "{lease}");
    let seen = seen.next().await.unwrap();
    let seen: Value = serde_json::from_slice(&seen.payload).unwrap();
    assert_eq!(seen["listeners"][0]["pid"], std::process::id(), "{seen}");
}

/// Whoever may publish where an agent is asked can send anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_questions_only_and_only_to_inboxes() {
    let nats = Nats::start();
    let args = ["--host", "there", "--inbox-prefix", "_MINE"];
    let agent = Registry::spawn_agent(&nats, &args);
    agent.line("ready: trying ports");
    let client = Caller::connect(&nats.url()).await.client;
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = json!({"transport": "tcp", "port": used.local_addr().unwrap().port()});
    let asked = |times: usize| json!({"try": vec![port.clone(); times]}).to_string();
    let mut answers = client.subscribe("_INBOX.asked").await.unwrap();
    let mut own = client.subscribe("_MINE.asked").await.unwrap();
    let mut elsewhere = client.subscribe("elsewhere.asked").await.unwrap();
    for (question, to) in [
        ("{".to_owned(), "_INBOX.asked"),
        (String::new(), "_INBOX.asked"),
        (json!({"bind": [port]}).to_string(), "_INBOX.asked"),
        (
            json!({"try": [{"transport": "tcp", "port": 0}]}).to_string(),
            "_INBOX.asked",
        ),
        // A lease of the most ports has as many, in both port spaces.
        (asked(129), "_INBOX.asked"),
        (asked(1), "elsewhere.asked"),
        (asked(2), "_MINE.asked"),
        (asked(128), "_INBOX.asked"),
    ] {
        let question = client.publish_with_reply(PROBES_THERE, to, question.into());
        question.await.unwrap();
    }
    let results = |body: &[u8]| -> Vec<String> {
        let mut reply: Value = serde_json::from_slice(body).unwrap();
        serde_json::from_value(reply["results"].take()).unwrap()
    };
    let answer = answers.next().await.unwrap();
    assert_eq!(results(&answer.payload), vec!["in_use"; 128]);
    assert_eq!(results(&own.next().await.unwrap().payload), ["in_use"; 2]);
    let none = tokio::time::timeout(Duration::ZERO, elsewhere.next()).await;
    assert!(none.is_err(), "{none:?}");
}
