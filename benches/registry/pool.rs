//! The last free port of a pool beside the first one.

use std::time::Instant;

use super::bus::{Bus, Setting};
use super::harness::PATIENCE;
use super::load::Sample;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Row};

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
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for n in plan.rounds("last free port") {
        let of_first = lease(&bus, first, plan).await;
        let of_last = lease(&bus, last, plan).await;
        if n > 0 {
            firsts.push(of_first);
            lasts.push(of_last);
        }
    }
    held.release(&bus).await;
    let times = lasts.iter().zip(&firsts);
    let times = times.map(|(last, first)| last.percentile(50) / first.percentile(50));
    let all = |samples: &[Sample]| Sample::together(samples.iter());
    vec![
        Row::new("port.lease, the first of a pool", 1).took(&all(&firsts)),
        Row::new("port.lease, the last free one", 1)
            .took(&all(&lasts))
            .beside("p50 of the first", times.collect(), Some(Aim::AtMost(1.3))),
    ]
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
