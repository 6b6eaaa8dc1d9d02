//! `onex port list`

use clap::Args;
use onex_types::ids::{Host, Label, Name, NodeId, Port, RequesterId};

use crate::{
    cli::{
        failure::{Exit, Failure},
        host, parse, requester,
        session::Session,
        watch::Listing,
    },
    protocol::port::ListRequest,
};

use super::rows;

/// List live leases by host, transport and port.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex port list --mine\n  onex port list --port 20080\n  onex port list --label blue -o json"
)]
pub(in crate::cli) struct List {
    /// Only those that you hold.
    #[arg(long, conflicts_with = "requester")]
    mine: bool,
    /// Only those that this requester holds.
    #[arg(long, value_name = "UUID", value_parser = parse::requester_id)]
    requester: Option<RequesterId>,
    /// Only on this host.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// Only of this name.
    #[arg(long)]
    name: Option<Name>,
    /// Only with this label.
    #[arg(long)]
    label: Option<Label>,
    /// Only of this port, on every host and in both port spaces.
    #[arg(long, value_parser = parse::port)]
    port: Option<Port>,
    /// Only those that end with this node.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let requester_id = if self.mine {
            Some(requester::mine()?)
        } else {
            self.requester
        };
        let request = ListRequest {
            host: self.host.map(host::named).transpose()?,
            requester_id,
            name: self.name,
            label: self.label,
            port: self.port,
            node_id: self.node,
            limit: self.listing.limit(),
            ..ListRequest::default()
        };
        self.listing
            .show(
                session,
                request,
                rows::COLUMNS,
                |leases| {
                    leases
                        .items
                        .iter()
                        .map(|lease| lease.lease_id.to_string())
                        .collect()
                },
                |leases, detail| vec![rows::table(&leases.items, detail).into()],
            )
            .await?;
        Ok(Exit::Done)
    }
}
