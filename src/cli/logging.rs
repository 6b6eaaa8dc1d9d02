//! What `onex serve` logs, and how.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, field::MakeExt, filter::LevelFilter, fmt::format::debug_fn};

use super::{environment, output::plain};

/// Says which messages are logged.
const VARIABLE: &str = "RUST_LOG";
/// What the targets of our own messages begin with.
const OWN: &str = "onex";
/// The client library, which logs as errors what is handled, and said, here.
const CLIENT: &str = "async_nats";
/// Its modules that log passwords below these levels, whoever asks for that.
const SECRETS: [&str; 2] = ["async_nats::connector=info", "async_nats::connection=debug"];

/// Logs to stderr from now on.
pub(super) fn start(json: bool) {
    let told = environment::variable(VARIABLE).unwrap_or_default();
    let filter = EnvFilter::try_new(directives(&told)).unwrap_or_else(|error| {
        eprintln!("onex serve: {VARIABLE}={told:?} is not understood ({error}); logging at info");
        EnvFilter::new(directives(""))
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // What cannot be logged is lost; to say so where it cannot be said would be a panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        // What others said stays on one line, and no terminal obeys it.
        let fields = debug_fn(|writer, field, value| {
            let text = format!("{value:?}");
            match field.name() {
                "message" => write!(writer, "{}", plain(&text)),
                name => write!(writer, "{name}={}", plain(&text)),
            }
        });
        log.fmt_fields(fields.delimited(" "))
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init();
    }
}

/// The directives for what `RUST_LOG` says. A level alone is one for our own messages: those of libraries stay warnings,
/// unless a directive names them.
fn directives(told: &str) -> String {
    let parts = told.split(',').map(str::trim);
    let (levels, named): (Vec<_>, Vec<_>) = parts
        .filter(|part| !part.is_empty())
        .partition(|part| part.parse::<LevelFilter>().is_ok());
    let level = levels.last().and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    let libraries = level.min(LevelFilter::WARN);
    let own = [
        libraries.to_string(),
        format!("{CLIENT}=off"),
        format!("{OWN}={level}"),
    ];
    let names_client = named.iter().any(|directive| directive.contains(CLIENT));
    let secrets = SECRETS.into_iter().filter(|_| names_client);
    // Of two directives for one target the later one counts.
    own.iter()
        .map(String::as_str)
        .chain(named)
        .chain(secrets)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_our_own_messages() {
        for (told, expected) in [
            ("", "warn,async_nats=off,onex=info"),
            ("debug", "warn,async_nats=off,onex=debug"),
            ("info,trace", "warn,async_nats=off,onex=trace"),
            ("error", "error,async_nats=off,onex=error"),
            ("off", "off,async_nats=off,onex=off"),
            (
                "debug,async_nats=debug",
                "warn,async_nats=off,onex=debug,async_nats=debug,\
                 async_nats::connector=info,async_nats::connection=debug",
            ),
            (
                "async_nats::connector=trace",
                "warn,async_nats=off,onex=info,async_nats::connector=trace,\
                 async_nats::connector=info,async_nats::connection=debug",
            ),
            (
                "onex_registry::store=trace",
                "warn,async_nats=off,onex=info,onex_registry::store=trace",
            ),
        ] {
            assert_eq!(directives(told), expected, "{told}");
            assert!(EnvFilter::try_new(directives(told)).is_ok());
        }
    }
}
