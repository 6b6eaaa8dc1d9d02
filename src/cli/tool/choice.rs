//! Whom to ask, of those that offer a tool.

use clap::Args;
use onex_types::ids::NodeId;
use semver::VersionReq;

use crate::{
    cli::parse,
    protocol::{
        bounds::Text,
        invoke::{CONTRACT_HASH_CHARS_MAX, Policy},
    },
};

/// The flags that say it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Whom to ask")]
pub(super) struct Choosing {
    /// Only versions in this range, as ^1.2 or ">=1, <3" or =1.0.0 [default: the newest].
    #[arg(long, alias = "version", value_name = "RANGE")]
    pub(super) tool_version: Option<VersionReq>,
    /// Only this node.
    #[arg(long, alias = "node", value_name = "NODE")]
    pub(super) provider: Option<NodeId>,
    /// Which of several nodes.
    #[arg(
        long,
        value_name = "POLICY",
        value_parser = parse::policy,
        help = "Which of several nodes: first (by their ids), round_robin, least_loaded or random [default: least_loaded]"
    )]
    pub(super) policy: Option<Policy>,
    /// Only nodes that validators trust.
    #[arg(long)]
    pub(super) trusted_only: bool,
    /// Only this contract, as `onex tool describe -o wide` shows it.
    #[arg(long, value_name = "HASH", value_parser = parse::contract_hash)]
    pub(super) contract_hash: Option<Text<CONTRACT_HASH_CHARS_MAX>>,
}
