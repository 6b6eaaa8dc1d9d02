//! What can be typed: all commands, and the options that they share.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

#[cfg(target_os = "linux")]
use super::run;
use super::{
    admin, agent, backup, bus, codegen, completions, connection, describe, doctor, man, node,
    output::Format, parse, pool, port, schema, serve, tool, trust, version,
};

/// Where the format of all commands may be said.
pub(super) const OUTPUT_VARIABLE: &str = "ONEX_OUTPUT";

/// Port leases, nodes and tools on an event bus, over NATS.
#[derive(Debug, Parser)]
#[command(
    name = "onex",
    version,
    about,
    after_help = "Start a registry, lease a port of it, see who is there:\n  onex serve &\n  onex port lease --name api\n  \
        onex node list --watch\n\n\
        Exit codes: 0 done, 1 refused or failed, 2 usage, 3 partly done, 69 no NATS server or no registry\n\
        reached, 75 refused now but worth a retry."
)]
pub(super) struct Onex {
    #[command(flatten)]
    pub(super) asking: Asking,
    #[command(flatten)]
    pub(super) connection: connection::Flags,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How a registry is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Asking (all commands but serve)")]
pub(super) struct Asking {
    /// How data is shown: table, wide for all there is, json or yaml for one document, name for names alone, one a
    /// line, as other commands take them; of a new lease also port for its port alone, env for variables. With json
    /// errors are JSON too, on stderr.
    #[arg(
        short,
        long,
        global = true,
        env = OUTPUT_VARIABLE,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_env_values = true
    )]
    pub(super) output: Format,
    /// What said that format.
    #[arg(skip = "-o")]
    pub(super) output_by: &'static str,
    /// How long to wait for the connection, and then for each answer.
    #[arg(long, global = true, value_name = "TIME", default_value = "4s", value_parser = parse::timeout)]
    pub(super) timeout: Duration,
    /// Takes answers to questions that are up to that old, 10s to 7d, from a registry that cannot ask its store.
    #[arg(long, global = true, value_name = "TIME", value_parser = parse::max_age)]
    pub(super) max_age: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(serve::Serve),
    Agent(agent::Agent),
    #[cfg(target_os = "linux")]
    Run(run::Run),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
    Restore(backup::Restore),
    #[command(flatten)]
    Ask(Question),
    Version(version::Version),
    Completions(completions::Completions),
    Man(man::Man),
}

/// What a running registry is asked.
#[derive(Debug, Subcommand)]
pub(super) enum Question {
    #[command(subcommand)]
    Port(port::Port),
    #[command(subcommand)]
    Pool(pool::Pool),
    Describe(describe::Describe),
    #[command(subcommand)]
    Node(node::Node),
    #[command(subcommand)]
    Tool(tool::Tool),
    #[command(subcommand)]
    Bus(bus::Bus),
    #[command(subcommand)]
    Schema(schema::Schema),
    #[command(subcommand)]
    Trust(trust::Trust),
    #[command(subcommand)]
    Admin(admin::Admin),
    Codegen(codegen::Codegen),
}
