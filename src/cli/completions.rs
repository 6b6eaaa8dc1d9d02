//! `onex completions`: what shells complete.

use clap::{Args, Command};
use clap_complete::Shell;

use super::{
    failure::{Exit, Failure},
    output,
};

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

impl Completions {
    pub(super) fn run(self, mut command: Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "onex", &mut script);
        output::print(&script)?;
        Ok(Exit::Done)
    }
}
