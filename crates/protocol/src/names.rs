//! Every subject, bucket, stream and header, spelled once.

use onex_types::{
    ids::{Host, Invalid, NodeId, Token},
    key::{PortKey, escape},
    kinds::EventKind,
};

/// Name of the micro service, and of its queue group.
pub const SERVICE: &str = "onex-registry";
/// What a process that only tries ports is called, among the instances that it answers.
pub const AGENT: &str = "onex-agent";
/// The queue group in which the processes of one node take the calls of its tools.
pub const NODE_GROUP: &str = "onex-node";
/// The protocol's version that this build speaks: major 1, this minor.
pub const PROTOCOL_MINOR: u32 = 0;

/// The protocol version that the caller speaks, `1.<minor>`.
pub const HEADER_PROTOCOL: &str = "Onex-Protocol";
/// The caller's name for what it is doing; comes back in the reply and in every event.
pub const HEADER_CORRELATION_ID: &str = "Onex-Correlation-Id";
/// How long the caller waits, in milliseconds.
pub const HEADER_TIMEOUT_MS: &str = "Onex-Timeout-Ms";
/// To a registry: how old what it answers may be, in milliseconds.
pub const HEADER_MAX_AGE_MS: &str = "Onex-Max-Age-Ms";
/// From a registry, to who said how old it may be: how long ago it was known to be so, in milliseconds.
pub const HEADER_AGE_MS: &str = "Onex-Age-Ms";
/// An error's number, by the micro service convention.
pub const HEADER_ERROR_NUMBER: &str = "Nats-Service-Error-Code";
/// An error's text, by the micro service convention.
pub const HEADER_ERROR: &str = "Nats-Service-Error";
/// To a provider: the tool that is called.
pub const HEADER_TOOL: &str = "Onex-Tool";
/// To a provider: which version of it.
pub const HEADER_TOOL_VERSION: &str = "Onex-Tool-Version";
/// To a provider: by which contract the arguments were checked.
pub const HEADER_CONTRACT_HASH: &str = "Onex-Contract-Hash";
/// To a provider: of this execution.
pub const HEADER_EXECUTION_ID: &str = "Onex-Execution-Id";
/// From a provider, beside an error: `false` when the tool was not begun.
pub const HEADER_EXECUTED: &str = "Onex-Executed";
/// The trace that a call belongs to: W3C Trace Context.
pub const HEADER_TRACEPARENT: &str = "traceparent";
/// An event's name, by which the same one again is known.
pub const HEADER_MESSAGE_ID: &str = "Nats-Msg-Id";
/// The version of CloudEvents.
pub const HEADER_CE_SPECVERSION: &str = "ce-specversion";
/// The same as [`HEADER_MESSAGE_ID`].
pub const HEADER_CE_ID: &str = "ce-id";
/// The registry that an event comes from: its prefix.
pub const HEADER_CE_SOURCE: &str = "ce-source";
/// An event's kind.
pub const HEADER_CE_TYPE: &str = "ce-type";
/// The key of the bucket that an event is about.
pub const HEADER_CE_SUBJECT: &str = "ce-subject";
/// When it happened.
pub const HEADER_CE_TIME: &str = "ce-time";
/// What an event's body is.
pub const HEADER_CONTENT_TYPE: &str = "content-type";

/// Longest namespace, in characters.
pub(super) const NAMESPACE_CHARS_MAX: usize = 32;

/// What keeps several registries on one NATS system apart; the default one has no name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace(Option<String>);

impl std::str::FromStr for Namespace {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if (1..=NAMESPACE_CHARS_MAX).contains(&text.len())
            && text.chars().all(good)
            && text != "registry"
            // The default one's view has a bucket of such a name, and so has that of each other one.
            && text != "view"
            && !text.starts_with("view-")
        {
            return Ok(Self(Some(text.to_owned())));
        }
        Err(Invalid(format!(
            "must be 1 to {NAMESPACE_CHARS_MAX} lower-case letters, digits, '-' or '_', not \"registry\" or \"view\", and not \
             begin with \"view-\""
        )))
    }
}

/// The subject of a key of a bucket.
pub fn bucket_subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// Where the instances of all registries on a NATS system ask each other who they are. The server's permissions say who may
/// listen there, and with that who can pass for an instance.
pub const PEER_INSTANCES: &str = "onex.registry.v1.peer.instances";

impl Namespace {
    /// Its name; none for the default one.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// What every subject of the registry begins with, less the dot.
    pub fn prefix(&self) -> String {
        match &self.0 {
            None => "onex.registry.v1".to_owned(),
            Some(name) => format!("onex.{name}.registry.v1"),
        }
    }

    /// The subject of an endpoint.
    pub fn subject(&self, endpoint: &str) -> String {
        format!("{}.{endpoint}", self.prefix())
    }

    /// Where a tool listens that names no subject.
    pub fn tool_subject(&self, tool: &Token, node: &NodeId) -> String {
        let node = escape(node.as_str());
        match &self.0 {
            None => format!("onex.node.v1.tool.{tool}.{node}"),
            Some(name) => format!("onex.{name}.node.v1.tool.{tool}.{node}"),
        }
    }

    /// Where instances tell each other what is under way at providers.
    pub fn peer_load(&self) -> String {
        format!("{}.peer.load", self.prefix())
    }

    /// Where whoever runs on a host is asked to try its ports.
    pub fn probe(&self, host: &Host) -> String {
        format!("{}.internal.probe.{}", self.prefix(), escape(host.as_str()))
    }

    /// The key-value bucket.
    pub fn bucket(&self) -> String {
        match &self.0 {
            None => "onex-registry".to_owned(),
            Some(name) => format!("onex-registry-{name}"),
        }
    }

    /// The key-value bucket that shows the state to people.
    pub fn view_bucket(&self) -> String {
        match &self.0 {
            None => "onex-registry-view".to_owned(),
            Some(name) => format!("onex-registry-view-{name}"),
        }
    }

    /// The stream of events.
    pub fn events_stream(&self) -> String {
        match &self.0 {
            None => "ONEX_REGISTRY_EVENTS".to_owned(),
            Some(name) => format!("ONEX_REGISTRY_EVENTS_{name}"),
        }
    }

    /// The subjects that the stream of events keeps.
    pub fn events(&self) -> String {
        format!("{}.event.>", self.prefix())
    }

    /// The subjects of all events of a kind.
    pub fn events_of(&self, kind: EventKind) -> String {
        format!("{}.event.{}.>", self.prefix(), kind.as_str())
    }

    /// The subjects of all events of a port.
    pub fn events_of_port(&self, port: &PortKey) -> String {
        format!("{}.event.port.*.{port}", self.prefix())
    }

    /// The subject of one event.
    pub fn event(&self, kind: EventKind, key: &str) -> String {
        format!("{}.event.{}.{key}", self.prefix(), kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_keeps_apart() {
        let default = Namespace::default();
        assert_eq!(default.subject("port.lease"), "onex.registry.v1.port.lease");
        assert_eq!(default.bucket(), "onex-registry");
        let named: Namespace = "ci-7".parse().unwrap();
        assert_eq!(named.subject("help"), "onex.ci-7.registry.v1.help");
        assert_eq!(named.bucket(), "onex-registry-ci-7");
        assert_eq!(named.view_bucket(), "onex-registry-view-ci-7");
        assert_eq!(named.events_stream(), "ONEX_REGISTRY_EVENTS_ci-7");
        let (tool, node) = ("add".parse().unwrap(), "calc.1".parse().unwrap());
        assert_eq!(
            default.tool_subject(&tool, &node),
            "onex.node.v1.tool.add.calc=2E1"
        );
        assert_eq!(
            named.tool_subject(&tool, &node),
            "onex.ci-7.node.v1.tool.add.calc=2E1"
        );
        for bad in ["", "CI", "a.b", "registry", "a*", "view", "view-a"] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad:?}");
        }
    }
}
