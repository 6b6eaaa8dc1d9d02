//! Clients that `onex codegen` writes, each language: checked by its compiler, wrong ones refused by it, and run against
//! tools that live, by both ways of calling. `tests/tables/contracts.json` has all that a contract can say.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Caller, Provider, Registry, User, claim, installed, node, root};
use crate::languages::{does, interpreter, mypy, ran, rustc, tsconfig, written};
use onex_registry::codegen::{Language, Via};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const NODE: &str = "calc";
const ERROR: &[(&str, &str)] = &[
    ("Nats-Service-Error-Code", "422"),
    ("Nats-Service-Error", "too much"),
];

/// Contracts with all that one can say. Where no result is described it is as the arguments are.
fn contracts() -> Vec<Value> {
    let mut all: Vec<Value> =
        serde_json::from_str(include_str!("../tables/contracts.json")).unwrap();
    for tool in &mut all {
        if tool.get("output_schema").is_none() && tool.get("input_schema").is_some() {
            tool["output_schema"] = tool["input_schema"].clone();
        }
    }
    all
}

/// It is refused for that word, and for nothing else.
#[track_caller]
fn refuses(command: &mut Command, word: &str) {
    let (good, said) = ran(command);
    assert!(!good, "{command:?} is content with {word}");
    let errors = said.lines().filter(|line| line.contains("error"));
    let errors: Vec<&str> = errors.filter(|line| !is_summary(line)).collect();
    assert!(said.contains(word) && errors.len() == 1, "{said}");
}

/// A line that counts errors, or says how to learn more of them.
fn is_summary(line: &str) -> bool {
    ["Found ", "aborting", "--explain", "For more"]
        .iter()
        .any(|it| line.contains(it))
}

/// A registry, a node that offers all tools of the table and answers for them, and somebody who writes clients.
struct Bus {
    caller: Caller,
    provider: Provider,
    user: User,
    requester: Uuid,
    epoch: u64,
    registry: Registry,
}

impl Bus {
    async fn start() -> Self {
        let registry = Registry::start(&["--host", "here", "--no-probe"]);
        let caller = Caller::of(&registry).await;
        let subject = format!("onex.node.v1.tool.*.{NODE}");
        let provider = Provider::serve(registry.url(), &subject, async |got| {
            let arguments = &got.arguments;
            let result = match got.header("Onex-Tool") {
                "add" if arguments["left"] == 1e300 => {
                    let body = json!({"error": {"code": "OVERFLOW", "message": "too much"}});
                    return got.answer_bytes(ERROR, body.to_string()).await;
                }
                "add" if arguments["left"].as_f64() == Some(13.0) => json!({"sum": "none"}),
                "add" => {
                    let number = |name: &str| arguments[name].as_f64().unwrap();
                    json!({"sum": number("left") + number("right")})
                }
                "hostile" => json!("done"),
                // What only a condition names is no less right.
                "corners" => {
                    let mut result = arguments.clone();
                    if let Some(closed) = result.get_mut("closed") {
                        closed["more"] = json!(1);
                    }
                    result
                }
                "twice" => json!({"ok": false, "why": "no"}),
                // The same numbers, written in another way.
                "far" => {
                    assert_eq!(got.arguments["power"], 1e23);
                    let result = r#"{"mole":602214076000000000000000,"power":100000000000000000000000,"long":1E17}"#;
                    return got.answer_bytes(&[], result.to_owned()).await;
                }
                _ => arguments.clone(),
            };
            got.answer(&result).await;
        })
        .await;
        let requester = Uuid::new_v4();
        let tools = json!({"tools": contracts(), "ttl": 86_400});
        let registered = caller
            .get("node.register", node(requester, NODE, tools))
            .await;
        let user = User::of(&registry);
        Self {
            caller,
            provider,
            user,
            requester,
            epoch: registered["epoch"].as_u64().unwrap(),
            registry,
        }
    }

    /// Writes a client for all tools of the table.
    fn write(&self, language: &str, via: &str, file: &Path, more: &str) -> crate::harness::Ran {
        let file = file.display();
        self.user.run(&format!(
            "codegen --lang {language} --via {via} --tool add@^1 --tool everything --tool corners --tool odd-names --tool tool \
             --tool far --tool hostile --tool loose --tool bare --tool twice@=1.0.0 --tool twice --out {file} {more}"
        ))
    }

    /// Offers `add` in no other version than that.
    async fn offer_add(&self, tool: Value) {
        let of = claim(self.requester, NODE, self.epoch);
        let gone = crate::harness::with(of.clone(), json!({"name": "add"}));
        self.caller.get("tool.deregister", gone).await;
        let offered = crate::harness::with(of, json!({"tool": tool}));
        self.caller.get("tool.register", offered).await;
        self.caller.see("tool.list", json!({})).await;
    }

    /// Offers the tool `add` under another contract.
    async fn change(&self) {
        let mut tool = contracts().remove(0);
        tool["output_schema"] = json!({"type": "number"});
        self.offer_add(tool).await;
    }

    /// Offers a patch release of `add`: the same contract in another version, with another text.
    async fn patch(&self) {
        let mut tool = contracts().remove(0);
        tool["version"] = json!("1.2.1");
        tool["description"] = json!("Adds two numbers, faster.");
        self.offer_add(tool).await;
    }

    /// Back to the first contract.
    async fn change_back(&self) {
        self.offer_add(contracts().remove(0)).await;
    }

    /// What the provider was sent last for a tool.
    fn sent(&self, tool: &str) -> Value {
        let got = self.provider.got();
        let last = got.iter().rfind(|got| got.header("Onex-Tool") == tool);
        let last = last.unwrap_or_else(|| panic!("nobody called {tool}"));
        assert_eq!(last.header("Onex-Correlation-Id"), "of-the-test");
        assert!(last.header("Onex-Contract-Hash").starts_with("c2:"));
        assert!(!last.header("Onex-Execution-Id").is_empty());
        let left: u64 = last.header("Onex-Timeout-Ms").parse().unwrap();
        assert!((1..=30_000).contains(&left), "{left}");
        last.arguments.clone()
    }

    /// Runs a client against the tools as they are, after a patch release, and when a contract has changed.
    async fn run(&self, command: impl Fn(&str) -> Command) {
        does(command("works").env("NATS_URL", self.registry.url()));
        let wire = |text| serde_json::from_str::<Value>(text).unwrap();
        let everything = wire(include_str!("../clients/codegen/everything.json"));
        assert_eq!(self.sent("everything"), everything);
        let odd = wire(include_str!("../clients/codegen/odd.json"));
        assert_eq!(self.sent("odd-names"), odd);
        self.patch().await;
        does(command("patched").env("NATS_URL", self.registry.url()));
        let last = self.provider.got().pop().unwrap();
        assert_eq!(last.header("Onex-Tool-Version"), "1.2.1");
        let calls = self.provider.count();
        self.change().await;
        does(command("changed").env("NATS_URL", self.registry.url()));
        assert_eq!(
            self.provider.count(),
            calls,
            "a provider of another contract was asked"
        );
    }
}

fn driver(name: &str) -> PathBuf {
    root().join("tests/clients/codegen").join(name)
}

/// A folder with clients for both ways of calling, `registry/FILE` and `direct/FILE`, and a driver beside each.
fn folder(bus: &Bus, language: &str, ending: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for via in ["registry", "direct"] {
        let here = folder.path().join(via);
        std::fs::create_dir(&here).unwrap();
        let file = here.join(format!("tools.{ending}"));
        bus.write(language, via, &file, "").exits(0);
        bus.write(language, via, &file, "--check").exits(0);
        let driver = driver(&format!("driver.{ending}"));
        std::fs::copy(driver, here.join(format!("driver.{ending}"))).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    let bus = Bus::start().await;
    let folder = folder(&bus, "python", "py");
    for (via, field) in [("registry", "rihgt"), ("direct", "mood")] {
        let here = folder.path().join(via);
        does(mypy(&here).args(["tools.py", "driver.py"]));
        let wrong = match field {
            "rihgt" => "from tools import AddArguments\nAddArguments(left=1, right=2, rihgt=2)\n",
            _ => "from tools import AddArguments\nprint(AddArguments(left=1, right=2).mood)\n",
        };
        std::fs::write(here.join("wrong.py"), wrong).unwrap();
        refuses(mypy(&here).args(["tools.py", "wrong.py"]), field);
        bus.run(|what| {
            let mut command = interpreter();
            command.args(["driver.py", what]).current_dir(&here);
            command
        })
        .await;
        bus.change_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript() {
    let bus = Bus::start().await;
    let folder = folder(&bus, "typescript", "ts");
    let path = folder.path();
    let modules = installed("nats-js/node_modules");
    std::os::unix::fs::symlink(modules, path.join("node_modules")).unwrap();
    std::fs::write(path.join("package.json"), r#"{"type": "module"}"#).unwrap();
    let tsc = |files: &[&str]| {
        std::fs::write(path.join("tsconfig.json"), tsconfig(files).to_string()).unwrap();
        let mut command = Command::new(installed("typescript/node_modules/.bin/tsc"));
        command.args(["--project", "."]).current_dir(path);
        command
    };
    for wrong in [
        "{ left: 1, right: 2, rihgt: 2 }",
        "{ left: 1, right: 2, mode: \"fsat\" }",
    ] {
        let text = format!(
            "import type {{ AddArguments }} from \"./registry/tools.js\";\nexport const it: AddArguments = {wrong};\n"
        );
        std::fs::write(path.join("wrong.ts"), text).unwrap();
        let word = if wrong.contains("rihgt") {
            "rihgt"
        } else {
            "fsat"
        };
        refuses(&mut tsc(&["wrong.ts"]), word);
    }
    does(&mut tsc(&["registry/driver.ts", "direct/driver.ts"]));
    for via in ["registry", "direct"] {
        bus.run(|what| {
            let mut command = Command::new("node");
            command.arg(path.join(via).join("driver.js")).arg(what);
            command
        })
        .await;
        bus.change_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust() {
    let bus = Bus::start().await;
    let folder = folder(&bus, "rust", "rs");
    let here = folder.path().join("registry");
    let wrong = "mod tools;\npub fn it() -> tools::AddArguments {\n    \
        tools::AddArguments { left: 1.0, right: 2.0, mode: None, rihgt: 2.0 }\n}\n";
    std::fs::write(here.join("wrong.rs"), wrong).unwrap();
    let check = ["--crate-type", "lib", "--emit", "metadata"];
    refuses(rustc(&here.join("wrong.rs")).args(check), "rihgt");
    for via in ["registry", "direct"] {
        let here = folder.path().join(via);
        does(rustc(&here.join("driver.rs")).args(["-o", "driver"]));
        bus.run(|what| {
            let mut command = Command::new(here.join("driver"));
            command.arg(what);
            command
        })
        .await;
        bus.change_back().await;
        // And it is as rustfmt would have it.
        does(
            Command::new("rustfmt")
                .args(["--edition", "2024", "--check"])
                .arg(here.join("tools.rs")),
        );
    }
}

const LANGUAGES: [Language; 3] = [Language::Rust, Language::Python, Language::Typescript];

/// Types are known where the contract says them: every language has its name for anything in few places, each with
/// the reason told or none to tell.
#[test]
fn nothing_is_anything_that_the_contract_says_more_of() {
    let says_all = |tool: &Value| !["loose", "bare"].contains(&tool["name"].as_str().unwrap());
    let tools: Vec<Value> = contracts().into_iter().filter(says_all).collect();
    for (language, any) in LANGUAGES.into_iter().zip(["Value", "object", "unknown"]) {
        let text = written(language, Via::Registry, &tools);
        let types = text.split("The same in every file").next().unwrap();
        let widest = types.lines().filter(|line| {
            let line = line.trim();
            // Not in functions, and not in what is told.
            let field = line.contains(": ") && line.ends_with([',', ';', ']', 'e', 't', 'n', 'r']);
            let skipped = [
                "fn ", "def ", "out", "return", "//", "/*", "*", "let ", "if ", "members", "_ =>",
                "from", "@",
            ];
            let field =
                field && !skipped.iter().any(|it| line.starts_with(it)) && !line.contains("=>");
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            field && !line.contains("::") && words.any(|word| word == any)
        });
        // One that the contract names, and says nothing of.
        let named = |line: &&str| *line != "CornersFree: TypeAlias = object";
        let widest: Vec<&str> = widest.filter(named).collect();
        assert!(widest.is_empty(), "{language:?}: {widest:#?}");
    }
    // And where it is, that is told.
    let loose = contracts()
        .into_iter()
        .find(|tool| tool["name"] == "loose")
        .unwrap();
    for language in LANGUAGES {
        let text = written(language, Via::Registry, std::slice::from_ref(&loose));
        let told = text
            .matches("The contract says more of this than its type can.")
            .count();
        assert_eq!(told, 6, "{language:?}");
    }
}

#[test]
fn the_same_contracts_give_the_same_text() {
    for language in LANGUAGES {
        for via in [Via::Registry, Via::Direct] {
            let text = written(language, via, &contracts());
            assert_eq!(text, written(language, via, &contracts()));
            assert!(!text.contains("@{"), "a place was not filled");
            let head: Vec<&str> = text.lines().take(7).collect();
            assert!(head[0].contains("@generated by onex."), "{head:?}");
            assert!(head[2].contains("onex codegen --lang "), "{head:?}");
            assert!(
                head[2].contains("--tool twice@=1.0.0 --tool twice@=1.10.0"),
                "{head:?}"
            );
            assert!(head[6].contains("add  c2:"), "{head:?}");
            // Whatever the order in which they are named, and however often.
            let mut turned = contracts();
            turned.reverse();
            turned.push(contracts().remove(1));
            assert_eq!(text, written(language, via, &turned));
            // And whatever other versions with the same contracts there are.
            let mut released = contracts();
            for tool in &mut released {
                if tool["name"] != "twice" {
                    tool["version"] = json!("9.8.7");
                }
            }
            assert_eq!(text, written(language, via, &released));
        }
    }
}

/// A contract that says very much in little, and one that leads to itself by many ways.
#[test]
fn it_does_not_take_for_ever() {
    let defs: serde_json::Map<String, Value> = (0..30)
        .map(|at| {
            let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
            (
                format!("d{at}"),
                json!({"allOf": [next, next, {"required": [format!("r{at}")]}]}),
            )
        })
        .chain([("d30".to_owned(), json!({"type": "object"}))])
        .collect();
    let wide = json!({"name": "wide", "version": "1.0.0", "input_schema": {"$ref": "#/$defs/d0", "$defs": defs}});
    let round = json!({"name": "round", "version": "1.0.0", "input_schema": {
        "type": "object", "properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#/$defs/B"}]}},
        "$defs": {"B": {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/B"}, {"minProperties": 1}]}}}},
    }});
    let begun = std::time::Instant::now();
    for language in LANGUAGES {
        let text = written(language, Via::Registry, &[wide.clone(), round.clone()]);
        assert!(text.len() < 1_000_000);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_right_any_more_is_told() {
    let bus = Bus::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools.ts");
    let shown = file.display();
    let line = format!("codegen --lang typescript --tool add --out {shown}");
    let missing = bus.user.run(&format!("{line} --check")).exits(2);
    assert!(missing.stderr.contains("cannot read"), "{}", missing.stderr);
    bus.user.run(&line).exits(0);
    let text = std::fs::read_to_string(&file).unwrap();
    let again = "    onex codegen --lang typescript --tool add --out FILE\n";
    assert!(text.contains(again), "{text}");
    // Without a file it is on stdout, and the same; and so it is wherever the file is.
    let printed = bus.user.run("codegen --lang typescript --tool add");
    assert_eq!(printed.exits(0).stdout, text);
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    for spelled in ["./tools.ts", &format!("../{name}/tools.ts")] {
        let spelled = folder.path().join(spelled);
        let spelled = spelled.display();
        let line = format!("codegen --lang typescript --tool add --out {spelled} --check");
        bus.user.run(&line).exits(0);
    }
    // One that git has checked out with CRLF is told as such.
    std::fs::write(&file, text.replace('\n', "\r\n")).unwrap();
    let refused = bus
        .user
        .run(&format!("{line} --check -o json"))
        .json_error(1);
    assert_eq!(refused["code"], "OUT_OF_DATE", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("CRLF") && message.contains("nothing else differs"),
        "{message}"
    );
    let told = bus.user.run(&format!("{line} --check")).exits(1).stderr;
    assert!(told.contains("tools.ts text eol=lf"), "{told}");
    bus.user.run(&line).exits(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    bus.change().await;
    let refused = bus
        .user
        .run(&format!("{line} --check -o json"))
        .json_error(1);
    assert_eq!(refused["code"], "OUT_OF_DATE", "{refused}");
    assert!(
        refused["message"].as_str().unwrap().contains("line 7"),
        "{refused}"
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        text,
        "--check wrote"
    );
    bus.user.run(&line).exits(0);
    bus.user.run(&format!("{line} --check")).exits(0);
    // `-` is stdout, and no file.
    let printed = bus
        .user
        .run("codegen --lang typescript --tool add --out -")
        .exits(0);
    assert_eq!(printed.stdout, std::fs::read_to_string(&file).unwrap());
    let refused = bus
        .user
        .run("codegen --lang typescript --tool add --out - --check")
        .exits(2);
    assert!(
        refused.stderr.contains("needs a file"),
        "{}",
        refused.stderr
    );

    let none = bus.user.run("codegen --lang rust --tool ad").exits(1);
    assert!(none.stderr.contains("did you mean add?"), "{}", none.stderr);
    let other = bus.user.run("codegen --lang rust --tool twice@^2").exits(1);
    assert!(
        other.stderr.contains("offered as 1.10.0, 1.0.0"),
        "{}",
        other.stderr
    );
    bus.user.run("codegen --lang cobol --tool add").exits(2);
    bus.user.run("codegen --lang rust").exits(2);
    bus.user
        .run("codegen --lang rust --tool add --check")
        .exits(2);
    let odd = bus.user.run("codegen --lang rust --tool add@?").exits(2);
    assert!(odd.stderr.contains("range of versions"), "{}", odd.stderr);
}

/// A release that promises the same breaks no check, whatever its version and its texts are.
#[tokio::test(flavor = "multi_thread")]
async fn check_passes_after_a_release_with_the_same_contract() {
    let bus = Bus::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (language, ending) in [("typescript", "ts"), ("python", "py"), ("rust", "rs")] {
        let file = folder.path().join(format!("tools.{ending}"));
        let shown = file.display();
        let tools = "--tool add --tool everything --tool add";
        let line = format!("codegen --lang {language} {tools} --out {shown}");
        bus.user.run(&line).exits(0);
        let first = std::fs::read_to_string(&file).unwrap();
        let good = bus.user.run(&format!("{line} --check")).exits(0);
        assert_eq!(good.stderr, "");

        bus.patch().await;
        let good = bus.user.run(&format!("{line} --check")).exits(0);
        assert!(
            good.stderr.contains("only their versions or texts"),
            "{}",
            good.stderr
        );
        // In CRLF that is what is told, and nothing else.
        std::fs::write(&file, first.replace('\n', "\r\n")).unwrap();
        let refused = bus.user.run(&format!("{line} --check")).exits(1);
        assert!(refused.stderr.contains("CRLF"), "{}", refused.stderr);
        // What was edited is refused, in code and in texts.
        for (have, want) in [
            ("add", "sub"),
            ("Adds two", "Adds 2"),
            ("Checksum: ", "Checksum: 0"),
        ] {
            assert!(first.contains(have), "{have}");
            std::fs::write(&file, first.replacen(have, want, 1)).unwrap();
            let refused = bus.user.run(&format!("{line} --check")).exits(1);
            assert!(refused.stderr.contains("is not what"), "{}", refused.stderr);
        }
        // So is what was made in another way.
        std::fs::write(&file, &first).unwrap();
        bus.user
            .run(&format!("{line} --via direct --check"))
            .exits(1);
        bus.user
            .run(&format!("{line} --tool corners --tool far --check"))
            .exits(1);
        // Written anew it has the new texts.
        bus.user.run(&line).exits(0);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("faster"), "{text}");
        bus.change().await;
        bus.user.run(&format!("{line} --check")).exits(1);
        std::fs::write(&file, &first).unwrap();
        bus.user.run(&format!("{line} --check")).exits(1);
        bus.change_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_contracts_needs_no_registry() {
    let bus = Bus::start().await;
    let described = bus.user.run("tool describe add -o json").exits(0).stdout;
    let alone = User::new().with("NATS_URL", "nats://127.0.0.1:9");
    let file = |name: &str, text: &str| {
        let path = alone.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    // What the registry shows of a tool, its contract alone, one of several, and one of several documents: all give the
    // same client.
    let add = contracts().remove(0);
    let tool = bus.user.run("tool describe tool -o json").exits(0).stdout;
    let several = format!("{tool}{described}\n{add}");
    let all = json!(contracts()).to_string();
    let node = json!({"node_id": "calc", "tools": contracts()}).to_string();
    let wanted = bus.user.run("codegen --lang python --tool add").exits(0);
    for (name, text, tool) in [
        ("described.json", &described, ""),
        ("contract.json", &add.to_string(), ""),
        ("list.json", &all, " --tool add@^1"),
        ("node.json", &node, " --tool add --tool add@1"),
        ("several.json", &several, " --tool add"),
    ] {
        let from = file(name, text);
        let line = format!("codegen --lang python --from {from}{tool}");
        let made = alone.run(&line).exits(0).stdout;
        assert_eq!(made, wanted.stdout, "{name}");
    }
    // All documents of a file, and the same of a registry, in whatever order.
    let from = file("several.json", &several);
    let made = alone
        .run(&format!("codegen --lang rust --from {from}"))
        .exits(0);
    for tools in [
        "--tool add --tool tool",
        "--tool tool --tool add@^1 --tool add",
    ] {
        let wanted = bus
            .user
            .run(&format!("codegen --lang rust {tools}"))
            .exits(0);
        assert_eq!(made.stdout, wanted.stdout, "{tools}");
    }
    // All of them, as the registry has them.
    let from = file("all.json", &all);
    let made = alone.run(&format!("codegen --lang rust --from {from}"));
    let made = made.exits(0).stdout;
    assert!(made.contains("pub async fn add(") && made.contains("pub async fn twice_v1_10_0("));
    let namespace = format!("codegen --namespace eu --lang typescript --from {from}");
    let made = alone.run(&namespace).exits(0).stdout;
    assert!(made.contains("\"onex.eu.registry.v1\""));

    for (text, tool, told) in [
        ("{", "", "is not JSON"),
        (
            "{\"name\": \"a\", \"version\": \"1.0.0\"}\n{",
            "",
            "is not JSON: EOF while parsing an object at line 2 column 1",
        ),
        (
            "{\"name\": \"a\", \"version\": \"1.0.0\"} [{\"name\": \"b\"}]",
            "",
            "bad.json, document 2: /0/version: version is required",
        ),
        ("[]", "", "has no contract"),
        ("[7]", "", "/0: must be an object"),
        (r#"[{"name": "a"}]"#, "", "/0/version: version is required"),
        (
            r#"{"name": "a", "version": "1.0.0", "inputSchema": {}}"#,
            "",
            "/inputSchema",
        ),
        (
            r#"{"tools": [{"name": "a", "version": "1.0.0", "input_schema": {"properties": {"x": {"type": "nummer"}}}}]}"#,
            "",
            "/tools/0/input_schema/properties/x/type",
        ),
        (
            r#"[{"name": "a", "version": "1.0.0", "output_schema": {"const": 123456789012345678901234567890}}]"#,
            "",
            "/0/output_schema/const: must be a number that 64 bits keep",
        ),
        (
            r#"{"name": "a", "version": "1.0.0", "input_schema": {"minimum": 1e400}}"#,
            "",
            "/input_schema/minimum: must be a number within the range of a double",
        ),
        (
            r#"[{"name": "a", "version": "1.0.0"}, {"name": "a", "version": "1.0.0", "idempotent": true}]"#,
            "",
            "/1: is another contract of a 1.0.0",
        ),
        (&all, " --tool none", "has no contract of none"),
        (&all, " --tool twice@^2", "it has twice 1.0.0, 1.10.0"),
    ] {
        let from = file("bad.json", text);
        let ran = alone.run(&format!("codegen --lang rust --from {from}{tool}"));
        // A file that cannot be used, or a tool that is not offered.
        let ran = ran.exits(if tool.is_empty() { 2 } else { 1 });
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    let gone = alone
        .run("codegen --lang rust --from /nowhere.json")
        .exits(2);
    assert!(gone.stderr.contains("cannot read"), "{}", gone.stderr);
}

/// As editors on Windows write it.
#[test]
fn a_file_of_contracts_may_begin_with_a_byte_order_mark() {
    let alone = User::new().with("NATS_URL", "nats://127.0.0.1:9");
    let add = contracts().remove(0);
    let path = alone.path("add.json");
    let from_file = format!("codegen --lang python --from {}", path.display());
    std::fs::write(&path, add.to_string()).unwrap();
    let wanted = alone.run(&from_file).exits(0).stdout;
    for text in [
        format!("\u{feff}{add}"),
        format!("\u{feff}{add:#}").replace('\n', "\r\n"),
    ] {
        std::fs::write(&path, &text).unwrap();
        assert_eq!(alone.run(&from_file).exits(0).stdout, wanted);
        let made = alone.piped("codegen --lang python --from -", text);
        assert_eq!(made.exits(0).stdout, wanted);
    }
    std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
    let said = alone.run(&from_file).exits(2).stderr;
    assert!(
        said.contains("add.json: it is not UTF-8") && said.contains("save it as UTF-8"),
        "{said}"
    );
}

const ANEW: &str = "write it anew with the same command without --check";

/// A file that is checked against a contract, and against a release of it with other texts, which has another checksum.
struct Checked {
    user: User,
    language: &'static str,
    file: PathBuf,
    contracts: [String; 2],
    /// As it was generated.
    text: String,
}

impl Checked {
    fn new(language: &'static str) -> Self {
        let user = User::new().with("NATS_URL", "nats://127.0.0.1:9");
        let mut add = contracts().remove(0);
        let write = |name: &str, contract: &Value| {
            let path = user.path(name);
            std::fs::write(&path, contract.to_string()).unwrap();
            path.display().to_string()
        };
        let first = write("add.json", &add);
        add["version"] = json!("1.2.1");
        add["description"] = json!("Adds two numbers.\n\nFaster than ever.");
        let contracts = [first, write("release.json", &add)];
        let mut checked = Self {
            file: user.path("tools.x"),
            user,
            language,
            contracts,
            text: String::new(),
        };
        let missing = checked.check(0).exits(2).stderr;
        let wanted = "write it with the same command without --check";
        assert!(
            missing.contains("tools.x") && missing.contains(wanted),
            "{missing}"
        );
        checked.text = checked.made("");
        checked
    }

    /// What is made of the contract with these flags.
    fn made(&self, flags: &str) -> String {
        let Self {
            language,
            contracts: [contract, _],
            ..
        } = self;
        let line = format!("codegen --lang {language} --from {contract} {flags}");
        self.user.run(&line).exits(0).stdout
    }

    fn check(&self, contract: usize) -> crate::harness::Ran {
        let (language, contract) = (self.language, &self.contracts[contract]);
        let file = self.file.display();
        self.user.run(&format!(
            "codegen --lang {language} --out {file} --from {contract} --check"
        ))
    }

    /// All of that is told of a file with that text, against that contract.
    #[track_caller]
    fn tells(&self, text: impl AsRef<[u8]>, contract: usize, all: &[&str]) -> String {
        std::fs::write(&self.file, text).unwrap();
        let said = self.check(contract).exits(1).stderr;
        for it in all {
            assert!(said.contains(it), "{}: no {it:?} in {said}", self.language);
        }
        said
    }
}

#[test]
fn check_says_how_a_right_file_is_stored_and_what_a_wrong_one_is() {
    for language in ["typescript", "python", "rust"] {
        let checked = Checked::new(language);
        let text = &checked.text;
        let only = "nothing else differs";
        let marked = format!("\u{feff}{text}");
        let crlf = text.replace('\n', "\r\n");
        let other = if language == "rust" { "python" } else { "rust" };
        let theirs = checked.made(&format!("--lang {other}"));
        let direct = checked.made("--via direct");
        for contract in [0, 1] {
            let tells = |text: &[u8], all: &[&str]| checked.tells(text, contract, all);
            tells(
                text.trim_end().as_bytes(),
                &["has no newline at its end", only, ANEW],
            );
            tells(
                format!("{text}\n\n").as_bytes(),
                &["empty lines at its end", only, ANEW],
            );
            tells(marked.as_bytes(), &["byte order mark", only, ANEW]);
            tells(crlf.as_bytes(), &["CRLF", only, "eol=lf"]);
            let both = format!("\u{feff}{crlf}");
            tells(both.as_bytes(), &["byte order mark", "CRLF", only]);
            tells(b"", &["it is empty", ANEW]);
            tells(b"\r\n", &["it is empty", ANEW]);
            tells(b"\xff\xfea\0", &["is not UTF-8", ANEW]);
            tells(
                b"import os\n",
                &["does not say that onex wrote it", "right file?"],
            );
            let wanted = format!("it was made with --lang {other}");
            tells(theirs.as_bytes(), &[&wanted, "right file?"]);
            tells(direct.as_bytes(), &["it was made with --via direct"]);
            std::fs::write(&checked.file, text).unwrap();
            checked.check(contract).exits(0);
        }
    }
}

#[test]
fn check_names_the_first_line_that_really_differs() {
    for (language, line) in [
        ("typescript", "right: number"),
        ("python", "right: float"),
        ("rust", "right: f64"),
    ] {
        let checked = Checked::new(language);
        let text = &checked.text;
        let number = 1 + text.lines().position(|it| it.contains(line)).unwrap();
        let at = format!("line {number} is ");
        let edited = text.replacen(line, &line.replace("right", "wrong"), 1);
        let count = text.lines().count();
        // Whatever the checksum is, and in whichever line endings.
        for contract in [0, 1] {
            for edited in [edited.clone(), edited.replace('\n', "\r\n")] {
                let said = checked.tells(edited, contract, &[&at, "wrong", "it was edited", ANEW]);
                assert!(!said.contains("Checksum"), "{said}");
            }
            let wanted = format!("line {} is \"more\", and would not be there", count + 1);
            checked.tells(format!("{text}more\n"), contract, &[&wanted]);
            let less: Vec<&str> = text.lines().take(count - 1).collect();
            let wanted = format!("it ends before line {count}, which would be ");
            checked.tells(less.join("\n") + "\n", contract, &[&wanted]);
            let indented = text.replacen(line, &format!("  {line}"), 1);
            let said = checked.tells(indented, contract, &[&at]);
            let (have, want) = said.split_once(", and would be ").unwrap();
            let have = have.rsplit_once(" is ").unwrap().1;
            assert!(!want.starts_with(have), "{said}");
        }
        // Where nothing but what is told differs, that is it.
        let edited = text.replacen("Adds two", "Adds 2", 1);
        checked.tells(edited, 0, &["Adds 2", "Adds two", "it was edited"]);
        let sum = text.replacen("Checksum: ", "Checksum: 0", 1);
        checked.tells(sum, 0, &["Checksum: 0", "it was edited"]);
        // Made from another contract: edited or not, that is the reason.
        let hash = text.replacen("c2:", "c2:0", 1);
        let said = checked.tells(hash, 0, &["line 7 is ", "add  c2:0", ANEW]);
        assert!(!said.contains("edited"), "{said}");
    }
}
