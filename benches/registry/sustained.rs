//! Leases and releases for longer than anything can be put off.

use std::time::Instant;

use super::bus::{Bus, Setting};
use super::harness::until;
use super::load::drive;
use super::plan::Plan;
use super::ports::Turning;
use super::report::Row;

/// In so many parts of the time: the last one is measured beside the first one.
const PARTS: usize = 3;

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let bus = Bus::start(Setting::Always, plan).await;
    let mut turning: Vec<_> = (0..plan.many).map(|_| Turning::new(&bus.caller)).collect();
    let mut samples = Vec::new();
    for n in 1..=PARTS {
        eprintln!("leases and releases, part {n} of {PARTS}");
        let (sample, works) = drive(bus.clients(plan.many), turning, plan.sustained_part).await;
        samples.push(sample);
        turning = works;
    }
    let ended = Instant::now();
    let waiting = waiting(&bus).await;
    until("all events to be published", async || {
        (self::waiting(&bus).await == 0.0).then_some(())
    })
    .await;
    let lag = ended.elapsed().as_secs_f64();
    let seconds = plan.sustained_part.as_secs();
    let [first, .., last] = &samples[..] else {
        unreachable!()
    };
    let name = format!("leases and releases for {} s, always", 3 * seconds);
    vec![
        Row::new(format!("{name}: first {seconds} s"), plan.many).took(first),
        Row::new(format!("{name}: last {seconds} s"), plan.many)
            .took(last)
            .beside("rate of the first", vec![last.rate() / first.rate()], None),
        Row::new("events that wait then", plan.many).beside("events", vec![waiting], None),
        Row::new("until these are out", plan.many).beside("seconds", vec![lag], None),
    ]
}

/// Events that are not published.
async fn waiting(bus: &Bus) -> f64 {
    let said = bus.caller.get("describe", serde_json::json!({})).await;
    said["counts"]["events_waiting"].as_f64().unwrap()
}
