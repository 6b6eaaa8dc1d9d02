//! Keys of ports, and how names are escaped in keys and subjects: the one place where both are spelled.

use std::{fmt, str::FromStr};

use crate::ids::{Host, Invalid, Port, Transport};

/// One port of one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// Where it is bound.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// Its number.
    pub port: Port,
}

/// Escapes what may not stand in one token of a key or subject: every character outside
/// `[A-Za-z0-9_-]` becomes `=XX`, its bytes in hexadecimal.
pub fn escape(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "={byte:02X}");
        }
    }
    out
}

/// The text that [`escape`] made into `token`; none when it never does.
pub fn unescape(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let hex = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (escape(&text) == token).then_some(text)
}

impl PortKey {
    /// The lowest key there can be.
    pub fn first() -> Self {
        static LOWEST: std::sync::OnceLock<Host> = std::sync::OnceLock::new();
        Self::first_on(LOWEST.get_or_init(Host::lowest))
    }

    /// The lowest key of a host.
    pub fn first_on(host: &Host) -> Self {
        Self {
            host: host.clone(),
            transport: Transport::Tcp,
            port: Port::LOWEST,
        }
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "port.{}.{}.{}",
            escape(self.host.as_str()),
            self.transport,
            self.port
        )
    }
}

impl FromStr for PortKey {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse_port(text).ok_or_else(|| Invalid(format!("not a port's key: {text}")))
    }
}

fn parse_port(text: &str) -> Option<PortKey> {
    let mut tokens = text.strip_prefix("port.")?.split('.');
    let host = unescape(tokens.next()?)?.parse().ok()?;
    let transport = tokens.next()?.parse().ok()?;
    let digits = tokens.next()?;
    let port = Port::new(digits.parse().ok()?)?;
    // "+80" and "080" parse as numbers and are other keys than "80".
    (tokens.next().is_none() && port.to_string() == digits).then_some(PortKey {
        host,
        transport,
        port,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dot_in_a_host_does_not_make_two_tokens() {
        let key: PortKey = "port.10=2E0=2E0=2E1.tcp.80".parse().unwrap();
        assert_eq!(key.host.as_str(), "10.0.0.1");
        assert_eq!(key.to_string(), "port.10=2E0=2E0=2E1.tcp.80");
        assert!("port.10.0.0.1.tcp.80".parse::<PortKey>().is_err());
    }

    #[test]
    fn a_port_key_has_one_spelling() {
        for text in [
            "port.a.tcp.080",
            "port.a.tcp.+80",
            "port.a.tcp.0",
            "port.a.TCP.80",
            "port.=61.tcp.80",
            "port.a.tcp",
        ] {
            assert!(text.parse::<PortKey>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn escaping_is_undone(text in ".*") {
            let token = escape(&text);
            prop_assert!(!token.contains(['.', '*', '>', ' ']));
            prop_assert_eq!(unescape(&token), Some(text));
        }
    }
}
