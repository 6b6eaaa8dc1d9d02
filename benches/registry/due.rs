//! Many leases that are due in the same second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::bus::{Bus, Setting};
use super::harness::{Caller, until};
use super::load::Sample;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Pair, Row};

/// What a registry adds to a TTL, beside a thousandth of it.
const SLACK: Duration = Duration::from_millis(500);
/// How long others are measured before it is looked whether that is over.
const SLICE: Duration = Duration::from_millis(200);
/// Leases that each of the others renews.
const RENEWED: usize = 10;

/// One round.
struct Measured {
    /// Other requests, before and meanwhile.
    others: (Sample, Sample),
    /// From when the last one was due until nobody saw any, and until the last end was written.
    unseen: f64,
    written: f64,
}

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let bus = Bus::start(Setting::Always, plan).await;
    let others = Leasing::on(&bus.caller, "others", 0);
    let others = Held::fill(&bus, &bus.caller, &others, plan.many * RENEWED).await;
    let once = async || once(&bus, plan, &others).await;
    let rounds = plan.long_rounds("leases due at once", once).await;
    others.release(&bus).await;
    let of = |f: fn(&Measured) -> f64| rounds.iter().map(f).collect::<Vec<f64>>();
    let at_most = |ratio| Some(Aim::AtMost(ratio));
    let name = format!("{} leases due in a second, always", plan.due);
    let mut rows = vec![
        Row::new(format!("{name}: seen by nobody"), 1).beside(
            "seconds after they are due",
            of(|round| round.unseen),
            at_most(0.1),
        ),
        Row::new(format!("{name}: ends written"), 1).beside(
            "seconds after they are due",
            of(|round| round.written),
            at_most(5.0),
        ),
    ];
    let pair = Pair {
        yardstick: "port.heartbeat, before".to_owned(),
        what: "port.heartbeat, meanwhile".to_owned(),
        callers: plan.many,
        to: "p99 before",
        of: |sample| sample.percentile(99),
        aim: Some(Aim::AtMost(3.0)),
    };
    let others = rounds.into_iter().map(|round| round.others);
    rows.extend(pair.rows(&others.collect::<Vec<_>>()));
    rows
}

async fn once(bus: &Bus, plan: &Plan, others: &Held) -> Measured {
    // A host of its own each time: ports rest for a while after such an end.
    let host = format!("due-{}", Uuid::new_v4());
    let usual = others.renew(bus, plan.window).await;
    let due = Instant::now() + plan.due_after;
    let leasing = Leasing::on(&bus.caller, &host, 0).due(due);
    Held::fill(bus, &bus.caller, &leasing, plan.due).await;
    tokio::time::sleep_until((due + SLACK).into()).await;
    // A TTL is whole seconds, rounded up.
    let last = due + Duration::from_secs(1) + plan.due_after / 1_000 + SLACK;
    let caller = bus.caller.clone();
    let watching = tokio::spawn(async move { watch(&caller, &host, last).await });
    let mut slices = Vec::new();
    while !watching.is_finished() {
        slices.push(others.renew(bus, SLICE).await);
    }
    let (unseen, written) = watching.await.unwrap();
    bus.settled().await;
    Measured {
        others: (usual, Sample::together(&slices)),
        unseen,
        written,
    }
}

/// How long after `last` no lease is seen on that host, and none is held.
async fn watch(caller: &Caller, host: &str, last: Instant) -> (f64, f64) {
    let about = json!({"host": host, "limit": 1});
    let look = async |endpoint: &str, ended: fn(&Value) -> bool| {
        until("the leases to end", async || {
            let page = caller.get(endpoint, about.clone()).await;
            ended(&page).then_some(())
        })
        .await;
        Instant::now().saturating_duration_since(last).as_secs_f64()
    };
    let unseen = look("port.list", |page| page["items"] == json!([])).await;
    let written = look("pool.list", |page| page["items"][0]["held"] == 0).await;
    (unseen, written)
}
