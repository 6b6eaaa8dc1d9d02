//! `onex nats-child`: the short life between the registry and nats-server.
//!
//! A process cannot be told to die with its parent from outside, and doing it between fork and exec takes unsafe code.
//! So the registry runs its own program again: it asks the kernel for that signal, locks the data folder, and becomes
//! nats-server. Both stay in force over `exec`. The two talk over pipes, a line at a time; what is decided is decided
//! by the registry, between "locked" and "go".

use std::convert::Infallible;
use std::error::Error as _;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, getppid};

use super::error::Error;
use super::folder::{Folder, data_error};

/// The hidden subcommand.
pub const CHILD: &str = "nats-child";

/// The child says: the lock is somebody else's, still trying.
pub(super) const WAITING: &str = "waiting";
/// The child says: the data folder is ours.
pub(super) const LOCKED: &str = "locked";
/// The child says: somebody else kept the lock.
pub(super) const BUSY: &str = "busy";
/// The child says: I give up, for the reason that follows on the line.
pub(super) const FAILED: &str = "failed: ";
/// The child says: I give up, because of the file or folder that follows on the line.
pub(super) const UNUSABLE: &str = "unusable: ";
/// The registry says: become nats-server.
pub(super) const GO: &str = "go";

/// How long the server of a registry that was just killed may take to write down what it has.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

const LOCK_POLL: Duration = Duration::from_millis(20);

struct Arguments {
    parent: Pid,
    server: PathBuf,
    folder: Folder,
}

/// The words that follow [`CHILD`], for a child of this process.
pub(super) fn arguments(server: &Path, folder: &Folder) -> [OsString; 3] {
    [
        std::process::id().to_string().into(),
        server.into(),
        folder.path().into(),
    ]
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let wrong = |what| Error::Arguments { what };
        let mut arguments = arguments.into_iter();
        let parent = arguments
            .next()
            .and_then(|text| text.to_str()?.parse().ok())
            .filter(|id| *id > 0)
            .and_then(Pid::from_raw)
            .ok_or(wrong("the first argument is the registry's process id"))?;
        let server = arguments
            .next()
            .ok_or(wrong("the second argument is the server's path"))?;
        let folder = arguments
            .next()
            .ok_or(wrong("the third argument is the server's folder"))?;
        if arguments.next().is_some() {
            return Err(wrong("there are three arguments"));
        }
        Ok(Self {
            parent,
            server: server.into(),
            folder: Folder::at(folder.into()),
        })
    }
}

/// The body of `onex nats-child PARENT SERVER FOLDER`: becomes nats-server, or says why not.
pub fn child(arguments: impl IntoIterator<Item = OsString>) -> Result<Infallible, Error> {
    let failed = become_child(Arguments::parse(arguments)?);
    let reason = failed.source().map_or_else(
        || failed.to_string(),
        |source| format!("{failed}: {source}"),
    );
    // If the registry is gone there is nobody to tell; if the server's program could not be run, this is in its log.
    let how = match failed {
        Error::Data { .. } => UNUSABLE,
        _ => FAILED,
    };
    let _ = say(&format!("{how}{reason}"));
    Err(failed)
}

/// Returns only when it failed, with the reason.
fn become_child(arguments: Arguments) -> Error {
    match prepare(&arguments).and_then(|files| become_server(&arguments, files)) {
        Ok(source) => Error::Exec {
            path: arguments.server,
            source,
        },
        Err(error) => error,
    }
}

/// What the server inherits.
struct Files {
    lock: File,
    output: File,
}

/// Everything up to the registry's "go".
fn prepare(arguments: &Arguments) -> Result<Files, Error> {
    // Elsewhere a server outlives a registry that is killed; the next one finds it by its lock.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM)).map_err(
        |error| Error::Spawn {
            source: error.into(),
        },
    )?;
    // Whoever died before the line above sends no signal any more.
    if getppid() != Some(arguments.parent) {
        return Err(Error::Orphan);
    }
    let lock = lock(&arguments.folder)?;
    let path = arguments.folder.output();
    let output = File::create(&path).map_err(data_error(&path))?;
    say(LOCKED)?;
    listen_for_go()?;
    Ok(Files { lock, output })
}

fn lock(folder: &Folder) -> Result<File, Error> {
    let path = folder.lock();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(data_error(&path))?;
    let since = Instant::now();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(data_error(&path)(source)),
            Err(TryLockError::WouldBlock) if since.elapsed() >= LOCK_WAIT_MAX => {
                say(BUSY)?;
                return Err(Error::DataBusy {
                    path: folder.path().to_owned(),
                    holder: "another nats-server".into(),
                    port: None,
                });
            }
            Err(TryLockError::WouldBlock) => {
                if !said {
                    say(WAITING)?;
                    said = true;
                }
                // The lock's end tells nobody.
                thread::sleep(LOCK_POLL);
            }
        }
    }
    // For who finds the folder locked: the server's process and the registry's. A registry that is about to end adds that.
    let holder = format!(
        "{} {} ",
        std::process::id(),
        getppid().map_or(0, Pid::as_raw_pid)
    );
    file.set_len(0)
        .and_then(|()| file.write_all(holder.as_bytes()))
        .map_err(data_error(&path))?;
    Ok(file)
}

fn say(line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    // Nobody reads: the registry is gone.
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|_| Error::Orphan)
}

fn listen_for_go() -> Result<(), Error> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(_) if line.trim_end() == GO => Ok(()),
        _ => Err(Error::Orphan),
    }
}

/// Returns only when it failed, with the reason.
fn become_server(arguments: &Arguments, files: Files) -> Result<io::Error, Error> {
    let spawn = |source| Error::Spawn { source };
    let errors = files.output.try_clone().map_err(spawn)?;
    // The lock lives as long as the server only if the server inherits it.
    fcntl_setfd(&files.lock, FdFlags::empty()).map_err(|error| spawn(error.into()))?;
    Ok(Command::new(&arguments.server)
        // The file that says the ports is named after this.
        .arg0(super::ready::SERVER_NAME)
        .arg("--config")
        .arg(arguments.folder.config())
        .stdin(Stdio::null())
        .stdout(files.output)
        .stderr(errors)
        .exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_be_run_by_hand() {
        for arguments in [
            &[][..],
            &["1"],
            &["one", "s", "f"],
            &["-1", "s", "f"],
            &["1", "s", "f", "x"],
        ] {
            let refused = child(arguments.iter().map(OsString::from)).unwrap_err();
            assert!(
                matches!(refused, Error::Arguments { .. }),
                "{arguments:?}: {refused}"
            );
        }
    }
}
