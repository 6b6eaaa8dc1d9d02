//! What `describe` and `tool.describe` answer.

use bytes::Bytes;

use crate::{
    domain::ids::NodeId,
    protocol::{describe::DescribeRequest, error::Error, frame::Parsed, tool::ToolDescribeRequest},
};

use super::{
    queries::{self, FirstCore, Here},
    requests::Caller,
    serve::{Received, Server, to_bytes},
};

impl Server {
    pub(super) async fn describe_tool(
        &self,
        received: &Received,
        caller: &Caller,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<ToolDescribeRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        self.found(caller, |index, now| {
            queries::tool(FirstCore { index, now }, &request, 1)
        })
        .await?;
        self.page(request.limit, |index, limit, now| {
            let mut reply = queries::tool(FirstCore { index, now }, &request, limit)?;
            reply.ignored.clone_from(&ignored);
            Ok(reply)
        })
    }

    pub(super) async fn describe(
        &self,
        received: &Received,
        caller: &Caller,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<DescribeRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        if let Some(node_id) = &request.node_id {
            return self
                .describe_node(&request, node_id, &ignored, caller)
                .await;
        }
        self.page(request.limit, |index, limit, now| {
            let here = Here {
                registry: self.registry.clone(),
                instances: self.peers.known(),
            };
            let mut reply = queries::registry(FirstCore { index, now }, &request, limit, here)?;
            reply.ignored.clone_from(&ignored);
            Ok(reply)
        })
    }

    /// All of a node that is asked for, but as many of its leases and buses only as there is room for.
    async fn describe_node(
        &self,
        request: &DescribeRequest,
        node_id: &NodeId,
        ignored: &[String],
        caller: &Caller,
    ) -> Result<Bytes, Error> {
        let bytes_max = self.reply_bytes_max();
        let mut shown = queries::SHOWN_MAX;
        loop {
            let body = self
                .found(caller, |index, now| {
                    to_bytes(&queries::node(
                        FirstCore { index, now },
                        &self.texts,
                        request,
                        node_id,
                        ignored,
                        shown,
                    )?)
                })
                .await?;
            if body.len() <= bytes_max {
                return Ok(body);
            }
            if shown == 0 {
                let what = "the description of this node with these sections";
                return Err(Error::too_large(what, bytes_max));
            }
            shown /= 2;
        }
    }
}
