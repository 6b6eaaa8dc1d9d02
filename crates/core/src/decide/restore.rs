//! Going on from a log that was restored from a backup, or made anew; raising its format.

use onex_types::{ids::Ttl, time::MonoMillis};

use crate::{
    command::{Answer, Command, Refusal},
    entry::{Change, is_understood},
    key::Key,
    mechanism::Mechanism,
    record::{Format, Record, Restored, RevisionRange},
    state::State,
    txn::Txn,
};

use super::{decided::Decided, system::put};

/// By how much an accepted restore raises the revision above all that is known: more than commands can have been decided
/// that nobody knows of, and few enough that 8,000 restores stay below 2^53.
pub const SKIPPED_REVISIONS: u64 = 1 << 40;

impl State {
    fn restored(&self) -> Option<(&Restored, MonoMillis)> {
        let slot = self.slot(&Key::Restored)?;
        Some((slot.record.restored()?.as_ref(), slot.since))
    }

    /// Whether no command of this log has that revision, because it was skipped when a restore was accepted: who names it
    /// knows of something that is lost.
    pub fn is_skipped(&self, revision: u64) -> bool {
        let skipped = self.restored().map(|(restored, _)| &restored.skipped);
        let mut skipped = skipped.into_iter().flatten();
        skipped.any(|range| (range.from..=range.to).contains(&revision))
    }

    /// How many restores were accepted.
    pub fn restores(&self) -> u64 {
        let skipped = self.restored().map(|(restored, _)| restored.skipped.len());
        skipped.map_or(0, |restores| restores as u64)
    }

    /// Until when nothing is granted after a restore; none where that is over and said so in the log.
    pub fn quiet_until(&self) -> Option<MonoMillis> {
        let (restored, since) = self.restored().filter(|(it, _)| it.quiet_ms > 0)?;
        Some(since.plus(restored.quiet_ms))
    }
}

/// Raises the revision above all that is known, and lets nothing be granted until what may be lost has run out.
pub(super) fn accept_restore(
    txn: &mut Txn<'_>,
    command: &Command,
    known: u64,
    holders_restarted: bool,
) -> Decided {
    let found = txn.state.revision();
    let skips = txn.state.mechanisms.on(Mechanism::SkipRevisions);
    let skipped = if skips { SKIPPED_REVISIONS } else { 0 };
    // This command itself has the next revision, and who knows of that one may know another command.
    let to = known.max(found + 1).saturating_add(skipped);
    let before = txn.state.slot(&Key::Restored);
    let before = before.and_then(|slot| slot.record.restored());
    let mut all = before.map_or_else(Vec::new, |before| before.skipped.clone());
    all.push(RevisionRange {
        from: found + 1,
        to: to.saturating_sub(1),
    });
    let ttl = txn.state.settings().map_or(Ttl::MAX, |it| it.ttl_max);
    let longest = ttl.millis();
    let quiet_ms = if holders_restarted {
        0
    } else {
        longest + onex_types::time::slack(longest)
    };
    let record = Restored {
        skipped: all,
        quiet_ms,
    };
    let changes = vec![put(Key::Restored, record.into()), Change::Skip { to }];
    txn.change("store.accept_restore", command, None, changes);
    Decided::answer(Answer::Done)
}

/// Puts records that were taken over from an earlier format. Nothing is told of them: it was when they came about.
pub(super) fn take_records(
    txn: &mut Txn<'_>,
    command: &Command,
    records: &[(Key, Record)],
    known: u64,
) -> Decided {
    let records = records.iter().cloned();
    let mut changes: Vec<Change> = records.map(|(key, record)| put(key, record)).collect();
    if known >= txn.revision() {
        changes.push(Change::Skip { to: known + 1 });
    }
    if !changes.is_empty() {
        txn.change("store.upgrade", command, None, changes);
    }
    Decided::answer(Answer::Done)
}

/// Nothing is granted while somebody may hold what is lost.
pub(super) fn check_quiet(txn: &Txn<'_>) -> Result<(), Refusal> {
    let now = txn.now.mono;
    let until = txn.state.quiet_until().filter(|until| *until > now);
    match until {
        Some(until) if txn.state.mechanisms.on(Mechanism::QuietAfterRestore) => {
            Err(Refusal::Quiet {
                retry_after_ms: until.since(now),
            })
        }
        _ => Ok(()),
    }
}

/// What may be lost has run out.
pub(super) fn end_quiet(txn: &mut Txn<'_>) -> Decided {
    let now = txn.now.mono;
    let over = txn.state.quiet_until().is_some_and(|until| until <= now);
    if over && let Some((restored, _)) = txn.state.restored() {
        let record = Restored {
            quiet_ms: 0,
            ..restored.clone()
        };
        txn.system("store.end_quiet", vec![put(Key::Restored, record.into())]);
    }
    Decided::answer(Answer::Done)
}

/// Lets entries have that format from the next one on.
pub(super) fn raise_format(
    txn: &mut Txn<'_>,
    command: &Command,
    format: u32,
) -> Result<Decided, Refusal> {
    let present = txn.state.format();
    if !is_understood(format) || format < present {
        return Err(Refusal::FormatUnknown(format));
    }
    if format > present {
        let change = put(Key::Format, Format { format }.into());
        txn.change("format.raise", command, None, vec![change]);
    }
    Ok(Decided::answer(Answer::Done))
}
