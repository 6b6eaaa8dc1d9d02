//! Providers that misbehave in every way at once, while registries are killed: nothing is executed twice that must not
//! be, and every call has one outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{Caller, Events, Got, Nats, Provider, Refused, Registry, Reply, until};
use futures::{StreamExt as _, future::join_all};
use onex_core::call::CALL_RESULT_BYTES_MAX;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
const CALLERS: usize = 8;
/// Of each caller.
const CALLS: usize = 20;
const KILLS: usize = 4;
/// After that many kills one node has another process.
const SUPERSEDED_AFTER: usize = 1;
const SUPERSEDED: &str = "superseded";
/// Each behaves as it is called.
const NODES: [&str; 9] = [
    "declining",
    "good",
    "huge",
    "late",
    "silent",
    "slow",
    SUPERSEDED,
    "twice",
    "wrong",
];

async fn behave(how: &str, got: Got) {
    let n = got.arguments["n"].as_u64().unwrap();
    let answer = async |text: &str| got.answer(&json!({"n": n, "text": text})).await;
    match how {
        "declining" => {
            let headers = [
                ("Nats-Service-Error-Code", "503"),
                ("Nats-Service-Error", "BUSY"),
                ("Onex-Executed", "false"),
            ];
            got.answer_bytes(&headers, String::new()).await;
        }
        // By turns more than is kept, and more than can be passed on.
        "huge" if n & 4 == 0 => answer(&"x".repeat(CALL_RESULT_BYTES_MAX)).await,
        "huge" => answer(&"x".repeat(1_048_000)).await,
        "late" => {
            let wait: u64 = got.header("Onex-Timeout-Ms").parse().unwrap();
            // Longer than it may take.
            tokio::time::sleep(Duration::from_millis(wait + 50)).await;
            answer("late").await;
        }
        "silent" => {}
        "slow" | SUPERSEDED => {
            // As long as work takes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer("slow").await;
        }
        "twice" => {
            answer("first").await;
            answer("second").await;
        }
        "wrong" => got.answer(&json!({"n": "none"})).await,
        _ => answer("good").await,
    }
}

/// A provider on that subject, for a node that offers both tools there.
async fn provider(url: &str, how: &'static str, subject: &str) -> Provider {
    Provider::serve(url, subject, move |got| behave(how, got)).await
}

async fn announce(caller: &Caller, node_id: &str, subject: &str, epoch: u64) {
    let tool = |name: &str, idempotent: bool| {
        json!({
            "name": name, "version": "1.0.0", "subject": subject, "idempotent": idempotent,
            "output_schema": {"required": ["n"], "properties": {"n": {"type": "integer"}}},
        })
    };
    let more =
        json!({"epoch": epoch, "ttl": 600, "tools": [tool("once", false), tool("again", true)]});
    caller.register(Uuid::new_v4(), node_id, more).await;
}

/// One thing to be done; its number is its argument.
struct Call {
    n: u64,
    request_id: Option<Uuid>,
    timeout_ms: u64,
}

impl Call {
    fn new(n: usize) -> Self {
        Self {
            n: n.try_into().unwrap(),
            request_id: (n & 2 == 0).then(Uuid::new_v4),
            // Some wait long enough for a silence to count against the provider.
            timeout_ms: if n.is_multiple_of(5) { 1_200 } else { 600 },
        }
    }

    fn idempotent(&self) -> bool {
        self.n & 1 == 0
    }

    fn body(&self) -> Value {
        let policies = ["round_robin", "least_loaded", "random"];
        json!({
            "tool_name": if self.idempotent() { "again" } else { "once" }, "arguments": {"n": self.n},
            "node_selection_policy": policies[usize::try_from(self.n).unwrap() % policies.len()],
            "timeout_ms": self.timeout_ms, "request_id": self.request_id,
        })
    }
}

type Answer = Result<Value, Refused>;

/// What came of a call for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    code: String,
    execution_id: String,
    provider: String,
    /// As JSON.
    result: String,
}

/// None where the same call may be made anew.
fn outcome(answer: &Answer) -> Option<Outcome> {
    let (code, told, result) = match answer {
        // What is too large to be kept is answered once.
        Ok(reply) if reply["result"].to_string().len() > CALL_RESULT_BYTES_MAX => {
            ("TOO_LARGE", reply, String::new())
        }
        Ok(reply) => ("", reply, reply["result"].to_string()),
        Err(refused) if refused.retryable() => return None,
        Err(refused) => (
            refused.code.as_str(),
            &refused.error["details"],
            String::new(),
        ),
    };
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    Some(Outcome {
        code: code.to_owned(),
        execution_id: text("execution_id"),
        provider: text("provider_node_id"),
        result,
    })
}

/// Everything that was asked and answered.
struct Storm {
    caller: Caller,
    inbox: String,
    /// By where they were to be sent: the inbox, the call's number, and which asking it was.
    answers: Arc<Mutex<BTreeMap<String, Vec<Answer>>>>,
    /// Counted when a registry is gone, and when the next one is there.
    kills: AtomicUsize,
    done: AtomicUsize,
}

impl Storm {
    async fn begin(url: &str) -> Self {
        let caller = Caller::connect(url).await;
        let inbox = caller.client.new_inbox();
        let all = format!("{inbox}.>");
        let mut messages = caller.client.subscribe(all).await.unwrap();
        let answers = Arc::<Mutex<BTreeMap<String, Vec<Answer>>>>::default();
        let come = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let reply = Reply {
                    headers: message.headers.unwrap_or_default(),
                    body: serde_json::from_slice(&message.payload).unwrap(),
                };
                let mut come = come.lock().unwrap();
                let of_it = come.entry(message.subject.to_string()).or_default();
                of_it.push(reply.outcome());
            }
        });
        Self {
            caller,
            inbox,
            answers,
            kills: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        }
    }

    /// The first answer; none only where a registry was killed since.
    async fn ask(&self, call: &Call) -> Option<Answer> {
        let to = format!("{}.{}.{}", self.inbox, call.n, Uuid::new_v4().simple());
        let kills = self.kills.load(Ordering::SeqCst);
        let (subject, body) = (self.caller.subject("tool.invoke"), call.body().to_string());
        let client = &self.caller.client;
        let sent = client.publish_with_reply(subject, to.clone(), body.into());
        sent.await.unwrap();
        let until_then = Instant::now() + Duration::from_millis(call.timeout_ms + 500);
        until("an answer, or a registry to be killed", async || {
            let come = self.answers.lock().unwrap();
            let come = come.get(&to).map(|all| all[0].clone());
            let lost = self.kills.load(Ordering::SeqCst) != kills && Instant::now() > until_then;
            (come.is_some() || lost).then_some(come)
        })
        .await
    }

    /// Asks once, or, with a request id, until there is an outcome.
    async fn make(&self, call: &Call) {
        until("an outcome", async || {
            let answer = self.ask(call).await;
            let over = call.request_id.is_none() || answer.as_ref().and_then(outcome).is_some();
            over.then_some(())
        })
        .await;
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// What was ever answered to each call.
    fn answers(&self) -> BTreeMap<u64, Vec<Answer>> {
        let mut all = BTreeMap::<u64, Vec<Answer>>::new();
        for (to, answers) in &*self.answers.lock().unwrap() {
            assert_eq!(answers.len(), 1, "answered twice: {answers:?}");
            let n = to.rsplit('.').nth(1).unwrap().parse().unwrap();
            all.entry(n).or_default().extend(answers.iter().cloned());
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_one_outcome_whoever_misbehaves() {
    let nats = Nats::start();
    let url = nats.url();
    let mut registries = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let storm = Storm::begin(&url).await;
    let mut providers = Vec::new();
    for node_id in NODES {
        let subject = format!("work.{node_id}");
        providers.push((node_id, provider(&url, node_id, &subject).await));
        announce(&storm.caller, node_id, &subject, 1).await;
    }
    providers.push((SUPERSEDED, provider(&url, "good", "work.new").await));

    let calls: Vec<Call> = (0..CALLERS * CALLS).map(Call::new).collect();
    let one = async |calls: &[Call]| {
        for call in calls {
            match call.request_id {
                // Twice at the same time, and again.
                Some(_) => {
                    tokio::join!(storm.make(call), storm.make(call));
                    storm.ask(call).await;
                }
                None => storm.make(call).await,
            }
        }
    };
    let callers = join_all(calls.chunks(CALLS).map(one));
    let kills = async {
        for round in 0..KILLS {
            until("calls are made", async || {
                let done = storm.done.load(Ordering::SeqCst);
                (done > (round + 1) * calls.len() / (KILLS + 1)).then_some(())
            })
            .await;
            if round == SUPERSEDED_AFTER {
                announce(&storm.caller, SUPERSEDED, "work.new", 2).await;
            }
            let victim = &mut registries[round % 2];
            victim.kill();
            storm.kills.fetch_add(1, Ordering::SeqCst);
            *victim = Registry::on(&nats, &ARGS);
            storm.kills.fetch_add(1, Ordering::SeqCst);
        }
    };
    tokio::join!(callers, kills);
    let named = calls.iter().filter(|call| call.request_id.is_some());
    for answer in join_all(named.map(|call| storm.ask(call))).await {
        assert!(outcome(&answer.unwrap()).is_some(), "it stays so");
    }

    let executed = executed(&providers);
    let answers = storm.answers();
    let mut settled = BTreeMap::new();
    for call in &calls {
        let none = Vec::new();
        let executed = executed.get(&call.n).unwrap_or(&none);
        let once = call.idempotent() || executed.len() <= 1;
        assert!(once, "{} was executed more than once: {executed:?}", call.n);
        let answers = answers.get(&call.n).map_or(&[][..], Vec::as_slice);
        for answer in answers {
            check(call, answer, executed);
        }
        let outcomes: BTreeSet<Outcome> = answers.iter().filter_map(outcome).collect();
        assert!(outcomes.len() <= 1, "{}: {outcomes:#?}", call.n);
        if let Some(request_id) = call.request_id {
            let outcome = outcomes.into_iter().next().unwrap();
            settled.insert(request_id.to_string(), outcome);
        }
    }
    for (node_id, provider) in &providers {
        assert!(provider.count() > 0, "{node_id} was never asked");
    }
    check_events(&storm.caller, &settled).await;
}

/// At whom each call was executed, and as which execution.
fn executed(providers: &[(&str, Provider)]) -> BTreeMap<u64, Vec<(String, String)>> {
    let mut executed = BTreeMap::<u64, Vec<_>>::new();
    for (node_id, provider) in providers {
        // That one does nothing, and says so.
        if *node_id == "declining" {
            continue;
        }
        for got in provider.got() {
            let n = got.arguments["n"].as_u64().unwrap();
            let at = (
                (*node_id).to_owned(),
                got.header("Onex-Execution-Id").to_owned(),
            );
            executed.entry(n).or_default().push(at);
        }
    }
    executed
}

/// What is answered is what was done.
#[track_caller]
fn check(call: &Call, answer: &Answer, executed: &[(String, String)]) {
    let Some(outcome) = outcome(answer) else {
        let Err(refused) = answer else { return };
        let unknown = refused.detail("executed") == "unknown" && call.idempotent();
        let nothing = call.request_id.is_some() || executed.is_empty();
        assert!(unknown || nothing, "{}: {answer:?} {executed:?}", call.n);
        return;
    };
    let at = (outcome.provider.clone(), outcome.execution_id.clone());
    let by = |nodes: &[&str]| executed.contains(&at) && nodes.contains(&at.0.as_str());
    let fits = match outcome.code.as_str() {
        "" => {
            let result: Value = serde_json::from_str(&outcome.result).unwrap();
            assert_eq!(result["n"], call.n);
            assert_ne!(result["text"], "second", "only the first answer counts");
            by(&["good", "late", "slow", SUPERSEDED, "twice"])
        }
        "TOO_LARGE" => by(&["huge"]),
        "INVALID_RESULT" => by(&["wrong"]),
        "TOOL_TIMEOUT" => !call.idempotent(),
        _ => false,
    };
    assert!(fits, "{}: {outcome:?}; {executed:?}", call.n);
}

/// Each execution ends once, and as its callers were told.
async fn check_events(caller: &Caller, settled: &BTreeMap<String, Outcome>) {
    let (begun, ended) = until("every execution to have its end", async || {
        let mut begun = BTreeMap::<String, Vec<Value>>::new();
        let mut ended = BTreeMap::<String, Vec<Value>>::new();
        for event in Events::read(caller).await.0 {
            let to = match event.kind() {
                "tool.invoked" => &mut begun,
                "tool.completed" | "tool.failed" => &mut ended,
                _ => continue,
            };
            let id = event.body["execution_id"].as_str().unwrap().to_owned();
            to.entry(id).or_default().push(event.body);
        }
        let told = settled
            .values()
            .all(|outcome| ended.contains_key(&outcome.execution_id));
        let all = begun.keys().all(|id| ended.contains_key(id));
        (told && all).then_some((begun, ended))
    })
    .await;
    for events in begun.values().chain(ended.values()) {
        assert_eq!(events.len(), 1, "{events:#?}");
    }
    for (id, events) in &ended {
        let end = &events[0];
        let Some(outcome) = end["request_id"].as_str().and_then(|id| settled.get(id)) else {
            continue;
        };
        assert!(
            begun.contains_key(id),
            "it ended and did not begin: {end:#}"
        );
        if outcome.execution_id == *id {
            match outcome.code.as_str() {
                "" => assert_eq!(end["event"], "tool.completed"),
                // Answered once and not kept, or not answered at all.
                "TOO_LARGE" => assert_ne!(end["executed"], "unknown"),
                code => assert_eq!(
                    (&end["event"], &end["code"]),
                    (&json!("tool.failed"), &json!(code))
                ),
            }
        } else {
            assert_eq!(end["event"], "tool.failed", "it was made anew: {end:#}");
        }
    }
}
