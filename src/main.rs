//! The `onex` program: arguments in, exit code out.

use std::process::ExitCode;

use onex_registry::{cli, embedded};

fn main() -> ExitCode {
    // Before anything else runs: this process becomes nats-server.
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|subcommand| subcommand == embedded::CHILD)
    {
        let Err(error) = embedded::child(arguments);
        eprintln!("onex {}: {}", embedded::CHILD, onex_registry::chain(&error));
        return ExitCode::FAILURE;
    }
    cli::run()
}
