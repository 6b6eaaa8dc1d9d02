//! Shows the state to people: the named instance writes ports and nodes into a bucket, one record for each key. Nothing reads it
//! to decide anything.
//!
//! What entries have changed is written as readers see it by then, so a key that was changed often is written once. Whoever
//! becomes named writes everything, and removes what is no record: whatever somebody else wrote there is gone then. Every
//! record goes behind the last one, so a writer that was replaced and does not know it yet writes nothing behind its successor.

use std::{collections::BTreeSet, time::Duration};

use onex_core::{
    entry::{Change, CommandRecord, Entry},
    key::Key,
    record::Named,
    state::State,
};
use onex_log::{BucketNames, DerivedMessage, DerivedOptions};
use onex_types::entry::{EntryId, Sequence};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use crate::registry::{driver::Applied, settings::Settings};

use super::{
    named::{self, Candidate, Derive, Incoming, Stopped, Target},
    view_records::{Shown, is_shown},
};

/// How long changes are gathered, so that a key that changes often is written once.
const GATHER: Duration = Duration::from_millis(250);
/// How long to wait after somebody else wrote, before it is tried again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(250);
/// How long readers may take to see what was applied.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// Records that are looked at under the readers' lock, at most: those of one batch.
const PIECE: usize = 1_000;

/// Which bucket, and how its stream is created: with as many copies as the log has.
pub(in crate::registry) fn view_options(
    settings: &Settings,
    replicas: Option<usize>,
) -> (BucketNames, DerivedOptions) {
    let names = BucketNames::of(&settings.namespace.view_bucket());
    let description = "onex-registry: ports and nodes as they are, for people. Nothing reads it.";
    let options = names.options(description.to_owned(), replicas);
    (names, options)
}

/// How many records the view is to show, and has no message of.
pub(in crate::registry) fn unshown(
    state: &State,
    names: &BucketNames,
    subjects: &[String],
) -> usize {
    let shown: BTreeSet<&str> = subjects
        .iter()
        .filter_map(|subject| names.key(subject))
        .collect();
    let records = state.slots_from(None).filter(|(key, _)| is_shown(key));
    let missing = records.filter(|(key, _)| !shown.contains(key.to_string().as_str()));
    missing
        .filter(|(key, _)| Shown::of(state, key).is_some_and(|shown| shown.to_json().is_some()))
        .count()
}

/// Writes the view while its instance is the named one.
pub(in crate::registry) struct View {
    pub(in crate::registry) candidate: Candidate,
    pub(in crate::registry) target: Target,
    pub(in crate::registry) names: BucketNames,
}

/// What is to be written.
struct Changed {
    /// Keys, as they are spelled.
    keys: BTreeSet<String>,
    /// Whether all records are, and which were already.
    sweep: Option<Sweep>,
    /// The last entry whose changes are here.
    last: Option<EntryId>,
}

/// How far everything is written.
enum Sweep {
    Begun,
    Before(Key),
}

impl Derive for View {
    const WHAT: &'static str = "the view cannot be written";

    fn target(&self) -> &Target {
        &self.target
    }

    fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    async fn derive(&self, _: &Named, incoming: &mut Incoming) -> Stopped {
        match self.write(incoming).await {
            Ok(stopped) => stopped,
            Err(error) => Stopped::Failed(onex_types::chain(&error)),
        }
    }
}

impl View {
    /// Writes for ever.
    pub(in crate::registry) async fn run(self, applied: UnboundedReceiver<Applied>) {
        named::run(self, applied).await;
    }

    async fn write(&self, incoming: &mut Incoming) -> Result<Stopped, onex_log::Error> {
        // Everything is written, so what came before is in it.
        incoming.kept.clear();
        self.target.stream.ensure(&self.target.options).await?;
        let mut tail = self.target.stream.last().await?;
        let mut changed = Changed::everything();
        changed.add_subjects(&self.names, &self.target.stream.subjects().await?);
        if !self.candidate.is_still_named().await {
            return Ok(Stopped::NotNamed);
        }
        loop {
            if self.candidate.named().is_none() {
                return Ok(Stopped::NotNamed);
            }
            if changed.is_empty() {
                incoming.gather(Sequence(0), GATHER).await;
            }
            let reached = changed.add_entries(incoming.kept.drain(..));
            let reads = &self.candidate.driver.reads;
            // Entries come here a moment before readers see them.
            if timeout(CATCH_UP_MAX, reads.reach(reached)).await.is_err() {
                return Ok(Stopped::Failed("readers do not see the log".to_owned()));
            }
            let now = self.candidate.clock.now().mono;
            let Some(piece) = reads.with(now, |state| changed.take(state)) else {
                return Ok(Stopped::NotNamed);
            };
            let messages: Vec<DerivedMessage> = piece
                .iter()
                .map(|(key, shown)| self.message(key, shown.as_ref()))
                .collect();
            let stored = self.target.stream.append(tail, messages).await;
            tail.0 += stored as u64;
            if stored < piece.len() {
                let left = piece.into_iter().skip(stored).map(|(key, _)| key);
                changed.keys.extend(left);
                sleep(CONFLICT_PAUSE).await;
                tail = self.look_behind(tail, &mut changed).await?;
                if !self.candidate.is_still_named().await {
                    return Ok(Stopped::NotNamed);
                }
            }
        }
    }

    fn message(&self, key: &str, shown: Option<&Shown>) -> DerivedMessage {
        match shown.and_then(Shown::to_json) {
            Some(json) => self.names.put(key, json),
            None => self.names.remove(key),
        }
    }

    /// Somebody else wrote, or nobody knows what became of what was sent: that is written again.
    async fn look_behind(
        &self,
        tail: Sequence,
        changed: &mut Changed,
    ) -> Result<Sequence, onex_log::Error> {
        let (last, subjects) = self.target.stream.behind(tail).await?;
        let subjects = if let Some(subjects) = subjects {
            subjects
        } else {
            changed.sweep = Some(Sweep::Begun);
            self.target.stream.subjects().await?
        };
        changed.add_subjects(&self.names, &subjects);
        Ok(last)
    }
}

impl Changed {
    fn everything() -> Self {
        Self {
            keys: BTreeSet::new(),
            sweep: Some(Sweep::Begun),
            last: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.sweep.is_none()
    }

    fn add_subjects(&mut self, names: &BucketNames, subjects: &[String]) {
        let keys = subjects.iter().filter_map(|subject| names.key(subject));
        self.keys.extend(keys.map(ToOwned::to_owned));
    }

    /// Adds what entries change. The revision that they reach.
    fn add_entries(&mut self, entries: impl Iterator<Item = Applied>) -> u64 {
        let mut reached = 0;
        for Applied { header, entry, .. } in entries {
            if self.last.is_some_and(|last| last != header.predecessor) {
                // The log was read again: what it said meanwhile did not come here.
                self.sweep = Some(Sweep::Begun);
            }
            self.last = Some(header.id);
            reached = entry.last_revision();
            let keys = changed_keys(&entry).filter(|key| is_shown(key));
            self.keys.extend(keys.map(ToString::to_string));
        }
        reached
    }

    /// The next of them, as they are now: none where there is no record any more.
    fn take(&mut self, state: &State) -> Vec<(String, Option<Shown>)> {
        let mut piece: Vec<(String, Option<Shown>)> =
            Vec::with_capacity(self.keys.len().min(PIECE));
        if let Some(sweep) = self.sweep.take() {
            let from = match &sweep {
                Sweep::Begun => None,
                Sweep::Before(key) => Some(key),
            };
            let mut slots = state.slots_from(from);
            for (key, _) in slots.by_ref().take(PIECE).filter(|(key, _)| is_shown(key)) {
                let text = key.to_string();
                self.keys.remove(&text);
                piece.push((text, Shown::of(state, key)));
            }
            self.sweep = slots.next().map(|(key, _)| Sweep::Before(key.clone()));
            return piece;
        }
        while piece.len() < PIECE
            && let Some(text) = self.keys.pop_first()
        {
            let key: Option<Key> = text.parse().ok();
            let shown = key.and_then(|key| Shown::of(state, &key));
            piece.push((text, shown));
        }
        piece
    }
}

fn changed_keys(entry: &Entry) -> impl Iterator<Item = &Key> {
    entry.cmds.iter().flat_map(|command| {
        let renewed = match command {
            CommandRecord::Renewal(key) => Some(key),
            CommandRecord::Other(_) => None,
        };
        renewed
            .into_iter()
            .chain(command.changes().iter().filter_map(Change::key))
    })
}
