//! Renewing in the background: what a lease and a node have in common.

use std::{future::Future, sync::Arc, time::Duration};

use onex_machine::new_id;
use onex_types::ids::{RequestId, Ttl};
use tokio::sync::watch;

use super::{
    clock::{BootTime, sleep_until},
    error::{Error, Loss},
    tenure::{Step, Tenure, Term},
};

/// A request id of its own.
pub(super) fn fresh() -> RequestId {
    RequestId(new_id())
}

/// Why a holder has to stop, and by when.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Why. [`Loss::Expired`] also when the time is only about to be up.
    pub why: Loss,
    /// The end of the time that was acknowledged: everything that uses a port must have ended before. In the past if the
    /// machine slept meanwhile.
    pub deadline: BootTime,
}

/// What is renewed.
pub(super) trait Kept {
    /// Makes one try of the renewal of that id: the TTL and the revision that it was answered with.
    fn renew(
        &self,
        id: RequestId,
        patience: Duration,
    ) -> impl Future<Output = Result<(Ttl, u64), Error>> + Send;

    /// Whether a refusal of a renewal means that it is lost. All else leaves it to the holder's clock.
    fn is_loss(error: &Error) -> bool;

    /// A renewal counts, or failed.
    fn tried(&self, tenure: &Tenure);
}

/// Renews until the time is up or a refusal tells of the loss.
pub(super) async fn keep<K: Kept>(kept: &K, tenure: &mut Tenure) -> Loss {
    loop {
        let (asked, patience) = match tenure.step(BootTime::now(), fresh()) {
            Step::Over => return Loss::Expired(tenure.term().trouble),
            Step::Wait(until) => {
                sleep_until(until).await;
                continue;
            }
            Step::Send(asked, patience) => (asked, patience),
        };
        let answer = tokio::select! {
            answer = kept.renew(asked.id, patience) => answer,
            () = sleep_until(tenure.until()) => continue,
        };
        match answer {
            Ok((ttl, revision)) => tenure.renewed(asked, ttl, revision, BootTime::now()),
            Err(error) if K::is_loss(&error) => return Loss::Refused(Arc::new(error)),
            Err(error) => tenure.failed(Arc::new(error), BootTime::now()),
        }
        kept.tried(tenure);
    }
}

/// Waits until the holder has to begin to stop. `look` finds in the keeper's state how long it has, or how it was lost.
pub(super) async fn ending<S>(
    mut state: watch::Receiver<S>,
    look: impl Fn(&S) -> Result<Term, Ending>,
) -> Ending {
    loop {
        let seen = look(&state.borrow_and_update());
        let term = match seen {
            Ok(term) => term,
            Err(ending) => return ending,
        };
        if term.stop_at <= BootTime::now() {
            return Ending {
                why: Loss::Expired(term.trouble),
                deadline: term.until,
            };
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() {
                // The runtime that it was kept by is gone: nobody renews it.
                sleep_until(term.stop_at).await;
            },
            () = sleep_until(term.stop_at) => {}
        }
    }
}
