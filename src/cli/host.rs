//! The machine that a lease is for: the caller's own, where no other is named.

use crate::{
    client::own_host,
    domain::ids::{Host, Invalid},
    machine::{Machine, is_loopback},
};

use super::{environment::variable, failure::Failure};

/// Where this machine's name in the registry may be said.
const VARIABLE: &str = "ONEX_HOST";

/// The host that was given, else this machine. What means this machine, as `localhost` does, is sent by its name: a
/// registry on another machine would take it for its own.
pub(super) fn meant(given: Option<Host>) -> Result<Host, Failure> {
    let own = own()?;
    Ok(match given {
        Some(host) => Machine::local(own).resolve(host),
        None => own,
    })
}

/// This machine's name: by the environment, else its host name.
fn own() -> Result<Host, Failure> {
    let wrong = |whose: &str, error: Invalid| {
        Failure::usage(format!("{whose} {error}"))
            .hint(format!("say this machine's name with --host or {VARIABLE}"))
    };
    let told = variable(VARIABLE).map(|text| text.parse::<Host>());
    match told.transpose().map_err(|error| wrong(VARIABLE, error))? {
        Some(host) if !is_loopback(&host) => Ok(host),
        _ => own_host().map_err(|error| wrong("this machine's name", error)),
    }
}
