//! The environment, read alike everywhere: a variable that is empty or blank is unset, and one whose flag is given is
//! not looked at.

use std::{
    any::TypeId,
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, Command, Error, Id,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use onex_types::ids::Invalid;

/// A variable; none where it is unset or blank. What is no UTF-8 in it is U+FFFD, which no value may have: so it is
/// refused by whoever reads it.
pub(super) fn variable(name: &str) -> Option<String> {
    Some(path(name)?.to_string_lossy().into_owned())
}

/// A variable that may be any path; none where it is unset or blank.
pub(super) fn path(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !is_blank(value))
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| text.trim().is_empty())
}

/// Arguments whose variable is blank, or that `arguments` give, have none; nor have those for which the command that is
/// run has no use (`is_used`). The variable of a flag takes words for yes and no.
pub(super) fn prepare(
    command: Command,
    arguments: &[OsString],
    is_used: impl Fn(&str, &Arg, &OsStr) -> bool,
) -> Command {
    let (given, run) = given(&command, arguments);
    let command = command.mut_args(|argument| {
        let value = argument.get_env().and_then(std::env::var_os);
        match (value, &run) {
            (Some(value), Some(run)) if !is_used(run, &argument, &value) => {
                argument.env(Resettable::Reset)
            }
            _ => argument,
        }
    });
    prepare_all(command, &given)
}

fn prepare_all(command: Command, given: &BTreeSet<Id>) -> Command {
    let argument = |argument: Arg| match argument.get_env().map(std::env::var_os) {
        Some(Some(value)) if is_blank(&value) || given.contains(argument.get_id()) => {
            argument.env(Resettable::Reset)
        }
        Some(_) if matches!(argument.get_action(), ArgAction::SetTrue) => {
            argument.value_parser(yes_or_no)
        }
        _ => argument,
    };
    command
        .mut_args(argument)
        .mut_subcommands(|command| prepare_all(command, given))
}

/// What is given on the command line itself, and the command that is run; nothing where that cannot be parsed.
fn given(command: &Command, arguments: &[OsString]) -> (BTreeSet<Id>, Option<String>) {
    let parsed = without_environment(command.clone()).try_get_matches_from(arguments);
    let mut given = BTreeSet::new();
    let mut level = parsed.as_ref().ok();
    let run = level.and_then(|matches| Some(matches.subcommand_name()?.to_owned()));
    while let Some(matches) = level {
        let ids = matches
            .ids()
            .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine));
        given.extend(ids.cloned());
        level = matches.subcommand().map(|(_, below)| below);
    }
    (given, run)
}

fn yes_or_no(text: &str) -> Result<bool, Invalid> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err(Invalid(
            "must be 1, true, yes or on, or 0, false, no or off".to_owned(),
        )),
    }
}

/// Where the value that is wrong came from a variable, the error names that.
pub(super) fn name_variable(mut error: Error, command: &Command) -> Error {
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(name) = not_text(command)
    {
        let message = format!("{name} must be text in UTF-8");
        return Error::raw(ErrorKind::InvalidUtf8, message).format(&mut command.clone());
    }
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

/// The variable of an argument that must be text, and is none.
fn not_text(command: &Command) -> Option<String> {
    let is_path = |of: &Arg| of.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let name = |of: &Arg| {
        let name = of.get_env().filter(|_| !is_path(of))?;
        let value = std::env::var_os(name)?;
        value
            .to_str()
            .is_none()
            .then(|| name.to_string_lossy().into_owned())
    };
    let mut below = command.get_subcommands();
    let own = command.get_arguments().find_map(name);
    own.or_else(|| below.find_map(not_text))
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
        of.to_string() == argument && is.is_some_and(|is| is.to_string_lossy() == *value)
    };
    let own = command.get_arguments().find(has);
    own.and_then(|of| Some(of.get_env()?.to_string_lossy().into_owned()))
        .or_else(|| {
            let mut below = command.get_subcommands();
            below.find_map(|command| source(command, argument, value))
        })
}
