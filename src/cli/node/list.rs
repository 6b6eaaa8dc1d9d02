//! `onex node list`

use clap::Args;
use onex_types::ids::{Host, Name};

use crate::{
    cli::{
        failure::{Exit, Failure},
        host, parse,
        session::Session,
        watch::Listing,
    },
    protocol::{
        node::NodeType,
        node_view::{Liveness, NodeListRequest},
    },
};

use super::rows;

/// List nodes by their names: those that live and, for a while, those that have ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex node list --liveness online --type tool\n  onex node list --watch"
)]
pub(in crate::cli) struct List {
    /// Only of this type: tool, validator, test, adapter or agent.
    #[arg(long = "type", value_name = "TYPE", value_parser = parse::node_type)]
    node_type: Option<NodeType>,
    /// Only with this tag.
    #[arg(long)]
    tag: Option<Name>,
    /// Only these: online, expired (no heartbeat in time, and not ended yet) or ended.
    #[arg(long, value_name = "STATE", value_parser = parse::liveness)]
    liveness: Option<Liveness>,
    /// Only on this host.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// Only trusted and verified ones.
    #[arg(long)]
    trusted_only: bool,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = NodeListRequest {
            node_type: self.node_type,
            tag: self.tag,
            liveness: self.liveness,
            host: self.host.map(host::named).transpose()?,
            trusted_only: self.trusted_only.then_some(true),
            limit: self.listing.limit(),
            ..NodeListRequest::default()
        };
        self.listing
            .show(
                session,
                request,
                rows::COLUMNS,
                |nodes| {
                    let names = nodes.items.iter().map(|node| node.node_id.to_string());
                    names.collect()
                },
                |nodes, detail| vec![rows::table(&nodes.items, detail).into()],
            )
            .await?;
        Ok(Exit::Done)
    }
}
