//! What `details` of an error may have, and the schema of every error.

use onex_types::{holder::Holder, listener::Listener};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::{
    attempt::Attempt,
    describe::Help,
    endpoint::Endpoint,
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode, ErrorReply},
    examples,
    explain::NextPort,
    invoke::{Candidate, Offered},
    message_schema::{Message, remark},
    names::Namespace,
    schema,
    violation::Violation,
};

/// A member of `details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Why an administrator did it.
    AdminReason,
    /// Who was asked to run the tool, and what each said.
    Asked,
    /// Which bound is reached.
    Bound,
    /// The bus that it is about.
    BusId,
    /// How many ports of the pool may be granted at all.
    Capacity,
    /// Who offers the tool, and why each cannot be asked.
    Candidates,
    /// The contract that was asked for.
    ContractHash,
    /// The last life of the node.
    Epoch,
    /// Whether the tool was called.
    Executed,
    /// Of which execution.
    ExecutionId,
    /// When that ends which is in the way.
    ExpiresInMs,
    /// The header that is wrong.
    Header,
    /// How many ports of the pool are held.
    Held,
    /// How to use the endpoint.
    Help,
    /// What the holder says of itself.
    Holder,
    /// The host whose pool it is about.
    Host,
    /// Who uses the port, by the tables of its host's kernel.
    InUse,
    /// The lease that it is about.
    LeaseId,
    /// What may not be exceeded.
    Limit,
    /// The name that was asked for, or that the lease has.
    Name,
    /// The known field, or name, that an unknown one looks like.
    Nearest,
    /// What may come free next.
    Next,
    /// The node that it is about.
    NodeId,
    /// The contracts that are offered.
    Offered,
    /// Whether something was done.
    Outcome,
    /// The field.
    Pointer,
    /// The port that it is about.
    Port,
    /// The revision of what is there.
    PresentRevision,
    /// What the provider says besides, as it came.
    ProviderBody,
    /// The provider's own name for its error.
    ProviderCode,
    /// What the provider says, for people.
    ProviderMessage,
    /// Who was asked.
    ProviderNodeId,
    /// How many ports of the pool are quarantined.
    Quarantined,
    /// Why not.
    Reason,
    /// Who holds it.
    RequesterId,
    /// The request id that it is about.
    RequestId,
    /// How many ports of the pool cool down.
    Resting,
    /// How far this instance is.
    Revision,
    /// What the port is.
    State,
    /// The tool that it is about.
    ToolName,
    /// What is wrong with arguments or a result.
    Violations,
}

/// Whether a member is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// In every error of that code.
    Always,
    /// Where there is something to say.
    Sometimes,
}

impl Detail {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdminReason => "admin_reason",
            Self::Asked => "asked",
            Self::Bound => "bound",
            Self::BusId => "bus_id",
            Self::Capacity => "capacity",
            Self::Candidates => "candidates",
            Self::ContractHash => "contract_hash",
            Self::Epoch => "epoch",
            Self::Executed => "executed",
            Self::ExecutionId => "execution_id",
            Self::ExpiresInMs => "expires_in_ms",
            Self::Header => "header",
            Self::Held => "held",
            Self::Help => "help",
            Self::Holder => "holder",
            Self::InUse => "in_use",
            Self::Host => "host",
            Self::LeaseId => "lease_id",
            Self::Limit => "limit",
            Self::Name => "name",
            Self::Nearest => "nearest",
            Self::Next => "next",
            Self::NodeId => "node_id",
            Self::Offered => "offered",
            Self::Outcome => "outcome",
            Self::Pointer => "pointer",
            Self::Port => "port",
            Self::PresentRevision => "present_revision",
            Self::ProviderBody => "provider_body",
            Self::ProviderCode => "provider_code",
            Self::ProviderMessage => "provider_message",
            Self::ProviderNodeId => "provider_node_id",
            Self::Quarantined => "quarantined",
            Self::Reason => "reason",
            Self::RequesterId => "requester_id",
            Self::RequestId => "request_id",
            Self::Resting => "resting",
            Self::Revision => "revision",
            Self::State => "state",
            Self::ToolName => "tool_name",
            Self::Violations => "violations",
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::AdminReason => text("Why an administrator ended it; where one did."),
            Self::Asked => list::<Attempt>(
                "Which nodes were asked to run the tool, in order, and what each said.",
            ),
            Self::Bound => text("Which bound is reached."),
            Self::BusId => text("The bus that it is about."),
            Self::Capacity => number("How many ports of the pool may be granted at all."),
            Self::Candidates => list::<Candidate>(
                "Who offers a tool of that name, and why each cannot be asked; at most 64.",
            ),
            Self::ContractHash => text("The contract that was asked for."),
            Self::Epoch => number("The node's last epoch."),
            Self::Executed => json!({
                "description": "Whether the tool was called: true, false, or `unknown`.",
                "enum": [true, false, "unknown"],
            }),
            Self::ExecutionId => {
                text("Of which execution: it is in the provider's request and in the events.")
            }
            Self::ExpiresInMs => number(
                "When the lease ends unless it is renewed, or the port can be had again, in milliseconds; 0 when it is due.",
            ),
            Self::Header => text("The header that is wrong."),
            Self::Held => number("How many ports of the pool are held."),
            Self::Help => {
                let mut help = schema::of_part::<Help>();
                remark(&mut help, "For an empty body: how to use the endpoint.");
                help
            }
            Self::Holder => {
                let mut holder = schema::of_part::<Holder>();
                remark(&mut holder, "What the holder of the lease says of itself.");
                holder
            }
            Self::InUse => list::<Listener>(
                "Who listens on the port now, for UDP who is bound to it: at most 16 sockets in each port space.",
            ),
            Self::Host => text("The host whose pool it is about."),
            Self::LeaseId => text("The lease that it is about."),
            Self::Limit => number("What may not be exceeded."),
            Self::NodeId => text("The node that it is about."),
            Self::Name => text("The name that was asked for, or that the lease has."),
            Self::Next => {
                let mut next = schema::of_part::<NextPort>();
                remark(&mut next, "The port of the pool that may come free next.");
                next
            }
            Self::Nearest => text("The known field, or name, that an unknown one looks like."),
            Self::Offered => list::<Offered>("The contracts that are offered; at most 64."),
            Self::Outcome => one_of(
                "`none`: nothing was done. `unknown`: it may have been; ask again with the same request_id.",
                &["none", "unknown"],
            ),
            Self::Pointer => text("The field, as a JSON Pointer."),
            Self::Port => number("The port that it is about."),
            Self::PresentRevision => number(
                "The revision of what is there, for `expected_revision`; 0 where there is nothing.",
            ),
            Self::ProviderBody => {
                json!({"description": "What the provider says besides, as it came."})
            }
            Self::ProviderCode => text("The provider's own name for its error."),
            Self::ProviderMessage => text("What the provider says, for people."),
            Self::ProviderNodeId => text("Who was asked."),
            Self::Reason => one_of(
                "Why not. `frozen`: the node's contract must not change. `not_validator`: no node of type validator \
                lives by that id and requester. `own_verdict`: nobody judges itself. `tool_subject`: the registry may not call \
                the tool's subject.",
                &["frozen", "not_validator", "own_verdict", "tool_subject"],
            ),
            Self::Quarantined => number("How many ports of the pool are quarantined."),
            Self::RequesterId => text("Who holds the lease."),
            Self::RequestId => text("The request id that it is about."),
            Self::Resting => number("How many ports of the pool cool down."),
            Self::Revision => number("How far this instance is."),
            Self::State => one_of(
                "What the port is. `in_use`: another program has it. `outside`: in no range.",
                &[
                    "held",
                    "resting",
                    "quarantined",
                    "in_use",
                    "reserved",
                    "outside",
                ],
            ),
            Self::ToolName => text("The tool that it is about."),
            Self::Violations => list::<Violation>("What is wrong, and where; the first 64 things."),
        }
    }

    fn example(self) -> Value {
        match self {
            Self::AdminReason => json!("the build that held it is gone"),
            Self::Asked => {
                json!([{"node_id": examples::NODE, "said": "silent", "message": null}])
            }
            Self::Bound => json!("hosts"),
            Self::BusId => json!("calc-events"),
            Self::Capacity => json!(10_000),
            Self::Candidates => examples::candidates(),
            Self::ContractHash => json!(examples::HASH),
            Self::Epoch => json!(3),
            Self::Executed => json!(true),
            Self::ExecutionId => json!(examples::EXECUTION),
            Self::ExpiresInMs => json!(43_000),
            Self::Header => json!("Onex-Timeout-Ms"),
            Self::Held => json!(9_999),
            Self::Help => json!(Endpoint::Help.help(&Namespace::default())),
            Self::Holder => examples::holder(),
            Self::InUse => json!([examples::listener()]),
            Self::Host => json!("build-7"),
            Self::LeaseId => json!(examples::LEASE),
            Self::Limit => json!(1_000),
            Self::Name => json!("lease.request.replay"),
            Self::Nearest => json!("preferred_port"),
            Self::Next => json!({"port": 20_017, "state": "held", "expires_in_ms": 43_000}),
            Self::Offered => {
                json!([{"tool_version": "1.1.0", "contract_hash": examples::OTHER_HASH}])
            }
            Self::Outcome => json!("unknown"),
            Self::Pointer => json!("/min_revision"),
            Self::Port => json!(20_001),
            Self::PresentRevision => json!(4_711),
            Self::ProviderBody => json!({"error": {"code": "TEXT_TOO_LONG"}}),
            Self::ProviderCode => json!("TEXT_TOO_LONG"),
            Self::ProviderMessage => json!("the text has more than 100,000 characters"),
            Self::NodeId | Self::ProviderNodeId => json!(examples::NODE),
            Self::Quarantined => json!(1),
            Self::Reason => json!("frozen"),
            Self::RequesterId => json!(examples::REQUESTER),
            Self::RequestId => json!(examples::REQUEST_ID),
            Self::Resting => json!(0),
            Self::Revision => json!(1_234),
            Self::State => json!("held"),
            Self::ToolName => json!("summarize"),
            Self::Violations => {
                json!([{"pointer": "/max_words", "message": "\"few\" is not of type \"integer\""}])
            }
        }
    }
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn list<T: JsonSchema>(description: &str) -> Value {
    json!({"type": "array", "items": schema::of_part::<T>(), "description": description})
}

fn number(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

fn one_of(description: &str, values: &[&str]) -> Value {
    json!({"type": "string", "enum": values, "description": description})
}

/// The schema of every reply that is an error: what all have, and what there is by its code.
pub(super) fn message() -> Message {
    let mut schema = schema::of::<ErrorReply>();
    let by_code: Vec<Value> = ErrorCode::ALL.iter().copied().map(of_code).collect();
    if let Some(Value::Object(error)) = schema.pointer_mut("/properties/error") {
        error.insert("allOf".to_owned(), Value::Array(by_code));
    }
    let examples = ErrorCode::ALL.iter().copied().map(example).collect();
    Message::new("error", "Any error", schema, examples)
}

fn of_code(code: ErrorCode) -> Value {
    let mut members = Map::new();
    let mut always = Vec::new();
    for (detail, there) in code.details() {
        members.insert(detail.name().to_owned(), detail.schema());
        if *there == There::Always {
            always.push(detail.name());
        }
    }
    let mut then =
        json!({"details": {"type": "object", "properties": members, "required": always}});
    // What a tool says of itself decides for the others.
    if let (false, Some(then)) = (code.depends_on_tool(), then.as_object_mut()) {
        then.insert("retryable".to_owned(), json!({"const": code.retryable()}));
    }
    json!({
        "if": {"properties": {"code": {"const": code.as_str()}}},
        "then": {"properties": then},
    })
}

fn example(code: ErrorCode) -> Value {
    let mut error = Error::new(code, code.meaning());
    "0198f3a0-9c11-7d20-8b1e-0c5d6e7f8091".clone_into(&mut error.correlation_id);
    if code.retryable() && code != ErrorCode::StoreUnavailable {
        error.retry_after_ms = Some(BUSY_RETRY_MILLIS);
    }
    for (detail, there) in code.details() {
        if *there == There::Always || *detail == Detail::Pointer {
            error = error.with(detail.name(), detail.example());
        }
    }
    json!(ErrorReply { error })
}
