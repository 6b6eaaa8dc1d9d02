//! Settings that may be secrets, wherever an address has them: where settings stand, all that are not known to be
//! harmless; elsewhere, those that are named like a secret or a user.

use super::uri::percent_decoded;

/// A setting carries a secret when its name, in lower case and without `-`, `_` and `.`, ends with one of these.
const SECRET_NAMES: &[&str] = &[
    "accesskey",
    "accountkey",
    "apikey",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "jwt",
    "login",
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
    "uid",
    "user",
    "userid",
    "username",
];

/// Names of settings that say where and how something listens, and never who may use it; written as [`SECRET_NAMES`]
/// are compared.
const HARMLESS_NAMES: &[&str] = &[
    "address",
    "apiversion",
    "charset",
    "codec",
    "compression",
    "connecttimeout",
    "connectiontimeout",
    "contenttype",
    "database",
    "datasource",
    "db",
    "dbname",
    "encoding",
    "encrypt",
    "endpoint",
    "exchange",
    "family",
    "format",
    "group",
    "groupid",
    "heartbeat",
    "host",
    "hostname",
    "initialcatalog",
    "keepalive",
    "keyspace",
    "lang",
    "limit",
    "locale",
    "maxpoolsize",
    "minpoolsize",
    "mode",
    "offset",
    "page",
    "partition",
    "port",
    "protocol",
    "qos",
    "queue",
    "readpreference",
    "region",
    "replicaset",
    "retain",
    "retryreads",
    "retrywrites",
    "routingkey",
    "schema",
    "secure",
    "server",
    "servername",
    "sockettimeout",
    "ssl",
    "sslmode",
    "stream",
    "subject",
    "timeout",
    "timezone",
    "tls",
    "topic",
    "transport",
    "uri",
    "url",
    "v",
    "version",
    "vhost",
    "w",
    "zone",
];

/// What a setting may begin behind.
const BEGINNINGS: [char; 5] = [';', ',', '(', ':', '/'];

/// A query without them: `&` or `;` parts its settings, and what has no value is a setting as well.
pub(super) fn parameters_without(parameters: &str) -> String {
    let mut kept = String::new();
    let mut separator = "";
    for part in parameters.split_inclusive(['&', ';']) {
        let (parameter, end) = match part.strip_suffix(['&', ';']) {
            Some(parameter) => (parameter, &part[parameter.len()..]),
            None => (part, ""),
        };
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if is_harmless(name) && is_plain(value) {
            kept.push_str(separator);
            kept.push_str(parameter);
            separator = if end.is_empty() { "&" } else { end };
        }
    }
    kept
}

/// Whether a text is settings and nothing else, as in `Server=h;Port=1`.
pub(super) fn is_settings(text: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '%');
    let behind = text.trim_start_matches(in_name);
    behind.len() < text.len() && behind.starts_with('=')
}

/// Such a text without them; `strip` makes of a value what may be kept of it.
pub(super) fn settings_without(text: &str, mut strip: impl FnMut(&str) -> String) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut rest = text;
    loop {
        let value = rest
            .find(['=', ';'])
            .filter(|at| rest[*at..].starts_with('='));
        let end = value.map_or_else(
            || rest.find(';').unwrap_or(rest.len()),
            |at| at + 1 + value_len(&rest[at + 1..], &[';']),
        );
        let setting = &rest[..end];
        match setting.split_once('=') {
            Some((name, value)) if is_harmless(name) && !has_members(value) => {
                kept.push(format!("{name}={}", strip(value)));
            }
            // What has no name may be the rest of a password with a `;` in it.
            Some(_) | None => {}
        }
        match rest.get(end + 1..) {
            Some(behind) => rest = behind,
            None => return kept.join(";"),
        }
    }
}

/// An address without them, whatever it has before a query.
pub(super) fn path_without(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Brackets that are open.
    let mut depth = 0_usize;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if before.is_none_or(|before| BEGINNINGS.contains(&before))
            && let Some((name, value)) = rest.split_once('=')
            && !name.contains(BEGINNINGS)
            && !name.contains(['?', '#'])
            && let (inner, behind) = value.split_at(value_len(value, ends(before, depth)))
            && (is_hidden(before, name) || is_setting(before) && has_members(inner))
        {
            rest = behind;
            match before {
                Some(';' | ',') => {
                    out.pop();
                }
                Some('(') if rest.starts_with(')') => {
                    out.pop();
                    rest = &rest[1..];
                    depth -= 1;
                }
                _ => rest = rest.strip_prefix([';', ',']).unwrap_or(rest),
            }
            before = out.chars().next_back();
            continue;
        }
        depth = match c {
            '(' => depth + 1,
            ')' => depth.saturating_sub(1),
            _ => depth,
        };
        out.push(c);
        before = Some(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// What a setting behind that character may end with.
fn ends(before: Option<char>, depth: usize) -> &'static [char] {
    match before {
        _ if depth > 0 => &[',', ')', ';'],
        Some(',') => &[',', ';'],
        _ => &[';'],
    }
}

/// How long a value is that one of `ends` ends, in bytes. One in quotes or braces goes to where these close, and
/// to the end of the text if they do not.
fn value_len(text: &str, ends: &[char]) -> usize {
    let close = match text.chars().next() {
        Some('{') => '}',
        Some(quote @ ('"' | '\'')) => quote,
        _ => return text.find(ends).unwrap_or(text.len()),
    };
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(close)) {
        at += found + 1;
        // Twice stands for itself.
        if text.get(at..).is_some_and(|rest| rest.starts_with(close)) {
            at += 1;
        } else {
            let behind = text.get(at..).unwrap_or_default();
            return at + behind.find(ends).unwrap_or(behind.len());
        }
    }
    text.len()
}

/// Whether what is named so behind that character is removed.
fn is_hidden(before: Option<char>, name: &str) -> bool {
    if is_setting(before) {
        !is_harmless(name)
    } else {
        is_secret(name)
    }
}

/// Whether settings stand behind that character. Behind the others a part of a path may look like one.
fn is_setting(before: Option<char>) -> bool {
    matches!(before, Some(';' | ',' | '('))
}

fn is_secret(name: &str) -> bool {
    let name = bare(name);
    SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

fn is_harmless(name: &str) -> bool {
    HARMLESS_NAMES.contains(&bare(name).as_str())
}

/// Whether it is a word, a number, a name with dots or slashes, or a list of such, and can be nothing that has secrets of
/// its own: no address, no settings, no JSON.
fn is_plain(value: &str) -> bool {
    let in_words = |c: char| c.is_alphanumeric() || "-._~+*>,/[] :".contains(c);
    // A colon stands before a port, or within the brackets of an IPv6 address.
    let is_port = |port: &str| {
        let port = port.split([',', '/']).next().unwrap_or_default();
        port.chars().all(|c| c.is_ascii_digit())
    };
    let in_ipv6 = |c: char| c.is_ascii_hexdigit() || ":.".contains(c);
    percent_decoded(value).is_some_and(|value| {
        let address = value.strip_prefix('[').and_then(|it| it.split_once(']'));
        let behind = match address {
            Some((address, behind)) if address.chars().all(in_ipv6) => behind,
            _ => &value,
        };
        value.chars().all(in_words)
            && !value.contains("//")
            && behind.split(':').skip(1).all(is_port)
    })
}

/// Whether it may be JSON, or something quoted.
fn has_members(value: &str) -> bool {
    percent_decoded(value).is_none_or(|value| value.contains(['{', '}', '"']))
}

/// A name in lower case and without what is written between its words.
fn bare(name: &str) -> String {
    let name = percent_decoded(name).unwrap_or_default();
    let of_word = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    of_word.map(|c| c.to_ascii_lowercase()).collect()
}
