//! The last free port of a pool beside the first one.

use std::time::Instant;

use super::bus::{Bus, Setting};
use super::harness::PATIENCE;
use super::load::Sample;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Pair, Row};

/// The first port of the pools.
const FIRST: usize = 20_000;

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let ports = format!("{FIRST}-{}", FIRST + plan.pool - 1);
    let bus = Bus::start_with(Setting::Lazy, &ports, plan).await;
    // Ports of other hosts than the registry's are not tried, which would take the same time of both.
    let (first, last) = ("empty", "full");
    let leasing = Leasing::on(&bus.caller, last, 0);
    let held = Held::fill(&bus, &bus.caller, &leasing, plan.pool - 1).await;
    bus.settled().await;
    let once = async || {
        (
            lease(&bus, first, plan).await,
            lease(&bus, last, plan).await,
        )
    };
    let rounds = plan.rounds("last free port", once).await;
    held.release(&bus).await;
    let pair = Pair {
        yardstick: "port.lease, the first of a pool".to_owned(),
        what: "port.lease, the last free one".to_owned(),
        callers: 1,
        to: "p50 of the first",
        of: |sample| sample.percentile(50),
        aim: Some(Aim::AtMost(1.3)),
    };
    pair.rows(&rounds)
}

/// One port, given back each time before it is leased again.
async fn lease(bus: &Bus, host: &str, plan: &Plan) -> Sample {
    let until = Instant::now() + plan.window;
    let mut samples = Vec::new();
    while Instant::now() < until {
        let leasing = vec![Leasing::on(&bus.caller, host, 1)];
        let (sample, held) = Held::lease(bus, &bus.caller, leasing, PATIENCE).await;
        samples.push(sample);
        held.release(bus).await;
    }
    Sample::together(samples.iter())
}
