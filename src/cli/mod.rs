//! The command line: one file a command.

mod admin;
mod agent;
mod backup;
mod bus;
mod cells;
mod codegen;
mod codegen_check;
mod completions;
mod connection;
mod context;
mod contract_file;
mod definition;
mod describe;
mod doctor;
mod environment;
mod failure;
mod folders;
mod host;
mod input;
mod logging;
mod man;
mod nearest;
mod node;
mod onex;
mod order;
mod output;
mod parse;
mod pool;
mod port;
mod requester;
#[cfg(target_os = "linux")]
mod run;
mod same_server;
mod schema;
mod serve;
mod session;
mod signals;
mod signature;
mod stopping;
mod store;
mod store_access;
mod tool;
mod trust;
mod typed;
mod variables;
mod version;
mod watch;

use std::{ffi::OsStr, process::ExitCode};

use clap::{Arg, FromArgMatches as _, ValueEnum as _, error::ErrorKind, parser::ValueSource};

#[cfg(target_os = "linux")]
pub use run::{RUN_CHILD, run_child};

use failure::{Exit, Failure};
use onex::{Asking, Command, OUTPUT_VARIABLE, Onex, Question};
use output::{Format, Output};
use session::Session;

/// Runs what the arguments say.
pub fn run() -> ExitCode {
    let onex = match Onex::read() {
        Ok(onex) => onex,
        Err(error) => return misused(&error),
    };
    let Onex {
        asking,
        connection,
        command,
    } = onex;
    let output = Output::new(asking.output).repeating(connection.repeated());
    if let Err(failure) = command.can_be_shown(&asking) {
        output.failure(&failure);
        return failure.exit.into();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("onex: cannot start: {error}");
            #[cfg(target_os = "linux")]
            if let Command::Run(_) = command {
                return run::OWN_FAILURE.into();
            }
            return ExitCode::FAILURE;
        }
    };
    let question = match command {
        Command::Serve(serve) => {
            let exit = runtime.block_on(serve.run(&connection));
            // A name that is still being looked up must not hold up the exit.
            runtime.shutdown_background();
            return exit;
        }
        #[cfg(target_os = "linux")]
        Command::Run(run) => {
            let exit = runtime.block_on(run.run(&connection, asking.timeout, output));
            runtime.shutdown_background();
            return exit;
        }
        Command::Agent(agent) => {
            let exit = runtime.block_on(agent.run(&connection, output));
            runtime.shutdown_background();
            return exit;
        }
        Command::Doctor(doctor) => {
            let done = runtime.block_on(doctor.run(&connection, output));
            runtime.shutdown_background();
            return finish(done, output);
        }
        Command::Backup(backup) => {
            let done = runtime.block_on(backup.run(&connection, output));
            runtime.shutdown_background();
            return finish(done, output);
        }
        Command::Restore(restore) => {
            let done = runtime.block_on(restore.run(&connection, output));
            runtime.shutdown_background();
            return finish(done, output);
        }
        Command::Version(version) => return finish(version.run(output), output),
        Command::Completions(completions) => {
            return finish(completions.run(definition::whole()), output);
        }
        Command::Man(man) => return finish(man.run(definition::whole()), output),
        Command::Ask(question) => question,
    };
    let asked = runtime.block_on(question.ask(&connection, &asking, output));
    // Nor here.
    runtime.shutdown_background();
    finish(asked, output)
}

/// The exit code; says why where it was not done.
fn finish(done: Result<Exit, Failure>, output: Output) -> ExitCode {
    let exit = done.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    exit.into()
}

impl Command {
    /// Whether what it shows has that format.
    fn can_be_shown(&self, asking: &Asking) -> Result<(), Failure> {
        let (format, by) = (asking.output, asking.output_by);
        let shows_other_things = match self {
            Self::Ask(Question::Port(port::Port::Lease(_))) => false,
            Self::Ask(_)
            | Self::Version(_)
            | Self::Doctor(_)
            | Self::Backup(_)
            | Self::Restore(_) => true,
            // These show nothing in that format.
            Self::Serve(_) | Self::Agent(_) | Self::Completions(_) | Self::Man(_) => false,
            #[cfg(target_os = "linux")]
            Self::Run(_) => false,
        };
        if !(format.is_of_a_lease() && shows_other_things) {
            return Ok(());
        }
        let name = format.to_possible_value();
        let name = name.as_ref().map_or("", |name| name.get_name());
        let message = format!("{by} {name} is for `onex port lease` only");
        Err(Failure::usage(message).hint("choose table, wide, json, yaml or name"))
    }
}

impl Onex {
    fn read() -> Result<Self, clap::Error> {
        let arguments: Vec<_> = std::env::args_os().collect();
        let command = definition::command(&arguments);
        let mut command = environment::prepare(command, &arguments, is_used);
        let given = command
            .try_get_matches_from_mut(arguments)
            .map_err(|error| environment::name_variable(error, &command))?;
        let mut onex =
            Self::from_arg_matches(&given).map_err(|error| error.format(&mut command))?;
        if given.value_source("output") == Some(ValueSource::EnvVariable) {
            onex.asking.output_by = OUTPUT_VARIABLE;
        }
        if let Some(why) = onex.connection.contradiction() {
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, why).format(&mut command));
        }
        if let (Command::Serve(serve), Some((name, given))) =
            (&mut onex.command, given.subcommand())
            && let Err(why) = serve.settle(&onex.connection, given)
        {
            let error = clap::Error::raw(ErrorKind::ArgumentConflict, why);
            let command = command.find_subcommand_mut(name);
            return Err(match command {
                Some(command) => error.format(command),
                None => error,
            });
        }
        Ok(onex)
    }
}

impl Question {
    async fn ask(
        self,
        connection: &connection::Flags,
        asking: &Asking,
        output: Output,
    ) -> Result<Exit, Failure> {
        if let Self::Codegen(codegen) = &self
            && codegen.needs_no_registry()
        {
            return codegen.run_from_file(&connection.namespace(), output);
        }
        let session = Session::open(connection, asking.timeout, output).await?;
        let session = session.with_max_age(asking.max_age);
        let done = self.ask_in(&session).await;
        session.tell_age();
        done
    }

    async fn ask_in(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Port(port) => port.run(session).await,
            Self::Pool(pool) => pool.run(session).await,
            Self::Describe(describe) => describe.run(session).await,
            Self::Node(node) => node.run(session).await,
            Self::Tool(tool) => tool.run(session).await,
            Self::Bus(bus) => bus.run(session).await,
            Self::Schema(schema) => schema.run(session).await,
            Self::Trust(trust) => trust.run(session).await,
            Self::Admin(admin) => admin.run(session).await,
            Self::Codegen(codegen) => codegen.run(session).await,
        }
    }
}

/// Whether a command looks at the variable of an argument that all commands have. What it does not use cannot be wrong.
fn is_used(command: &str, argument: &Arg, value: &OsStr) -> bool {
    let is_output = argument.get_id() == "output";
    match command {
        // It is asked for where something is wrong, with the environment perhaps.
        "version" if is_output => {
            let format = value.to_str().map(|text| Format::from_str(text, false));
            format.is_some_and(|format| format.is_ok_and(|format| !format.is_of_a_lease()))
        }
        "completions" | "man" | "version" => !argument.is_global_set(),
        // `run` shows what fails in that format.
        "serve" => !is_output,
        _ => true,
    }
}

/// The command line cannot be followed, or asked for help or the version.
fn misused(error: &clap::Error) -> ExitCode {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if asked || !wants_json() {
        let _ = error.print();
        return if asked { Exit::Done } else { Exit::Usage }.into();
    }
    let text = error.to_string();
    // After the first empty line comes what people need to try again.
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Output::new(Format::Json).failure(&Failure::usage(message));
    Exit::Usage.into()
}

/// Whether arguments that cannot be followed ask for JSON all the same: the last format that they name counts.
fn wants_json() -> bool {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<_> = arguments.take_while(|argument| argument != "--").collect();
    let format = |(at, argument): (usize, &String)| match argument.as_str() {
        "-o" | "--output" => arguments.get(at + 1).cloned(),
        other => ["-o=", "-o", "--output="]
            .iter()
            .find_map(|flag| other.strip_prefix(flag))
            .map(str::to_owned),
    };
    let last = arguments.iter().enumerate().filter_map(format).next_back();
    let format = last.or_else(|| environment::variable(OUTPUT_VARIABLE));
    format.is_some_and(|format| format == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of all commands that do something: `port lease`.
    fn paths(command: &clap::Command, path: &[&str]) -> Vec<String> {
        let below: Vec<_> = command.get_subcommands().collect();
        if below.is_empty() {
            return vec![path.join(" ")];
        }
        let below = below.into_iter().filter(|below| below.get_name() != "help");
        let below = below.map(|below| paths(below, &[path, &[below.get_name()]].concat()));
        below.flatten().collect()
    }

    /// The commands of a row of the table in docs/cli.md; one word alone goes on with what the command before began with.
    fn listed(row: &str) -> Vec<String> {
        let cell = row.trim_start_matches('|').split('|').next().unwrap();
        let mut listed: Vec<String> = Vec::new();
        for code in cell.split('`').skip(1).step_by(2) {
            let words = code.strip_prefix("onex ").unwrap_or(code).split(' ');
            let is_letter = |c: char| c.is_ascii_lowercase() || c == '-';
            let is_name = |word: &&str| !word.starts_with('-') && word.chars().all(is_letter);
            let words: Vec<_> = words.take_while(is_name).collect();
            let group = listed.last().and_then(|last| last.split_once(' '));
            listed.push(match (words.as_slice(), group) {
                ([word], Some((group, _))) => format!("{group} {word}"),
                _ => words.join(" "),
            });
        }
        listed
    }

    #[test]
    fn every_command_is_in_the_table_of_the_documentation_and_in_sight() {
        let command = definition::command(&[]);
        let all = paths(&command, &[]);
        let text = include_str!("../../docs/cli.md");
        let rows = text.lines().filter(|line| line.starts_with("| `onex"));
        let mut told: Vec<_> = rows.flat_map(listed).collect();
        for path in &all {
            assert!(told.contains(path), "docs/cli.md: {path}: {told:?}");
        }
        told.retain(|path| !all.contains(path));
        assert!(told.is_empty(), "there is no {told:?}");
        let mut hidden = command.get_subcommands().filter(|it| it.is_hide_set());
        assert_eq!(hidden.next().map(clap::Command::get_name), None);
    }

    #[test]
    fn the_arguments_are_consistent() {
        definition::command(&[]).debug_assert();
    }
}
