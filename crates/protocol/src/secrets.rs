//! Settings in the query of an address that may be secrets: all that are not known to be harmless.

mod form;

use crate::percent::percent_decoded;

use form::Form;

/// Settings that say where and how something listens, and never who may use it, by the form of their values; in lower
/// case and without `-`, `_` and `.`.
const HARMLESS: &[(Form, &str)] = &[
    (
        Form::Switch("preferred prefer required require strict mandatory optional skip-verify"),
        "encrypt retain retryreads retrywrites secure ssl tls",
    ),
    (
        Form::Number("infinite infinity never none true false on off"),
        "connecttimeout connectiontimeout heartbeat keepalive limit maxpoolsize minpoolsize offset page partition port qos \
        sockettimeout timeout",
    ),
    (Form::Number("majority"), "w"),
    (Form::Version, "apiversion v version"),
    (
        Form::Name,
        "database db dbname exchange group groupid initialcatalog keyspace queue region replicaset routingkey schema \
        stream subject topic vhost zone",
    ),
    (
        Form::Host,
        "address datasource endpoint host hostname server servername uri url",
    ),
    (Form::Locale, "lang locale"),
    (Form::Zone, "timezone"),
    (Form::Media, "contenttype"),
    (
        Form::Word(
            "ascii us-ascii utf utf- utf8mb utf-16le utf-16be utf-32le utf-32be latin latin- iso- iso-8859- windows- cp koi8-r \
            koi8-u gb gbk big euc-jp euc-kr shift_jis sjis sql_ascii unicode binary json protobuf avro msgpack base",
        ),
        "charset encoding",
    ),
    (
        Form::Word(
            "none plain text string json jsonl ndjson xml yaml csv tsv avro protobuf proto msgpack cbor thrift bson parquet \
            binary raw bytes html h vp vp8 vp9 av aac opus mp mpeg mjpeg pcm pcma pcmu flac vorbis jpeg png",
        ),
        "codec format",
    ),
    (
        Form::Word(
            "true false on off yes no none gzip zlib snappy zstd lz lz4 brotli br deflate lzma bzip s s2 disabled",
        ),
        "compression",
    ),
    (Form::Word("ipv inet any unspec"), "family"),
    (
        Form::Word(
            "ro rw rwc memory read write readonly readwrite read-only read-write passive active caller listener rendezvous \
            publish subscribe request reply push pull pub sub server client sync async cluster standalone sentinel ha \
            single master replica",
        ),
        "mode",
    ),
    (
        Form::Word(
            "tcp udp sctp quic tls ssl ws wss websocket websockets http https grpc mqtt mqtts amqp amqps nats stomp \
            redis rediss ipc inproc unix pipe serial resp plaintext ssl_plaintext v",
        ),
        "protocol transport",
    ),
    (
        Form::Word("primary primarypreferred secondary secondarypreferred nearest"),
        "readpreference",
    ),
    (
        Form::Word(
            "disable disabled allow prefer preferred require required verify-ca verify_ca verify-full verify_full \
            verify_identity",
        ),
        "sslmode",
    ),
];

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
        if is_harmless(name, value) {
            kept.push_str(separator);
            kept.push_str(parameter);
            separator = if end.is_empty() { "&" } else { end };
        }
    }
    kept
}

/// Whether a setting of that name never has a secret, and the value has the form of its values.
fn is_harmless(name: &str, value: &str) -> bool {
    let name = bare(name);
    let form = HARMLESS
        .iter()
        .find(|(_, names)| names.split_whitespace().any(|one| one == name));
    let value = percent_decoded(value);
    form.zip(value)
        .is_some_and(|((form, _), value)| value.is_empty() || form.fits(&value))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_harmless_settings_are_plain() {
        for secret in [
            "url=http://u:P/",
            "url=http:u:P",
            "server=user:P",
            "schema={\"password\":\"P\"}",
            "schema=%7B%22password%22%3A%22P%22%7D",
            "schema=[\"P\"]",
            "schema=[password:P]",
            "topic=a%26token%3DP",
            "topic=a%23P",
            "topic=a%3FP",
        ] {
            let query = format!("db=1&{secret}&w=2");
            assert_eq!(parameters_without(&query), "db=1&w=2");
        }
    }

    #[test]
    fn values_of_many_harmless_parts_are_removed() {
        for long in [
            "lang=sk-abcd1234-efgh5678-ijkl9012",
            "v=1234567890-1234567890-1234567890-1234567890",
        ] {
            assert_eq!(parameters_without(long), "");
        }
    }
}
