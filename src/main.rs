//! The `onex` program: arguments in, exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use onex_registry::{cli, embedded};

/// A request makes hundreds of small allocations on one thread that are freed on another; the system's allocator takes
/// a fifth of the registry's time for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Before anything else runs: this process becomes nats-server, or the command of `onex run`.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(subcommand) if subcommand == embedded::CHILD => {
            let Err(error) = embedded::child(arguments);
            eprintln!("onex {}: {}", embedded::CHILD, onex_types::chain(&error));
            ExitCode::FAILURE
        }
        #[cfg(target_os = "linux")]
        Some(subcommand) if subcommand == cli::RUN_CHILD => cli::run_child(arguments),
        Some(_) | None => cli::run(),
    }
}
