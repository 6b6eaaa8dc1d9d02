//! `--port PORT` or `--port NAME[=PROTOCOL][:PORT][/udp]`: a port that a command wants, and the variable that it finds
//! it in.

use std::{fmt, net::IpAddr, str::FromStr};

use onex_machine::is_loopback;
use onex_types::ids::{Invalid, Name, Port, Token};

use crate::{
    cli::{parse, variables},
    protocol::port::{LeaseReply, RequestedTransport},
};

/// A `--port` option: the port that a command wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortSpec {
    /// Its name, where it has one: the same user gets the same port again when it is free, and others can resolve it.
    pub(super) name: Option<Name>,
    /// What will be spoken there; the transport's name where it is not said.
    pub(super) protocol: Token,
    /// The only port that will do.
    pub(super) port: Option<Port>,
    /// In which port space.
    pub(super) transport: RequestedTransport,
}

impl PortSpec {
    /// Whether both are the same number without a name, in two port spaces.
    fn is_same_number(&self, other: &Self) -> bool {
        let unnamed = self.name.is_none() && other.name.is_none();
        unnamed && self.port == other.port && self.transport != other.transport
    }

    /// Why both cannot be had, where that is so; `same_variable` where both would be found in the same one.
    fn clash(&self, other: &Self, same_variable: bool) -> Option<String> {
        let same_port = self.port.filter(|_| self.transport == other.transport);
        let same_port = same_port.filter(|port| other.port == Some(*port));
        if self.name.is_some() && self.name == other.name {
            return Some(format!(
                "--port {self} is given twice: a name is that of one port, so give the other one another name"
            ));
        }
        match same_port {
            Some(port) if self.name.is_none() && other.name.is_none() => Some(format!(
                "--port {port} is given twice: give each number once, and for another port its number, or a name for any"
            )),
            Some(port) => Some(format!(
                "--port {other} and --port {self} both want port {port}: give one of them another number, or a name without \
                 a number for any"
            )),
            None if same_variable && !self.is_same_number(other) => Some(format!(
                "--port {other} and --port {self} would both be {}: rename one of them",
                self.variable()
            )),
            None => None,
        }
    }

    /// Its name, where it has one, and what was leased for it.
    pub(super) fn with(&self, lease: &LeaseReply) -> String {
        let port = format!("{}/{}", lease.port, lease.transport);
        match &self.name {
            Some(name) => format!("{name}: {port}"),
            None => port,
        }
    }

    /// The variable that the command finds the port in: of its name, or of its number where it has none.
    pub(super) fn variable(&self) -> String {
        variables::of(self)
    }
}

/// As it is named in messages: by its name, or by its number.
impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.port) {
            (Some(name), _) => f.write_str(name.as_str()),
            (None, Some(port)) => port.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

impl FromStr for PortSpec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text).map_err(|why| match in_order(text) {
            Some(right) => Invalid(format!(
                "the order is NAME=PROTOCOL:PORT/udp: write {right}"
            )),
            None => why,
        })
    }
}

fn read(text: &str) -> Result<PortSpec, Invalid> {
    let (rest, transport) = match text.rsplit_once('/') {
        None => (text, "tcp"),
        Some((rest, transport @ ("tcp" | "udp"))) => (rest, transport),
        Some((_, other)) => {
            return Err(Invalid(format!(
                "a transport is \"tcp\" or \"udp\", not {other:?}"
            )));
        }
    };
    let named = |what: &str, why: Invalid| Invalid(format!("a {what} {why}"));
    let number = |text: &str| parse::port(text).map_err(|why| named("port", why));
    if let Some(why) = several(rest) {
        return Err(why);
    }
    let (rest, port) = match rest.rsplit_once(':') {
        None => (rest, None),
        Some((rest, word)) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let told = format!(
                "a port is a number from 1 to 65535: what is spoken there is written {rest}={word}"
            );
            return Err(Invalid(told));
        }
        Some((rest, port)) => (rest, Some(number(port)?)),
    };
    let (name, protocol) = rest.split_once('=').unwrap_or((rest, transport));
    if let (Some(port), true) = (port, name.is_empty() || is_address(name)) {
        let behind = text.get(name.len()..).unwrap_or_default();
        let behind = behind.replacen(&format!(":{port}"), "", 1);
        return Err(Invalid(if name.is_empty() {
            format!(
                "a port without a name is written without ':': write {port}{behind}, or NAME{text}"
            )
        } else {
            format!(
                "{name} is an address and not a name: write {port}{behind}, and --host for another name of this machine"
            )
        }));
    }
    let (name, port) = match (is_number(name), port) {
        (true, None) => (None, Some(number(name)?)),
        (true, Some(port)) => {
            return Err(Invalid(format!(
                "{name} is a port and not a name: write {name}, or NAME:{port}"
            )));
        }
        (false, port) => {
            let name = name.parse().map_err(|why| named("name", why))?;
            (Some(name), port)
        }
    };
    Ok(PortSpec {
        name,
        protocol: protocol.parse().map_err(|why| named("protocol", why))?,
        port,
        transport: parse::transport(transport)?,
    })
}

/// Why it is refused, where more than one port is asked for at once.
fn several(text: &str) -> Option<Invalid> {
    if let Some((first, _)) = text.split_once(',') {
        return Some(Invalid(format!(
            "it takes one port: write --port {first}, and --port again for each of the others"
        )));
    }
    let (name, range) = match text.rsplit_once(':') {
        Some((name, range)) => (Some(name).filter(|name| !name.is_empty()), range),
        None => (None, text),
    };
    let (first, last) = range.split_once("..").or_else(|| range.split_once('-'))?;
    let [from, to] = [first, last].map(|text| parse::port(text).ok());
    if !is_number(first) || !is_number(last) || from? >= to? {
        return None;
    }
    Some(Invalid(match name {
        Some(name) => format!(
            "it takes one port, not a range: write {name}:{first} for that one, or {name} for any"
        ),
        None => {
            format!("it takes one port, not a range: write {first} for that one, or a NAME for any")
        }
    }))
}

/// The same parts in their order, where it is that alone which is wrong.
fn in_order(text: &str) -> Option<String> {
    let signs = ['=', ':', '/'];
    let (name, _) = text.split_once(signs)?;
    let part = |sign| {
        let (_, rest) = text.split_once(sign)?;
        let (part, _) = rest.split_once(signs).unwrap_or((rest, ""));
        Some(format!("{sign}{part}"))
    };
    let parts = signs.into_iter().filter_map(part);
    let right = parts.fold(name.to_owned(), |right, part| right + &part);
    let only_moved = right != text && right.len() == text.len();
    (only_moved && read(&right).is_ok()).then_some(right)
}

/// Whether it names a machine, as before the port of an address.
fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse().is_ok_and(|host| is_loopback(&host))
}

/// Whether it is a port that is meant: digits alone are never a name.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The variables of all of them, in their order. Two ports that would be found in one variable are refused, but for a
/// number that is wanted of TCP and of UDP.
pub(super) fn variables(specs: &[PortSpec]) -> Result<Vec<String>, Invalid> {
    let mut variables: Vec<String> = Vec::new();
    for one in specs {
        let variable = one.variable();
        let mut before = specs.iter().zip(&variables);
        if let Some(why) = before.find_map(|(other, its)| one.clash(other, *its == variable)) {
            return Err(Invalid(why));
        }
        variables.push(variable);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(Option<&str>, &str, Option<u16>, RequestedTransport)>) {
        let found = text.parse::<PortSpec>().ok();
        let found = found.as_ref().map(|spec| {
            (
                spec.name.as_ref().map(Name::as_str),
                spec.protocol.as_str(),
                spec.port.map(Port::number),
                spec.transport,
            )
        });
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn ports_are_read() {
        use RequestedTransport::{Tcp, Udp};
        let api = Some("api");
        check("api", Some((api, "tcp", None, Tcp)));
        check("api=http", Some((api, "http", None, Tcp)));
        check("api:8080", Some((api, "tcp", Some(8080), Tcp)));
        check("dns/udp", Some((Some("dns"), "udp", None, Udp)));
        check("a.b=dns:53/udp", Some((Some("a.b"), "dns", Some(53), Udp)));
        check("api/tcp", Some((api, "tcp", None, Tcp)));
        check("8080", Some((None, "tcp", Some(8080), Tcp)));
        check("53/udp", Some((None, "udp", Some(53), Udp)));
        check("8080=http", Some((None, "http", Some(8080), Tcp)));
        check("8080a", Some((Some("8080a"), "tcp", None, Tcp)));
        // Not from one port to another.
        check("2026-11", Some((Some("2026-11"), "tcp", None, Tcp)));
        check("web-1-2", Some((Some("web-1-2"), "tcp", None, Tcp)));
        for bad in [
            "",
            "=http",
            "api=",
            "api:",
            "api:0",
            "api:70000",
            "api/",
            "api/sctp",
            "api/both",
            "a b",
            "api:80=http",
            "0",
            "70000",
            "8080:9090",
            "8080:8080",
            ":28084",
            "=http:28084",
            "28080-28090",
            "28080..28090",
            "web:28084-28090",
            "web=http:1-2/udp",
            "28080,28081",
            "web:http",
            "127.0.0.1:28084",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn parts_in_another_order_are_told_in_theirs() {
        for (wrong, right) in [
            ("a:28084=http", "a=http:28084"),
            ("a/udp:53", "a:53/udp"),
            ("a/udp=dns", "a=dns/udp"),
            ("a/udp:53=dns", "a=dns:53/udp"),
        ] {
            let told = wrong.parse::<PortSpec>().unwrap_err().to_string();
            assert!(told.ends_with(&format!("write {right}")), "{wrong}: {told}");
        }
        for other in ["a:80:90", "a:x=http", "a=b=c", "a:80=/udp"] {
            let told = other.parse::<PortSpec>().unwrap_err().to_string();
            assert!(!told.contains("order"), "{other}: {told}");
        }
    }

    #[test]
    fn variables_are_unique() {
        let of = |texts: &[&str]| {
            let specs: Vec<PortSpec> = texts.iter().map(|text| text.parse().unwrap()).collect();
            variables(&specs)
        };
        assert_eq!(
            of(&["api", "a.b-c"]).unwrap(),
            ["ONEX_PORT_API", "ONEX_PORT_A_B_C"]
        );
        assert_eq!(of(&["8080"]).unwrap(), ["ONEX_PORT_8080"]);
        assert_eq!(of(&["53", "53/udp"]).unwrap().len(), 2);
        for (twice, told) in [
            (
                &["53", "53"][..],
                "--port 53 is given twice: give each number once",
            ),
            (&["53/udp", "53/udp"], "--port 53 is given twice"),
            (&["api", "x", "api"], "--port api is given twice: a name is"),
            (&["api:1", "api:2"], "--port api is given twice"),
            (&["a:53", "b:53"], "--port a and --port b both want port 53"),
            (&["a:53", "53"], "--port a and --port 53 both want port 53"),
        ] {
            let refused = of(twice).unwrap_err().to_string();
            assert!(refused.starts_with(told), "{refused}");
            assert!(!refused.contains("rename"), "{refused}");
        }
        assert_eq!(of(&["a:53", "b:53/udp", "c"]).unwrap().len(), 3);
        for clash in [&["a-b", "a.b"][..], &["A", "x", "a"]] {
            let refused = of(clash).unwrap_err().to_string();
            assert!(refused.contains("would both be ONEX_PORT_A"), "{refused}");
        }
    }
}
