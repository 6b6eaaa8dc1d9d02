//! The attempts of one call: whom it goes to, and what comes back.

use std::{sync::Arc, time::Duration};

use async_nats::{HeaderMap, client::PublishErrorKind};
use serde_json::Value;

use crate::protocol::{
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
    invoke::Reason,
    json::JsonText,
    names::{
        HEADER_CONTRACT_HASH, HEADER_CORRELATION_ID, HEADER_EXECUTION_ID, HEADER_TIMEOUT_MS,
        HEADER_TOOL, HEADER_TOOL_VERSION, HEADER_TRACEPARENT,
    },
};

use super::{
    super::{requests::Caller, serve::Server},
    Chosen, Known, Part, UnderWay,
    call::Call,
    history::Ended,
    load::{Loads, Provider},
    post::Came,
    verdict::{At, Verdict},
};

/// Providers that are asked for one call, at most.
const ATTEMPTS_MAX: u32 = 3;

/// Whoever is asked next, with arguments that are right for its contract.
pub(super) struct Ready {
    pub(super) chosen: Chosen,
    pub(super) contract: Arc<Known>,
    under_way: UnderWay,
}

/// What came of asking one provider.
enum Attempt {
    Done(JsonText),
    Failed(Error),
    /// Another one may be asked, for that reason; if there is none, this is the outcome.
    Next(Reason, Error),
}

impl Server {
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
            let error = match attempt.await {
                Attempt::Done(value) => return (chosen, Ok(value)),
                Attempt::Failed(error) => return (chosen, Err(gravest(last, error))),
                Attempt::Next(reason, error) => {
                    call.without.insert(chosen.node_id.clone(), reason);
                    gravest(last, error)
                }
            };
            let over = tokio::time::Instant::now() >= caller.until;
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
        if tokio::time::Instant::now() >= caller.until {
            return Err(call.at(&chosen).too_late());
        }
        Ok(Ready {
            chosen,
            contract,
            under_way,
        })
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
        let arguments = std::mem::replace(&mut call.arguments, Value::Null.into());
        let checked = contract.violations(Part::Input, arguments, &self.contracts, caller);
        let (violations, arguments) = checked.await?;
        call.arguments = arguments;
        if let Some(first) = violations.first() {
            let message = format!(
                "the arguments are not as the contract of {} {} says: {first}",
                chosen.tool_name, chosen.tool_version
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
        let at = call.at(chosen);
        let now = tokio::time::Instant::now();
        let left = caller.until.saturating_duration_since(now);
        if left.is_zero() {
            // Since it was begun: writing that down takes time.
            return Attempt::Failed(at.too_late());
        }
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
                under_way.answered(match verdict {
                    Verdict::Result(..) => Ended::Answered,
                    Verdict::Declined => Ended::Declined,
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
            Came::NoResponders => {
                under_way.ended = Ended::Unheard;
                drop(under_way);
                Attempt::Next(Reason::NoResponders, self.unheard(call, chosen))
            }
            Came::Nothing => {
                under_way.ended = Ended::Silent(now.elapsed());
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
        let (result, document) = match verdict {
            Verdict::Result(result, document) => (result, document),
            Verdict::Failed(error) => return Attempt::Failed(error),
            Verdict::Declined => {
                let message = "every node that could be asked says that it cannot take more calls now; nothing was called";
                let busy = Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS);
                return Attempt::Next(Reason::Declined, busy);
            }
        };
        match contract
            .violations(Part::Output, document, &self.contracts, caller)
            .await
        {
            Ok((violations, _)) if violations.is_empty() => Attempt::Done(result),
            Ok((violations, _)) => Attempt::Failed(at.invalid(&violations)),
            Err(_) => Attempt::Failed(at.unchecked()),
        }
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
