//! Names and numbers with a checked constructor each: a value of these types is a valid one.

use std::{cmp::Ordering, fmt, net::IpAddr, num::NonZeroU16, str::FromStr, sync::Arc};

use schemars::json_schema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};
use uuid::Uuid;

use crate::{impl_schema, text_id::text_id};

/// Longest token, in characters. Source: `docs/protocol.md`, "Frame".
pub const TOKEN_CHARS_MAX: usize = 128;
/// Longest host name, in characters. Source: RFC 1035, section 2.3.4, less the trailing dot.
pub const HOST_CHARS_MAX: usize = 253;
/// Longest label, in characters.
pub const LABEL_CHARS_MAX: usize = 128;
/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 256;
/// Longest TTL that any registry allows, in seconds: one day.
pub const TTL_SECONDS_MAX: u32 = 86_400;

/// Why a text or number is not a value of the type asked for; says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A UUID from its text; one that is wrong is told with what would be right.
fn uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Uuid;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a UUID, as 0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Uuid, E> {
            let wrong = |_| E::invalid_value(Unexpected::Str(text), &self);
            text.parse().map_err(wrong)
        }
    }

    deserializer.deserialize_str(Text)
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(deserialize_with = "uuid")] pub Uuid);

        impl_schema!($name, json_schema!({"type": "string", "format": "uuid"}));

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// One lease, from its grant to its end. A port that is granted again gets a new one.
    LeaseId
);
uuid_id!(
    /// Who holds a lease: a name that the caller chose, not a secret.
    RequesterId
);
uuid_id!(
    /// The caller's id of one write: retries under the same id are idempotent.
    RequestId
);
uuid_id!(
    /// What a request asked for, condensed; tells a retry from another request under the same id.
    Digest
);
uuid_id!(
    /// One life of a node, from a registration to its end. A node that is announced anew gets a new one.
    Incarnation
);
uuid_id!(
    /// One run of a tool.
    ExecutionId
);
uuid_id!(
    /// One command inside a registry; marks the record that it wrote.
    CommandId
);

impl CommandId {
    /// Another one: the random tail of a UUID is counted up.
    #[must_use]
    pub fn next(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128().wrapping_add(1)))
    }
}

text_id!(
    /// A protocol: 1–128 of letters, digits, `-` and `_`.
    Token
);
text_id!(
    /// A lease's name: 1–128 of letters, digits, `-`, `_`, and single dots inside.
    Name
);
text_id!(
    /// A node: 1–128 of letters, digits, `-`, `_`, and single dots inside.
    NodeId
);
text_id!(
    /// A bus: 1–128 of letters, digits, `-` and `_`.
    BusId
);
text_id!(
    /// A machine or network namespace: a lower-case host name, or an IP address.
    Host
);
text_id!(
    /// A lease's label: 1–128 characters, none of them a control character.
    Label
);
text_id!(
    /// Why an administrator does something: 1–256 characters, not only spaces, and none of them a control character.
    Reason
);

macro_rules! token_schema {
    ($($name:ident)*) => {$(
        impl_schema!($name, json_schema!({
            "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1, "maxLength": TOKEN_CHARS_MAX,
        }));
    )*};
}
macro_rules! dotted_schema {
    ($($name:ident)*) => {$(
        impl_schema!($name, json_schema!({
            "type": "string", "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", "minLength": 1, "maxLength": TOKEN_CHARS_MAX,
        }));
    )*};
}

token_schema!(Token BusId);
dotted_schema!(Name NodeId);
impl_schema!(
    Host,
    json_schema!({"type": "string", "minLength": 1, "maxLength": HOST_CHARS_MAX})
);
impl_schema!(
    Label,
    json_schema!({"type": "string", "minLength": 1, "maxLength": LABEL_CHARS_MAX})
);
impl_schema!(
    Reason,
    json_schema!({"type": "string", "pattern": r"\S", "minLength": 1, "maxLength": REASON_CHARS_MAX})
);
impl_schema!(
    Transport,
    json_schema!({"type": "string", "enum": ["tcp", "udp"]})
);
impl_schema!(
    Port,
    json_schema!({"type": "integer", "minimum": 1, "maximum": 65535})
);
impl_schema!(
    Ttl,
    json_schema!({"type": "integer", "minimum": 1, "maximum": TTL_SECONDS_MAX})
);

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn check_token(text: &str) -> Result<(), Invalid> {
    if (1..=TOKEN_CHARS_MAX).contains(&text.len()) && text.chars().all(is_token_char) {
        return Ok(());
    }
    Err(Invalid(format!(
        "must be 1 to {TOKEN_CHARS_MAX} letters, digits, '-' or '_'"
    )))
}

fn check_dotted(text: &str) -> Result<(), Invalid> {
    let parts = text
        .split('.')
        .all(|part| !part.is_empty() && part.chars().all(is_token_char));
    if parts && text.len() <= TOKEN_CHARS_MAX {
        return Ok(());
    }
    Err(Invalid(format!(
        "must be 1 to {TOKEN_CHARS_MAX} letters, digits, '-' or '_', with single dots inside"
    )))
}

impl Token {
    fn check(text: &str) -> Result<(), Invalid> {
        check_token(text)
    }
}

impl BusId {
    fn check(text: &str) -> Result<(), Invalid> {
        check_token(text)
    }
}

impl Name {
    fn check(text: &str) -> Result<(), Invalid> {
        check_dotted(text)
    }
}

impl NodeId {
    fn check(text: &str) -> Result<(), Invalid> {
        check_dotted(text)
    }
}

impl Host {
    /// The host that is probably meant by a text that is none: one in capitals, with brackets, a final dot, a zone or a
    /// long form of an address.
    fn put_right(text: &str) -> Option<String> {
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.trim_end_matches('.');
        let inner = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let bare = inner.unwrap_or(bare);
        let bare = bare.split('%').next().unwrap_or(bare);
        let address = bare.parse::<IpAddr>().map(|ip| ip.to_string());
        let right = address.unwrap_or_else(|_| bare.to_owned());
        (right != text && Self::check(&right).is_ok()).then_some(right)
    }

    fn check(text: &str) -> Result<(), Invalid> {
        let label = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| is_token_char(c) && !c.is_ascii_uppercase())
        };
        let address = || {
            text.parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_string() == text)
        };
        if text.len() <= HOST_CHARS_MAX && (text.split('.').all(label) || address()) {
            return Ok(());
        }
        let right = match Self::put_right(text) {
            Some(right) => format!(": write {right:?}"),
            None => String::new(),
        };
        Err(Invalid(format!(
            "must be a lower-case host name of at most {HOST_CHARS_MAX} characters, \
             or an IP address in its shortest form{right}"
        )))
    }
}

macro_rules! ends {
    ($($name:ident)*) => {$(
        impl $name {
            /// A value that sorts before every other there can be.
            pub fn lowest() -> Self {
                Self(Arc::default())
            }
        }
    )*};
}

ends!(Host NodeId BusId Token);

impl NodeId {
    /// A value that sorts behind every other there can be.
    pub fn highest() -> Self {
        Self(char::MAX.to_string().into())
    }
}

impl Label {
    fn check(text: &str) -> Result<(), Invalid> {
        let count = text.chars().count();
        if (1..=LABEL_CHARS_MAX).contains(&count) && !text.chars().any(char::is_control) {
            return Ok(());
        }
        Err(Invalid(format!(
            "must be 1 to {LABEL_CHARS_MAX} characters, none of them a control character"
        )))
    }
}

impl Reason {
    fn check(text: &str) -> Result<(), Invalid> {
        let said = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if said && text.chars().count() <= REASON_CHARS_MAX {
            return Ok(());
        }
        Err(Invalid(format!(
            "must say why in 1 to {REASON_CHARS_MAX} characters, none of them a control character"
        )))
    }
}

/// Which of a host's two port spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Both of them, in the order of their keys.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As it stands in keys and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.as_str() == text)
            .ok_or_else(|| Invalid("must be \"tcp\" or \"udp\"".to_owned()))
    }
}

/// A port number, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// Port 1.
    pub const LOWEST: Self = Self(NonZeroU16::MIN);

    /// The port of that number; none for 0.
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a lease lasts without a renewal, in whole seconds: 1 to [`TTL_SECONDS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "u32")]
pub struct Ttl(u32);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = Ttl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "1 to {TTL_SECONDS_MAX} seconds")
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Ttl, E> {
                let ttl = u32::try_from(seconds)
                    .ok()
                    .and_then(|it| it.try_into().ok());
                ttl.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(seconds), &self))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Ttl, E> {
                match u64::try_from(seconds) {
                    Ok(seconds) => self.visit_u64(seconds),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(seconds), &self)),
                }
            }
        }

        deserializer.deserialize_u32(Seconds)
    }
}

impl Ttl {
    /// The longest there is.
    pub const MAX: Self = Self(TTL_SECONDS_MAX);
    /// What a lease gets that asks for none: 60 s.
    pub const DEFAULT: Self = Self(60);

    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// In milliseconds.
    pub fn millis(self) -> u64 {
        u64::from(self.0) * 1000
    }
}

impl TryFrom<u32> for Ttl {
    type Error = Invalid;
    fn try_from(seconds: u32) -> Result<Self, Invalid> {
        if (1..=TTL_SECONDS_MAX).contains(&seconds) {
            return Ok(Self(seconds));
        }
        Err(Invalid(format!(
            "must be 1 to {TTL_SECONDS_MAX} seconds, not {seconds}"
        )))
    }
}

impl From<Ttl> for u32 {
    fn from(ttl: Ttl) -> u32 {
        ttl.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr<Err = Invalid>>(text: &str, valid: bool) {
        assert_eq!(text.parse::<T>().is_ok(), valid, "{text:?}");
    }

    #[test]
    fn texts_are_checked() {
        check::<Token>("jetstream", true);
        check::<Token>("a-b_C9", true);
        check::<Token>("", false);
        check::<Token>("a.b", false);
        check::<Token>("a b", false);
        check::<Token>(&"x".repeat(TOKEN_CHARS_MAX), true);
        check::<Token>(&"x".repeat(TOKEN_CHARS_MAX + 1), false);
        check::<Name>("api.v1", true);
        check::<Name>(".api", false);
        check::<Name>("api..v1", false);
        check::<Name>("api*", false);
        check::<Host>("build-7.lab", true);
        check::<Host>("10.0.0.1", true);
        check::<Host>("::1", true);
        check::<Host>("0:0::1", false);
        check::<Host>("Build", false);
        check::<Host>("a..b", false);
        check::<Host>("a>b", false);
        check::<Label>("team: blue", true);
        check::<Label>("", false);
        check::<Label>("a\nb", false);
    }

    #[test]
    fn numbers_are_checked() {
        assert!(Port::new(0).is_none());
        assert_eq!(Port::new(65_535).map(Port::number), Some(65_535));
        assert!(Ttl::try_from(0).is_err());
        assert!(Ttl::try_from(86_401).is_err());
        assert_eq!(Ttl::try_from(86_400), Ok(Ttl::MAX));
    }
}
