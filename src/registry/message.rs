//! The fields that requests, and replies, have in common.

use bytes::Bytes;
use onex_types::ids::Host;
use serde::Serialize;

use crate::protocol::{
    bus::{BusDeregisterRequest, BusListRequest, BusRegisterRequest, BusReply},
    catalog::{SchemaGetReply, SchemaGetRequest, SchemaListRequest},
    error::{Error, ErrorCode},
    explain::ExplainRequest,
    invoke::{DryRunReply, InvokeReply, InvokeRequest, ResolveToolReply, ResolveToolRequest},
    node::{RegisterReply, RegisterRequest},
    node_life, node_view,
    pool::PoolListRequest,
    port::{
        HeartbeatRequest, LeaseReply, LeaseRequest, Limit, ListRequest, Page, RebindRequest,
        ReleaseReply, ReleaseRequest, ResolveRequest,
    },
    tool::{
        ToolChangeReply, ToolDeregisterRequest, ToolDescribeReply, ToolDescribeRequest,
        ToolListRequest, ToolRegisterRequest,
    },
    trust::{ReportRequest, TrustGetRequest, TrustReply},
};

/// The fields that requests have in common.
pub(super) trait RequestFields {
    /// What the answering instance has to know.
    fn min_revision(&self) -> Option<u64>;
    /// Only what is on this host.
    fn host(&mut self) -> Option<&mut Host> {
        None
    }
    /// Items of a page, at most.
    fn limit(&self) -> Option<Limit> {
        None
    }
}

/// The fields that replies have in common.
pub(super) trait ReplyFields {
    /// Says which fields of the request were ignored.
    fn set_ignored(&mut self, ignored: Vec<String>);
}

macro_rules! requests {
    ($($request:ty)*) => {$(
        impl RequestFields for $request {
            fn min_revision(&self) -> Option<u64> {
                self.min_revision
            }
        }
    )*};
}

macro_rules! page_requests {
    (@ []) => {};
    (@ [host]) => {
        fn host(&mut self) -> Option<&mut Host> {
            self.host.as_mut()
        }
    };
    ($hosts:tt $($request:ty)*) => {$(
        impl RequestFields for $request {
            fn min_revision(&self) -> Option<u64> {
                self.min_revision
            }

            page_requests! { @ $hosts }

            fn limit(&self) -> Option<Limit> {
                self.limit
            }
        }
    )*};
}

macro_rules! replies {
    ($($reply:ty)*) => {$(
        impl ReplyFields for $reply {
            fn set_ignored(&mut self, ignored: Vec<String>) {
                self.ignored = ignored;
            }
        }
    )*};
}

requests! {
    LeaseRequest HeartbeatRequest ReleaseRequest RebindRequest ExplainRequest
    RegisterRequest node_life::HeartbeatRequest node_life::DeregisterRequest
    ToolRegisterRequest ToolDeregisterRequest ToolDescribeRequest
    BusRegisterRequest BusDeregisterRequest
    SchemaGetRequest ReportRequest TrustGetRequest InvokeRequest ResolveToolRequest
}

page_requests! {
    [host] ListRequest ResolveRequest PoolListRequest node_view::NodeListRequest
}

page_requests! {
    [] ToolListRequest BusListRequest SchemaListRequest
}

replies! {
    LeaseReply ReleaseReply RegisterReply node_life::HeartbeatReply node_life::DeregisterReply
    ToolChangeReply ToolDescribeReply BusReply SchemaGetReply TrustReply
    InvokeReply DryRunReply ResolveToolReply
}

impl<T> ReplyFields for Page<T> {
    fn set_ignored(&mut self, ignored: Vec<String>) {
        self.ignored = ignored;
    }
}

/// The body of a reply.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(value);
    bytes
        .map(Bytes::from)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}
