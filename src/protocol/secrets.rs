//! Settings in the query of an address that may be secrets: all that are not known to be harmless.

use super::uri::percent_decoded;

/// Names of settings that say where and how something listens, and never who may use it; in lower case and without
/// `-`, `_` and `.`.
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

/// Besides letters and digits, what the value of a setting may have.
const IN_VALUE: &str = "-._~+*>/, ";

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
        if is_harmless(name) && is_plain(value, IN_VALUE) {
            kept.push_str(separator);
            kept.push_str(parameter);
            separator = if end.is_empty() { "&" } else { end };
        }
    }
    kept
}

fn is_harmless(name: &str) -> bool {
    HARMLESS_NAMES.contains(&bare(name).as_str())
}

/// Whether it has letters, digits and those marks alone, percent-encoded or not, and so can be nothing that has secrets
/// of its own: no address, no settings, no JSON.
pub(super) fn is_plain(text: &str, marks: &str) -> bool {
    let is_good = |c: char| c.is_alphanumeric() || marks.contains(c);
    percent_decoded(text).is_some_and(|text| text.chars().all(is_good))
}

/// A name in lower case and without what is written between its words.
fn bare(name: &str) -> String {
    let name = percent_decoded(name).unwrap_or_default();
    let of_word = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    of_word.map(|c| c.to_ascii_lowercase()).collect()
}
