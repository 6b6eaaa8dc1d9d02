//! Whether a port of this host can be bound, tried as its user would bind it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use onex_core::command::Probed;
use onex_types::{
    ids::{Port, Transport},
    key::PortKey,
    ports::PortRange,
};
use socket2::{Domain, Socket, Type};

use crate::registry::settings::parse_ranges;

/// Tries to bind the port on all addresses of both families, and lets go at once.
///
/// Without `SO_REUSEPORT`, which would let it share a port with a program that has it. TCP is tried with
/// `SO_REUSEADDR`, as nearly every server sets it: without, a port whose last connections are in
/// `TIME_WAIT` would count as in use. UDP is not: there it would hide a program that has the port.
pub(super) fn probe(key: &PortKey) -> Probed {
    let families = [
        (
            Domain::IPV4,
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, key.port.number())),
        ),
        (
            Domain::IPV6,
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, key.port.number())),
        ),
    ];
    let mut bindable = false;
    for (domain, address) in families {
        match bind(domain, key.transport, address) {
            Ok(()) => bindable = true,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Probed::InUse,
            // No such family here, or a port that only root may bind: nothing is known.
            Err(error) => tracing::debug!(%key, %error, "cannot be tried"),
        }
    }
    if bindable {
        Probed::Bindable
    } else {
        Probed::Unknown
    }
}

fn bind(domain: Domain, transport: Transport, address: SocketAddr) -> io::Result<()> {
    let kind = match transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    let socket = Socket::new(domain, kind, None)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    if transport == Transport::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())
}

/// From where the kernel takes ports for outgoing connections.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Ephemeral {
    /// The range.
    pub(in crate::registry) range: PortRange,
    /// What it leaves out of that.
    reserved: Vec<PortRange>,
}

/// From where the kernel takes ports for outgoing connections; none where it does not say.
pub(in crate::registry) fn ephemeral_range() -> Option<Ephemeral> {
    let read = |name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let text = read("ip_local_port_range").ok()?;
    let mut numbers = text
        .split_whitespace()
        .map(|number| number.parse().ok().and_then(Port::new));
    let range = PortRange {
        first: numbers.next()??,
        last: numbers.next()??,
    };
    let reserved = read("ip_local_reserved_ports").unwrap_or_default();
    Some(Ephemeral {
        range,
        reserved: parse_ranges(&reserved).unwrap_or_default(),
    })
}

impl Ephemeral {
    /// What it is to leave out, so that it takes none of these either.
    pub(in crate::registry) fn reserving(&self, ports: &[PortRange]) -> Vec<PortRange> {
        let mut reserved = [&self.reserved, ports].concat();
        reserved.sort();
        reserved
    }

    /// The ports of `ranges` that the kernel takes too.
    pub(in crate::registry) fn overlaps(&self, ranges: &[PortRange]) -> Vec<PortRange> {
        let mut found: Vec<PortRange> = Vec::new();
        let taken = |port: &Port| {
            let is_in = |ranges: &[PortRange]| ranges.iter().any(|range| range.contains(*port));
            is_in(ranges) && !is_in(&self.reserved)
        };
        let numbers = self.range.first.number()..=self.range.last.number();
        for port in numbers.filter_map(Port::new).filter(taken) {
            match found.last_mut() {
                Some(last) if last.last.number() + 1 == port.number() => last.last = port,
                _ => found.push(PortRange {
                    first: port,
                    last: port,
                }),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::registry::settings::show_ranges;

    #[test]
    fn what_the_kernel_leaves_out_is_no_overlap() {
        let ranges = |text| parse_ranges(text).unwrap();
        let ephemeral = |reserved| Ephemeral {
            range: ranges("32768-60999")[0],
            reserved: ranges(reserved),
        };
        for (granted, reserved, expected) in [
            ("20000-29999", "", ""),
            ("32000-33000,60999-65535", "", "32768-33000,60999"),
            ("40000-40009", "40000-40009", ""),
            ("40000-40009", "40003", "40000-40002,40004-40009"),
        ] {
            let found = ephemeral(reserved).overlaps(&ranges(granted));
            assert_eq!(show_ranges(&found), expected, "{granted} {reserved}");
        }
    }

    fn key(transport: Transport, port: u16) -> PortKey {
        PortKey {
            host: "here".parse().unwrap(),
            transport,
            port: Port::new(port).unwrap(),
        }
    }

    /// A port that is let go may be taken at once by whatever runs beside this: one of many is not.
    fn of_some_port(free_again: impl Fn() -> bool) {
        const PORTS_TRIED: usize = 20;
        assert!((0..PORTS_TRIED).any(|_| free_again()));
    }

    #[test]
    fn a_listener_is_seen_in_either_family_and_on_any_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            if TcpListener::bind(address).is_err() {
                continue;
            }
            of_some_port(|| {
                let listener = TcpListener::bind(address).unwrap();
                let key = key(Transport::Tcp, listener.local_addr().unwrap().port());
                assert_eq!(probe(&key), Probed::InUse, "{address}");
                drop(listener);
                probe(&key) == Probed::Bindable
            });
        }
    }

    #[test]
    fn tcp_and_udp_are_two_port_spaces() {
        of_some_port(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            assert_eq!(probe(&key(Transport::Udp, port)), Probed::InUse);
            probe(&key(Transport::Tcp, port)) == Probed::Bindable
        });
    }

    #[test]
    fn connections_in_time_wait_do_not_count() {
        use std::io::Read as _;
        of_some_port(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            // The side that closes first keeps the connection in TIME_WAIT: here the one with the port.
            drop(server);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop((client, listener));
            probe(&key(Transport::Tcp, port)) == Probed::Bindable
        });
    }
}
