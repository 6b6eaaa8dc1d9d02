//! Lists: once, or again and again.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::signal::unix::SignalKind;

use crate::{
    client::{Items, Pages},
    protocol::{
        error::ErrorCode,
        port::{Limit, PAGE_ITEMS_MAX},
    },
};

use super::{
    failure::{Exit, Failure},
    order::{self, Columns},
    output::{Block, Detail, Output, Reader, begin_drawing, reader_is_gone},
    parse,
    session::Session,
    signals::{Ignored, Listener},
};

/// How often a list is asked for when nobody says.
const INTERVAL_DEFAULT: &str = "2";
/// Members of a list and of its items that run with the time, or grow when something stays as it is. A list
/// that differs in nothing else has not changed.
const RUNNING: [&str; 6] = [
    "revision",
    "expires_in_ms",
    "renew_after_ms",
    "expires_at",
    "fencing_token",
    "ignored",
];

/// How a list is asked for.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Items to ask for at once, 1 to 1000. All come, whatever it is [default: 1000].
    #[arg(long, value_name = "N", value_parser = parse::limit)]
    limit: Option<Limit>,
    /// Sort by a column instead of by the key, in the opposite order with - before it: --sort left, --sort -left.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Show no header, and each row on one line, for programs that read columns.
    #[arg(long)]
    no_headers: bool,
    /// Ask again every 2 seconds, or as often as it says: a terminal shows what there is now. Elsewhere the
    /// list comes again when it has changed (more than in what is left of a time), with an empty line behind
    /// it; with -o json on one line. Goes on while no registry answers; Ctrl-C ends it, with exit code 0.
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = INTERVAL_DEFAULT,
        value_parser = parse::interval
    )]
    watch: Option<Duration>,
}

impl Listing {
    /// As much at once as there may be, unless told otherwise.
    pub(super) fn limit(&self) -> Option<Limit> {
        self.limit.or_else(most)
    }

    /// Shows a list. It comes back when it was shown once.
    pub(super) async fn show<R>(
        &self,
        session: &Session,
        request: R,
        columns: Columns,
        names: impl Fn(&R::Page) -> Vec<String>,
        blocks: impl Fn(&R::Page, Detail) -> Vec<Block>,
    ) -> Result<Option<R::Page>, Failure>
    where
        R: Pages,
        R::Page: Serialize + Items,
    {
        let Some(interval) = self.watch else {
            let list = self.get(session, &request, columns).await?;
            self.output(session).show(&list, names, blocks)?;
            return Ok(Some(list));
        };
        let ended = told_to_end()?;
        let watching = self.watch(session, request, columns, interval, names, blocks);
        tokio::select! {
            () = ended => Ok(None),
            watched = watching => watched.map(|()| None),
        }
    }

    fn output(&self, session: &Session) -> Output {
        if self.no_headers {
            session.output.without_headers()
        } else {
            session.output
        }
    }

    /// The list, in the order that is wanted.
    async fn get<R>(
        &self,
        session: &Session,
        request: &R,
        columns: Columns,
    ) -> Result<R::Page, Failure>
    where
        R: Pages,
        R::Page: Items,
    {
        let mut list = session.all(request).await?;
        if let Some(column) = &self.sort {
            order::sort(list.items_mut(), column, columns)?;
        }
        Ok(list)
    }

    /// Shows a list again and again, until nobody reads it. What goes wrong after the first time is told once,
    /// and waited for to pass.
    async fn watch<R>(
        &self,
        session: &Session,
        request: R,
        columns: Columns,
        interval: Duration,
        names: impl Fn(&R::Page) -> Vec<String>,
        blocks: impl Fn(&R::Page, Detail) -> Vec<Block>,
    ) -> Result<(), Failure>
    where
        R: Pages,
        R::Page: Serialize + Items,
    {
        let output = self.output(session);
        let redraws = output.redraws();
        let mut list = self.get(session, &request, columns).await?;
        if redraws {
            begin_drawing()?;
        }
        let mut shown = None;
        let mut trouble = None;
        loop {
            let now = settled(&list);
            let reader = if redraws {
                output.redraw(&list, &names, &blocks)?
            } else if shown.as_ref() != Some(&now) {
                output.show_next(&list, &names, &blocks)?
            } else {
                Reader::There
            };
            shown = Some(now);
            // No instance that lags takes back what another one has shown.
            let mut known = Some(R::revision(&list));
            list = loop {
                if reader == Reader::Gone || reader_is_gone() {
                    return Ok(());
                }
                tokio::time::sleep(interval).await;
                let request = request.clone();
                let request = match known {
                    Some(revision) => request.behind(revision),
                    None => request,
                };
                match self.get(session, &request, columns).await {
                    Ok(list) => break list,
                    // The store was put back: what was known is no measure any more.
                    Err(failure) if failure.is(ErrorCode::StoreChanged) => known = None,
                    Err(failure) => complain(session, &failure, &mut trouble),
                }
            };
            if trouble.take().is_some() {
                output.note("The registry answers again.");
            }
        }
    }
}

/// As many items at once as there may be.
pub(super) fn most() -> Option<Limit> {
    Limit::try_from(PAGE_ITEMS_MAX).ok()
}

/// Tells of trouble that is new.
fn complain(session: &Session, failure: &Failure, trouble: &mut Option<String>) {
    let text = failure.text("");
    if trouble.as_ref() != Some(&text) {
        session.output.failure(failure);
        *trouble = Some(text);
    }
}

/// What of a list does not run with the time.
fn settled<T: Serialize>(list: &T) -> Value {
    let mut list = serde_json::to_value(list).unwrap_or_default();
    forget_running(&mut list);
    if let Some(Value::Array(items)) = list.get_mut("items") {
        items.iter_mut().for_each(forget_running);
    }
    list
}

fn forget_running(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|name, _| !RUNNING.contains(&name.as_str()));
    }
}

/// When somebody ends this process by hand.
fn told_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let ignored = Ignored::look();
    let listen = |kind| {
        Listener::new(kind, ignored).map_err(|error| {
            Failure::new(
                Exit::Failed,
                "SIGNALS",
                format!("cannot wait for signals: {error}"),
            )
        })
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            () = interrupt.next() => {}
            () = terminate.next() => {}
            () = hang_up.next() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_has_changed_when_more_than_time_has_passed() {
        let list = |left: u64, liveness: &str| {
            settled(&json!({"revision": left, "items": [
                {"node_id": "a", "liveness": liveness, "expires_in_ms": left, "fencing_token": left},
            ]}))
        };
        assert_eq!(list(1, "online"), list(2, "online"));
        assert_ne!(list(1, "online"), list(1, "expired"));
        assert_ne!(list(1, "online"), settled(&json!({"items": []})));
    }
}
