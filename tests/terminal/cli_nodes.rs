//! The command line about nodes, tools, buses, schemas and trust, against a real registry.

use futures::StreamExt;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;
use uuid::Uuid;

use crate::harness::{Caller, Registry, User, assert_members, round_trip};

const CALC: &str = "calc.eu-1";
/// Seconds that nodes of these tests live: longer than any of them takes.
const TTL: u32 = 86_400;

/// What terminals obey, hidden where a stranger may say anything.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{202e}b";

fn me() -> Uuid {
    Uuid::from_u128(1)
}

/// One of twenty tools: wordy, as people are.
fn tool(number: usize) -> Value {
    json!({
        "name": format!("tool-{number:02}"), "version": "1.2.0", "tags": ["math"],
        "description": "Adds two numbers in the given mode, rounds half to even, and says in which unit the \
            result is — naïvely 日本語; it never blocks.\n\nWhat it does not say on the first line is for those who ask.",
        "idempotent": number.is_multiple_of(2),
        "side_effects": if number == 5 { json!(["disk", "mail"]) } else { json!([]) },
        "error_codes": ["OVERFLOW"],
        "input_schema": {
            "type": "object", "required": ["left", "right"],
            "properties": {
                "left": {"type": "number", "description": "What is added to"},
                "right": {"$ref": "#/$defs/Number"},
                "mode": {"enum": ["fast", "exact"]},
                "options": {"type": "object", "properties": {"digits": {"type": "integer"}}},
            },
            "$defs": {"Number": {"type": "number"}},
        },
        "output_schema": {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "number"}}},
    })
}

fn node(node_id: &str, node_type: &str) -> Value {
    json!({"node_id": node_id, "version": "1.4.2", "node_type": node_type, "requester_id": me(), "ttl": TTL})
}

fn with(mut node: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        node[name] = value.clone();
    }
    node
}

/// A registry with a node of twenty tools that three validators have judged, one node that offers one of its tools
/// otherwise, one that has ended, and a bus.
async fn settled() -> (Registry, Caller) {
    let registry = Registry::start(&["--host", "build-7", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let lease =
        json!({"requester_id": me(), "protocol": "http", "preferred_port": 20080, "ttl": TTL});
    let lease = caller.get("port.lease", lease).await;
    let calc = with(
        node(CALC, "tool"),
        &json!({
            "description": "Arithmetic for agents: adds, subtracts, converts units.\nRounds half to even.",
            "tags": ["math", "units"], "host": "build-7", "execution_mode": "container",
            "schema": {
                "inputs": [{"name": "left", "type": "number", "required": true, "description": "What is added to"}],
                "outputs": [{"name": "sum", "type": "number"}], "accepts_context": true,
            },
            "inbound_ports": [{"name": "http", "port": 20080, "protocol": "http", "lease_id": lease["lease_id"],
                "endpoint_uri": "http://build-7:20080/"}],
            "outbound_ports": [{"name": "results", "topic": "calc.results", "protocol": "jetstream"}],
            "tools": (1..=20).map(tool).collect::<Vec<_>>(), "upstream_nodes": ["planner.1"],
        }),
    );
    let epoch = caller.get("node.register", calc).await["epoch"].clone();
    let bound =
        json!({"requester_id": me(), "protocol": "grpc", "node_id": CALC, "preferred_port": 20081});
    caller.get("port.lease", bound).await;
    let heartbeat =
        json!({"node_id": CALC, "requester_id": me(), "epoch": epoch, "health": {"load": 0.5}});
    caller.get("node.heartbeat", heartbeat).await;
    let other = json!({"name": "tool-03", "version": "1.2.0", "input_schema": {"type": "object",
        "properties": {"text": {"type": "string"}}, "required": ["text"]}});
    let rogue = with(node("rogue", "adapter"), &json!({"tools": [other]}));
    caller.get("node.register", rogue).await;
    for (validator, outcome) in [("val-1", "pass"), ("val-2", "fail"), ("val-3", "pass")] {
        caller
            .get("node.register", node(validator, "validator"))
            .await;
        let mut report = json!({"node_id": CALC, "validator_id": validator, "requester_id": me(), "outcome": outcome});
        if outcome == "fail" {
            report["failure_mode"] = json!("wrong rounding");
        }
        caller.get("trust.report", report).await;
    }
    let old = with(node("old", "agent"), &json!({"tools": [tool(1)]}));
    let old = caller.get("node.register", old).await;
    let end = json!({"node_id": "old", "requester_id": me(), "epoch": old["epoch"]});
    caller.get("node.deregister", end).await;
    let bus = json!({"bus_id": "calc-bus", "protocol": "redis", "endpoint_uri": "redis://u:secret@build-7:6379/0",
        "requester_id": me(), "node_id": CALC});
    caller.get("bus.register", bus).await;
    caller.see("node.list", json!({})).await;
    (registry, caller)
}

#[track_caller]
fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.width() <= 80, "{} columns: {line:?}", line.width());
        assert_eq!(line.trim_end(), line, "{text}");
    }
}

/// With words in the place of what differs from run to run, and two spaces between columns.
fn steady(text: &str) -> String {
    let word = |word: &str| {
        let plain = word.trim_end_matches(',');
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_span =
            plain.starts_with(|c: char| c.is_ascii_digit()) && plain.ends_with(['h', 'm']);
        if plain.parse::<Uuid>().is_ok() {
            "UUID".to_owned()
        } else if plain.len() == 10 && digits(&plain.replace('-', "")) {
            "DATE".to_owned()
        } else if plain.len() == 8 && digits(&plain.replace(':', "")) {
            "TIME".to_owned()
        } else if plain.starts_with("c2:") {
            "HASH".to_owned()
        } else if is_span {
            word.replace(plain, "SPAN")
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| {
        let text = line.trim_start();
        let indent = " ".repeat(line.len() - text.len());
        let cells = text
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        let cells = cells.map(|cell| cell.split(' ').map(word).collect::<Vec<_>>().join(" "));
        indent + &cells.collect::<Vec<_>>().join("  ")
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

const DESCRIBED: &str = r#"NODE calc.eu-1
  Arithmetic for agents: adds, subtracts, converts units.
  Rounds half to even.

  State  online, SPAN of SPAN left without a heartbeat
  Type  tool
  Version  1.4.2
  Host  build-7
  Execution mode  container
  Tags  math, units
  Registered  DATE TIME UTC, epoch 1
  Heartbeat  DATE TIME UTC
  Health  {"load":0.5}
  Executions  not measured
  Success rate  not measured
  Last execution  not measured
  Upstream  planner.1
  Requester  UUID
  Contract  HASH

PORTS
  Listens on
  NAME  PORT  PROTOCOL  DYNAMIC  LEASE  ADDRESS
  http  20080  http  no  active  http://build-7:20080/

  Sends to
  NAME  TOPIC  PROTOCOL
  results  calc.results  jetstream

  Leases that end with it (1), on build-7
  PORT  NAME  PROTOCOL  LEFT
  20081/tcp  -  grpc  SPAN

SCHEMA
  Takes a context  yes
  Keeps state  no
  Side effects  -

  Inputs
  NAME  TYPE  REQUIRED  DESCRIPTION
  left  number  yes  What is added to

  Outputs
  NAME  TYPE  REQUIRED  DESCRIPTION
  sum  number  no  -

TRUST
  State  trusted
  Score  0.67
  Validated  no
  Validators  val-1, val-2, val-3
  Failures  wrong rounding
  Lifecycle  -
  Reports  2 passed, 1 failed
  Rule  the part of the validators whose last report on the present
              contract is a pass; trusted above one half, verified with two or
              more and no fail
  Contract  HASH

TOOLS (20)
  tool-01(left: number, right: number, mode?: "fast"|"exact", options?:
        {digits?: integer}) -> {sum: number}
    1.2.0
    Adds two numbers in the given mode, rounds half to even, and says in which…
  tool-02(left: number, right: number, mode?: "fast"|"exact", options?:
        {digits?: integer}) -> {sum: number}
    1.2.0; idempotent
    Adds two numbers in the given mode, rounds half to even, and says in which…
  tool-03(left: number, right: number, mode?: "fast"|"exact", options?:
        {digits?: integer}) -> {sum: number}
    1.2.0; COLLISION: others offer it under another contract
    Adds two numbers in the given mode, rounds half to even, and says in which…
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_twenty_tools_is_read_on_80_columns() {
    let (registry, _) = settled().await;
    let user = User::of(&registry).with("COLUMNS", "80");
    let shown = user.run(&format!("describe --node {CALC}")).exits(0).stdout;
    assert_fits(&shown);
    let steady = steady(&shown);
    let beginning: String = steady
        .lines()
        .take(DESCRIBED.lines().count())
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(beginning, DESCRIBED);
    for number in 1..=20 {
        assert_eq!(shown.matches(&format!("\n  tool-{number:02}(")).count(), 1);
    }
    assert!(
        shown.contains("1.2.0; side effects: disk, mail\n"),
        "{shown}"
    );
    assert_eq!(shown.matches("COLLISION").count(), 1, "{shown}");
    let end = "BUSES (1)\n  BUS  PROTOCOL  ACTIVE  DIRECTION  NODE  ADDRESS\n  \
        calc-bus  redis  yes  in, out  calc.eu-1  redis://build-7:6379/0\n";
    assert!(steady.ends_with(end), "{steady}");

    let same = user.run(&format!("node describe {CALC}")).exits(0).stdout;
    assert_eq!(self::steady(&same), steady);
    let parts = user
        .run(&format!(
            "describe --node {CALC} --section trust --section buses"
        ))
        .exits(0)
        .stdout;
    assert!(
        parts.starts_with("TRUST\n") && parts.contains("\nBUSES (1)\n"),
        "{parts}"
    );
    assert!(!parts.contains("TOOLS"), "{parts}");
    let wide = user
        .run(&format!("node describe {CALC} -o wide"))
        .exits(0)
        .stdout;
    for all in [
        "for those who ask.",
        "errors OVERFLOW",
        "subject onex.node.v1.tool.",
        "Version hash",
    ] {
        assert!(wide.contains(all), "{all}: {wide}");
    }
    let name = user
        .run(&format!("node describe {CALC} -o name"))
        .exits(0)
        .stdout;
    assert_eq!(name, format!("{CALC}\n"));
    let whole = user.run(&format!("node describe {CALC} -o json")).json();
    assert_members(
        &whole,
        &[
            "node_id",
            "node",
            "ports",
            "schema",
            "trust",
            "tools",
            "buses",
            "bus_count",
            "revision",
        ],
    );
    let piped = User::of(&registry)
        .run(&format!("node describe {CALC}"))
        .exits(0)
        .stdout;
    assert!(
        piped.contains("it never blocks.\n"),
        "without a terminal nothing is cut: {piped}"
    );

    let ended = user.run("node describe old").exits(0).stdout;
    assert!(ended.contains(" UTC (deregistered)\n"), "{ended}");
    assert!(
        ended.contains("TOOLS (1, none to be called: it has ended)\n"),
        "{ended}"
    );
    let unknown = user.run("node describe rogue").exits(0).stdout;
    assert!(
        unknown.contains("none: nobody has examined what it is now"),
        "{unknown}"
    );
    assert!(unknown.contains("PORTS\n  none\n"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_tables_documents_and_names() {
    let (registry, _) = settled().await;
    let user = User::of(&registry);
    let nodes = user.run("node list").table();
    assert_eq!(
        nodes[0],
        ["NODE", "TYPE", "VERSION", "STATE", "TOOLS", "TRUST", "HOST"]
    );
    assert_eq!(nodes.len(), 7, "{nodes:?}");
    assert_eq!(nodes[1][..3], [CALC, "tool", "1.4.2"]);
    assert!(nodes[1][3].starts_with("online "), "{nodes:?}");
    assert_eq!(nodes[1][4..], ["20", "trusted", "build-7"]);
    assert_eq!(
        nodes[2],
        ["old", "agent", "1.4.2", "ended", "-", "untrusted", "-"]
    );
    for (flags, expected) in [
        ("", "calc.eu-1\nold\nrogue\nval-1\nval-2\nval-3\n"),
        ("--type validator", "val-1\nval-2\nval-3\n"),
        ("--liveness ended", "old\n"),
        ("--liveness online --type adapter", "rogue\n"),
        ("--liveness expired", ""),
        ("--tag units", "calc.eu-1\n"),
        ("--host build-7", "calc.eu-1\n"),
        ("--trusted-only --limit 1", "calc.eu-1\n"),
    ] {
        let ran = user.run(&format!("node list {flags} -o name")).exits(0);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            (expected, ""),
            "{flags}"
        );
    }
    let wide = user.run("node list -o wide").table();
    assert_eq!(
        wide[0][6..],
        ["HOST", "SCORE", "EPOCH", "REGISTERED", "ENDED", "TAGS"]
    );
    assert_eq!(wide[1][7..9], ["0.67", "1"]);
    assert!(wide[2][10].ends_with("(deregistered)"), "{wide:?}");
    let list = user.run("node list --limit 2 -o json").json();
    assert_members(&list, &["items", "revision"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 6);
    assert_eq!(list["items"][1]["trust_score"], Value::Null);
    let yaml = user.run("node list --type agent -o yaml").exits(0).stdout;
    assert!(yaml.starts_with("items:\n- "), "{yaml}");
    for line in [
        "  node_id: old\n",
        "  trust_score: null\n",
        "  ended: deregistered\n",
        "  tools: 1\n",
    ] {
        assert!(yaml.contains(&line[1..]), "{line}: {yaml}");
    }

    let tools = user.run("tool list").table();
    assert_eq!(
        tools[0],
        ["TOOL", "VERSIONS", "PROVIDERS", "COLLISION", "TAGS"]
    );
    assert_eq!(tools.len(), 21);
    assert_eq!(tools[1], ["tool-01", "1.2.0", "1", "no", "math"]);
    assert_eq!(tools[3], ["tool-03", "1.2.0", "2", "yes", "math"]);
    for (flags, expected) in [
        ("--name tool-07", "tool-07\n"),
        ("--node rogue", "tool-03\n"),
        ("--name tool-07 --version ^1.2", "tool-07\n"),
        ("--name tool-07 --version =2.0.0", ""),
        ("--tag nothing", ""),
    ] {
        let ran = user.run(&format!("tool list {flags} -o name")).exits(0);
        assert_eq!(ran.stdout, expected, "{flags}");
    }
    let buses = user.run("bus list").table();
    assert_eq!(
        buses[0],
        ["BUS", "PROTOCOL", "ACTIVE", "DIRECTION", "NODE", "ADDRESS"]
    );
    assert_eq!(
        buses[1],
        [
            "calc-bus",
            "redis",
            "yes",
            "in, out",
            CALC,
            "redis://build-7:6379/0"
        ]
    );
    let wide = user.run("bus list -o wide").table();
    assert_eq!(wide[1][6..9], ["not measured"; 3]);
    assert_eq!(user.run("bus list --protocol grpc").table().len(), 1);
    let leases = user
        .run(&format!("port list --node {CALC} -o wide"))
        .table();
    assert_eq!(leases.len(), 2);
    assert_eq!(
        (leases[1][0].as_str(), leases[1][7].as_str()),
        ("20081/tcp", CALC)
    );
    assert_eq!(user.run("pool list -o name").exits(0).stdout, "build-7\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_shown_with_its_contract_and_who_offers_it() {
    let (registry, _) = settled().await;
    let user = User::of(&registry).with("COLUMNS", "80");
    let shown = user.run("tool describe tool-02").exits(0).stdout;
    assert_fits(&shown);
    for part in [
        "TOOL tool-02 1.2.0\n  tool-02(left: number, right: number, mode?: \"fast\"|\"exact\", options?:\n",
        "result is — naïvely 日本語; it never blocks.\n  What it does not say on the first line is for those\n  who ask.\n",
        "\nARGUMENTS\n  NAME     TYPE                 REQUIRED  DESCRIPTION\n  left     number               yes       What is added to\n",
        "  options  {digits?: integer}   no        -\n",
        "\nPROVIDERS (1)\n  NODE       HOST     LEFT",
        "\nINPUT SCHEMA\n  {\n    \"$defs\": {\n",
        "\nOUTPUT SCHEMA\n  {\n    \"properties\": {\n",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed(&shown).contains(&squeezed(part)),
            "{part}\n--- not in\n{shown}"
        );
    }
    assert!(!shown.contains("OTHER CONTRACTS"), "{shown}");
    let both = user
        .run("tool describe tool-03 --version 1.2.0")
        .exits(0)
        .stdout;
    assert_fits(&both);
    assert!(
        both.contains("yes: nodes offer 2 contracts by this name and version"),
        "{both}"
    );
    assert!(
        both.contains("OTHER CONTRACTS BY THIS NAME AND VERSION (1)\n"),
        "{both}"
    );
    assert!(
        both.contains("tool-03(text: string) -> any") && both.contains("tool-03(left:"),
        "{both}"
    );
    assert!(both.contains("PROVIDERS (2)\n"), "{both}");
    let whole = user.run("tool describe tool-02 -o json").json();
    assert_eq!(whole["contract"]["input_schema"], tool(2)["input_schema"]);

    let trust = user.run(&format!("trust get {CALC}")).exits(0).stdout;
    assert!(
        trust.starts_with(&format!("TRUST IN {CALC}\n  State ")),
        "{trust}"
    );
    assert_eq!(
        user.run(&format!("trust get {CALC} -o json")).json()["trust_score"],
        json!(2.0 / 3.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_comes_as_itself() {
    let (registry, _) = settled().await;
    let user = User::of(&registry);
    let listed = user.run("schema list --kind tool").table();
    assert_eq!(listed[0], ["KIND", "NAME", "TITLE"]);
    assert_eq!(
        listed[1],
        [
            "tool",
            "tool-01@1.2.0.input",
            "The arguments of tool-01 1.2.0"
        ]
    );
    let all = user.run("schema list --limit 7 -o name").exits(0).stdout;
    assert!(
        all.starts_with("admin.") && all.ends_with("\ncalc.eu-1\n"),
        "{all}"
    );

    let wanted = tool(1)["input_schema"].clone();
    for format in ["table", "wide", "json"] {
        let got = user
            .run(&format!("schema get tool-01@1.2.0.input -o {format}"))
            .json();
        assert_eq!(got, wanted, "{format}");
    }
    let yaml = user
        .run("schema get tool-01@1.2.0.output -o yaml")
        .exits(0)
        .stdout;
    assert_eq!(
        yaml,
        "properties:\n  sum:\n    type: number\nrequired:\n- sum\ntype: object\n"
    );
    let name = user
        .run("schema get port.lease.request --kind message -o name")
        .exits(0);
    assert_eq!(name.stdout, "port.lease.request\n");
    let node = user.run(&format!("schema get {CALC} --kind node")).json();
    assert_eq!(node["inputs"][0]["name"], "left");
    user.run(&format!("schema get {CALC} --kind tool")).exits(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_described_with_all_that_it_has() {
    let (registry, _) = settled().await;
    let user = User::of(&registry).with("COLUMNS", "80");
    let shown = user.run("describe").exits(0).stdout;
    assert_fits(&shown);
    let steady = steady(&shown);
    for part in [
        "Live leases  2 (hosts with a pool: 1)\nLive nodes  5\nTools  20\nActive buses  1\n",
        "\nPOOLS (2)\n  HOST",
        "\nNODES (6)\n  NODE",
        "\nTOOLS (20, the first 10; `onex tool list` has all)\n  TOOL",
        "\nBUSES (1)\n  BUS",
    ] {
        assert!(steady.contains(part), "{part}: {steady}");
    }
    assert_eq!(shown.matches("\n  tool-").count(), 10, "{shown}");
    let wide = user.run("describe -o wide").exits(0).stdout;
    assert_eq!(wide.matches("\n  tool-").count(), 20, "{wide}");
    let tools = user.run("describe --section tools").exits(0).stdout;
    assert!(
        tools.starts_with("TOOLS (20)\n") && !tools.contains("NODES"),
        "{tools}"
    );
    assert_eq!(tools.matches("\n  tool-").count(), 20, "{tools}");
    let part = user
        .run("describe --section buses --section node -o json")
        .json();
    assert_eq!((&part["tools"], &part["pools"]), (&json!([]), &json!([])));
    assert_eq!(part["nodes"].as_array().unwrap().len(), 6);
    assert_eq!(part["buses"][0]["bus_id"], "calc-bus");
    let id = user.run("describe -o name").exits(0).stdout;
    id.trim().parse::<Uuid>().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_with_what_was_meant() {
    let (registry, _) = settled().await;
    let user = User::of(&registry);
    for (line, code, meant) in [
        (
            "describe --node calc.eu1",
            "NODE_NOT_FOUND",
            "did you mean calc.eu-1? `onex node list`",
        ),
        (
            "node describe nobody-like-it",
            "NODE_NOT_FOUND",
            "`onex node list`",
        ),
        ("trust get va-1", "NODE_NOT_FOUND", "did you mean val-1?"),
        (
            "tool describe tol-07",
            "TOOL_NOT_FOUND",
            "did you mean tool-07?",
        ),
        (
            "tool describe tool-07 --version 9.0.0",
            "TOOL_NOT_FOUND",
            "tool-07 is offered as 1.2.0",
        ),
        (
            "schema get port.lease.requests",
            "SCHEMA_NOT_FOUND",
            "did you mean port.lease.request?",
        ),
        (
            "schema get nope",
            "SCHEMA_NOT_FOUND",
            "`onex schema list` shows the schemas",
        ),
    ] {
        let told = user.run(line).exits(1);
        assert!(
            told.stdout.is_empty() && told.stderr.contains(meant),
            "{}",
            told.stderr
        );
        // Where to look is told once.
        assert!(told.stderr.matches("list").count() <= 1, "{}", told.stderr);
        let error = user.run(&format!("{line} -o json")).json_error(1);
        assert_eq!(error["code"], code, "{line}");
        assert!(
            error["hint"].as_str().unwrap().starts_with(meant),
            "{error}"
        );
        for format in ["yaml", "name", "wide"] {
            let told = user.run(&format!("{line} -o {format}")).exits(1);
            assert!(
                told.stdout.is_empty() && told.stderr.starts_with("onex: "),
                "{}",
                told.stderr
            );
        }
    }
    for line in [
        "node",
        "node list --type robot",
        "node list --liveness dead",
        "node list --limit 0",
        "node list --watch=0",
        "node list --watch=soon",
        "node list --watch 2",
        "node describe",
        "node describe a/b",
        "describe --section all",
        "describe --section schema",
        "describe --section tools --section trust",
        "tool describe",
        "tool describe a.b",
        "tool describe add --version 1",
        "tool list --version one",
        "bus list --protocol a.b",
        "schema get",
        "schema get x --kind x",
        "trust get",
        "bus list -o xml",
    ] {
        let ran = user.run(line).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{line}");
        if !line.contains("-o ") {
            let error = user.run(&format!("{line} -o json")).json_error(2);
            assert_eq!(error["code"], "USAGE", "{line}");
        }
    }
    for line in [
        "node list",
        "tool describe add",
        "bus list",
        "schema get x",
        "describe --node a",
    ] {
        let line = format!("{line} --nats nats://127.0.0.1:1 -o json");
        assert_eq!(user.run(&line).json_error(69)["code"], "NO_SERVER");
    }
}

/// Someone who answers requests to an endpoint of a namespace, always the same, and perhaps with an error.
async fn answering(
    url: &str,
    namespace: &str,
    endpoint: &str,
    number: Option<&'static str>,
    reply: Value,
) {
    let nats = async_nats::connect(url).await.unwrap();
    let subject = format!("onex.{namespace}.registry.v1.{endpoint}");
    let mut requests = nats.subscribe(subject).await.unwrap();
    round_trip(&nats).await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let mut headers = async_nats::HeaderMap::new();
            if let Some(number) = number {
                headers.insert("Nats-Service-Error-Code", number);
            }
            let to = request.reply.unwrap();
            nats.publish_with_headers(to, headers, reply.to_string().into())
                .await
                .unwrap();
        }
    });
}

fn error(code: &str, message: &str, retryable: bool) -> Value {
    json!({"error": {"code": code, "message": message, "retryable": retryable, "retry_after_ms": null,
        "correlation_id": "c", "details": {}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_may_be_asked_again_exits_with_75_and_changes_nothing() {
    let registry = Registry::start(&[]);
    let user = User::of(&registry);
    let busy = error("BUSY", "much to do", true);
    answering(registry.url(), "busy", "tool.list", Some("503"), busy).await;
    let line = "tool list --namespace busy --timeout 300ms";
    let error = user.run(&format!("{line} -o json")).json_error(75);
    assert_eq!(error["code"], "BUSY");
    let nats = async_nats::connect(registry.url()).await.unwrap();
    let _silent = nats
        .subscribe("onex.silent.registry.v1.tool.list")
        .await
        .unwrap();
    round_trip(&nats).await;
    let told = user
        .run("tool list --namespace silent --timeout 300ms")
        .exits(69)
        .stderr;
    assert!(
        told.contains("no reply") && !told.contains("may have been done"),
        "{told}"
    );
}

/// Whatever strangers say: a terminal is only ever told to print it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_the_terminal_through_us() {
    let registry = Registry::start(&["--no-probe"]);
    let caller = Caller::of(&registry).await;
    let said = with(
        node("hostile", "tool"),
        &json!({
            "capabilities": {HOSTILE: HOSTILE}, "graph_binding": HOSTILE, "description": "a\n\tb",
            "schema": {"inputs": [{"name": "x", "type": "y", "schema": {"title": HOSTILE}}]},
            "tools": [{
                "name": "hostile", "version": "1.0.0", "description": "one\nTOOL fake 1.0.0",
                "input_schema": {
                    "type": "object", "$defs": {HOSTILE: {"type": "object", "title": HOSTILE}},
                    "properties": {
                        HOSTILE: {"description": HOSTILE}, "mode": {"enum": [HOSTILE], "description": HOSTILE},
                        "of": {"const": HOSTILE},
                    },
                },
            }],
        }),
    );
    let epoch = caller.get("node.register", said).await["epoch"].clone();
    let health = json!({"node_id": "hostile", "requester_id": me(), "epoch": epoch, "health": {"s": HOSTILE}});
    caller.get("node.heartbeat", health).await;

    let item = json!({"node_id": "a", "version": "1.0.0", "node_type": HOSTILE, "host": null, "tags": [],
        "liveness": HOSTILE, "epoch": 1, "registered_at": "2026-01-01T00:00:00Z", "expires_in_ms": 1, "tools": 1,
        "trust_state": HOSTILE, "trust_score": null});
    let url = registry.url();
    answering(
        url,
        "evil",
        "node.list",
        None,
        json!({"items": [item], "revision": 1}),
    )
    .await;
    let schemas =
        json!({"items": [{"kind": HOSTILE, "name": HOSTILE, "title": HOSTILE}], "revision": 1});
    answering(url, "evil", "schema.list", None, schemas).await;
    answering(
        url,
        "evil",
        "bus.list",
        Some("400"),
        error("INVALID_REQUEST", HOSTILE, false),
    )
    .await;
    answering(
        url,
        "evil",
        "tool.list",
        Some("400"),
        error(HOSTILE, HOSTILE, false),
    )
    .await;

    for line in [
        "describe",
        "describe --node hostile",
        "node list",
        "tool list",
        "tool describe hostile",
        "schema list",
        "schema get hostile@1.0.0.input",
        "schema get hostile --kind node",
        "node list --namespace evil",
        "schema list --namespace evil",
        "bus list --namespace evil",
        "tool list --namespace evil",
    ] {
        for columns in ["80", ""] {
            for format in ["table", "wide", "json", "yaml", "name"] {
                let user = User::of(&registry).with("COLUMNS", columns);
                let ran = user.run(&format!("{line} -o {format}"));
                let text = ran.stdout + &ran.stderr;
                let obeyed =
                    |c: char| c.is_control() && c != '\n' || c == '\u{202e}' && format != "yaml";
                assert!(
                    !text.is_empty() && !text.contains(obeyed),
                    "{line} -o {format}: {text:?}"
                );
            }
        }
    }
    let user = User::of(&registry);
    let described = user.run("describe --node hostile").exits(0).stdout;
    assert!(
        described.contains(r"a\u{1b}[2J") || described.contains(r"a\u001b[2J"),
        "{described}"
    );
    assert!(
        !described.lines().any(|line| line.starts_with("TOOL fake")),
        "{described}"
    );
    let got = user.run("schema get hostile@1.0.0.input").json();
    assert_eq!(
        got["properties"]["of"]["const"], HOSTILE,
        "what programs read is what was said"
    );
}

#[test]
fn every_command_about_nodes_has_an_example() {
    let user = User::new();
    for command in [
        "node",
        "node list",
        "node describe",
        "tool",
        "tool list",
        "tool describe",
        "bus",
        "bus list",
        "schema",
        "schema list",
        "schema get",
        "trust",
        "trust get",
        "port",
        "pool",
    ] {
        let help = user.run(&format!("{command} --help")).exits(0).stdout;
        assert!(help.contains(&format!("\n  onex {command}")), "{help}");
    }
}
