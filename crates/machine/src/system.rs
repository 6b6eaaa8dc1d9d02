//! What the operating system says.

use std::{fs, path::Path};

/// The machine's own name for itself, in lower case.
pub(crate) fn node_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase()
}

/// What stands in a file; nothing where it cannot be read.
pub(crate) fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
