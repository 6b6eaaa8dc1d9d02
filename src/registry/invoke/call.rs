//! One call, from its arguments to its answer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use onex_core::{
    call::{Attempt, CallOutcome, Execution, ExecutionEnd, Provider},
    execution::Run,
    record::Unknown,
};
use onex_machine::new_id;
use onex_types::ids::{Digest, ExecutionId, NodeId};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    contract::ToolRules,
    protocol::{
        attempt as wire,
        bounds::Open,
        detail::Detail,
        error::Error,
        frame,
        invoke::{Called, Choice, InvokeReply, InvokeRequest, Reason},
        json::{Document, JsonText},
        names::HEADER_TRACEPARENT,
        violation::Violation,
    },
};

use super::{
    super::{
        contracts::{Check, PARSE_INLINE_BYTES_MAX},
        journal::Shares,
        message::to_bytes,
        on_the_wire::attempt,
    },
    Caller, Chosen, Invoke, Received,
    outcome::{self, Ran},
    refuse,
    verdict::At,
};

/// A request with its arguments, to be checked.
pub(super) struct ToCall {
    pub(super) request: InvokeRequest,
    pub(super) arguments: Document,
    digest: Digest,
}

impl ToCall {
    fn read(request: InvokeRequest) -> Result<Self, Error> {
        let wrong = |Violation { pointer, message }| {
            Error::invalid(format!("/arguments{pointer}"), message)
        };
        let arguments = request.arguments.document().map_err(wrong)?;
        let digest = match request.request_id {
            Some(_) => request.digest(&arguments),
            // Nobody compares it.
            None => Digest(Uuid::nil()),
        };
        Ok(Self {
            request,
            arguments,
            digest,
        })
    }
}

/// A call under way.
pub(super) struct Call {
    pub(super) request: InvokeRequest,
    pub(super) choice: Choice,
    pub(super) arguments: Document,
    pub(super) digest: Digest,
    pub(super) body: Bytes,
    pub(super) correlation_id: String,
    pub(super) traceparent: Option<String>,
    pub(super) execution_id: Uuid,
    pub(super) attempts: u32,
    /// Who was asked, and what each said.
    pub(super) asked: Vec<Attempt>,
    /// Its place among the calls under way; none while it waits until a provider has room.
    pub(super) turn: Option<OwnedSemaphorePermit>,
    /// The contracts by which the arguments were found to be right.
    pub(super) checked: Vec<String>,
    /// Who did not do, and why.
    pub(super) without: BTreeMap<NodeId, Reason>,
    pub(super) began: Instant,
    /// What it has waited for so far.
    pub(super) shares: Shares,
}

impl Call {
    fn new(
        traceparent: Option<String>,
        caller: &Caller,
        asked: ToCall,
        turn: OwnedSemaphorePermit,
    ) -> Self {
        let ToCall {
            request,
            arguments,
            digest,
        } = asked;
        Self {
            choice: request.choice(),
            body: Bytes::copy_from_slice(request.arguments.text().as_bytes()),
            digest,
            arguments,
            correlation_id: caller.correlation_id.clone(),
            traceparent,
            execution_id: new_id(),
            attempts: 0,
            asked: Vec::new(),
            turn: Some(turn),
            checked: Vec::new(),
            without: BTreeMap::new(),
            began: Instant::now(),
            shares: Shares::default(),
            request,
        }
    }

    /// How long one provider is given to answer, where the caller or its contract says so.
    pub(super) fn attempt_timeout(&self, chosen: &Chosen) -> Option<Duration> {
        chosen
            .attempt_millis(&self.request)
            .map(Duration::from_millis)
    }

    /// The error with whom was asked, and what each said.
    pub(super) fn with_attempts(&self, error: Error) -> Error {
        let details = error.code.details().iter();
        let has_attempts = details
            .filter(|(detail, _)| *detail == Detail::Asked)
            .count()
            > 0;
        if self.asked.is_empty() || !has_attempts {
            return error;
        }
        let attempts: Vec<wire::Attempt> = self.asked.iter().map(attempt).collect();
        error.with(Detail::Asked.name(), json!(attempts))
    }

    /// By which the logs of all who take part name this execution.
    pub(super) fn trace_log_id(&self) -> String {
        let trace = self.traceparent.as_deref();
        let trace = trace.and_then(|trace| trace.split('-').nth(1));
        trace.unwrap_or(&self.correlation_id).to_owned()
    }

    /// Where errors of it come from.
    pub(super) fn at<'a>(&self, chosen: &'a Chosen) -> At<'a> {
        At {
            tool_name: &chosen.tool_name,
            node_id: &chosen.node_id,
            execution_id: self.execution_id,
        }
    }

    /// The caller's time was up before anything was sent. One that has waited for room had none in time.
    pub(super) fn too_late(&self, chosen: &Chosen) -> Error {
        let at = self.at(chosen);
        if self.shares.queued.is_zero() {
            return at.too_late();
        }
        refuse::busy(format!(
            "there was room for the call of {at} when the caller's time was over; nothing was called"
        ))
    }

    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How it ended, for the events.
    fn end(&self, outcome: &CallOutcome) -> ExecutionEnd {
        ExecutionEnd {
            duration_ms: Some(self.millis()),
            attempts: Some(self.attempts),
            asked: self.asked.clone(),
            ..ExecutionEnd::of(outcome)
        }
    }
}

impl Chosen {
    /// How long one provider is given to answer, in milliseconds, where the request or the contract says so.
    pub(super) fn attempt_millis(&self, request: &InvokeRequest) -> Option<u64> {
        request.attempt_timeout_ms.or(self.attempt_timeout_ms)
    }

    /// It, and what it offers.
    pub(super) fn provider(&self) -> Provider {
        Provider {
            node_id: self.node_id.clone(),
            tool_version: self.tool_version.clone(),
            contract_hash: self.contract_hash.clone(),
        }
    }
}

impl Invoke {
    /// Reads the arguments; long ones away from the threads that serve.
    pub(super) async fn to_call(
        &self,
        caller: &Caller,
        request: InvokeRequest,
    ) -> Result<ToCall, Error> {
        let bytes = request.arguments.text().len();
        if bytes <= PARSE_INLINE_BYTES_MAX {
            return ToCall::read(request);
        }
        let read = move |_: ToolRules<'_>| ToCall::read(request);
        self.contracts
            .check(Check::parsing(bytes), caller.asking, read)
            .await
    }

    /// Calls the tool. The caller has a turn.
    pub(super) async fn call(
        &self,
        received: &mut Received<'_>,
        caller: &Caller,
        request: InvokeRequest,
        turn: OwnedSemaphorePermit,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let asked = self.to_call(caller, request).await?;
        let traceparent = frame::traceparent(received.header(HEADER_TRACEPARENT));
        let traceparent = traceparent.map(str::to_owned);
        let mut call = Call::new(traceparent, caller, asked, turn);
        let answer = match call.request.request_id {
            Some(request_id) => self.call_once(caller, &mut call, request_id, ignored).await,
            None => self.call_now(caller, &mut call, ignored).await,
        };
        received.in_flight.shares = Some(call.shares);
        answer
    }

    /// One that nobody asks for again: nothing is waited for but the provider.
    async fn call_now(
        &self,
        caller: &Caller,
        call: &mut Call,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let first = self.ready(caller, call).await?;
        let run = self.run(caller, call, &first.chosen);
        let begun = self.begin_run(caller, run).await;
        let first_asked = first.chosen.provider();
        let (chosen, ended) = self.attempts(caller, call, first).await;
        let answer = ended.and_then(|result| self.answer_call(call, &chosen, result, ignored));
        let answer = answer.map_err(|error| call.with_attempts(error));
        let outcome = match &answer {
            // The result itself is in no event.
            Ok(_) => outcome::completed(None),
            Err(error) => outcome::failed(error),
        };
        let by = Some(chosen.provider()).filter(|provider| *provider != first_asked);
        begun.ended(by, call.end(&outcome)).await;
        answer
    }

    /// The execution that begins.
    fn run(&self, caller: &Caller, call: &Call, chosen: &Chosen) -> Run {
        Run {
            execution: execution(call, chosen),
            timeout_ms: caller.left(),
            requester_id: call.request.requester_id,
            correlation_id: Some(call.correlation_id.clone()),
            began_at: self.clock.now().wall,
            unknown: Unknown::new(),
        }
    }

    /// The reply, if it is not too large.
    pub(super) fn answer_call(
        &self,
        call: &Call,
        chosen: &Chosen,
        result: JsonText,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let ran = Ran {
            execution: &execution(call, chosen),
            correlation_id: &call.correlation_id,
            duration_ms: Some(call.millis()),
            attempts: Some(call.attempts),
            revision: chosen.revision,
        };
        self.reply_of(&ran, result, ignored)
    }

    pub(super) fn reply_of(
        &self,
        ran: &Ran<'_>,
        result: JsonText,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let execution = ran.execution;
        let reply = InvokeReply {
            status: Open::Known(Called::Success),
            result,
            tool_name: execution.tool_name.clone(),
            tool_version: execution.tool_version.clone(),
            contract_hash: execution.contract_hash.clone(),
            provider_node_id: execution.node_id.clone(),
            correlation_id: ran.correlation_id.to_owned(),
            execution_id: execution.execution_id.0,
            duration_ms: ran.duration_ms,
            attempts: ran.attempts,
            revision: ran.revision,
            ignored,
        };
        let body = to_bytes(&reply)?;
        let limit = self.replies.reply_bytes_max();
        if body.len() > limit {
            let at = At {
                tool_name: &execution.tool_name,
                node_id: &execution.node_id,
                execution_id: execution.execution_id.0,
            };
            return Err(at.too_large(limit));
        }
        Ok(body)
    }
}

/// What is carried out, as far as that is known when it begins.
pub(super) fn execution(call: &Call, chosen: &Chosen) -> Execution {
    Execution {
        execution_id: ExecutionId(call.execution_id),
        tool_name: chosen.tool_name.clone(),
        tool_version: chosen.tool_version.clone(),
        contract_hash: chosen.contract_hash.clone(),
        node_id: chosen.node_id.clone(),
        trace_log_id: Some(call.trace_log_id()),
    }
}
