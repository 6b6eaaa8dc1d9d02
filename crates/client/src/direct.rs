//! Tools that are called at their providers, past the registry.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, Message, Request, RequestErrorKind};
use onex_protocol::{
    endpoint::Endpoint,
    error::{self, ErrorCode},
    invoke::{
        Executed, InvokeRequest, PROVIDER_BODY_BYTES_MAX, ResolveToolReply, ResolveToolRequest,
        executed_detail,
    },
    json::JsonText,
    names::{
        HEADER_CONTRACT_HASH, HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER,
        HEADER_EXECUTED, HEADER_EXECUTION_ID, HEADER_TIMEOUT_MS, HEADER_TOOL, HEADER_TOOL_VERSION,
    },
    provider_error::ProviderError,
};
use serde_json::json;
use uuid::Uuid;

use super::{Client, Error};

/// How long a provider is asked without asking the registry again, at most: others may have come, and be idle.
const CACHED_TIME_MAX: Duration = Duration::from_secs(10);
/// Providers that are cached, at most; beyond that all are forgotten.
const CACHED_PROVIDERS_MAX: usize = 1_024;
/// The number with which a provider says that it cannot take a call now.
const UNAVAILABLE: &str = "503";

/// Calls tools at their providers: the registry says where (`tool.resolve`), and is asked again when that is old or
/// when it fails. One hop less than `tool.invoke`, and less for it: arguments and results are not checked on the way,
/// nothing is counted, no events tell of the call, and a `request_id` means nothing. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Direct {
    client: Client,
    cache: Arc<Mutex<HashMap<String, CachedProvider>>>,
}

/// Where a tool can be called.
#[derive(Debug, Clone)]
struct CachedProvider {
    reply: Arc<ResolveToolReply>,
    until: Instant,
}

impl Direct {
    /// By the registry of this client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            cache: Arc::default(),
        }
    }

    /// Calls a tool; its result. Errors are those of `tool.invoke`, or [`Error::NoResponders`] where nobody listens.
    /// What nobody has begun is tried at a second provider.
    pub async fn invoke(&self, request: &InvokeRequest) -> Result<JsonText, Error> {
        let until = Instant::now() + Duration::from_millis(request.timeout_millis());
        let error = match self.once(request, until).await {
            Err(error) if is_not_begun(&error) => error,
            done => return done,
        };
        if Instant::now() >= until {
            return Err(error);
        }
        self.once(request, until).await
    }

    async fn once(&self, request: &InvokeRequest, until: Instant) -> Result<JsonText, Error> {
        let resolve = ResolveToolRequest {
            tool_name: request.tool_name.clone(),
            tool_version: request.tool_version.clone(),
            node_selection_policy: request.node_selection_policy,
            provider_node_id: request.provider_node_id.clone(),
            trusted_only: request.trusted_only,
            contract_hash: request.contract_hash.clone(),
            min_revision: request.min_revision,
        };
        let key = json!(resolve).to_string();
        let cached = self.lock().get(&key).cloned();
        let cached = match cached.filter(|cached| Instant::now() < cached.until) {
            Some(cached) => cached,
            None => self.resolve(&key, &resolve, until).await?,
        };
        let called = self.call(&cached.reply, request, until).await;
        if called
            .as_ref()
            .is_err_and(|error| error.code() != Some(ErrorCode::ToolError))
        {
            self.lock().remove(&key);
        }
        called
    }

    async fn resolve(
        &self,
        key: &str,
        request: &ResolveToolRequest,
        until: Instant,
    ) -> Result<CachedProvider, Error> {
        let asked = Instant::now();
        let client = self.client.clone().with_timeout(until - asked);
        let reply = client.resolve_tool(request).await?;
        let lasts = Duration::from_millis(reply.expires_in_ms).min(CACHED_TIME_MAX);
        let cached = CachedProvider {
            reply: Arc::new(reply),
            until: asked + lasts,
        };
        let mut all = self.lock();
        if all.len() >= CACHED_PROVIDERS_MAX {
            all.clear();
        }
        all.insert(key.to_owned(), cached.clone());
        Ok(cached)
    }

    async fn call(
        &self,
        at: &ResolveToolReply,
        request: &InvokeRequest,
        until: Instant,
    ) -> Result<JsonText, Error> {
        let endpoint = Endpoint::ToolInvoke;
        let left = until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let execution_id = Uuid::new_v4().to_string();
        let correlation_id = request.correlation_id.clone();
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_TOOL, at.tool_name.as_str());
        headers.insert(HEADER_TOOL_VERSION, at.tool_version.to_string());
        headers.insert(HEADER_CONTRACT_HASH, at.contract_hash.as_str());
        headers.insert(HEADER_EXECUTION_ID, execution_id.as_str());
        headers.insert(HEADER_TIMEOUT_MS, left.as_millis().to_string());
        headers.insert(
            HEADER_CORRELATION_ID,
            correlation_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
        );
        let body = request.arguments.text().to_owned();
        let sent = Request::new()
            .payload(body.into())
            .headers(headers)
            .timeout(Some(left));
        let subject = at.subject.clone();
        let answer = match self.client.nats().send_request(subject.clone(), sent).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == RequestErrorKind::TimedOut => {
                let message = "the tool did not answer in time";
                let mut error = error::Error::new(ErrorCode::ToolTimeout, message);
                error.retryable = at.contract.idempotent;
                return Err(Error::Refused(about(
                    error,
                    Executed::Unknown,
                    at,
                    &execution_id,
                )));
            }
            Err(error) => return Err(Error::of_request(error, endpoint, subject, left)),
        };
        if let Some(error) = refusal(&answer, at, &execution_id) {
            return Err(Error::Refused(error));
        }
        // A micro endpoint that has nothing to say answers with an empty body.
        if answer.payload.trim_ascii().is_empty() {
            return Ok(JsonText::default());
        }
        JsonText::parse(&answer.payload).map_err(|source| Error::Malformed { endpoint, source })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, CachedProvider>> {
        // What is cached is right or it is not there.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody has begun with it.
fn is_not_begun(error: &Error) -> bool {
    matches!(error, Error::NoResponders { .. }) || error.code() == Some(ErrorCode::Busy)
}

fn about(
    error: error::Error,
    executed: Executed,
    at: &ResolveToolReply,
    execution_id: &str,
) -> error::Error {
    error
        .with("executed", executed_detail(executed))
        .with("execution_id", execution_id)
        .with("provider_node_id", at.provider_node_id.as_str())
        .with("tool_name", at.tool_name.as_str())
}

/// The provider's error, as a registry would pass it on.
fn refusal(answer: &Message, at: &ResolveToolReply, execution_id: &str) -> Option<error::Error> {
    let headers = answer.headers.as_ref()?;
    let number = headers.get(HEADER_ERROR_NUMBER)?.as_str();
    let begun = headers
        .get(HEADER_EXECUTED)
        .is_none_or(|executed| executed.as_str() != "false");
    let (body, said) = ProviderError::read(&answer.payload);
    let text = headers.get(HEADER_ERROR).map_or("", |text| text.as_str());
    let code = said.code.unwrap_or_else(|| number.to_owned());
    let text = said.message.unwrap_or_else(|| text.to_owned());
    if !begun && number == UNAVAILABLE {
        let message = format!("the provider cannot take the call now: {text}");
        return Some(error::Error::new(ErrorCode::Busy, message));
    }
    let executed = if begun { Executed::Yes } else { Executed::No };
    let line = ProviderError::line(&code, &text);
    let message = format!("the tool answered with an error of its own, {line}");
    let mut error = error::Error::new(ErrorCode::ToolError, message);
    error.retryable = said.retryable.unwrap_or(false);
    let error = about(error, executed, at, execution_id)
        .with("provider_code", code)
        .with("provider_message", text);
    if answer.payload.is_empty() || answer.payload.len() > PROVIDER_BODY_BYTES_MAX {
        return Some(error);
    }
    Some(error.with("provider_body", body))
}
