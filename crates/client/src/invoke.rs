//! Typed calls that have a tool called.

use std::time::Duration;

use onex_protocol::{
    endpoint::Endpoint,
    invoke::{DryRunReply, InvokeReply, InvokeRequest, ResolveToolReply, ResolveToolRequest},
};

use super::{Client, Error, call::Again};

/// What is left for the answer's way, beyond the time that the tool may take. A registry keeps a tenth of a caller's
/// patience for that, up to a second.
const WAY: Duration = Duration::from_millis(1_500);

impl Client {
    /// `tool.invoke`. It takes as long as the request's `timeout_ms` allows, whatever the client's own timeout is.
    /// Without a request id it is made once; with one it is made again where no answer came, and the tool is not called
    /// twice for that.
    pub async fn invoke(&self, request: &InvokeRequest) -> Result<InvokeReply, Error> {
        let request = InvokeRequest {
            dry_run: false,
            ..request.clone()
        };
        let again = Again::of(request.request_id);
        self.patient(&request)
            .call(Endpoint::ToolInvoke, &request, again)
            .await
    }

    /// `tool.invoke` with `dry_run`: says what would be done, and does nothing.
    pub async fn plan(&self, request: &InvokeRequest) -> Result<DryRunReply, Error> {
        let request = InvokeRequest {
            dry_run: true,
            ..request.clone()
        };
        self.call(Endpoint::ToolInvoke, &request, Again::Harmless)
            .await
    }

    /// `tool.resolve`.
    pub async fn resolve_tool(
        &self,
        request: &ResolveToolRequest,
    ) -> Result<ResolveToolReply, Error> {
        self.call(Endpoint::ToolResolve, request, Again::Harmless)
            .await
    }

    fn patient(&self, request: &InvokeRequest) -> Self {
        self.clone()
            .with_timeout(Duration::from_millis(request.timeout_millis()) + WAY)
    }
}
