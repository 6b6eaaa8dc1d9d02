//! What a registry logs of the requests that it answers.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Caller, Nats, Provider, Registry, lease_request, node, until};

/// What docs/architecture.md says.
const LINES_PER_SECOND_MAX: usize = 20;

/// The lines of its log, each as JSON.
fn lines(registry: &Registry) -> Vec<Value> {
    let said = registry.said();
    let lines = said.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    let found = lines
        .iter()
        .filter(|line| line["fields"]["message"] == message);
    found.collect()
}

async fn refused(caller: &Caller, correlation_id: &str) {
    let headers = [("Onex-Correlation-Id", correlation_id)];
    let body = json!({"requester_id": Uuid::nil(), "lease_id": Uuid::nil()}).to_string();
    let refused = caller
        .raw("port.release", &headers, body)
        .await
        .unwrap_err();
    assert_eq!(refused.error["code"], "LEASE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_logged_once_with_its_correlation_id() {
    let registry = Registry::start(&["--log-json", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    refused(&caller, "order-77").await;
    caller
        .get("port.lease", lease_request(Uuid::new_v4(), json!({})))
        .await;
    registry.line("order-77");
    let lines = lines(&registry);
    let refusals = of(&lines, "refused");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let line = refusals[0];
    assert_eq!(line["level"], "INFO");
    let fields = &line["fields"];
    assert_eq!(fields["endpoint"], "port.release");
    assert_eq!(fields["code"], "LEASE_NOT_FOUND");
    assert_eq!(fields["correlation_id"], "order-77");
    assert!(fields["ms"].is_u64() && fields["why"].is_string(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_summed_up() {
    const FLOOD: usize = 400;
    let registry = Registry::start(&["--log-json"]);
    let caller = Caller::of(&registry).await;
    stream::iter(0..FLOOD)
        .for_each_concurrent(64, |number| {
            let caller = &caller;
            async move { refused(caller, &format!("flood-{number}")).await }
        })
        .await;
    let counted = |lines: &[Value]| -> usize {
        let sums = lines
            .iter()
            .filter(|line| line["fields"]["kind"] == "refused requests");
        let sums = sums.map(|line| line["fields"]["count"].as_u64().unwrap());
        usize::try_from(sums.sum::<u64>()).unwrap()
    };
    let lines = until("all refusals are logged or counted", || async {
        let lines = lines(&registry);
        (of(&lines, "refused").len() + counted(&lines) == FLOOD).then_some(lines)
    })
    .await;
    let second = |line: &Value| line["timestamp"].as_str().unwrap()[..19].to_owned();
    let refusals = of(&lines, "refused");
    for line in &refusals {
        let same = refusals
            .iter()
            .filter(|other| second(other) == second(line))
            .count();
        // A second of the clock may have parts of two of the registry's.
        assert!(same <= 2 * LINES_PER_SECOND_MAX, "{same} lines in a second");
    }
    assert!(counted(&lines) > 0, "{lines:?}");
}

/// However many callers there are, and whatever is logged of each.
#[tokio::test(flavor = "multi_thread")]
async fn lines_about_requests_are_bounded_for_all_callers_together() {
    const CALLERS: usize = 120;
    const EACH: usize = 6;
    let registry = Registry::start(&["--log-json", "--no-probe"]);
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(Caller::of(&registry).await);
    }
    stream::iter(callers.iter().enumerate())
        .for_each_concurrent(CALLERS, |(at, caller)| async move {
            for number in 0..EACH {
                refused(caller, &format!("caller-{at}-{number}")).await;
            }
        })
        .await;
    let counted = |lines: &[Value]| -> usize {
        let sums = lines
            .iter()
            .filter(|line| line["fields"]["kind"] == "refused requests");
        let sums = sums.map(|line| line["fields"]["count"].as_u64().unwrap());
        usize::try_from(sums.sum::<u64>()).unwrap()
    };
    let lines = until("all refusals are logged or counted", || async {
        let lines = lines(&registry);
        (of(&lines, "refused").len() + counted(&lines) == CALLERS * EACH).then_some(lines)
    })
    .await;
    let at = |line: &Value| {
        line["timestamp"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
    };
    let times: Vec<_> = of(&lines, "refused")
        .into_iter()
        .map(|line| at(line).unwrap())
        .collect();
    for (number, first) in times.iter().enumerate() {
        // In any second, wherever it begins; the line is written a moment after it was counted.
        let second = *first + Duration::from_millis(900);
        let same = times[number..]
            .iter()
            .filter(|time| **time < second)
            .count();
        assert!(same <= LINES_PER_SECOND_MAX, "{same} lines in a second");
    }
}

/// Which field is wrong stands there as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_logged_with_the_field_that_is_wrong() {
    let registry = Registry::start(&["--log-json", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let wrong = lease_request(Uuid::new_v4(), json!({"ttl": "long"})).to_string();
    let headers = [("Onex-Correlation-Id", "wrong-field")];
    caller.raw("port.lease", &headers, wrong).await.unwrap_err();
    let headers = [
        ("Onex-Correlation-Id", "wrong-header"),
        ("Onex-Timeout-Ms", "soon"),
    ];
    let right = lease_request(Uuid::new_v4(), json!({})).to_string();
    caller.raw("port.lease", &headers, right).await.unwrap_err();
    registry.line("wrong-header");
    let lines = lines(&registry);
    let refusals = of(&lines, "refused");
    assert_eq!(refusals[0]["fields"]["pointer"], "/ttl");
    assert_eq!(refusals[1]["fields"]["header"], "Onex-Timeout-Ms");
}

/// What others do is logged while one caller is refused all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_caller_does_not_hide_the_refusals_of_others() {
    let registry = Registry::start(&["--log-json"]);
    let (noisy, other) = (Caller::of(&registry).await, Caller::of(&registry).await);
    let noise = stream::iter(0..600).for_each_concurrent(64, |number| {
        let noisy = &noisy;
        async move { refused(noisy, &format!("flood-{number}")).await }
    });
    let others = async {
        until("some are not logged any more", || async {
            registry.said().contains("flood").then_some(())
        })
        .await;
        for number in 0..2 {
            refused(&other, &format!("other-{number}")).await;
        }
    };
    tokio::join!(noise, others);
    registry.line("other-1");
    assert!(registry.said().contains("other-0"));
}

/// A call takes as long as the tool does; what of that is the registry's own is told apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_is_logged_with_the_share_of_its_provider() {
    let registry = Registry::start(&["--log-json", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let _slow = Provider::serve(registry.url(), "work.a", |got| async move {
        // Longer than what is slow.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        got.answer(&json!("done")).await;
    })
    .await;
    let tool = json!({"name": "work", "version": "1.0.0", "subject": "work.a"});
    let body = node(Uuid::new_v4(), "a", json!({"tools": [tool]}));
    caller.get("node.register", body).await;
    let body = json!({"tool_name": "work", "correlation_id": "slow-call"});
    caller.get("tool.invoke", body).await;
    registry.line("slow-call");
    let lines = lines(&registry);
    let slow = of(&lines, "slow");
    let slow: Vec<_> = slow
        .iter()
        .filter(|line| line["fields"]["correlation_id"] == "slow-call")
        .collect();
    assert_eq!(slow.len(), 1, "{lines:?}");
    let fields = &slow[0]["fields"];
    let ms = |name: &str| fields[name].as_u64().unwrap();
    assert_eq!(fields["endpoint"], "tool.invoke");
    assert!(
        ms("provider_ms") >= 1_200 && ms("queued_ms") < 1_000,
        "{fields}"
    );
    assert!(ms("own_ms") <= ms("ms") - ms("provider_ms"), "{fields}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_is_logged_once() {
    let registry = Registry::start(&["--log-json", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    caller
        .get("port.lease", lease_request(Uuid::new_v4(), json!({})))
        .await;
    registry.pause();
    let body = lease_request(Uuid::new_v4(), json!({})).to_string();
    let request = caller.raw("port.lease", &[("Onex-Correlation-Id", "slow-1")], body);
    let resume = async {
        // The request has to wait for longer than a second.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        registry.resume();
    };
    let (leased, ()) = tokio::join!(request, resume);
    leased.unwrap();
    registry.line("slow-1");
    let lines = lines(&registry);
    let slow = of(&lines, "slow");
    assert_eq!(slow.len(), 1, "{lines:?}");
    assert_eq!(slow[0]["fields"]["correlation_id"], "slow-1");
    assert_eq!(slow[0]["fields"]["endpoint"], "port.lease");
    assert!(
        slow[0]["fields"]["ms"].as_u64().unwrap() >= 1_000,
        "{slow:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_alone_is_for_the_registrys_own_messages() {
    let registry = Registry::start(&[]);
    let log = |level: &str, listen: &str| {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_onex"))
            .args([
                "serve",
                "--log-json",
                "--nats",
                registry.url(),
                "--namespace",
                listen,
            ])
            .args(["--ports", "19000-19009"])
            .env("RUST_LOG", level)
            .timeout(Duration::from_secs(4))
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = log("debug", "one");
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_debug = |line: &&Value| line["level"] == "DEBUG";
    let own = |line: &&Value| {
        line["target"]
            .as_str()
            .unwrap()
            .starts_with("onex_registry")
    };
    assert!(
        lines.iter().filter(is_debug).any(|line| own(&line)),
        "{said}"
    );
    let foreign: Vec<_> = lines
        .iter()
        .filter(is_debug)
        .filter(|line| !own(line))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    let odd = log("onex=loud=er", "two");
    assert!(
        odd.contains("RUST_LOG") && odd.contains("logging at info"),
        "{odd}"
    );
}

/// A full disk behind its log, or a reader that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let nats = Nats::start();
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut serve = std::process::Command::new(env!("CARGO_BIN_EXE_onex"));
    serve.args(["serve", "--no-probe", "--nats", &nats.url()]);
    let mut serve = serve.stderr(full.unwrap()).spawn().unwrap();
    let caller = Caller::connect(&nats.url()).await;
    caller.await_answer().await;
    refused(&caller, "order-78").await;
    assert!(serve.try_wait().unwrap().is_none());
    serve.kill().unwrap();
    serve.wait().unwrap();
}
