//! Decisions: a command and the state in; what it changes, and what came of it, out. A refused command changes nothing.

mod admin;
mod bus;
mod call;
mod claim;
mod decided;
mod grant;
mod hosts;
mod lease;
mod pools;
mod ports;
mod rebind;
mod register;
mod restore;
mod retries;
mod settings;
mod system;
mod tool;
mod trust;

pub use decided::{Decided, Local, Then};
pub use grant::PORTS_TRIED_MAX;
pub use restore::SKIPPED_REVISIONS;

use crate::{
    command::{Action, Answer, Command, Refusal},
    key::Key,
    txn::Txn,
};

/// Decides `command` on the state that includes the commands before it.
pub fn decide(txn: &mut Txn<'_>, local: &Local, command: &Command) -> Result<Decided, Refusal> {
    match &command.action {
        Action::Lease(request) => grant::lease(txn, local, command, request),
        Action::Rollback(rollback) => grant::rollback(txn, local, command, rollback),
        Action::Confirm(key, lease_id) => Ok(grant::confirm(txn, command, key, *lease_id)),
        Action::Renew {
            requester_id,
            lease_id,
            ttl,
            request,
        } => lease::renew(txn, command, *requester_id, *lease_id, *ttl, *request),
        Action::Release {
            requester_id,
            lease_id,
            request,
        } => lease::release(txn, command, *requester_id, *lease_id, *request),
        Action::Rebind(rebind) => rebind::rebind(txn, command, rebind),
        Action::Find(lease_id) => lease::find(txn, *lease_id),
        Action::ReadIndex => Ok(Decided::answer(Answer::Done)),
        Action::BeginCall(begin) => call::begin(txn, command, begin),
        Action::EndCall(end) => Ok(call::end(txn, command, end)),
        Action::FindCall(request) => call::find(txn, *request),
        Action::BeginRun(run) => call::begin_run(txn, command, run),
        Action::EndRun(end) => Ok(call::end_run(txn, command, end)),
        Action::Expire(key) => Ok(expire(txn, command, key)),
        Action::Genesis(genesis) => settings::genesis(txn, genesis),
        Action::AcceptRestore {
            known,
            holders_restarted,
        } => Ok(restore::accept_restore(
            txn,
            command,
            *known,
            *holders_restarted,
        )),
        Action::TakeRecords { records, known } => {
            Ok(restore::take_records(txn, command, records, *known))
        }
        Action::EndQuiet => Ok(restore::end_quiet(txn)),
        Action::RaiseFormat(format) => restore::raise_format(txn, command, *format),
        Action::SetSettings { settings, read } => {
            settings::set_settings(txn, command, settings, *read)
        }
        Action::SetPool(set) => pools::set(txn, command, set),
        Action::DeletePool {
            host,
            expected_revision,
        } => pools::delete(txn, command, host, *expected_revision),
        Action::ForgetHost(host) => Ok(settings::forget_host(txn, command, host)),
        Action::Revoke(revoke) => admin::revoke(txn, command, revoke),
        Action::Unquarantine(unquarantine) => admin::unquarantine(txn, command, unquarantine),
        Action::Evict(evict) => claim::evict(txn, command, evict),
        Action::RemoveHost(remove) => settings::remove_host(txn, command, remove),
        Action::TellHost(tell) => hosts::tell(txn, command, tell),
        Action::RenameHost { host, said_by, to } => {
            Ok(hosts::rename(txn, command, host, *said_by, to))
        }
        Action::TakeOver { from, to } => Ok(system::take_over(txn, *from, *to)),
        Action::SkipEvents {
            instance,
            revision,
            sequence,
            below,
        } => Ok(system::skip_events(
            txn, *instance, *revision, *sequence, *below,
        )),
        Action::Published {
            instance,
            revision,
            sequence,
        } => Ok(system::published(txn, *instance, *revision, *sequence)),
        Action::Register(request) => register::register(txn, command, request),
        Action::Heartbeat(heartbeat) => claim::heartbeat(txn, command, heartbeat),
        Action::Deregister(of) => claim::deregister(txn, command, of),
        Action::RegisterTool(request) => tool::register(txn, command, request),
        Action::DeregisterTool(request) => tool::deregister(txn, command, request),
        Action::RegisterBus(request) => bus::register(txn, command, request),
        Action::DeregisterBus(request) => bus::deregister(txn, command, request),
        Action::Report(report) => trust::report(txn, command, report),
    }
}

/// Ends what time asks to end under that key, or what belongs to something that has ended; forgets what ended long ago.
fn expire(txn: &mut Txn<'_>, command: &Command, key: &Key) -> Decided {
    match key {
        Key::Port(port) => lease::expire(txn, command, port),
        Key::Live(node_id) => claim::expire(txn, command, node_id),
        Key::Bus(bus_id) => bus::expire(txn, command, bus_id),
        Key::Call(_) | Key::Run(_) => return call::expire(txn, command, key),
        _ => {}
    }
    Decided::answer(Answer::Done)
}
