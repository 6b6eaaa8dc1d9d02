//! What events report of executions.

use onex_types::ids::RequestId;

use super::{Change, EventRecord};
use crate::{call::ExecutionEnd, execution::Run, key::Key, record::Record};

/// What an event about an execution reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reported<'a> {
    /// The caller's name for the call; none where it gave none.
    pub request_id: Option<RequestId>,
    /// The execution.
    pub run: &'a Run,
    /// How it ended; none where it begins.
    pub end: Option<&'a ExecutionEnd>,
}

impl<'a> Reported<'a> {
    /// What a change reports of an execution; none when it has no such event.
    pub fn of(change: &'a Change) -> Option<Self> {
        match change {
            Change::Put {
                key, record, event, ..
            } => Self::of_record(key, record, event.as_ref()?),
            Change::Delete { event, .. } => {
                let event = event.as_ref()?;
                Some(Self {
                    request_id: None,
                    run: event.run.as_deref()?,
                    end: event.end.as_deref(),
                })
            }
            _ => None,
        }
    }

    fn of_record(key: &Key, record: &'a Record, event: &'a EventRecord) -> Option<Self> {
        let (request_id, run) = match (key, record) {
            (Key::Call(id), Record::Call(call)) => (Some(*id), &call.run),
            (Key::Run(_), Record::Run(run)) => (None, &**run),
            _ => return None,
        };
        Some(Self {
            request_id,
            run,
            end: event.end.as_deref(),
        })
    }
}
