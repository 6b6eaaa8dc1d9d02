//! What rights the registry has at the NATS server: its callers may not have them.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    connect,
    protocol::{names::SERVICE, subject::ToolSubjects},
};

use super::settings::Settings;

/// Where a NATS server says who its client is to it.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";
/// How long it may take to.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct UserInfo {
    data: User,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    user: String,
}

/// What the registry calls for others: where it has rights that its callers may lack, only what it was told.
pub(super) async fn callable(
    settings: &Settings,
    nats: &connect::Options,
) -> Result<ToolSubjects, connect::Error> {
    let subjects = settings.tool_subjects.clone();
    if !nats.has_credentials() {
        let user = user(nats).await?;
        if user.as_deref() == Some("") {
            return Ok(subjects);
        }
        tracing::info!(
            user = user.as_deref().unwrap_or("(not told)"),
            "the NATS server takes this registry for one of its users: it calls tools on their default subjects and \
             on --tool-subjects only"
        );
    }
    if let Some(pattern) = subjects.widest() {
        tracing::warn!(
            "--tool-subjects {pattern}: whoever announces a tool chooses where this registry publishes with its own \
             rights; name the subjects of tools instead"
        );
    }
    Ok(subjects.named_only())
}

/// Which user the server takes us for, who say nothing of it (`no_auth_user`): empty for none; none where it does not
/// tell. On a connection of its own: where it is not allowed to ask, the server complains of it.
async fn user(nats: &connect::Options) -> Result<Option<String>, connect::Error> {
    let client = nats.connect(&format!("{SERVICE} rights"), |_| ()).await?;
    let request = async_nats::Request::new().timeout(Some(PATIENCE));
    let reply = client.send_request(USER_INFO, request).await.ok();
    let info = reply.and_then(|reply| serde_json::from_slice::<UserInfo>(&reply.payload).ok());
    Ok(info.map(|info| info.data.user))
}
