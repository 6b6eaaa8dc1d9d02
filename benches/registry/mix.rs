//! Heartbeats while others read as much as they can.

use super::bus::{Bus, Setting};
use super::load::{Sample, drive};
use super::offers::Few;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::{Aim, Pair, Row};

/// Of so many callers that write, one describes and one lists.
const WRITERS: usize = 4;

pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let bus = Bus::start(Setting::Lazy, plan).await;
    let few = Few::announce(&bus.caller).await;
    let readers = plan.many / WRITERS;
    let once = async || {
        (
            beat(&bus, plan, None, readers).await,
            beat(&bus, plan, Some(&few), readers).await,
        )
    };
    let rounds = plan.rounds("mix", once).await;
    let pair = Pair {
        yardstick: "port.heartbeat, others lease".to_owned(),
        what: format!("port.heartbeat, others lease, {} read", 2 * readers),
        callers: plan.many,
        to: "p99 without readers",
        of: |sample| sample.percentile(99),
        aim: Some(Aim::AtMost(3.0)),
    };
    pair.rows(&rounds)
}

/// Half of the writers renew, half of them lease, and so many read of each what is there to be read.
async fn beat(bus: &Bus, plan: &Plan, few: Option<&Few>, readers: usize) -> Sample {
    let (caller, window) = (&bus.caller, plan.window);
    let half = || Leasing::many(caller, plan.many / 2);
    let (_, renewed) = Held::lease(bus, caller, half(), window).await;
    bus.settled().await;
    let asked = few.into_iter().flat_map(|few| [&few.describe, &few.page]);
    let reading = asked.flat_map(|asked| vec![asked.clone(); readers]);
    let reading: Vec<_> = reading.collect();
    let read = async {
        if !reading.is_empty() {
            drive(bus.clients(reading.len()), reading, window).await;
        }
    };
    let leased = Held::lease(bus, caller, half(), window);
    let (sample, (_, leased), ()) = tokio::join!(renewed.renew(bus, window), leased, read);
    renewed.release(bus).await;
    leased.release(bus).await;
    bus.settled().await;
    sample
}
