//! Renewing in the background: what a lease and a node have in common.

use std::{future::Future, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::domain::ids::{RequestId, Ttl};

use super::{
    Error,
    clock::{BootTime, sleep_until},
    loss::Loss,
    tenure::{Step, Tenure},
};

/// A request id of its own.
pub(super) fn fresh() -> RequestId {
    RequestId(Uuid::now_v7())
}

/// What is renewed.
pub(super) trait Kept {
    /// Makes one try of the renewal of that id: the TTL and the fencing token that it was answered with.
    fn renew(
        &self,
        id: RequestId,
        patience: Duration,
    ) -> impl Future<Output = Result<(Ttl, u64), Error>> + Send;

    /// Whether a refusal of a renewal means that it is lost. All else leaves it to the holder's clock.
    fn is_loss(error: &Error) -> bool;

    /// A renewal counts.
    fn renewed(&self, tenure: &Tenure);
}

/// Renews until the time is up or a refusal tells of the loss.
pub(super) async fn keep<K: Kept>(kept: &K, tenure: &mut Tenure) -> Loss {
    let mut last = None;
    loop {
        let (asked, patience) = match tenure.step(BootTime::now(), fresh()) {
            Step::Over => return Loss::Expired(last),
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
            Ok((ttl, token)) => {
                tenure.renewed(asked, ttl, token, BootTime::now());
                last = None;
                kept.renewed(tenure);
            }
            Err(error) if K::is_loss(&error) => return Loss::Told(Arc::new(error)),
            Err(error) => {
                tenure.failed(&error, BootTime::now());
                last = Some(Arc::new(error));
            }
        }
    }
}
