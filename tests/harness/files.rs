//! Where things are in the project's folder.

use std::path::{Path, PathBuf};

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `make tools` has installed by that name.
#[track_caller]
pub(crate) fn installed(what: &str) -> PathBuf {
    let path = root().join(".tools").join(what);
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown} is missing; `make tools` installs it"
    );
    path
}
