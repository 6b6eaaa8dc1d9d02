//! The definition of the command line as a whole, and what is made of it besides parsing: help, completions, manual pages.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Arg, ArgAction, Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::{
    Onex,
    failure::{Exit, Failure},
    output,
};

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
fn whole() -> Command {
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

/// Write shell completions to stdout.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex completions bash > ~/.local/share/bash-completion/completions/onex\n  \
        onex completions zsh > ~/.zfunc/_onex\n  onex completions fish > ~/.config/fish/completions/onex.fish"
)]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write manual pages: that of `onex` to stdout, or all into a folder.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex man --dir ~/.local/share/man/man1\n  onex man | man -l -"
)]
pub(super) struct Man {
    /// The folder for `onex.1`, `onex-port-lease.1` and the others. It is made where there is none.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut command = whole();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "onex", &mut script);
        output::print(&script)?;
        Ok(Exit::Done)
    }
}

impl Man {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut command = whole().disable_help_subcommand(true);
        command.build();
        let command = with_short_synopsis(command);
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map_err(|error| Failure::new(Exit::Failed, "OUTPUT", error.to_string()))?;
            output::print(&page)?;
            return Ok(Exit::Done);
        };
        let written =
            std::fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(command, &dir));
        written.map_err(|error| {
            let message = format!("cannot write manual pages to {}: {error}", dir.display());
            Failure::new(Exit::Usage, "FILE", message)
        })?;
        Ok(Exit::Done)
    }
}

/// The command and those below it, to be shown with `[OPTIONS]` where all options would come one by one, those included that
/// all commands share.
fn with_short_synopsis(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    command
        .override_usage(usage)
        .mut_subcommands(with_short_synopsis)
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
