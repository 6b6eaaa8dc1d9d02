//! What `docs/architecture.md` says about the source, as tests: which module may use which, and what each must not know.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lines that a source file should not exceed.
const FILE_LINES_MAX: usize = 450;

/// Module of the package at the root -> those that it may use. Between crates the manifests say it.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli", "embedded"]),
    (
        "cli",
        &[
            "client", "codegen", "connect", "contract", "embedded", "protocol", "registry",
        ],
    ),
    ("codegen", &["contract", "protocol"]),
    ("registry", &["connect", "contract", "protocol", "throttle"]),
    ("embedded", &["server_version"]),
    ("throttle", &[]),
    // Crates, under the names that the root gives them.
    ("client", &[]),
    ("connect", &[]),
    ("contract", &[]),
    ("protocol", &[]),
    ("server_version", &[]),
];

/// Folders, words that must not stand in their code, and the files that are excepted.
const ABSENCES: &[(&str, &[&str], &[&str])] = &[
    // It panics where the clock is before 1970: `onex_machine::new_id` does not.
    ("src", &["now_v7"], &[]),
    ("crates/client", &["now_v7"], &[]),
    ("src/codegen", &["tokio", "std::fs"], &[]),
    // Where it stands in what is written.
    ("src/codegen", &["async fn"], &["rust.rs"]),
    // The texts of a check say what to do on the server.
    (
        "src/registry",
        &["jetstream", "$KV", "$JS"],
        &["nats_server.rs"],
    ),
    (
        "src/registry",
        &["Instant::now()"],
        &[
            "clock.rs",
            // How long it takes to start, and to publish.
            "publisher.rs",
            // How long work takes.
            "fair_queue.rs",
            "start.rs",
            "pause.rs",
            // Of calls: how long they take, and until when they are waited for.
            "attempts.rs",
            "call.rs",
            "caller.rs",
            "under_way.rs",
            "once.rs",
            "probe.rs",
        ],
    ),
    (
        "src/cli",
        &["jetstream", "$KV", "$JS", "onex_core", "onex_log"],
        &[],
    ),
    ("crates/client", &["jetstream", "$KV", "$JS"], &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

/// The files of all crates.
fn all_files() -> impl Iterator<Item = PathBuf> {
    [source(), root().join("crates")]
        .into_iter()
        .flat_map(|folder| files(&folder))
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The top-level module that a file belongs to.
fn module(file: &Path) -> String {
    let below = file.strip_prefix(source()).unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// A file's code without its tests and comments.
pub(crate) fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules of ours that a file uses: by `crate::a`, by `crate::{a, b::c}`, from main by our name.
fn used(code: &str) -> BTreeSet<String> {
    let paths = crate::circles::paths(code).into_iter();
    let ours = paths.filter(|path| path[0] == "crate" || path[0] == "onex_registry");
    ours.filter_map(|path| path.get(1).cloned()).collect()
}

#[test]
fn arrows_run_one_way() {
    let modules: BTreeSet<&str> = ARROWS.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    for file in files(&source()) {
        let module = module(&file);
        if module == "lib" {
            continue;
        }
        let allowed = ARROWS.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{module} has no arrows"));
        for used in used(&code(&file)) {
            if modules.contains(used.as_str())
                && used != module
                && !allowed.contains(&used.as_str())
            {
                wrong.push(format!("{}: {module} -> {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_module_must_not_know() {
    let mut wrong = Vec::new();
    for (folder, words, excepted) in ABSENCES {
        for file in files(&root().join(folder)) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let code = code(&file);
            if !excepted.contains(&name.as_str()) {
                wrong.extend(
                    words
                        .iter()
                        .filter(|word| code.contains(**word))
                        .map(|word| format!("{}: {word}", file.display())),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = all_files()
        .map(|file| (code(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, file)| format!("{}: {lines}", file.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The client and `onex` build elsewhere as well. The module that runs commands is not there at all.
#[test]
fn crates_that_only_linux_has_are_used_behind_cfg() {
    const CFG: &str = "#[cfg(target_os = \"linux\")]";
    let run = source().join("cli/run");
    let mut users = 0;
    for file in all_files() {
        let code = code(&file);
        let first = ["procfs::", "signal_hook::"].map(|name| code.find(name));
        let Some(first) = first.into_iter().flatten().min() else {
            continue;
        };
        users += 1;
        assert!(
            file.starts_with(&run) || code[..first].contains(CFG),
            "{}: no {CFG} before it",
            file.display()
        );
    }
    assert!(users > 2, "the names of the crates are others now");
}

/// Each is linked for itself, which takes as long as many tests: a new file is a module of one of them.
#[test]
fn integration_tests_link_into_few_binaries() {
    const BINARIES_MAX: usize = 8;
    let root = root();
    let crates = fs::read_dir(root.join("crates")).unwrap();
    let packages = crates.map(|entry| entry.unwrap().path());
    let folders = packages.chain([root.to_owned()]).map(|it| it.join("tests"));
    let found = folders.filter_map(|folder| fs::read_dir(folder).ok());
    let is_binary = |path: &Path| {
        path.extension().is_some_and(|it| it == "rs") || path.join("main.rs").exists()
    };
    let binaries: Vec<PathBuf> = found
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_binary(path))
        .collect();
    assert!((2..=BINARIES_MAX).contains(&binaries.len()), "{binaries:?}");
}

#[test]
fn every_licence_of_the_manifest_has_its_file_and_is_named_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let files: Vec<(&str, &str, &str)> = env!("CARGO_PKG_LICENSE")
        .split(" OR ")
        .map(|licence| match licence {
            "MIT" => ("LICENSE-MIT", "MIT License", "THE SOFTWARE IS PROVIDED"),
            "Apache-2.0" => (
                "LICENSE-APACHE",
                "Version 2.0, January 2004",
                "END OF TERMS AND CONDITIONS",
            ),
            other => panic!("which file has the text of {other}?"),
        })
        .collect();
    for (name, title, end) in files {
        let text = fs::read_to_string(root().join(name));
        let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(title) && text.contains(end), "{name}: {text}");
        assert!(readme.contains(&format!("]({name})")), "{name}");
    }
}

#[test]
fn the_scan_sees_every_form_of_import() {
    let code =
        "use crate::{a::{x, y}, b, c::d};\nlet z = crate::e::f();\nuse onex_registry::{g};\n";
    let want = ["a", "b", "c", "e", "g"].map(str::to_owned);
    assert_eq!(used(code), want.into());
}
