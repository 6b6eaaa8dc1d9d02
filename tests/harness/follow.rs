//! Someone who does what is advised.

use std::process::Command;

use super::{Nats, root};

/// Runs a command of `nats` at a terminal: before it edits the stream of a bucket, it asks there.
#[track_caller]
pub(crate) fn follow(command: &str, nats: &Nats) {
    let confirm = root().join("tests/clients/confirm.py");
    let done = Command::new("sh")
        .args([
            "-c",
            &format!("exec python3 {} {command} -f", confirm.display()),
        ])
        .env("NATS_URL", nats.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{command}: {said}");
}
