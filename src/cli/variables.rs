//! The environment variables in which programs find their ports.

use std::fmt::Display;

/// The variable with the first port, beside its own: where many programs look by themselves.
pub(super) const FIRST: &str = "PORT";

/// What the name of a variable with a port begins with.
const PREFIX: &str = "ONEX_PORT_";

/// The variable with the port of that name: the name in upper case, `_` in the place of everything but letters and digits.
pub(super) fn of(name: &impl Display) -> String {
    let of = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = name.to_string().chars().map(of).collect();
    format!("{PREFIX}{name}")
}
