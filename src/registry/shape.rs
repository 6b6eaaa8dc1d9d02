//! What requests have in common, and what replies have.

use bytes::Bytes;
use onex_types::ids::Host;
use serde::Serialize;

use crate::protocol::{
    bus::{BusDeregisterRequest, BusListRequest, BusRegisterRequest, BusReply},
    catalog::{SchemaGetReply, SchemaGetRequest, SchemaListRequest},
    error::{Error, ErrorCode},
    invoke::{DryRunReply, InvokeReply, InvokeRequest, ResolveToolReply, ResolveToolRequest},
    node::{RegisterReply, RegisterRequest},
    node_life, node_view,
    pool::PoolListRequest,
    port::{
        HeartbeatRequest, LeaseReply, LeaseRequest, Limit, ListRequest, Page, ReleaseReply,
        ReleaseRequest, ResolveRequest,
    },
    tool::{
        ToolChangeReply, ToolDeregisterRequest, ToolDescribeReply, ToolDescribeRequest,
        ToolListRequest, ToolRegisterRequest,
    },
    trust::{ReportRequest, TrustGetRequest, TrustReply},
};

/// A request.
pub(super) trait Asked {
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

/// A reply.
pub(super) trait Answered {
    /// Says which fields of the request were ignored.
    fn ignore(&mut self, ignored: Vec<String>);
}

macro_rules! asked {
    ($($request:ty)*) => {$(
        impl Asked for $request {
            fn min_revision(&self) -> Option<u64> {
                self.min_revision
            }
        }
    )*};
}

macro_rules! asked_for_pages {
    (@ []) => {};
    (@ [host]) => {
        fn host(&mut self) -> Option<&mut Host> {
            self.host.as_mut()
        }
    };
    ($hosts:tt $($request:ty)*) => {$(
        impl Asked for $request {
            fn min_revision(&self) -> Option<u64> {
                self.min_revision
            }

            asked_for_pages! { @ $hosts }

            fn limit(&self) -> Option<Limit> {
                self.limit
            }
        }
    )*};
}

macro_rules! answered {
    ($($reply:ty)*) => {$(
        impl Answered for $reply {
            fn ignore(&mut self, ignored: Vec<String>) {
                self.ignored = ignored;
            }
        }
    )*};
}

asked! {
    LeaseRequest HeartbeatRequest ReleaseRequest
    RegisterRequest node_life::HeartbeatRequest node_life::DeregisterRequest
    ToolRegisterRequest ToolDeregisterRequest ToolDescribeRequest
    BusRegisterRequest BusDeregisterRequest
    SchemaGetRequest ReportRequest TrustGetRequest InvokeRequest ResolveToolRequest
}

asked_for_pages! {
    [host] ListRequest ResolveRequest PoolListRequest node_view::NodeListRequest
}

asked_for_pages! {
    [] ToolListRequest BusListRequest SchemaListRequest
}

answered! {
    LeaseReply ReleaseReply RegisterReply node_life::HeartbeatReply node_life::DeregisterReply
    ToolChangeReply ToolDescribeReply BusReply SchemaGetReply TrustReply
    InvokeReply DryRunReply ResolveToolReply
}

impl<T> Answered for Page<T> {
    fn ignore(&mut self, ignored: Vec<String>) {
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
