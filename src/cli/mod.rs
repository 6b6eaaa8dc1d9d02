//! The command line: one file a command.

mod connection;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Port leases on an event bus, over NATS.
#[derive(Debug, Parser)]
#[command(name = "onex", version, about, max_term_width = 100)]
struct Onex {
    #[command(flatten)]
    connection: connection::Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
}

/// Runs what the arguments say.
pub fn run() -> ExitCode {
    let onex = Onex::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("onex: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match onex.command {
            Command::Serve(serve) => serve.run(&onex.connection).await,
        }
    })
}

/// Where data is kept that has to last; none when there is no home folder.
fn data_folder() -> Option<std::path::PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(std::path::PathBuf::from)
    };
    let base =
        set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("onex-registry"))
}
