//! One call, from its arguments to its outcome.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, client::PublishErrorKind};
use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::ids::NodeId,
    protocol::{
        bounds::Open,
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
        frame,
        invoke::{Called, Choice, InvokeReply, InvokeRequest, Reason},
        names::{
            HEADER_CONTRACT_HASH, HEADER_CORRELATION_ID, HEADER_EXECUTION_ID, HEADER_TIMEOUT_MS,
            HEADER_TOOL, HEADER_TOOL_VERSION, HEADER_TRACEPARENT,
        },
    },
};

use super::{
    super::{
        requests::Caller,
        serve::{Received, Server, to_bytes},
    },
    Chosen, Known, Part, UnderWay,
    load::{Ended, Loads, Provider},
    post::Came,
    verdict::{At, Verdict},
};

/// Providers that are asked for one call, at most.
const ATTEMPTS_MAX: u32 = 3;
/// A provider that did not answer within this time counts as silent; what is waited for less says nothing of it.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// A call under way.
struct Call {
    request: InvokeRequest,
    choice: Choice,
    arguments: Value,
    body: Bytes,
    correlation_id: String,
    traceparent: Option<String>,
    execution_id: Uuid,
    attempts: u32,
    /// The contracts by which the arguments were found to be right.
    checked: Vec<String>,
    /// Who did not do, and why.
    without: BTreeMap<NodeId, Reason>,
}

/// What came of asking one provider.
enum Attempt {
    Done(Value),
    Failed(Error),
    /// Another one may be asked, for that reason; if there is none, this is the outcome.
    Next(Reason, Error),
}

impl Server {
    /// Calls the tool. The caller has a turn.
    pub(super) async fn call(
        &self,
        received: &Received,
        caller: &Caller,
        request: InvokeRequest,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let traceparent = frame::traceparent(received.header(HEADER_TRACEPARENT));
        let correlation_id = received.named.get().unwrap_or(&caller.correlation_id);
        let arguments = Value::Object(request.arguments.clone());
        let mut call = Call {
            choice: request.choice(),
            body: to_bytes(&arguments)?,
            arguments,
            correlation_id: correlation_id.clone(),
            traceparent: traceparent.map(str::to_owned),
            execution_id: Uuid::now_v7(),
            attempts: 0,
            checked: Vec::new(),
            without: BTreeMap::new(),
            request,
        };
        let began = Instant::now();
        let (chosen, result) = self.attempts(caller, &mut call).await?;
        let at = At {
            node_id: &chosen.node_id,
            execution_id: call.execution_id,
        };
        let reply = InvokeReply {
            status: Open::Known(Called::Success),
            result,
            tool_name: chosen.tool_name.clone(),
            tool_version: chosen.tool_version.clone(),
            contract_hash: chosen.contract_hash.clone(),
            provider_node_id: chosen.node_id.clone(),
            correlation_id: call.correlation_id.clone(),
            execution_id: call.execution_id,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            attempts: call.attempts,
            revision: chosen.revision,
            ignored,
        };
        let body = to_bytes(&reply)?;
        let limit = self.reply_bytes_max();
        if body.len() > limit {
            return Err(at.too_large(limit));
        }
        Ok(body)
    }

    /// Asks one provider after another, as long as that does no harm.
    async fn attempts(&self, caller: &Caller, call: &mut Call) -> Result<(Chosen, Value), Error> {
        let mut last: Option<Error> = None;
        loop {
            let (chosen, contract, under_way) = match self.ready(caller, call).await {
                Ok(ready) => ready,
                // Whoever was asked has said more than who is left out.
                Err(refusal) => return Err(last.unwrap_or(refusal)),
            };
            call.attempts += 1;
            match self
                .attempt(caller, call, &chosen, &contract, under_way)
                .await
            {
                Attempt::Done(value) => return Ok((chosen, value)),
                Attempt::Failed(error) => return Err(error),
                Attempt::Next(reason, error) => {
                    call.without.insert(chosen.node_id, reason);
                    let error = gravest(last, error);
                    let over = tokio::time::Instant::now() >= caller.until;
                    if call.attempts >= ATTEMPTS_MAX || over {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
    }

    /// Whom to ask next, with arguments that are right for its contract.
    async fn ready(
        &self,
        caller: &Caller,
        call: &mut Call,
    ) -> Result<(Chosen, Arc<Known>, UnderWay), Error> {
        let (chosen, under_way) = self.next(caller, call).await?;
        let contract = self.contract(&chosen, caller).await?;
        self.check_arguments(&chosen, &contract, caller, call)
            .await?;
        Ok((chosen, contract, under_way))
    }

    /// Whom to ask next. What the index says of nobody is checked the first time only.
    async fn next(&self, caller: &Caller, call: &Call) -> Result<(Chosen, UnderWay), Error> {
        let name = &call.request.tool_name;
        let choose = || {
            let begin = |provider: &Provider, loads: &mut Loads| self.invoke.begin(provider, loads);
            self.invoke
                .choose(&self.commit, name, &call.choice, &call.without, begin)
        };
        if call.attempts == 0 {
            self.checked(caller, choose).await
        } else {
            choose()
        }
    }

    async fn check_arguments(
        &self,
        chosen: &Chosen,
        contract: &Arc<Known>,
        caller: &Caller,
        call: &mut Call,
    ) -> Result<(), Error> {
        if call.checked.contains(&chosen.contract_hash) {
            return Ok(());
        }
        let arguments = std::mem::take(&mut call.arguments);
        let checked = contract.violations(Part::Input, arguments, &self.contracts, caller);
        let (violations, arguments) = checked.await?;
        call.arguments = arguments;
        if let Some(first) = violations.first() {
            let message = format!(
                "the arguments are not as the contract of {} {} says: {} {}",
                chosen.tool_name, chosen.tool_version, first.pointer, first.message
            );
            return Err(Error::new(ErrorCode::InvalidArguments, message)
                .with("violations", serde_json::json!(violations)));
        }
        call.checked.push(chosen.contract_hash.clone());
        Ok(())
    }

    async fn attempt(
        &self,
        caller: &Caller,
        call: &Call,
        chosen: &Chosen,
        contract: &Arc<Known>,
        mut under_way: UnderWay,
    ) -> Attempt {
        let at = At {
            node_id: &chosen.node_id,
            execution_id: call.execution_id,
        };
        let now = tokio::time::Instant::now();
        let left = caller.until.saturating_duration_since(now);
        let another = chosen.has_another && call.attempts < ATTEMPTS_MAX;
        let patience = if contract.idempotent && another {
            left / 2
        } else {
            left
        };
        let headers = headers(call, chosen, patience);
        let post = &self.invoke.post;
        let asked = post.ask(
            chosen.subject.clone(),
            headers,
            call.body.clone(),
            now + patience,
        );
        match asked.await {
            Came::Answer(message) => {
                let verdict = at.judge(&message);
                under_way.ended = match verdict {
                    Verdict::Result(_) => Ended::Answered,
                    Verdict::Declined | Verdict::Failed(_) => Ended::Refused,
                };
                drop(under_way);
                self.judge(caller, &at, verdict, contract).await
            }
            Came::NoResponders => {
                under_way.ended = Ended::Silent;
                drop(under_way);
                Attempt::Next(Reason::NoResponders, self.unheard(call, chosen))
            }
            Came::Nothing => {
                if patience >= SILENT_AFTER {
                    under_way.ended = Ended::Silent;
                }
                let error = at.timed_out(contract.idempotent);
                if contract.idempotent {
                    Attempt::Next(Reason::Silent, error)
                } else {
                    Attempt::Failed(error)
                }
            }
            Came::Unsent(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Attempt::Failed(at.unsendable(self.client.max_payload()))
            }
            Came::Unsent(error) => {
                tracing::warn!(%error, "cannot call a tool");
                Attempt::Failed(Error::new(
                    ErrorCode::Internal,
                    "the tool could not be called",
                ))
            }
        }
    }

    /// That nobody listens there, with who else there is.
    fn unheard(&self, call: &Call, chosen: &Chosen) -> Error {
        let mut without = call.without.clone();
        without.insert(chosen.node_id.clone(), Reason::NoResponders);
        let name = &call.request.tool_name;
        let commit = &self.commit;
        self.invoke
            .look(commit, name, &call.choice, &without, |considered, _, _| {
                considered.refusal(name, &call.choice)
            })
    }

    async fn judge(
        &self,
        caller: &Caller,
        at: &At<'_>,
        verdict: Verdict,
        contract: &Arc<Known>,
    ) -> Attempt {
        let result = match verdict {
            Verdict::Result(result) => result,
            Verdict::Failed(error) => return Attempt::Failed(error),
            Verdict::Declined => {
                let message = "every node that could be asked says that it cannot take more calls now; nothing was called";
                let busy = Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS);
                return Attempt::Next(Reason::Declined, busy);
            }
        };
        match contract
            .violations(Part::Output, result, &self.contracts, caller)
            .await
        {
            Ok((violations, result)) if violations.is_empty() => Attempt::Done(result),
            Ok((violations, _)) => Attempt::Failed(at.invalid(&violations)),
            // The tool has answered, and there was no time to look at it.
            Err(_) => Attempt::Failed(at.timed_out(contract.idempotent)),
        }
    }
}

/// What is said of several attempts: "nothing was done" is about one of them only.
fn gravest(earlier: Option<Error>, later: Error) -> Error {
    match earlier {
        Some(earlier) if earlier.code == ErrorCode::ToolTimeout => earlier,
        _ => later,
    }
}

fn headers(call: &Call, chosen: &Chosen, patience: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_TOOL, chosen.tool_name.as_str());
    headers.insert(HEADER_TOOL_VERSION, chosen.tool_version.to_string());
    headers.insert(HEADER_CONTRACT_HASH, chosen.contract_hash.as_str());
    headers.insert(HEADER_CORRELATION_ID, call.correlation_id.as_str());
    headers.insert(HEADER_EXECUTION_ID, call.execution_id.to_string());
    headers.insert(HEADER_TIMEOUT_MS, patience.as_millis().max(1).to_string());
    if let Some(traceparent) = &call.traceparent {
        headers.insert(HEADER_TRACEPARENT, traceparent.as_str());
    }
    headers
}
