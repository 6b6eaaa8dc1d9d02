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
    Etcd,
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
    pub(crate) const ALL: [Self; 14] = [
        Self::Echo,
        Self::Write,
        Self::Etcd,
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

    /// What it is measured beside, and the ratios to reach: of the single caller at most that, of many at least that.
    pub(crate) fn beside(self, sync: Sync, callers: usize) -> Vec<(Beside, Option<f64>)> {
        let beside = match self {
            Self::Echo | Self::Write | Self::Etcd | Self::Sized | Self::Page | Self::Direct => {
                return Vec::new();
            }
            Self::Lease | Self::LeaseNamed | Self::Heartbeat | Self::Release => match sync {
                Sync::Lazy => Beside::EchoAndWrite,
                Sync::Always => Beside::Write,
            },
            Self::Describe => Beside::One(Self::Sized),
            Self::PageFirst | Self::PageMiddle => Beside::One(Self::Page),
            Self::Invoke => Beside::One(Self::Direct),
        };
        let mut all = vec![(beside, self.aim(sync, callers))];
        if (self, sync) == (Self::Lease, Sync::Always) {
            let aim = match callers {
                1 => None,
                ..=Plan::READING_MAX => Some(4.0),
                _ => Some(8.0),
            };
            all.push((Beside::One(Self::Etcd), aim));
        }
        all
    }

    fn aim(self, sync: Sync, callers: usize) -> Option<f64> {
        let more = callers > Plan::READING_MAX;
        Some(match (self, callers, sync) {
            (Self::Lease | Self::LeaseNamed | Self::PageFirst | Self::PageMiddle, 1, _) => 1.25,
            (Self::Lease | Self::LeaseNamed, _, Sync::Lazy) if !more => 0.8,
            (Self::Lease | Self::LeaseNamed, _, Sync::Always) => {
                if more {
                    4.0
                } else {
                    2.5
                }
            }
            (Self::Heartbeat, 2.., Sync::Lazy) if !more => 1.0,
            (Self::Heartbeat, 2.., Sync::Always) => {
                if more {
                    6.0
                } else {
                    4.0
                }
            }
            (Self::Describe | Self::PageFirst | Self::PageMiddle, 2.., _) => 0.8,
            (Self::Invoke, 1, _) => 2.3,
            (Self::Invoke, _, _) => 0.35,
            _ => return None,
        })
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
