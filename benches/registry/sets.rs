//! What is done with the ports of a lease beside leasing one.

use async_nats::{Message, Subject};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bus::{Bus, Setting};
use super::harness::Caller;
use super::load::{Repeated, Sample, Shot, Work, drive};
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Pair, Row};
use super::responder::ECHO;

/// Ports of a set.
const SET: usize = 8;
/// As many states of a port as are told: a grant and an end each time.
const STATES: usize = 10;

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let bus = Bus::start(Setting::Lazy, plan).await;
    let mut rows = Vec::new();
    for callers in [1, plan.many] {
        let once = async || {
            (
                lease(&bus, callers, 1, plan).await,
                lease(&bus, callers, SET, plan).await,
            )
        };
        let rounds = plan.rounds(&format!("sets, {callers} callers"), once).await;
        let pair = Pair {
            yardstick: "port.lease, one port".to_owned(),
            what: format!("port.lease, a set of {SET}"),
            callers,
            to: "rate of one port",
            of: Sample::rate,
            aim: None,
        };
        rows.extend(pair.rows(&rounds));
    }
    let once = async || (lease(&bus, 1, 1, plan).await, rebind(&bus, plan).await);
    let rounds = plan.rounds("rebind", once).await;
    let pair = time_of(
        "port.rebind",
        "port.lease, beside rebind",
        "p50 of port.lease",
    );
    rows.extend(pair.rows(&rounds));
    let once = async || explain(&bus, plan).await;
    let rounds = plan.rounds("explain", once).await;
    let what = "port.explain, with ten states";
    let pair = time_of(what, "echo, beside explain", "p50 of an echo");
    rows.extend(pair.rows(&rounds));
    rows
}

/// How long one caller's requests take.
fn time_of(what: &str, yardstick: &str, to: &'static str) -> Pair {
    Pair {
        yardstick: yardstick.to_owned(),
        what: what.to_owned(),
        callers: 1,
        to,
        of: |sample| sample.percentile(50),
        aim: None,
    }
}

/// An echo, and a port of which ten states are told.
async fn explain(bus: &Bus, plan: &Plan) -> (Sample, Sample) {
    let mut port = json!(null);
    for _ in 0..STATES / 2 {
        let wanted = json!({"name": "explained"});
        let lease = bus.caller.lease(Uuid::nil(), wanted).await;
        port = lease["port"].clone();
        let claim = json!({"requester_id": Uuid::nil(), "lease_id": lease["lease_id"]});
        bus.caller.get("port.release", claim).await;
    }
    bus.settled().await;
    let asked = json!({"port": port}).to_string();
    let echo = Repeated::new(ECHO, asked.clone());
    let (echo, _) = drive(bus.clients(1), vec![echo], plan.window).await;
    let explain = Repeated::new(&bus.caller.subject("port.explain"), asked);
    let (explain, _) = drive(bus.clients(1), vec![explain], plan.window).await;
    (echo, explain)
}

async fn lease(bus: &Bus, callers: usize, ports: usize, plan: &Plan) -> Sample {
    let leasing = (0..callers).map(|_| Leasing::sets(&bus.caller, callers, ports));
    let (sample, held) = Held::lease(bus, &bus.caller, leasing.collect(), plan.window).await;
    held.release(bus).await;
    bus.settled().await;
    sample
}

async fn rebind(bus: &Bus, plan: &Plan) -> Sample {
    let rebinding = Rebinding::new(&bus.caller).await;
    let (sample, _) = drive(bus.clients(1), vec![rebinding], plan.window).await;
    bus.settled().await;
    sample
}

/// Another port for the one of a lease, again and again. Those that are given up stay quarantined.
struct Rebinding {
    subject: Subject,
    lease: Value,
}

impl Rebinding {
    async fn new(caller: &Caller) -> Self {
        Self {
            subject: caller.subject("port.rebind").into(),
            lease: caller.lease(Uuid::new_v4(), json!({})).await,
        }
    }
}

impl Work for Rebinding {
    fn next(&mut self) -> Option<Shot> {
        let Self { subject, lease } = self;
        let body = json!({
            "requester_id": lease["requester_id"], "lease_id": lease["lease_id"], "port": lease["port"],
        });
        Some(Shot::new(subject.clone(), body.to_string()))
    }

    fn answered(&mut self, message: &Message) {
        let lease: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(lease["lease_id"], self.lease["lease_id"], "{lease}");
        self.lease = lease;
    }
}
