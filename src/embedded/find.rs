//! Finding a nats-server that is new enough: `ONEX_NATS_SERVER` when it is set, and nothing else then; else the first
//! one on the `PATH` that will do.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::error::Error;
use crate::server_version::{SERVER_VERSION_MIN, Version};

const NAME: &str = "nats-server";

/// Long enough for a cold disk; a program that hangs on `--version` is no nats-server.
const VERSION_WAIT_MAX: Duration = Duration::from_secs(10);

/// A nats-server that is new enough.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

/// Looks where this process's environment says.
pub(super) async fn find() -> Result<Found, Error> {
    search(env::var_os("ONEX_NATS_SERVER"), env::var_os("PATH")).await
}

async fn search(named: Option<OsString>, path: Option<OsString>) -> Result<Found, Error> {
    let no_server = |found| Error::NoServer {
        minimum: SERVER_VERSION_MIN,
        found,
    };
    let is_blank = |named: &OsString| named.to_str().is_some_and(|text| text.trim().is_empty());
    if let Some(named) = named.filter(|named| !is_blank(named)) {
        let named = PathBuf::from(named);
        return check(&named).await.map_err(|why| {
            no_server(format!(
                "ONEX_NATS_SERVER is {}, which {why}",
                named.display()
            ))
        });
    }
    let mut unfit = Vec::new();
    for folder in env::split_paths(&path.unwrap_or_default()) {
        let candidate = folder.join(NAME);
        if !candidate.is_file() {
            continue;
        }
        match check(&candidate).await {
            Ok(found) => return Ok(found),
            Err(why) => unfit.push(format!("{} {why}", candidate.display())),
        }
    }
    if unfit.is_empty() {
        return Err(no_server(
            "the PATH has none, and ONEX_NATS_SERVER is not set".into(),
        ));
    }
    Err(no_server(unfit.join(", ")))
}

/// Asks a program for its version; an error reads as what follows the program's name.
async fn check(program: &Path) -> Result<Found, String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(VERSION_WAIT_MAX, output)
        .await
        .map_err(|_| "did not say its version in time".to_owned())?
        .map_err(|error| format!("cannot be run ({error})"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.lines().next().unwrap_or_default().trim();
    let version = said
        .strip_prefix("nats-server: ")
        .ok_or_else(|| "is not a nats-server: it does not say its version".to_owned())?;
    match version.parse::<Version>() {
        Ok(parsed) if parsed >= SERVER_VERSION_MIN => Ok(Found {
            path: program.to_owned(),
            version: parsed,
        }),
        Ok(_) => Err(format!("is {version}, too old")),
        Err(error) => Err(format!("is {version}, {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_version::INSTALL;

    /// A program that answers `--version` with `says`. Another process writes it: a file that this one has open for
    /// writing, or a child that a test beside this one is just starting, cannot be run.
    fn fake(folder: &Path, says: &str) -> PathBuf {
        let path = folder.join(NAME);
        let script = "mkdir -p \"$1\" && printf '#!/bin/sh\\necho \"%s\"\\n' \"$2\" > \"$1/$3\" && chmod 755 \"$1/$3\"";
        let status = std::process::Command::new("sh")
            .args(["-c", script, "sh", folder.to_str().unwrap(), says, NAME])
            .status();
        assert!(status.unwrap().success());
        path
    }

    fn path_of(folders: &[&Path]) -> OsString {
        env::join_paths(folders).unwrap()
    }

    #[tokio::test]
    async fn takes_the_first_on_the_path_that_is_new_enough() {
        let root = tempfile::tempdir().unwrap();
        let (empty, old, new) = (
            root.path().join("empty"),
            root.path().join("old"),
            root.path().join("new"),
        );
        fake(&old, "nats-server: v2.9.10");
        let expected = fake(&new, "nats-server: v2.15.0");
        let found = search(None, Some(path_of(&[&empty, &old, &new])))
            .await
            .unwrap();
        assert_eq!(
            (found.path, found.version),
            (expected, Version::new(2, 15, 0))
        );
    }

    #[tokio::test]
    async fn the_named_one_counts_alone() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("old"), root.path().join("new"));
        let named = fake(&old, "nats-server: v2.14.9");
        fake(&new, "nats-server: v2.15.1");
        let error = search(Some(named.clone().into()), Some(path_of(&[&new])))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(named.to_str().unwrap()), "{error}");
        assert!(error.contains("is v2.14.9, too old"), "{error}");
    }

    #[tokio::test]
    async fn says_what_was_found_where_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let error = search(None, Some(path_of(&[root.path()])))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no nats-server 2.15.0 or newer: the PATH has none"),
            "{error}"
        );
        assert!(error.contains(INSTALL), "{error}");

        let other = fake(&root.path().join("other"), "hello");
        let old = fake(&root.path().join("old"), "nats-server: v2.15.0-RC.1");
        let path = path_of(&[other.parent().unwrap(), old.parent().unwrap()]);
        let error = search(None, Some(path)).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("{} is not a nats-server", other.display())),
            "{error}"
        );
        assert!(
            error.contains(&format!(
                "{} is v2.15.0-RC.1, not a released",
                old.display()
            )),
            "{error}"
        );
    }
}
