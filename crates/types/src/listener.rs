//! Who uses a port, as the kernel has it.

use std::{fmt, net::IpAddr, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::holder::HolderText;

/// A socket that is bound to a port: one that listens, for TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// The address that it is bound to: `0.0.0.0` and `::` are all of the machine's.
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// The user whose it is: by name where that is known, else by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<HolderText>,
    /// The process that has it open, of several the one with the lowest number; absent where that may not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<NonZeroU32>,
    /// The name of the program that this process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<HolderText>,
}

/// Who it is, as in `python3 (pid 4711)`, without the address.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command, self.pid, &self.user) {
            (Some(command), Some(pid), _) => write!(f, "{command} (pid {pid})"),
            (None, Some(pid), _) => write!(f, "a program (pid {pid})"),
            (_, None, Some(user)) => write!(f, "a program of user {user}"),
            (_, None, None) => f.write_str("a program"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_as_far_as_it_can_be_seen() {
        let mut listener = Listener {
            address: "::1".parse().unwrap(),
            user: HolderText::of("ana"),
            pid: NonZeroU32::new(77),
            command: HolderText::of("python3"),
        };
        assert_eq!(listener.to_string(), "python3 (pid 77)");
        listener.command = None;
        assert_eq!(listener.to_string(), "a program (pid 77)");
        listener.pid = None;
        assert_eq!(listener.to_string(), "a program of user ana");
        listener.user = None;
        assert_eq!(listener.to_string(), "a program");
    }
}
