//! This machine, by all of its names and addresses; its processes, as they are shown, and who of them uses a port; and ids,
//! which are made by its clock.

mod listeners;
mod new_id;
mod process;
mod system;

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
};

use onex_types::{
    bounds::ALIASES_MAX,
    ids::{Host, Invalid},
};

pub use listeners::{LISTENERS_MAX, listeners, used_ports};
pub use new_id::new_id;
pub use process::{NO_HOLDER_VARIABLE, own_holder, parents_holder, program_name};

use system::{node_name, read};

/// Names that every machine gives itself. Those below `.localhost` are of that kind too (RFC 6761, section 6.3).
const LOOPBACK_NAMES: &[&str] = &[
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
];
const HOSTS_FILE: &str = "/etc/hosts";
const RESOLVER_FILE: &str = "/etc/resolv.conf";
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
const NETWORK_FILE: &str = "/proc/self/ns/net";
/// Names that one machine may have beside its host's; of more, those that come first in `/etc/hosts`. The rest of
/// [`ALIASES_MAX`] is for its addresses.
const NAMES_MAX: usize = ALIASES_MAX / 2;

/// A machine, under the one name that leases are kept by.
#[derive(Debug, Clone)]
pub struct Machine {
    host: Host,
    /// Its other names; none where this process is not on that machine.
    names: BTreeSet<Host>,
    local: bool,
}

impl Machine {
    /// The machine that this process runs on, as `host`.
    pub fn local(host: Host) -> Self {
        let hosts_file = read(HOSTS_FILE);
        let names = variants(&node_name(), &read(RESOLVER_FILE)).into_iter();
        let names = names.chain(hosts_file_names(&hosts_file, is_own_address));
        Self {
            names: own_names(names, &host),
            host,
            local: true,
        }
    }

    /// A machine that this process speaks for without being on its network, as from within a container.
    pub fn remote(host: Host) -> Self {
        Self {
            host,
            names: BTreeSet::new(),
            local: false,
        }
    }

    /// Whether this process is on that machine's network.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// The name that leases are kept by.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The name that leases are kept by: this machine's for each of its other names and addresses, else `host` itself.
    pub fn resolve(&self, host: Host) -> Host {
        if is_loopback(&host) || self.is_called(&host) {
            self.host.clone()
        } else {
            host
        }
    }

    /// Whether it is one of this machine's other names, or an address of it; loopback ones are not looked at.
    pub fn is_called(&self, host: &Host) -> bool {
        let address = || host.as_str().parse().is_ok_and(is_own_address);
        self.names.contains(host) || self.local && *host != self.host && address()
    }

    /// What others on the network may call it beside its host's name: its other names, and its addresses as they are
    /// now, at most [`ALIASES_MAX`] in all.
    pub fn aliases(&self) -> BTreeSet<Host> {
        let mut aliases = self.names.clone();
        if self.local {
            let mut addresses = own_addresses();
            // There may be one of these for each container, and they mean something on their link only.
            addresses.sort_by_key(
                |address| matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local()),
            );
            let texts = addresses.iter().filter(|ip| !ip.is_loopback());
            let hosts = texts.filter_map(|ip| ip.to_string().parse::<Host>().ok());
            let room = ALIASES_MAX.saturating_sub(aliases.len());
            aliases.extend(hosts.filter(|host| *host != self.host).take(room));
        }
        aliases
    }

    /// Which kernel and network namespace its ports are of; none where that cannot be told.
    pub fn port_space(&self) -> Option<String> {
        if !self.local {
            return None;
        }
        let boot = fs::read_to_string(BOOT_ID_FILE).ok()?;
        let network = fs::read_link(NETWORK_FILE).ok()?;
        Some(format!("{} {}", boot.trim(), network.display()))
    }
}

/// This machine by the name that a registry on it takes by itself: its host name, in lower case.
pub fn own_host() -> Result<Host, Invalid> {
    node_name().parse()
}

/// Whether a name or address means the machine on which it is used, whichever that is.
pub fn is_loopback(host: &Host) -> bool {
    let text = host.as_str();
    if let Ok(address) = text.parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback() || address.is_unspecified();
    }
    LOOPBACK_NAMES.contains(&text) || text.ends_with(".localhost")
}

/// The host with an address in the one spelling that is kept. Other spellings of IPv4 addresses, such as `127.1` and
/// `0x7f000001`, look like names: they are refused with the address that they mean.
pub fn spelled(host: Host) -> Result<Host, Invalid> {
    let text = host.as_str();
    if let Ok(address) = text.parse::<IpAddr>() {
        return address.to_canonical().to_string().parse();
    }
    match short_ipv4(text) {
        Some(address) => Err(Invalid(format!(
            "must be a host name, or an IP address in its usual form: {text:?} is read as {address}; write {:?}",
            address.to_string()
        ))),
        None => Ok(host),
    }
}

/// The address that resolvers read such a text as (`inet_aton`): one to four numbers, the last of which fills what is
/// left.
fn short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x") {
        Some("") => Some(0),
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(part, 8).ok(),
        None if part.starts_with(|c: char| c.is_ascii_digit()) => part.parse().ok(),
        None => None,
    };
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let left = 4_usize.checked_sub(first.len())?;
    let mut bytes: Vec<u8> = Vec::new();
    for part in first {
        bytes.push(u8::try_from(*part).ok()?);
    }
    let last = u32::try_from(*last).ok()?.to_be_bytes();
    let (over, rest) = last.split_at_checked(4 - left)?;
    bytes.extend(rest);
    let bytes: [u8; 4] = bytes.try_into().ok()?;
    over.iter().all(|byte| *byte == 0).then(|| bytes.into())
}

/// The addresses of this machine's interfaces, as they are now.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(|of| of.ip().to_canonical()).collect()
}

fn is_own_address(address: IpAddr) -> bool {
    own_addresses().contains(&address.to_canonical())
}

/// The first [`NAMES_MAX`] of them that can be the name of a host; `host` itself and what every machine is called are
/// left out.
fn own_names(names: impl Iterator<Item = String>, host: &Host) -> BTreeSet<Host> {
    let mut own = BTreeSet::new();
    for name in names.filter_map(|name| name.parse::<Host>().ok()) {
        if own.len() < NAMES_MAX && name != *host && !is_loopback(&name) {
            own.insert(name);
        }
    }
    own
}

/// The names in a hosts file that resolve to an own address. Those that resolve to the unspecified address are
/// blocked, not own.
fn hosts_file_names(text: &str, is_own: impl Fn(IpAddr) -> bool) -> Vec<String> {
    let own_names = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let own = address.is_loopback() || is_own(address);
        own.then(|| words.map(str::to_ascii_lowercase).collect::<Vec<_>>())
    };
    text.lines().filter_map(own_names).flatten().collect()
}

/// The host name as it is, without its domain, and with each domain that the resolver appends.
fn variants(name: &str, resolver: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::from([name.to_owned()]);
    if let Some((short, _)) = name.split_once('.') {
        names.insert(short.to_owned());
        return names;
    }
    for line in resolver.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            let domains = words.map(|domain| domain.trim_matches('.').to_ascii_lowercase());
            names.extend(domains.map(|domain| format!("{name}.{domain}")));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_and_unspecified_addresses_mean_every_machine() {
        for name in [
            "localhost",
            "app.localhost",
            "ip6-localhost",
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(&host(name)), "{name}");
        }
        for name in [
            "vm",
            "10.0.0.1",
            "127.example",
            "localhost.example",
            "fd00::1",
        ] {
            assert!(!is_loopback(&host(name)), "{name}");
        }
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (text, address) in [
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("10.1.258", "10.1.1.2"),
            ("0177.0.0.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("42", "0.0.0.42"),
        ] {
            let Err(Invalid(told)) = spelled(host(text)) else {
                panic!("{text} is a host");
            };
            assert!(
                told.contains(&format!("write {address:?}")),
                "{text}: {told}"
            );
        }
        for name in [
            "vm",
            "10.0.0.1",
            "::1",
            "node.1",
            "1.2.3.4.5",
            "300.1.1.1",
            "127.0.65536.1",
            "4294967296",
            "0xcafe-1",
            "a.0x1",
            "09",
        ] {
            assert_eq!(spelled(host(name)), Ok(host(name)));
        }
        assert_eq!(spelled(host("::ffff:10.0.0.1")), Ok(host("10.0.0.1")));
    }

    #[test]
    fn hosts_file_names_of_own_addresses_are_own() {
        let text = "# a comment\n127.0.0.1 localhost Dev # local\n127.0.1.1 build-7.lab build-7\n\
            0.0.0.0 blocked.example\n192.0.2.7 me\n192.0.2.8 other\nnonsense\n";
        let names = hosts_file_names(text, |address| address.to_string() == "192.0.2.7");
        let expected = ["localhost", "dev", "build-7.lab", "build-7", "me"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_machine_has_a_bounded_number_of_names() {
        let many = (0..10 * NAMES_MAX).map(|n| format!("n{n}"));
        let names = ["localhost", "here", "bad name"].map(str::to_owned);
        let names = own_names(names.into_iter().chain(many), &host("here"));
        assert_eq!(names.len(), NAMES_MAX);
        assert!(names.contains(&host("n0")) && !names.contains(&host("here")));
        assert!(Machine::local(host("here")).aliases().len() <= ALIASES_MAX);
    }

    #[test]
    fn a_host_name_is_own_with_and_without_its_domain() {
        let resolver = "nameserver 192.0.2.1\nsearch lab.example. eu.example\n";
        let names = variants("build-7", resolver);
        assert!(
            names
                .iter()
                .eq(["build-7", "build-7.eu.example", "build-7.lab.example"])
        );
        let names = variants("build-7.lab.example", resolver);
        assert!(names.iter().eq(["build-7", "build-7.lab.example"]));
    }

    #[test]
    fn a_remote_machine_has_the_names_of_every_machine_only() {
        let machine = Machine::remote(host("build-7"));
        assert_eq!(machine.resolve(host("localhost")), host("build-7"));
        let own = own_host().unwrap();
        assert_eq!(machine.resolve(own.clone()), own);
        assert!(machine.aliases().is_empty() && machine.port_space().is_none());
    }
}
