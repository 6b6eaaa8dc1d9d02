//! Reply subjects. Whoever answers publishes with rights of its own, so a caller must not be able to choose just any
//! subject for the answer.

use std::{fmt, str::FromStr};

use onex_types::ids::Invalid;

use crate::subject::{SUBJECT_CHARS_MAX, is_literal};

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
        self.tokens(reply).is_some() && reply.split('.').all(is_literal)
    }

    /// The part of an inbox that is the same for all requests of one connection, as far as it shows. Client libraries
    /// name inboxes `<prefix>.<token of the connection>.<token of the request>`, or, with an inbox of its own for each
    /// request, `<prefix>.<token>`: that one is returned whole. Requests that are made over different connections have
    /// nothing in common, also where one program makes them: the `nats` command connects for each.
    pub fn connection<'a>(&self, inbox: &'a str) -> &'a str {
        match (self.tokens(inbox), inbox.rsplit_once('.')) {
            (Some(tokens), Some((connection, _))) if tokens.contains('.') => connection,
            _ => inbox,
        }
    }

    /// What stands behind the prefix; behind the longest, where several fit. None where none does.
    fn tokens<'a>(&self, reply: &'a str) -> Option<&'a str> {
        let named = self.0.iter().map(|prefix| &*prefix.0);
        let tokens = named
            .chain([INBOX_DEFAULT])
            .filter_map(|prefix| reply.strip_prefix(prefix)?.strip_prefix('.'));
        tokens.min_by_key(|tokens| tokens.len())
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
    fn connection_is_the_inbox_without_the_token_of_the_request() {
        let inboxes = Inboxes::new(vec!["my".parse().unwrap(), "my.inbox".parse().unwrap()]);
        for (inbox, connection) in [
            ("_INBOX.conn.1", "_INBOX.conn"),
            ("_INBOX.conn.more.1", "_INBOX.conn.more"),
            ("my.conn.1", "my.conn"),
            ("my.inbox.conn.1", "my.inbox.conn"),
            // An inbox for each request.
            ("_INBOX.1", "_INBOX.1"),
            ("my.1", "my.1"),
            ("my.inbox.1", "my.inbox.1"),
        ] {
            assert_eq!(inboxes.connection(inbox), connection, "{inbox}");
        }
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
