//! The tool that was probably meant.

use onex_types::ids::Token;

use crate::{
    cli::{failure::Failure, nearest, session::Session, watch},
    client,
    protocol::{error::ErrorCode, tool::ToolListRequest},
};

/// The failure, with the tool that was probably meant where there is none of that name.
pub(super) async fn suggest(session: &Session, failure: Failure, name: &Token) -> Failure {
    let tools = async {
        let request = ToolListRequest {
            limit: watch::most(),
            ..ToolListRequest::default()
        };
        let page = session.client.tools(&request).await?;
        let names = page.items.iter().map(|tool| tool.name.to_string());
        Ok::<Vec<String>, client::Error>(names.collect())
    };
    nearest::suggest(failure, ErrorCode::ToolNotFound, name.as_str(), tools).await
}
