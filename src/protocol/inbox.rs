//! Reply subjects. Whoever answers publishes with rights of its own, so a caller must not be able to choose just any
//! subject for the answer.

use std::{fmt, str::FromStr};

use crate::domain::ids::Invalid;

use super::subject::{SUBJECT_CHARS_MAX, is_literal};

/// What inboxes begin with unless a client was told otherwise.
const INBOX_DEFAULT: &str = "_INBOX";

/// What the inboxes of clients begin with that use a prefix of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPrefix(Box<str>);

impl FromStr for InboxPrefix {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let prefix = text.strip_suffix('.').unwrap_or(text);
        let reserved = prefix.starts_with('$') || prefix.split('.').next() == Some("onex");
        let good = prefix.chars().count() <= SUBJECT_CHARS_MAX
            && prefix.split('.').all(is_literal)
            && !reserved;
        if good {
            return Ok(Self(prefix.into()));
        }
        Err(Invalid(format!(
            "must be the beginning of a subject, without wildcards, of at most {SUBJECT_CHARS_MAX} characters, and \
             not one of the server's (`$…`) or of a registry's (`onex.…`)"
        )))
    }
}

impl fmt::Display for InboxPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The subjects that answers may be sent to: below `_INBOX`, and below each prefix that was named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inboxes(Vec<InboxPrefix>);

impl Inboxes {
    /// `_INBOX` and these prefixes.
    pub fn new(more: Vec<InboxPrefix>) -> Self {
        Self(more)
    }

    /// Whether an answer may be sent to that subject.
    pub fn has(&self, reply: &str) -> bool {
        let below = |prefix: &str| {
            let rest = reply.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let named = self.0.iter().any(|prefix| below(&prefix.0));
        (named || below(INBOX_DEFAULT)) && reply.split('.').all(is_literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_inboxes_only() {
        let inboxes = Inboxes::new(vec!["my.inbox.".parse().unwrap()]);
        for good in ["_INBOX.a", "_INBOX.a.b", "my.inbox.1"] {
            assert!(inboxes.has(good), "{good}");
        }
        for bad in [
            "_INBOX",
            "_INBOX.",
            "_INBOXES.a",
            "_INBOX.*",
            "_INBOX.>",
            "_INBOX..a",
            "my.inbox",
            "my.inboxes.a",
            "my.other.a",
            "orders.delete",
            "$KV.onex-registry.sys",
            "$JS.API.INFO",
            "onex.registry.v1.help",
            "",
        ] {
            assert!(!inboxes.has(bad), "{bad}");
        }
        assert!(!Inboxes::default().has("my.inbox.1"));
    }

    #[test]
    fn prefixes_are_checked() {
        for (text, good) in [
            ("_INBOX_team", true),
            ("my.inbox", true),
            ("my.inbox.", true),
            ("", false),
            (".", false),
            ("a..b", false),
            ("a.*", false),
            ("a.>", false),
            ("a b", false),
            ("$KV", false),
            ("onex", false),
            ("onex.registry", false),
            ("onexes", true),
        ] {
            assert_eq!(text.parse::<InboxPrefix>().is_ok(), good, "{text:?}");
        }
    }
}
