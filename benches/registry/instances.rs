//! Two instances of a registry beside one.

use super::bus::{Bus, Setting};
use super::harness::Caller;
use super::load::Sample;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Row};

/// Two registries on one server, so that each round measures both; the ports of a host are granted by one of them.
const ONE: &str = "1100-15499";
const TWO: &str = "15500-29899";

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let mut bus = Bus::start_with(Setting::Always, ONE, plan).await;
    bus.add("two", TWO);
    let two = bus.add("two", TWO);
    let (mut of_one, mut of_two) = (Vec::new(), Vec::new());
    for n in plan.rounds("two instances") {
        let one = lease(&bus, &bus.caller, plan).await;
        let both = lease(&bus, &two, plan).await;
        if n > 0 {
            of_one.push(one);
            of_two.push(both);
        }
    }
    let rates = of_one.iter().zip(&of_two);
    let rates = rates.map(|(one, both)| both.rate() / one.rate());
    let at_least = |ratio| Some(Aim::AtLeast(ratio));
    vec![
        Row::new("port.lease, one instance, always", plan.many)
            .took(&Sample::together(of_one.iter())),
        Row::new("port.lease, two instances, always", plan.many)
            .took(&Sample::together(of_two.iter()))
            .beside("rate of one instance", rates.collect(), at_least(0.6)),
        Row::new("of these, who has answered fewer", plan.many).beside(
            "all requests",
            vec![share(&two).await],
            at_least(0.4),
        ),
    ]
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
