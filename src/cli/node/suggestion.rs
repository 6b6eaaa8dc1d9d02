//! The node that was probably meant.

use onex_types::ids::NodeId;

use crate::{
    cli::{failure::Failure, nearest, session::Session, watch},
    client,
    protocol::{error::ErrorCode, node_view::NodeListRequest},
};

/// The failure, with the node that was probably meant where there is none of that name.
pub(in crate::cli) async fn suggest(
    session: &Session,
    failure: Failure,
    node_id: &NodeId,
) -> Failure {
    let nodes = async {
        let request = NodeListRequest {
            limit: watch::most(),
            ..NodeListRequest::default()
        };
        let page = session.client.nodes(&request).await?;
        let names = page.items.iter().map(|node| node.node_id.to_string());
        Ok::<Vec<String>, client::Error>(names.collect())
    };
    nearest::suggest(failure, ErrorCode::NodeNotFound, node_id.as_str(), nodes).await
}
