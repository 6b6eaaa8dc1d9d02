//! Checks of the log: its stream, and what stands in it.

use jiff::SignedDuration;
use onex_core::engine::StartError;
use onex_log::Difference;

use crate::registry::{driver::LoadError, high_water::store_id};

use super::{
    facts::{Facts, Named},
    problem::{Judged, Problem},
};

pub(super) const CHECKS: &[Named] = &[
    ("store.exists", exists),
    ("store.format", format),
    ("store.settings", settings),
    ("store.leader", leader),
    ("store.copies", copies),
    ("store.current", current),
    ("store.size", size),
    ("store.history", history),
    ("store.snapshot", snapshot),
    ("store.readable", readable),
    ("store.foreign", foreign),
    ("store.quiet", quiet),
];

/// From so many hundredths of its size on, a log is cut short at once.
const SIZE_WARN_PERCENT: u64 = 80;
/// From so many hundredths of its size on, nothing is granted.
const SIZE_FAIL_PERCENT: u64 = 90;
/// Copies with which one server may be lost, and writing goes on.
const COPIES_MIN: usize = 3;
/// How old a snapshot may be behind which something has changed: one is due after ten minutes.
const SNAPSHOT_AGE_MAX: SignedDuration = SignedDuration::from_mins(30);

fn exists(facts: &Facts) -> Judged {
    match &facts.log {
        Err(onex_log::Error::Missing { stream }) => Err(Problem::fail(
            format!("stream {stream} does not exist"),
            match facts.noted.revision(None) {
                Some(_) => {
                    "stop every instance; then `onex restore DIR` puts back a backup, and without one \
                     `onex doctor --accept-restore` makes a new log"
                }
                None => {
                    "`onex restore DIR` puts back a backup; without one `onex serve` makes a new log"
                }
            },
        )),
        Ok(_) | Err(onex_log::Error::FormatOne { .. } | onex_log::Error::Upgrading { .. }) => {
            Ok(())
        }
        Err(onex_log::Error::NoJetStream | onex_log::Error::NoResponders { .. }) => {
            Err(Problem::not_checked("JetStream does not answer"))
        }
        Err(_) => facts.log().map(|_| ()),
    }
}

fn format(facts: &Facts) -> Judged {
    let upgrade = "stop every instance and run `onex doctor --upgrade`";
    match &facts.log {
        Err(onex_log::Error::FormatOne { bucket }) => {
            let finding = format!(
                "bucket {bucket} has a key for each record, as an earlier version wrote it"
            );
            return Err(Problem::fail(finding, upgrade));
        }
        Err(onex_log::Error::Upgrading { bucket }) => {
            let finding = format!("an upgrade of bucket {bucket} has broken off");
            return Err(Problem::fail(finding, upgrade));
        }
        _ => {}
    }
    if let Some(StartError::Format { sequence, format }) = load_error(facts) {
        return Err(Problem::fail(
            format!(
                "the entry at {sequence} has format {format}, which a newer version has written"
            ),
            "start a newer version; this one changes nothing",
        ));
    }
    facts.loaded().map(|_| ())
}

fn settings(facts: &Facts) -> Judged {
    let log = facts.log()?;
    if log.differences.is_empty() {
        return Ok(());
    }
    Err(Problem::fail(
        format!(
            "of stream {}: {}",
            log.name,
            Difference::list(&log.differences)
        ),
        Difference::remedy(&log.name, &log.differences),
    ))
}

fn leader(facts: &Facts) -> Judged {
    let bucket = &facts.bucket;
    let start = "start its servers again: more than half of those that keep a copy must run";
    match &facts.log {
        Ok(log) if log.is_clustered && log.info.leader.is_none() => {
            let finding = format!("no server leads the stream of bucket {bucket}");
            Err(Problem::fail(finding, start))
        }
        Err(error) if error.silence().is_some() && facts.refusal.is_none() => Err(Problem::fail(
            format!(
                "nobody answers for bucket {bucket}: {}",
                onex_types::chain(error)
            ),
            start,
        )),
        _ => facts.log().map(|_| ()),
    }
}

fn copies(facts: &Facts) -> Judged {
    let log = facts.log()?;
    if !log.is_clustered || log.replicas >= COPIES_MIN {
        return Ok(());
    }
    let (name, replicas) = (&log.name, log.replicas);
    Err(Problem::warn(
        format!(
            "stream {name} has num_replicas {replicas} on a cluster: where a server is lost, nothing can be written; with \
             {COPIES_MIN} one of them may be"
        ),
        format!(
            "`nats stream edit {name} --replicas {COPIES_MIN}`, and the same for streams {} and {}",
            facts.namespace.events_stream(),
            facts.view_stream
        ),
    ))
}

fn current(facts: &Facts) -> Judged {
    let log = facts.log()?;
    let behind = log
        .peers
        .iter()
        .filter(|peer| peer.offline || !peer.current);
    let behind: Vec<String> = behind
        .map(|peer| match (peer.offline, peer.lag) {
            (true, _) => format!("{} is away", peer.name),
            (_, lag) => format!("{} lacks {lag} operations", peer.name),
        })
        .collect();
    if behind.is_empty() {
        return Ok(());
    }
    Err(Problem::warn(
        format!(
            "of {} copies of stream {} not all have everything: {}",
            log.replicas,
            log.name,
            behind.join("; ")
        ),
        "start the servers that are away, and wait for the others; for a server that is gone for good, \
         `nats server raft peer-remove` lets another one take its copy",
    ))
}

fn size(facts: &Facts) -> Judged {
    let log = facts.log()?;
    let (bytes, max) = (log.info.bytes, log.info.bytes_max);
    let is_above = |percent| bytes.saturating_mul(100) > max.saturating_mul(percent);
    let remedy = "start an instance with a larger --store-bytes-max; where that is larger already, see server.storage";
    let finding = |what| format!("stream {} has {bytes} of {max} bytes: {what}", log.name);
    if is_above(SIZE_FAIL_PERCENT) {
        let finding = finding("above 90 % nothing is granted");
        return Err(Problem::fail(finding, remedy));
    }
    if is_above(SIZE_WARN_PERCENT) {
        let finding = finding("above 80 % it is cut short at once, which did not help");
        return Err(Problem::warn(finding, remedy));
    }
    Ok(())
}

fn load_error(facts: &Facts) -> Option<&StartError> {
    match facts.opened.as_ref().ok()?.loaded.as_ref().err()? {
        LoadError::Start(error) | LoadError::Proved(error) => Some(error),
        LoadError::Store(_) | LoadError::Lost(_) => None,
    }
}

fn history(facts: &Facts) -> Judged {
    let remedy = "if it was restored from a backup, or made anew, stop every instance and run `onex doctor --accept-restore`";
    if let Some(StartError::WentBack(at)) = load_error(facts) {
        let finding = format!("the log went back: {at} is not what it was");
        return Err(Problem::fail(finding, remedy));
    }
    let state = facts.state()?;
    let (found, known) = (state.revision(), facts.noted.revision(store_id(state)));
    match known {
        Some(known) if known > found => Err(Problem::fail(
            format!(
                "the log ends at revision {found}, and revision {known} was there: the store went back"
            ),
            remedy,
        )),
        _ => Ok(()),
    }
}

fn snapshot(facts: &Facts) -> Judged {
    if let Some(StartError::NoSnapshot(at)) = load_error(facts) {
        return Err(Problem::fail(
            format!("there is no snapshot at {at}: somebody removed a part of the log"),
            "restore the bucket from a backup with `onex restore DIR`; without one, stop every instance, remove the bucket and \
             run `onex doctor --accept-restore`",
        ));
    }
    let is_behind = facts.loaded()?.snapshots().is_behind();
    // Who would write one?
    facts.instances()?;
    let begun = facts.opened.as_ref().ok().and_then(|it| it.snapshot_at);
    let age = facts.log()?.told_at.zip(begun);
    age.map_or(Ok(()), |(told, begun)| {
        lateness(told.duration_since(begun), is_behind)
    })
}

/// Whether a snapshot of that age, behind which something has changed or not, should have been followed by another one.
fn lateness(age: SignedDuration, is_behind: bool) -> Judged {
    if !is_behind || age <= SNAPSHOT_AGE_MAX {
        return Ok(());
    }
    Err(Problem::warn(
        format!(
            "the newest snapshot of the log is {} minutes old, though something has changed since: one is due after ten",
            age.as_mins()
        ),
        "see what the instances have logged; restart them one after the other",
    ))
}

fn readable(facts: &Facts) -> Judged {
    use StartError::{Format, NoSnapshot, Older, WentBack};
    let opened = facts.opened.as_ref();
    let opened = opened.map_err(|_| Problem::not_checked("the log cannot be opened"))?;
    match (&opened.loaded, load_error(facts)) {
        (Ok(_), _) => Ok(()),
        (_, Some(Format { .. } | NoSnapshot(_) | Older { .. } | WentBack(_))) => Err(
            Problem::not_checked("see the checks of the store that fail"),
        ),
        (Err(error), _) => Err(Problem::fail(
            onex_types::chain(error),
            "restore the log from a backup: `onex restore DIR`",
        )),
    }
}

fn foreign(facts: &Facts) -> Judged {
    let Some(foreign) = facts.loaded()?.foreign() else {
        return Ok(());
    };
    let stream = &facts.log()?.name;
    Err(Problem::warn(
        format!(
            "{} messages of stream {stream} behind its newest snapshot are not a registry's, the last one at {}: they change \
             nothing, and take room",
            foreign.count, foreign.last
        ),
        "allow nobody but the registry to write there, or keep the log in an account of its own (--store-nats)",
    ))
}

fn quiet(facts: &Facts) -> Judged {
    let quiet = facts.state()?.quiet_until();
    if quiet.is_none() {
        return Ok(());
    }
    Err(Problem::warn(
        "the store was restored: no port is granted for the longest TTL from when an instance has started on it",
        "if all that held a lease were started again since, stop every instance and run \
         `onex doctor --accept-restore --holders-restarted`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_late_where_something_has_changed_for_half_an_hour() {
        let after = |minutes, is_behind| lateness(SignedDuration::from_mins(minutes), is_behind);
        assert!(after(31, false).is_ok() && after(30, true).is_ok());
        let problem = format!("{:?}", after(31, true).unwrap_err());
        assert!(problem.contains("31 minutes old") && problem.contains("Warn"));
    }
}
