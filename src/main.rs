//! The `onex` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|subcommand| subcommand == "nats-child")
    {
        let Err(error) = onex_registry::embedded::child(arguments);
        eprintln!("onex nats-child: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::FAILURE
}
