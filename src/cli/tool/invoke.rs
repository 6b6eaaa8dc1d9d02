//! `onex tool invoke`

use std::time::{Duration, Instant};

use clap::Args;
use onex_types::ids::{RequestId, Token};

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::{NOTHING, Table, span},
        parse,
        session::Session,
    },
    protocol::{
        error::ErrorCode,
        invoke::{InvokeReply, InvokeRequest},
    },
};

use super::{arguments::Given, choice::Choosing, dry_run, refusal, suggestion::suggest};

/// Call a tool, and write its result to stdout.
///
/// The arguments are checked before anything is sent. --timeout is how long the tool may take. What comes is the
/// result alone, as JSON: indented on a terminal, else on one line. -o json and -o yaml give the whole answer.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex tool invoke add --args '{\"a\": 1, \"b\": 2}'\n  \
        onex tool invoke add --args @sum.json --timeout 1m --verbose\n  \
        jq -n '{a: 1, b: 2}' | onex tool invoke add --args - | jq .sum\n  \
        onex tool invoke add --args '{\"a\": 1}' --dry-run"
)]
pub(in crate::cli) struct Invoke {
    /// The tool.
    #[arg(value_name = "NAME")]
    name: Token,
    /// What it is called with: a JSON object, @FILE for one in a file, - for one on stdin [default: {}].
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    /// Only say who would be asked for what, and why others would not; the exit code is the call's.
    #[arg(long)]
    dry_run: bool,
    /// Say on stderr who answered, how often it was tried, how long it took, and under which ids.
    #[arg(long)]
    verbose: bool,
    /// How long one node is given to answer, 10ms to 300s; then another one is asked, where the tool is idempotent
    /// [default: what the tool's contract says, else as long as --timeout].
    #[arg(long, value_name = "DURATION", value_parser = parse::attempt_timeout)]
    attempt_timeout: Option<Duration>,
    /// Your name for what you are doing: it goes to the tool, into events and into the registry's log
    /// [default: a new one].
    #[arg(long, value_name = "ID", value_parser = parse::correlation_id)]
    correlation_id: Option<String>,
    /// Your name for this call: the same again is answered with its outcome, and the tool is not called
    /// twice.
    #[arg(long, value_name = "UUID", value_parser = parse::request_id)]
    request_id: Option<RequestId>,
    /// The trace that the call is a part of: it goes to the tool.
    #[arg(long, env = "TRACEPARENT", value_name = "W3C", hide_env_values = true, value_parser = parse::traceparent)]
    traceparent: Option<String>,
    #[command(flatten)]
    choosing: Choosing,
}

impl Invoke {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let given = Given::read(self.args.as_deref())?;
        let request = self.request(&given, session);
        if self.dry_run {
            return dry_run::run(session, &request, &given).await;
        }
        let client = session.client.clone();
        let client = match &self.traceparent {
            Some(traceparent) => client
                .with_traceparent(traceparent)
                .map_err(|error| Failure::usage(format!("--traceparent {error}")))?,
            None => client,
        };
        let since = Instant::now();
        let called = session.settle(client.invoke(&request).await).await;
        let took = since.elapsed();
        let reply = match called {
            Ok(reply) => reply,
            Err(failure) => {
                let failure = self.unsettled(failure);
                let failure = waiting(session, failure, &request, took).await;
                let failure = refusal::explained(failure, Some(&given));
                return Err(suggest(session, failure, &self.name).await);
            }
        };
        let name = reply.provider_node_id.as_str();
        session.output.show_result(&reply, &reply.result, name)?;
        if self.verbose {
            session.output.notes(vec![summary(&reply).into()]);
        }
        Ok(Exit::Done)
    }

    fn request(&self, given: &Given, session: &Session) -> InvokeRequest {
        let choosing = &self.choosing;
        let millis = session.client.timeout().as_millis();
        InvokeRequest {
            tool_version: choosing.tool_version.clone(),
            node_selection_policy: choosing.policy.unwrap_or_default(),
            provider_node_id: choosing.provider.clone(),
            trusted_only: choosing.trusted_only,
            contract_hash: choosing.contract_hash.clone(),
            timeout_ms: u64::try_from(millis).ok(),
            attempt_timeout_ms: self
                .attempt_timeout
                .and_then(|time| u64::try_from(time.as_millis()).ok()),
            correlation_id: self.correlation_id.clone(),
            dry_run: self.dry_run,
            request_id: self.request_id,
            ..InvokeRequest::new(self.name.clone(), given.arguments.clone())
        }
    }

    /// Where no answer came: how to find out what became of the call, if there is a way.
    fn unsettled(&self, failure: Failure) -> Failure {
        match self.request_id {
            Some(id) => failure.repeat_with(id, &format!("--request-id {}", id.0)),
            None => failure,
        }
    }
}

/// Where the tool had too little time: by which flag it gets more.
async fn waiting(
    session: &Session,
    failure: Failure,
    request: &InvokeRequest,
    took: Duration,
) -> Failure {
    if !failure.is(ErrorCode::ToolTimeout) || took >= session.client.timeout() {
        return failure;
    }
    // It ended before: either each node has its own time, by the flag or by the contract, or it is gone.
    let request = InvokeRequest {
        dry_run: true,
        ..request.clone()
    };
    let plan = session.client.plan(&request).await.ok();
    let attempt = plan.and_then(|reply| reply.plan?.attempt_timeout_ms);
    let attempt = attempt.or(request.attempt_timeout_ms);
    let ended_it = attempt.is_some_and(|millis| took >= Duration::from_millis(millis));
    failure.waiting_by(ended_it.then_some("--attempt-timeout"))
}

fn summary(reply: &InvokeReply) -> Table {
    let tool = format!("{} {}", reply.tool_name, reply.tool_version);
    // Not known of a call that was made before, under the same request id.
    let attempts = reply
        .attempts
        .map_or_else(|| NOTHING.to_owned(), |attempts| attempts.to_string());
    let duration = reply.duration_ms.map_or_else(|| NOTHING.to_owned(), span);
    Table::values()
        .row(["Tool", &tool])
        .row(["Provider", reply.provider_node_id.as_str()])
        .row(["Attempts", &attempts])
        .row(["Duration", &duration])
        .row(["Execution", &reply.execution_id.to_string()])
        .row(["Correlation", &reply.correlation_id])
        .row(["Contract", &reply.contract_hash])
}
