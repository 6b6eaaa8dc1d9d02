//! This machine, by all of its names and addresses.

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path};

use crate::domain::ids::{Host, Invalid};

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

/// A machine, under the one name that leases are kept by.
#[derive(Debug)]
pub struct Machine {
    host: Host,
    /// Its other names; none where this process is not on that machine.
    names: BTreeSet<String>,
    local: bool,
}

impl Machine {
    /// The machine that this process runs on, as `host`.
    pub fn local(host: Host) -> Self {
        let hosts_file = read(HOSTS_FILE);
        let mut names = hosts_file_names(&hosts_file, is_own_address);
        names.extend(variants(&node_name(), &read(RESOLVER_FILE)));
        Self {
            host,
            names,
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

    /// Its name.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The name that leases are kept by: this machine's for each of its other names and addresses, else `host` itself.
    pub fn resolve(&self, host: Host) -> Host {
        let address = || host.as_str().parse().is_ok_and(is_own_address);
        let own = is_loopback(&host)
            || self.names.contains(host.as_str())
            || self.local && host != self.host && address();
        if own { self.host.clone() } else { host }
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
    // Resolvers read `127.1` and `0` as addresses too.
    let short = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    LOOPBACK_NAMES.contains(&text)
        || text.ends_with(".localhost")
        || text == "0"
        || text.strip_prefix("127.").is_some_and(short)
}

fn node_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase()
}

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// Whether it is an address of one of this machine's interfaces, as they are now.
fn is_own_address(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|of| of.ip() == address)
}

/// The names in a hosts file that resolve to an own address. Those that resolve to the unspecified address are
/// blocked, not own.
fn hosts_file_names(text: &str, is_own: impl Fn(IpAddr) -> bool) -> BTreeSet<String> {
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
            "127.1",
            "0",
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
    fn hosts_file_names_of_own_addresses_are_own() {
        let text = "# a comment\n127.0.0.1 localhost Dev # local\n127.0.1.1 build-7.lab build-7\n\
            0.0.0.0 blocked.example\n192.0.2.7 me\n192.0.2.8 other\nnonsense\n";
        let names = hosts_file_names(text, |address| address.to_string() == "192.0.2.7");
        let expected = ["build-7", "build-7.lab", "dev", "localhost", "me"];
        assert!(names.iter().eq(expected), "{names:?}");
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
    }
}
