//! What is answered from what readers see: a [`Catalog`].

mod buses;
mod catalog;
mod describe;
mod explain;
mod leases;
mod nodes;
mod page;
mod past_states;
mod pools;
mod schemas;
mod texts;
mod tools;
mod verdict;

pub(super) use buses::{buses, endpoint_of};
pub(super) use catalog::{Catalog, CatalogNode};
pub(super) use describe::{Here, registry};
pub(super) use explain::{Explained, explain};
pub(super) use leases::{granted, lease_reply, leases, resolved};
pub(super) use nodes::{SHOWN_MAX, node, nodes, trust, trust_of};
pub(super) use past_states::{PortEventBody, past_states};
pub(super) use pools::pools;
pub(super) use schemas::{schema, schemas};
pub(super) use texts::Texts;
pub(super) use tools::{announced, tool, tools};
