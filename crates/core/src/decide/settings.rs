//! Settings, and the pools of hosts.

use onex_types::ids::Host;

use crate::{
    command::{Answer, Command, Genesis, Refusal, bounds},
    entry::Change,
    key::Key,
    mechanism::Mechanism,
    pool::PortState,
    record::HostPool,
    settings::Settings,
    txn::Txn,
};

use super::{decided::Decided, system::put};

/// So many ports of a host are forgotten by one command.
const FORGOTTEN_PORTS_MAX: usize = 512;

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

/// Sets a host's ranges. Leases outside them stay until they end.
pub(super) fn set_pool(
    txn: &mut Txn<'_>,
    command: &Command,
    host: &Host,
    pool: &HostPool,
) -> Result<Decided, Refusal> {
    let limit = txn.state.settings().map_or(usize::MAX, |it| it.hosts_max);
    if !txn.state.keeps_ports(host) && txn.state.is_full_of_hosts(limit) {
        return Err(Refusal::LimitExceeded {
            what: bounds::HOSTS,
            limit,
        });
    }
    let change = put(Key::Pool(host.clone()), pool.clone().into());
    txn.change("pool.set", command, None, vec![change]);
    Ok(Decided::answer(Answer::Done))
}

/// Removes a host's ranges: the default ones hold for it. Leases outside them stay until they end.
pub(super) fn delete_pool(
    txn: &mut Txn<'_>,
    command: &Command,
    host: &Host,
) -> Result<Decided, Refusal> {
    let key = Key::Pool(host.clone());
    if txn.state.slot(&key).is_none() {
        return Err(Refusal::PoolNotFound(host.clone()));
    }
    txn.change(
        "pool.delete",
        command,
        None,
        vec![Change::Delete { key, event: None }],
    );
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
