//! A call that was refused, or that failed, made to be understood.

use serde_json::{Map, Value};

use crate::{
    cli::{
        failure::Failure,
        output::{json, word},
    },
    protocol::{
        attempt::{Attempt, AttemptResult},
        bounds::Open,
        error::ErrorCode,
        invoke::Offered,
        violation::Violation,
    },
};

use super::{arguments::Given, candidates};

/// The failure with what there is to show of it; `given` is what the tool was called with, if it was.
pub(super) fn explained(mut failure: Failure, given: Option<&Given>) -> Failure {
    let details = failure.detail_values();
    let of = |name: &str| details.get(name).cloned().unwrap_or_default();
    let wrong = violations(of("violations"));
    let asked = asked(of("asked"));
    let lines: Vec<String> = if failure.is(ErrorCode::InvalidArguments) {
        given.map_or_else(Vec::new, |given| given.pointed_out(&wrong))
    } else if failure.is(ErrorCode::InvalidResult) {
        let all = wrong
            .iter()
            .map(|Violation { pointer, message }| match pointer.as_str() {
                "" => format!("the result {message}"),
                pointer => format!("the result at {pointer} {message}"),
            });
        let answer = answer(of("provider_body"), &wrong);
        all.chain(execution(&failure)).chain(answer).collect()
    } else if failure.is(ErrorCode::ProviderNotFound) {
        return unavailable(failure).showing(asked);
    } else if failure.is(ErrorCode::ContractChanged) {
        offered(of("offered"))
    } else if failure.is(ErrorCode::ToolError) {
        let more = body(of("provider_body"), &failure);
        let lines = execution(&failure)
            .into_iter()
            .chain(more.clone())
            .collect();
        failure = said_once(failure, more.is_empty());
        lines
    } else if failure.is(ErrorCode::ToolTimeout) || failure.is(ErrorCode::TooLarge) {
        execution(&failure).into_iter().collect()
    } else {
        Vec::new()
    };
    // The message has the first one as well.
    let failure = match wrong.first().filter(|_| !lines.is_empty()) {
        Some(first) => failure.without_end(&format!(": {first}")),
        None => failure,
    };
    failure.showing(lines).showing(asked)
}

/// Nobody can be asked: each node that offers the tool with why, once.
fn unavailable(failure: Failure) -> Failure {
    let details = failure.detail("candidates").cloned();
    let candidates = candidates::read(details.unwrap_or_default());
    if candidates.is_empty() {
        return failure;
    }
    let message = failure.message();
    let rest = candidates::without_reasons(message, &candidates);
    let end = message.strip_prefix(rest).unwrap_or_default().to_owned();
    failure
        .without_end(&end)
        .without_hint()
        .showing(candidates::lines(&candidates))
}

/// Where several nodes were asked: each with what it said.
fn asked(details: Value) -> Vec<String> {
    let asked: Vec<Attempt> = serde_json::from_value(details).unwrap_or_default();
    if asked.len() < 2 {
        return Vec::new();
    }
    let line = |one: Attempt| {
        let said = word(&one.said).replace('_', " ");
        // What the last one gave is what the failure is about.
        let told = matches!(
            one.said,
            Open::Known(AttemptResult::Failed | AttemptResult::InvalidResult)
        );
        let more = one.message.filter(|_| !told);
        let more = more.map(|text| format!(" ({text})"));
        format!("asked {}: {said}{}", one.node_id, more.unwrap_or_default())
    };
    asked.into_iter().map(line).collect()
}

fn violations(details: Value) -> Vec<Violation> {
    serde_json::from_value(details).unwrap_or_default()
}

fn offered(details: Value) -> Vec<String> {
    let offered: Vec<Offered> = serde_json::from_value(details).unwrap_or_default();
    let line = |one: Offered| format!("offered: {} {}", one.tool_version, one.contract_hash);
    offered.into_iter().map(line).collect()
}

/// Of which execution it is, and whether the tool was executed, where the message does not say that; it names who was asked.
fn execution(failure: &Failure) -> Option<String> {
    let text = |name| failure.detail(name).and_then(Value::as_str);
    let id = text("execution_id")?;
    if failure.message().contains("executed") {
        return Some(format!("execution {id}"));
    }
    let executed = match failure.detail("executed") {
        Some(Value::Bool(true)) => "it was executed",
        Some(Value::Bool(false)) => "it was not executed",
        _ => "it may have been executed",
    };
    Some(format!("execution {id}: {executed}"))
}

/// The result that is wrong, unless what is wrong with it begins with all of it.
fn answer(answer: Value, wrong: &[Violation]) -> Vec<String> {
    let text = match answer {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let is_said = |one: &Violation| {
        let rest = one.message.strip_prefix(&text);
        one.pointer.is_empty() && rest.is_some_and(|rest| rest.starts_with(' '))
    };
    if wrong.iter().any(is_said) {
        return Vec::new();
    }
    let text = format!("it answered {text}");
    text.lines().map(str::to_owned).collect()
}

/// A provider's own error as programs get it: not once more as a whole where that says nothing else, nor beside the node that
/// gave it.
fn said_once(failure: Failure, body_says_nothing_else: bool) -> Failure {
    let without_message = |mut asked: Value| {
        let last = asked.as_array_mut().and_then(|asked| asked.last_mut());
        if let Some(Value::Object(last)) = last {
            last.insert("message".to_owned(), Value::Null);
        }
        Some(asked)
    };
    let failure = failure.with_changed("asked", without_message);
    failure.with_changed("provider_body", |body| {
        (!body_says_nothing_else).then_some(body)
    })
}

/// What the provider says besides what the failure says already, where it says anything.
fn body(mut body: Value, failure: &Failure) -> Vec<String> {
    let said = [
        ("code", failure.detail("provider_code")),
        ("message", failure.detail("provider_message")),
        ("retryable", failure.member("retryable")),
        ("correlation_id", failure.member("correlation_id")),
    ];
    let is_text = |text: &Value| text.is_string() && said.iter().any(|(_, one)| *one == Some(text));
    if let Some(error) = body.get_mut("error") {
        if let Value::Object(members) = error {
            for (name, said) in said {
                if said.is_some() && members.get(name) == said {
                    members.remove(name);
                }
            }
        }
        if is_text(error) || error.as_object().is_some_and(Map::is_empty) {
            body.as_object_mut().map(|members| members.remove("error"));
        }
    }
    let text = match &body {
        Value::Null => return Vec::new(),
        Value::Object(members) if members.is_empty() => return Vec::new(),
        text if is_text(text) => return Vec::new(),
        Value::String(text) => text.clone(),
        other => json(other).unwrap_or_default(),
    };
    text.lines().map(str::to_owned).collect()
}
