//! Many leases that are due in the same second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bus::{Bus, Setting};
use super::harness::{Caller, until};
use super::load::Sample;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Row};

/// What a registry adds to a TTL, beside a thousandth of it.
const SLACK: Duration = Duration::from_millis(500);
/// How long others are measured before it is looked whether that is over.
const SLICE: Duration = Duration::from_millis(200);

/// One round.
struct Measured {
    usual: Sample,
    meanwhile: Sample,
    /// From when the last one was due until nobody saw any, and until the last end was written.
    unseen: f64,
    written: f64,
}

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let bus = Bus::start(Setting::Always, plan).await;
    let leasing = Leasing::many(&bus.caller, plan.many);
    let (_, others) = Held::lease(&bus, &bus.caller, leasing, plan.window).await;
    let mut rounds = Vec::new();
    for n in plan.long_rounds("leases due at once") {
        rounds.push(once(&bus, plan, &others, &format!("due-{n}")).await);
    }
    others.release(&bus).await;
    let of = |f: fn(&Measured) -> f64| rounds.iter().map(f).collect::<Vec<f64>>();
    let times = |round: &Measured| round.meanwhile.percentile(99) / round.usual.percentile(99);
    let at_most = |ratio| Some(Aim::AtMost(ratio));
    let name = format!("{} leases due in a second, always", plan.due);
    vec![
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
        Row::new("port.heartbeat, before", plan.many)
            .took(&Sample::together(rounds.iter().map(|round| &round.usual))),
        Row::new("port.heartbeat, meanwhile", plan.many)
            .took(&Sample::together(rounds.iter().map(|it| &it.meanwhile)))
            .beside("p99 before", of(times), at_most(3.0)),
    ]
}

async fn once(bus: &Bus, plan: &Plan, others: &Held, host: &str) -> Measured {
    let due = Instant::now() + plan.due_after;
    let leasing = Leasing::on(&bus.caller, host, 0).due(due);
    Held::fill(bus, &bus.caller, &leasing, plan.due).await;
    bus.settled().await;
    let usual = others.renew(bus, plan.window).await;
    let now = Instant::now();
    assert!(now < due, "granted and measured before they are due");
    tokio::time::sleep_until((due + SLACK).into()).await;
    // A TTL is whole seconds, rounded up.
    let last = due + Duration::from_secs(1) + plan.due_after / 1_000 + SLACK;
    let (caller, host) = (bus.caller.clone(), host.to_owned());
    let watching = tokio::spawn(async move { watch(&caller, &host, last).await });
    let mut slices = Vec::new();
    while !watching.is_finished() {
        slices.push(others.renew(bus, SLICE).await);
    }
    let (unseen, written) = watching.await.unwrap();
    bus.settled().await;
    Measured {
        usual,
        meanwhile: Sample::together(slices.iter()),
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
