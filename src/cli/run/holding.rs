//! The leases of a command under way: what is said of them, and until when the command may run.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use futures::future::{join_all, select_all};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::{self, Output},
    },
    client::{self, BootTime, Ending, LeaseGuard, Loss, sleep_until},
    protocol::error::ErrorCode,
};

/// How long before a lease ends its command gets SIGKILL, at most: that takes a moment as well.
const KILL_EARLIER_MAX: Duration = Duration::from_millis(250);
/// And never more than this part of the time that the command has to end.
const KILL_EARLIER_PART: u32 = 5;

/// A port with its transport, and the name of its lease where it has one: `web, port 8080/tcp`.
fn shown(guard: &LeaseGuard) -> String {
    let lease = guard.lease();
    let port = format!("port {}/{}", lease.port, lease.transport);
    match &lease.name {
        Some(name) => format!("{name}, {port}"),
        None => port,
    }
}

/// In which time that is.
fn left(moment: BootTime) -> Duration {
    moment.since(BootTime::now())
}

fn span(time: Duration) -> String {
    client::span(time)
}

/// Waits for the moment at which a command that is told to end gets SIGKILL: `grace` from now, and before any of its
/// leases ends.
pub(super) async fn last_moment(held: &[LeaseGuard], grace: Duration) {
    let earlier = (grace / KILL_EARLIER_PART).min(KILL_EARLIER_MAX);
    let enough = BootTime::now() + grace;
    loop {
        // Renewals may move it.
        let deadlines = held.iter().map(|guard| guard.deadline() - earlier);
        let moment = deadlines.min().unwrap_or(enough).min(enough);
        if left(moment).is_zero() {
            return;
        }
        sleep_until(moment).await;
    }
}

/// Waits until the command has to be told to end, because of the lease at that place.
pub(super) fn ending(held: &[LeaseGuard]) -> impl Future<Output = (Ending, usize)> + use<> {
    let endings: Vec<_> = held.iter().map(|guard| Box::pin(guard.ending())).collect();
    async {
        let (ending, place, _) = select_all(endings).await;
        (ending, place)
    }
}

/// Why the run ends, and until when the command, where it runs.
pub(super) fn lost(
    held: &[LeaseGuard],
    place: usize,
    ending: &Ending,
    grace: Option<Duration>,
) -> Failure {
    let what = held.get(place).map(shown).unwrap_or_default();
    let then = grace.map(|grace| {
        let within = span(left(ending.deadline).min(grace));
        format!("; ending the command: SIGTERM now, SIGKILL within {within}")
    });
    let message = format!(
        "the lease of {what} is lost: {}{}",
        reason(&ending.why),
        then.unwrap_or_default()
    );
    Failure::new(Exit::Failed, "LEASE_LOST", message)
}

/// Why it is lost; the registry's own words name the lease again.
fn reason(why: &Loss) -> String {
    let refusal = match why {
        Loss::Refused(error) => match &**error {
            client::Error::Refused(refusal) => Some(refusal),
            _ => None,
        },
        Loss::Expired(_) | Loss::Released => None,
    };
    let said = match refusal.map(|refusal| refusal.code) {
        Some(ErrorCode::LeaseExpired) => "that it has ended",
        Some(ErrorCode::LeaseNotFound) => "that there is none such",
        Some(ErrorCode::NotHolder) => "that it is another requester's",
        _ => return onex_types::chain(why),
    };
    format!("the registry says {said}")
}

/// Tells of each outage: when it begins, with when it will end the command, and when it is over.
pub(super) async fn tell_of_outages(
    held: &[LeaseGuard],
    mut connected: watch::Receiver<bool>,
    output: Output,
) -> Infallible {
    loop {
        let troubled = select_all(held.iter().map(|guard| Box::pin(guard.troubled())));
        let why = tokio::select! {
            (trouble, _, _) = troubled => onex_types::chain(&*trouble),
            () = becomes(&mut connected, false) => "the connection to the NATS server is lost".to_owned(),
        };
        output.failure(&outage(held, &why));
        becomes(&mut connected, true).await;
        join_all(held.iter().map(LeaseGuard::untroubled)).await;
        output.note("onex: the outage is over: the command goes on");
    }
}

/// Waits for that state of the connection.
async fn becomes(connected: &mut watch::Receiver<bool>, wanted: bool) {
    if connected.wait_for(|now| *now == wanted).await.is_err() {
        // Nobody tells of it any more.
        std::future::pending::<()>().await;
    }
}

fn outage(held: &[LeaseGuard], why: &str) -> Failure {
    let soonest = held.iter().map(LeaseGuard::stop_at).min();
    let time = soonest.map_or(Duration::ZERO, left);
    let at = Timestamp::now() + time;
    let message = format!(
        "the leases cannot be renewed: {why}; the command is ended in {}, at {}, unless a registry answers before",
        span(time),
        output::at(at)
    );
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Failure::new(Exit::Unreachable, "NOT_RENEWED", message).with("ends_in_ms", millis)
}

/// Gives none of them back, for something still uses their ports: they end with their TTL.
pub(super) fn keep(held: Vec<LeaseGuard>) {
    // A guard that is dropped gives its lease back.
    std::mem::forget(held);
}

/// Gives all of them back, at the same time.
pub(super) async fn release(held: Vec<LeaseGuard>, output: Output) {
    let released = held.into_iter().map(|guard| async {
        let (what, left, since) = (shown(&guard), guard.remaining(), Instant::now());
        match guard.release().await {
            // What has ended meanwhile is nobody's any more.
            Err(error) if since.elapsed() < left => {
                let why = onex_types::chain(&error);
                output.note(&format!(
                    "onex: {what} was not released, and stays taken until its lease ends: {why}"
                ));
            }
            // What is lost has ended or will, without anybody's help.
            Ok(_) | Err(_) => {}
        }
    });
    join_all(released).await;
}
