//! The definition of the command line as a whole, with help.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::{onex::Onex, output};

/// Help is at most this wide, and as wide where nobody says how much room there is.
const HELP_COLUMNS_MAX: u16 = 100;

/// Shows help with the options that all commands share.
const HELP_ALL: &str = "--help-all";

/// What help says of the shared options.
const SHARED: &str =
    "Shared options (--nats, --context, --namespace, -o, --timeout, …): see --help-all";

/// The command line, to be parsed. Help shows the options that all commands share only where `arguments` ask for all.
pub(super) fn command(arguments: &[OsString]) -> Command {
    let mut own = arguments
        .iter()
        .take_while(|argument| *argument != OsStr::new("--"));
    let width = output::width().unwrap_or(HELP_COLUMNS_MAX);
    let command = whole().term_width(width.min(HELP_COLUMNS_MAX).into());
    if own.any(|argument| argument == HELP_ALL) {
        return command;
    }
    let shared = |arg: &Arg| arg.is_global_set() && arg.get_id() != HELP_ALL;
    let command = command.mut_args(|arg| {
        let hidden = shared(&arg);
        arg.hide(hidden)
    });
    pointing_to_shared(command)
}

/// The command line with all options in sight.
pub(super) fn whole() -> Command {
    let help_all = Arg::new(HELP_ALL)
        .long(HELP_ALL.trim_start_matches('-'))
        .help("Print help with the options that all commands share")
        .action(ArgAction::HelpLong)
        .help_heading(None::<&str>)
        .global(true);
    Onex::command().args_override_self(true).arg(help_all)
}

/// The command and those below it, with a line about the shared options before the examples.
fn pointing_to_shared(command: Command) -> Command {
    let after = match command.get_after_help() {
        Some(after) => format!("{SHARED}\n\n{after}"),
        None => SHARED.to_owned(),
    };
    command
        .after_help(after)
        .mut_subcommands(pointing_to_shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_shared_options_that_exist() {
        let command = Onex::command();
        let names: Vec<String> = command
            .get_arguments()
            .filter(|arg| arg.is_global_set())
            .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
            .collect();
        for word in SHARED.split(|c: char| !(c.is_ascii_lowercase() || c == '-')) {
            if word.starts_with("--") && word != HELP_ALL {
                assert!(names.iter().any(|name| name == word), "{word}: {names:?}");
            }
        }
    }
}
