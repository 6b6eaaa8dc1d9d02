//! What the log says in types of its own, as it is on the wire, and back.

use onex_core::{call, node, record::Lease};
use onex_types::ids::Transport;

use crate::protocol::{attempt::Attempt, bounds::Open, node::NodeType};

pub(super) fn attempt(asked: &call::Attempt) -> Attempt {
    Attempt {
        node_id: asked.node_id.clone(),
        said: Open::Known(asked.said),
        message: asked.message.clone(),
    }
}

pub(super) fn node_type(stored: node::NodeType) -> Open<NodeType> {
    Open::Known(match stored {
        node::NodeType::Tool => NodeType::Tool,
        node::NodeType::Validator => NodeType::Validator,
        node::NodeType::Test => NodeType::Test,
        node::NodeType::Adapter => NodeType::Adapter,
        node::NodeType::Agent => NodeType::Agent,
        node::NodeType::Other => return Open::Other("other".to_owned()),
    })
}

pub(super) fn stored_node_type(told: NodeType) -> node::NodeType {
    match told {
        NodeType::Tool => node::NodeType::Tool,
        NodeType::Validator => node::NodeType::Validator,
        NodeType::Test => node::NodeType::Test,
        NodeType::Adapter => node::NodeType::Adapter,
        NodeType::Agent => node::NodeType::Agent,
    }
}

/// The port spaces of a lease that has its ports in more than one.
pub(super) fn in_both(lease: &Lease) -> Vec<Transport> {
    if lease.transports.len() > 1 {
        lease.transports.clone()
    } else {
        Vec::new()
    }
}
