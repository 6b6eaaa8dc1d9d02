//! One entry while it is being decided: each command's changes are applied to the state at once, so that the next
//! command sees them, and collected for the entry and for an undo.

use onex_types::{ids::RequesterId, time::Now};

use crate::{
    command::Command,
    entry::{Change, Changes, CommandRecord, Entry},
    key::Key,
    slot::Stamp,
    state::{ApplyError, State, Undo},
};

/// An entry that is being decided.
pub struct Txn<'a> {
    /// The state, with the changes of the commands before.
    pub state: &'a mut State,
    /// What the time is.
    pub now: Now,
    first_revision: u64,
    undo: Vec<Undo>,
    cmds: Vec<CommandRecord>,
    bytes: Vec<u8>,
    fault: Option<ApplyError>,
}

/// A place in an entry that is being decided.
#[derive(Debug)]
pub struct Mark {
    revision: u64,
    undo: usize,
    cmds: usize,
    bytes: usize,
    state_bytes: usize,
}

impl Mark {
    /// Whether nothing is before it.
    pub fn is_first(&self) -> bool {
        self.cmds == 0
    }

    /// How large the state was, in bytes.
    pub fn state_bytes(&self) -> usize {
        self.state_bytes
    }
}

/// An entry that was decided.
pub struct Sealed {
    /// What it says.
    pub entry: Entry,
    /// The same as bytes.
    pub bytes: Vec<u8>,
    /// What takes it back, in the order in which it was done.
    pub undo: Vec<Undo>,
    /// A change that did not fit the state: a fault in this program.
    pub fault: Option<ApplyError>,
}

impl<'a> Txn<'a> {
    /// Begins one.
    pub fn new(state: &'a mut State, now: Now) -> Self {
        Self {
            first_revision: state.revision() + 1,
            state,
            now,
            undo: Vec::new(),
            cmds: Vec::new(),
            bytes: Vec::new(),
            fault: None,
        }
    }

    /// The revision of the command that is being decided, if it changes something.
    pub fn revision(&self) -> u64 {
        self.state.revision() + 1
    }

    /// How many commands have changed something.
    pub fn len(&self) -> usize {
        self.cmds.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.cmds.is_empty()
    }

    /// Where the entry is now, to go back to.
    pub fn mark(&self) -> Mark {
        Mark {
            revision: self.state.revision(),
            undo: self.undo.len(),
            cmds: self.cmds.len(),
            bytes: self.bytes.len(),
            state_bytes: self.state.bytes(),
        }
    }

    /// Takes back everything since that mark.
    pub fn back_to(&mut self, mark: &Mark) {
        while self.undo.len() > mark.undo
            && let Some(undo) = self.undo.pop()
        {
            self.state.undo(undo, self.now);
        }
        self.state.set_revision(mark.revision);
        self.cmds.truncate(mark.cmds);
        self.bytes.truncate(mark.bytes);
    }

    /// By how much the entry has grown since that mark, in bytes.
    pub fn bytes_since(&self, mark: &Mark) -> usize {
        self.bytes.len().saturating_sub(mark.bytes)
    }

    /// Whether what was written since that mark can be read as it will stand in an entry. Values may be nested more deeply
    /// than a reader follows; where there are none there is nothing to be tried.
    pub fn reads_back_since(&self, mark: &Mark) -> bool {
        let commands = self.cmds.iter().skip(mark.cmds);
        let mut changes = commands.flat_map(CommandRecord::changes);
        if !changes.any(Change::is_free_form) {
            return true;
        }
        let written = self.bytes.get(mark.bytes..).unwrap_or_default();
        let written = written.strip_prefix(b",").unwrap_or(written);
        let entry = [
            br#"{"rev":0,"at":"1970-01-01T00:00:00Z","cmds":["#,
            written,
            b"]}",
        ];
        serde_json::from_slice::<Entry>(&entry.concat()).is_ok()
    }

    /// Whether a record was put since that mark.
    pub fn put_since(&self, mark: &Mark) -> bool {
        let changes = self.cmds.iter().skip(mark.cmds);
        changes
            .flat_map(CommandRecord::changes)
            .any(|change| matches!(change, Change::Put { .. }))
    }

    /// How long the entry is so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A lease lasts its TTL again.
    pub fn renew(&mut self, key: Key) {
        self.push(CommandRecord::Renewal(key));
    }

    /// What the command changes, in one piece.
    pub fn change(
        &mut self,
        name: &str,
        command: &Command,
        requester_id: Option<RequesterId>,
        changes: Vec<Change>,
    ) {
        self.push(CommandRecord::Other(Box::new(Changes {
            command: name.to_owned(),
            correlation_id: command.correlation_id.clone(),
            requester_id,
            changes,
        })));
    }

    /// What the registry changes by itself.
    pub fn system(&mut self, name: &str, changes: Vec<Change>) {
        self.push(CommandRecord::Other(Box::new(Changes {
            command: name.to_owned(),
            correlation_id: None,
            requester_id: None,
            changes,
        })));
    }

    fn push(&mut self, mut record: CommandRecord) {
        if let CommandRecord::Other(changes) = &mut record {
            // A command may change a key more than once.
            let mut numbers: Vec<(Key, u64)> = Vec::new();
            let several = changes.changes.len() > 1;
            for change in &mut changes.changes {
                change.number(|key| {
                    let own = numbers.iter().rev().find(|(other, _)| other == key);
                    let before = || self.state.slot(key).map_or(0, |slot| slot.event_count);
                    let next = own.map_or_else(before, |(_, number)| *number) + 1;
                    if several {
                        numbers.push((key.clone(), next));
                    }
                    next
                });
            }
        }
        let stamp = Stamp {
            revision: self.revision(),
            at: self.now.wall,
            now: self.now,
        };
        let undo = &mut self.undo;
        if let Err(fault) = self
            .state
            .apply_command(&record, stamp, &mut |done| undo.push(done))
        {
            self.fault.get_or_insert(fault);
        }
        if !self.bytes.is_empty() {
            self.bytes.push(b',');
        }
        // Records hold nothing that cannot be written as JSON: no map with other keys than texts, no failing reader.
        if serde_json::to_writer(&mut self.bytes, &record).is_err() {
            self.fault.get_or_insert(ApplyError::Unwritable);
        }
        self.cmds.push(record);
    }

    /// The entry.
    pub fn seal(self) -> Sealed {
        let entry = Entry {
            rev: self.first_revision,
            at: self.now.wall,
            cmds: self.cmds,
        };
        let head = format!("{{\"rev\":{},\"at\":\"{}\",\"cmds\":[", entry.rev, entry.at);
        let mut bytes = Vec::with_capacity(head.len() + self.bytes.len() + 2);
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&self.bytes);
        bytes.extend_from_slice(b"]}");
        Sealed {
            entry,
            bytes,
            undo: self.undo,
            fault: self.fault,
        }
    }
}
