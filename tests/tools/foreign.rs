//! Services that nobody here wrote, and that know of no registry: any endpoint of a NATS micro service, and whatever else
//! answers on a subject, is a tool as soon as somebody says so.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::harness::{Caller, Registry, installed, node, root, until};
use async_nats::RequestErrorKind;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const SUBJECT: &str = "office.printer.print";

/// A program that serves, until it is dropped.
struct Service {
    child: Child,
    folder: TempDir,
}

impl Service {
    fn start(command: &mut Command, folder: TempDir) -> Self {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// With nats-py.
    fn python(url: &str) -> Self {
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command
            .arg(clients("micro.py"))
            .args([url, SUBJECT])
            .env("PYTHONPATH", installed("nats-py"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(&mut command, tempfile::tempdir().unwrap())
    }

    /// With nats.js.
    fn javascript(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A module is looked for beside the file that wants it.
        let script = folder.path().join("micro.mjs");
        std::fs::copy(clients("micro-js/micro.mjs"), &script).unwrap();
        let modules = folder.path().join("node_modules");
        std::os::unix::fs::symlink(installed("micro-js/node_modules"), modules).unwrap();
        let mut command = Command::new("node");
        command.arg(script).args([url, SUBJECT]);
        Self::start(&mut command, folder)
    }

    /// `nats reply`, with these words.
    fn reply(url: &str, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(installed("bin").join("nats"));
        // No context, no history: nothing of the user's.
        command
            .args(["--server", url, "reply", SUBJECT])
            .args(words)
            .env_clear()
            .env("HOME", folder.path());
        Self::start(&mut command, folder)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            eprintln!("--- the service said:\n{}\n---", log.unwrap_or_default());
        }
    }
}

fn clients(file: &str) -> PathBuf {
    let root = root();
    root.join("tests/clients").join(file)
}

/// A registry that was told of the printer.
async fn announced() -> (Registry, Caller) {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let tool = json!({
        "name": "print", "version": "1.0.0", "subject": SUBJECT,
        "input_schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
        "output_schema": {"type": "object", "required": ["printed"]},
    });
    let body = node(Uuid::new_v4(), "printer", json!({"tools": [tool]}));
    caller.get("node.register", body).await;
    (registry, caller)
}

fn print(text: &str) -> Value {
    json!({
        "tool_name": "print", "arguments": {"text": text}, "timeout_ms": 60_000, "correlation_id": "order-7",
    })
}

/// Waits until somebody listens there, or nobody does.
async fn listens(caller: &Caller, somebody: bool) {
    until("who listens", async || {
        let asked = caller.client.request(SUBJECT, "{\"text\":\"\"}".into());
        let there = match asked.await {
            Ok(_) => true,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => false,
            Err(_) => return None,
        };
        (there == somebody).then_some(())
    })
    .await;
}

/// It is gone, and that is said at once.
async fn goes_away(caller: &Caller, service: Service) {
    drop(service);
    listens(caller, false).await;
    let refused = caller
        .refused("tool.invoke", print("more"), ErrorCode::ProviderNotFound)
        .await;
    let candidate = &refused.detail("candidates")[0];
    assert_eq!(
        (&candidate["node_id"], &candidate["reason"]),
        (&json!("printer"), &json!("no_responders"))
    );
    assert!(refused.retryable());
}

/// A micro service answers, has errors of its own, breaks, and goes away.
async fn micro(start: fn(&str) -> Service, broken: &str) {
    let (registry, caller) = announced().await;
    let service = start(registry.url());
    listens(&caller, true).await;
    let reply = caller.get("tool.invoke", print("hello")).await;
    assert_eq!(
        reply["result"],
        json!({"printed": "hello", "order": "order-7"})
    );
    assert_eq!(reply["provider_node_id"], "printer");
    let no_text = json!({"tool_name": "print", "arguments": {}});
    caller
        .refused("tool.invoke", no_text, ErrorCode::InvalidArguments)
        .await;

    for (text, code, message, body) in [
        // The number, where the text is one for people.
        ("", "422", "nothing to print", Value::Null),
        ("long", "OUT_OF_PAPER", "OUT_OF_PAPER", json!("tray 2")),
        ("burn", "500", broken, Value::Null),
    ] {
        let refused = caller
            .refused("tool.invoke", print(text), ErrorCode::ToolError)
            .await;
        let said = |detail: &str| refused.detail(detail).clone();
        assert_eq!(said("provider_code"), code);
        assert_eq!(said("provider_message"), message);
        assert_eq!(said("provider_body"), body);
        assert_eq!(said("executed"), true);
        assert!(!refused.retryable());
    }
    goes_away(&caller, service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_nats_py_is_a_tool() {
    micro(Service::python, "RuntimeError('fire in tray 1')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_nats_js_is_a_tool() {
    micro(Service::javascript, "fire in tray 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_reply_is_a_tool() {
    let (registry, caller) = announced().await;
    let service = Service::reply(registry.url(), &["{\"printed\": {{Request}}}"]);
    listens(&caller, true).await;
    let reply = caller.get("tool.invoke", print("hello")).await;
    assert_eq!(reply["result"], json!({"printed": {"text": "hello"}}));
    goes_away(&caller, service).await;

    let error = [
        "-H",
        "Nats-Service-Error-Code:422",
        "-H",
        "Nats-Service-Error:out of paper",
        "tray 2",
    ];
    let service = Service::reply(registry.url(), &error);
    listens(&caller, true).await;
    let refused = caller
        .refused("tool.invoke", print("hello"), ErrorCode::ToolError)
        .await;
    assert_eq!(refused.detail("provider_code"), "422");
    assert_eq!(refused.detail("provider_message"), "out of paper");
    assert_eq!(refused.detail("provider_body"), "tray 2");
    drop(service);

    // What is no JSON is no result.
    listens(&caller, false).await;
    let service = Service::reply(registry.url(), &["printed"]);
    listens(&caller, true).await;
    let refused = caller
        .refused("tool.invoke", print("hello"), ErrorCode::InvalidResult)
        .await;
    assert_eq!(refused.detail("executed"), true);
    goes_away(&caller, service).await;
}
