//! What the registry keeps for itself: the named instance, and how far events are published.

use std::sync::Arc;

use crate::{
    command::Answer,
    entry::{Change, EventKind, EventRecord, Gap},
    key::Key,
    mechanism::Mechanism,
    record::{InstanceId, Named, Record},
    txn::Txn,
};

use super::decided::Decided;

/// Names `to`, unless somebody else was named since that was decided on.
pub(super) fn take_over(txn: &mut Txn<'_>, from: Option<InstanceId>, to: InstanceId) -> Decided {
    let now = txn.state.named().cloned();
    if now.as_deref().map(|named| named.instance) == from {
        let (published, published_sequence) =
            now.map_or((0, 0), |named| (named.published, named.published_sequence));
        let named = Named {
            instance: to,
            published,
            published_sequence,
        };
        txn.system("named.take_over", vec![put(Key::Named, named.into())]);
    }
    Decided::answer(Answer::Done)
}

/// Notes how far events are published. It only grows, and only the named instance's word counts.
pub(super) fn published(
    txn: &mut Txn<'_>,
    instance: InstanceId,
    revision: u64,
    sequence: u64,
) -> Decided {
    let checks = txn.state.mechanisms.on(Mechanism::OnlyNamedPublishes);
    let named = txn.state.named();
    let named = named.filter(|named| named.instance == instance || !checks);
    if let Some(named) = named.filter(|named| named.published < revision) {
        let named = Named {
            instance: named.instance,
            published: revision,
            published_sequence: sequence,
        };
        txn.system("named.published", vec![put(Key::Named, named.into())]);
    }
    Decided::answer(Answer::Done)
}

/// Gives up events that are not out, and says so in one event. Only the named instance's word counts.
pub(super) fn skip_events(
    txn: &mut Txn<'_>,
    instance: InstanceId,
    revision: u64,
    sequence: u64,
    below: u64,
) -> Decided {
    let named = txn.state.named().filter(|named| named.instance == instance);
    let is_due = |named: &&Arc<Named>| {
        named.published_sequence < sequence && named.published_sequence.saturating_add(1) < below
    };
    let Some(named) = named.filter(is_due) else {
        return Decided::answer(Answer::Done);
    };
    let from = named.published + 1;
    let event = (from <= revision).then(|| EventRecord {
        gap: Some(Gap { from, to: revision }),
        ..EventRecord::new(EventKind::Gap)
    });
    let record = Named {
        instance,
        published: named.published.max(revision),
        published_sequence: sequence,
    };
    let change = Change::Put {
        key: Key::Named,
        record: record.into(),
        tentative: false,
        event,
    };
    txn.system("named.skip_events", vec![change]);
    Decided::answer(Answer::Done)
}

pub(super) fn put(key: Key, record: Record) -> Change {
    Change::Put {
        key,
        record,
        tentative: false,
        event: None,
    }
}
