//! The `nats` command line's contexts: named servers, each with who we are to it.
//!
//! They are files `context/<name>.json` below `$XDG_CONFIG_HOME/nats`; `context.txt` there names the
//! selected one.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::connect::Options;

use super::{environment, failure::Failure, folders::xdg, input};

/// Members that say how to reach a server or who we are to it, and that are not supported: to leave them
/// out would be to ask someone else, or as someone else.
const UNSUPPORTED: [&str; 6] = [
    "nsc",
    "user_jwt",
    "user_seed",
    "socks_proxy",
    "inbox_prefix",
    "tls_first",
];

/// What is read of a context. An empty text is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
}

/// The context of that name; its URL is empty where it names none.
pub(super) fn load(name: &str) -> Result<Options, Failure> {
    let folder = folder()
        .ok_or_else(|| Failure::usage(format!("NATS context {name:?}: there is no home folder")))?;
    if name.is_empty() || name.contains("..") || name.contains('/') {
        return Err(Failure::usage(format!(
            "{name:?} is not the name of a NATS context"
        )));
    }
    let path = folder.join("context").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!(
            "there is no NATS context {name:?}: {} does not exist",
            path.display()
        ))
        .hint("`nats context ls` shows those that there are"),
        _ => Failure::usage(format!("cannot read {}: {error}", path.display())),
    })?;
    options(&input::unmarked(text))
        .map_err(|why| Failure::usage(format!("NATS context {name:?}: {why}")))
}

/// The name of the selected context.
pub(super) fn selected() -> Option<String> {
    let text = std::fs::read_to_string(folder()?.join("context.txt")).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn folder() -> Option<PathBuf> {
    Some(xdg("XDG_CONFIG_HOME", ".config")?.join("nats"))
}

fn options(text: &str) -> Result<Options, String> {
    let whole: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for name in UNSUPPORTED {
        let set = match whole.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(set)) => *set,
            Some(value) => value != "",
        };
        if set {
            return Err(format!("it sets {name}, which onex does not support"));
        }
    }
    let file = File::deserialize(whole).map_err(|error| error.to_string())?;
    let given = |text: String| (!text.is_empty()).then_some(text);
    let path = |text: String| given(text).map(|text| in_home(&text));
    let mut options = Options {
        tls_ca: path(file.ca),
        tls_cert: path(file.cert).zip(path(file.key)),
        ..Options::at(file.url)
    };
    // One identity, and in this order: so does the `nats` command line.
    if let Some(user) = given(file.user) {
        options.user = Some((user, file.password));
    } else if let Some(creds) = path(file.creds) {
        options.creds = Some(creds);
    } else if let Some(nkey) = path(file.nkey) {
        options.nkey = Some(seed(&nkey)?);
    } else {
        options.token = given(file.token);
    }
    Ok(options)
}

/// The seed in an nkey file, which may have other lines around it.
fn seed(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    text.lines()
        .map(str::trim)
        .find(|line| line.starts_with("SU"))
        .map(str::to_owned)
        .ok_or_else(|| format!("{} holds no seed of a user", path.display()))
}

fn in_home(text: &str) -> PathBuf {
    let home = environment::path("HOME").map(PathBuf::from);
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_says_where_and_who() {
        let read = options(
            r#"{"description":"d","url":"tls://one:4222,tls://two:4222","user":"u","password":"p","token":"",
                "creds":"","nkey":"","cert":"/c","key":"/k","ca":"/ca","nsc":"","socks_proxy":"","tls_first":false,
                "windows_ca_certs_match":null}"#,
        );
        let expected = Options {
            user: Some(("u".to_owned(), "p".to_owned())),
            tls_cert: Some(("/c".into(), "/k".into())),
            tls_ca: Some("/ca".into()),
            ..Options::at("tls://one:4222,tls://two:4222")
        };
        assert_eq!(read, Ok(expected));
        let token = options(r#"{"url":"nats://one","token":"t"}"#).unwrap();
        assert_eq!(token.token.as_deref(), Some("t"));
        let creds = options(r#"{"creds":"/x.creds","token":"t"}"#).unwrap();
        assert_eq!((creds.creds, creds.token), (Some("/x.creds".into()), None));
    }

    #[test]
    fn an_nkey_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("user.nk");
        std::fs::write(&file, "-----BEGIN USER NKEY SEED-----\nSUAX\n------END\n").unwrap();
        let context = serde_json::json!({ "nkey": file }).to_string();
        assert_eq!(options(&context).unwrap().nkey.as_deref(), Some("SUAX"));
        std::fs::write(&file, "UAX\n").unwrap();
        assert!(options(&context).unwrap_err().contains("no seed"));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (text, why) in [
            (r#"{"nsc":"nsc://o/a/u"}"#, "nsc"),
            (r#"{"tls_first":true}"#, "tls_first"),
            (r#"{"url":4}"#, "invalid type"),
            ("", "EOF"),
        ] {
            let refused = options(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
