//! A lease that is kept for as long as it is needed.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use onex_protocol::{
    endpoint::Endpoint,
    error::ErrorCode,
    port::{HeartbeatRequest, LeaseReply, LeaseRequest, ReleaseReply, ReleaseRequest},
};
use onex_types::ids::{LeaseId, Port, RequestId, RequesterId, Ttl};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    Client,
    clock::{BootTime, sleep_until},
    error::{Error, Loss},
    keep::{self, Ending, Kept, fresh, keep},
    ports::heartbeat,
    rebind::{Rebinding, is_settled},
    tenure::{Asked, Tenure, Term},
};

/// A lease that is renewed in the background until it is released, dropped or lost.
///
/// It counts as a holder has to: from before the granted or last renewed request was *first* sent, on a clock that
/// runs while the machine sleeps. A registry counts from when it saw the request, and a little more. So
/// [`lost`](Self::lost) resolves, and [`remaining`](Self::remaining) is zero, before the registry gives the port to
/// someone else, also when there is no registry to be reached.
///
/// A guard cannot stop the program from using the port, and stopping takes time. Watch [`ending`](Self::ending) beside
/// the work: it resolves a tenth of the TTL earlier, or as long as [`Client::hold_with_grace`] was told, so that the use of
/// the port has *ended* when the lease does. Where a late use would do harm look at [`remaining`](Self::remaining) before
/// it: after a sleep of the machine the program may run again before the guard does. What is written to through the port should be given
/// [`fencing_token`](Self::fencing_token).
///
/// Dropping it gives the lease back as well as possible: the release is sent by the runtime that the guard was made
/// on, and nobody waits for it. A program that exits at once, or whose runtime ends, does not get it out; then the
/// lease ends by itself when its TTL has passed. [`release`](Self::release) waits.
///
/// ```no_run
/// # async fn serve(_: std::net::SocketAddr) {}
/// # async fn example(nats: async_nats::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use onex_client::{
///     Client,
///     ids::RequesterId,
///     protocol::{names::Namespace, port::LeaseRequest},
/// };
///
/// let client = Client::new(nats, Namespace::default());
/// let me = RequesterId(uuid::Uuid::new_v4());
/// let lease = client.hold(&LeaseRequest::new(me, "http".parse()?)).await?;
/// tokio::select! {
///     () = serve(([127, 0, 0, 1], lease.port().number()).into()) => {}
///     ending = lease.ending() => eprintln!("the port is not used any more: {}", ending.why),
/// }
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the lease is given back when its guard is dropped"]
#[derive(Debug)]
pub struct LeaseGuard {
    client: Client,
    lease: Known,
    /// Those of which it is not known what came of them.
    rebindings: Vec<Rebinding>,
    state: watch::Receiver<State>,
    /// Tells the keeper of a refusal that means the loss; dropped, it tells the keeper to give the lease back.
    held: mpsc::Sender<Arc<Error>>,
    keeper: JoinHandle<Result<ReleaseReply, Error>>,
}

/// The lease as far as it is known, to the guard and its keeper.
#[derive(Debug, Clone)]
struct Known(Arc<Mutex<Arc<LeaseReply>>>);

impl Known {
    fn get(&self) -> Arc<LeaseReply> {
        // What is in there is whole at every moment.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known)
    }

    /// It has other ports where its fencing token has grown.
    fn told(&self, lease: LeaseReply) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.fencing_token > known.fencing_token {
            *known = Arc::new(lease);
        }
    }
}

/// What the keeper tells.
#[derive(Debug, Clone)]
struct State {
    term: Term,
    loss: Option<Ending>,
}

impl LeaseGuard {
    fn new(client: Client, lease: LeaseReply, tenure: Tenure) -> Self {
        let (sender, state) = watch::channel(State {
            term: tenure.term(),
            loss: None,
        });
        let (held, told) = mpsc::channel(1);
        let (requester_id, lease_id) = (lease.requester_id, lease.lease_id);
        let lease = Known(Arc::new(Mutex::new(Arc::new(lease))));
        let keeper = Keeper {
            client: client.clone(),
            requester_id,
            lease_id,
            lease: lease.clone(),
            state: sender,
        };
        Self {
            client,
            lease,
            rebindings: Vec::new(),
            state,
            held,
            keeper: tokio::spawn(keeper.run(tenure, told)),
        }
    }

    /// The lease as it was granted, or as it was when it last got another port. How long it lasts meanwhile is not in
    /// there. What came of a [`rebind`](Self::rebind) whose answer was lost is in there with the next renewal.
    pub fn lease(&self) -> Arc<LeaseReply> {
        self.lease.get()
    }

    /// Its port; the first of them where there are several.
    pub fn port(&self) -> Port {
        self.lease().port
    }

    /// All its ports.
    pub fn ports(&self) -> Vec<Port> {
        self.lease().ports.clone()
    }

    /// Higher than that of every earlier lease of its ports. It stays as long as the lease has these ports.
    pub fn fencing_token(&self) -> u64 {
        self.lease().fencing_token
    }

    /// Until when the port may be used if no further renewal comes through. In the past once the lease is lost.
    pub fn valid_until(&self) -> BootTime {
        self.state.borrow().term.until
    }

    /// How long the port may be used if no further renewal comes through; zero once the lease is lost. Right also
    /// just after a sleep of the machine.
    pub fn remaining(&self) -> Duration {
        self.valid_until().since(BootTime::now())
    }

    /// When everything that uses the port must have ended: [`valid_until`](Self::valid_until), and once the lease is lost
    /// what that was before.
    pub fn deadline(&self) -> BootTime {
        let state = self.state.borrow();
        let lost = state.loss.as_ref().map(|ending| ending.deadline);
        lost.unwrap_or(state.term.until)
    }

    /// When [`ending`](Self::ending) resolves if no further renewal comes through.
    pub fn stop_at(&self) -> BootTime {
        self.state.borrow().term.stop_at
    }

    /// Resolves when it is time to begin to stop: so long before [`deadline`](Self::deadline) as the guard was told,
    /// unless a renewal comes through before, and at once when the lease is lost. It may be asked for as often as wanted,
    /// and outlives the guard. Renewals go on meanwhile: a lease that does not end after all resolves it again.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        keep::ending(self.state.clone(), |state: &State| {
            state
                .loss
                .clone()
                .map_or_else(|| Ok(state.term.clone()), Err)
        })
    }

    /// Resolves when the last renewal failed, to how, and none has come through since.
    pub fn troubled(&self) -> impl Future<Output = Arc<Error>> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            let troubled = state.wait_for(|state| state.term.trouble.is_some()).await;
            match troubled.ok().and_then(|state| state.term.trouble.clone()) {
                Some(trouble) => trouble,
                // Nobody renews it any more, so no renewal fails.
                None => std::future::pending().await,
            }
        }
    }

    /// Resolves when no renewal has failed since the last one that came through, or nobody renews it any more.
    pub fn untroubled(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            let _ = state.wait_for(|state| state.term.trouble.is_none()).await;
        }
    }

    /// Resolves when the port must not be used any more, to why. [`ending`](Self::ending) leaves time to stop. It may be asked for as often as wanted, and
    /// outlives the guard.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            let lost = state.wait_for(|state| state.loss.is_some()).await;
            if let Some(ending) = lost.ok().and_then(|state| state.loss.clone()) {
                return ending.why;
            }
            // The runtime that it was kept by is gone: nobody renews it.
            let until = state.borrow().term.until;
            sleep_until(until).await;
            Loss::Expired(None)
        }
    }

    /// Gets another port in the place of `port`, because another program uses that; returns the new one. The lease goes on,
    /// with its other ports. Stop using `port` before: nobody gets it for a minute, or for the TTL if that is longer,
    /// and then anybody may. Where the registry found the new one in use as well, and no other, [`lease`](Self::lease) has
    /// the warning `PORT_IN_USE`.
    ///
    /// Where no answer comes it is asked for again, as the same, for three times the client's timeout and no longer than
    /// the lease lasts. After an error for which [`Error::may_be_done`], and when the returned future is dropped, the lease
    /// may have another port already: call it again with the same `port`, which is then the same request.
    /// [`Error::Unfit`] where the lease has no such port, [`Error::Over`] where the lease is lost: also where it is this
    /// answer that says so. How long the lease lasts is counted as before.
    pub async fn rebind(&mut self, port: Port) -> Result<Port, Error> {
        if let Some(loss) = self.loss() {
            return Err(Error::Over(loss));
        }
        let begun = self.rebindings.iter().find(|begun| begun.port == port);
        let rebinding = if let Some(begun) = begun {
            *begun
        } else {
            let rebinding = Rebinding::of(&self.lease(), port)?;
            self.rebindings.push(rebinding);
            rebinding
        };
        let until = self.valid_until();
        let rebound = self.client.rebound(&self.lease(), rebinding, until).await;
        if is_settled(&rebound) {
            self.rebindings.retain(|begun| begun.port != port);
        }
        let new = match rebound {
            Ok((lease, new)) => {
                self.lease.told(lease);
                new
            }
            Err(error) if Keeper::is_loss(&error) => {
                // The keeper may have found out by itself.
                let _ = self.held.send(Arc::new(error)).await;
                return Err(Error::Over(self.lost().await));
            }
            Err(error) => return Err(error),
        };
        self.loss().map_or(Ok(new), |loss| Err(Error::Over(loss)))
    }

    fn loss(&self) -> Option<Loss> {
        let state = self.state.borrow();
        state.loss.as_ref().map(|ending| ending.why.clone())
    }

    /// Stops renewing, tells the registry that the port is free, and waits for its answer: asked again where none
    /// comes, for three times the client's timeout at most, and not when the lease has ended by itself. Stop using the
    /// port before: it may be someone else's from now on, whatever is returned.
    ///
    /// After an error the lease ends when its TTL has passed, if it has not already. If the returned future is
    /// dropped the release goes on.
    pub async fn release(self) -> Result<ReleaseReply, Error> {
        drop(self.held);
        // It does not panic; it is stopped when its runtime ends.
        self.keeper.await.unwrap_or(Err(Error::Connection(None)))
    }
}

impl Kept for Keeper {
    async fn renew(&self, id: RequestId, patience: Duration) -> Result<(Ttl, u64), Error> {
        let client = self.client.at_most(patience);
        let lease = client.heartbeat(self.requester_id, self.lease_id, None, Some(id));
        let lease = lease.await?;
        let known = (lease.ttl, lease.revision);
        self.lease.told(lease);
        Ok(known)
    }

    fn is_loss(error: &Error) -> bool {
        matches!(
            error.code(),
            Some(ErrorCode::LeaseExpired | ErrorCode::LeaseNotFound | ErrorCode::NotHolder)
        )
    }

    fn tried(&self, tenure: &Tenure) {
        self.state.send_modify(|state| {
            state.term = tenure.term();
        });
    }
}

/// What runs in the background of a guard.
struct Keeper {
    client: Client,
    requester_id: RequesterId,
    lease_id: LeaseId,
    lease: Known,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn run(
        self,
        mut tenure: Tenure,
        mut told: mpsc::Receiver<Arc<Error>>,
    ) -> Result<ReleaseReply, Error> {
        let (loss, held) = tokio::select! {
            refusal = told.recv() => refusal.map_or((Loss::Released, false), |error| (Loss::Refused(error), true)),
            loss = keep(&self, &mut tenure) => (loss, true),
        };
        self.state.send_modify(|state| {
            state.term.until = state.term.until.min(BootTime::now());
            state.loss = Some(Ending {
                why: loss,
                deadline: tenure.until(),
            });
        });
        if held {
            // Until the guard is dropped.
            while told.recv().await.is_some() {}
        }
        self.give_back(tenure.until()).await
    }

    async fn give_back(&self, until: BootTime) -> Result<ReleaseReply, Error> {
        let request = ReleaseRequest {
            requester_id: self.requester_id,
            lease_id: self.lease_id,
            request_id: Some(fresh()),
            min_revision: None,
        };
        // When its time is up by this clock it may not be by the registry's: once it is worth to say so.
        let until = until.max(BootTime::now() + self.client.timeout());
        self.client
            .insist(Endpoint::PortRelease, &request, until, Error::retryable)
            .await
    }
}

impl Client {
    /// Takes a lease and keeps it: see [`LeaseGuard`]. Where no answer comes it is asked for again, as the same,
    /// for three times the client's timeout and no longer than the lease would last.
    ///
    /// The guard makes a request id of its own. One that is given may have been sent before, by a program that was
    /// started anew for instance: the lease is then renewed at once, because it may be older than it looks.
    ///
    /// A lease that is bound to a node is refused with [`Error::Unfit`]: it has no time of its own. After any other
    /// error for which [`Error::may_be_done`], and when the returned future is dropped, there may be a lease that
    /// nobody keeps: it ends when its TTL has passed.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, and in one without timers.
    pub async fn hold(&self, request: &LeaseRequest) -> Result<LeaseGuard, Error> {
        self.take(request, None).await
    }

    /// The same, for a program that takes `grace` to stop using the port: [`LeaseGuard::ending`] resolves so long before
    /// the lease ends, and renewals are sent earlier. It counts as half the TTL if it is more: the rest is for renewals.
    pub async fn hold_with_grace(
        &self,
        request: &LeaseRequest,
        grace: Duration,
    ) -> Result<LeaseGuard, Error> {
        self.take(request, Some(grace)).await
    }

    async fn take(
        &self,
        request: &LeaseRequest,
        grace: Option<Duration>,
    ) -> Result<LeaseGuard, Error> {
        if request.node_id.is_some() {
            let message = "must be absent: a lease of a node lasts as the node does, and is not kept by itself";
            return Err(Error::unfit("/node_id", message));
        }
        let asked = Asked::now(request.request_id.unwrap_or_else(fresh));
        let until =
            asked.sent + Duration::from_millis(request.ttl.unwrap_or(Ttl::DEFAULT).millis());
        let with_id = LeaseRequest {
            request_id: Some(asked.id),
            ..self.with_own_holder(request)
        };
        let lease: LeaseReply = self
            .insist(Endpoint::PortLease, &with_id, until, Error::may_be_done)
            .await?;
        let tenure = match request.request_id {
            None => {
                let (ttl, revision) = (lease.ttl, lease.revision);
                Tenure::granted(asked, ttl, revision, grace, BootTime::now())
            }
            Some(_) => self.renewed_at_once(&lease, grace, until).await?,
        };
        if tenure.until() <= BootTime::now() {
            return Err(Error::TimedOut {
                endpoint: Endpoint::PortLease,
                after: BootTime::now().since(asked.sent),
            });
        }
        Ok(LeaseGuard::new(self.clone(), lease, tenure))
    }

    async fn renewed_at_once(
        &self,
        lease: &LeaseReply,
        grace: Option<Duration>,
        until: BootTime,
    ) -> Result<Tenure, Error> {
        let asked = Asked::now(fresh());
        let renewal = HeartbeatRequest {
            lease_id: Some(lease.lease_id),
            ..heartbeat(lease.requester_id, None, Some(asked.id))
        };
        let lease: LeaseReply = self
            .insist(Endpoint::PortHeartbeat, &renewal, until, Error::may_be_done)
            .await?;
        let (ttl, revision) = (lease.ttl, lease.revision);
        let now = BootTime::now();
        Ok(Tenure::granted(asked, ttl, revision, grace, now))
    }
}
