//! Two instances of a registry beside one.

use super::bus::{Bus, Setting};
use super::harness::Caller;
use super::load::Sample;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Pair, Row};

/// Two registries on one server, so that each round measures both; the ports of a host are granted by one of them.
const ONE: &str = "1100-15499";
const TWO: &str = "15500-29899";

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let mut bus = Bus::start_with(Setting::Always, ONE, plan).await;
    bus.add("two", TWO);
    let two = bus.add("two", TWO);
    let once = async || {
        (
            lease(&bus, &bus.caller, plan).await,
            lease(&bus, &two, plan).await,
        )
    };
    let rounds = plan.rounds("two instances", once).await;
    let pair = Pair {
        yardstick: "port.lease, one instance, always".to_owned(),
        what: "port.lease, two instances, always".to_owned(),
        callers: plan.many,
        to: "rate of one instance",
        of: Sample::rate,
        aim: Some(Aim::AtLeast(0.6)),
    };
    let mut rows = pair.rows(&rounds);
    let fewer = Row::new("of these, who has answered fewer", plan.many);
    let shares = vec![share(&two).await];
    rows.push(fewer.beside("all requests", shares, Some(Aim::AtLeast(0.4))));
    rows
}

async fn lease(bus: &Bus, caller: &Caller, plan: &Plan) -> Sample {
    let leasing = Leasing::many(caller, plan.many);
    let (sample, held) = Held::lease(bus, caller, leasing, plan.window).await;
    bus.settled().await;
    held.release(bus).await;
    bus.settled().await;
    sample
}

/// The part of all leases that the instance with fewer of them has answered.
#[expect(clippy::cast_precision_loss, reason = "there are not so many")]
async fn share(caller: &Caller) -> f64 {
    let subject = caller.subject("port.lease");
    let answers = caller.micro("STATS").await;
    let endpoints = answers
        .iter()
        .flat_map(|answer| answer["endpoints"].as_array().unwrap());
    let counted = endpoints.filter(|endpoint| endpoint["subject"] == subject.as_str());
    let counted: Vec<u64> = counted
        .map(|endpoint| endpoint["num_requests"].as_u64().unwrap())
        .collect();
    assert_eq!(counted.len(), 2, "two instances: {answers:?}");
    *counted.iter().min().unwrap() as f64 / counted.iter().sum::<u64>() as f64
}
