//! `--port NAME[=PROTOCOL][:PORT][/udp]`: a port that a command wants, and the variable that it finds it in.

use std::str::FromStr;

use crate::{
    cli::{parse, variables},
    domain::ids::{Invalid, Name, Port, Token},
    protocol::port::TransportWish,
};

/// A port that a command wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its name: the same user gets the same port again when it is free, and others can resolve it.
    pub(super) name: Name,
    /// What will be spoken there; the transport's name where it is not said.
    pub(super) protocol: Token,
    /// The only port that will do.
    pub(super) port: Option<Port>,
    /// In which port space.
    pub(super) transport: TransportWish,
}

impl Wanted {
    /// The variable that the command finds the port in.
    pub(super) fn variable(&self) -> String {
        variables::of(&self.name)
    }
}

impl FromStr for Wanted {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (rest, transport) = match text.rsplit_once('/') {
            None => (text, "tcp"),
            Some((rest, transport @ ("tcp" | "udp"))) => (rest, transport),
            Some((_, other)) => {
                return Err(Invalid(format!(
                    "a transport is \"tcp\" or \"udp\", not {other:?}"
                )));
            }
        };
        let (rest, port) = match rest.rsplit_once(':') {
            None => (rest, None),
            Some((rest, port)) => {
                let port = parse::port(port).map_err(|why| Invalid(format!("a port {why}")))?;
                (rest, Some(port))
            }
        };
        let (name, protocol) = rest.split_once('=').unwrap_or((rest, transport));
        let named = |what: &str, why: Invalid| Invalid(format!("a {what} {why}"));
        Ok(Self {
            name: name.parse().map_err(|why| named("name", why))?,
            protocol: protocol.parse().map_err(|why| named("protocol", why))?,
            port,
            transport: parse::transport(transport)?,
        })
    }
}

/// The variables of all of them, in their order. Two ports that would be found in one variable are refused.
pub(super) fn variables(wanted: &[Wanted]) -> Result<Vec<String>, Invalid> {
    let mut variables: Vec<String> = Vec::new();
    for one in wanted {
        let variable = one.variable();
        let before = variables.iter().position(|other| *other == variable);
        if let Some(other) = before.and_then(|at| wanted.get(at)) {
            return Err(Invalid(format!(
                "--port {} and --port {} would both be {variable}: rename one of them",
                other.name, one.name
            )));
        }
        variables.push(variable);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str, Option<u16>, TransportWish)>) {
        let found = text.parse::<Wanted>().ok();
        let found = found.as_ref().map(|wanted| {
            (
                wanted.name.as_str(),
                wanted.protocol.as_str(),
                wanted.port.map(Port::number),
                wanted.transport,
            )
        });
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn ports_are_read() {
        use TransportWish::{Tcp, Udp};
        check("api", Some(("api", "tcp", None, Tcp)));
        check("api=http", Some(("api", "http", None, Tcp)));
        check("api:8080", Some(("api", "tcp", Some(8080), Tcp)));
        check("dns/udp", Some(("dns", "udp", None, Udp)));
        check("a.b=dns:53/udp", Some(("a.b", "dns", Some(53), Udp)));
        check("api/tcp", Some(("api", "tcp", None, Tcp)));
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
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn variables_are_unique() {
        let of = |texts: &[&str]| {
            let wanted: Vec<Wanted> = texts.iter().map(|text| text.parse().unwrap()).collect();
            variables(&wanted)
        };
        assert_eq!(
            of(&["api", "a.b-c"]).unwrap(),
            ["ONEX_PORT_API", "ONEX_PORT_A_B_C"]
        );
        for clash in [&["api", "api"][..], &["a-b", "a.b"], &["A", "x", "a"]] {
            let refused = of(clash).unwrap_err().to_string();
            assert!(refused.contains("would both be ONEX_PORT_A"), "{refused}");
        }
    }
}
