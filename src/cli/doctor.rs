//! `onex doctor`: looks at a registry, its store first of all.

use clap::{Args, builder::PossibleValuesParser};
use serde::Serialize;

use crate::registry::{
    Accepted, Check, LeftRecord, Report, Status, StreamReport, Upgraded, check_names,
};

use super::{
    connection::Flags,
    failure::{Exit, Failure},
    output::{Block, Line, Lines, NOTHING, Output, Table, plain, span, yes_or_no},
    store_access::{Access, StoreAccess},
};

/// Check a registry: its NATS server, its store, its instances, its ports and this machine.
///
/// Each check that does not end well says what is and what should be, and what to do. Finds the store as `onex serve` does:
/// without --nats and --context that is the one of a NATS server of its own, which must not be running. Run it with the
/// credentials of the registry. It changes nothing but with --accept-restore and --upgrade.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex doctor --nats nats://127.0.0.1:4222\n  \
                  onex doctor --nats nats://127.0.0.1:4222 --check store.size --check pools.free\n  \
                  onex doctor --nats nats://127.0.0.1:4222 --accept-restore"
)]
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
    /// Show this check only, and end as it does; may be given several times.
    #[arg(long = "check", value_name = "NAME", value_parser = PossibleValuesParser::new(check_names()),
        hide_possible_values = true, conflicts_with_all = ["accept_restore", "upgrade"])]
    checks: Vec<String>,
    #[command(flatten)]
    access: StoreAccess,
}

impl Doctor {
    pub(super) async fn run(self, flags: &Flags, output: Output) -> Result<Exit, Failure> {
        let access = self.access.open(flags, false).await?;
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
        let mut report = report.map_err(|error| access.failed(&error))?;
        for check in &mut report.checks {
            let is_of_bus = check.name.starts_with("events.") || check.name.starts_with("view.");
            let remedy = check.remedy.as_ref();
            check.remedy = remedy.map(|remedy| {
                if is_of_bus {
                    access.typed_for_bus(remedy)
                } else {
                    access.typed(remedy)
                }
            });
        }
        let is_partly = !self.checks.is_empty();
        if is_partly {
            let wanted = |check: &Check| self.checks.iter().any(|name| name == check.name);
            report.checks.retain(wanted);
        }
        show(&report, access, output, is_partly)?;
        match &report {
            Report {
                error: Some(error), ..
            } if !is_partly => Err(access.failed(error)),
            Report {
                refused: Some(why), ..
            } if !is_partly => Err(Failure::new(
                Exit::Failed,
                "STORE_CHANGED",
                access.typed(why),
            )),
            report => ended(&report.checks),
        }
    }
}

/// How it ends by its checks.
fn ended(checks: &[Check]) -> Result<Exit, Failure> {
    let failed = checks.iter().filter(|check| check.status == Status::Fail);
    let failed: Vec<&str> = failed.map(|check| check.name).collect();
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    let message = format!("these checks failed: {}", failed.join(", "));
    Err(Failure::new(Exit::Failed, "CHECK_FAILED", message))
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

fn show(report: &Report, access: &Access, output: Output, is_partly: bool) -> Result<(), Failure> {
    output.show(
        report,
        |report| vec![report.bucket.clone()],
        |report, _| {
            let checks: Lines = report.checks.iter().flat_map(check_lines).collect();
            if is_partly {
                return vec![checks.into()];
            }
            vec![
                summary(report, access).into(),
                Block::Heading("CHECKS".to_owned()),
                checks.into(),
            ]
        },
    )
}

/// Columns before what a check has found.
const FINDING_INDENT: u16 = 13;

/// A line with how it ended and its name; below that what was found, and what to do about it.
fn check_lines(check: &Check) -> Vec<Line> {
    let status = check.status.to_string();
    let (width, name) = (usize::from(FINDING_INDENT), check.name);
    let finding = check.finding.as_ref().map(|text| plain(text));
    let beside = finding
        .as_ref()
        .filter(|_| check.status == Status::NotChecked);
    let beside = beside.map_or_else(String::new, |why| format!(": {why}"));
    let below = |text: &str| Line::new(FINDING_INDENT, FINDING_INDENT, text);
    let first = format!("{status:width$}{name}{beside}");
    let mut lines = vec![Line::new(0, FINDING_INDENT, first)];
    lines.extend(finding.filter(|_| beside.is_empty()).map(|it| below(&it)));
    let remedy = check.remedy.as_ref();
    lines.extend(remedy.map(|remedy| below(&format!("-> {}", plain(remedy)))));
    lines
}

fn summary(report: &Report, access: &Access) -> Table {
    let number = |number: Option<u64>| number.map_or_else(unknown, |it| it.to_string());
    let of_stream = |text: fn(&StreamReport) -> String| {
        let stream = report.stream.as_ref();
        stream.map_or_else(unknown, text)
    };
    let id = report.store_id.map(|id| id.to_string());
    let noted = report.noted.as_ref().map(|note| note.revision);
    let starts = report.refused.is_none() && report.error.is_none();
    Table::values()
        .row(["NATS server", &access.place()])
        .row(["Bucket", &report.bucket])
        .row(["Store id", &id.unwrap_or_else(unknown)])
        .row(["Created", &of_stream(|it| it.created_at.to_string())])
        .row(["Revision", &number(report.revision)])
        .row(["Last position", &of_stream(|it| it.sequence.to_string())])
        .row(["Entries", &of_stream(|it| it.messages.to_string())])
        .row([
            "Size",
            &of_stream(|it| format!("{} of {} bytes", it.bytes, it.bytes_max)),
        ])
        .row(["Last event", &number(report.event_revision)])
        .row(["Noted here", &number(noted)])
        .row(["A registry starts on it", yes_or_no(starts)])
}

fn unknown() -> String {
    NOTHING.to_owned()
}
