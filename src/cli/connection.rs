//! The flags that say which NATS server, everywhere.

use std::path::PathBuf;

use clap::Args;

use crate::{connect::Options, protocol::names::Namespace};

use super::{context, failure::Failure};

/// Where a NATS server is by default.
const URL_DEFAULT: &str = "nats://127.0.0.1:4222";

/// Which server, and who we are to it.
#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
pub(super) struct Flags {
    /// URL of the NATS server, or several with commas between [env: NATS_URL] [default: the context's,
    /// else port 4222 of this machine].
    // The environment is not read by clap: it would not say which of the two it was.
    #[arg(long, global = true, value_name = "URL")]
    nats: Option<String>,
    /// A context of the `nats` command line: server and credentials [env: NATS_CONTEXT] [default: the
    /// selected one; `serve` takes none by itself].
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Credentials file.
    #[arg(
        long,
        global = true,
        env = "NATS_CREDS",
        hide_env_values = true,
        value_name = "FILE"
    )]
    creds: Option<PathBuf>,
    /// Root certificates to trust besides the system's.
    #[arg(
        long,
        global = true,
        env = "NATS_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    tls_ca: Option<PathBuf>,
    /// Client certificate.
    #[arg(
        long,
        global = true,
        env = "NATS_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// Key of the client certificate.
    #[arg(
        long,
        global = true,
        env = "NATS_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
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

/// A server, and what made it this one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) options: Options,
    pub(super) because: String,
}

/// What the environment and the `nats` command line say.
struct Surroundings {
    url: Option<String>,
    context: Option<String>,
    selected: Option<String>,
}

impl Surroundings {
    fn look() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            url: set("NATS_URL"),
            context: set("NATS_CONTEXT"),
            selected: context::selected(),
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
        self.follow(self.choose(Surroundings::look()))
    }

    /// The server that flags or environment name; none when they name none.
    pub(super) fn named(&self) -> Result<Option<Options>, Failure> {
        let choice = self.choose_named();
        if !choice.says() {
            return Ok(None);
        }
        Ok(Some(self.follow(choice)?.options))
    }

    /// Whether flags or environment name a server.
    pub(super) fn name_one(&self) -> bool {
        self.choose_named().says()
    }

    fn choose_named(&self) -> Choice {
        self.choose(Surroundings {
            selected: None,
            ..Surroundings::look()
        })
    }

    /// A flag outranks the environment, also for what it does not say: credentials of a context that only
    /// the environment names are not shown to the server that a flag names.
    fn choose(&self, around: Surroundings) -> Choice {
        let flags = Choice {
            url: self.nats.clone().map(|url| (url, "--nats")),
            context: self.context.clone().map(|name| (name, "--context")),
        };
        let environment = Choice {
            url: around.url.map(|url| (url, "NATS_URL")),
            context: around.context.map(|name| (name, "NATS_CONTEXT")),
        };
        let selected = Choice {
            url: None,
            context: around.selected.map(|name| (name, "selected")),
        };
        [flags, environment]
            .into_iter()
            .find(Choice::says)
            .unwrap_or(selected)
    }

    fn follow(&self, choice: Choice) -> Result<Target, Failure> {
        let (mut options, mut because) = match choice.context {
            Some((name, by)) => {
                let because = format!("NATS context {name:?}, {by}");
                (context::load(&name)?, because)
            }
            None => (Options::default(), "the default".to_owned()),
        };
        if let Some((url, by)) = choice.url {
            options.url = url;
            because = format!("from {by}");
        } else if options.url.is_empty() {
            URL_DEFAULT.clone_into(&mut options.url);
        }
        if self.creds.is_some() {
            options = Options {
                creds: self.creds.clone(),
                user: None,
                token: None,
                nkey: None,
                ..options
            };
        }
        if self.tls_ca.is_some() {
            options.tls_ca.clone_from(&self.tls_ca);
        }
        if let Some(pair) = self.tls_cert.clone().zip(self.tls_key.clone()) {
            options.tls_cert = Some(pair);
        }
        Ok(Target { options, because })
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
            creds: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            namespace: None,
        };
        let choice = flags.choose(Surroundings {
            url: own(around[0]),
            context: own(around[1]),
            selected: own(selected),
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
