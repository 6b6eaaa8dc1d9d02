//! What the values of harmless settings look like.

/// What the value of a setting may be. Others may be secrets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
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
    pub(super) fn fits(self, text: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::parameters_without;

    #[test]
    fn values_of_harmless_settings_have_the_form_of_that_setting() {
        for kept in [
            "ssl=true",
            "tls=1",
            "SSL_Mode=verify-full",
            "encrypt=strict",
            "timeout=30",
            "connect_timeout=1.5s",
            "w=majority",
            "maxPoolSize=-1",
            "version=1.2.3-beta.1",
            "api-version=2024-01-01-preview",
            "v=v1beta1",
            "db=0",
            "db=orders_eu",
            "topic=a/b/+",
            "subject=foo.*.>",
            "topic=d%C3%A9",
            "vhost=/",
            "host=h,i.example.com",
            "timezone=Etc/GMT+2",
            "timezone=UTC",
            "lang=de-CH",
            "locale=en_US.utf8",
            "charset=utf8mb4",
            "encoding=ISO-8859-15",
            "format=json",
            "codec=h264",
            "compression=zstd",
            "family=ipv6",
            "mode=rwc",
            "protocol=3",
            "transport=tcp4",
            "content_type=text/csv",
            "readPreference=secondaryPreferred",
            "qos=2",
            "ssl",
            "db=",
        ] {
            assert_eq!(parameters_without(kept), kept);
        }
        for name in [
            "ssl",
            "tls",
            "sslmode",
            "encrypt",
            "timeout",
            "w",
            "maxpoolsize",
            "version",
            "apiversion",
            "v",
            "timezone",
            "lang",
            "locale",
            "charset",
            "encoding",
            "format",
            "codec",
            "compression",
            "family",
            "mode",
            "protocol",
            "transport",
            "contenttype",
            "readpreference",
            "qos",
            "port",
            "partition",
            "page",
            "keepalive",
            "retain",
        ] {
            for secret in [
                "hunter2",
                "S3cr3t",
                "correct horse",
                "topsecret",
                "12345678901234567890",
                "a.b",
            ] {
                let query = format!("{name}={secret}").replace(' ', "%20");
                assert_eq!(parameters_without(&query), "", "{query}");
            }
        }
        for name in [
            "db", "topic", "host", "group", "stream", "url", "schema", "region",
        ] {
            for secret in [
                "AKIAIOSFODNN7EXAMPLE",
                "550e8400e29b41d4a716446655440000",
                "eyJhbGciOiJIUzI1NiJ9.e30.x",
                "correcthorsebatterystaplecorrecthorse",
                "p!w",
            ] {
                let query = format!("{name}={secret}");
                assert_eq!(parameters_without(&query), "", "{query}");
            }
        }
    }
}
