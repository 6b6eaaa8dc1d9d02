//! The attempts of one call: whom it goes to, and what comes back.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, Message, PublishError, client::PublishErrorKind};
use onex_core::call::{self, AttemptResult};
use onex_types::ids::NodeId;
use serde_json::{Value, json};

use crate::{
    contract::ToolRules,
    protocol::{
        error::{Error, ErrorCode},
        invoke::Reason,
        json::JsonText,
        names::{
            HEADER_CONTRACT_HASH, HEADER_CORRELATION_ID, HEADER_EXECUTION_ID, HEADER_TIMEOUT_MS,
            HEADER_TOOL, HEADER_TOOL_VERSION, HEADER_TRACEPARENT,
        },
        provider_error::ProviderError,
    },
};

use super::{
    super::contracts::{Check, PARSE_INLINE_BYTES_MAX},
    Caller, Chosen, CompiledContract, Invoke, Part,
    call::Call,
    history::Ended,
    look::{Found, Query},
    probe::Probe,
    provider_client::SendOutcome,
    refuse,
    under_way::UnderWay,
    verdict::{At, Verdict},
};

/// Providers that are asked for one call, at most.
pub(super) const ATTEMPTS_MAX: u32 = 3;
/// Longest account of what one of them said, in characters.
const ASKED_CHARS_MAX: usize = 256;
/// How often a call that waits for room looks who there is: nodes come and go meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whoever is asked next, with arguments that are right for its contract.
pub(super) struct Ready {
    pub(super) chosen: Chosen,
    pub(super) contract: Arc<CompiledContract>,
    under_way: UnderWay,
}

/// What came of asking one provider.
enum Attempt {
    Done(JsonText),
    Failed(Error),
    /// Another one may be asked, for that reason; if there is none, this is the outcome. And what this one said.
    Next(Reason, Error, Option<String>),
    /// Nobody knows what became of it, for that reason, and it must not be done twice.
    Lost(Reason, Error),
}

impl Attempt {
    /// What is recorded of it.
    fn record(&self, node_id: &NodeId) -> call::Attempt {
        let detail = |error: &Error, name| {
            let text = error.details.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let (said, message) = match self {
            Self::Done(_) => (AttemptResult::Answered, None),
            Self::Next(Reason::Declined, _, text) => (AttemptResult::Declined, text.clone()),
            Self::Next(Reason::NoResponders, ..) => (AttemptResult::NoResponders, None),
            Self::Next(Reason::Gone, ..) | Self::Lost(Reason::Gone, _) => {
                (AttemptResult::Gone, None)
            }
            Self::Next(..) | Self::Lost(..) => (AttemptResult::Silent, None),
            Self::Failed(error) => match error.code {
                ErrorCode::ToolError => {
                    let code = detail(error, "provider_code");
                    let text = ProviderError::line(&code, &detail(error, "provider_message"));
                    (AttemptResult::Failed, Some(text))
                }
                // The error itself says in what way.
                ErrorCode::InvalidResult => (AttemptResult::InvalidResult, None),
                ErrorCode::ToolTimeout if error.details.get("executed") == Some(&json!(true)) => {
                    (AttemptResult::Answered, Some(error.message.clone()))
                }
                _ => (AttemptResult::NotSent, Some(error.message.clone())),
            },
        };
        let shortened = |text: String| text.chars().take(ASKED_CHARS_MAX).collect();
        call::Attempt {
            node_id: node_id.clone(),
            said,
            message: message.filter(|text| !text.is_empty()).map(shortened),
        }
    }
}

impl Invoke {
    /// Asks one provider after another, as long as that does no harm.
    pub(super) async fn attempts(
        &self,
        caller: &Caller,
        call: &mut Call,
        first: Ready,
    ) -> (Chosen, Result<JsonText, Error>) {
        let mut ready = first;
        let mut last: Option<Error> = None;
        loop {
            call.attempts += 1;
            let Ready {
                chosen,
                contract,
                under_way,
            } = ready;
            let attempt = self.attempt(caller, call, &chosen, &contract, under_way);
            let attempt = attempt.await;
            call.asked.push(attempt.record(&chosen.node_id));
            let error = match attempt {
                Attempt::Done(value) => return (chosen, Ok(value)),
                Attempt::Failed(error) | Attempt::Lost(_, error) => {
                    return (chosen, Err(gravest(last, error)));
                }
                Attempt::Next(reason, error, _) => {
                    call.without.insert(chosen.node_id.clone(), reason);
                    gravest(last, error)
                }
            };
            let over = caller.is_late();
            if call.attempts >= ATTEMPTS_MAX || over {
                return (chosen, Err(error));
            }
            ready = match self.ready(caller, call).await {
                Ok(next) => next,
                // Whoever was asked has said more than who is left out.
                Err(_) => return (chosen, Err(error)),
            };
            last = Some(error);
        }
    }

    /// Whom to ask next, with arguments that are right for its contract.
    pub(super) async fn ready(&self, caller: &Caller, call: &mut Call) -> Result<Ready, Error> {
        let (chosen, under_way) = self.next(caller, call).await?;
        let contract = self.contract(&chosen, caller).await?;
        self.check_arguments(&chosen, &contract, caller, call)
            .await?;
        if caller.is_late() {
            return Err(call.too_late(&chosen));
        }
        Ok(Ready {
            chosen,
            contract,
            under_way,
        })
    }

    /// Whom to ask next; waits until somebody has room. What the index says of nobody is checked the first time only.
    async fn next(&self, caller: &Caller, call: &mut Call) -> Result<(Chosen, UnderWay), Error> {
        let since = tokio::time::Instant::now();
        let mut waits = None;
        let mut queued = None;
        let mut in_vain = None;
        let found = loop {
            if !self.rights.known(caller.asking.until).await {
                return Err(refuse::rights_unknown());
            }
            let query = query(call);
            let mut begin = || self.begin(query, &mut waits);
            let found = if call.attempts == 0 {
                self.checked(caller, begin).await
            } else {
                begin()
            };
            let full = match found {
                Ok(Found::Begun(chosen, under_way)) => break Ok((*chosen, under_way)),
                Ok(Found::Full(full)) => full,
                // It had no turn in its time, whatever became of those that had.
                Err(error) => {
                    let over = caller.is_late();
                    break Err(in_vain.filter(|_| over).unwrap_or(error));
                }
            };
            let now = tokio::time::Instant::now();
            if caller.is_late() || self.has_given_up() {
                break Err(full);
            }
            if queued.is_none() {
                match self.queue() {
                    Ok(place) => queued = Some(place),
                    Err(error) => break Err(error),
                }
                drop(call.turn.take());
            }
            if let Some(waits) = &mut waits {
                waits.room(caller.asking.until.min(now + LOOK_AGAIN)).await;
            }
            in_vain = Some(full);
        };
        drop(waits);
        if queued.is_some() {
            let turn = self.turn_until(caller.asking.until).await;
            call.shares.queued += since.elapsed();
            call.turn = Some(turn?);
        }
        found
    }

    async fn check_arguments(
        &self,
        chosen: &Chosen,
        contract: &Arc<CompiledContract>,
        caller: &Caller,
        call: &mut Call,
    ) -> Result<(), Error> {
        if call.checked.contains(&chosen.contract_hash) {
            return Ok(());
        }
        let arguments = std::mem::replace(&mut call.arguments, Value::Null.into());
        let checked = contract.violations(Part::Input, arguments, &self.contracts, caller);
        let (violations, arguments) = checked.await?;
        call.arguments = arguments;
        if let Some(error) = refuse::wrong_arguments(chosen, &violations) {
            return Err(error);
        }
        call.checked.push(chosen.contract_hash.clone());
        Ok(())
    }

    async fn attempt(
        &self,
        caller: &Caller,
        call: &mut Call,
        chosen: &Chosen,
        contract: &Arc<CompiledContract>,
        mut under_way: UnderWay,
    ) -> Attempt {
        let at = call.at(chosen);
        let now = tokio::time::Instant::now();
        let left = caller.asking.until.saturating_duration_since(now);
        if left.is_zero() {
            // Since it was begun: writing that down takes time.
            return Attempt::Failed(call.too_late(chosen));
        }
        // Nothing else shortens it: that somebody else could be asked as well says nothing of how long the tool takes.
        let patience = call
            .attempt_timeout(chosen)
            .map_or(left, |own| own.min(left));
        let watch = Probe::watch(&self.probe, &chosen.subject).await;
        let elsewhere = contract.idempotent && chosen.has_another && call.attempts < ATTEMPTS_MAX;
        let came = tokio::select! {
            biased;
            came = self.send(call, chosen, now, patience) => Some(came),
            () = watch.clone().deserted(!elsewhere) => None,
        };
        call.shares.provider += now.elapsed();
        let lost = |reason, error| {
            if contract.idempotent {
                Attempt::Next(reason, error, None)
            } else {
                Attempt::Lost(reason, error)
            }
        };
        let Some(came) = came else {
            under_way.ended = Ended::Unheard;
            return lost(Reason::Gone, at.gone(contract.idempotent));
        };
        match came {
            SendOutcome::Answer(message) => {
                let verdict = match self.verdict(caller, &at, message).await {
                    Ok(verdict) => verdict,
                    Err(_) => Verdict::Failed(at.unchecked()),
                };
                under_way.answered(match verdict {
                    Verdict::Result(..) => Ended::Answered,
                    Verdict::Declined(_) => Ended::Declined,
                    Verdict::Failed(_) => Ended::Refused,
                });
                let attempt = self.judge(caller, &at, verdict, contract).await;
                if let Attempt::Failed(error) = &attempt
                    && error.code == ErrorCode::InvalidResult
                {
                    under_way.ended = Ended::Refused;
                }
                attempt
            }
            SendOutcome::NoResponders => {
                under_way.ended = Ended::Unheard;
                drop(under_way);
                Attempt::Next(Reason::NoResponders, self.unheard(call, chosen), None)
            }
            SendOutcome::Nothing(answer) => {
                let held = under_way.held(Ended::Silent(now.elapsed()));
                if let Some(answer) = answer {
                    let gone = watch.deserted(false);
                    self.provider_client.keep(answer, gone, |came| {
                        if came {
                            held.answered_late();
                        }
                    });
                }
                lost(Reason::Silent, at.timed_out(contract.idempotent))
            }
            SendOutcome::Unsent(error) => Attempt::Failed(self.unsent(&error, &at)),
        }
    }

    async fn send(
        &self,
        call: &Call,
        chosen: &Chosen,
        now: tokio::time::Instant,
        patience: Duration,
    ) -> SendOutcome {
        let (subject, headers) = (chosen.subject.clone(), headers(call, chosen, patience));
        let provider_client = &self.provider_client;
        provider_client
            .ask(subject, headers, call.body.clone(), now + patience)
            .await
    }

    fn unsent(&self, error: &PublishError, at: &At<'_>) -> Error {
        if error.kind() == PublishErrorKind::MaxPayloadExceeded {
            return at.unsendable(self.bus.max_payload());
        }
        if self.replies.journal.admits_cause() {
            tracing::warn!(%error, "cannot call a tool");
        }
        Error::new(ErrorCode::Internal, format!("{at} could not be called"))
    }

    /// That nobody listens there, with who else there is.
    fn unheard(&self, call: &Call, chosen: &Chosen) -> Error {
        let mut without = call.without.clone();
        without.insert(chosen.node_id.clone(), Reason::NoResponders);
        let query = Query {
            without: &without,
            ..query(call)
        };
        let looked = self.look(query, |considered, _, _| {
            considered.refusal(query.name, query.choice)
        });
        looked.unwrap_or_else(|error| error)
    }

    /// What an answer says; a long one is read away from the threads that serve.
    async fn verdict(
        &self,
        caller: &Caller,
        at: &At<'_>,
        message: Message,
    ) -> Result<Verdict, Error> {
        let bytes = message.payload.len();
        if bytes <= PARSE_INLINE_BYTES_MAX {
            return Ok(at.judge(&message));
        }
        let (tool_name, node_id) = (at.tool_name.clone(), at.node_id.clone());
        let execution_id = at.execution_id;
        let judge = move |_: ToolRules<'_>| {
            let at = At {
                tool_name: &tool_name,
                node_id: &node_id,
                execution_id,
            };
            Ok(at.judge(&message))
        };
        self.contracts
            .check(Check::parsing(bytes), caller.asking, judge)
            .await
    }

    async fn judge(
        &self,
        caller: &Caller,
        at: &At<'_>,
        verdict: Verdict,
        contract: &Arc<CompiledContract>,
    ) -> Attempt {
        let (result, document) = match verdict {
            Verdict::Result(result, document) => (result, document),
            Verdict::Failed(error) => return Attempt::Failed(error),
            Verdict::Declined(text) => {
                let message = "every node that could be asked says that it cannot take more calls now; nothing was called";
                return Attempt::Next(Reason::Declined, refuse::busy(message), Some(text));
            }
        };
        match contract
            .violations(Part::Output, document, &self.contracts, caller)
            .await
        {
            Ok((violations, _)) if violations.is_empty() => Attempt::Done(result),
            Ok((violations, _)) => {
                Attempt::Failed(at.invalid(&violations, result.text().as_bytes()))
            }
            Err(_) => Attempt::Failed(at.unchecked()),
        }
    }
}

fn query(call: &Call) -> Query<'_> {
    Query {
        name: &call.request.tool_name,
        choice: &call.choice,
        without: &call.without,
        calls: true,
    }
}

/// What is said of several attempts: "nothing was done" is about one of them only.
fn gravest(earlier: Option<Error>, later: Error) -> Error {
    let done = later.details.get("executed") == Some(&Value::Bool(true));
    match earlier {
        Some(earlier) if earlier.code == ErrorCode::ToolTimeout && !done => earlier,
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
