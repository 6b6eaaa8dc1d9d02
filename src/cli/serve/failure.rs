//! Why `onex serve` ended by itself: what it says, and its exit code.

use crate::{
    cli::{
        connection::Target,
        failure::{Exit, Failure},
        output::{plain, plain_lines},
        session,
    },
    connect, embedded,
    registry::StartError,
};

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
        None => plain(&crate::chain(error.as_ref())).into_owned(),
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
    let chain = crate::chain(&error);
    let text = match data_by {
        Some(by) => format!("{by}: {chain}"),
        None => format!("{chain}; choose another folder with --data"),
    };
    let exit = Exit::Usage;
    Explained { text, exit }.into()
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
        let chain = crate::chain(error.as_ref());
        let (chain, because) = (plain(&chain), &target.because);
        format!("{chain}\n      the server is {because}{hint}")
    };
    Explained { text, exit }.into()
}
