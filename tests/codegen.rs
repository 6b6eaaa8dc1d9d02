//! Clients that `onex codegen` writes, each language: checked by its compiler, wrong ones refused by it, and run against
//! tools that live, by both ways of calling. `tests/tables/contracts.json` has all that a contract can say.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Caller, Provider, Registry, User, claim, installed, node, root};
use onex_registry::codegen::{Language, Order, Source, Via, generate};
use onex_registry::protocol::{canonical::contract_hash, tool::Tool};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

mod harness;

const NODE: &str = "calc";
const ERROR: &[(&str, &str)] = &[
    ("Nats-Service-Error-Code", "422"),
    ("Nats-Service-Error", "too much"),
];

/// Contracts with all that one can say. Where no result is described it is as the arguments are.
fn contracts() -> Vec<Value> {
    let mut all: Vec<Value> = serde_json::from_str(include_str!("tables/contracts.json")).unwrap();
    for tool in &mut all {
        if tool.get("output_schema").is_none() && tool.get("input_schema").is_some() {
            tool["output_schema"] = tool["input_schema"].clone();
        }
    }
    all
}

/// What came of a program: whether it was content, and what it said.
fn ran(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[track_caller]
fn does(command: &mut Command) {
    let (good, said) = ran(command);
    assert!(good, "{command:?}:\n{said}");
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
                    result["closed"]["more"] = json!(1);
                    result
                }
                "twice" => json!({"ok": false, "why": "no"}),
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
    fn write(&self, language: &str, via: &str, file: &Path, more: &str) -> harness::Ran {
        let file = file.display();
        self.user.run(&format!(
            "codegen --lang {language} --via {via} --tool add@^1 --tool everything --tool corners --tool odd-names --tool tool \
             --tool hostile --tool loose --tool bare --tool twice@=1.0.0 --tool twice --out {file} {more}"
        ))
    }

    /// Offers the tool `add` under another contract.
    async fn change(&self) {
        let mut tool = contracts().remove(0);
        tool["output_schema"] = json!({"type": "number"});
        let mut body = claim(self.requester, NODE, self.epoch);
        body["tool"] = tool;
        self.caller.get("tool.register", body).await;
        self.caller.see("tool.list", json!({})).await;
    }

    /// Back to the first contract.
    async fn change_back(&self) {
        let mut body = claim(self.requester, NODE, self.epoch);
        body["tool"] = contracts().remove(0);
        self.caller.get("tool.register", body).await;
        self.caller.see("tool.list", json!({})).await;
    }

    /// What the provider was sent last for a tool.
    fn sent(&self, tool: &str) -> Value {
        let got = self.provider.got();
        let last = got.iter().rfind(|got| got.header("Onex-Tool") == tool);
        let last = last.unwrap_or_else(|| panic!("nobody called {tool}"));
        assert_eq!(last.header("Onex-Correlation-Id"), "of-the-test");
        assert!(last.header("Onex-Contract-Hash").starts_with("sha256:"));
        assert!(!last.header("Onex-Execution-Id").is_empty());
        let left: u64 = last.header("Onex-Timeout-Ms").parse().unwrap();
        assert!((1..=30_000).contains(&left), "{left}");
        last.arguments.clone()
    }

    /// Runs a client against the tools as they are, and as they are when a contract has changed.
    async fn run(&self, command: impl Fn(&str) -> Command) {
        does(command("works").env("NATS_URL", self.registry.url()));
        let wire = |text| serde_json::from_str::<Value>(text).unwrap();
        let everything = wire(include_str!("clients/codegen/everything.json"));
        assert_eq!(self.sent("everything"), everything);
        let odd = wire(include_str!("clients/codegen/odd.json"));
        assert_eq!(self.sent("odd-names"), odd);
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
    let python = || {
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        let path = std::env::join_paths([installed("nats-py"), installed("mypy")]).unwrap();
        command
            .env("PYTHONPATH", path)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let mypy = |here: &Path, file: &str| {
        let mut command = python();
        command.args(["-m", "mypy", "--strict", "--cache-dir"]);
        command.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("mypy"));
        command.args(["tools.py", file]).current_dir(here);
        command
    };
    for (via, field) in [("registry", "rihgt"), ("direct", "mood")] {
        let here = folder.path().join(via);
        does(&mut mypy(&here, "driver.py"));
        let wrong = match field {
            "rihgt" => "from tools import AddArguments\nAddArguments(left=1, right=2, rihgt=2)\n",
            _ => "from tools import AddArguments\nprint(AddArguments(left=1, right=2).mood)\n",
        };
        std::fs::write(here.join("wrong.py"), wrong).unwrap();
        refuses(&mut mypy(&here, "wrong.py"), field);
        bus.run(|what| {
            let mut command = python();
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
    let types = installed("typescript/node_modules/@types");
    let config = |files: &[&str]| {
        json!({
            "compilerOptions": {
                "strict": true, "target": "es2022", "module": "nodenext", "types": ["node"], "typeRoots": [types],
                "noUncheckedIndexedAccess": true, "exactOptionalPropertyTypes": true, "noUnusedLocals": true,
                "noPropertyAccessFromIndexSignature": true, "noUnusedParameters": true, "noImplicitReturns": true,
                "verbatimModuleSyntax": true, "isolatedModules": true, "erasableSyntaxOnly": true,
                // Those of others.
                "skipLibCheck": true,
            },
            "files": files,
        })
    };
    let tsc = |files: &[&str]| {
        std::fs::write(path.join("tsconfig.json"), config(files).to_string()).unwrap();
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

/// The libraries that this test was built with: the name of each, and its file.
fn libraries() -> Vec<(String, PathBuf)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "test",
        "--no-run",
        "--locked",
        "--offline",
        "--test",
        "codegen",
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command
        .args(["--message-format", "json"])
        .current_dir(root());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let wanted = [
            "onex_registry",
            "serde",
            "serde_json",
            "async_nats",
            "tokio",
        ];
        let files = message["filenames"].as_array().into_iter().flatten();
        let mut files = files.filter_map(Value::as_str).map(PathBuf::from);
        let library = files.find(|file| file.extension().is_some_and(|of| of == "rlib"));
        if let Some(library) = library.filter(|_| wanted.contains(&name)) {
            found.push((name.to_owned(), library));
        }
    }
    assert_eq!(found.len(), 5, "{found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn rust() {
    let bus = Bus::start().await;
    let folder = folder(&bus, "rust", "rs");
    let libraries = libraries();
    let rustc = |file: &Path, more: &[&str]| {
        let mut command = Command::new("rustc");
        command
            .args(["--edition", "2024", "-D", "warnings", "-C", "debuginfo=0"])
            .args(more);
        for (name, file) in &libraries {
            let folder = file.parent().unwrap().display();
            command.arg("-L").arg(format!("dependency={folder}"));
            command
                .arg("--extern")
                .arg(format!("{name}={}", file.display()));
        }
        command.arg(file).current_dir(file.parent().unwrap());
        command
    };
    let here = folder.path().join("registry");
    let wrong = "mod tools;\npub fn it() -> tools::AddArguments {\n    \
        tools::AddArguments { left: 1.0, right: 2.0, mode: None, rihgt: 2.0 }\n}\n";
    std::fs::write(here.join("wrong.rs"), wrong).unwrap();
    let check = ["--crate-type", "lib", "--emit", "metadata"];
    refuses(&mut rustc(&here.join("wrong.rs"), &check), "rihgt");
    for via in ["registry", "direct"] {
        let here = folder.path().join(via);
        does(&mut rustc(&here.join("driver.rs"), &["-o", "driver"]));
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

fn written(language: Language, via: Via, tools: &[Value]) -> String {
    let sources: Vec<Source> = tools
        .iter()
        .map(|tool| {
            let contract: Tool = serde_json::from_value(tool.clone()).unwrap();
            let contract_hash = contract_hash(&contract);
            Source {
                contract,
                contract_hash,
            }
        })
        .collect();
    generate(&Order {
        language,
        via,
        sources: &sources,
        command: "onex codegen --tool 'add@^1'",
        prefix: "onex.registry.v1",
    })
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
        let widest: Vec<&str> = widest.collect();
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
        assert_eq!(told, 7, "{language:?}");
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
            assert!(head[0].contains("@generated by onex"), "{head:?}");
            assert!(head[2].contains("onex codegen --tool 'add@^1'"), "{head:?}");
            assert!(head[6].contains("add 1.2.0  sha256:"), "{head:?}");
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
    assert!(
        text.contains(&format!("    {}", line.replace("codegen", "onex codegen"))),
        "{text}"
    );
    // Without a file it is on stdout, and the same but for the command.
    let printed = bus
        .user
        .run("codegen --lang typescript --tool add")
        .exits(0)
        .stdout;
    assert_eq!(
        printed.replace("--tool add", &format!("--tool add --out {shown}")),
        text
    );
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
