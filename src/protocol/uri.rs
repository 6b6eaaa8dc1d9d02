//! Addresses without the secrets that people write into them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::Invalid;

/// Longest address, in characters.
pub const URI_CHARS_MAX: usize = 2_048;

/// Parameters of a query or fragment that carry a secret when their name, in lower case and without `-`
/// and `_`, ends with one of these.
const SECRET_NAMES: &[&str] = &[
    "accesskey",
    "apikey",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "jwt",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "secret",
    "secretkey",
    "sig",
    "signature",
    "token",
];

/// Where something listens. Credentials are removed while it is read, so nothing keeps or shows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUri(Box<str>);

impl EndpointUri {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EndpointUri {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let chars = text.chars().count();
        let bad = |c: char| c.is_control() || c.is_whitespace();
        if (1..=URI_CHARS_MAX).contains(&chars) && !text.contains(bad) {
            return Ok(Self(strip_credentials(&text).into_boxed_str()));
        }
        Err(Invalid(format!(
            "must be an address of 1 to {URI_CHARS_MAX} characters without spaces"
        )))
    }
}

impl From<EndpointUri> for String {
    fn from(uri: EndpointUri) -> String {
        uri.0.into_string()
    }
}

impl fmt::Display for EndpointUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address without user name, password, and parameters that are named like a secret. A list of
/// addresses, parted by commas, is an address as well. Where a password is not escaped as it should be,
/// rather too much is removed than too little.
pub fn strip_credentials(uri: &str) -> String {
    let mut out = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some(at) = next_address(rest) {
        let (first, others) = rest.split_at(at);
        out.push_str(&strip_one(first));
        out.push(',');
        rest = others.trim_start_matches(',');
    }
    out.push_str(&strip_one(rest));
    out
}

/// Where a comma stands that a scheme and `://` follow.
fn next_address(text: &str) -> Option<usize> {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.match_indices(',').map(|(at, _)| at).find(|at| {
        text.get(at + 1..).is_some_and(|after| {
            let after = after.trim_start_matches(',');
            let rest = after.trim_start_matches(is_scheme);
            rest.len() < after.len() && rest.starts_with("://")
        })
    })
}

fn strip_one(uri: &str) -> String {
    let bare = without_userinfo(uri);
    let (rest, fragment) = split(&bare, '#');
    let (rest, query) = split(rest, '?');
    let mut out = rest.to_owned();
    for (mark, parameters) in [('?', query), ('#', fragment)] {
        let kept = parameters.map(without_secrets).unwrap_or_default();
        if !kept.is_empty() {
            out.push(mark);
            out.push_str(&kept);
        }
    }
    out
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn without_userinfo(uri: &str) -> String {
    let (scheme, rest) = uri.split_at(authority_at(uri));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let is_port = |text: &str| text.ends_with(']') || text.chars().all(|c| c.is_ascii_digit());
    if let Some((user, host)) = authority.rsplit_once('@') {
        // Without a scheme, a mail address is no secret.
        if !scheme.is_empty() || user.contains(':') {
            return format!("{scheme}{host}{path}");
        }
    } else if !scheme.is_empty()
        && port.is_some_and(|port| !is_port(port))
        && let Some((_, after)) = path.rsplit_once('@')
    {
        // No host has such a port: it is a password with a '/', '?' or '#' in it.
        return format!("{scheme}{after}");
    }
    uri.to_owned()
}

/// Where the address of the host begins: behind the scheme and its slashes, of which there may be too few or
/// too many.
fn authority_at(uri: &str) -> usize {
    let behind_scheme = uri.find(":/").map(|at| at + 1).or_else(|| uri.find("//"));
    behind_scheme.map_or(0, |at| {
        let rest = uri.get(at..).unwrap_or_default();
        uri.len() - rest.trim_start_matches('/').len()
    })
}

fn without_secrets(parameters: &str) -> String {
    let mut kept = String::new();
    let mut separator = "";
    for part in parameters.split_inclusive(['&', ';']) {
        let (parameter, end) = match part.strip_suffix(['&', ';']) {
            Some(parameter) => (parameter, &part[parameter.len()..]),
            None => (part, ""),
        };
        let name = parameter.split('=').next().unwrap_or(parameter);
        if !is_secret(name) {
            kept.push_str(separator);
            kept.push_str(parameter);
            separator = if end.is_empty() { "&" } else { end };
        }
    }
    kept
}

fn is_secret(name: &str) -> bool {
    let name: String = percent_decoded(name)
        .unwrap_or_default()
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

/// The text with `%XX` undone; none when what comes out is no text.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%');
        let decoded = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(*byte));
        let used = if decoded.is_some() { 2 } else { 0 };
        rest = after.get(used..).unwrap_or_default();
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, stripped: &str) {
        assert_eq!(strip_credentials(uri), stripped);
    }

    #[test]
    fn secrets_are_removed() {
        check("redis://user:pw@h/0?password=x", "redis://h/0");
        check("redis://:pw@h:6379/0", "redis://h:6379/0");
        check("nats://token@h:4222", "nats://h:4222");
        check(
            "nats://u:p@a:4222,nats://u:p@b:4222",
            "nats://a:4222,nats://b:4222",
        );
        check(
            "mongodb://u:p@a,b,c/db?tls=true",
            "mongodb://a,b,c/db?tls=true",
        );
        check("redis://u:a,b@h", "redis://h");
        check("redis://u:a@b@h/1", "redis://h/1");
        check("redis://u:a/b@h/1", "redis://h/1");
        check("redis://u:a#b@h", "redis://h");
        check("redis://u:a?b@h", "redis://h");
        check("http://[::1]:80/x", "http://[::1]:80/x");
        check("http://u:p@[::1]/x", "http://[::1]/x");
        check("http://[::1]/@x", "http://[::1]/@x");
        check("u:p@host:1", "host:1");
        check("http:///u:p@h/", "http:///h/");
        check("http:/u:p@h", "http:/h");
        check(
            "jdbc:postgresql://h/db?user=a&password=b",
            "jdbc:postgresql://h/db?user=a",
        );
        check("http://h/?apikey=1&a=2&token=3&b=4", "http://h/?a=2&b=4");
        check("http://h/?API-Key=1;a=2", "http://h/?a=2");
        check("http://h/?client_secret=1", "http://h/");
        check("http://h/#access_token=1&x=2", "http://h/#x=2");
        check("http://h/?x-amz-signature=1", "http://h/");
        check("http://h?pass%77ord=1", "http://h");
    }

    #[test]
    fn the_rest_stays() {
        for uri in [
            "tcp://host:8080/path/@scope?a=1&b=2#top",
            "ipc:///run/x.sock",
            "file:///run/x@y",
            "host:8080",
            "someone@host",
            "/run/x.sock",
            "http://h/?tokens=3&author=x",
            "http://h:80,other",
            "",
        ] {
            check(uri, uri);
        }
    }

    #[test]
    fn an_address_is_read_without_them() {
        let read = |text: &str| EndpointUri::try_from(text.to_owned());
        assert_eq!(read("redis://u:p@h").unwrap().as_str(), "redis://h");
        assert!(read("").is_err());
        assert!(read("http://h/a b").is_err());
        assert!(read("http://h/a\nb").is_err());
        assert!(read(&"x".repeat(URI_CHARS_MAX + 1)).is_err());
    }
}
