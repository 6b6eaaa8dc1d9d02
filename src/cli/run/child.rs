//! `onex run-child`: the short life between `onex run` and its command.
//!
//! A process cannot be told from outside to end with its parent, so `onex run` runs its own program again: it
//! asks the kernel for that signal and becomes the command. That stays in force over `exec`.

use std::{
    ffi::OsString,
    io::ErrorKind,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::exit;

/// The hidden subcommand.
pub const RUN_CHILD: &str = "run-child";

/// The words for a child of this process that becomes `command`.
pub(super) fn arguments(command: &[OsString]) -> Vec<OsString> {
    let own = [RUN_CHILD.into(), std::process::id().to_string().into()];
    own.into_iter().chain(command.iter().cloned()).collect()
}

/// The body of `onex run-child PARENT COMMAND...`: becomes the command. It returns when it cannot, with
/// the exit code that `env` has then.
pub fn run_child(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let parent = arguments
        .next()
        .and_then(|text| text.to_str()?.parse().ok())
        .filter(|id| *id > 0)
        .and_then(Pid::from_raw);
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        eprintln!("onex {RUN_CHILD}: for `onex run` only, which says its process id and a command");
        return exit::OWN_FAILURE.into();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        eprintln!("onex: the command could not be told to end with onex: {error}");
        return exit::OWN_FAILURE.into();
    }
    // Whoever died before the line above sends no signal any more.
    if getppid() != Some(parent) {
        return exit::OWN_FAILURE.into();
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("onex: cannot run {}: {error}", program.display());
    match error.kind() {
        ErrorKind::NotFound => exit::NOT_FOUND.into(),
        _ => exit::NOT_RUNNABLE.into(),
    }
}
