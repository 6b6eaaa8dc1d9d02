//! `describe`, and `tool.describe`.

use bytes::Bytes;
use onex_types::ids::NodeId;

use crate::{
    protocol::{describe::DescribeRequest, error::Error, frame::Parsed, tool::ToolDescribeRequest},
    registry::{
        intake::Intake,
        message::to_bytes,
        queries::{self, Catalog, Here},
        request::InFlight,
    },
};

use super::pages::{catch_up, fitting, found};

/// `describe`: one node, or the registry.
pub(super) async fn describe(
    intake: &Intake,
    in_flight: &InFlight,
    Parsed { request, ignored }: Parsed<DescribeRequest>,
) -> Result<Bytes, Error> {
    catch_up(intake, in_flight, request.min_revision).await?;
    if let Some(node_id) = &request.node_id {
        return node(intake, in_flight, &request, node_id, &ignored).await;
    }
    let events_waiting = intake.driver.handle.reads.events_waiting();
    fitting(intake, in_flight, request.limit, |catalog, limit| {
        let here = Here {
            registry: intake.registry.clone(),
            instances: intake.peers.known(),
        };
        let mut reply = queries::registry(catalog, &request, limit, here)?;
        reply.counts.events_waiting = events_waiting;
        reply.ignored.clone_from(&ignored);
        Ok(reply)
    })
}

/// All of a node that is asked for, but as many of its leases and buses only as there is room for.
async fn node(
    intake: &Intake,
    in_flight: &InFlight,
    request: &DescribeRequest,
    node_id: &NodeId,
    ignored: &[String],
) -> Result<Bytes, Error> {
    let bytes_max = intake.replies.reply_bytes_max();
    let mut shown = queries::SHOWN_MAX;
    loop {
        let make = |catalog: Catalog<'_>| {
            let texts = &intake.texts;
            queries::node(catalog, texts, request, node_id, ignored, shown)
        };
        let body = to_bytes(&found(intake, in_flight, make).await?)?;
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

/// `tool.describe`: one tool in one version, with a page of its providers.
pub(super) async fn tool(
    intake: &Intake,
    in_flight: &InFlight,
    Parsed { request, ignored }: Parsed<ToolDescribeRequest>,
) -> Result<Bytes, Error> {
    catch_up(intake, in_flight, request.min_revision).await?;
    let first = |catalog: Catalog<'_>| queries::tool(catalog, &request, 1);
    found(intake, in_flight, first).await?;
    fitting(intake, in_flight, request.limit, |catalog, limit| {
        let mut reply = queries::tool(catalog, &request, limit)?;
        reply.ignored.clone_from(&ignored);
        Ok(reply)
    })
}
