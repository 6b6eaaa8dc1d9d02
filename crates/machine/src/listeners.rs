//! Who uses the ports of this machine: by the kernel's tables, without binding anything.
//!
//! They have the sockets of the network namespace of this process: those that listen, for TCP, and those that are bound,
//! for UDP. A TCP socket that is bound and does not listen is in no table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use crate::process::{command_of, user_of};
use onex_types::{
    ids::{Port, Transport},
    listener::Listener,
};

/// Sockets on one port that are told of, at most.
pub const LISTENERS_MAX: usize = 16;
/// The state of a TCP socket that listens.
const LISTENS: &str = "0A";

/// A socket, as a table has it.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: Port,
    user: u32,
    /// Its number: that of what processes have open.
    inode: u64,
}

/// Who uses a port, the first [`LISTENERS_MAX`] sockets by their addresses; none where nobody can look. Reads the tables of
/// all processes where the port is used: not for a thread that must not wait.
pub fn listeners(transport: Transport, port: Port) -> Option<Vec<Listener>> {
    let mut sockets = sockets(transport)?;
    sockets.retain(|socket| socket.port == port);
    sockets.sort_by_key(|socket| (socket.address, socket.inode));
    sockets.truncate(LISTENERS_MAX);
    let numbers = sockets.iter().map(|socket| socket.inode).collect();
    let processes = processes_with(&numbers);
    let listener = |socket: Socket| {
        let pid = processes.get(&socket.inode).copied();
        Listener {
            address: socket.address,
            user: user_of(socket.user),
            pid,
            command: pid.and_then(command_of),
        }
    };
    Some(sockets.into_iter().map(listener).collect())
}

/// All ports that somebody uses; none where nobody can look.
pub fn used_ports(transport: Transport) -> Option<BTreeSet<Port>> {
    let sockets = sockets(transport)?;
    Some(sockets.into_iter().map(|socket| socket.port).collect())
}

fn sockets(transport: Transport) -> Option<Vec<Socket>> {
    let read = |version: &str| fs::read_to_string(format!("/proc/net/{transport}{version}"));
    let mut sockets = parsed(transport, &read("").ok()?);
    // A kernel without IPv6 has no such table.
    sockets.extend(parsed(transport, &read("6").unwrap_or_default()));
    Some(sockets)
}

/// The sockets of a table. Lines that are not as they should be are left out.
fn parsed(transport: Transport, table: &str) -> Vec<Socket> {
    let socket = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (address, port) = fields.next()?.split_once(':')?;
        let state = fields.nth(1)?;
        if transport == Transport::Tcp && state != LISTENS {
            return None;
        }
        let user = fields.nth(3)?.parse().ok()?;
        Some(Socket {
            address: address_of(address)?,
            port: Port::new(u16::from_str_radix(port, 16).ok()?)?,
            user,
            inode: fields.nth(1)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// An address in hexadecimal digits: words of 32 bits as this machine's processor has them.
fn address_of(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The processes that have these sockets open, as far as that may be seen: of several that have the same the one with the
/// lowest number.
#[cfg(target_os = "linux")]
fn processes_with(sockets: &BTreeSet<u64>) -> BTreeMap<u64, NonZeroU32> {
    use procfs::process::{FDTarget, Process, all_processes};

    let mut found = BTreeMap::new();
    if sockets.is_empty() {
        return found;
    }
    let processes = all_processes().into_iter().flatten();
    let mut processes: Vec<Process> = processes.filter_map(Result::ok).collect();
    processes.sort_by_key(Process::pid);
    for process in processes {
        let pid = u32::try_from(process.pid()).ok().and_then(NonZeroU32::new);
        let (Ok(open), Some(pid)) = (process.fd(), pid) else {
            continue;
        };
        for descriptor in open.flatten() {
            if let FDTarget::Socket(inode) = descriptor.target
                && sockets.contains(&inode)
            {
                found.entry(inode).or_insert(pid);
            }
        }
        if found.len() == sockets.len() {
            break;
        }
    }
    found
}

/// Nobody says.
#[cfg(not(target_os = "linux"))]
fn processes_with(_: &BTreeSet<u64>) -> BTreeMap<u64, NonZeroU32> {
    BTreeMap::new()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    /// As a kernel for processors with the low byte first has it.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 34567 1 00000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 81 1 00000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 34999 1 00000000 20 4 30 10 -1
   3: odd
   4: 0100007F:0000 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 90210 1 00000000 100 0 0 10 0
   1: B80D01200000000067452301EFCDAB89:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 7 1
";
    const UDP: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  211: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 19283 2 00000000 0
";

    #[track_caller]
    fn check(transport: Transport, table: &str, expected: &[(&str, u16, u32, u64)]) {
        if cfg!(target_endian = "big") {
            return;
        }
        let socket = |(address, port, user, inode): &(&str, u16, u32, u64)| Socket {
            address: address.parse().unwrap(),
            port: Port::new(*port).unwrap(),
            user: *user,
            inode: *inode,
        };
        let expected: Vec<Socket> = expected.iter().map(socket).collect();
        assert_eq!(parsed(transport, table), expected);
    }

    #[test]
    fn tables_of_the_kernel_are_read() {
        use Transport::{Tcp, Udp};
        let tcp = [("127.0.0.1", 8_080, 1_000, 34_567), ("0.0.0.0", 22, 0, 81)];
        check(Tcp, TCP, &tcp);
        let tcp6 = [
            ("::1", 631, 0, 90_210),
            ("2001:db8::123:4567:89ab:cdef", 8_080, 33, 7),
        ];
        check(Tcp, TCP6, &tcp6);
        check(Udp, UDP, &[("127.0.0.53", 53, 101, 19_283)]);
        check(Udp, "", &[]);
    }

    #[test]
    fn this_process_is_found_on_its_ports() {
        let own = NonZeroU32::new(std::process::id());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (transport, address) in [
            (Transport::Tcp, tcp.local_addr().unwrap()),
            (Transport::Udp, udp.local_addr().unwrap()),
        ] {
            let port = Port::new(address.port()).unwrap();
            let found = listeners(transport, port).unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].address, found[0].pid), (address.ip(), own));
            assert!(found[0].command.is_some() && found[0].user.is_some());
            assert!(used_ports(transport).unwrap().contains(&port));
        }
    }

    /// A port of which many addresses are used, by a process and one that it has started.
    #[test]
    fn of_many_sockets_the_first_are_named_and_of_several_processes_the_lowest() {
        use std::process::{Command, Stdio};

        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let others = (2..=30)
            .filter_map(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).ok());
        let others: Vec<TcpListener> = others.collect();
        assert!(others.len() > LISTENERS_MAX);
        let inherited = std::os::fd::OwnedFd::from(first.try_clone().unwrap());
        let mut heir = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(inherited))
            .spawn()
            .unwrap();
        let found = listeners(Transport::Tcp, Port::new(port).unwrap()).unwrap();
        heir.kill().unwrap();
        heir.wait().unwrap();
        assert_eq!(found.len(), LISTENERS_MAX);
        assert!(found.is_sorted_by_key(|listener| listener.address));
        let lowest = std::process::id().min(heir.id());
        assert_eq!(found[0].pid, NonZeroU32::new(lowest));
    }
}
