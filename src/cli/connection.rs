//! The flags that say which NATS server, everywhere.

use std::path::PathBuf;

use clap::Args;
use onex_types::ids::Invalid;

use crate::{
    connect::{self, Options},
    protocol::names::Namespace,
};

use super::{
    context,
    environment::{path, variable},
    failure::Failure,
};

/// Where a NATS server is by default.
const URL_DEFAULT: &str = "nats://127.0.0.1:4222";

/// What says which context where neither a flag nor a variable does.
const SELECTED: &str = "selected";

/// Which server, and who we are to it. The environment is not read by clap: it would not say which of the two it was.
#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
pub(super) struct Flags {
    /// URL of the NATS server, or several with commas between [env: NATS_URL] [default: the context's,
    /// else port 4222 of this machine].
    #[arg(long, global = true, value_name = "URL", value_parser = some_url)]
    nats: Option<String>,
    /// A context of the `nats` command line: server and credentials [env: NATS_CONTEXT] [default: the
    /// selected one; `serve` takes none by itself].
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    files: Files,
    /// Keeps several registries on one NATS system apart.
    #[arg(
        long,
        global = true,
        env = "ONEX_NAMESPACE",
        hide_env_values = true,
        value_name = "NS"
    )]
    namespace: Option<Namespace>,
}

pub(super) fn some_url(text: &str) -> Result<String, Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid(
            "must be the URL of a NATS server: write nats://HOST:PORT".to_owned(),
        ));
    }
    Ok(text.to_owned())
}

/// Files that say who we are to a server, and whom to trust.
#[derive(Debug, Clone, Default, Args)]
struct Files {
    /// Credentials file [env: NATS_CREDS].
    #[arg(long, global = true, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Root certificates to trust besides the system's [env: NATS_CA].
    #[arg(long, global = true, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Client certificate [env: NATS_CERT].
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Key of the client certificate [env: NATS_KEY].
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl Files {
    /// Puts them in the place of what `options` says; certificate and key are said by `by`.
    fn put(self, by: [&str; 2], options: Options) -> Result<Options, Failure> {
        let mut options = match self.creds {
            Some(creds) => options.with_creds(creds),
            None => options,
        };
        options.tls_ca = self.tls_ca.or(options.tls_ca);
        options.tls_cert = match (self.tls_cert, self.tls_key) {
            (None, None) => options.tls_cert,
            (Some(cert), Some(key)) => Some((cert, key)),
            (one, _) => {
                let (is, missing) = match one {
                    Some(_) => (by[0], "--tls-key or NATS_KEY"),
                    None => (by[1], "--tls-cert or NATS_CERT"),
                };
                return Err(Failure::usage(format!("{is} needs {missing} beside it")));
            }
        };
        Ok(options)
    }
}

/// A server, and what made it this one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) options: Options,
    pub(super) because: String,
    /// The context that it is of.
    pub(super) context: Option<String>,
    /// The files, each with the flag or variable that names it.
    files: Vec<(PathBuf, &'static str)>,
    /// The flags that would say something else.
    pub(super) flags: &'static TargetFlags,
}

/// The flags that say which server, and who we are to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TargetFlags {
    pub(super) url: &'static str,
    /// All that say which server.
    pub(super) server: &'static str,
    /// All that say who we are to it.
    pub(super) who: &'static str,
    /// What may help before another server is named.
    pub(super) start: &'static str,
}

/// Those of all commands.
pub(super) const FLAGS: TargetFlags = TargetFlags {
    url: "--nats URL",
    server: "--nats URL or --context NAME",
    who: "--creds or --context",
    start: "is `onex serve` running? `onex serve --embedded` starts one here; ",
};

impl Target {
    /// A server, what made it this one, and its files with what names each.
    pub(super) fn of(
        options: Options,
        because: String,
        files: Vec<(PathBuf, &'static str)>,
        flags: &'static TargetFlags,
    ) -> Self {
        Self {
            options,
            because,
            context: None,
            files,
            flags,
        }
    }

    /// The files that flags name, with these.
    pub(super) fn files_by_flag(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = self.files.iter().map(|(path, by)| (*by, path));
        files.filter(|(by, _)| by.starts_with('-'))
    }

    /// What said the value that is wrong: a flag or a variable; else what named the server.
    pub(super) fn whose(&self, error: &connect::Error) -> &str {
        let path = match error {
            connect::Error::Creds(path, _)
            | connect::Error::Pem(path, _)
            | connect::Error::KeyPair(path, ..) => Some(path),
            connect::Error::Url(..)
            | connect::Error::NotTls(..)
            | connect::Error::TlsRefused(..)
            | connect::Error::Untrusted(..)
            | connect::Error::Connect(..) => None,
        };
        let mut files = self.files.iter();
        let by = path.and_then(|path| files.find(|(file, _)| file == path));
        by.map_or(&self.because, |(_, by)| by)
    }
}

/// What the environment and the `nats` command line say.
struct Surroundings {
    url: Option<String>,
    context: Option<String>,
    selected: Option<String>,
    files: Files,
}

impl Surroundings {
    /// The same for who takes the selected context for nothing.
    fn without_selection() -> Self {
        Self {
            selected: None,
            ..Self::look()
        }
    }

    fn look() -> Self {
        let file = |name| path(name).map(PathBuf::from);
        Self {
            url: variable("NATS_URL"),
            context: variable("NATS_CONTEXT"),
            selected: context::selected(),
            files: Files {
                creds: file("NATS_CREDS"),
                tls_ca: file("NATS_CA"),
                tls_cert: file("NATS_CERT"),
                tls_key: file("NATS_KEY"),
            },
        }
    }
}

/// Where to look: a URL that was given, and the context for the rest.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    url: Option<(String, &'static str)>,
    context: Option<(String, &'static str)>,
}

impl Choice {
    /// Whether it names a server.
    fn says(&self) -> bool {
        self.url.is_some() || self.context.is_some()
    }
}

impl Flags {
    /// The server to ask: by the flags, else by the environment, else by the selected context, else the
    /// default one.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        let around = Surroundings::look();
        self.follow(self.choose(&around), around.files)
    }

    /// The server that flags or environment name; none when they name none.
    pub(super) fn named(&self) -> Result<Option<Target>, Failure> {
        let around = Surroundings::without_selection();
        let choice = self.choose(&around);
        if !choice.says() {
            return Ok(None);
        }
        self.follow(choice, around.files).map(Some)
    }

    /// Whether flags or environment name a server.
    pub(super) fn name_one(&self) -> bool {
        self.choose(&Surroundings::without_selection()).says()
    }

    /// A flag outranks the environment, also for what it does not say: credentials of a context that only
    /// the environment names are not shown to the server that a flag names.
    fn choose(&self, around: &Surroundings) -> Choice {
        let flags = Choice {
            url: self.nats.clone().map(|url| (url, "--nats")),
            context: self.context.clone().map(|name| (name, "--context")),
        };
        let environment = Choice {
            url: around.url.clone().map(|url| (url, "NATS_URL")),
            context: around.context.clone().map(|name| (name, "NATS_CONTEXT")),
        };
        let selected = Choice {
            url: None,
            context: around.selected.clone().map(|name| (name, SELECTED)),
        };
        [flags, environment]
            .into_iter()
            .find(Choice::says)
            .unwrap_or(selected)
    }

    /// What flags say goes before what the environment says, also where the one is a URL or a context with credentials
    /// and the other a file.
    fn follow(&self, choice: Choice, around: Files) -> Result<Target, Failure> {
        let by_flag = self.nats.is_some() || self.context.is_some();
        let context = choice.context.as_ref().map(|(name, _)| name.clone());
        let (mut options, mut because) = match choice.context {
            Some((name, by)) => {
                let because = format!("NATS context {name:?}, {by}");
                let loaded = context::load(&name).map_err(|failure| match by {
                    SELECTED => failure,
                    by => failure.about(by),
                });
                (loaded?, because)
            }
            None => (Options::default(), "the default".to_owned()),
        };
        if let Some((url, by)) = choice.url {
            if url.contains(char::REPLACEMENT_CHARACTER) {
                return Err(Failure::usage(format!("{by} must be text in UTF-8")));
            }
            options.url = url;
            because = format!("from {by}");
        } else if options.url.is_empty() {
            URL_DEFAULT.clone_into(&mut options.url);
        }
        if self.nats.is_some() && self.files.creds.is_some() && options.url_says_who() {
            return Err(Failure::usage(
                "--creds and the user in --nats both say who you are: give one of the two",
            ));
        }
        let said = |is: bool| by_flag && is;
        let flags = self.files.clone();
        // Each with what says it.
        let one = |flag: Option<PathBuf>, by, variable: Option<PathBuf>, name, is_said| {
            let variable = variable.filter(|_| !said(is_said));
            let flag = flag.map(|file| (file, by));
            flag.or(variable.map(|file| (file, name)))
        };
        let (who, ca, cert) = (
            options.says_who(),
            options.tls_ca.is_some(),
            options.tls_cert.is_some(),
        );
        let creds = one(flags.creds, "--creds", around.creds, "NATS_CREDS", who);
        let tls_ca = one(flags.tls_ca, "--tls-ca", around.tls_ca, "NATS_CA", ca);
        let tls_cert = one(
            flags.tls_cert,
            "--tls-cert",
            around.tls_cert,
            "NATS_CERT",
            cert,
        );
        let tls_key = one(flags.tls_key, "--tls-key", around.tls_key, "NATS_KEY", cert);
        let by = [&tls_cert, &tls_key].map(|one| one.as_ref().map_or("", |(_, by)| by));
        let file = |one: &Option<(PathBuf, &'static str)>| one.clone().map(|(file, _)| file);
        let files = Files {
            creds: file(&creds),
            tls_ca: file(&tls_ca),
            tls_cert: file(&tls_cert),
            tls_key: file(&tls_key),
        };
        let options = files.put(by, options)?;
        let files = [creds, tls_ca, tls_cert, tls_key];
        Ok(Target {
            options,
            because,
            context,
            files: files.into_iter().flatten().collect(),
            flags: &FLAGS,
        })
    }

    /// Why these flags cannot be meant together.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let both = self.nats.is_some() && self.context.is_some();
        both.then_some("--nats and --context both name a server: give one of the two")
    }

    /// What each of them says, where it is given; of a URL what may be shown.
    pub(super) fn given(&self) -> [(&'static str, Option<String>); 7] {
        let path = |path: &Option<PathBuf>| Some(path.as_ref()?.display().to_string());
        let files = &self.files;
        let namespace = self.namespace.as_ref().and_then(Namespace::name);
        [
            (
                "--nats",
                self.nats.as_ref().map(|url| Options::at(url).shown()),
            ),
            ("--context", self.context.clone()),
            ("--creds", path(&files.creds)),
            ("--tls-ca", path(&files.tls_ca)),
            ("--tls-cert", path(&files.tls_cert)),
            ("--tls-key", path(&files.tls_key)),
            ("--namespace", namespace.map(ToString::to_string)),
        ]
    }

    /// The namespace.
    pub(super) fn namespace(&self) -> Namespace {
        self.namespace.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `flags` and `around` are a URL and a context each; so is what is expected, with who said it.
    #[track_caller]
    fn check(
        flags: [Option<&str>; 2],
        around: [Option<&str>; 2],
        selected: Option<&str>,
        expected: [Option<(&str, &'static str)>; 2],
    ) {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let flags = Flags {
            nats: own(flags[0]),
            context: own(flags[1]),
            files: Files::default(),
            namespace: None,
        };
        let choice = flags.choose(&Surroundings {
            url: own(around[0]),
            context: own(around[1]),
            selected: own(selected),
            files: Files::default(),
        });
        let [url, context] = expected.map(|it| it.map(|(text, by)| (text.to_owned(), by)));
        assert_eq!(choice, Choice { url, context });
    }

    #[test]
    fn flags_then_environment_then_the_selected_context() {
        let (url, ctx, sel) = (Some("u"), Some("c"), Some("s"));
        check([None; 2], [None; 2], None, [None, None]);
        check([None; 2], [None; 2], sel, [None, Some(("s", "selected"))]);
        check([None; 2], [url, None], sel, [Some(("u", "NATS_URL")), None]);
        check(
            [None; 2],
            [url, ctx],
            sel,
            [Some(("u", "NATS_URL")), Some(("c", "NATS_CONTEXT"))],
        );
        let flagged = Some(("f", "--nats"));
        check([Some("f"), None], [url, ctx], sel, [flagged, None]);
        check(
            [None, Some("f")],
            [url, ctx],
            sel,
            [None, Some(("f", "--context"))],
        );
        check(
            [Some("f"), ctx],
            [url, None],
            sel,
            [flagged, Some(("c", "--context"))],
        );
    }
}
