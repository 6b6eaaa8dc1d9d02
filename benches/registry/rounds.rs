//! Measures each thing and its yardstick in turn, several times: what weighs on the machine weighs on both.

use std::collections::BTreeMap;

use super::bus::{Bus, Sync};
use super::load::{Repeated, Sample, Work, drive};
use super::plan::Plan;
use super::ports::{Holding, Leasing, Writing};
use super::report::{Beside, Row};
use super::responder::ECHO;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Echo,
    Write,
    Lease,
    LeaseNamed,
    Heartbeat,
    Release,
    Sized,
    Describe,
    Page,
    PageFirst,
    PageMiddle,
    Direct,
    Invoke,
}

impl What {
    pub(crate) const ALL: [Self; 13] = [
        Self::Echo,
        Self::Write,
        Self::Lease,
        Self::LeaseNamed,
        Self::Heartbeat,
        Self::Release,
        Self::Sized,
        Self::Describe,
        Self::Page,
        Self::PageFirst,
        Self::PageMiddle,
        Self::Direct,
        Self::Invoke,
    ];

    /// What it is measured beside, and the ratios to reach: of the single caller, of many.
    pub(crate) fn beside(self, sync: Sync) -> Option<(Beside, Option<f64>, Option<f64>)> {
        let written = |many| match sync {
            Sync::Lazy => (Beside::EchoAndWrite, None, many),
            Sync::Always => (Beside::Write, None, many),
        };
        let at_least = Some(match sync {
            Sync::Lazy => 0.8,
            Sync::Always => 0.9,
        });
        match self {
            Self::Echo | Self::Write | Self::Sized | Self::Page | Self::Direct => None,
            Self::Lease | Self::LeaseNamed => {
                let (beside, _, many) = written(at_least);
                Some((beside, Some(1.3), many))
            }
            Self::Heartbeat => Some(written(at_least)),
            Self::Release => Some(written(None)),
            Self::Describe => Some((Beside::One(Self::Sized), None, Some(0.8))),
            Self::PageFirst | Self::PageMiddle => {
                Some((Beside::One(Self::Page), Some(1.25), Some(0.8)))
            }
            Self::Invoke => Some((Beside::One(Self::Direct), Some(2.5), Some(0.35))),
        }
    }
}

/// What one round measured.
pub(crate) type Round = BTreeMap<What, Sample>;

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
        .map(|what| Row::of(what, bus.sync, callers, &rounds))
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
        self.ports().await;
        let Some(offers) = &self.bus.offers else {
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
            let leasing = || Leasing::new(&self.bus.caller, named);
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
    super::harness::wish(uuid::Uuid::nil(), serde_json::Value::Null).to_string()
}
