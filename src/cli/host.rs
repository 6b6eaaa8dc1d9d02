//! The machine that a command is about: the caller's own, where no other is named.

use onex_machine::{Machine, is_loopback, own_host, spelled};
use onex_types::ids::{Host, Invalid};

use super::{environment::variable, failure::Failure};

/// Where this machine's name in the registry may be said.
const VARIABLE: &str = "ONEX_HOST";

/// A host as it is given: an address in its usual form.
pub(super) fn parse(text: &str) -> Result<Host, Invalid> {
    spelled(text.parse()?)
}

/// The host that was given, else this machine.
pub(super) fn meant(given: Option<Host>) -> Result<Host, Failure> {
    given.map_or_else(own, named)
}

/// The host that was given; what means this machine, as `localhost` does, by its name: a registry on another machine
/// would take it for its own.
pub(super) fn named(host: Host) -> Result<Host, Failure> {
    if is_loopback(&host) {
        return own();
    }
    // The flag says which host it is: a wrong variable does not matter then.
    let own = own().ok().or_else(|| own_host().ok());
    Ok(match own {
        Some(own) => Machine::local(own).resolve(host),
        None => host,
    })
}

/// This machine's name: by the environment, else its host name.
fn own() -> Result<Host, Failure> {
    let wrong = |whose: &str, error: Invalid| {
        Failure::usage(format!("{whose} {error}"))
            .hint(format!("say this machine's name with --host or {VARIABLE}"))
    };
    let told = variable(VARIABLE).map(|text| parse(&text));
    match told.transpose().map_err(|error| wrong(VARIABLE, error))? {
        Some(host) if !is_loopback(&host) => Ok(host),
        _ => own_host().map_err(|error| wrong("this machine's name", error)),
    }
}
