//! Single requests: measures each thing and its yardstick in turn, several times: what weighs on the machine weighs on
//! both.

use super::bus::{Bus, Setting};
use super::etcd::Etcd;
use super::harness::lease_request;
use super::load::{Repeated, Work, drive};
use super::measured::{Round, What};
use super::offers::Offers;
use super::plan::Plan;
use super::ports::{Held, Leasing};
use super::report::Row;
use super::responder::ECHO;
use super::writes::{Bucket, Writing};

/// Leases, beside what they are made of.
pub(crate) async fn writes(plan: &Plan, setting: Setting) -> Vec<Row> {
    let bus = Bus::start(setting, plan).await;
    let bucket = Bucket::create(&bus).await;
    let etcd = match setting {
        Setting::Always => Etcd::start(bucket.size),
        Setting::Lazy | Setting::Cluster => None,
    };
    let asked = Asked::Writes { bucket, etcd };
    measure(&bus, plan, asked, &plan.callers).await
}

/// What is read of nodes and tools, and tools that are called.
pub(crate) async fn offers(plan: &Plan) -> Vec<Row> {
    let mut bus = Bus::start(Setting::Lazy, plan).await;
    // The ports of one host are granted by one registry.
    let many = bus.add("large", "30000-30099");
    let asked = Asked::Offers(Offers::announce(&bus.caller, &many, plan).await);
    let callers = plan.callers.iter().copied();
    let callers: Vec<_> = callers.filter(|n| *n <= Plan::READING_MAX).collect();
    measure(&bus, plan, asked, &callers).await
}

/// What is asked for in each round.
enum Asked {
    Writes {
        bucket: Bucket,
        /// What writes are compared with, too, where each is on disk.
        etcd: Option<Etcd>,
    },
    Offers(Offers),
}

async fn measure(bus: &Bus, plan: &Plan, mut asked: Asked, callers: &[usize]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &callers in callers {
        let part = format!("{:?}, {callers} callers", bus.setting);
        let once = async || {
            let mut run = Run {
                bus,
                plan,
                callers,
                round: Round::new(),
            };
            match &mut asked {
                Asked::Writes { bucket, etcd } => run.writes(bucket, etcd.as_mut()).await,
                Asked::Offers(offers) => run.offers(offers).await,
            }
            run.round
        };
        let rounds = plan.rounds(&part, once).await;
        let measured = What::ALL
            .into_iter()
            .filter(|what| rounds.iter().all(|round| round.contains_key(what)));
        rows.extend(measured.flat_map(|what| Row::of(what, bus.setting, callers, &rounds)));
    }
    rows
}

struct Run<'a> {
    bus: &'a Bus,
    plan: &'a Plan,
    callers: usize,
    round: Round,
}

impl Run<'_> {
    async fn writes(&mut self, bucket: &Bucket, etcd: Option<&mut Etcd>) {
        // As long as a short request.
        let echoed = lease_request(uuid::Uuid::nil(), serde_json::Value::Null).to_string();
        self.repeat(What::Echo, &Repeated::new(ECHO, echoed)).await;
        let writing = (0..self.callers).map(|_| Writing::new(bucket)).collect();
        self.drive(What::Write, writing).await;
        if let Some(etcd) = etcd {
            let sample = etcd.measure(self.callers, self.plan.window);
            self.round.insert(What::Etcd, sample);
        }
        let (bus, window) = (self.bus, self.plan.window);
        for what in [What::Lease, What::LeaseNamed] {
            let mut leasing = Leasing::many(&bus.caller, self.callers);
            if what == What::LeaseNamed {
                leasing = leasing.into_iter().map(Leasing::named).collect();
            }
            let (leased, held) = Held::lease(bus, &bus.caller, leasing, window).await;
            self.round.insert(what, leased);
            bus.settled().await;
            if what == What::Lease {
                let renewed = held.renew(bus, window).await;
                self.round.insert(What::Heartbeat, renewed);
            }
            self.round.insert(What::Release, held.release(bus).await);
            bus.settled().await;
        }
    }

    async fn offers(&mut self, offers: &Offers) {
        self.repeat(What::DescribedBytes, &offers.described_bytes)
            .await;
        self.repeat(What::Describe, &offers.few.describe).await;
        self.repeat(What::PageBytes, &offers.page_bytes).await;
        self.repeat(What::Page, &offers.few.page).await;
        self.repeat(What::FirstBytes, &offers.first_bytes).await;
        self.repeat(What::PageFirst, &offers.first).await;
        self.repeat(What::PageMiddle, &offers.middle).await;
        self.repeat(What::Direct, &offers.direct).await;
        self.repeat(What::Invoke, &offers.invoke).await;
        self.bus.settled().await;
    }

    async fn repeat(&mut self, what: What, asked: &Repeated) {
        self.drive(what, vec![asked.clone(); self.callers]).await;
    }

    async fn drive<W: Work>(&mut self, what: What, works: Vec<W>) {
        let clients = self.bus.clients(self.callers);
        let (sample, _) = drive(clients, works, self.plan.window).await;
        self.round.insert(what, sample);
    }
}
