//! What the holder of a lease says of itself.

use std::{cmp::Ordering, fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    ids::{Invalid, Name, NodeId, RequesterId},
    impl_schema,
    text_id::text_id,
};

/// Longest text that a holder says of itself, in bytes.
pub const HOLDER_TEXT_BYTES_MAX: usize = 256;

text_id!(
    /// What a holder says of itself: 1–256 bytes, none of them a control character.
    HolderText
);

impl_schema!(
    HolderText,
    json_schema!({"type": "string", "minLength": 1, "maxLength": HOLDER_TEXT_BYTES_MAX})
);

impl HolderText {
    fn check(text: &str) -> Result<(), Invalid> {
        if (1..=HOLDER_TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
        {
            return Ok(());
        }
        Err(Invalid(format!(
            "must be 1 to {HOLDER_TEXT_BYTES_MAX} bytes, none of them a control character"
        )))
    }

    /// As much of a text as may be said; none where nothing is left of it.
    pub fn of(text: &str) -> Option<Self> {
        let printed: String = text.chars().filter(|c| !c.is_control()).collect();
        let end = printed.floor_char_boundary(HOLDER_TEXT_BYTES_MAX);
        printed.get(..end)?.parse().ok()
    }
}

/// What the holder of a lease says of itself, for people. Nobody checks it, and nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The user that it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<HolderText>,
    /// The machine that it runs on, by that machine's own name for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HolderText>,
    /// The number of its process there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<NonZeroU32>,
    /// Its program: the name alone unless it says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<HolderText>,
}

impl Holder {
    /// Whether it says nothing.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

/// As in `ana@build-7 (pytest, pid 4711)`, without what was not said.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match (&self.user, &self.host) {
            (Some(user), Some(host)) => Some(format!("{user}@{host}")),
            (Some(user), None) => Some(user.to_string()),
            (None, Some(host)) => Some(format!("somebody on {host}")),
            (None, None) => None,
        };
        let what = match (&self.command, self.pid) {
            (Some(command), Some(pid)) => Some(format!("{command}, pid {pid}")),
            (Some(command), None) => Some(command.to_string()),
            (None, Some(pid)) => Some(format!("pid {pid}")),
            (None, None) => None,
        };
        match (who, what) {
            (Some(who), Some(what)) => write!(f, "{who} ({what})"),
            (Some(said), None) | (None, Some(said)) => f.write_str(&said),
            (None, None) => f.write_str("somebody"),
        }
    }
}

/// Whose a lease is, as others are told.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// Who holds it.
    pub requester_id: RequesterId,
    /// Its name.
    pub name: Option<&'a Name>,
    /// The node that it ends with.
    pub node_id: Option<&'a NodeId>,
    /// What its holder says of itself.
    pub holder: Option<&'a Holder>,
}

/// As in `ana@build-7 (pytest, pid 4711) as "api" with node calc`.
impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder {
            Some(holder) => holder.fmt(f)?,
            None => write!(f, "requester {}", self.requester_id)?,
        }
        if let Some(name) = self.name {
            write!(f, " as \"{name}\"")?;
        }
        match self.node_id {
            Some(node_id) => write!(f, " with node {node_id}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_not_shown() {
        let text = |text: &str| HolderText::of(text);
        let whole = Holder {
            user: text("ana"),
            host: text("build-7"),
            pid: NonZeroU32::new(4_711),
            command: text("pytest"),
        };
        assert_eq!(whole.to_string(), "ana@build-7 (pytest, pid 4711)");
        let without = |change: fn(&mut Holder)| {
            let mut holder = whole.clone();
            change(&mut holder);
            holder.to_string()
        };
        assert_eq!(
            without(|it| it.user = None),
            "somebody on build-7 (pytest, pid 4711)"
        );
        assert_eq!(without(|it| it.host = None), "ana (pytest, pid 4711)");
        assert_eq!(without(|it| it.pid = None), "ana@build-7 (pytest)");
        assert_eq!(
            without(|it| (it.pid, it.command) = (None, None)),
            "ana@build-7"
        );
        assert_eq!(
            without(|it| (it.user, it.host) = (None, None)),
            "pytest, pid 4711"
        );
        let mut told = Whose {
            requester_id: RequesterId(uuid::Uuid::nil()),
            name: Some(&"api".parse().unwrap()),
            node_id: Some(&"calc".parse().unwrap()),
            holder: Some(&whole),
        };
        let text = "ana@build-7 (pytest, pid 4711) as \"api\" with node calc";
        assert_eq!(told.to_string(), text);
        (told.holder, told.name, told.node_id) = (None, None, None);
        assert_eq!(
            told.to_string(),
            "requester 00000000-0000-0000-0000-000000000000"
        );
        assert!(Holder::default().is_silent() && !whole.is_silent());
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let long = HolderText::of(&"ä".repeat(200)).unwrap();
        assert_eq!(long.as_str(), "ä".repeat(128));
        assert_eq!(HolderText::of("a\u{1b}[1mb\n").unwrap().as_str(), "a[1mb");
        assert_eq!(HolderText::of("\n"), None);
    }
}
