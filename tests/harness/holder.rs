//! A holder as the protocol describes one: it leases, renews and releases, repeats what is not answered under the same
//! request id, and counts its time from before it first sent the request that was granted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ledger::Belief;
use super::{Caller, Ledger, Refused, header_map};

/// How long one try waits for its answer. Short: what is killed does not answer.
const TRY: Duration = Duration::from_millis(700);

#[derive(Debug, Clone)]
pub(crate) struct HolderPlan {
    /// Seconds.
    pub(crate) ttl: u64,
    /// Renewals of each lease.
    pub(crate) renewals: u32,
    /// Time between two steps.
    pub(crate) pace: Duration,
    /// Whether it gives back what it has; else it stops renewing and lets its time pass.
    pub(crate) releases: bool,
    /// Members of the request besides the usual ones.
    pub(crate) more: Value,
}

pub(crate) struct Holder {
    caller: Caller,
    ledger: Arc<Ledger>,
    requester: Uuid,
    plan: HolderPlan,
    stop: Arc<AtomicBool>,
}

/// How a request ended that was repeated until something was known.
enum Known {
    Granted(Value),
    /// Also whether an earlier try was not answered: it may have been done then.
    Refused(Refused, bool),
    /// No answer before its time was up: the holder behaves as if it had nothing.
    Nothing,
}

impl Holder {
    pub(crate) fn new(
        caller: &Caller,
        ledger: &Arc<Ledger>,
        plan: HolderPlan,
        stop: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            caller: caller.clone(),
            ledger: Arc::clone(ledger),
            requester: Uuid::new_v4(),
            plan,
            stop: Arc::clone(stop),
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(self.plan.ttl)
    }

    /// Leases, renews and releases until it is told to stop.
    pub(crate) async fn run(self) {
        while !self.stops() {
            self.one_lease().await;
        }
    }

    /// Sends the request again and again until it is answered for good or `until` has come.
    async fn insist(&self, endpoint: &str, body: Value, until: Instant) -> Known {
        let timeout = TRY.as_millis().to_string();
        let mut again = false;
        loop {
            let headers = header_map(&[("Onex-Timeout-Ms", timeout.as_str())]);
            let reply = self
                .caller
                .send(endpoint, headers, body.to_string(), TRY)
                .await;
            match reply.map(super::Reply::outcome) {
                Ok(Ok(reply)) => return Known::Granted(reply),
                Ok(Err(refused)) if !refused.retryable() => return Known::Refused(refused, again),
                Ok(Err(refused)) => self.ledger.count(&refused.code),
                Err(_) => self.ledger.count("no answer"),
            }
            again = true;
            if Instant::now() >= until {
                return Known::Nothing;
            }
            // A client does not ask again at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn one_lease(&self) {
        let sent = Instant::now();
        let mut body = json!({
            "requester_id": self.requester, "protocol": "http", "ttl": self.plan.ttl, "request_id": Uuid::new_v4(),
        });
        let members = body.as_object_mut().unwrap();
        members.extend(self.plan.more.as_object().cloned().unwrap_or_default());
        let lease = match self.insist("port.lease", body, sent + self.ttl()).await {
            Known::Granted(lease) => lease,
            // Granted, never heard of, and ended meanwhile.
            Known::Refused(refused, true) if refused.is(ErrorCode::LeaseExpired) => return,
            Known::Refused(refused, _) => {
                return self
                    .ledger
                    .broken(format!("a lease was refused: {:#}", refused.error));
            }
            Known::Nothing => return,
        };
        self.ledger.count("leased");
        let now = Instant::now();
        let mut belief = Belief {
            lease_id: lease["lease_id"].as_str().unwrap().to_owned(),
            requester: self.requester,
            port: lease["port"].as_u64().unwrap(),
            from: now,
            to: (sent + self.ttl()).max(now),
            tokens: vec![lease["fencing_token"].as_u64().unwrap()],
            released: false,
        };
        self.hold(&mut belief).await;
        self.ledger.add(belief);
    }

    async fn hold(&self, belief: &mut Belief) {
        for _ in 0..self.plan.renewals {
            tokio::time::sleep(self.plan.pace).await;
            if Instant::now() >= belief.to || !self.renew(belief).await {
                return;
            }
        }
        tokio::time::sleep(self.plan.pace).await;
        if self.plan.releases && Instant::now() < belief.to {
            self.release(belief).await;
        }
    }

    /// False when the lease is not this holder's any more.
    async fn renew(&self, belief: &mut Belief) -> bool {
        let sent = Instant::now();
        let body = json!({
            "requester_id": self.requester, "lease_id": belief.lease_id, "request_id": Uuid::new_v4(),
        });
        match self.insist("port.heartbeat", body, belief.to).await {
            Known::Granted(lease) => {
                let token = lease["fencing_token"].as_u64().unwrap();
                belief.tokens.push(token);
                belief.to = belief.to.max(sent + self.ttl());
                self.ledger.count("renewed");
                true
            }
            Known::Refused(refused, _) => {
                // It was refused although the time that was acknowledged is not over: it was lost.
                if Instant::now() < belief.to {
                    let left = belief.to - Instant::now();
                    self.ledger.broken(format!(
                        "lost with {left:?} to go: {belief:#?}\n{:#}",
                        refused.error
                    ));
                }
                false
            }
            Known::Nothing => false,
        }
    }

    /// From before the first try on it does not use the port.
    async fn release(&self, belief: &mut Belief) {
        let until = belief.to;
        belief.to = Instant::now().max(belief.from);
        belief.released = true;
        let body = json!({
            "requester_id": self.requester, "lease_id": belief.lease_id, "request_id": Uuid::new_v4(),
        });
        match self.insist("port.release", body, until).await {
            Known::Granted(_) => self.ledger.count("released"),
            // It was done, and somebody has the port since: that it was this holder's is forgotten.
            Known::Refused(refused, true) if refused.is(ErrorCode::LeaseNotFound) => {}
            Known::Refused(refused, _) if Instant::now() < until => {
                let error = refused.error;
                self.ledger
                    .broken(format!("not released: {belief:#?}\n{error:#}"));
            }
            Known::Refused(..) | Known::Nothing => {}
        }
    }
}
