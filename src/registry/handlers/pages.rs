//! What readers see: lists, as much as fits into a reply, and single things.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use onex_core::{command::Action, engine::STALE_MILLIS};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    protocol::{
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome},
        frame::Parsed,
        port::{Limit, ResolveRequest},
    },
    registry::{
        intake::Intake,
        message::{ReplyFields, RequestFields, to_bytes},
        queries::{self, Catalog},
        refusal::index_read,
        request::InFlight,
    },
};

/// Bytes of a page, at most: what waits to be sent to slow readers is bounded by this times the requests in flight and the
/// messages that the connection holds.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// The number of errors that say that something is not there.
const NOT_FOUND: u16 = 404;
/// How long an answer waits for `min_revision`, at most.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

/// A page of what `make` finds, shorter where it would be too long.
pub(super) async fn list<Q: RequestFields, R: Serialize + ReplyFields>(
    intake: &Intake,
    in_flight: &InFlight,
    Parsed {
        mut request,
        ignored,
    }: Parsed<Q>,
    make: impl Fn(Catalog<'_>, &Q, usize) -> Result<R, Error>,
) -> Result<Bytes, Error> {
    if let Some(host) = request.host() {
        *host = intake.meant(host.clone())?;
    }
    catch_up(intake, in_flight, request.min_revision()).await?;
    let limit = request.limit();
    fitting(intake, in_flight, limit, |catalog, limit| {
        let mut page = make(catalog, &request, limit)?;
        page.set_ignored(ignored.clone());
        Ok(page)
    })
}

/// What `make` makes of as many items as fit.
pub(super) fn fitting<R: Serialize>(
    intake: &Intake,
    in_flight: &InFlight,
    limit: Option<Limit>,
    make: impl Fn(Catalog<'_>, usize) -> Result<R, Error>,
) -> Result<Bytes, Error> {
    let bytes_max = intake.replies.reply_bytes_max().min(PAGE_BYTES_MAX);
    let mut limit = limit.unwrap_or_default().get();
    loop {
        let page = read(intake, in_flight, |catalog| make(catalog, limit))?;
        let body = to_bytes(&page)?;
        if body.len() <= bytes_max || limit == 1 {
            return Ok(body);
        }
        // As many as fit if they are all alike, less a tenth because they are not.
        limit = (limit * bytes_max / body.len() * 9 / 10).max(1);
    }
}

/// One thing. That it is not there is said only behind an entry that was sent after the question.
pub(super) async fn one<Q: RequestFields, R: Serialize + ReplyFields>(
    intake: &Intake,
    in_flight: &InFlight,
    Parsed { request, ignored }: Parsed<Q>,
    make: impl Fn(Catalog<'_>, &Q) -> Result<R, Error>,
) -> Result<Bytes, Error> {
    catch_up(intake, in_flight, request.min_revision()).await?;
    let make = |catalog: Catalog<'_>| make(catalog, &request);
    let mut reply = found(intake, in_flight, make).await?;
    reply.set_ignored(ignored);
    to_bytes(&reply)
}

/// What `make` finds. That something is not there is said only behind an entry that was sent after the question.
pub(super) async fn found<R>(
    intake: &Intake,
    in_flight: &InFlight,
    make: impl Fn(Catalog<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    match read(intake, in_flight, &make) {
        Err(error) if error.code.number() == NOT_FOUND => {
            make_sure(intake, in_flight).await?;
            read(intake, in_flight, &make)
        }
        found => found,
    }
}

/// What readers see, not older than the caller allows.
pub(super) fn read<R>(
    intake: &Intake,
    in_flight: &InFlight,
    make: impl FnOnce(Catalog<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let now = intake.clock.now().mono;
    let max_age = in_flight.max_age.unwrap_or(STALE_MILLIS);
    let read = intake.driver.handle.reads.within(now, max_age, |state| {
        let catalog = Catalog { state, now };
        make(catalog).map_err(|error| error.at(catalog.revision()))
    });
    let (found, age) = read.ok_or_else(|| Error::unavailable(Outcome::None))?;
    in_flight.age.get_or_init(|| age);
    found
}

/// [`read_index`], where the caller does not take what may be old: the next look is at everything that is in the log now.
pub(super) async fn make_sure(intake: &Intake, in_flight: &InFlight) -> Result<(), Error> {
    match read_index(intake, in_flight).await {
        Err(error) if error.code == ErrorCode::StoreUnavailable && in_flight.max_age.is_some() => {
            Ok(())
        }
        done => done,
    }
}

/// Waits until readers see a revision that the caller has seen.
pub(super) async fn catch_up(
    intake: &Intake,
    in_flight: &InFlight,
    min_revision: Option<u64>,
) -> Result<(), Error> {
    let Some(wanted) = min_revision else {
        return Ok(());
    };
    let reads = &intake.driver.handle.reads;
    check_lost(intake, wanted)?;
    if reads.revision() >= wanted {
        return Ok(());
    }
    let until = intake.clock.until(in_flight.deadline).min(CATCH_UP_MAX);
    // What is in the log is read behind an entry of our own. A revision that is not in it yet may come.
    let caught_up = async {
        read_index(intake, in_flight).await?;
        reads.reach(wanted).await;
        Ok::<(), Error>(())
    };
    if let Ok(Ok(())) = timeout(until, caught_up).await {
        // A restored log may have been accepted meanwhile.
        return check_lost(intake, wanted);
    }
    let message = "this instance has not seen min_revision yet";
    let stale = Error::new(ErrorCode::Stale, message).after(BUSY_RETRY_MILLIS);
    Err(stale.with("revision", reads.revision()))
}

/// Refuses a revision that was lost when the store was restored.
fn check_lost(intake: &Intake, revision: u64) -> Result<(), Error> {
    if !intake.driver.handle.reads.is_skipped(revision) {
        return Ok(());
    }
    let message = "min_revision is from before the store was restored";
    Err(Error::new(ErrorCode::StoreChanged, message).with("pointer", "/min_revision"))
}

/// Waits until this instance has read everything that is in the log now.
pub(super) async fn read_index(intake: &Intake, in_flight: &InFlight) -> Result<(), Error> {
    let outcome = intake.decide(in_flight, Action::ReadIndex).await?;
    index_read(outcome).map(|_| ())
}

/// `port.resolve`.
pub(super) async fn resolve(
    intake: &Intake,
    in_flight: &InFlight,
    message: &Message,
    parsed: Parsed<ResolveRequest>,
) -> Result<Bytes, Error> {
    // Every field has a default, and still it is no request: an empty body is taught here.
    let empty = message.payload.trim_ascii().is_empty();
    let help = in_flight.endpoint.help(&intake.namespace);
    list(intake, in_flight, parsed, queries::resolved)
        .await
        .map_err(|error| match serde_json::to_value(help) {
            Ok(help) if empty => error.with("help", help),
            _ => error,
        })
}
