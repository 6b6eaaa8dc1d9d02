//! What a call would do.

use crate::{
    cli::{
        cells::hash,
        failure::{Exit, Failure},
        output::{Block, Detail, Line, Lines, SECTION_INDENT, Table, span, word},
        session::Session,
    },
    protocol::{
        error::ErrorCode,
        invoke::{DryRunReply, InvokeRequest, Plan},
    },
};

use super::{arguments::Given, candidates};

/// Asks, and shows it. The exit code is the one that the call would have by what is known now.
pub(super) async fn run(
    session: &Session,
    request: &InvokeRequest,
    given: &Given,
) -> Result<Exit, Failure> {
    let reply = session.client.plan(request).await;
    let reply = session.seen(reply).await?;
    let names = |reply: &DryRunReply| {
        let plan = reply.plan.iter();
        plan.map(|plan| plan.provider_node_id.to_string()).collect()
    };
    let blocks = |reply: &DryRunReply, detail| blocks(reply, given, detail);
    session.output.show(&reply, names, blocks)?;
    Ok(exit(reply.refusal.as_deref()))
}

fn exit(refusal: Option<&str>) -> Exit {
    let Some(refusal) = refusal else {
        return Exit::Done;
    };
    let known = ErrorCode::ALL.iter().find(|code| code.as_str() == refusal);
    if known.is_some_and(|code| code.retryable()) {
        Exit::Later
    } else {
        Exit::Failed
    }
}

fn blocks(reply: &DryRunReply, given: &Given, detail: Detail) -> Vec<Block> {
    let mut blocks = vec![Block::Heading("PLAN".to_owned())];
    if let Some(refusal) = &reply.refusal {
        let text = format!("The call would be refused: {refusal}");
        // What is wrong with the arguments has a section of its own.
        let why = reply.refusal_message.as_deref();
        let why = why.filter(|_| reply.violations.is_empty());
        // Why each node is left out stands beside it.
        let why = why.map(|why| candidates::without_reasons(why, &reply.candidates).to_owned());
        let lines = std::iter::once(text).chain(why);
        let lines = lines.map(|text| Line::new(SECTION_INDENT, SECTION_INDENT, text));
        blocks.push(lines.collect::<Lines>().into());
    }
    if let Some(plan) = &reply.plan {
        blocks.push(Block::Table(summary(plan, detail), SECTION_INDENT));
    }
    if !reply.violations.is_empty() {
        let count = reply.violations.len();
        blocks.push(Block::Heading(format!("WRONG ARGUMENTS ({count})")));
        let lines = given.pointed_out(&reply.violations);
        blocks.push(Lines::verbatim(SECTION_INDENT, &lines.join("\n")).into());
    }
    if reply.candidates.is_empty() {
        return blocks;
    }
    let (shown, count) = (reply.candidates.len(), reply.candidate_count);
    let count = if shown < count {
        format!("the first {shown} of {count}")
    } else {
        count.to_string()
    };
    blocks.push(Block::Heading(format!("CANDIDATES ({count})")));
    let table = candidates::table(&reply.candidates, detail);
    blocks.push(Block::Table(table, SECTION_INDENT));
    blocks
}

fn summary(plan: &Plan, detail: Detail) -> Table {
    let idempotent = if plan.idempotent {
        "yes: another node is asked where one does not answer"
    } else {
        "no: another node is asked only where one did not get the request, or says that it did not begin"
    };
    let mut table = Table::values()
        .row(["Tool", &format!("{} {}", plan.tool_name, plan.tool_version)])
        .row(["Provider", plan.provider_node_id.as_str()])
        .row(["Subject", &plan.subject]);
    if plan.listening.is_none() {
        let unknown = "unknown: the NATS server does not say whether anybody listens there";
        table = table.row(["Listening", unknown]);
    }
    table = table
        .row(["Policy", &word(&plan.node_selection_policy)])
        .row(["Timeout", &span(plan.timeout_ms)]);
    if let Some(millis) = plan.attempt_timeout_ms {
        table = table.row(["Attempt", &format!("{} for each node", span(millis))]);
    }
    table
        .row(["Idempotent", idempotent])
        .row(["Contract", &hash(&plan.contract_hash, detail)])
}
