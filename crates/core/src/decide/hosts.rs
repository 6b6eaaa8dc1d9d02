//! What hosts are called.

use std::collections::BTreeSet;

use onex_types::{bounds::ALIASES_MAX, ids::Host};
use uuid::Uuid;

use crate::{
    command::{Answer, Command, Refusal, bounds},
    entry::Change,
    host_names::{HOST_RECORDS_MAX, Meaning},
    host_record::{HostRecord, TellHost},
    key::Key,
    mechanism::Mechanism,
    txn::Txn,
};

use super::{decided::Decided, system::put};

/// The host that a name means by what is known when this is decided: whoever took the request may not have known all of it.
pub(super) fn meant(txn: &Txn<'_>, host: &Host) -> Result<Host, Refusal> {
    if !txn.state.mechanisms.on(Mechanism::NamesOfHost) {
        return Ok(host.clone());
    }
    let names = &txn.state.indexes.hosts;
    match names.meaning(host, None, &BTreeSet::new()) {
        Meaning::One(host) => Ok(host),
        Meaning::Several(hosts) => Err(Refusal::HostAmbiguous {
            host: host.clone(),
            hosts,
        }),
    }
}

/// Says what a host is called, in place of what was said before. At the bound the oldest goes of which no instance runs.
pub(super) fn tell(
    txn: &mut Txn<'_>,
    command: &Command,
    tell: &TellHost,
) -> Result<Decided, Refusal> {
    let key = Key::Host(tell.host.clone());
    let before = txn.state.host(&tell.host).cloned();
    let after = updated(before.as_deref(), tell);
    let mut changes = Vec::new();
    if before.is_none() && txn.state.indexes.hosts.len() >= HOST_RECORDS_MAX {
        let oldest = oldest(txn, &tell.running).ok_or(Refusal::LimitExceeded {
            what: bounds::HOSTS,
            limit: HOST_RECORDS_MAX,
        })?;
        changes.push(Change::Delete {
            key: oldest,
            event: None,
        });
    }
    let is_old = txn.state.is_to_be_said_again(&tell.host, txn.now.wall);
    if before.as_deref() != Some(&after) || is_old {
        changes.push(put(key, after.into()));
        txn.change("host.tell", command, None, changes);
    }
    Ok(Decided::answer(Answer::Done))
}

/// What is known of a host once that is said.
fn updated(before: Option<&HostRecord>, tell: &TellHost) -> HostRecord {
    let mut record = before.map_or_else(|| HostRecord::new(tell.said_by), HostRecord::clone);
    record.said_by = tell.said_by;
    record.renamed_to = None;
    // One that is not on the machine's network leaves what is known of it as it is.
    if tell.port_space.is_some() || !tell.aliases.is_empty() {
        // So is what others say that run.
        let stays = |name: &Host| !tell.alone && !tell.replaces.contains(name);
        record.aliases.retain(stays);
        let room = ALIASES_MAX.saturating_sub(record.aliases.len());
        record
            .aliases
            .extend(tell.aliases.iter().take(room).cloned());
        record.port_space.clone_from(&tell.port_space);
    }
    record
}

/// The record that was written first of those whose host has no instance.
fn oldest(txn: &Txn<'_>, running: &BTreeSet<Host>) -> Option<Key> {
    let first = Key::Host(Host::lowest());
    let slots = txn.state.slots_from(Some(&first));
    let hosts = slots.map_while(|(key, slot)| match key {
        Key::Host(host) => Some((host, key, slot.revision)),
        _ => None,
    });
    let idle = hosts.filter(|(host, ..)| !running.contains(*host));
    let oldest = idle.min_by_key(|(_, _, revision)| *revision);
    oldest.map(|(_, key, _)| key.clone())
}

/// What a machine was called means another host from now on.
pub(super) fn rename(
    txn: &mut Txn<'_>,
    command: &Command,
    host: &Host,
    said_by: Uuid,
    to: &Host,
) -> Decided {
    let record = txn.state.host(host);
    // Another instance may have started there since.
    let record = record.filter(|record| record.said_by == said_by && host != to);
    if let Some(record) = record.filter(|record| record.renamed_to.as_ref() != Some(to)) {
        let record = HostRecord {
            renamed_to: Some(to.clone()),
            ..HostRecord::clone(record)
        };
        let change = put(Key::Host(host.clone()), record.into());
        txn.change("host.rename", command, None, vec![change]);
    }
    Decided::answer(Answer::Done)
}
