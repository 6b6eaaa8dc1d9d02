//! What runs in the background of a node: heartbeats, and the next life when one is over.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use onex_protocol::{
    error::ErrorCode,
    node::HEALTH_BYTES_MAX,
    node_life::{DeregisterReply, HeartbeatReply, HeartbeatRequest},
};
use onex_types::ids::{RequestId, Ttl};
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::{
    BootTime, Ending, Error, Loss,
    call::jittered,
    keep::{Kept, fresh, keep},
    tenure::{Asked, Tenure},
};

use super::{
    plan::{Health, OnLoss},
    registration::{NodeRequests, Registration},
    serve::Serving,
    state::{Phase, State},
};

/// What is waited before registering is tried again; twice as long each further time, up to [`PAUSE_MAX`].
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// What is waited at most where trying again may help: a node is soon back when its registry is.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// What is waited where the registry says that trying again does not help: until somebody has seen to it. Also
/// the most that is waited where it says how long.
const PAUSE_REFUSED: Duration = Duration::from_secs(10);

pub(super) struct Keeper {
    pub(super) requests: NodeRequests,
    pub(super) state: watch::Sender<State>,
}

/// One life, as it is renewed.
struct Renewal<'a> {
    keeper: &'a Keeper,
    registration: &'a Registration,
}

impl Kept for Renewal<'_> {
    async fn renew(&self, id: RequestId, patience: Duration) -> Result<(Ttl, u64), Error> {
        let reply = self
            .keeper
            .heartbeat(self.registration, id, patience)
            .await?;
        Ok((self.registration.ttl, reply.revision))
    }

    fn is_loss(error: &Error) -> bool {
        is_over(error)
    }

    fn tried(&self, tenure: &Tenure) {
        self.keeper
            .state
            .send_modify(|state| state.term = tenure.term());
    }
}

/// Whether a refusal means that the life is over.
pub(super) fn is_over(error: &Error) -> bool {
    error.code() == Some(ErrorCode::NodeNotFound) || is_taken(error)
}

/// Whether somebody else has the node.
fn is_taken(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::Superseded | ErrorCode::NotHolder)
    )
}

impl Keeper {
    /// Until `gone`, and then it takes leave.
    pub(super) async fn run(
        self,
        mut serving: Serving,
        registration: Arc<Registration>,
        mut tenure: Tenure,
        mut gone: oneshot::Receiver<()>,
    ) -> Result<DeregisterReply, Error> {
        let mut registration = registration;
        loop {
            let renewal = Renewal {
                keeper: &self,
                registration: &registration,
            };
            let loss = tokio::select! {
                _ = &mut gone => {
                    // It lives until its last call is answered.
                    let mut finished = pin!(serving.finish());
                    tokio::select! {
                        () = &mut finished => {}
                        loss = keep(&renewal, &mut tenure) => {
                            self.over(&registration, &loss, Phase::Offline);
                            finished.await;
                        }
                    }
                    return self.deregister(&registration).await;
                }
                loss = keep(&renewal, &mut tenure) => loss,
            };
            serving.refuse();
            tracing::warn!(epoch = registration.epoch, why = %onex_types::chain(&loss), "a life of the node is over");
            self.over(&registration, &loss, Phase::Offline);
            let next = tokio::select! {
                _ = &mut gone => break,
                next = self.next(&mut serving, &registration, loss) => next,
            };
            match next {
                Ok((begun, its)) => {
                    registration = Arc::new(begun);
                    tenure = its;
                    tracing::info!(epoch = registration.epoch, "the node is online again");
                    self.state.send_replace(State {
                        phase: Phase::Online(Arc::clone(&registration)),
                        term: tenure.term(),
                    });
                    serving.alive(self.state.subscribe());
                }
                Err(loss) => {
                    self.over(&registration, &loss, Phase::Ended(loss.clone()));
                    let _ = gone.await;
                    break;
                }
            }
        }
        serving.finish().await;
        self.deregister(&registration).await
    }

    async fn deregister(&self, registration: &Registration) -> Result<DeregisterReply, Error> {
        self.over(registration, &Loss::Released, Phase::Ended(Loss::Released));
        self.requests.deregister(registration.epoch).await
    }

    /// The first reason stays.
    fn over(&self, registration: &Registration, loss: &Loss, phase: Phase) {
        let _ = registration.loss.set(Ending {
            why: loss.clone(),
            deadline: self.state.borrow().term.until,
        });
        self.state.send_modify(|state| {
            if !matches!(state.phase, Phase::Ended(_)) {
                state.phase = phase;
            }
            state.term.until = state.term.until.min(BootTime::now());
        });
    }

    /// The life after the one that was lost, as soon as there can be one; or why there will be none.
    async fn next(
        &self,
        serving: &mut Serving,
        registration: &Registration,
        loss: Loss,
    ) -> Result<(Registration, Tenure), Loss> {
        let plan = &self.requests.plan;
        let stops = match &loss {
            Loss::Refused(error) if is_taken(error) => plan.on_superseded == OnLoss::Stop,
            Loss::Refused(_) | Loss::Expired(_) => plan.on_expired == OnLoss::Stop,
            Loss::Released => true,
        };
        if stops {
            return Err(loss);
        }
        // By the registry's clock it may not be over: then nobody else has got any of its ports, and it goes on.
        let mut may_go_on = matches!(loss, Loss::Expired(_));
        let mut pause = PAUSE_FIRST;
        loop {
            let begun = if may_go_on {
                serving.from(self.resumed(registration)).await
            } else {
                serving
                    .from(self.requests.register(Some(registration)))
                    .await
            };
            let error = match begun {
                Ok(begun) => return Ok(begun),
                Err(error) => error,
            };
            if is_taken(&error) && plan.on_superseded == OnLoss::Stop {
                return Err(Loss::Refused(Arc::new(error)));
            }
            if may_go_on && (is_over(&error) || !error.retryable()) {
                may_go_on = false;
                continue;
            }
            pause = wait(&error, pause).await;
        }
    }

    /// The life that was thought to be over.
    async fn resumed(&self, registration: &Registration) -> Result<(Registration, Tenure), Error> {
        let asked = Asked::now(fresh());
        let patience = self.requests.client.timeout();
        let reply = self.heartbeat(registration, asked.id, patience).await?;
        let (grace, now) = (self.requests.plan.grace, BootTime::now());
        Ok((
            registration.resumed(),
            Tenure::granted(asked, registration.ttl, reply.revision, grace, now),
        ))
    }

    async fn heartbeat(
        &self,
        registration: &Registration,
        id: RequestId,
        patience: Duration,
    ) -> Result<HeartbeatReply, Error> {
        let NodeRequests { client, plan } = &self.requests;
        let health = plan.health.as_ref().and_then(said_by);
        let bytes = health.as_ref().map_or(0, |said| said.to_string().len());
        if bytes > HEALTH_BYTES_MAX {
            tracing::warn!(
                bytes,
                HEALTH_BYTES_MAX,
                "the node's health is too large to be sent"
            );
        }
        let request = HeartbeatRequest {
            node_id: plan.request.node_id.clone(),
            requester_id: plan.request.requester_id,
            epoch: registration.epoch,
            ttl: None,
            health: health.filter(|_| bytes <= HEALTH_BYTES_MAX),
            request_id: Some(id),
            min_revision: None,
        };
        client.at_most(patience).node_heartbeat(&request).await
    }
}

/// What the program says of its health; nothing if it panics: a heartbeat must not depend on that.
fn said_by(health: &Health) -> Option<Value> {
    let said = catch_unwind(AssertUnwindSafe(|| health()));
    if said.is_err() {
        tracing::error!("what tells of the node's health has panicked; nothing is said of it");
    }
    said.ok()
}

/// Waits before something is asked again, and says what to wait the next time.
pub(super) async fn wait(error: &Error, pause: Duration) -> Duration {
    tracing::warn!(error = %onex_types::chain(error), "not done yet, asking again");
    let asked = error.retry_after().unwrap_or(Duration::ZERO);
    let now = if error.retryable() {
        pause.max(asked.min(PAUSE_REFUSED))
    } else {
        PAUSE_REFUSED
    };
    tokio::time::sleep(jittered(now)).await;
    (pause * 2).min(PAUSE_MAX)
}
