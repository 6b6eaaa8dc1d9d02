//! Turns a request that registers a node into the command, checked.

use std::collections::HashSet;

use onex_core::{
    node::{self, Registration},
    node_command::Register,
    record::Request,
};
use onex_types::ids::{NodeId, Ttl};
use serde_json::{Map, Value};

use crate::{
    contract::{
        ToolRules,
        canonical::{contract_hash, node_base_hash},
        check_tool, check_tools, subject_of,
    },
    protocol::{
        error::{Error, ErrorCode},
        node::RegisterRequest,
        tool::Tool,
    },
};

use super::on_the_wire::stored_node_type;

/// Members of a request that say how it is to be carried out, or that have a place of their own.
const NOT_CARRIED: [&str; 12] = [
    "node_id",
    "requester_id",
    "epoch",
    "ttl",
    "request_id",
    "requested_at",
    "min_revision",
    "version",
    "node_type",
    "tags",
    "host",
    "inbound_ports",
];

/// The command of a `node.register` request, checked.
pub(super) fn register_command(
    request: RegisterRequest,
    ttl_max: Ttl,
    named: Option<Request>,
    rules: ToolRules<'_>,
) -> Result<Register, Error> {
    let node_id = request.node_id.clone();
    check_names(&request)?;
    let tools = tools(&request, rules)?;
    let mut more = members(&request)?;
    more.remove("tools");
    let bytes = Value::Object(more.clone()).to_string().len();
    let inbound_ports = inbound_ports(&request)?;
    more.retain(|name, _| !NOT_CARRIED.contains(&name.as_str()));
    let mut tags = request.tags;
    tags.sort();
    tags.dedup();
    let registration = Registration {
        base_hash: node_base_hash(
            &request.version,
            request.node_type.as_str(),
            request.schema.as_ref(),
        ),
        version: request.version,
        node_type: stored_node_type(request.node_type),
        tags,
        host: request.host,
        contract_hash: String::new(),
        bytes,
        inbound_ports,
        tools,
        more: more.into_iter().collect(),
    };
    Ok(Register {
        node_id,
        requester_id: request.requester_id,
        epoch: request.epoch,
        ttl: request.ttl.unwrap_or(Ttl::DEFAULT.min(ttl_max)),
        registration: registration.seal(),
        request: named,
    })
}

/// Of ports, and of inputs and outputs, each has a name of its own.
fn check_names(request: &RegisterRequest) -> Result<(), Error> {
    let inbound = request.inbound_ports.iter().map(|port| port.name.as_str());
    differ("/inbound_ports", "inbound port", inbound)?;
    let outbound = request.outbound_ports.iter().map(|port| port.name.as_str());
    differ("/outbound_ports", "outbound port", outbound)?;
    let Some(schema) = &request.schema else {
        return Ok(());
    };
    let inputs = schema.inputs.iter().map(|field| field.name.as_str());
    differ("/schema/inputs", "input", inputs)?;
    let outputs = schema.outputs.iter().map(|field| field.name.as_str());
    differ("/schema/outputs", "output", outputs)
}

fn differ<'a>(list: &str, what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            let message = format!("another {what} of this node has that name");
            return Err(Error::invalid(format!("{list}/{index}/name"), message));
        }
    }
    Ok(())
}

fn inbound_ports(request: &RegisterRequest) -> Result<Vec<node::Inbound>, Error> {
    request
        .inbound_ports
        .iter()
        .map(|port| {
            let mut more = members(port)?;
            more.retain(|name, _| name != "lease_id" && name != "port");
            Ok(node::Inbound {
                lease_id: port.lease_id,
                port: port.port.number(),
                more: more.into_iter().collect(),
            })
        })
        .collect()
}

fn tools(request: &RegisterRequest, rules: ToolRules<'_>) -> Result<Vec<node::Tool>, Error> {
    let patterns = check_tools(&request.tools, &request.node_id, rules)?;
    let tools = request.tools.iter().zip(patterns);
    let kept = |(tool, patterns)| kept(tool, &request.node_id, rules, patterns);
    tools.map(kept).collect()
}

/// A tool as it is kept; errors point into it.
pub(super) fn tool(
    tool: &Tool,
    node_id: &NodeId,
    rules: ToolRules<'_>,
) -> Result<node::Tool, Error> {
    let patterns = check_tool(tool, node_id, rules)?.patterns();
    kept(tool, node_id, rules, patterns)
}

fn kept(
    tool: &Tool,
    node_id: &NodeId,
    rules: ToolRules<'_>,
    patterns: usize,
) -> Result<node::Tool, Error> {
    let mut more = members(tool)?;
    let bytes = described_bytes(&more, tool, node_id, rules);
    more.retain(|name, _| !["name", "version", "tags", "subject"].contains(&name.as_str()));
    let mut tags = tool.tags.clone();
    tags.sort();
    tags.dedup();
    Ok(node::Tool {
        name: tool.name.clone(),
        version: tool.version.clone(),
        contract_hash: contract_hash(tool),
        bytes,
        patterns,
        subject: subject_of(tool, node_id, rules.namespace),
        tags,
        more: more.into_iter().collect(),
    })
}

/// How long a tool is where its node is described: with its subject, its hash, and whether it collides.
fn described_bytes(
    members: &Map<String, Value>,
    tool: &Tool,
    node_id: &NodeId,
    rules: ToolRules<'_>,
) -> usize {
    let mut all = members.clone();
    let subject = subject_of(tool, node_id, rules.namespace);
    all.insert("subject".to_owned(), Value::String(subject));
    all.insert("contract_hash".to_owned(), contract_hash(tool).into());
    all.insert("collision".to_owned(), Value::Bool(false));
    Value::Object(all).to_string().len()
}

pub(super) fn members<T: serde::Serialize>(value: &T) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Error::new(ErrorCode::Internal, "a request is no object")),
        Err(error) => Err(Error::new(ErrorCode::Internal, error.to_string())),
    }
}
