//! `onex tool list`

use clap::Args;
use onex_types::ids::{Name, NodeId, Token};
use semver::VersionReq;

use crate::{
    cli::{
        failure::{Exit, Failure},
        session::Session,
        watch::Listing,
    },
    protocol::tool::ToolListRequest,
};

use super::rows;

/// List the tools of live nodes by their names.
///
/// COLLISION says whether nodes offer different contracts by the same name and version: then who calls it
/// should say which node it means.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex tool list --tag math --version ^1.2\n  onex tool list -o name"
)]
pub(in crate::cli) struct List {
    /// Only of this name.
    #[arg(long)]
    name: Option<Token>,
    /// Only with this tag.
    #[arg(long)]
    tag: Option<Name>,
    /// Only of this node.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Only versions in this range, as ^1.2 or ">=1, <3" or =1.0.0.
    #[arg(long, value_name = "RANGE")]
    version: Option<VersionReq>,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ToolListRequest {
            name: self.name,
            tag: self.tag,
            node_id: self.node,
            version: self.version,
            limit: self.listing.limit(),
            ..ToolListRequest::default()
        };
        self.listing
            .show(
                session,
                request,
                rows::COLUMNS,
                |tools| {
                    tools
                        .items
                        .iter()
                        .map(|tool| tool.name.to_string())
                        .collect()
                },
                |tools, detail| vec![rows::table(&tools.items, detail).into()],
            )
            .await?;
        Ok(Exit::Done)
    }
}
