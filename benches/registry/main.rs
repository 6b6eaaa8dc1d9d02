//! `make bench`: what the registry's endpoints cost beside what NATS itself costs, on the same server in the same run.
//! `docs/performance.md` says what each row means.
//!
//! Without `--bench`, as `cargo test` runs it: everything once and briefly, to see that it still works.

// What goes wrong ends the run, as in a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bus;
mod etcd;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod load;
mod measured;
mod offers;
mod plan;
mod ports;
mod report;
mod responder;
mod rounds;

use bus::{Bus, Sync};
use plan::Plan;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if let [responder::ARGUMENT, url] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return runtime.block_on(responder::serve(url));
    }
    match Plan::of(&args) {
        Some(plan) => runtime.block_on(run(&plan)),
        None => println!("{}", plan::NOTHING),
    }
}

async fn run(plan: &Plan) {
    let mut rows = Vec::new();
    for sync in [Sync::Lazy, Sync::Always] {
        let bus = Bus::start(sync, plan).await;
        for &callers in &plan.callers {
            rows.extend(rounds::measure(&bus, plan, callers).await);
        }
        if let Some(why) = bus.without() {
            rows.push(report::Row::absent(why));
        }
    }
    report::print(&rows, plan);
}
