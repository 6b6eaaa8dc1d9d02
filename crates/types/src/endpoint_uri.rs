//! The ports in addresses at which something listens.

use crate::ids::Port;

/// The address with the new port wherever it names the old one behind a host; none where it does not. Several addresses may
/// be separated by commas.
pub fn with_port(uri: &str, old: Port, new: Port) -> Option<String> {
    let addresses: Vec<String> = uri
        .split(',')
        .map(|one| moved(one, old, new).unwrap_or_else(|| one.to_owned()))
        .collect();
    let moved = addresses.join(",");
    (moved != uri).then_some(moved)
}

/// One address, if it names the old port.
fn moved(address: &str, old: Port, new: Port) -> Option<String> {
    let authority = address.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = address.split_at_checked(authority)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let (host, port) = authority.rsplit_once(':')?;
    // What stands behind the last colon of a bare IPv6 address is no port.
    let is_bare = host.contains(':') && !host.ends_with(']');
    let is_old = port.parse().ok().and_then(Port::new) == Some(old);
    (is_old && !is_bare).then(|| format!("{scheme}{host}:{}{path}", new.number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_behind_the_host_changes_and_nothing_else() {
        let port = |number| Port::new(number).unwrap();
        for (uri, moved) in [
            ("redis://build-7:20018/0", Some("redis://build-7:20999/0")),
            ("build-7:20018", Some("build-7:20999")),
            ("http://[::1]:20018/20018", Some("http://[::1]:20999/20018")),
            ("http://h:20018?x=h:20018", Some("http://h:20999?x=h:20018")),
            (
                "nats://a:20018,nats://b:20018,c:1",
                Some("nats://a:20999,nats://b:20999,c:1"),
            ),
            (
                "jdbc:postgresql://h:20018/db",
                Some("jdbc:postgresql://h:20999/db"),
            ),
            ("redis://build-7:2001/20018", None),
            ("redis://build-7/20018", None),
            ("/run/calc.sock", None),
            ("fe80::20018", None),
            ("http://h:20018x", None),
            ("", None),
        ] {
            let got = with_port(uri, port(20_018), port(20_999));
            assert_eq!(got.as_deref(), moved, "{uri}");
        }
    }
}
