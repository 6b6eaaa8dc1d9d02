//! A registry with many leases and nodes.

use std::time::{Duration, Instant};

use async_nats::Subject;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::StreamExt as _;
use serde_json::json;
use uuid::Uuid;

use super::bus::{Bus, Setting};
use super::harness::{Caller, Log, PATIENCE, node};
use super::load::{Shot, Work, drive};
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Pair, Row};

/// Leases on one host, at most: its pool has a few more.
const HOST_LEASES: usize = 25_000;
/// Leases that each caller renews in the registry that has few.
const RENEWED: usize = 10;
/// Messages that are asked for at once, as a registry does that starts.
const BATCH: usize = 1_500;

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let mut bus = Bus::start(Setting::Lazy, plan).await;
    let empty = bus.add("empty", "30000-30999");
    announce(&bus, plan).await;
    bus.settled().await;
    let before = bus.memory();
    let mut left = plan.leases;
    let mut held = Vec::new();
    while left > 0 {
        let leases = left.min(HOST_LEASES);
        eprintln!("{left} leases to grant");
        let leasing = Leasing::on(&bus.caller, &format!("host-{left}"), 0);
        held.push(Held::fill(&bus, &bus.caller, &leasing, leases).await);
        left -= leases;
    }
    bus.settled().await;
    let grown = bus.memory().saturating_sub(before);
    let few = Leasing::on(&empty, "few", 0);
    let of_few = Held::fill(&bus, &empty, &few, plan.many * RENEWED).await;
    bus.settled().await;
    let beats = beats(&bus, plan, &of_few, &held[0]).await;
    let mut rows = vec![memory(plan, grown)];
    rows.extend(beats);
    rows.push(start(&mut bus, plan).await);
    rows
}

/// Of one lease.
#[expect(clippy::cast_precision_loss, reason = "there are not so many")]
fn memory(plan: &Plan, grown: u64) -> Row {
    let kib = grown as f64 / 1024.0 / plan.leases as f64;
    Row::new(format!("memory of {} leases", plan.leases), plan.many).beside(
        "KiB a lease",
        vec![kib],
        Some(Aim::AtMost(1.0)),
    )
}

async fn beats(bus: &Bus, plan: &Plan, few: &Held, many: &Held) -> Vec<Row> {
    let once = async || {
        (
            few.renew(bus, plan.window).await,
            many.renew(bus, plan.window).await,
        )
    };
    let rounds = plan.rounds("heartbeats of many leases", once).await;
    let pair = Pair {
        yardstick: "port.heartbeat, registry of few leases".to_owned(),
        what: format!("port.heartbeat, registry of {}", plan.leases),
        callers: plan.many,
        to: "p99 of few",
        of: |sample| sample.percentile(99),
        aim: Some(Aim::AtMost(2.0)),
    };
    pair.rows(&rounds)
}

/// How long a start takes beside reading what it reads.
async fn start(bus: &mut Bus, plan: &Plan) -> Row {
    let once = async || {
        let took = bus.start_again();
        let (bytes, read) = read(bus).await;
        eprintln!("ready in {took:?}; {bytes} bytes are read in {read:?}");
        took.as_secs_f64() / read.as_secs_f64()
    };
    let times = plan.long_rounds("start", once).await;
    let name = format!("start with {} leases, {} nodes", plan.leases, plan.nodes);
    Row::new(name, 1).beside("time to read the same", times, Some(Aim::AtMost(2.0)))
}

/// Reads the log from its newest snapshot on, as messages: how much that is, and how long it takes.
async fn read(bus: &Bus) -> (usize, Duration) {
    let log = Log::of(&bus.caller).await;
    let (first, last) = (log.snapshot().await, log.last().await);
    let stream = bus.context().get_stream("KV_onex-registry").await.unwrap();
    let began = Instant::now();
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: first,
        },
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let messages = consumer.stream().max_messages_per_batch(BATCH).messages();
    let mut messages = messages.await.unwrap();
    let mut bytes = 0;
    loop {
        let message = messages.next().await.unwrap().unwrap();
        bytes += message.length;
        if message.info().unwrap().stream_sequence >= last {
            return (bytes, began.elapsed());
        }
    }
}

async fn announce(bus: &Bus, plan: &Plan) {
    let callers = plan.many.min(plan.nodes);
    let announcing = (0..callers).map(|n| Announcing::new(&bus.caller, n, callers, plan.nodes));
    drive(bus.clients(callers), announcing.collect(), PATIENCE).await;
    let said = bus.caller.get("describe", json!({})).await;
    assert_eq!(said["counts"]["nodes"], plan.nodes);
}

/// Announces every so manieth node.
struct Announcing {
    subject: Subject,
    nodes: std::iter::StepBy<std::ops::Range<usize>>,
}

impl Announcing {
    fn new(caller: &Caller, first: usize, step: usize, nodes: usize) -> Self {
        Self {
            subject: caller.subject("node.register").into(),
            nodes: (first..nodes).step_by(step),
        }
    }
}

impl Work for Announcing {
    fn next(&mut self) -> Option<Shot> {
        let n = self.nodes.next()?;
        let body = node(Uuid::new_v4(), &format!("node-{n}"), json!({"ttl": 86_400}));
        Some(Shot::new(self.subject.clone(), body.to_string()))
    }
}
