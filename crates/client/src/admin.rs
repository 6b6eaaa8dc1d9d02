//! Typed calls of administrators.

use onex_protocol::{
    admin::{
        EvictRequest, ForgetHostReply, ForgetHostRequest, RevokeReply, RevokeRequest,
        UnquarantineReply, UnquarantineRequest,
    },
    endpoint::Endpoint,
    node_life::DeregisterReply,
};

use super::{Client, Error, call::Again};

impl Client {
    /// `admin.port.revoke`. By its id twice is as good as once; by its port it is not repeated: somebody else may have it
    /// then.
    pub async fn revoke_lease(&self, request: &RevokeRequest) -> Result<RevokeReply, Error> {
        let again = match request.lease_id {
            Some(_) => Again::Harmless,
            None => Again::Never,
        };
        self.call(Endpoint::AdminPortRevoke, request, again).await
    }

    /// `admin.port.unquarantine`. Twice is as good as once.
    pub async fn unquarantine_port(
        &self,
        request: &UnquarantineRequest,
    ) -> Result<UnquarantineReply, Error> {
        self.call(Endpoint::AdminPortUnquarantine, request, Again::Harmless)
            .await
    }

    /// `admin.node.evict`. Without an epoch it is not repeated: another life may have begun then.
    pub async fn evict_node(&self, request: &EvictRequest) -> Result<DeregisterReply, Error> {
        let again = match request.epoch {
            Some(_) => Again::Harmless,
            None => Again::Never,
        };
        self.call(Endpoint::AdminNodeEvict, request, again).await
    }

    /// `admin.host.forget`. Twice is as good as once.
    pub async fn forget_host(&self, request: &ForgetHostRequest) -> Result<ForgetHostReply, Error> {
        self.call(Endpoint::AdminHostForget, request, Again::Harmless)
            .await
    }
}
