//! Settings in the query of an address that may be secrets: all that are not known to be harmless.

use super::uri::percent_decoded;

/// What the value of a setting may be. Others may be secrets.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// On or off, or one of these words.
    Switch(&'static str),
    /// A number, with a unit or without, or one of these words.
    Number(&'static str),
    /// Numbers with dots or hyphens between them, as `1.2`, `v1beta1` or `2024-01-01-preview`.
    Version,
    /// One of these words; digits at its end do not count.
    Word(&'static str),
    /// Names of at most 32 letters and digits each, with marks between them: of a topic, of a database.
    Name,
    /// Hosts, with commas between them.
    Host,
    /// A language and a country.
    Locale,
    /// A time zone by its name, or as an offset.
    Zone,
    /// The type of a content.
    Media,
}

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

/// Words of a switch.
const SWITCH: &str = "true false yes no on off enable enabled disable disabled t f y n";
/// Units of numbers.
const UNITS: &str = "ns us ms s sec m min h d k kb kib mb mib gb gib b";
/// Words that stand in versions.
const IN_VERSION: &str = "alpha beta rc preview stable v x latest";
/// Time zones that have no area before them, and areas.
const ZONES: &str = "utc gmt z zulu local system cet cest met eet wet bst ist jst msk est edt cst cdt mst mdt pst pdt";
const AREAS: &str = "africa america antarctica arctic asia atlantic australia brazil canada chile etc europe indian \
    mexico pacific us";
/// Digits of one number, at most.
const DIGITS_MAX: usize = 10;
/// Characters of one word of a name, and of all of it.
const WORD_CHARS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 128;
/// Characters of a language with its country and what else it may have, as in `sr_Latn_RS.utf8`, at most.
const LOCALE_CHARS_MAX: usize = 20;
/// Hosts in one list, at most.
const HOSTS_MAX: usize = 16;
/// From here on a word with letters and digits is no name: secrets are made so.
const RANDOM_CHARS_MIN: usize = 16;
/// Besides letters and digits, what names may have between their words, and what stands for many of them.
const IN_NAME: &[char] = &['-', '.', '_', '~', '/', '+', '*', '>', ' '];

impl Form {
    /// Whether that text, which is no longer percent-encoded, is such a value.
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Switch(more) => {
                is_one_of(SWITCH, text) || is_one_of(more, text) || matches!(text, "0" | "1")
            }
            Self::Number(words) => is_number(text) || is_one_of(words, text),
            Self::Version => {
                text.len() <= WORD_CHARS_MAX && text.split(['.', '-', '_']).all(is_of_version)
            }
            Self::Word(words) => {
                is_one_of(words, text) || is_one_of(words, without_number(text)) || is_short(text)
            }
            Self::Name => {
                text.chars().count() <= NAME_CHARS_MAX && text.split(IN_NAME).all(is_word)
            }
            Self::Host => text.split(',').enumerate().all(|(n, host)| {
                n < HOSTS_MAX
                    && host.chars().count() <= NAME_CHARS_MAX
                    && host.split(['.', '-', '_', '*']).all(is_word)
            }),
            Self::Locale => {
                let mut parts = text.split(['-', '_', '.']);
                let language = parts.next().unwrap_or_default();
                text.len() <= LOCALE_CHARS_MAX
                    && matches!(language.len(), 2..=3)
                    && language.chars().all(|c| c.is_ascii_alphabetic())
                    && parts.all(|part| {
                        part.len() <= 8 && part.chars().all(|c| c.is_ascii_alphanumeric())
                    })
            }
            Self::Zone => {
                let (area, place) = text.split_once('/').unwrap_or((text, ""));
                let is_offset = |text: &str| text.len() <= 6 && text.split(':').all(is_number);
                let is_place =
                    |part: &str| part.chars().all(|c| c.is_ascii_alphabetic()) || is_offset(part);
                if place.is_empty() {
                    is_one_of(ZONES, area) || is_offset(area)
                } else {
                    text.len() <= WORD_CHARS_MAX
                        && is_one_of(AREAS, area)
                        && place.split(['/', '_', '-', '+']).all(is_place)
                }
            }
            Self::Media => {
                const KINDS: &str = "application audio image message multipart text video";
                let (kind, name) = text.split_once('/').unwrap_or_default();
                text.len() <= NAME_CHARS_MAX
                    && is_one_of(KINDS, kind)
                    && name.split(['.', '-', '+']).all(is_word)
            }
        }
    }
}

fn is_one_of(words: &str, text: &str) -> bool {
    words
        .split_whitespace()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether it is a number of one or two digits, as of a protocol's version.
fn is_short(text: &str) -> bool {
    matches!(text.len(), 1..=2) && is_digits(text)
}

fn is_digits(text: &str) -> bool {
    (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// With a sign, a fraction and a unit, or without.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(number.len()..).unwrap_or_default();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    is_digits(whole) && is_digits(fraction) && (unit.is_empty() || is_one_of(UNITS, unit))
}

fn without_number(text: &str) -> &str {
    let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - word.len();
    if digits <= 5 { word } else { text }
}

/// Whether it is a part of a version: digits, and words that stand in versions.
fn is_of_version(part: &str) -> bool {
    let mut rest = part;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (piece, behind) = rest.split_at(digits.max(letters));
        if !is_digits(piece) && !is_one_of(IN_VERSION, piece) {
            return false;
        }
        rest = behind;
    }
    true
}

/// Whether it may be a word of a name: short, and not made of letters and digits at random.
fn is_word(word: &str) -> bool {
    let chars = word.chars().count();
    let has_digits = word.contains(|c: char| c.is_ascii_digit());
    let has_letters = word.contains(char::is_alphabetic);
    chars <= WORD_CHARS_MAX
        && word.chars().all(char::is_alphanumeric)
        && (chars < RANDOM_CHARS_MIN || !(has_digits && has_letters))
}

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
