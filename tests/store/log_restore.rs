//! Stores that went back, of the core that keeps its state in an ordered log, over real servers.

use std::process::Command;

use crate::harness::{Caller, Events, Nats, Registry, User, lease_request, until};
use async_nats::jetstream;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20299"];
const LOG: &str = "KV_onex-registry";

/// A machine on which registries run, with its notes.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn spawn(&self, nats: &Nats) -> Registry {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onex"));
        command.env("XDG_STATE_HOME", self.0.path()).arg("serve");
        command.args(["--nats", &nats.url()]).args(ARGS);
        Registry::spawn_command(command, false)
    }

    fn start(&self, nats: &Nats) -> Registry {
        let mut registry = self.spawn(nats);
        registry.await_ready();
        registry
    }

    fn user(&self, nats: &Nats) -> User {
        User::new()
            .with("NATS_URL", &nats.url())
            .with("XDG_STATE_HOME", self.0.path().to_str().unwrap())
    }

    /// The highest revision that was noted.
    fn noted(&self) -> u64 {
        let files = std::fs::read_dir(self.0.path().join("onex"));
        let files = files.into_iter().flatten().flatten();
        let notes = files.filter_map(|file| {
            let note: Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
            note["revision"].as_u64()
        });
        notes.max().unwrap_or_default()
    }

    async fn await_note(&self, of: &Value) {
        let revision = of["revision"].as_u64().unwrap();
        until("the note", async || {
            (self.noted() >= revision).then_some(())
        })
        .await;
    }

    /// Does not start, and says why, however often it is tried.
    fn refuses(&self, nats: &Nats) -> String {
        let said = self.spawn(nats).refusal();
        assert_eq!(self.spawn(nats).refusal(), said);
        // To be typed as it stands.
        let typed = format!("`onex doctor --accept-restore --nats {}`", nats.url());
        assert!(said.contains(&typed), "{said}");
        said
    }
}

async fn lasting(caller: &Caller) -> Value {
    caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await
}

fn mine(lease: &Value) -> Value {
    json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]})
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// A store that knows a lease, and one of which it knows nothing any more because it is as it was before.
async fn went_back(machine: &Machine) -> (Nats, Value, Value) {
    let mut nats = Nats::start();
    let mut registry = machine.start(&nats);
    let kept = lasting(&Caller::connect(&nats.url()).await).await;
    registry.kill();
    nats.kill();
    nats.back_up();
    nats.start_again();
    let mut registry = machine.start(&nats);
    let lost = lasting(&Caller::connect(&nats.url()).await).await;
    machine.await_note(&lost).await;
    registry.kill();
    nats.kill();
    nats.put_back();
    nats.start_again();
    (nats, kept, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_data_folder_is_refused_until_it_is_accepted() {
    let machine = Machine::new();
    let (nats, kept, lost) = went_back(&machine).await;
    let said = machine.refuses(&nats);
    assert!(said.contains("went back"), "{said}");
    assert!(said.contains(&lost["revision"].to_string()), "{said}");
    let user = machine.user(&nats);
    // A look changes nothing.
    for _ in 0..2 {
        let looked = user.run("doctor").exits(1);
        assert!(looked.stdout.contains("onex-registry"), "{}", looked.stdout);
        assert!(looked.stderr.contains("went back"), "{}", looked.stderr);
    }
    let accepted = user.run("doctor --accept-restore -o json").json();
    assert!(number(&accepted["known"]) >= number(&lost["revision"]));
    assert!(number(&accepted["revision"]) > number(&lost["revision"]) + (1 << 39));
    assert!(number(&accepted["quiet_ms"]) > 23 * 3_600_000, "{accepted}");
    let mut registry = machine.start(&nats);
    let caller = Caller::connect(&nats.url()).await;
    // Who holds what is lost may use it for a day, and who knows of it is told.
    let refused = caller
        .refused(
            "port.lease",
            lease_request(Uuid::new_v4(), json!({})),
            ErrorCode::StoreUnavailable,
        )
        .await;
    assert!(number(&refused.error["retry_after_ms"]) > 0);
    let since = json!({"min_revision": lost["revision"]});
    caller
        .refused("port.list", since, ErrorCode::StoreChanged)
        .await;
    let renewed = caller.get("port.heartbeat", mine(&kept)).await;
    assert_eq!(renewed["fencing_token"], kept["fencing_token"]);
    caller
        .refused("port.heartbeat", mine(&lost), ErrorCode::LeaseNotFound)
        .await;
    registry.kill();
    let accepted = user
        .run("doctor --accept-restore --holders-restarted -o json")
        .json();
    assert_eq!(accepted["quiet_ms"], 0);
    let mut registry = machine.start(&nats);
    let caller = Caller::connect(&nats.url()).await;
    let granted = lasting(&caller).await;
    assert!(number(&granted["fencing_token"]) > number(&lost["fencing_token"]));
    registry.kill();
    // It is not older than what is known any more, on no machine.
    user.run("doctor").exits(0);
    Machine::new().start(&nats);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_data_folder_ends_a_registry_that_runs() {
    let machine = Machine::new();
    let mut nats = Nats::start();
    let mut registry = machine.start(&nats);
    let caller = Caller::connect(&nats.url()).await;
    lasting(&caller).await;
    nats.kill();
    nats.back_up();
    nats.start_again();
    until("an answer", async || {
        let patience = std::time::Duration::from_secs(1);
        let headers = async_nats::HeaderMap::new();
        caller.send("port.list", headers, "{}", patience).await.ok()
    })
    .await;
    let lost = lasting(&caller).await;
    machine.await_note(&lost).await;
    nats.kill();
    nats.put_back();
    nats.start_again();
    let (status, said) = registry.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("onex doctor --accept-restore"), "{said}");
    machine.refuses(&nats);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_removed_is_refused_for_its_events_and_for_what_was_noted() {
    let machine = Machine::new();
    let nats = Nats::start();
    let mut registry = machine.start(&nats);
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    let lost = lasting(&caller).await;
    machine.await_note(&lost).await;
    until("its event", async || {
        (Events::read(&caller).await.0.len() == 1).then_some(())
    })
    .await;
    registry.kill();
    context.delete_stream(LOG).await.unwrap();
    // Another machine knows it by the events.
    let other = Machine::new();
    other.refuses(&nats);
    context.delete_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
    Machine::new().start(&nats).kill();
    context.delete_stream(LOG).await.unwrap();
    context.delete_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
    machine.refuses(&nats);
    let user = machine.user(&nats);
    user.run("doctor --accept-restore --holders-restarted")
        .exits(0);
    // With whatever settings it is started now.
    let _registry = machine.start(&nats);
    let granted = lasting(&caller).await;
    assert!(number(&granted["fencing_token"]) > number(&lost["fencing_token"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_removed_while_a_registry_runs_grants_nothing_and_ends_it_when_it_is_made_again()
 {
    let machine = Machine::new();
    let nats = Nats::start();
    let mut registry = machine.start(&nats);
    let caller = Caller::connect(&nats.url()).await;
    machine.await_note(&lasting(&caller).await).await;
    let context = jetstream::new(caller.client.clone());
    context.delete_stream(LOG).await.unwrap();
    caller
        .refused(
            "port.lease",
            lease_request(Uuid::new_v4(), json!({})),
            ErrorCode::StoreUnavailable,
        )
        .await;
    registry.line("does not exist");
    assert!(registry.runs());
    // Makes a bucket, and refuses it.
    machine.refuses(&nats);
    let (status, said) = registry.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("removed and created again"), "{said}");
    machine.refuses(&nats);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_purged_is_written_again_by_the_registry_that_runs_and_refused_without_one() {
    let machine = Machine::new();
    let nats = Nats::start();
    let mut registry = machine.start(&nats);
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    let mut leases = vec![lasting(&caller).await];
    let log = context.get_stream(LOG).await.unwrap();
    log.purge().await.unwrap();
    leases.push(lasting(&caller).await);
    let purged = log.get_info().await.unwrap().state.first_sequence;
    until("a snapshot", async || {
        let last = log.get_info().await.unwrap().state.last_sequence;
        let last = log.get_raw_message(last).await.ok()?;
        let header = last.headers.get("Onex-Entry")?.as_str().to_owned();
        let snapshot: u64 = header.split(' ').nth(3)?.parse().ok()?;
        (snapshot >= purged).then_some(())
    })
    .await;
    registry.kill();
    let mut registry = machine.start(&nats);
    for lease in &leases {
        caller.get("port.heartbeat", mine(lease)).await;
    }
    registry.kill();
    log.purge().await.unwrap();
    machine.refuses(&nats);
    let user = machine.user(&nats);
    user.run("doctor --accept-restore --holders-restarted")
        .exits(0);
    let mut registry = machine.start(&nats);
    lasting(&caller).await;
    registry.kill();
    // A part of it is no log either.
    let last = log.get_info().await.unwrap().state.last_sequence;
    log.purge().sequence(last).await.unwrap();
    let said = machine.refuses(&nats);
    assert!(said.contains("from a backup"), "{said}");
}

#[test]
fn a_doctor_without_a_store_says_so_and_creates_none() {
    let machine = Machine::new();
    let nats = Nats::start();
    let user = machine.user(&nats);
    for _ in 0..2 {
        let ran = user.run("doctor").exits(1);
        assert!(ran.stderr.contains("does not exist"), "{}", ran.stderr);
    }
}
