//! JSON Pointers. Source: RFC 6901.

/// One part of a pointer.
pub(super) fn escape(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// The pointer to a member.
pub(super) fn member(parent: &str, name: &str) -> String {
    format!("{parent}/{}", escape(name))
}
