//! Addresses without the secrets that people write into them.

mod encoding;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::Invalid;

use super::{
    secrets,
    warning::{Warning, WarningCode},
};

pub(crate) use encoding::percent_decoded;
use encoding::{check_encoding, marks_decoded};

/// Longest address, in characters.
pub const URI_CHARS_MAX: usize = 2_048;

/// How often an address is read anew while something is removed from it.
const ROUNDS_MAX: usize = 16;

/// What addresses of Java's databases begin with, which have settings behind the host.
const JDBC: &str = "jdbc:";
const JDBC_ORACLE: &str = "jdbc:oracle:";

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
    pub(crate) fn warning(&self, pointer: &str) -> Option<Warning> {
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
    fn add(&mut self, more: Self) {
        self.user |= more.user;
        self.settings |= more.settings;
        self.fragment |= more.fragment;
    }

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
        // What is removed may have kept apart what is one together. What is stored is read again as it is.
        let mut removed = Removed::default();
        let mut text = text;
        for _ in 0..ROUNDS_MAX {
            let (next, more) = read_once(&text)?;
            removed.add(more);
            if next == text {
                return Ok(Self {
                    text: text.into_boxed_str(),
                    removed,
                });
            }
            text = next;
        }
        Err(Invalid(
            "must not have so many addresses in each other".to_owned(),
        ))
    }
}

/// What is left of an address, and what was removed.
fn read_once(text: &str) -> Result<(String, Removed), Invalid> {
    check_encoding(text)?;
    let (stripped, removed) = stripped(text);
    if has_encoded_user(&stripped) {
        return Err(Invalid(
            "must not have a percent-encoded '@' in its host".to_owned(),
        ));
    }
    let (stripped, removed) = unhidden(stripped, removed);
    if stripped.is_empty() {
        return Err(Invalid(
            "must be an address: it has nothing but credentials".to_owned(),
        ));
    }
    Ok((stripped, removed))
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

/// The address without user name, password, fragment, and settings that are not known to be harmless. A list of
/// addresses, parted by commas, is an address as well, and so is a list of settings (`Server=h;Port=1`). Where
/// a password is not escaped as it should be, rather too much is removed than too little.
fn stripped(uri: &str) -> (String, Removed) {
    let mut removed = Removed::default();
    let out = if secrets::is_settings(uri) {
        let kept = secrets::settings_without(uri, str::to_owned);
        removed.settings = kept != uri.trim_end_matches(';');
        secrets::settings_without(&kept, |value| strip_addresses(value, &mut removed))
    } else {
        strip_addresses(uri, &mut removed)
    };
    (out, removed)
}

/// What was stripped once, without what the encoding of the marks hides that part an address.
fn unhidden(mut text: String, mut removed: Removed) -> (String, Removed) {
    loop {
        let (again, hidden) = stripped(&marks_decoded(&text));
        if hidden == Removed::default() || again.len() >= text.len() {
            // Nothing is hidden.
            return (text, removed);
        }
        text = again;
        removed.add(hidden);
    }
}

fn strip_addresses(uri: &str, removed: &mut Removed) -> String {
    // Nothing stands for a user there: a password behind a name may have an '@' in it.
    if authority_at(uri) == 0 || starts_like(uri, JDBC) {
        let bare = secrets::path_without(uri);
        removed.settings |= bare != uri;
        strip_each(&bare, removed)
    } else {
        strip_each(uri, removed)
    }
}

fn starts_like(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(start))
}

/// `jdbc:oracle:thin:user/password@host` has no slashes before its user.
fn without_oracle_user(uri: &str) -> String {
    let mut parts = uri.splitn(4, ':');
    if starts_like(uri, JDBC_ORACLE)
        && let (Some(jdbc), Some(oracle), Some(driver), Some(rest)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        && let Some((_, host)) = rest.rsplit_once('@')
    {
        return format!("{jdbc}:{oracle}:{driver}:@{host}");
    }
    uri.to_owned()
}

fn strip_each(uri: &str, removed: &mut Removed) -> String {
    let mut out = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some(at) = next_address(rest) {
        let (first, others) = rest.split_at(at);
        out.push_str(&strip_one(first, removed));
        out.push(',');
        rest = others.trim_start_matches(',');
    }
    out.push_str(&strip_one(rest, removed));
    out
}

/// Where a comma stands that a scheme and `://` follow.
fn next_address(text: &str) -> Option<usize> {
    text.match_indices(',').map(|(at, _)| at).find(|at| {
        text.get(at + 1..).is_some_and(|after| {
            let after = after.trim_start_matches(',');
            let rest = after.trim_start_matches(is_in_scheme);
            rest.len() < after.len() && rest.starts_with("://")
        })
    })
}

fn is_in_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

fn strip_one(uri: &str, removed: &mut Removed) -> String {
    let bare = without_userinfo(uri);
    removed.user |= bare != uri;
    if let Some(at) = inner_address(&bare) {
        let (outer, inner) = bare.split_at(at);
        return strip_parts(outer, removed) + &strip_one(inner, removed);
    }
    strip_parts(&bare, removed)
}

/// An address whose user is gone, without the rest.
fn strip_parts(bare: &str, removed: &mut Removed) -> String {
    let (rest, fragment) = split(bare, '#');
    removed.fragment |= fragment.is_some();
    let (rest, query) = split(rest, '?');
    let path = without_inner_user(rest);
    removed.user |= path != rest;
    let mut out = secrets::path_without(&path);
    removed.settings |= out != path;
    if let Some(query) = query {
        let kept = secrets::parameters_without(query);
        removed.settings |= kept != query.trim_end_matches(['&', ';']);
        if !kept.is_empty() {
            out.push('?');
            out.push_str(&kept);
        }
    }
    out
}

/// Where an address begins that stands in the path of another one.
fn inner_address(uri: &str) -> Option<usize> {
    let (outer, path) = parts(uri);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let (before, _) = path.split_once("://")?;
    let scheme = before.trim_end_matches(is_in_scheme);
    Some(outer.len() + scheme.len())
}

/// A path may have a user before a host in it, `/user:password@host/`: a name in front of an '@' alone is none.
fn without_inner_user(uri: &str) -> String {
    let (outer, path) = parts(uri);
    let Some((before, host)) = path.rsplit_once('@') else {
        return uri.to_owned();
    };
    let start = match (before.find(':'), before.find("//")) {
        (Some(colon), _) => before
            .get(..colon)
            .and_then(|before| before.rfind('/'))
            .map_or(0, |slash| slash + 1),
        (None, Some(slashes)) => slashes + 2,
        (None, None) => return uri.to_owned(),
    };
    let kept = path.get(..start).unwrap_or_default();
    format!("{outer}{kept}{host}")
}

/// An address up to where the host ends, and what stands behind it.
fn parts(uri: &str) -> (&str, &str) {
    let start = authority_at(uri);
    let behind = uri.get(start..).unwrap_or_default();
    let end = behind.find('/').map_or(uri.len(), |at| start + at);
    uri.split_at(end)
}

/// Whether a user hides in the host.
fn has_encoded_user(uri: &str) -> bool {
    let rest = uri.get(authority_at(uri)..).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    percent_decoded(host).is_none_or(|decoded| decoded.contains('@') && !host.contains('@'))
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn without_userinfo(uri: &str) -> String {
    if starts_like(uri, JDBC_ORACLE) {
        return without_oracle_user(uri);
    }
    let (scheme, rest) = uri.split_at(authority_at(uri));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let servers = servers(authority);
    let Some((last, others)) = servers.split_last() else {
        return uri.to_owned();
    };
    let mut out = scheme.to_owned();
    for server in others {
        out.push_str(without_user(server).unwrap_or(server));
        out.push(',');
    }
    if let Some(host) = without_user(last) {
        out.push_str(host);
        out.push_str(path);
    } else if !scheme.is_empty()
        && !is_server(last)
        && last.contains(':')
        && let Some((_, after)) = path.rsplit_once('@')
    {
        // No host has such a port: it is a password with a '/', '?' or '#' in it.
        out.push_str(after);
    } else {
        out.push_str(last);
        out.push_str(path);
    }
    out
}

/// What stands behind the user, where there is one.
fn without_user(server: &str) -> Option<&str> {
    server.rsplit_once('@').map(|(_, host)| host)
}

/// The servers of an authority, which commas part. A comma may be part of a password as well: it parts only
/// what looks like a server before it from what looks like the beginning of another.
fn servers(authority: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (comma, _) in authority.match_indices(',') {
        let before = authority.get(start..comma).unwrap_or_default();
        let behind = authority.get(comma + 1..).unwrap_or_default();
        let next = behind.split(',').next().unwrap_or_default();
        let (user, server) = before
            .rsplit_once('@')
            .map_or((None, before), |(user, server)| (Some(user), server));
        let begins = match next.split_once('@') {
            None => true,
            Some((next_user, _)) => user.is_some() || next_user.contains(':'),
        };
        if is_server(server) && begins {
            found.push(before);
            start = comma + 1;
        }
    }
    found.push(authority.get(start..).unwrap_or_default());
    found
}

/// Whether a text is a host, with a port or without.
fn is_server(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(_, port)| port);
    text.ends_with(']') || port.is_none_or(|port| port.chars().all(|c| c.is_ascii_digit()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, wanted: &str) {
        let (once, removed) = stripped(uri);
        let (text, removed) = unhidden(once, removed);
        assert_eq!(text, wanted);
        assert_eq!(
            removed == Removed::default(),
            text == uri,
            "{uri}: {removed:?}"
        );
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
            "jdbc:postgresql://h/db",
        );
        check(
            "jdbc:postgresql://h/db?password=a&ssl=true",
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
        check("http://h/?client_secret=1", "http://h/");
        check("http://h/#access_token=1&x=2", "http://h/");
        check("http://h/?db=1#top", "http://h/?db=1");
        check("token@h:4222", "h:4222");
        check("http://h/%3Ftoken=1", "http://h/");
        check("http://h/?x-amz-signature=1", "http://h/");
        check("http://h?pass%77ord=1", "http://h");
    }

    #[test]
    fn secrets_within_a_path_are_removed() {
        check("http://h/x/http://u:P@o/", "http://h/x/http://o/");
        check("http://h/x/http://token@o/", "http://h/x/http://o/");
        check("http://h/x/http:/token@o/", "http://h/x/o/");
        check("http://h/x//token@o/", "http://h/x//o/");
        check("http://h/x/http://u:a/b@o/", "http://h/x/http://o/");
        check("http://h/x/http://u:a#b?c@o/", "http://h/x/http://o/");
        check(
            "http://u:p@h/http://i/http://u:P@o/y",
            "http://h/http://i/http://o/y",
        );
        check("http://h/user:P@other/x", "http://h/other/x");
        check("http://h/a/user:P/Q@other/x", "http://h/a/other/x");
        check("http://h/user%3AP%40other/x", "http://h/other/x");
        check("h:80/user:P@other/x", "h:80/other/x");
        check("Server=h/user:P@other;Port=1", "Server=h/other;Port=1");
        check(
            "http://h/x/http%3A%2F%2Fu%3AP%40o%2Fy",
            "http://h/x/http://o/y",
        );
        check("http://h/a%23SECRET", "http://h/a");
        check("http://h/a%23SECRET/b?db=1", "http://h/a");
        check("http://h/a%3Fx=SECRET", "http://h/a");
        check("http://h/a%3Bx%3DSECRET/b", "http://h/a");
        check("http://h/;v={\"password\":\"x\"}", "http://h/");
    }

    #[test]
    fn values_of_harmless_settings_are_plain() {
        for secret in [
            "url=http://u:P@o/",
            "url=http%3A%2F%2Fu:P%40o",
            "url=http:u:P",
            "server=user:P",
            "schema={\"password\":\"P\"}",
            "schema=%7B%22password%22%3A%22P%22%7D",
            "schema=[\"P\"]",
            "schema={password:P}",
            "schema=[password:P]",
            "topic=a%26token%3DP",
            "topic=a%23P",
            "topic=a%3FP",
            "url=%FF%2F%2Fu:P%40o",
        ] {
            check(
                &format!("http://h/?db=1&{secret}&w=2"),
                "http://h/?db=1&w=2",
            );
        }
        for plain in [
            "topic=a/b/+",
            "subject=foo.*.>",
            "host=h:1,i:2",
            "address=[::1]:80",
            "timezone=Europe/Berlin",
            "content-type=application/json",
            "lang=d%C3%A9",
            "queue=a%20b",
        ] {
            let uri = format!("http://h/?{plain}");
            check(&uri, &uri);
        }
        check(
            "Server=h;Schema={\"password\":\"P\"};Port=1",
            "Server=h;Port=1",
        );
    }

    #[test]
    fn what_other_programs_read_as_marks_is_refused() {
        for (uri, said) in [
            ("http://u:P＠h/", "U+FF20"),
            ("http://u:P%EF%BC%A0h/", "U+FF20"),
            ("http://h/u:P﹫o", "U+FE6B"),
            ("http://h／u:P@o", "U+FF0F"),
            ("http://h/x＃SECRET", "U+FF03"),
            ("http://h/%FF%2540", "percent-encoded UTF-8"),
        ] {
            let refused = EndpointUri::try_from(uri.to_owned()).unwrap_err();
            assert!(refused.0.contains(said), "{uri}: {}", refused.0);
            assert!(!refused.0.contains('P'), "{}", refused.0);
        }
        let good = "http://köln.example/straße";
        assert_eq!(
            EndpointUri::try_from(good.to_owned()).unwrap().as_str(),
            good
        );
    }

    #[test]
    fn what_was_removed_is_told_without_its_value() {
        let said = |uri: &str| {
            let uri = EndpointUri::try_from(uri.to_owned()).unwrap();
            uri.warning("/endpoint_uri").map(|it| it.message)
        };
        assert_eq!(said("http://h/?db=1"), None);
        assert_eq!(said("Server=h;Port=1;"), None);
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
        assert!(said("Server=h;Password=P").unwrap().contains("settings"));
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

    #[test]
    fn servers_of_a_list_stay() {
        check("nats://a:1,u:p@b:2", "nats://a:1,b:2");
        check("nats://u:p@a:1,b:2,u:p@c", "nats://a:1,b:2,c");
        check("nats://t@a:1,t@b:1/x", "nats://a:1,b:1/x");
        check("nats://a,b:1,u:p@c:2?tls=1", "nats://a,b:1,c:2?tls=1");
        check("a:1,u:p@b:2", "a:1,b:2");
        check("mongodb://u:p@[::1]:1,u:p@[::2]", "mongodb://[::1]:1,[::2]");
        // A comma within a password.
        check("redis://u:a,b@h", "redis://h");
        check("redis://u:1,b@h", "redis://h");
        check("redis://u:p@h,u:a/b@i", "redis://h,i");
    }

    #[test]
    fn settings_are_read_as_such() {
        check("Server=h;Password=x", "Server=h");
        check("Password=x;Server=h", "Server=h");
        check("Server=h;Password=a?b@c/d:e;Port=1", "Server=h;Port=1");
        check(
            "Server=tcp:h,1433;Pwd=\"a;b\";DB=1",
            "Server=tcp:h,1433;DB=1",
        );
        check("Server=h;Password='a'';b';Port=1", "Server=h;Port=1");
        check("Server=h;Password=\"open;X=1", "Server=h");
        check(
            "Endpoint=sb://u:p@h/;SharedAccessKeyName=n;SharedAccessKey=a/b=",
            "Endpoint=sb://h/",
        );
        check("AccountName=a;AccountKey=b==", "");
        check(
            "Server=h;User Id=sa;Initial Catalog=d",
            "Server=h;Initial Catalog=d",
        );
        check("Server=h;Password=a;b;Port=1", "Server=h;Port=1");
        check(
            "Uri=amqp://u:p@h;Address=amqp://u:p@i",
            "Uri=amqp://h;Address=amqp://i",
        );
        check("http://h/;password=x", "http://h/");
        check("http://h/a;token=1;v=2/b?v=1", "http://h/a;v=2/b?v=1");
        check("http://h/a;x=1;v=2", "http://h/a;v=2");
        check("http://h:1;password=x", "http://h:1");
        check("h:6379,password=a@b,ssl=true", "h:6379,ssl=true");
        check("redis://h:6379,password=a:b", "redis://h:6379");
    }

    #[test]
    fn settings_of_jdbc_are_removed() {
        check(
            "jdbc:sqlserver://h:1433;user=a;password=p@q;db=d",
            "jdbc:sqlserver://h:1433;db=d",
        );
        check(
            "jdbc:sqlserver://h;password={a;b};encrypt=1",
            "jdbc:sqlserver://h;encrypt=1",
        );
        check("JDBC:h2:mem:d;USER=a;PASSWORD=b", "JDBC:h2:mem:d");
        check("jdbc:db2://h:1/d:user=u;password=p;", "jdbc:db2://h:1/d:");
        check(
            "jdbc:db2://h:1/d:password=p;ssl=1;",
            "jdbc:db2://h:1/d:ssl=1;",
        );
        check(
            "jdbc:oracle:thin:a/b@h:1521:s",
            "jdbc:oracle:thin:@h:1521:s",
        );
        check(
            "jdbc:oracle:thin:a/b@//h:1521/s",
            "jdbc:oracle:thin:@//h:1521/s",
        );
        check(
            "jdbc:mysql://address=(host=h)(user=u)(password=p)/db",
            "jdbc:mysql://address=(host=h)/db",
        );
        check(
            "jdbc:mysql://(host=h,password=p),(password=p,host=i)/db",
            "jdbc:mysql://(host=h),(host=i)/db",
        );
        check("jdbc:mysql://u:p@h,u:p@i/db", "jdbc:mysql://h,i/db");
    }

    #[test]
    fn the_rest_stays() {
        for uri in [
            "tcp://host:8080/path/@scope?version=1&db=2",
            "ipc:///run/x.sock",
            "file:///run/x@y",
            "host:8080",
            "/run/x.sock",
            "http://h/dt=2026/author=x",
            "http://h:80,other",
            "tcp://h/a;v=1;w=2",
            "Server=h;Database=a;Port=1",
            "jdbc:oracle:thin:@h:1521:s",
            "jdbc:mysql://(host=h,port=1)/db",
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
        assert!(read("password=x").is_err());
        assert!(read("http://h/a b").is_err());
        assert!(read("http://h/a%20b").is_ok());
        assert!(read("http://h/100%25").is_ok());
        for encoded in [
            "http://h/?pass%2577ord=1",
            "http://u%253Ap@h/",
            "http://h/%253Ftoken=1",
            "http://u%3Ap%40h/",
            "u%40h:1",
        ] {
            let refused = read(encoded).unwrap_err();
            assert!(refused.0.contains("percent-encoded"), "{encoded}");
        }
        assert!(read("http://h/a\nb").is_err());
        assert!(read(&"x".repeat(URI_CHARS_MAX + 1)).is_err());
    }
}
