//! Who listens on a port, from the kernel's tables.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Who listens on an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupant {
    /// A process that this user may look at.
    Process {
        /// Its id.
        pid: i32,
        /// Its command line, cut after a few words.
        command: String,
    },
    /// Somebody else's process, or one in another container: the kernel does not tell.
    Unknown,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } => write!(f, "process {pid} ({command})"),
            Self::Unknown => {
                f.write_str("an unknown process (another user's, or in another container)")
            }
        }
    }
}

/// Whether a server could listen on `address` now. Binds without listening, so that no client gets through to this
/// process.
pub(super) fn bindable(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // As the server does it: connections that wait out their end are no obstacle.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

#[cfg(target_os = "linux")]
pub(super) use kernel::{command_of, is_child_of, occupant};

/// Who listens on `address`: only Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn occupant(_address: SocketAddr) -> Occupant {
    Occupant::Unknown
}

/// How process `pid` was started: only Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn command_of(_pid: i32) -> Option<String> {
    None
}

/// Whether process `pid` runs as a child of `parent`: only Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_child_of(_pid: i32, _parent: i32) -> bool {
    false
}

/// What Linux knows.
#[cfg(target_os = "linux")]
mod kernel {
    use std::net::{IpAddr, SocketAddr};

    use procfs::net::{TcpNetEntry, TcpState};
    use procfs::process::{FDTarget, Process};

    use super::Occupant;

    /// A command line in a message is cut here.
    const COMMAND_CHARS_MAX: usize = 120;

    /// Who listens on `address`, or on all addresses of its family's machine with that port.
    pub(in crate::embedded) fn occupant(address: SocketAddr) -> Occupant {
        let sockets: Vec<u64> = [procfs::net::tcp(), procfs::net::tcp6()]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| in_the_way(entry, address))
            .map(|entry| entry.inode)
            .collect();
        let Ok(processes) = procfs::process::all_processes() else {
            return Occupant::Unknown;
        };
        processes
            .flatten()
            .find(|process| holds(process, &sockets))
            .map_or(Occupant::Unknown, |process| Occupant::Process {
                pid: process.pid(),
                command: command(&process),
            })
    }

    fn in_the_way(entry: &TcpNetEntry, address: SocketAddr) -> bool {
        let (theirs, ours) = (entry.local_address.ip(), address.ip());
        let overlap = theirs == ours
            || ours.is_unspecified()
            || theirs.is_unspecified()
            || mapped(theirs) == Some(ours);
        entry.state == TcpState::Listen && entry.local_address.port() == address.port() && overlap
    }

    fn mapped(address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map(IpAddr::V4),
        }
    }

    fn holds(process: &Process, sockets: &[u64]) -> bool {
        let Ok(descriptors) = process.fd() else {
            return false;
        };
        descriptors
            .flatten()
            .any(|descriptor| matches!(descriptor.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
    }

    /// How process `pid` was started, if it is there and may be looked at.
    pub(in crate::embedded) fn command_of(pid: i32) -> Option<String> {
        Process::new(pid).ok().map(|process| command(&process))
    }

    /// Whether process `pid` runs as a child of `parent`.
    pub(in crate::embedded) fn is_child_of(pid: i32, parent: i32) -> bool {
        let stat = Process::new(pid).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.ppid == parent)
    }

    fn command(process: &Process) -> String {
        let words = process.cmdline().unwrap_or_default().join(" ");
        let words = if words.is_empty() {
            process.stat().map(|stat| stat.comm).unwrap_or_default()
        } else {
            words
        };
        let mut shown: String = words
            .chars()
            .map(|character| {
                if character.is_control() {
                    ' '
                } else {
                    character
                }
            })
            .take(COMMAND_CHARS_MAX)
            .collect();
        if words.chars().nth(COMMAND_CHARS_MAX).is_some() {
            shown.push('…');
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn names_the_process_that_listens() {
        for (theirs, ours) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
        ] {
            let listener = TcpListener::bind((theirs, 0)).unwrap();
            let address =
                SocketAddr::new(ours.parse().unwrap(), listener.local_addr().unwrap().port());
            assert_eq!(
                bindable(address).unwrap_err().kind(),
                io::ErrorKind::AddrInUse,
                "{theirs} {ours}"
            );
            match occupant(address) {
                Occupant::Process { pid, command } => {
                    assert_eq!(u32::try_from(pid).unwrap(), std::process::id());
                    assert!(!command.is_empty());
                }
                Occupant::Unknown => panic!("{theirs} {ours}: not found"),
            }
        }
    }

    #[test]
    fn a_free_port_is_bindable_and_nobodys() {
        // A port that is let go may be taken at once by whatever runs beside this: one of many is not.
        assert!((0..20).any(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            bindable(address).is_ok() && occupant(address) == Occupant::Unknown
        }));
    }
}
