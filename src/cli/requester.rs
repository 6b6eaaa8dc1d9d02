//! Who holds what the command line leases: one id for each user, kept.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use clap::Args;
use onex_machine::{NO_HOLDER_VARIABLE, new_id};
use onex_types::{holder::Holder, ids::RequesterId};
use uuid::Uuid;

use super::{
    environment::variable,
    failure::{Exit, Failure},
    folders::xdg,
    parse,
};

const VARIABLE: &str = "ONEX_REQUESTER_ID";
const FILE: &str = "requester-id";

/// Says who asks.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// Who holds it: a UUID [default: one that is made once and kept in
    /// ~/.local/state/onex-registry/requester-id].
    #[arg(long, env = VARIABLE, hide_env_values = true, value_name = "UUID", value_parser = parse::requester_id)]
    requester: Option<RequesterId>,
}

/// Whether to say who holds a lease.
#[derive(Debug, Args)]
pub(super) struct Saying {
    /// Do not tell user, host, process and program of the holder, for those who look for it.
    #[arg(long, env = NO_HOLDER_VARIABLE)]
    no_holder: bool,
}

impl Saying {
    /// What is to be said, of what could be.
    pub(super) fn of(&self, holder: Option<Holder>) -> Option<Holder> {
        holder.filter(|_| !self.no_holder)
    }
}

impl Who {
    /// The id that was given, if one was.
    pub(super) fn given(&self) -> Option<RequesterId> {
        self.requester
    }

    /// The id that was given, else the user's.
    pub(super) fn id(&self) -> Result<RequesterId, Failure> {
        match self.requester {
            Some(id) => Ok(id),
            None => own(),
        }
    }
}

/// Who asks, for a command that has a flag of another meaning: by the environment, else the user's.
pub(super) fn mine() -> Result<RequesterId, Failure> {
    match variable(VARIABLE) {
        Some(text) => parse::requester_id(&text)
            .map_err(|error| Failure::usage(format!("{VARIABLE} {error}"))),
        None => own(),
    }
}

/// Whom lists call "you": as [`mine`], but no id is made for it.
pub(super) fn known() -> Option<RequesterId> {
    let text = variable(VARIABLE).or_else(|| std::fs::read_to_string(folder()?.join(FILE)).ok())?;
    parse::requester_id(text.trim()).ok()
}

/// The user's id; made where there is none yet.
fn own() -> Result<RequesterId, Failure> {
    let failed = |message: String| {
        Failure::new(Exit::Failed, "NO_REQUESTER_ID", message)
            .hint("say who asks with --requester UUID, or ONEX_REQUESTER_ID")
    };
    let folder = folder().ok_or_else(|| failed("there is no home folder".to_owned()))?;
    let path = folder.join(FILE);
    let text = kept(&folder, &path)
        .map_err(|error| failed(format!("cannot keep {}: {error}", path.display())))?;
    let id = text.trim().parse().map(RequesterId);
    id.map_err(|_| failed(format!("{} holds no UUID", path.display())))
}

fn folder() -> Option<PathBuf> {
    Some(xdg("XDG_STATE_HOME", ".local/state")?.join("onex-registry"))
}

/// What stands in the file. Of several processes that make it at the same time one wins, and all use
/// what that one wrote.
fn kept(folder: &Path, path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read,
    }
    // The mode is what the XDG base directory specification asks for.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let id = new_id();
    let draft = folder.join(format!("{FILE}.{id}"));
    write(&draft, id)?;
    // A link never replaces a file, and what it names is whole.
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(path),
    }
}

fn write(path: &Path, id: Uuid) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{id}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn all_who_make_it_at_the_same_time_get_one_id() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("state/onex-registry");
        let path = folder.join(FILE);
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| kept(&folder, &path).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(ids[0].trim().parse::<Uuid>().is_ok());
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let left = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, 1, "a draft is left");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
