//! The environment, read alike everywhere: a variable that is empty is unset.

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, Command, Error,
    builder::{BoolishValueParser, Resettable},
    error::{ContextKind, ContextValue},
};

/// A variable; none where it is unset, empty or no text.
pub(super) fn variable(name: &str) -> Option<String> {
    path(name)?.into_string().ok()
}

/// A variable that may be any path; none where it is unset or empty.
pub(super) fn path(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Arguments whose variable is empty have none, and the variable of a flag takes 1, true, yes, 0, false and no.
pub(super) fn prepare(command: Command) -> Command {
    let argument = |argument: Arg| match argument.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
        Some(_) if matches!(argument.get_action(), ArgAction::SetTrue) => {
            argument.value_parser(BoolishValueParser::new())
        }
        _ => argument,
    };
    command.mut_args(argument).mut_subcommands(prepare)
}

/// Where the value that is wrong came from a variable, the error names that.
pub(super) fn name_variable(mut error: Error, command: &Command) -> Error {
    let (Some(ContextValue::String(of)), Some(ContextValue::String(value))) = (
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    // An argument that is given goes before its variable, and so would be complained of without it as well.
    let given = without_environment(command.clone()).try_get_matches_from(std::env::args_os());
    let again = given.is_err_and(|without| {
        without.get(ContextKind::InvalidArg) == error.get(ContextKind::InvalidArg)
            && without.kind() == error.kind()
    });
    let mut built = command.clone();
    built.build();
    if !again && let Some(name) = source(&built, of, value) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
    error
}

fn without_environment(command: Command) -> Command {
    let argument = |argument: Arg| argument.env(Resettable::Reset);
    command
        .mut_args(argument)
        .mut_subcommands(without_environment)
}

/// The variable with that value of the argument that is shown so.
fn source(command: &Command, argument: &str, value: &str) -> Option<String> {
    let has = |of: &&Arg| {
        let is = of.get_env().and_then(std::env::var_os);
        of.to_string() == argument && is.is_some_and(|is| is == value)
    };
    let own = command.get_arguments().find(has);
    own.and_then(|of| Some(of.get_env()?.to_string_lossy().into_owned()))
        .or_else(|| {
            let mut below = command.get_subcommands();
            below.find_map(|command| source(command, argument, value))
        })
}
