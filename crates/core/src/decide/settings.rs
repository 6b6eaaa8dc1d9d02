//! Settings, and forgetting hosts.

use onex_types::{ids::Host, key::PortKey};

use crate::{
    command::{Answer, Command, Genesis, Refusal, RemoveHost},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    mechanism::Mechanism,
    node_index::{Liveness, NodeFilter},
    pool::PortState,
    settings::Settings,
    txn::Txn,
};

use super::{admin::given_up, decided::Decided, grant::remember, system::put};

/// So many ports of a host are forgotten by one command.
const FORGOTTEN_PORTS_MAX: usize = 512;
/// So many ports of a host that an administrator has forgotten go by one command: what was asked for them is kept.
const REMOVED_PORTS_MAX: usize = 128;
/// So many ports, and nodes, are named that keep a host from being forgotten.
const NAMED_MAX: usize = 8;

/// The first entry of a log. Whoever loses the race for it finds the winner's, and must not have been started with other
/// settings.
pub(super) fn genesis(txn: &mut Txn<'_>, genesis: &Genesis) -> Result<Decided, Refusal> {
    if let Some(stored) = txn.state.settings() {
        let differences = genesis.settings.differences(stored, &genesis.given);
        return if differences.is_empty() {
            Ok(Decided::answer(Answer::Done))
        } else {
            Err(Refusal::SettingsDiffer(differences))
        };
    }
    let store = put(Key::Store, genesis.store.clone().into());
    let settings = put(Key::Settings, genesis.settings.clone().into());
    txn.system("genesis", vec![store, settings]);
    Ok(Decided::answer(Answer::Done))
}

/// Changes the settings. What was granted under others stays.
pub(super) fn set_settings(
    txn: &mut Txn<'_>,
    command: &Command,
    settings: &Settings,
    read: Option<u64>,
) -> Result<Decided, Refusal> {
    let stored = txn.state.slot(&Key::Settings);
    let revision = stored.map(|slot| slot.revision);
    if read.is_some() && read != revision {
        return Err(Refusal::SettingsChanged);
    }
    let before = txn.state.settings();
    let after = match before {
        Some(before) => settings.clone().keeping_unknown(before),
        None => settings.clone(),
    };
    if before.is_none_or(|before| **before != after) {
        let change = put(Key::Settings, after.into());
        txn.change("settings.set", command, None, vec![change]);
    }
    Ok(Decided::answer(Answer::Done))
}

/// Forgets how the last leases of a host's ports ended, a part of them at a time, if it is idle; behind the last of them what
/// it is called, if no instance says that any more.
pub(super) fn forget_host(txn: &mut Txn<'_>, command: &Command, host: &Host) -> Decided {
    if !txn.state.mechanisms.on(Mechanism::ForgetHosts) {
        return Decided::answer(Answer::Done);
    }
    if txn.state.is_abandoned(host, txn.now.wall) {
        let key = Key::Host(host.clone());
        let change = Change::Delete { key, event: None };
        txn.change("host.forget", command, None, vec![change]);
    } else if txn.state.is_idle(host, txn.now.wall) {
        let mono = txn.now.mono;
        let free = txn
            .state
            .ports_of(host)
            .filter(|key| txn.state.port_state(key, mono) == PortState::Free);
        let changes = free.take(FORGOTTEN_PORTS_MAX).map(|key| Change::Delete {
            key: Key::Port(key.clone()),
            event: None,
        });
        let changes: Vec<Change> = changes.collect();
        if !changes.is_empty() {
            txn.change("host.forget", command, None, changes);
        }
    }
    Decided::answer(Answer::Done)
}

/// Forgets a host's pool, what it is called, and how the last leases of its ports ended, a part of them at a time. Refused
/// while anything is on it, or its ports may be counted on. A host that is not known is forgotten already.
pub(super) fn remove_host(
    txn: &mut Txn<'_>,
    command: &Command,
    remove: &RemoveHost,
) -> Result<Decided, Refusal> {
    let host = &remove.host;
    let what = on_host(txn, host);
    if !what.is_empty() {
        return Err(Refusal::HostInUse {
            host: host.clone(),
            what: what.join("; "),
        });
    }
    let ports = txn.state.ports_of(host).cloned();
    let mut ports: Vec<PortKey> = ports.take(REMOVED_PORTS_MAX + 1).collect();
    let is_rest = ports.len() <= REMOVED_PORTS_MAX;
    ports.truncate(REMOVED_PORTS_MAX);
    let told = Key::Host(host.clone());
    let pool = Key::Pool(host.clone());
    if ports.is_empty()
        && [&pool, &told]
            .iter()
            .all(|key| txn.state.slot(key).is_none())
    {
        return Ok(Decided::answer(Answer::Done));
    }
    // A late copy of a request that was granted one of these ports is not granted another one.
    let mut changes = remember(txn, &ports)?;
    let mut keys: Vec<Key> = ports.into_iter().map(Key::Port).collect();
    if is_rest && txn.state.slot(&pool).is_some() {
        keys.push(pool);
    }
    let deleted = keys.into_iter();
    changes.extend(deleted.map(|key| Change::Delete { key, event: None }));
    if is_rest {
        changes.push(Change::Delete {
            key: told,
            event: Some(EventRecord {
                reason: Some(remove.reason.clone()),
                ..EventRecord::new(EventKind::HostForgotten)
            }),
        });
    }
    txn.change("admin.host.forget", command, None, changes);
    Ok(Decided::answer(Answer::Done))
}

/// What keeps a host from being forgotten: leases, live nodes, and ports that somebody may count on.
fn on_host(txn: &Txn<'_>, host: &Host) -> Vec<String> {
    let mono = txn.now.mono;
    let is_counted_on = |key: &PortKey| {
        let slot = txn.state.slot(&Key::Port(key.clone()));
        slot.is_some_and(|slot| given_up(txn, slot).is_some())
    };
    let ports = |state: PortState, what: &str| {
        let found = txn.state.ports_of(host).filter(|key| {
            let is = txn.state.port_state(key, mono);
            is == state
                || (state == PortState::Resting
                    && is == PortState::Quarantined
                    && is_counted_on(key))
        });
        let found: Vec<String> = found
            .take(NAMED_MAX + 1)
            .map(|key| format!("{}/{}", key.port, key.transport))
            .collect();
        listed(what, found)
    };
    let filter = NodeFilter {
        host: Some(host.clone()),
        liveness: vec![Liveness::Online],
        ..NodeFilter::default()
    };
    let nodes = txn.state.indexes.nodes.nodes(&filter, None);
    let nodes = nodes.take(NAMED_MAX + 1).map(ToString::to_string).collect();
    let what = [
        ports(PortState::Held, "leases hold ports"),
        listed("nodes live there:", nodes),
        ports(PortState::Resting, "their last holders may count on ports"),
    ];
    what.into_iter().flatten().collect()
}

/// What there is, by name; nothing for none.
fn listed(what: &str, mut names: Vec<String>) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    if names.len() > NAMED_MAX {
        names.truncate(NAMED_MAX);
        names.push("…".to_owned());
    }
    Some(format!("{what} {}", names.join(", ")))
}
