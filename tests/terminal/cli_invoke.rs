//! `onex tool invoke` and `onex tool resolve`, against a real registry and providers that do what they like.

use crate::harness::{Caller, Got, PATIENCE, Provider, Ran, Registry, User, node, with};
use serde_json::{Value, json};
use uuid::Uuid;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A registry with a node that adds, and what answers for it.
struct Bus {
    registry: Registry,
    caller: Caller,
    user: User,
}

fn add(version: &str) -> Value {
    json!({
        "name": "add", "version": version,
        "input_schema": {
            "type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
        "output_schema": {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}},
    })
}

fn subject(node_id: &str) -> String {
    format!("onex.node.v1.tool.add.{node_id}")
}

impl Bus {
    async fn start() -> Self {
        let registry = Registry::start(&["--host", "here", "--no-probe"]);
        let caller = Caller::of(&registry).await;
        let user = User::of(&registry);
        Self {
            registry,
            caller,
            user,
        }
    }

    async fn announce(&self, node_id: &str, tool: Value) {
        let body = node(Uuid::new_v4(), node_id, json!({"tools": [tool]}));
        self.caller.get("node.register", body).await;
    }

    /// A node that adds.
    async fn adder(&self, node_id: &str, version: &str) -> Provider {
        let sum = |arguments: &Value| {
            let number = |name: &str| arguments[name].as_i64().unwrap();
            json!({"sum": number("a") + number("b")})
        };
        let provider = Provider::answering(self.registry.url(), &subject(node_id), sum).await;
        self.announce(node_id, add(version)).await;
        provider
    }

    /// What answers every call of `calc` like this.
    async fn answering(&self, headers: &'static [(&str, &str)], body: &str) -> Provider {
        let body = body.to_owned();
        Provider::serve(self.registry.url(), &subject("calc"), move |got: Got| {
            let body = body.clone();
            async move { got.answer_bytes(headers, body).await }
        })
        .await
    }

    /// The words of a command, in which arguments are one whatever stands in them.
    async fn run(&self, words: &[&str]) -> Ran {
        self.piped(words, "").await
    }

    async fn piped(&self, words: &[&str], stdin: &str) -> Ran {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_onex"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.user.home.path())
            .env("NATS_URL", self.registry.url())
            .write_stdin(stdin)
            .timeout(PATIENCE);
        let line = words.join(" ");
        // It must not keep what serves here from running.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        Ran {
            line,
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A text with what differs from run to run taken out.
fn steady(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let (word, end) = word.split_at(word.trim_end_matches([':', '\n']).len());
        let word = if word.parse::<Uuid>().is_ok() {
            "UUID"
        } else {
            word
        };
        format!("{word}{end}")
    });
    words.collect::<Vec<_>>().join(" ")
}

const SUM: &str = r#"{"a": 1, "b": 2}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_result_comes_alone_and_more_where_it_is_asked_for() {
    let bus = Bus::start().await;
    let calc = bus.adder("calc", "1.2.0").await;
    let invoke = ["tool", "invoke", "add", "--args", SUM];
    let ran = bus.run(&invoke).await.exits(0);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("{\"sum\":3}\n", "")
    );

    let more = [
        "--verbose",
        "--correlation-id",
        "order-17",
        "--traceparent",
        TRACE,
        "--timeout",
        "30s",
    ];
    let ran = bus.run(&[&invoke[..], &more].concat()).await.exits(0);
    assert_eq!(ran.stdout, "{\"sum\":3}\n");
    for told in [
        "add 1.2.0",
        "calc",
        "Attempts     1\n",
        "order-17",
        "c2:",
        "Duration",
    ] {
        assert!(ran.stderr.contains(told), "no {told:?} in\n{}", ran.stderr);
    }
    let got = &calc.got()[1];
    assert!(
        ran.stderr.contains(got.header("Onex-Execution-Id")),
        "{}",
        ran.stderr
    );
    assert_eq!(got.header("traceparent"), TRACE);
    assert_eq!(got.header("Onex-Correlation-Id"), "order-17");
    let left: u64 = got.header("Onex-Timeout-Ms").parse().unwrap();
    assert!(
        (20_000..=30_000).contains(&left),
        "all of --timeout is the tool's: {left}"
    );

    let whole = bus
        .run(&[&invoke[..], &["--verbose", "-o", "json"]].concat())
        .await
        .json();
    assert_eq!(
        (&whole["status"], &whole["result"]),
        (&json!("success"), &json!({"sum": 3}))
    );
    assert_eq!(whole["provider_node_id"], "calc");
    let name = bus
        .run(&[&invoke[..], &["-o", "name"]].concat())
        .await
        .exits(0);
    assert_eq!(name.stdout, "calc\n");
    let yaml = bus
        .run(&[&invoke[..], &["-o", "yaml"]].concat())
        .await
        .exits(0);
    assert!(
        yaml.stdout.contains("provider_node_id: calc\n"),
        "{}",
        yaml.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_come_from_the_command_line_a_file_or_stdin() {
    let bus = Bus::start().await;
    let calc = bus.adder("calc", "1.2.0").await;
    let path = bus.user.path("sum.json");
    std::fs::write(&path, SUM).unwrap();
    let at_path = format!("@{}", path.display());
    for (args, stdin) in [(SUM, ""), (at_path.as_str(), ""), ("-", SUM)] {
        let ran = bus
            .piped(&["tool", "invoke", "add", "--args", args], stdin)
            .await;
        assert_eq!(ran.exits(0).stdout, "{\"sum\":3}\n", "{args}");
    }
    assert_eq!(calc.count(), 3);
    // None are an empty object.
    bus.announce(
        "clock",
        json!({"name": "now", "version": "1.0.0", "subject": "now"}),
    )
    .await;
    let _now = Provider::answering(bus.registry.url(), "now", Value::clone).await;
    assert_eq!(
        bus.run(&["tool", "invoke", "now"]).await.exits(0).stdout,
        "{}\n"
    );

    // As editors on Windows write it.
    let marked = "\u{feff}{\"a\": 1,\r\n\"b\": 2}\r\n";
    let file = bus.user.path("marked.json");
    std::fs::write(&file, marked).unwrap();
    for (args, stdin) in [
        (format!("@{}", file.display()), ""),
        ("-".to_owned(), marked),
        (marked.to_owned(), ""),
    ] {
        let ran = bus
            .piped(&["tool", "invoke", "add", "--args", &args], stdin)
            .await;
        assert_eq!(ran.exits(0).stdout, "{\"sum\":3}\n");
    }
    for (args, said) in [
        ("@nowhere.json", "--args @nowhere.json: No such file"),
        ("@-", "--args - reads stdin"),
        ("[1]", "onex: --args must be a JSON object"),
        ("{a: 1}", "--args:1:2: key must be a string"),
        ("", "--args:1:1: EOF while parsing a value"),
    ] {
        let ran = bus
            .run(&["tool", "invoke", "add", "--args", args])
            .await
            .exits(2);
        assert!(ran.stderr.contains(said), "{args}: {}", ran.stderr);
    }
    let lines = "{\n  \"a\": 1,\n  \"b\": two\n}\n";
    let ran = bus
        .piped(&["tool", "invoke", "add", "--args", "-"], lines)
        .await
        .exits(2);
    let shown = "\
onex: --args - is not JSON
      stdin:3:9: expected ident
            \"b\": two
                  ^
";
    assert!(ran.stderr.starts_with(shown), "{}", ran.stderr);
    let error = bus
        .piped(
            &["tool", "invoke", "add", "--args", "-", "-o", "json"],
            lines,
        )
        .await
        .json_error(2);
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!("USAGE"), &json!({"line": 3, "column": 9}))
    );
    assert_eq!(calc.count(), 6, "nothing was sent");
}

/// Once for people, with the flag and the place; and so does the message for programs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_args_is_said_once() {
    let bus = Bus::start().await;
    let file = bus.user.path("bad.json");
    std::fs::write(&file, "\u{feff}{\"a\": tow}").unwrap();
    let at_file = format!("@{}", file.display());
    for (args, flag, place, why) in [
        (
            "no json",
            "--args is not JSON",
            "--args:1:2: ",
            "expected ident",
        ),
        (
            "[1]",
            "--args must be a JSON object, by the names of the arguments",
            "--args:1:1: ",
            "this is a list",
        ),
        (
            "null",
            "--args must be a JSON object, by the names of the arguments",
            "--args:1:1: ",
            "this is null",
        ),
        (
            r#"{"a": 1, "a": 2}"#,
            "--args cannot be sent as it is",
            "--args:1:10: ",
            "twice",
        ),
        (
            &at_file,
            &format!("--args {at_file} is not JSON"),
            "bad.json:1:8: ",
            "expected",
        ),
    ] {
        let words = ["tool", "invoke", "add", "--args", args];
        let said = bus.run(&words).await.exits(2).stderr;
        assert!(said.starts_with(&format!("onex: {flag}\n")), "{said}");
        assert!(said.contains(place), "{said}");
        assert_eq!(said.matches(why).count(), 1, "{said}");
        let words = [&words[..], &["-o", "json"]].concat();
        let error = bus.run(&words).await.json_error(2);
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{flag}: ")) && message.contains(why),
            "{error}"
        );
        let [.., line, column, _] = place.split(':').collect::<Vec<_>>()[..] else {
            panic!("{place}");
        };
        let wanted =
            json!({"line": line.parse::<u64>().unwrap(), "column": column.parse::<u64>().unwrap()});
        assert_eq!(error["details"], wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_pointed_out_where_they_lie() {
    let bus = Bus::start().await;
    let calc = bus.adder("calc", "1.2.0").await;
    let wrong = "{\n  \"a\": \"one\",\n  \"c\": 1\n}";
    let path = bus.user.path("sum.json");
    std::fs::write(&path, wrong).unwrap();
    let at_path = format!("@{}", path.display());
    let ran = bus
        .run(&["tool", "invoke", "add", "--args", &at_path])
        .await
        .exits(1);
    let file = path.display();
    let shown = format!(
        "      {file}:2:8: /a \"one\" is not of type \"integer\"\n            \"a\": \"one\",\n                 ^^^^^\n"
    );
    assert!(ran.stderr.contains(&shown), "{}", ran.stderr);
    let first = ran.stderr.lines().next().unwrap();
    assert_eq!(
        first,
        "onex: the arguments are not as the contract of add 1.2.0 says"
    );
    for said in [
        format!("{file}:1:1: \"b\" is a required property\n          {{\n          ^\n"),
        format!(
            "{file}:3:3: /c is not a property that is allowed here\n            \"c\": 1\n            ^^^\n"
        ),
        "`onex tool describe NAME` shows what the tool takes".to_owned(),
    ] {
        assert!(ran.stderr.contains(&said), "no {said:?} in\n{}", ran.stderr);
    }
    let words = ["tool", "invoke", "add", "--args", wrong, "-o", "json"];
    let error = bus.run(&words).await.json_error(1);
    assert_eq!(error["code"], "INVALID_ARGUMENTS");
    assert_eq!(error["details"]["violations"].as_array().unwrap().len(), 3);
    assert_eq!(calc.count(), 0);
    // The name that was probably meant.
    let ran = bus.run(&["tool", "invoke", "ad"]).await.exits(1);
    assert!(ran.stderr.contains("did you mean add?"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_within_unions_are_pointed_out_as_well() {
    let bus = Bus::start().await;
    let figure = |kind: &str, size: &str| {
        json!({
            "type": "object", "required": ["kind", size], "additionalProperties": false,
            "properties": {"kind": {"const": kind}, size: {"type": "number"}},
        })
    };
    let figures = [figure("circle", "radius"), figure("square", "side")];
    let more = json!({"anyOf": [{"type": "array", "items": {"oneOf": figures}}, {"type": "null"}]});
    let schema = json!({"properties": {"figure": {"oneOf": figures}, "more": more}});
    bus.announce(
        "canvas",
        json!({"name": "draw", "version": "1.0.0", "input_schema": schema}),
    )
    .await;
    let wrong = r#"{"figure": {"kind": "circle",
  "radius": "x",
  "side": 1},
 "more": [{"kind": "cube"}]}"#;
    let ran = bus
        .run(&["tool", "invoke", "draw", "--args", wrong])
        .await
        .exits(1);
    let kinds = "\"cube\" is not one of \"circle\", \"square\"";
    for (line, column, marks, said) in [
        (2, 13, 3, "/figure/radius \"x\" is not of type \"number\""),
        (
            3,
            3,
            6,
            "/figure/side is not a property that is allowed here",
        ),
        (4, 20, 6, &format!("/more/0/kind {kinds}")),
    ] {
        let text = wrong.lines().nth(line - 1).unwrap();
        let place = " ".repeat(column - 1) + &"^".repeat(marks);
        let place =
            format!("--args:{line}:{column}: {said}\n          {text}\n          {place}\n");
        assert!(ran.stderr.contains(&place), "no\n{place}in\n{}", ran.stderr);
    }
}

/// How a provider says that it failed.
const FAILED: &[(&str, &str)] = &[
    ("Nats-Service-Error-Code", "422"),
    ("Nats-Service-Error", "TOO_MUCH"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_what_the_message_says_is_not_shown() {
    let bus = Bus::start().await;
    bus.announce("calc", add("1.0.0")).await;
    let invoke = ["tool", "invoke", "add", "--args", SUM];
    for body in [
        json!({"error": {"code": "FULL", "message": "the tray is full", "retryable": false}})
            .to_string(),
        json!({"error": {"code": "FULL", "message": "the tray is full"}}).to_string(),
        json!({"error": "TOO_MUCH"}).to_string(),
        json!("TOO_MUCH").to_string(),
        "TOO_MUCH".to_owned(),
    ] {
        let failing = bus.answering(FAILED, &body).await;
        let ran = bus.run(&invoke).await.exits(1);
        let said = steady(&ran.stderr);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{body}: {said}");
        assert!(
            lines[1].ends_with("execution UUID: it was executed"),
            "{said}"
        );
        // Programs have it in the message for people and in a member of its own.
        let ran = bus.run(&[&invoke[..], &["-o", "json"]].concat()).await;
        let error = ran.json_error(1);
        let own = error["details"]["provider_message"].as_str().unwrap();
        let is_code = error["details"]["provider_code"] == own;
        let times = error.to_string().matches(own).count();
        assert_eq!(times, 2 + usize::from(is_code), "{error:#}");
        drop(failing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_is_told_with_what_was_done() {
    let bus = Bus::start().await;
    bus.announce("calc", add("1.0.0")).await;
    let invoke = ["tool", "invoke", "add", "--args", SUM];
    let ran = bus.run(&invoke).await.exits(75);
    let shown = "\
onex: nobody who offers add can be asked now
      calc 1.0.0: nobody listens on its subject
";
    assert_eq!(ran.stderr, shown);
    let pinned = [&invoke[..], &["--provider", "calc"]].concat();
    let ran = bus.run(&pinned).await.exits(75);
    let shown = "\
onex: node calc cannot be asked for add now
      calc 1.0.0: nobody listens on its subject
";
    assert_eq!(ran.stderr, shown);

    let body =
        json!({"error": {"code": "TOO_MUCH", "message": "3 is too much", "details": {"max": 2}}});
    let failing = bus.answering(FAILED, &body.to_string()).await;
    let ran = bus.run(&invoke).await.exits(1);
    let said = steady(&ran.stderr);
    let shown = "\
onex: tool add of node calc answered with an error of its own, TOO_MUCH: 3 is too much
      execution UUID: it was executed
      {
        \"error\": {
          \"details\": {
            \"max\": 2
          }
        }
      }
";
    assert_eq!(said, shown);
    drop(failing);

    let body = json!({"error": {"code": "LATER", "message": "come back", "retryable": true}});
    let busy = bus.answering(FAILED, &body.to_string()).await;
    let ran = bus.run(&invoke).await.exits(75);
    assert_eq!(ran.stderr.matches("come back").count(), 1, "{}", ran.stderr);
    drop(busy);

    let wrong = bus.answering(&[], "{\"sum\": \"3\"}").await;
    let ran = bus.run(&invoke).await.exits(1);
    let shown = "\
onex: the result of tool add of node calc is not as its contract says
      the result at /sum \"3\" is not of type \"integer\"
      execution UUID: it was executed
      it answered {\"sum\":\"3\"}
";
    assert_eq!(steady(&ran.stderr), shown);
    drop(wrong);

    // What is no JSON is shown as it came, but for what a terminal would obey.
    let text = "no \"sum\" \\ \u{1b}[2Jtoday\nnor tomorrow";
    let wrong = bus.answering(&[], text).await;
    let ran = bus.run(&invoke).await.exits(1);
    let shown = "      it answered no \"sum\" \\ \\u{1b}[2Jtoday\n      nor tomorrow\n";
    assert!(ran.stderr.contains(shown), "{}", ran.stderr);
    drop(wrong);

    // Where several were asked each is named.
    let once = json!({"name": "twice", "version": "1.0.0", "idempotent": true, "output_schema": {"type": "string"}});
    for (node_id, subject) in [("a", "twice.a"), ("b", "twice.b")] {
        let tool = with(once.clone(), json!({"subject": subject}));
        bus.announce(node_id, tool).await;
    }
    let silent = Provider::serve(bus.registry.url(), "twice.a", |_| async {}).await;
    let wrong = Provider::answering(bus.registry.url(), "twice.b", |_| json!(2)).await;
    let brief = ["--policy", "first", "--attempt-timeout", "300ms"];
    let ran = bus
        .run(&[&["tool", "invoke", "twice"], &brief[..]].concat())
        .await
        .exits(1);
    let shown = "\
onex: the result of tool twice of node b is not as its contract says
      the result 2 is not of type \"string\"
      execution UUID: it was executed
      asked a: silent
      asked b: invalid result
";
    assert_eq!(steady(&ran.stderr), shown);
    drop((silent, wrong));

    let silent = Provider::serve(bus.registry.url(), &subject("calc"), |_| async {}).await;
    let ran = bus
        .run(&[&invoke[..], &["--timeout", "300ms"]].concat())
        .await
        .exits(1);
    for said in [
        "it may have been executed",
        "find out whether it was before you call it again; wait longer with --timeout",
    ] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let again = ran.stderr.matches("executed").count();
    assert_eq!(again, 1, "{}", ran.stderr);
    drop(silent);

    let other = [&invoke[..], &["--contract-hash", "c2:0"]].concat();
    let ran = bus.run(&other).await.exits(1);
    assert!(
        ran.stderr.contains("      offered: 1.0.0 c2:"),
        "{}",
        ran.stderr
    );
}

/// What ended the call is what would let it last longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_hint_after_a_timeout_names_the_flag_that_ended_the_call() {
    let bus = Bus::start().await;
    bus.announce("calc", add("1.0.0")).await;
    let invoke = ["tool", "invoke", "add", "--args", SUM];
    let silent = Provider::serve(bus.registry.url(), &subject("calc"), |_| async {}).await;
    let brief = [&invoke[..], &["--attempt-timeout", "300ms"]].concat();
    let ran = bus.run(&brief).await.exits(1);
    let said = "wait longer with --attempt-timeout\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let ran = bus.run(&[&brief[..], &["-o", "json"]].concat()).await;
    let hint = ran.json_error(1)["hint"].as_str().unwrap().to_owned();
    assert!(hint.ends_with("--attempt-timeout"), "{hint}");
    drop(silent);
    let brief =
        json!({"name": "brief", "version": "1.0.0", "subject": "brief", "attempt_timeout_ms": 200});
    bus.announce("brief", brief).await;
    let silent = Provider::serve(bus.registry.url(), "brief", |_| async {}).await;
    let ran = bus.run(&["tool", "invoke", "brief"]).await.exits(1);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_plan_and_who_is_out() {
    let bus = Bus::start().await;
    let calc = bus.adder("calc", "1.2.0").await;
    bus.announce("old", add("1.0.0")).await;
    let dry = ["tool", "invoke", "add", "--dry-run", "--args", SUM];
    let ran = bus.run(&dry).await.exits(0);
    let text: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| !line.contains("Contract"))
        .collect();
    let shown = "\
PLAN
  Tool        add 1.2.0
  Provider    calc
  Subject     onex.node.v1.tool.add.calc
  Policy      least_loaded
  Timeout     4s
  Idempotent  no: another node is asked only where one did not get the request, or says that it did not begin

CANDIDATES (2)
  NODE  VERSION  STATE   UNDER WAY  RECENT  TRUST      REASON
  calc  1.2.0    chosen  0          -       untrusted  -
  old   1.0.0    out     0          -       untrusted  a newer version is offered";
    assert_eq!(text.join("\n"), shown);

    let ran = bus
        .run(&[&dry[..4], &["--args", r#"{"a": 1.5, "b": 2}"#]].concat())
        .await
        .exits(1);
    let shown = "  The call would be refused: INVALID_ARGUMENTS\n";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    let shown = "\
WRONG ARGUMENTS (1)
  --args:1:7: /a 1.5 is not of type \"integer\"
      {\"a\": 1.5, \"b\": 2}
            ^^^
";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    let brief = [&dry[..], &["--attempt-timeout", "500ms"]].concat();
    let ran = bus.run(&brief).await.exits(0);
    let shown = "  Attempt     500ms for each node\n";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    let brief = [&dry[..], &["--attempt-timeout", "9ms"]].concat();
    let ran = bus.run(&brief).await.exits(2);
    assert!(ran.stderr.contains("must be 10ms to 5m"), "{}", ran.stderr);
    // Of a tool that nobody offers there is nothing more to say.
    let ran = bus.run(&["tool", "invoke", "nothing", "--dry-run"]).await;
    let shown = "\
PLAN
  The call would be refused: TOOL_NOT_FOUND
  no live node offers a tool by the name nothing
";
    assert_eq!(ran.exits(1).stdout, shown);
    // Nobody listens for the one that is left.
    let unheard = [&dry[..], &["--provider", "old", "--tool-version", "=1.0.0"]].concat();
    let ran = bus.run(&unheard).await.exits(75);
    let shown = "nobody listens on its subject";
    assert_eq!(ran.stdout.matches(shown).count(), 1, "{}", ran.stdout);
    // As the call itself would end.
    let pinned = [&dry[..], &["--provider", "nobody", "-o", "json"]].concat();
    let ran = bus.run(&pinned).await.exits(75);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["refusal"], "PROVIDER_NOT_FOUND");
    assert_eq!(said["candidates"][0]["reason"], "not_pinned");
    assert!(
        said["refusal_message"]
            .as_str()
            .unwrap()
            .contains("node nobody ")
    );
    let ran = bus.run(&pinned[..pinned.len() - 2]).await.exits(75);
    assert!(
        ran.stdout.contains("  node nobody does not offer add"),
        "{}",
        ran.stdout
    );
    let name = bus
        .run(&[&dry[..], &["-o", "name"]].concat())
        .await
        .exits(0);
    assert_eq!(name.stdout, "calc\n");
    assert_eq!(calc.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_to_ask_is_said_by_flags_and_where_to_go_is_resolved() {
    let bus = Bus::start().await;
    let all = [
        bus.adder("a", "1.0.0").await,
        bus.adder("b", "1.2.0").await,
        bus.adder("c", "1.2.0").await,
    ];
    let asked = async |flags: &[&str]| {
        let words = [
            &["tool", "invoke", "add", "--args", SUM, "-o", "name"],
            flags,
        ]
        .concat();
        bus.run(&words).await.exits(0).stdout.trim().to_owned()
    };
    assert_eq!(asked(&["--policy", "first"]).await, "b");
    assert_eq!(asked(&["--tool-version", "=1.0.0"]).await, "a");
    assert_eq!(asked(&["--provider", "c"]).await, "c");
    let turns = [
        asked(&["--policy", "round_robin"]).await,
        asked(&["--policy", "round_robin"]).await,
    ];
    assert_ne!(turns[0], turns[1]);
    let trusted = ["tool", "invoke", "add", "--args", SUM, "--trusted-only"];
    let ran = bus.run(&trusted).await.exits(75);
    assert!(
        ran.stderr.contains("b 1.2.0: it is not trusted"),
        "{}",
        ran.stderr
    );
    let ran = bus
        .run(&["tool", "invoke", "add", "--policy", "fastest"])
        .await
        .exits(2);
    assert!(ran.stderr.contains("\"least_loaded\""), "{}", ran.stderr);

    let resolve = [
        "tool",
        "resolve",
        "add",
        "--tool-version",
        "^1.2",
        "--policy",
        "first",
    ];
    let ran = bus.run(&resolve).await.exits(0);
    for shown in [
        "TOOL add 1.2.0\n  add(a: integer, b: integer) -> {sum: integer}\n",
        "  Subject   onex.node.v1.tool.add.b\n",
    ] {
        assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    }
    let ran = bus
        .run(&[&resolve[..], &["-o", "name"]].concat())
        .await
        .exits(0);
    assert_eq!(ran.stdout, "onex.node.v1.tool.add.b\n");
    let to = ran.stdout.trim().to_owned();
    let answer = bus.caller.client.request(to, SUM.into()).await.unwrap();
    assert_eq!(&answer.payload[..], b"{\"sum\":3}");
    let ran = bus
        .run(&["tool", "resolve", "add", "--provider", "nobody"])
        .await
        .exits(75);
    assert!(
        ran.stderr.contains("a 1.0.0: another node is asked for"),
        "{}",
        ran.stderr
    );
    let ran = bus.run(&["tool", "resolve", "ad"]).await.exits(1);
    assert!(ran.stderr.contains("did you mean add?"), "{}", ran.stderr);
    drop(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_any_length_come_as_they_are() {
    let bus = Bus::start().await;
    let result = r#"{"sum": 123456789012345678901234567890, "price": 1.10,
        "exactly": [0.1234567890123456789012, 1e400]}"#;
    let calc = bus.answering(&[], result).await;
    bus.announce("calc", json!({"name": "add", "version": "1.0.0"}))
        .await;
    let args = r#"{"a": 123456789012345678901234567890, "b": 1.10}"#;
    let invoke = ["tool", "invoke", "add", "--args", args];
    let ran = bus.run(&invoke).await.exits(0);
    let line = r#"{"sum":123456789012345678901234567890,"price":1.10,"exactly":[0.1234567890123456789012,1e400]}"#;
    assert_eq!(ran.stdout, format!("{line}\n"));
    let ran = bus.run(&[&invoke[..], &["-o", "json"]].concat()).await;
    let shown = ran.exits(0).stdout;
    for (member, value) in [
        ("sum", "123456789012345678901234567890,"),
        ("price", "1.10,"),
    ] {
        let line = format!("\n    \"{member}\": {value}\n");
        assert!(shown.contains(&line), "{shown}");
    }
    let ran = bus.run(&[&invoke[..], &["-o", "yaml"]].concat()).await;
    let shown = ran.exits(0).stdout;
    for line in [
        "result:\n",
        "\n  price: 1.10\n",
        "\n  sum: 123456789012345678901234567890\n",
        "\n  - 0.1234567890123456789012\n  - 1.0e+400\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(!shown.contains('$'), "{shown}");
    assert_eq!(calc.count(), 3);
    assert_eq!(calc.got()[0].text, args);

    for (args, said) in [
        (
            r#"{"a": {"b": 1, "b": 2}}"#,
            "--args:1:16: /a/b is there twice",
        ),
        (
            &format!("{{\"a\": {}1{}}}", "[".repeat(64), "]".repeat(64)),
            "64 levels",
        ),
    ] {
        let ran = bus.run(&["tool", "invoke", "add", "--args", args]).await;
        let ran = ran.exits(2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert_eq!(calc.count(), 3);
}
