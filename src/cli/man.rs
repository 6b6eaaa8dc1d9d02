//! `onex man`: manual pages.

use std::path::PathBuf;

use clap::{Args, Command};

use super::{
    failure::{Exit, Failure},
    output,
};

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

impl Man {
    pub(super) fn run(self, command: Command) -> Result<Exit, Failure> {
        let mut command = command.disable_help_subcommand(true);
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
