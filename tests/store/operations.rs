//! What whoever runs a registry does with its store: `docs/operations.md` has each.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Caller, Nats, Registry, User, installed, lease_request, until};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

fn nats(nats: &Nats, line: &str) {
    let mut command = Command::new(installed("bin/nats"));
    command
        .args(["--server", &nats.url()])
        .args(line.split(' '));
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line}: {said}");
}

/// A store that has a lease which the backup in that folder has, and one which it has not; and what took each backup.
async fn with_backups(folder: &Path) -> (Value, Value) {
    let server = Nats::start();
    let registry = Registry::on(&server, &ARGS);
    let caller = Caller::of(&registry).await;
    let kept = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    let user = User::of_registries(&server);
    let path = folder.join("ours");
    let saved = user
        .run(&format!("backup {} -o json", path.display()))
        .json();
    assert!(saved["messages"].as_u64() > Some(1), "{saved}");
    let theirs = folder.join("theirs");
    let theirs = theirs.display();
    nats(
        &server,
        &format!("stream backup KV_onex-registry {theirs} --no-progress"),
    );
    let lost = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    // A backup is never written over another one.
    let told = user.run(&format!("backup {}", path.display())).exits(2);
    assert!(told.stderr.contains("is not empty"), "{}", told.stderr);
    // Nor is a store accepted as restored under a registry that runs.
    let told = user.run("doctor --accept-restore").exits(1).stderr;
    assert!(
        told.contains("an instance of this registry runs, on host here"),
        "{told}"
    );
    // Nor a store that is there.
    let told = user.run(&format!("restore {}", path.display())).exits(1);
    assert!(told.stderr.contains("exists"), "{}", told.stderr);
    (kept, lost)
}

/// What the store knows after a restore, and what it does not.
async fn is_restored(server: &Nats, kept: &Value, lost: &Value) {
    let registry = Registry::on(server, &ARGS);
    let caller = Caller::of(&registry).await;
    let mine = |lease: &Value| json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", mine(kept)).await;
    assert_eq!(renewed["fencing_token"], kept["fencing_token"]);
    caller
        .refused("port.heartbeat", mine(lost), ErrorCode::LeaseNotFound)
        .await;
    // The holder of what is lost may use its port for as long as any lease lasts.
    let refused = caller
        .refused(
            "port.lease",
            lease_request(Uuid::new_v4(), json!({})),
            ErrorCode::StoreUnavailable,
        )
        .await;
    assert!(refused.error["retry_after_ms"].as_u64() > Some(23 * 3_600_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_put_back_on_another_server() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, lost) = with_backups(folder.path()).await;
    // Either tool reads what the other one has written.
    for backup in ["ours", "theirs"] {
        let server = Nats::start();
        let path = folder.path().join(backup);
        let user = User::of_registries(&server);
        let restored = user.run(&format!("restore {} -o json", path.display()));
        let restored = restored.json();
        assert!(restored["revision"].as_u64() > lost["revision"].as_u64());
        is_restored(&server, &kept, &lost).await;
    }
    let server = Nats::start();
    let ours = folder.path().join("ours");
    nats(
        &server,
        &format!("stream restore {} --no-progress", ours.display()),
    );
    let user = User::of_registries(&server);
    user.run("doctor --accept-restore").exits(0);
    is_restored(&server, &kept, &lost).await;
    // With everybody started again there is nothing to wait for.
    let server = Nats::start();
    let user = User::of_registries(&server);
    let restored = user.run(&format!("restore {} --holders-restarted", ours.display()));
    assert!(restored.exits(0).stdout.contains("at once"));
    let registry = Registry::on(&server, &ARGS);
    let granted = Caller::of(&registry)
        .await
        .lease(Uuid::new_v4(), json!({}))
        .await;
    assert!(granted["fencing_token"].as_u64() > lost["fencing_token"].as_u64());
}

/// The data of a registry that runs alone, with a server of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_runs_alone_is_saved_and_put_back() {
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut registry = Registry::start_in(data.path(), &ARGS);
    let caller = Caller::of(&registry).await;
    let kept = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    // While it runs it is looked at where it listens, and says so.
    let user = User::new().with("PATH", &std::env::var("PATH").unwrap());
    let busy = format!("doctor --data {}", data.path().display());
    let told = user.run(&busy).exits(1).stderr;
    let there = format!("--nats {}", registry.url());
    assert!(told.contains(&there), "{told}");
    let shown = user.run(&format!("doctor {there}")).exits(0).stdout;
    let server = format!("{} (from --nats)\n", registry.url());
    assert!(shown.contains(&server), "{shown}");
    registry.terminate();
    assert!(registry.ended().0.success());
    let backup = folder.path().join("backup");
    let saved = format!(
        "backup {} --data {}",
        backup.display(),
        data.path().display()
    );
    user.run(&saved).exits(0);
    let other = tempfile::tempdir().unwrap();
    let restored = format!(
        "restore {} --data {}",
        backup.display(),
        other.path().display()
    );
    user.run(&restored).exits(0);
    let registry = Registry::start_in(other.path(), &ARGS);
    let caller = Caller::of(&registry).await;
    let mine = json!({"requester_id": kept["requester_id"], "lease_id": kept["lease_id"]});
    let renewed = caller.get("port.heartbeat", mine).await;
    assert_eq!(renewed["fencing_token"], kept["fencing_token"]);
}

/// A file system of its own, that ends with it.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None where this user may not mount one.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        let mounted = command.arg(folder.path()).output().ok()?;
        mounted.status.success().then_some(Self(folder))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_full_costs_no_lease() {
    let Some(disk) = Disk::mount(48) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let store = disk.0.path().join("store");
    let mut server = Nats::start_with(&format!(
        "jetstream {{ store_dir: {:?}, max_file_store: 4GB, sync_interval: always }}",
        store.to_str().unwrap()
    ));
    let registry = Registry::on(&server, &ARGS);
    let caller = Caller::of(&registry).await;
    let kept = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    disk.fill();
    let lease_request = || lease_request(Uuid::new_v4(), json!({"ttl": 600}));
    let mut granted = Vec::new();
    // What fits into the last blocks is granted, and lasts.
    let refused = loop {
        match caller.ask("port.lease", lease_request()).await {
            Ok(lease) => granted.push(lease),
            Err(refused) => break refused,
        }
    };
    assert!(refused.is(ErrorCode::StoreUnavailable), "{refused:?}");
    registry.line("has to be restarted");
    std::fs::remove_file(disk.filler()).unwrap();
    server.kill();
    server.start_again();
    caller.await_answer().await;
    until("the store to take entries again", async || {
        caller.ask("port.lease", lease_request()).await.ok()
    })
    .await;
    for lease in granted.iter().chain([&kept]) {
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        let renewed = caller.get("port.heartbeat", mine).await;
        assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    with_backups(folder.path()).await;
    let server = Nats::start();
    let user = User::of_registries(&server);
    let ours = folder.path().join("ours");
    let restore = |more: &str| user.run(&format!("restore {}{more}", ours.display()));
    let told = restore(" --namespace other").exits(2).stderr;
    assert!(
        told.contains("KV_onex-registry-other")
            && told.contains("it is one of stream KV_onex-registry")
    );
    let missing = user.run("restore /nowhere/at/all").exits(2).stderr;
    assert!(missing.contains("/nowhere/at/all/backup.json"), "{missing}");
    // A file that is cut short.
    let messages = ours.join("stream.tar.s2");
    let whole = std::fs::read(&messages).unwrap();
    std::fs::write(&messages, &whole[..whole.len() / 2]).unwrap();
    let told = restore("").exits(1).stderr;
    assert!(told.contains("broke off"), "{told}");
    std::fs::write(&messages, &whole).unwrap();
    std::fs::write(ours.join("backup.json"), "{").unwrap();
    let told = restore("").exits(2).stderr;
    assert!(
        told.contains("is no backup of stream KV_onex-registry"),
        "{told}"
    );
    // There is no store that a registry would start on.
    user.run("doctor").exits(1);
    let told = user
        .run(&format!("backup {}/x", folder.path().display()))
        .exits(1)
        .stderr;
    assert!(told.contains("does not exist"), "{told}");
}

#[test]
fn where_there_is_no_data_it_is_looked_where_every_command_looks() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &["--host", "here", "--no-probe"]);
    let state = Registry::state_folder().to_str().unwrap();
    let server = installed("bin/nats-server");
    let user = User::new()
        .with("XDG_STATE_HOME", state)
        .with("ONEX_NATS_SERVER", server.to_str().unwrap());
    user.context("test", &json!({"url": nats.url()}));
    user.select("test");
    let looked = user.run("doctor -o json").json();
    assert!(
        looked["nats"].as_str().unwrap().contains(&nats.url()),
        "{looked:#}"
    );
    let folder = user.path("saved");
    user.run(&format!("backup {}", folder.display())).exits(0);
    assert!(folder.exists());
    // None was made.
    let data = user.path(".local/share/onex-registry");
    assert!(!data.exists(), "{data:?}");
    // What is named is looked at, though nothing is there; and from then on there is data.
    for line in [
        &format!("doctor --data {} -o json", data.display()),
        "doctor -o json",
    ] {
        let own: Value = serde_json::from_str(&user.run(line).exits(1).stdout).unwrap();
        assert_ne!(own["nats"], looked["nats"], "{line}");
        assert!(data.exists());
    }
}
