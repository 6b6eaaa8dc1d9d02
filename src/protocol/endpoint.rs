//! The endpoints: each once, with what it teaches about itself.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    describe::{DescribeReply, DescribeRequest, ErrorHelp, Help, HelpReply, HelpRequest},
    error::ErrorCode,
    names::Namespace,
    pool::{PoolItem, PoolListRequest},
    port::{
        HeartbeatReply, HeartbeatRequest, LeaseReply, LeaseRequest, ListRequest, Page,
        ReleaseReply, ReleaseRequest, ResolveRequest,
    },
};

/// An endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `port.lease`
    PortLease,
    /// `port.heartbeat`
    PortHeartbeat,
    /// `port.release`
    PortRelease,
    /// `port.list`
    PortList,
    /// `port.resolve`
    PortResolve,
    /// `pool.list`
    PoolList,
    /// `describe`
    Describe,
    /// `help`
    Help,
}

/// How a holder counts, for clients that nobody here wrote.
pub const HOLDERS_CLOCK: &str = "You hold the port until ttl seconds after the moment before you first sent the \
    request that was granted or last renewed (a retry with the same request_id does not restart it), on a clock that \
    runs while the machine sleeps, by the reply with the highest fencing_token. Then stop using it. After you have \
    sent port.release, or were told LEASE_EXPIRED or LEASE_NOT_FOUND, never use it again.";

impl Endpoint {
    /// All of them, in the order in which help lists them.
    pub const ALL: [Self; 8] = [
        Self::PortLease,
        Self::PortHeartbeat,
        Self::PortRelease,
        Self::PortList,
        Self::PortResolve,
        Self::PoolList,
        Self::Describe,
        Self::Help,
    ];

    /// Its name, as it stands in its subject.
    pub fn name(self) -> &'static str {
        match self {
            Self::PortLease => "port.lease",
            Self::PortHeartbeat => "port.heartbeat",
            Self::PortRelease => "port.release",
            Self::PortList => "port.list",
            Self::PortResolve => "port.resolve",
            Self::PoolList => "pool.list",
            Self::Describe => "describe",
            Self::Help => "help",
        }
    }

    /// Its name as a micro service's endpoint, where dots are not allowed.
    pub fn micro_name(self) -> String {
        self.name().replace('.', "-")
    }

    /// What it does.
    pub fn description(self) -> &'static str {
        match self {
            Self::PortLease => {
                "Grants a port that nobody else holds, for ttl seconds; renew it with port.heartbeat."
            }
            Self::PortHeartbeat => {
                "Lets one lease, several, or all that you hold last their ttl again."
            }
            Self::PortRelease => "Ends a lease. Stop using the port before you send this.",
            Self::PortList => "Lists live leases in the order of host, transport and port.",
            Self::PortResolve => "Finds the live leases of a name or with a label, to connect to.",
            Self::PoolList => {
                "Lists the ports there are to grant, by host and transport, and how many are free."
            }
            Self::Describe => {
                "Says what this registry is, which instances share the work, and what there is."
            }
            Self::Help => "Lists the endpoints with their schemas and an example of each.",
        }
    }

    /// A request that it takes.
    pub fn example(self) -> Value {
        let requester = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
        let lease = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";
        match self {
            Self::PortLease => {
                json!({"requester_id": requester, "protocol": "http", "ttl": 60, "name": "api"})
            }
            Self::PortHeartbeat | Self::PortRelease => {
                json!({"requester_id": requester, "lease_id": lease})
            }
            Self::PortList => json!({"requester_id": requester, "limit": 50}),
            Self::PortResolve => json!({"name": "api"}),
            Self::PoolList => json!({"limit": 10}),
            Self::Describe | Self::Help => json!({}),
        }
    }

    /// JSON Schema 2020-12 of what it takes.
    pub fn request_schema(self) -> Value {
        match self {
            Self::PortLease => request::<LeaseRequest>(),
            Self::PortHeartbeat => request::<HeartbeatRequest>(),
            Self::PortRelease => request::<ReleaseRequest>(),
            Self::PortList => request::<ListRequest>(),
            Self::PortResolve => request::<ResolveRequest>(),
            Self::PoolList => request::<PoolListRequest>(),
            Self::Describe => request::<DescribeRequest>(),
            Self::Help => request::<HelpRequest>(),
        }
    }

    /// JSON Schema 2020-12 of what it answers, when that is no error.
    pub fn response_schema(self) -> Value {
        match self {
            Self::PortLease => schema::<LeaseReply>(),
            Self::PortHeartbeat => {
                json!({"oneOf": [schema::<LeaseReply>(), schema::<HeartbeatReply>()]})
            }
            Self::PortRelease => schema::<ReleaseReply>(),
            Self::PortList | Self::PortResolve => schema::<Page<LeaseReply>>(),
            Self::PoolList => schema::<Page<PoolItem>>(),
            Self::Describe => schema::<DescribeReply>(),
            Self::Help => schema::<HelpReply>(),
        }
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
        }
    }
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
            })
            .collect(),
        holders_clock: HOLDERS_CLOCK.to_owned(),
        ignored: Vec::new(),
    }
}

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// A request's schema: what it does not name is refused.
fn request<T: JsonSchema>() -> Value {
    let mut schema = schema::<T>();
    if let Some(object) = schema.as_object_mut() {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    schema
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
    fn schemas_say_what_is_checked() {
        let schema = Endpoint::PortLease.request_schema();
        assert_eq!(schema["properties"]["ttl"]["maximum"], 86_400, "{schema:#}");
        assert_eq!(schema["required"], json!(["requester_id", "protocol"]));
    }
}
