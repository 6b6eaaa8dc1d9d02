//! How the stream is created, and which other settings are refused.

use onex_log::{Error, Options, Size, open};
use serde_json::{Value, json};

use crate::{
    nats::Nats,
    raw::Stranger,
    writer::{Writer, options},
};

async fn refusal(options: Options) -> String {
    match open(options).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn stream_is_created_with_every_setting_and_opened_again() {
    let nats = Nats::start();
    let (_, store) = open(options(&nats.url())).await.unwrap();
    let config = Stranger::at(&nats.url()).await.config().await;
    for (setting, value) in [
        ("subjects", json!(["$KV.test.log"])),
        ("max_msgs_per_subject", json!(1_u64 << 40)),
        ("max_bytes", json!(64 << 20)),
        ("discard", json!("new")),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(false)),
        ("allow_rollup_hdrs", json!(false)),
        ("storage", json!("file")),
    ] {
        assert_eq!(config[setting], value, "{setting}");
    }
    let (_, again) = open(options(&nats.url())).await.unwrap();
    assert_eq!(again.check().await.unwrap(), store.check().await.unwrap());
}

#[tokio::test]
async fn settings_edited_from_outside_are_named() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let (_, store) = open(options(&nats.url())).await.unwrap();
    for (setting, wrong, named) in [
        (
            "max_age",
            json!(3_600_000_000_000_u64),
            "max_age is 3600000000000 and must be 0",
        ),
        (
            "max_msgs_per_subject",
            json!(64),
            "max_msgs_per_subject is 64 and must be 1099511627776",
        ),
        ("max_msgs", json!(10), "max_msgs is 10 and must be -1"),
        (
            "max_msg_size",
            json!(10),
            "max_msg_size is 10 and must be -1",
        ),
        (
            "max_bytes",
            json!(-1),
            "max_bytes is -1 and must be a number of bytes",
        ),
        (
            "discard",
            json!("old"),
            "discard is \"old\" and must be \"new\"",
        ),
        (
            "subjects",
            json!(["$KV.test.log", "other"]),
            "subjects is [\"$KV.test.log\",\"other\"] and must be [\"$KV.test.log\"]",
        ),
        (
            "allow_rollup_hdrs",
            json!(true),
            "allow_rollup_hdrs is true and must be false",
        ),
        (
            "allow_atomic",
            json!(true),
            "allow_atomic is true and must be false",
        ),
        ("no_ack", json!(true), "no_ack is true and must be false"),
        (
            "republish",
            json!({ "src": ">", "dest": "copy.>" }),
            "republish is {",
        ),
    ] {
        let was = stranger.config().await[setting].clone();
        let edited = stranger.edit(setting, wrong).await;
        assert!(edited["error"].is_null(), "{setting}: {edited}");
        let error = store.check().await.unwrap_err();
        assert!(
            matches!(error, Error::Settings { .. }),
            "{setting}: {error}"
        );
        for text in [error.to_string(), refusal(options(&nats.url())).await] {
            assert!(text.contains(named), "{setting}: {text}");
            assert!(text.contains("`nats stream edit KV_test --"), "{text}");
        }
        stranger.edit(setting, was).await;
        store.check().await.unwrap();
    }
    // These cannot be taken back.
    let edited = stranger.edit("deny_purge", json!(true)).await;
    assert!(edited["error"].is_null(), "{edited}");
    let text = store.check().await.unwrap_err().to_string();
    assert!(
        text.contains("deny_purge is true and must be false"),
        "{text}"
    );
    assert!(
        text.contains("A server does not change deny_purge of a stream that exists"),
        "{text}"
    );
}

/// Creates the stream otherwise and returns why it is not opened.
async fn opened_on(config: Value) -> String {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let created = stranger.api("STREAM.CREATE.KV_test", &config).await;
    assert!(created["error"].is_null(), "{created}");
    if config["max_msgs_per_subject"] == 1 {
        stranger
            .client
            .request("$KV.test.sys.barrier", "{}".into())
            .await
            .unwrap();
    }
    refusal(options(&nats.url())).await
}

#[tokio::test]
async fn streams_that_cannot_be_a_log_are_refused() {
    let text = opened_on(
        json!({ "name": "KV_test", "subjects": ["$KV.test.>"], "max_msgs_per_subject": 1 }),
    )
    .await;
    assert!(
        text.contains("bucket test was written by an earlier version")
            && text.contains("`onex doctor --upgrade`"),
        "{text}"
    );
    let text = opened_on(
        json!({ "name": "KV_test", "subjects": ["$KV.test.>"], "max_msgs_per_subject": 5 }),
    )
    .await;
    assert!(text.contains("subjects is [\"$KV.test.>\"]"), "{text}");
    let text = opened_on(
        json!({ "name": "KV_test", "subjects": ["$KV.test.log"], "persist_mode": "async" }),
    )
    .await;
    assert!(
        text.contains("persist_mode is \"async\" and must be \"default\""),
        "{text}"
    );
    assert!(text.contains("persist_mode"), "{text}");
    let text =
        opened_on(json!({ "name": "KV_test", "subjects": ["$KV.test.log"], "storage": "memory" }))
            .await;
    assert!(
        text.contains("storage is \"memory\" and must be \"file\""),
        "{text}"
    );
}

#[tokio::test]
async fn server_with_less_room_gives_a_smaller_log() {
    let nats = Nats::start_with("jetstream { store_dir: \"FOLDER/store\", max_file_store: 300MB }");
    let wanted = Options {
        size: Size::or(None, 4 << 30),
        ..options(&nats.url())
    };
    let (_, store) = open(wanted).await.unwrap();
    assert_eq!(store.check().await.unwrap().bytes_max, 128 << 20);
    // The rest is left for what is derived from it: it is not set aside for the log any more.
    let beside = Options {
        bucket: "beside".to_owned(),
        size: Size::or(Some(150 << 20), 0),
        ..options(&nats.url())
    };
    open(beside).await.unwrap();
    let nats = Nats::start_with("jetstream { store_dir: \"FOLDER/store\", max_file_store: 30MB }");
    let text = refusal(options(&nats.url())).await;
    assert!(
        text.contains("no room for stream KV_test of 67108864 bytes"),
        "{text}"
    );
    let nats = Nats::start_with("");
    let text = refusal(options(&nats.url())).await;
    assert!(text.contains("has no JetStream for this account"), "{text}");
}

#[tokio::test]
async fn two_instances_create_one_log() {
    let nats = Nats::start();
    let larger = Options {
        size: Size::or(None, 128 << 20),
        ..options(&nats.url())
    };
    let (mut one, mut two) = tokio::join!(Writer::open(options(&nats.url())), Writer::open(larger));
    tokio::join!(one.write(3), two.write(3));
    assert_eq!(one.store.created(), two.store.created());
}
