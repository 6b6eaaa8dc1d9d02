//! What the endpoints teach about themselves: their schemas, examples and errors.

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::{
    admin::{
        EvictRequest, ForgetHostReply, ForgetHostRequest, RevokeReply, RevokeRequest,
        UnquarantineReply, UnquarantineRequest,
    },
    bus::{BusDeregisterRequest, BusItem, BusListRequest, BusRegisterRequest, BusReply},
    catalog::{SchemaGetReply, SchemaGetRequest, SchemaItem, SchemaListRequest},
    describe::{
        DescribeReply, DescribeRequest, ErrorHelp, Help, HelpReply, HelpRequest, NodeDescribeReply,
    },
    endpoint::{Endpoint, HOLDERS_CLOCK},
    error::ErrorCode,
    examples,
    explain::{ExplainReply, ExplainRequest},
    invoke::{DryRunReply, InvokeReply, InvokeRequest, ResolveToolReply, ResolveToolRequest},
    message_schema::{Message, remark},
    names::Namespace,
    node::{RegisterReply, RegisterRequest},
    node_life, node_view,
    pool::{PoolDeleteRequest, PoolItem, PoolListRequest, PoolSetRequest},
    port::{
        HeartbeatReply, HeartbeatRequest, LeaseReply, LeaseRequest, ListRequest, Page,
        RebindRequest, ReleaseReply, ReleaseRequest, ResolveRequest,
    },
    schema::{of as schema, of_part as part, of_request as request},
    tool::{
        ToolChangeReply, ToolDeregisterRequest, ToolDescribeReply, ToolDescribeRequest, ToolItem,
        ToolListRequest, ToolRegisterRequest,
    },
    trust::{ReportRequest, TrustGetRequest, TrustReply},
};

impl Endpoint {
    /// A request that it takes.
    pub fn example(self) -> Value {
        examples::request(self)
    }

    /// JSON Schema 2020-12 of what it takes.
    pub fn request_schema(self) -> Value {
        self.request().schema
    }

    /// JSON Schema 2020-12 of what it answers, when that is no error.
    pub fn response_schema(self) -> Value {
        self.reply().schema
    }

    /// What it takes.
    pub(super) fn request(self) -> Message {
        let mut schema = match self {
            Self::PortLease => request::<LeaseRequest>(),
            Self::PortHeartbeat => request::<HeartbeatRequest>(),
            Self::PortRelease => request::<ReleaseRequest>(),
            Self::PortRebind => request::<RebindRequest>(),
            Self::PortList => request::<ListRequest>(),
            Self::PortResolve => request::<ResolveRequest>(),
            Self::PortExplain => request::<ExplainRequest>(),
            Self::PoolList => request::<PoolListRequest>(),
            Self::PoolSet => request::<PoolSetRequest>(),
            Self::PoolDelete => request::<PoolDeleteRequest>(),
            Self::NodeRegister => request::<RegisterRequest>(),
            Self::NodeHeartbeat => request::<node_life::HeartbeatRequest>(),
            Self::NodeDeregister => request::<node_life::DeregisterRequest>(),
            Self::NodeList => request::<node_view::NodeListRequest>(),
            Self::ToolRegister => request::<ToolRegisterRequest>(),
            Self::ToolDeregister => request::<ToolDeregisterRequest>(),
            Self::ToolList => request::<ToolListRequest>(),
            Self::ToolDescribe => request::<ToolDescribeRequest>(),
            Self::ToolInvoke => request::<InvokeRequest>(),
            Self::ToolResolve => request::<ResolveToolRequest>(),
            Self::BusRegister => request::<BusRegisterRequest>(),
            Self::BusDeregister => request::<BusDeregisterRequest>(),
            Self::BusList => request::<BusListRequest>(),
            Self::SchemaList => request::<SchemaListRequest>(),
            Self::SchemaGet => request::<SchemaGetRequest>(),
            Self::TrustReport => request::<ReportRequest>(),
            Self::TrustGet => request::<TrustGetRequest>(),
            Self::AdminPortRevoke => request::<RevokeRequest>(),
            Self::AdminPortUnquarantine => request::<UnquarantineRequest>(),
            Self::AdminNodeEvict => request::<EvictRequest>(),
            Self::AdminHostForget => request::<ForgetHostRequest>(),
            Self::Describe => request::<DescribeRequest>(),
            Self::Help => request::<HelpRequest>(),
        };
        remark(&mut schema, self.description());
        let name = self.name();
        let title = format!("Request to {name}");
        Message::new(
            &format!("{name}.request"),
            &title,
            schema,
            vec![self.example()],
        )
    }

    /// What it answers, when that is no error.
    pub(super) fn reply(self) -> Message {
        let schema = match self {
            Self::PortLease | Self::PortRebind => schema::<LeaseReply>(),
            Self::PortHeartbeat => either::<LeaseReply, HeartbeatReply>(),
            Self::PortRelease => schema::<ReleaseReply>(),
            Self::PortList | Self::PortResolve => schema::<Page<LeaseReply>>(),
            Self::PoolList | Self::PoolSet | Self::PoolDelete => schema::<Page<PoolItem>>(),
            Self::PortExplain => schema::<ExplainReply>(),
            Self::NodeRegister => schema::<RegisterReply>(),
            Self::NodeHeartbeat => schema::<node_life::HeartbeatReply>(),
            Self::NodeDeregister | Self::AdminNodeEvict => schema::<node_life::DeregisterReply>(),
            Self::NodeList => schema::<Page<node_view::NodeItem>>(),
            Self::ToolRegister | Self::ToolDeregister => schema::<ToolChangeReply>(),
            Self::ToolList => schema::<Page<ToolItem>>(),
            Self::ToolDescribe => schema::<ToolDescribeReply>(),
            Self::ToolInvoke => either::<InvokeReply, DryRunReply>(),
            Self::ToolResolve => schema::<ResolveToolReply>(),
            Self::BusRegister | Self::BusDeregister => schema::<BusReply>(),
            Self::BusList => schema::<Page<BusItem>>(),
            Self::SchemaList => schema::<Page<SchemaItem>>(),
            Self::SchemaGet => schema::<SchemaGetReply>(),
            Self::TrustReport | Self::TrustGet => schema::<TrustReply>(),
            Self::AdminPortRevoke => schema::<RevokeReply>(),
            Self::AdminPortUnquarantine => schema::<UnquarantineReply>(),
            Self::AdminHostForget => schema::<ForgetHostReply>(),
            Self::Describe => either::<DescribeReply, NodeDescribeReply>(),
            Self::Help => schema::<HelpReply>(),
        };
        let name = self.name();
        let title = format!("Reply of {name}");
        Message::new(
            &format!("{name}.reply"),
            &title,
            schema,
            examples::replies(self),
        )
    }

    /// All that it teaches about itself.
    pub fn help(self, namespace: &Namespace) -> Help {
        Help {
            endpoint: self.name().to_owned(),
            subject: namespace.subject(self.name()),
            description: self.description().to_owned(),
            request_schema: self.request_schema(),
            response_schema: self.response_schema(),
            example: self.example(),
            errors: codes(&self.errors()),
        }
    }
}

fn codes(errors: &[ErrorCode]) -> Vec<String> {
    errors.iter().map(|code| code.as_str().to_owned()).collect()
}

/// One or the other, by what the request asked for.
fn either<T: JsonSchema, U: JsonSchema>() -> Value {
    json!({
        "$schema": schema::<T>().get("$schema"),
        "description": "One of these, by what the request asks for.",
        "anyOf": [part::<T>(), part::<U>()],
    })
}

/// What the `help` endpoint answers.
pub fn help(namespace: &Namespace) -> HelpReply {
    HelpReply {
        endpoints: Endpoint::ALL
            .map(|endpoint| endpoint.help(namespace))
            .into(),
        errors: ErrorCode::ALL
            .iter()
            .map(|code| ErrorHelp {
                code: code.as_str().to_owned(),
                number: code.number(),
                retryable: code.retryable(),
                meaning: code.meaning().to_owned(),
            })
            .collect(),
        holders_clock: HOLDERS_CLOCK.to_owned(),
        ignored: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_name_known_fields_only() {
        for endpoint in Endpoint::ALL {
            let schema = endpoint.request_schema();
            for field in endpoint.example().as_object().unwrap().keys() {
                assert!(
                    schema["properties"].get(field).is_some(),
                    "{endpoint:?} {field}"
                );
            }
        }
    }

    #[test]
    fn what_takes_a_revision_may_not_have_it_yet() {
        for endpoint in Endpoint::ALL {
            let schema = endpoint.request_schema();
            let takes = schema["properties"].get("min_revision").is_some();
            for code in [ErrorCode::Stale, ErrorCode::StoreChanged] {
                assert_eq!(endpoint.errors().contains(&code), takes, "{endpoint:?}");
            }
        }
    }

    #[test]
    fn schemas_say_what_is_checked() {
        let schema = Endpoint::PortLease.request_schema();
        assert_eq!(schema["properties"]["ttl"]["maximum"], 86_400, "{schema:#}");
        assert_eq!(schema["required"], json!(["requester_id", "protocol"]));
    }
}
