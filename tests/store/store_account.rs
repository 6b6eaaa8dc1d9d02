//! A log that is kept in an account of its own: who may use the registry has no way to it.

use std::process::{Command, Output};

use crate::harness::{Caller, Events, Log, Nats, Registry, View};
use async_nats::jetstream;
use serde_json::{Value, json};
use uuid::Uuid;

const ACCOUNTS: &str = "jetstream { store_dir: \"FOLDER/store\", sync_interval: always }\n\
    accounts {\n\
      APP { jetstream: enabled, users: [{ user: app, password: app }] }\n\
      LOG { jetstream: enabled, users: [{ user: log, password: secret }] }\n\
    }\n\
    no_auth_user: app";

/// The URL of the account that keeps the log.
fn of_log(nats: &Nats) -> String {
    nats.url().replace("nats://", "nats://log:secret@")
}

fn doctor(nats: &Nats, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onex"))
        .args(["doctor", "-o", "json", "--nats", &nats.url()])
        .args(more)
        .env("XDG_STATE_HOME", Registry::state_folder())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_registry_do_not_reach_a_log_in_another_account() {
    let nats = Nats::start_with(ACCOUNTS);
    let log_url = of_log(&nats);
    let args = ["--host", "here", "--no-probe", "--store-nats", &log_url];
    let mut registry = Registry::on(&nats, &args);
    assert!(!registry.said().contains("secret"), "{}", registry.said());
    let caller = Caller::connect(&nats.url()).await;
    let holder = Uuid::new_v4();
    let lease = caller.lease(holder, json!({"ttl": 600})).await;
    let key = format!("port.here.tcp.{}", lease["port"]);
    // What is derived from the log is where its readers are.
    let view = View::of(&caller).await;
    view.until(&key, |shown| shown["lease_id"] == lease["lease_id"])
        .await;
    assert_eq!(Events::read(&caller).await.of_kind("port.leased").len(), 1);

    // The log is not; and what a user stores under its subject, or lets a stream of its own store there, is another's.
    let context = jetstream::new(caller.client.clone());
    assert!(context.get_stream("KV_onex-registry").await.is_err());
    let keeper = Caller::connect(&log_url).await;
    let log = Log::of(&keeper).await;
    let before = log.last().await;
    let trap = jetstream::stream::Config {
        name: "TRAP".to_owned(),
        subjects: vec!["trap".to_owned()],
        republish: Some(jetstream::stream::Republish {
            source: "trap".to_owned(),
            destination: "$KV.onex-registry.log".to_owned(),
            headers_only: false,
        }),
        ..jetstream::stream::Config::default()
    };
    context.create_stream(trap).await.unwrap();
    let sent = context.publish("trap", "x".into()).await.unwrap();
    sent.await.unwrap();
    let direct = "$KV.onex-registry.log";
    caller.client.publish(direct, "y".into()).await.unwrap();
    caller.client.flush().await.unwrap();
    let body = json!({"requester_id": holder, "lease_id": lease["lease_id"]});
    caller.get("port.heartbeat", body.clone()).await;
    assert_eq!(
        log.last().await,
        before + 1,
        "the heartbeat and nothing else"
    );

    // Another instance goes on from it, and the doctor finds it.
    registry.terminate();
    registry.ended();
    let report = doctor(&nats, &["--store-nats", &log_url]);
    let shown: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert!(report.status.success(), "{shown:#}");
    assert!(shown["revision"].as_u64() >= lease["revision"].as_u64());
    let elsewhere = doctor(&nats, &[]);
    assert!(
        !elsewhere.status.success(),
        "there is no log in that account"
    );
    let _registry = Registry::on(&nats, &args);
    let renewed = caller.get("port.heartbeat", body).await;
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
}

/// What is wrong with the one server is not said of the other.
#[test]
fn a_store_that_cannot_be_reached_is_told_of_with_what_names_it() {
    let nats = Nats::start_with(ACCOUNTS);
    let refused = |store: [&str; 2]| {
        let args = ["--host", "here", "--no-probe", store[0], store[1]];
        let (status, said) = Registry::spawn_on(&nats, &args).ended();
        assert!(!status.success(), "{said}");
        said.split_once("onex serve: ").unwrap().1.to_owned()
    };
    let nobody = refused(["--store-nats", "nats://127.0.0.1:1"]);
    assert!(nobody.contains("from --store-nats"), "{nobody}");
    assert!(!nobody.contains("--embedded"), "{nobody}");
    let without_server = Command::new(env!("CARGO_BIN_EXE_onex"))
        .args(["doctor", "--store-nats", &nats.url()])
        .env_remove("NATS_URL")
        .env_remove("NATS_CONTEXT")
        .output()
        .unwrap();
    assert_eq!(without_server.status.code(), Some(2));
    let no_file = refused(["--store-creds", "/nope.creds"]);
    assert!(no_file.contains("/nope.creds"), "{no_file}");
    assert!(no_file.starts_with("--store-creds"), "{no_file}");
    assert!(!no_file.contains("reached"), "{no_file}");
}
