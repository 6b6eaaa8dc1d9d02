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
mod due;
mod etcd;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod instances;
mod large;
mod load;
mod measured;
mod mix;
mod offers;
mod plan;
mod pool;
mod ports;
mod report;
mod responder;
mod rounds;
mod sets;
mod sustained;
mod writes;

use bus::Setting;
use plan::{Part, Plan};

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
    for part in &plan.parts {
        match part {
            Part::Writes => {
                rows.extend(rounds::writes(plan, Setting::Lazy).await);
                rows.extend(rounds::writes(plan, Setting::Always).await);
            }
            Part::Cluster => rows.extend(rounds::writes(plan, Setting::Cluster).await),
            Part::Instances => rows.extend(instances::measure(plan).await),
            Part::Offers => rows.extend(rounds::offers(plan).await),
            Part::Sets => rows.extend(sets::measure(plan).await),
            Part::Pool => rows.extend(pool::measure(plan).await),
            Part::Mix => rows.extend(mix::measure(plan).await),
            Part::Due => rows.extend(due::measure(plan).await),
            Part::Large => rows.extend(large::measure(plan).await),
            Part::Sustained => rows.extend(sustained::measure(plan).await),
        }
    }
    report::print(&rows, plan);
}
