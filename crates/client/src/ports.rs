//! Typed calls about leases, pools, and the registry itself.

use onex_protocol::{
    describe::{DescribeReply, DescribeRequest, HelpReply, HelpRequest},
    endpoint::Endpoint,
    explain::{ExplainReply, ExplainRequest},
    pool::{PoolDeleteRequest, PoolItem, PoolListRequest, PoolSetRequest},
    port::{
        HeartbeatReply, HeartbeatRequest, LeaseReply, LeaseRequest, ListRequest, Page,
        RebindRequest, ReleaseReply, ReleaseRequest, ResolveRequest,
    },
};
use onex_types::ids::{LeaseId, RequestId, RequesterId, Ttl};

use super::{Client, Error, call::Again};

impl Client {
    /// `port.lease`.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<LeaseReply, Error> {
        let again = Again::of(request.request_id);
        let request = self.with_own_holder(request);
        self.call(Endpoint::PortLease, &request, again).await
    }

    /// `port.heartbeat` for one lease.
    pub async fn heartbeat(
        &self,
        requester_id: RequesterId,
        lease_id: LeaseId,
        ttl: Option<Ttl>,
        request_id: Option<RequestId>,
    ) -> Result<LeaseReply, Error> {
        let request = HeartbeatRequest {
            lease_id: Some(lease_id),
            ..heartbeat(requester_id, ttl, request_id)
        };
        let again = Again::of(request_id);
        self.call(Endpoint::PortHeartbeat, &request, again).await
    }

    /// `port.heartbeat` for several leases, at most
    /// [`HEARTBEAT_LEASES_MAX`](onex_protocol::port::HEARTBEAT_LEASES_MAX).
    pub async fn heartbeat_several(
        &self,
        requester_id: RequesterId,
        lease_ids: Vec<LeaseId>,
        ttl: Option<Ttl>,
        request_id: Option<RequestId>,
    ) -> Result<HeartbeatReply, Error> {
        let request = HeartbeatRequest {
            lease_ids: Some(lease_ids),
            ..heartbeat(requester_id, ttl, request_id)
        };
        let again = Again::of(request_id);
        self.call(Endpoint::PortHeartbeat, &request, again).await
    }

    /// `port.heartbeat` for all leases that the requester holds.
    pub async fn heartbeat_all(
        &self,
        requester_id: RequesterId,
        ttl: Option<Ttl>,
        request_id: Option<RequestId>,
    ) -> Result<HeartbeatReply, Error> {
        let request = heartbeat(requester_id, ttl, request_id);
        let again = Again::of(request_id);
        self.call(Endpoint::PortHeartbeat, &request, again).await
    }

    /// `port.release`. Stop using the port before.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseReply, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::PortRelease, request, again).await
    }

    /// `port.rebind`: another port for one that cannot be used. Stop using that before.
    pub async fn rebind(&self, request: &RebindRequest) -> Result<LeaseReply, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::PortRebind, request, again).await
    }

    /// `port.list`: one page. [`Client::all`] runs to the end.
    pub async fn list(&self, request: &ListRequest) -> Result<Page<LeaseReply>, Error> {
        self.page(request).await
    }

    /// `port.resolve`: one page. [`Client::all`] runs to the end.
    pub async fn resolve(&self, request: &ResolveRequest) -> Result<Page<LeaseReply>, Error> {
        self.page(request).await
    }

    /// `port.explain`.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<ExplainReply, Error> {
        self.call(Endpoint::PortExplain, request, Again::Harmless)
            .await
    }

    /// `pool.list`: one page. [`Client::all`] runs to the end.
    pub async fn pools(&self, request: &PoolListRequest) -> Result<Page<PoolItem>, Error> {
        self.page(request).await
    }

    /// `pool.set`. Twice is as good as once. Shows the pools of the host.
    pub async fn set_pool(&self, request: &PoolSetRequest) -> Result<Page<PoolItem>, Error> {
        self.call(Endpoint::PoolSet, request, Again::Harmless).await
    }

    /// `pool.delete`. It is not repeated without a request id: again it is answered that there is no such pool. Shows the
    /// pools of the host, if it still has any.
    pub async fn delete_pool(&self, request: &PoolDeleteRequest) -> Result<Page<PoolItem>, Error> {
        let again = Again::of(request.request_id);
        self.call(Endpoint::PoolDelete, request, again).await
    }

    /// `describe` for the registry: one page of pools, nodes, tools and buses. [`Client::all`] runs to the end.
    pub async fn describe(&self, request: &DescribeRequest) -> Result<DescribeReply, Error> {
        self.page(request).await
    }

    /// `help`.
    pub async fn help(&self) -> Result<HelpReply, Error> {
        self.call(Endpoint::Help, &HelpRequest {}, Again::Harmless)
            .await
    }
}

pub(super) fn heartbeat(
    requester_id: RequesterId,
    ttl: Option<Ttl>,
    request_id: Option<RequestId>,
) -> HeartbeatRequest {
    HeartbeatRequest {
        requester_id,
        lease_id: None,
        lease_ids: None,
        ttl,
        request_id,
        min_revision: None,
    }
}
