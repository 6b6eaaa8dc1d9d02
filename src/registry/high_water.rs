//! What instances note outside of the store: how far its log was. A store that is older than that went back.
//!
//! Each store has a file, named by its id, which any instance of the same user replaces as a whole. A store that was made anew has
//! another id, or none yet, so a file says as well where its store was.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use onex_core::{key::Key, state::State};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};
use uuid::Uuid;

use super::{
    clock::Clock,
    driver::{Applied, Reads},
};

/// How often it is noted, at most.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of a note, at most: anything longer is none.
const NOTE_BYTES_MAX: u64 = 64 * 1024;

/// Where notes are kept, and about which place they are.
#[derive(Debug, Clone)]
pub struct Notes {
    /// The folder.
    pub folder: PathBuf,
    /// Which NATS server has the store, or in which folder its data is.
    pub place: String,
    /// The bucket there.
    pub bucket: String,
}

/// What was noted at one time.
#[derive(Debug, Clone, Default)]
pub struct Noted {
    notes: Vec<Note>,
    place: String,
    bucket: String,
}

impl Noted {
    /// What was noted of a store; of one that has no id yet, of any that was in its place.
    pub fn of(&self, store_id: Option<Uuid>) -> Option<&Note> {
        let notes = self.notes.iter().filter(|note| match store_id {
            Some(id) => note.store_id == id,
            None => note.place == self.place && note.bucket == self.bucket,
        });
        notes.max_by_key(|note| note.revision)
    }
}

/// How far a store was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which store.
    pub store_id: Uuid,
    /// See [`Notes::place`].
    pub place: String,
    /// See [`Notes::bucket`].
    pub bucket: String,
    /// The revision of the last command that was applied.
    pub revision: u64,
    /// The position of the last entry that was applied.
    pub sequence: u64,
    /// When this was noted.
    pub noted_at: Timestamp,
}

impl Notes {
    /// What was noted so far.
    pub fn read(&self) -> Noted {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        Noted {
            notes: files.filter_map(|file| read(&file.path())).collect(),
            place: self.place.clone(),
            bucket: self.bucket.clone(),
        }
    }

    fn path(&self, store_id: Uuid) -> PathBuf {
        self.folder.join(store_id.to_string())
    }

    /// Replaces the note as a whole.
    fn write(&self, note: &Note) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(note.store_id);
        // Several instances may do so at the same time, in containers under the same process id.
        let draft = path.with_extension(Uuid::new_v4().simple().to_string());
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec(note)?)?;
            file.sync_data()?;
            fs::rename(&draft, &path)
        };
        // A full disk must not get a draft a second.
        write().inspect_err(|_| drop(fs::remove_file(&draft)))
    }

    /// Notes for ever how far the log is.
    pub(super) async fn run(
        self,
        reads: std::sync::Arc<Reads>,
        clock: Clock,
        mut applied: UnboundedReceiver<Applied>,
    ) {
        let mut noted = 0;
        let mut failing = false;
        while let Some(mut last) = applied.recv().await {
            while let Ok(next) = applied.try_recv() {
                last = next;
            }
            let now = clock.now();
            let store_id = reads.with(now.mono, store_id).flatten();
            let revision = last.entry.last_revision();
            let Some(store_id) = store_id.filter(|_| revision > noted) else {
                continue;
            };
            let note = Note {
                store_id,
                place: self.place.clone(),
                bucket: self.bucket.clone(),
                revision,
                sequence: last.sequence.0,
                noted_at: now.wall,
            };
            let notes = self.clone();
            let written = tokio::task::spawn_blocking(move || notes.write(&note)).await;
            match written {
                Ok(Ok(())) => (noted, failing) = (revision, false),
                Ok(Err(error)) if !failing => {
                    failing = true;
                    let folder = self.folder.display();
                    tracing::warn!(%folder, %error, "how far the store is cannot be noted: an older one will not be noticed");
                }
                _ => {}
            }
            sleep(NOTE_INTERVAL).await;
        }
        // The engine has ended, and says why.
        std::future::pending::<()>().await;
    }
}

/// Which store a state is of.
pub(super) fn store_id(state: &State) -> Option<Uuid> {
    let store = state.slot(&Key::Store)?.record.store()?;
    Some(store.store_id)
}

fn read(path: &Path) -> Option<Note> {
    let file = File::open(path).ok()?;
    if !file
        .metadata()
        .is_ok_and(|it| it.is_file() && it.len() <= NOTE_BYTES_MAX)
    {
        return None;
    }
    serde_json::from_reader(file).ok()
}

/// Where to learn, outside of the store, how far its log was.
#[derive(Debug, Clone, Default)]
pub(super) struct HighWaterSources {
    /// The revision of the last event.
    pub(super) event: Option<u64>,
    /// Where instances note.
    pub(super) notes: Option<Notes>,
}

/// How far the log was, by what was noted outside of the store.
pub(super) struct HighWater {
    event: Option<u64>,
    pub(super) noted: Noted,
}

impl HighWaterSources {
    /// What is known by now. A log that is read afterwards is not older than that, whoever writes to it meanwhile.
    pub(super) fn read(&self) -> HighWater {
        let noted = self.notes.as_ref().map(Notes::read);
        HighWater {
            event: self.event,
            noted: noted.unwrap_or_default(),
        }
    }
}

impl HighWater {
    /// The revision of the last event.
    pub(super) fn event(&self) -> Option<u64> {
        self.event
    }

    /// The highest revision that is known of that store; see [`Noted::of`].
    pub(super) fn revision(&self, store_id: Option<Uuid>) -> Option<u64> {
        let note = self.noted.of(store_id);
        self.event.max(note.map(|note| note.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(store: u128, place: &str, revision: u64) -> Note {
        Note {
            store_id: Uuid::from_u128(store),
            place: place.to_owned(),
            bucket: "onex-registry".to_owned(),
            revision,
            sequence: 7,
            noted_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_store_is_known_by_its_id_and_one_without_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes {
            folder: folder.path().join("onex"),
            place: "nats://a:4222".to_owned(),
            bucket: "onex-registry".to_owned(),
        };
        assert_eq!(notes.read().of(None), None);
        for one in [
            note(1, "nats://a:4222", 10),
            note(2, "nats://a:4222", 30),
            note(3, "nats://b:4222", 50),
            note(1, "nats://a:4222", 20),
        ] {
            notes.write(&one).unwrap();
        }
        fs::write(notes.folder.join("torn"), "{").unwrap();
        let revision = |store: Option<u128>| {
            let noted = notes.read();
            let note = noted.of(store.map(Uuid::from_u128));
            note.map(|note| note.revision)
        };
        assert_eq!(revision(Some(1)), Some(20));
        assert_eq!(revision(Some(3)), Some(50));
        assert_eq!(revision(Some(4)), None);
        assert_eq!(revision(None), Some(30));
        let high_water = |event| {
            HighWaterSources {
                event,
                notes: Some(notes.clone()),
            }
            .read()
        };
        assert_eq!(
            high_water(Some(25)).revision(Some(Uuid::from_u128(1))),
            Some(25)
        );
        assert_eq!(
            high_water(None).revision(Some(Uuid::from_u128(1))),
            Some(20)
        );
        assert_eq!(HighWaterSources::default().read().revision(None), None);
        // What is noted later says nothing of a log that was read before.
        let before = high_water(None);
        notes.write(&note(1, "nats://a:4222", 90)).unwrap();
        assert_eq!(before.revision(Some(Uuid::from_u128(1))), Some(20));
    }
}
