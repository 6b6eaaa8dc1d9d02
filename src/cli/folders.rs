//! The folders in which things are kept for the user.

use std::path::PathBuf;

use crate::{
    connect,
    registry::{Notes, settings::Settings},
};

use super::environment;

/// A base folder of the XDG specification: where `variable` says, if that is an absolute path, else below the home folder; none
/// when there is none.
pub(super) fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name| environment::path(name).map(PathBuf::from);
    let said = set(variable).filter(|path| path.is_absolute());
    said.or_else(|| Some(set("HOME")?.join(below_home)))
}

/// Where it is noted how far the store of that server is.
pub(super) fn notes_of(settings: &Settings, bus: &connect::Options) -> Option<Notes> {
    let server = settings.store.as_ref().unwrap_or(bus);
    notes(settings, server.shown())
}

/// Where it is noted how far the store in that place is; nowhere when there is no home folder.
pub(super) fn notes(settings: &Settings, place: String) -> Option<Notes> {
    Some(Notes {
        folder: xdg("XDG_STATE_HOME", ".local/state")?.join("onex"),
        place,
        bucket: settings.namespace.bucket(),
    })
}

/// Where data is kept that has to last; none when there is no home folder.
pub(super) fn data_folder() -> Option<PathBuf> {
    Some(xdg("XDG_DATA_HOME", ".local/share")?.join("onex-registry"))
}
