//! Typed calls about nodes, tools, buses, schemas and trust.

use onex_protocol::{
    bus::{BusDeregisterRequest, BusItem, BusListRequest, BusRegisterRequest, BusReply},
    catalog::{SchemaGetReply, SchemaGetRequest, SchemaItem, SchemaListRequest},
    describe::{DescribeRequest, NodeDescribeReply},
    endpoint::Endpoint,
    node::{RegisterReply, RegisterRequest},
    node_life::{DeregisterReply, DeregisterRequest, HeartbeatReply, HeartbeatRequest},
    node_view::{NodeItem, NodeListRequest, Section},
    port::Page,
    tool::{
        ToolChangeReply, ToolDeregisterRequest, ToolDescribeReply, ToolDescribeRequest, ToolItem,
        ToolListRequest, ToolRegisterRequest,
    },
    trust::{ReportRequest, TrustGetRequest, TrustReply},
};
use onex_types::ids::NodeId;

use super::{Client, Error, call::Again};

impl Client {
    /// `node.register`. Without an epoch and a request id it is not repeated: it could begin two lives.
    pub async fn register_node(&self, request: &RegisterRequest) -> Result<RegisterReply, Error> {
        let again = match request.epoch {
            Some(_) => Again::Harmless,
            None => Again::of(request.request_id),
        };
        self.call(Endpoint::NodeRegister, request, again).await
    }

    /// `node.heartbeat`. Twice is as good as once.
    pub async fn node_heartbeat(
        &self,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatReply, Error> {
        self.call(Endpoint::NodeHeartbeat, request, Again::Harmless)
            .await
    }

    /// `node.deregister`. Stop using what ends with the node before.
    pub async fn deregister_node(
        &self,
        request: &DeregisterRequest,
    ) -> Result<DeregisterReply, Error> {
        self.call(Endpoint::NodeDeregister, request, Again::Harmless)
            .await
    }

    /// `node.list`: one page. [`Client::all`] runs to the end.
    pub async fn nodes(&self, request: &NodeListRequest) -> Result<Page<NodeItem>, Error> {
        self.page(request).await
    }

    /// `describe` for one node: the sections named, or all of them if none are.
    pub async fn describe_node(
        &self,
        node_id: NodeId,
        sections: Option<Vec<Section>>,
    ) -> Result<NodeDescribeReply, Error> {
        let request = DescribeRequest {
            node_id: Some(node_id),
            sections,
            ..DescribeRequest::default()
        };
        self.call(Endpoint::Describe, &request, Again::Harmless)
            .await
    }

    /// `tool.register`.
    pub async fn register_tool(
        &self,
        request: &ToolRegisterRequest,
    ) -> Result<ToolChangeReply, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::ToolRegister, request, again).await
    }

    /// `tool.deregister`.
    pub async fn deregister_tool(
        &self,
        request: &ToolDeregisterRequest,
    ) -> Result<ToolChangeReply, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::ToolDeregister, request, again).await
    }

    /// `tool.list`: one page. [`Client::all`] runs to the end.
    pub async fn tools(&self, request: &ToolListRequest) -> Result<Page<ToolItem>, Error> {
        self.page(request).await
    }

    /// `tool.describe`: with one page of providers. [`Client::all`] runs to the end.
    pub async fn describe_tool(
        &self,
        request: &ToolDescribeRequest,
    ) -> Result<ToolDescribeReply, Error> {
        self.page(request).await
    }

    /// `bus.register`.
    pub async fn register_bus(&self, request: &BusRegisterRequest) -> Result<BusReply, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::BusRegister, request, again).await
    }

    /// `bus.deregister`. Again is answered the same.
    pub async fn deregister_bus(&self, request: &BusDeregisterRequest) -> Result<BusReply, Error> {
        self.call(Endpoint::BusDeregister, request, Again::Harmless)
            .await
    }

    /// `bus.list`: one page. [`Client::all`] runs to the end.
    pub async fn buses(&self, request: &BusListRequest) -> Result<Page<BusItem>, Error> {
        self.page(request).await
    }

    /// `schema.list`: one page. [`Client::all`] runs to the end.
    pub async fn schemas(&self, request: &SchemaListRequest) -> Result<Page<SchemaItem>, Error> {
        self.page(request).await
    }

    /// `schema.get`.
    pub async fn schema(&self, request: &SchemaGetRequest) -> Result<SchemaGetReply, Error> {
        self.call(Endpoint::SchemaGet, request, Again::Harmless)
            .await
    }

    /// `trust.report`. Of one validator only the last report counts.
    pub async fn report_trust(&self, request: &ReportRequest) -> Result<TrustReply, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::TrustReport, request, again).await
    }

    /// `trust.get`.
    pub async fn trust(&self, request: &TrustGetRequest) -> Result<TrustReply, Error> {
        self.call(Endpoint::TrustGet, request, Again::Harmless)
            .await
    }
}
