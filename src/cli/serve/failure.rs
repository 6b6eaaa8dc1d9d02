//! Why `onex serve` ended by itself: what it says, and its exit code.

use onex_types::ports::PortRange;

use crate::{
    cli::{
        connection::Target,
        failure::{Exit, Failure},
        output::{plain, plain_lines, span},
        session,
    },
    connect, embedded,
    registry::{StartError, settings::show_ranges},
};

/// The settings that a host's pool takes the place of.
const POOL_SETTINGS: [&str; 2] = ["ports_default", "reserved_default"];

/// A failure that has an exit code of its own, as with every command.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Explained {
    text: String,
    exit: Exit,
}

/// No server can be chosen from the flags and the environment.
pub(super) fn unnamed(failure: Failure) -> anyhow::Error {
    let exit = failure.exit;
    let text = failure.into_message();
    Explained { text, exit }.into()
}

/// What is said of it on the terminal.
pub(super) fn message(error: &anyhow::Error) -> String {
    // What servers and files say stays on one line.
    match error.downcast_ref::<Explained>() {
        Some(Explained { text, .. }) => plain_lines(text),
        None => plain(&onex_types::chain(error.as_ref())).into_owned(),
    }
}

pub(super) fn exit_code(error: &anyhow::Error) -> Exit {
    let mut explained = error.chain().filter_map(|cause| cause.downcast_ref());
    explained
        .next()
        .map_or(Exit::Failed, |it: &Explained| it.exit)
}

/// Whether the data folder cannot be used, which the command line names.
pub(in crate::cli) fn is_about_data(error: &embedded::Error) -> bool {
    matches!(
        error,
        embedded::Error::Data { .. }
            | embedded::Error::DataOfChild { .. }
            | embedded::Error::DataName { .. }
    )
}

/// The error; where the data folder cannot be used with what named it.
pub(super) fn unstarted(error: embedded::Error, data_by: Option<&'static str>) -> anyhow::Error {
    if !is_about_data(&error) {
        return error.into();
    }
    let chain = onex_types::chain(&error);
    let text = match data_by {
        Some(by) => format!("{by}: {chain}"),
        None => format!("{chain}; choose another folder with --data"),
    };
    let exit = Exit::Usage;
    Explained { text, exit }.into()
}

/// The error; where the registry has other settings than it was started with, with what `given` says gave them.
pub(super) fn differing(error: anyhow::Error, given: &[(&'static str, String)]) -> anyhow::Error {
    let Some(StartError::Settings(differences)) = error.downcast_ref() else {
        return error;
    };
    let each = differences.iter().map(|differs| {
        let setting = &differs.setting;
        let given = given.iter().find(|(name, _)| name == setting);
        let by = given.map_or(setting, |(_, by)| by);
        let (stored, started) = (
            setting_value(setting, &differs.stored),
            setting_value(setting, &differs.started),
        );
        format!("{by} says {started}, and this registry has {stored} since its first start")
    });
    let each: Vec<String> = each.collect();
    let mut text = format!(
        "{}: all instances share that; leave it out, or give the same",
        each.join("; ")
    );
    let mut settings = differences.iter().map(|differs| differs.setting.as_str());
    if settings.any(|setting| POOL_SETTINGS.contains(&setting)) {
        text.push_str(". `onex pool set HOST --ports RANGES` changes what is granted on one host");
    }
    let exit = Exit::Usage;
    Explained { text, exit }.into()
}

/// A setting as it is given, from its JSON.
fn setting_value(setting: &str, json: &str) -> String {
    let seconds = |json: &str, unit: u64| {
        let count: Option<u64> = json.parse().ok();
        count.map(|count| span(count.saturating_mul(unit)))
    };
    let text = match setting {
        "ttl_max" => seconds(json, 1_000),
        _ if setting.ends_with("_ms") => seconds(json, 1),
        _ => serde_json::from_str(json)
            .ok()
            .map(|ranges: Vec<PortRange>| show_ranges(&ranges)),
    };
    match text {
        Some(text) => text,
        None if json == "null" => "none".to_owned(),
        None => json.to_owned(),
    }
}

/// The error; where a server cannot be reached, the one of the bus or that of the store, with who named it, and what can be
/// done.
pub(super) fn unreached(
    error: anyhow::Error,
    bus: Option<&Target>,
    store: Option<&Target>,
) -> anyhow::Error {
    let start = error.downcast_ref::<StartError>();
    let store = store.filter(|_| matches!(start, Some(StartError::Store(_))));
    let target = store.or(bus);
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    let (Some(cause), Some(target)) = (causes.next(), target) else {
        return error;
    };
    let failure = session::unconnected(cause, target);
    let hint = match cause {
        // That of a client is to start this command.
        connect::Error::Connect(..) if store.is_some() => String::new(),
        connect::Error::Connect(..) if failure.exit == Exit::Unreachable => {
            "; `onex serve --embedded` starts one of its own instead".to_owned()
        }
        _ => failure
            .shown_hint()
            .map_or_else(String::new, |hint| format!("; {hint}")),
    };
    let exit = failure.exit;
    let text = if exit == Exit::Usage {
        // Nobody was asked: it is not about the server.
        plain(failure.message()).into_owned()
    } else {
        // What a server says stays on one line.
        let chain = onex_types::chain(error.as_ref());
        let (chain, because) = (plain(&chain), &target.because);
        format!("{chain}\n      the server is {because}{hint}")
    };
    Explained { text, exit }.into()
}
