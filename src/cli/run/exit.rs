//! Exit codes of `onex run` beside the command's own and those of every command: those of `env` and of shells.

use rustix::process::WaitStatus;

/// `onex run` itself failed, or a lease was lost.
pub(in crate::cli) const OWN_FAILURE: u8 = 125;
/// The command is there and cannot be run.
pub(super) const NOT_RUNNABLE: u8 = 126;
/// There is no such command.
pub(super) const NOT_FOUND: u8 = 127;
/// What is added to the number of a signal that ended the command.
const SIGNALLED: i32 = 128;

/// The exit code that tells of an ended command.
pub(super) fn code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNALLED + signal,
        (None, None) => return OWN_FAILURE,
    };
    u8::try_from(code).unwrap_or(OWN_FAILURE)
}

/// The exit code of who was ended by that signal.
pub(super) fn by_signal(signal: i32) -> u8 {
    u8::try_from(SIGNALLED + signal).unwrap_or(OWN_FAILURE)
}
