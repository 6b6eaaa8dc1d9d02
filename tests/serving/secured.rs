//! A NATS server that asks who its clients are: certificates on both sides, and credentials of an operator's account.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::harness::PATIENCE;
use crate::monitored::Monitored;
use onex_registry::connect::Options;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

const ONEX: &str = env!("CARGO_BIN_EXE_onex");

/// Certificates as files.
struct Certificates {
    ca: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

impl Certificates {
    fn make(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca = folder.join("ca.pem");
        fs::write(&ca, issuer.pem()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names)
                .unwrap()
                .signed_by(&key, &issuer)
                .unwrap();
            let files = (
                folder.join(format!("{name}.pem")),
                folder.join(format!("{name}.key")),
            );
            fs::write(&files.0, certificate.pem()).unwrap();
            fs::write(&files.1, key.serialize_pem()).unwrap();
            files
        };
        Self {
            ca,
            server: signed("server"),
            client: signed("client"),
        }
    }
}

/// What an operator hands out: the server's part of its configuration, and a user's credentials.
struct Operator {
    config: String,
    creds: PathBuf,
}

impl Operator {
    /// With the `nats` command, as an administrator would.
    fn make(folder: &Path) -> Self {
        let creds = folder.join("user.creds");
        let creds_text = creds.to_str().unwrap();
        let nats = |words: &[&str]| {
            let output = Command::new("nats")
                .args(words)
                .env("XDG_CONFIG_HOME", folder)
                .env("XDG_DATA_HOME", folder)
                .env("HOME", folder)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        nats(&["auth", "operator", "add", "TEST"]);
        nats(&[
            "auth",
            "account",
            "add",
            "APP",
            "--defaults",
            "--jetstream",
            "--js-disk=2GiB",
            "--js-memory=1GiB",
        ]);
        nats(&["auth", "user", "add", "registry", "APP", "--defaults"]);
        nats(&["auth", "user", "credential", creds_text, "registry", "APP"]);
        let store = folder.join("nats/nsc/stores/TEST");
        let jwt = |file: &str| {
            fs::read_to_string(store.join(file))
                .unwrap()
                .trim()
                .to_owned()
        };
        let accounts = ["SYSTEM", "APP"].map(|name| jwt(&format!("accounts/{name}/{name}.jwt")));
        let [system, app] = accounts.each_ref().map(|jwt| subject(jwt));
        let [system_jwt, app_jwt] = &accounts;
        let operator = jwt("TEST.jwt");
        let config = format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{ {system}: {system_jwt}, {app}: {app_jwt} }}\n"
        );
        Self { config, creds }
    }
}

/// Whom a JWT is about.
fn subject(jwt: &str) -> String {
    let body = jwt.split('.').nth(1).unwrap();
    let decoded = Command::new("python3")
        .args(["-c", "import base64,sys; b=sys.argv[1]; print(base64.urlsafe_b64decode(b + '=' * (-len(b) % 4)).decode())", body])
        .output()
        .unwrap();
    let claims: Value = serde_json::from_slice(&decoded.stdout).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

struct Serve {
    child: Child,
    /// What it said of how to try it.
    typed: String,
}

impl Serve {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(ONEX)
            .arg("serve")
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let ready = lines.by_ref().map(Result::unwrap).find(|line| {
            said.push_str(line);
            said.push('\n');
            line.contains(" try: ")
        });
        let Some(typed) = ready else {
            panic!("{said}");
        };
        // It must be able to go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, typed }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn credentials_and_certificates_let_in_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path());
    let operator = Operator::make(folder.path());
    let (ca, (cert, key)) = (certificates.ca.to_str().unwrap(), &certificates.server);
    let config = format!(
        "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n\
         jetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{ca}\", verify: true }}\n{}",
        folder.path().join("store").display(),
        cert.display(),
        key.display(),
        operator.config,
    );
    let server = Monitored::start(&config, folder.path());
    let port = server.nats.rsplit(':').next().unwrap();
    let url = format!("tls://localhost:{port}");
    let creds = operator.creds.to_str().unwrap();
    let (cert, key) = (
        certificates.client.0.to_str().unwrap(),
        certificates.client.1.to_str().unwrap(),
    );
    let all = [
        "--nats",
        &url,
        "--creds",
        creds,
        "--tls-ca",
        ca,
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ];

    // Without the credentials, without the client's certificate, without trust in the server's.
    for without in ["--creds", "--tls-cert", "--tls-ca"] {
        let mut arguments: Vec<&str> = all.to_vec();
        let at = arguments.iter().position(|word| *word == without).unwrap();
        arguments.drain(at..at + if without == "--tls-cert" { 4 } else { 2 });
        let output = Command::new(ONEX)
            .arg("serve")
            .args(&arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let (code, hint) = match without {
            "--creds" => (1, "say who you are with --creds"),
            "--tls-cert" => (1, "--tls-cert and --tls-key"),
            _ => (69, "--tls-ca FILE"),
        };
        assert_eq!(output.status.code(), Some(code), "{without}: {said}");
        assert!(
            said.contains(&format!("cannot connect to NATS at {url}")) && said.contains(hint),
            "{without}: {said}"
        );
        let untrusted = said.contains("its certificate is not trusted");
        assert_eq!(untrusted, without == "--tls-ca", "{without}: {said}");
    }
    // A key of another certificate is the command line's fault, and found before anyone is asked.
    let (other, _) = &certificates.server;
    let other = other.to_str().unwrap();
    for command in [["serve", "--no-probe"], ["port", "list"]] {
        let output = Command::new(ONEX)
            .args(command)
            .args(["--nats", &url, "--tls-ca", ca])
            .args(["--tls-cert", other, "--tls-key", key])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(other) && said.contains(key), "{said}");
    }
    // What a server without a client's certificate says is no lack of a server.
    let output = Command::new(ONEX)
        .args(["-o", "json", "port", "list", "--nats", &url])
        .args(["--creds", creds, "--tls-ca", ca])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ACCESS_DENIED"), "{said}");
    // A client says what to do about it.
    let output = Command::new(ONEX)
        .args(["-o", "json", "port", "list", "--nats", &url])
        .args(["--creds", creds, "--tls-cert", cert, "--tls-key", key])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    let error = &serde_json::from_str::<Value>(&said).unwrap()["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("UNTRUSTED_SERVER"), &json!(false))
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("certificate") && message.contains("not trusted"),
        "{message}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("--tls-ca"),
        "{error}"
    );

    let serve = Serve::start(&all);
    // The files that were given are those that the command needs.
    let typed = format!(
        "try: nats --server {url} --creds {creds} --tlsca {ca} --tlscert {cert} --tlskey {key} req "
    );
    assert!(serve.typed.contains(&typed), "{}", serve.typed);
    let options = Options {
        creds: Some(operator.creds.clone()),
        tls_ca: Some(certificates.ca.clone()),
        tls_cert: Some(certificates.client.clone()),
        ..Options::at(&url)
    };
    let client = options.connect("test", |_| ()).await.unwrap();
    let lease_request =
        json!({"requester_id": "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21", "protocol": "http"});
    let reply = client
        .request(
            "onex.registry.v1.port.lease",
            lease_request.to_string().into(),
        )
        .await
        .unwrap();
    let lease: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(lease["status"], "active", "{lease}");
    assert!(server.get("/healthz").0 == 200);
}

/// The log may be on another server, which is reached by a connection of its own.
#[test]
fn a_store_whose_certificate_is_not_trusted_is_told_of_like_any_server() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path());
    let (cert, key) = &certificates.server;
    let config = |name: &str, tls: &str| {
        format!(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n{tls}\n",
            folder.path().join(name).display(),
        )
    };
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}",
        cert.display(),
        key.display()
    );
    let [of_bus, of_store] = ["bus", "store"].map(|name| folder.path().join(name));
    for folder in [&of_bus, &of_store] {
        fs::create_dir(folder).unwrap();
    }
    let bus = Monitored::start(&config("bus", ""), &of_bus);
    let store = Monitored::start(&config("store", &tls), &of_store);
    let port = store.nats.rsplit(':').next().unwrap();
    let (secured, plain) = (
        format!("tls://localhost:{port}"),
        bus.nats.replace("nats://", "tls://"),
    );
    for command in ["serve", "doctor"] {
        for (url, words) in [
            (&secured, ["is not trusted", "UnknownIssuer", "--tls-ca"]),
            (&plain, ["does not speak TLS", "--store-nats", "nats://"]),
        ] {
            let output = Command::new(ONEX)
                .args([command, "--nats", &bus.nats, "--store-nats", url])
                .env("HOME", folder.path())
                .env_remove("XDG_STATE_HOME")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(69), "{command} {url}: {said}");
            let told = said.split_once("onex").unwrap().1;
            for word in words.into_iter().chain([url.as_str()]) {
                assert!(told.contains(word), "{command} {word}: {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_password_in_the_url_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n\
         authorization {{ user: onex, password: \"s3cret\" }}\n",
        folder.path().join("store").display(),
    );
    let server = Monitored::start(&config, folder.path());
    let address = server.nats.trim_start_matches("nats://");
    let output = Command::new(ONEX)
        .args(["serve", "--nats", &format!("nats://onex:wrong@{address}")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("wrong"), "the password is shown: {said}");
    let reason = said.lines().find(|line| line.starts_with("onex serve: "));
    let times = reason.unwrap().matches("authorization violation").count();
    assert_eq!(times, 1, "{said}");

    let url = format!("nats://onex:s3cret@{address}");
    let serve = Serve::start(&["--nats", &url]);
    assert!(!serve.typed.contains("s3cret"), "{}", serve.typed);
    let client = Options::at(&url).connect("test", |_| ()).await.unwrap();
    let asked = client.request("onex.registry.v1.describe", "{}".into());
    assert!(asked.await.unwrap().headers.is_some());
}

/// The users that docs/operations.md shows, with passwords.
fn documented_users() -> String {
    let docs = include_str!("../../docs/operations.md");
    let (_, section) = docs.split_once("## Who may do what").unwrap();
    let lines = section
        .lines()
        .skip_while(|line| !line.starts_with("    users:"));
    let block: Vec<&str> = lines.take_while(|line| line.starts_with("    ")).collect();
    let users = block.join("\n");
    ["REGISTRY", "OPERATOR", "BUILD", "AGENT"]
        .iter()
        .fold(users, |users, name| {
            users.replace(&format!("${name}_PASSWORD"), "s3cret")
        })
}

/// A server that has them.
fn server_of_documented_users(folder: &Path) -> Monitored {
    let config = format!(
        "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n\
         authorization {{\n{}\n}}\n",
        folder.join("store").display(),
        documented_users(),
    );
    Monitored::start(&config, folder)
}

/// Its URL for that user.
fn url_of(server: &Monitored, user: &str) -> String {
    let address = server.nats.trim_start_matches("nats://");
    format!("nats://{user}:s3cret@{address}")
}

#[test]
fn an_agent_needs_no_more_than_the_permissions_that_are_documented() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_of_documented_users(folder.path());
    let registry = url_of(&server, "registry");
    let _serve = Serve::start(&["--nats", &registry, "--host", "here", "--no-probe"]);
    let onex = |user: &str, words: &[&str]| {
        let url = url_of(&server, user);
        let mut command = Command::new(ONEX);
        let words = [words, &["--host", "there", "--nats", &url]].concat();
        command.args(words).env("HOME", folder.path());
        command
    };
    let refused = onex("build", &["agent"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let told = said.matches("does not allow what an agent needs").count();
    assert_eq!(told, 1, "{said}");
    assert!(said.contains("onex.registry.v1.peer.instances"), "{said}");

    let mut agent = onex("agent", &["agent"]).spawn().unwrap();
    let since = Instant::now();
    loop {
        let leased = onex("build", &["port", "lease", "-o", "json"]).output();
        let lease: Value = serde_json::from_slice(&leased.unwrap().stdout).unwrap();
        if lease["availability"] == "verified" {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{lease}");
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn permissions_of_the_server_say_who_may_set_pools_and_administer() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_of_documented_users(folder.path());
    let of = |user: &str| url_of(&server, user);
    let registry = of("registry");
    let _serve = Serve::start(&["--nats", &registry, "--host", "here", "--no-probe"]);
    let onex = |user: &str, line: &str| {
        let mut words = line.split(' ').collect::<Vec<_>>();
        let url = of(user);
        words.extend(["--nats", &url]);
        let output = Command::new(ONEX)
            .args(words)
            .env("HOME", folder.path())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for line in ["port lease --host here", "pool list", "node list"] {
        let (code, said) = onex("build", line);
        assert_eq!(code, Some(0), "{line}: {said}");
    }
    for line in [
        "pool set here --ports 30000-30009",
        "pool delete here",
        "admin unquarantine --port 20000 --host here --reason gone",
    ] {
        let (code, said) = onex("build", line);
        assert_eq!(code, Some(1), "{line}: {said}");
        assert!(
            said.contains("may not publish") || said.contains("ermission"),
            "{line}: {said}"
        );
        assert_eq!(onex("operator", line).0, Some(0), "{line}");
    }
}
