//! Measures each thing and its yardstick in turn, several times: what weighs on the machine weighs on both.

use super::bus::Bus;
use super::load::{Repeated, Work, drive};
use super::measured::{Round, What};
use super::plan::Plan;
use super::ports::{Holding, Leasing, Writing};
use super::report::Row;
use super::responder::ECHO;

/// All that is measured on this bus with so many callers.
pub(crate) async fn measure(bus: &Bus, plan: &Plan, callers: usize) -> Vec<Row> {
    let mut run = Run {
        bus,
        plan,
        callers,
        round: Round::new(),
    };
    // The first one warms up.
    run.once().await;
    let mut rounds = Vec::new();
    for n in 1..=plan.rounds {
        eprintln!(
            "{:?} sync, {callers} callers, round {n} of {}",
            bus.sync, plan.rounds
        );
        run.once().await;
        rounds.push(std::mem::take(&mut run.round));
    }
    let measured = What::ALL
        .into_iter()
        .filter(|what| rounds.iter().all(|round| round.contains_key(what)));
    measured
        .flat_map(|what| Row::of(what, bus.sync, callers, &rounds))
        .collect()
}

struct Run<'a> {
    bus: &'a Bus,
    plan: &'a Plan,
    callers: usize,
    round: Round,
}

impl Run<'_> {
    async fn once(&mut self) {
        self.repeat(What::Echo, &Repeated::new(ECHO, echoed()))
            .await;
        let writing = || Writing::new(&self.bus.writes);
        let writing = (0..self.callers).map(|_| writing()).collect();
        self.drive(What::Write, writing).await;
        if let Some(etcd) = &self.bus.etcd {
            let sample = etcd.lock().unwrap().measure(self.callers, self.plan.window);
            self.round.insert(What::Etcd, sample);
        }
        self.ports().await;
        let Some(offers) = self
            .bus
            .offers
            .as_ref()
            .filter(|_| self.callers <= Plan::READING_MAX)
        else {
            return;
        };
        self.repeat(What::Sized, &offers.sized).await;
        self.repeat(What::Describe, &offers.describe).await;
        self.repeat(What::Page, &offers.page).await;
        self.repeat(What::PageFirst, &offers.first).await;
        self.repeat(What::PageMiddle, &offers.middle).await;
        self.repeat(What::Direct, &offers.direct).await;
        if let Some(invoke) = &offers.invoke {
            self.repeat(What::Invoke, invoke).await;
            self.bus.settled().await;
        }
    }

    async fn ports(&mut self) {
        for (what, named) in [(What::Lease, false), (What::LeaseNamed, true)] {
            let leasing = || Leasing::new(&self.bus.caller, self.callers, named);
            let leasing = (0..self.callers).map(|_| leasing()).collect();
            let leased = self.drive(what, leasing).await;
            self.bus.settled().await;
            let claims: Vec<_> = leased.iter().map(Leasing::claims).collect();
            if !named {
                let renewing = claims.iter().cloned();
                let renewing = renewing.map(|claims| Holding::renewing(&self.bus.caller, claims));
                self.drive(What::Heartbeat, renewing.collect()).await;
            }
            let releasing = claims.into_iter();
            let releasing = releasing.map(|claims| Holding::releasing(&self.bus.caller, claims));
            self.drive(What::Release, releasing.collect()).await;
            self.bus.settled().await;
        }
    }

    async fn repeat(&mut self, what: What, asked: &Repeated) {
        self.drive(what, vec![asked.clone(); self.callers]).await;
    }

    async fn drive<W: Work>(&mut self, what: What, works: Vec<W>) -> Vec<W> {
        // What is held is given back to the last, however long that takes.
        let window = match what {
            What::Release => super::harness::PATIENCE,
            _ => self.plan.window,
        };
        let (sample, works) = drive(self.bus.clients(self.callers), works, window).await;
        self.round.insert(what, sample);
        works
    }
}

/// As long as a short request.
fn echoed() -> String {
    super::harness::lease_request(uuid::Uuid::nil(), serde_json::Value::Null).to_string()
}
