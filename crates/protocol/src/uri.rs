//! Addresses without the secrets that people write into them. What may have a secret and can be left out is removed;
//! what is left must be one of a few known shapes, and is refused otherwise.

use std::{fmt, net::Ipv6Addr};

use onex_types::ids::Invalid;
use serde::{Deserialize, Serialize};

use crate::{
    percent::percent_decoded,
    secrets,
    warning::{Warning, WarningCode},
};

/// Longest address, in characters.
pub const URI_CHARS_MAX: usize = 2_048;

/// What an address is, in every refusal.
const SHAPE: &str = "scheme://host:port/path, host:port, or the path of a file or device";

/// What stands before the scheme in addresses of Java's databases.
const JDBC: &str = "jdbc:";

/// Besides letters and digits, what a host, and a path, may have.
const IN_HOST: &str = "-._*";
const IN_PATH: &str = "-._~+*>/ ";

/// Where something listens. Credentials are removed while it is read, so nothing keeps or shows them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUri {
    text: Box<str>,
    /// While it was read.
    removed: Removed,
}

impl EndpointUri {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// That something was removed from what stood at `pointer`, and what, but for its value.
    pub fn warning(&self, pointer: &str) -> Option<Warning> {
        let parts = self.removed.parts();
        let what = match parts.as_slice() {
            [] => return None,
            [one] => (*one).to_owned(),
            [more @ .., last] => format!("{} and {last}", more.join(", ")),
        };
        let message = format!(
            "{pointer}: {what} removed from the address, which is shown to everybody: leave that out"
        );
        Some(Warning::new(WarningCode::UriStripped, message))
    }
}

/// Addresses are the same whatever was removed from them.
impl PartialEq for EndpointUri {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for EndpointUri {}

/// What was removed from an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Removed {
    user: bool,
    settings: bool,
    fragment: bool,
}

impl Removed {
    fn parts(self) -> Vec<&'static str> {
        let all = [
            (self.user, "user information"),
            (self.settings, "settings that are not known to be harmless"),
            (self.fragment, "a fragment"),
        ];
        let removed = all.into_iter().filter(|(is_removed, _)| *is_removed);
        removed.map(|(_, part)| part).collect()
    }
}

impl TryFrom<String> for EndpointUri {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let chars = text.chars().count();
        let bad = |c: char| c.is_control() || c.is_whitespace();
        if !(1..=URI_CHARS_MAX).contains(&chars) || text.contains(bad) {
            return Err(Invalid(format!(
                "must be an address of 1 to {URI_CHARS_MAX} characters without spaces"
            )));
        }
        check_encoding(&text)?;
        let mut removed = Removed::default();
        let kept: Result<Vec<_>, _> = addresses(&text)
            .into_iter()
            .map(|address| bare(address, &mut removed))
            .collect();
        let kept = kept?;
        if text.contains('\\') {
            return Err(Invalid(
                "must be without a backslash: some take it for a slash, and so another host for the address".to_owned(),
            ));
        }
        Ok(Self {
            text: kept.join(",").into_boxed_str(),
            removed,
        })
    }
}

impl From<EndpointUri> for String {
    fn from(uri: EndpointUri) -> String {
        uri.text.into_string()
    }
}

impl fmt::Display for EndpointUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Refuses a part of an address, whose value is not told.
fn refuse<T>(part: &str, what: &str) -> Result<T, Invalid> {
    Err(Invalid(format!(
        "must be {SHAPE}: {part} is not understood, {what}"
    )))
}

/// Refuses what hides from whoever judges an address, and not from whoever uses it.
fn check_encoding(text: &str) -> Result<(), Invalid> {
    let Some(once) = percent_decoded(text) else {
        return Err(Invalid(
            "must be percent-encoded UTF-8: what else it hides cannot be judged".to_owned(),
        ));
    };
    if once != text && percent_decoded(&once).as_ref() != Some(&once) {
        return Err(Invalid(
            "must not be percent-encoded twice: what it hides cannot be judged".to_owned(),
        ));
    }
    Ok(())
}

/// The addresses of a list: a comma parts them where a scheme and `://` follow.
fn addresses(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (comma, _) in text.match_indices(',') {
        let (before, behind) = (text.get(start..comma), text.get(comma + 1..));
        if let (Some(before), Some((scheme, _))) =
            (before, behind.and_then(|it| it.split_once("://")))
            && is_scheme(scheme)
        {
            found.push(before);
            start = comma + 1;
        }
    }
    found.extend(text.get(start..));
    found
}

/// One address without user information, unknown settings and fragment.
fn bare(address: &str, removed: &mut Removed) -> Result<String, Invalid> {
    let (scheme, rest) = address.split_at(scheme_len(address));
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if behind.contains('@') {
        return refuse(
            "an '@' behind the host",
            "encode a user as it should be, or better leave it out",
        );
    }
    let (behind, fragment) = split(behind, '#');
    removed.fragment |= fragment.is_some();
    let (path, query) = split(behind, '?');
    let mut out = scheme.to_owned();
    if !authority.is_empty() {
        out.push_str(&servers(authority, removed)?);
    } else if !path.contains(char::is_alphanumeric) {
        return refuse("the host", "which is missing");
    }
    if !secrets::is_plain(path, IN_PATH) {
        let what = "which has letters, digits and any of -._~+*>/ only";
        return refuse("the path", what);
    }
    out.push_str(path);
    if let Some(query) = query {
        let kept = secrets::parameters_without(query);
        removed.settings |= kept != query.trim_end_matches(['&', ';']);
        if !kept.is_empty() {
            out.push('?');
            out.push_str(&kept);
        }
    }
    Ok(out)
}

/// The servers of an authority without their users. One with a user behind one without is refused: that may be a
/// password with a comma in it.
fn servers(authority: &str, removed: &mut Removed) -> Result<String, Invalid> {
    let mut kept: Vec<&str> = Vec::new();
    let mut all_have_users = true;
    for server in authority.split(',') {
        let server = match server.rsplit_once('@') {
            Some(_) if !all_have_users => {
                let what = "whose servers all have user information before the first that has none";
                return refuse("the list", what);
            }
            Some((_, server)) => {
                removed.user = true;
                server
            }
            None => {
                all_have_users = false;
                server
            }
        };
        check_server(server)?;
        kept.push(server);
    }
    Ok(kept.join(","))
}

/// A host, with a port or without.
fn check_server(server: &str) -> Result<(), Invalid> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (server, None),
    };
    let ipv6 = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_name = |name: &str| {
        let in_host = |c: char| c.is_alphanumeric() || IN_HOST.contains(c);
        !name.is_empty() && name.chars().all(in_host)
    };
    if !ipv6.map_or_else(|| is_name(host), |it| it.parse::<Ipv6Addr>().is_ok()) {
        let what =
            "which is a name of letters, digits and any of -._*, or an IPv6 address in brackets";
        return refuse("the host", what);
    }
    let is_port =
        |port: &str| port.starts_with(|c: char| c.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if !port.is_none_or(is_port) {
        return refuse("the port", "which is a number up to 65535");
    }
    Ok(())
}

/// How much of an address is its scheme, with the `://` behind it, or the `:` before the path of a file; none where it
/// has none.
fn scheme_len(address: &str) -> usize {
    match address.split_once(":/") {
        Some((scheme, path)) if is_scheme(scheme) => {
            let slash = path.strip_prefix('/').map_or(0, |_| "//".len());
            scheme.len() + ":".len() + slash
        }
        _ => 0,
    }
}

fn is_scheme(text: &str) -> bool {
    let name = text.strip_prefix(JDBC).unwrap_or(text);
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(in_scheme)
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<EndpointUri, String> {
        EndpointUri::try_from(uri.to_owned()).map_err(|error| error.0)
    }

    #[track_caller]
    fn check(uri: &str, wanted: &str) {
        let read = read(uri).unwrap();
        assert_eq!(read.as_str(), wanted);
        assert_eq!(read.warning("/x").is_none(), wanted == uri, "{uri}");
    }

    #[test]
    fn secrets_are_removed() {
        check("redis://user:pw@h/0?password=x", "redis://h/0");
        check("redis://:pw@h:6379/0", "redis://h:6379/0");
        check("nats://token@h:4222", "nats://h:4222");
        check(
            "mongodb://u:p@a,b,c/db?tls=true",
            "mongodb://a,b,c/db?tls=true",
        );
        check("redis://u:a@b@h/1", "redis://h/1");
        check("http://u:p@[::1]/x", "http://[::1]/x");
        check("u:p@host:1", "host:1");
        check("token@h:4222", "h:4222");
        check(
            "jdbc:postgresql://h/db?user=a&password=b&ssl=true",
            "jdbc:postgresql://h/db?ssl=true",
        );
        check(
            "http://h/?apikey=1&db=2&a=3&topic=b.c&d",
            "http://h/?db=2&topic=b.c",
        );
        check("http://h/?Api_Version=1;a=2", "http://h/?Api_Version=1");
        check(
            "http://h/?url=redis%3A//u:p%40h&queue=a",
            "http://h/?queue=a",
        );
        check("http://h/?7Zj3kq", "http://h/");
        check("http://h/?API-Key=1;db=2", "http://h/?db=2");
        check("http://h/#access_token=1&x=2", "http://h/");
        check("http://h/?db=1#top", "http://h/?db=1");
        check("http://h?pass%77ord=1", "http://h");
    }

    #[test]
    fn servers_of_a_list_stay() {
        check(
            "nats://u:p@a:4222,nats://u:p@b:4222",
            "nats://a:4222,nats://b:4222",
        );
        check(
            "nats://a/x?db=1&z,nats://t@b/y#z",
            "nats://a/x?db=1,nats://b/y",
        );
        check("nats://t@a:1,t@b:1/x", "nats://a:1,b:1/x");
        check("u:p@a:1,b:2", "a:1,b:2");
        check("mongodb://u:p@[::1]:1,u:p@[::2]", "mongodb://[::1]:1,[::2]");
    }

    #[test]
    fn the_rest_stays() {
        for uri in [
            "tcp://host:8080/path/scope?version=1&db=2",
            "ipc:///run/x.sock",
            "file:///run/x-y",
            "unix:/run/x.sock",
            "/dev/ttyUSB0",
            "COM3",
            "host",
            "host:8080",
            "host:8080/a",
            "/run/x.sock",
            "tcp://*:5555",
            "http://h:80,other",
            "http://[::1]:80/x",
            "http://k\u{f6}ln.example/stra\u{df}e",
            "http://h/a%20b",
            "amqp://h/%2F",
            "mqtt://h:1883/a/+/b",
            "mongodb+srv://h/db",
            "jdbc:postgresql://h:5432/db",
            "http://h/?topic=a/b/+",
            "http://h/?subject=foo.*.>",
            "http://h/?host=h,i",
            "http://h/?timezone=Europe/Berlin",
            "http://h/?topic=d%C3%A9",
        ] {
            check(uri, uri);
        }
    }

    /// Each with what is said of it.
    #[test]
    fn what_is_of_no_known_shape_is_refused() {
        for (uri, part) in [
            (
                "{\"url\":\"nats://h:4222\",\"password\":\"SECRET\"}",
                "host",
            ),
            ("[{\"password\":\"SECRET\"}]", "host"),
            ("%7B%22password%22:%22SECRET%22%7D", "host"),
            ("nats://h/{\"token\":\"SECRET\"}", "path"),
            ("nats://h/%7B%22token%22%3A%22SECRET%22%7D", "path"),
            ("nats://h,{\"pass\":\"SECRET\"}", "host"),
            ("scott/SECRET@h:1521/orcl", "behind the host"),
            ("u/SECRET@h", "behind the host"),
            ("nats://u/SECRET@h", "behind the host"),
            ("mongodb+srv://u/SECRET@h/db", "behind the host"),
            ("//u/SECRET@h", "behind the host"),
            ("scott/SECRET@tcps://h:1521/x", "behind the host"),
            ("redis://u:1#SECRET@h", "behind the host"),
            ("redis://u:1?SECRET@h", "behind the host"),
            ("http://h/x@SECRET", "behind the host"),
            ("http://h/;v=SECRET@x/", "behind the host"),
            ("http://h/x/http://u:SECRET@o/", "behind the host"),
            ("http://h/x/http%3A%2F%2Fu%3ASECRET%40o%2Fy", "path"),
            ("nats://u:SECRET", "port"),
            ("nats://h:SECRET/x", "port"),
            ("nats://h:+1/SECRET", "port"),
            ("nats://h:65536/SECRET", "port"),
            ("nats://h:/SECRET", "port"),
            ("amqp://guest:SECRET:5672/", "host"),
            ("redis://u:SECRET/b@h/1", "behind the host"),
            ("redis://u:SECRET,b@h", "port"),
            ("redis://u:1,SECRET@h", "list"),
            ("http://u:SECRET\\u0040h/", "port"),
            ("http://u:SECRET%u0040h/", "port"),
            ("http://u:SECRET&#64;h/", "port"),
            ("http://u:SECRET\u{ff20}h/", "port"),
            ("http://u:SECRET%EF%BC%A0h/", "port"),
            ("http://h\u{ff0f}SECRET", "host"),
            ("http://h/u:SECRET\u{fe6b}o", "path"),
            ("http://u%3ASECRET%40h/", "host"),
            ("http://h/a=SECRET&b=c", "path"),
            ("http://h/;password=SECRET", "path"),
            ("http://h/auth:SECRET/", "path"),
            ("http://h/a%23SECRET", "path"),
            ("http://h/a%3Fx=SECRET", "path"),
            ("Password:SECRET;Server:h", "host"),
            ("Server=h;Password=SECRET", "host"),
            ("h:6379,ssl=True,SECRET", "host"),
            ("jdbc:oracle:thin:u/SECRET", "host"),
            ("jdbc:sqlserver://h:1433;password=SECRET", "port"),
            ("u:SECRET://h", "host"),
            ("${PASS:-SECRET}", "host"),
            ("data:text/plain,SECRET", "port"),
            ("data:SECRET", "port"),
            ("http://::1]/SECRET", "host"),
            ("http:///", "host"),
            ("/", "host"),
            ("u:SECRET@", "host"),
            ("nats://SECRET@", "host"),
            ("nats://SECRET@/x", "host"),
            ("nats://a,,SECRET", "host"),
            (":80", "host"),
            ("http://[::1]x/", "host"),
            ("DataSource=", "host"),
        ] {
            let said = read(uri).unwrap_err();
            let part = format!("{part} is not understood");
            assert!(said.contains(&part), "{uri}: {said}");
            assert!(said.contains(SHAPE), "{uri}: {said}");
            assert!(!said.contains("SECRET"), "{uri}: {said}");
        }
    }

    /// A browser takes the first of these for host h, others for host evil.
    #[test]
    fn an_address_that_is_read_in_two_ways_is_refused() {
        for uri in ["http://h\\@evil/", "http://u\\:p@h/"] {
            let said = read(uri).unwrap_err();
            assert!(said.contains("backslash"), "{uri}: {said}");
        }
    }

    #[test]
    fn what_hides_by_its_encoding_is_refused() {
        for uri in [
            "http://h/?pass%2577ord=1",
            "http://u%253Ap@h/",
            "http://h/%253Ftoken=1",
            "http://h/%FF%2540",
        ] {
            let said = read(uri).unwrap_err();
            assert!(said.contains("percent-encoded"), "{uri}: {said}");
        }
        for unfit in [
            "",
            "http://h/a b",
            "http://h/a\nb",
            &"x".repeat(URI_CHARS_MAX + 1),
        ] {
            assert!(read(unfit).unwrap_err().contains("1 to 2048 characters"));
        }
        assert!(read(&"x".repeat(URI_CHARS_MAX)).is_ok());
    }

    #[test]
    fn what_was_removed_is_told_without_its_value() {
        let said = |uri: &str| {
            let uri = EndpointUri::try_from(uri.to_owned()).unwrap();
            uri.warning("/endpoint_uri").map(|it| it.message)
        };
        assert_eq!(said("http://h/?db=1"), None);
        let all = said("http://me:P@h/?P=P#P").unwrap();
        for part in [
            "/endpoint_uri: ",
            "user information",
            "settings",
            "fragment",
        ] {
            assert!(all.contains(part), "{all}");
        }
        assert!(!all.contains('P') && !all.contains("me:"), "{all}");
        let one = said("http://h/#P").unwrap();
        assert!(
            one.contains("a fragment removed") && !one.contains("settings"),
            "{one}"
        );
    }

    proptest::proptest! {
        /// What was read is read again as the same: records hold it.
        #[test]
        fn an_address_is_read_again_as_it_is(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "http://", "jdbc:", "nats://", ":", "/", "//", "@", "?", "#", "&", ";", "=", ",", "(", ")", "{", "}",
                "\"", "%3A", "%2F", "%40", "%23", "%3F", "%3D", "%26", "%3B", "%2C", "%7B", "user", "SECRET", "h", "1",
                "db", "password", "url", "[::1]", "a.b", "Server=h", "oracle:thin:",
            ]), 1..14),
        ) {
            if let Ok(read) = EndpointUri::try_from(pieces.concat()) {
                let again = EndpointUri::try_from(read.as_str().to_owned());
                let again = again.map_err(|error| error.0);
                proptest::prop_assert_eq!(again.as_ref(), Ok(&read));
            }
        }
    }
}
