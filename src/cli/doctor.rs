//! `onex doctor`: looks at a registry's store.

use clap::Args;
use serde::Serialize;

use crate::registry::{Accepted, LeftRecord, Report, Upgraded};

use super::{
    connection::Flags,
    failure::{Exit, Failure},
    output::{Block, Lines, NOTHING, Output, Table, plain, span, yes_or_no},
    store_access::{Access, StoreAccess},
};

/// Look at the store of a registry, and say whether one starts on it.
///
/// Finds the store as `onex serve` does: without --nats and --context that is the one of a NATS server of its own, which must
/// not be running. It changes nothing but with --accept-restore and --upgrade.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex doctor --nats nats://127.0.0.1:4222 --accept-restore")]
pub(super) struct Doctor {
    /// Go on from what the store says, though more was known: it was restored from a backup, or made anew. Stop every
    /// instance first. Nothing is granted for the longest TTL, because those who hold what is lost may use it until then.
    #[arg(long)]
    accept_restore: bool,
    /// All that held a lease have been started again since, so that leases are granted at once.
    #[arg(long, requires = "accept_restore")]
    holders_restarted: bool,
    /// Make a log of a bucket that a version before the log has written, with a key for each record, so that this version
    /// can start on it. Stop every instance first. What was in the bucket is kept as a stream beside it. If it breaks off,
    /// run it again.
    #[arg(long, conflicts_with = "accept_restore")]
    upgrade: bool,
    #[command(flatten)]
    access: StoreAccess,
}

impl Doctor {
    pub(super) async fn run(self, flags: &Flags, output: Output) -> Result<Exit, Failure> {
        let access = self.access.open(flags).await?;
        let done = self.examine(&access, output).await;
        access.close().await;
        done
    }

    async fn examine(&self, access: &Access, output: Output) -> Result<Exit, Failure> {
        let doctor = access.doctor();
        if self.accept_restore {
            let accepted = doctor.accept_restore(self.holders_restarted).await;
            return show_accepted(&accepted.map_err(|error| access.failed(&error))?, output);
        }
        if self.upgrade {
            let upgraded = doctor.upgrade().await;
            return show_upgraded(upgraded.map_err(|error| access.failed(&error))?, output);
        }
        let report = doctor.examine().await;
        let report = report.map_err(|error| access.failed(&error))?;
        show(&report, output)?;
        match &report.refused {
            None => Ok(Exit::Done),
            Some(why) => Err(Failure::new(Exit::Failed, "STORE_CHANGED", why.as_str())),
        }
    }
}

/// When leases are granted on a store that was accepted.
pub(super) fn granted(accepted: &Accepted) -> String {
    match accepted.quiet_ms.div_ceil(1_000) {
        0 => "at once".to_owned(),
        seconds => format!("{} after the registry has started", span(seconds * 1_000)),
    }
}

fn show_accepted(accepted: &Accepted, output: Output) -> Result<Exit, Failure> {
    output.show(
        accepted,
        |accepted| vec![accepted.revision.to_string()],
        |accepted, _| {
            let table = Table::values()
                .row(["Known revision", &accepted.known.to_string()])
                .row(["Goes on at revision", &accepted.revision.to_string()])
                .row(["Leases are granted", &granted(accepted)]);
            vec![table.into()]
        },
    )?;
    Ok(Exit::Done)
}

/// What came of an upgrade, for programs.
#[derive(Serialize)]
struct Upgrade {
    /// Whether there was anything to do.
    upgraded: bool,
    #[serde(flatten)]
    what: Option<Upgraded>,
}

fn show_upgraded(what: Option<Upgraded>, output: Output) -> Result<Exit, Failure> {
    let upgrade = Upgrade {
        upgraded: what.is_some(),
        what,
    };
    output.show(
        &upgrade,
        |upgrade| {
            let what = upgrade.what.iter();
            what.map(|what| what.kept_as.clone()).collect()
        },
        |upgrade, _| {
            let nothing = "Nothing to upgrade: the store has the format that this version writes.";
            let nothing = || vec![Lines::paragraphs(0, nothing).into()];
            upgrade.what.as_ref().map_or_else(nothing, upgraded_blocks)
        },
    )?;
    Ok(Exit::Done)
}

fn upgraded_blocks(what: &Upgraded) -> Vec<Block> {
    let count = |count: usize| count.to_string();
    let table = Table::values()
        .row(["Leases", &count(what.leases)])
        .row(["Other ports", &count(what.ports)])
        .row(["Nodes", &count(what.nodes)])
        .row(["Buses", &count(what.buses)])
        .row(["Nodes with reports", &count(what.trust)])
        .row(["Calls", &count(what.calls)])
        .row(["Nodes with counts", &count(what.executions)])
        .row(["Hosts", &count(what.hosts)])
        .row(["Not taken over", &count(what.left)])
        .row(["Events not published", &count(what.events_lost)])
        .row(["Goes on at revision", &what.revision.to_string()])
        .row(["Bucket kept as", &what.kept_as]);
    let mut blocks = vec![table.into()];
    if !what.left_records.is_empty() {
        let row = |left: &LeftRecord| {
            let reserved = left.reserved_ms.map_or_else(|| NOTHING.to_owned(), span);
            [
                plain(&left.key).into_owned(),
                reserved,
                plain(&left.why).into_owned(),
            ]
        };
        let table = Table::new(&["NOT TAKEN OVER", "PORT RESERVED FOR", "WHY"]);
        blocks.push(table.rows(&what.left_records, row).into());
    }
    blocks
}

fn show(report: &Report, output: Output) -> Result<(), Failure> {
    output.show(
        report,
        |report| vec![report.bucket.clone()],
        |report, _| {
            let number =
                |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let id = report
                .store_id
                .map_or_else(|| "-".to_owned(), |id| id.to_string());
            let noted = report.noted.as_ref().map(|note| note.revision);
            let size = format!("{} of {} bytes", report.bytes, report.bytes_max);
            let table = Table::values()
                .row(["Bucket", &report.bucket])
                .row(["Store id", &id])
                .row(["Created", &report.created_at.to_string()])
                .row(["Revision", &number(report.revision)])
                .row(["Last position", &report.sequence.to_string()])
                .row(["Entries", &report.messages.to_string()])
                .row(["Size", &size])
                .row(["Last event", &number(report.event_revision)])
                .row(["Noted here", &number(noted)])
                .row([
                    "A registry starts on it",
                    yes_or_no(report.refused.is_none()),
                ]);
            vec![table.into()]
        },
    )
}
