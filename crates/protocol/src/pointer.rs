//! JSON Pointers. Source: RFC 6901.

/// One part of a pointer.
pub(super) fn escape(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// The pointer to a member.
pub fn member(parent: &str, name: &str) -> String {
    format!("{parent}/{}", escape(name))
}

/// The pointer to what a member is in, and the member's name.
pub fn parent_and_name(pointer: &str) -> Option<(&str, String)> {
    let (parent, name) = pointer.rsplit_once('/')?;
    Some((parent, name.replace("~1", "/").replace("~0", "~")))
}
