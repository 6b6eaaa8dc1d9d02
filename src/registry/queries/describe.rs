//! The registry as a whole.

use std::collections::BTreeSet;

use crate::protocol::{
    bus::{BusItem, BusListRequest},
    describe::{DescribeReply, DescribeRequest, Instance, Registry},
    error::Error,
    node_view::{NodeItem, NodeListRequest, Section},
    pool::{PoolItem, PoolListRequest},
    tool::{ToolItem, ToolListRequest},
};

use super::{Catalog, buses::buses, nodes::nodes, page::bad_cursor, pools::pools, tools::tools};

/// The lists that follow each other on the pages of the registry.
const LISTS: [(Section, &str); 4] = [
    (Section::Ports, "ports"),
    (Section::Node, "node"),
    (Section::Tools, "tools"),
    (Section::Buses, "buses"),
];

/// The instance that answers, and those that share the work.
pub(in crate::registry) struct Here {
    pub(in crate::registry) registry: Registry,
    pub(in crate::registry) instances: BTreeSet<Instance>,
}

/// The registry, with a page of at most `limit` of what there is: pools first, then nodes, tools, buses.
pub(in crate::registry) fn registry(
    catalog: Catalog<'_>,
    request: &DescribeRequest,
    limit: usize,
    here: Here,
) -> Result<DescribeReply, Error> {
    let sections = request.sections.as_ref();
    let wanted: Vec<(Section, &str)> = LISTS
        .into_iter()
        .filter(|(section, _)| sections.is_none_or(|sections| sections.contains(section)))
        .collect();
    let (mut at, mut cursor) = match request.cursor.as_deref() {
        None => (0, None),
        Some(text) => {
            let (name, rest) = text.split_once(':').ok_or_else(bad_cursor)?;
            let at = wanted.iter().position(|(_, other)| *other == name);
            let rest = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
            (at.ok_or_else(bad_cursor)?, rest)
        }
    };
    let mut reply = DescribeReply {
        registry: Registry {
            lineage: catalog.lineage(),
            ..here.registry
        },
        instances: here.instances.into_iter().collect(),
        counts: catalog.totals(),
        pools: Vec::new(),
        nodes: Vec::new(),
        tools: Vec::new(),
        buses: Vec::new(),
        next_cursor: None,
        revision: catalog.revision(),
        ignored: Vec::new(),
    };
    let mut left = limit;
    let mut lists = Lists::default();
    while let Some((section, name)) = wanted.get(at) {
        if left == 0 {
            // Whether anything is left: the last page says so.
            let (more, _) = fill(catalog, &mut Lists::default(), *section, None, 1)?;
            if more > 0 {
                reply.next_cursor = Some(format!("{name}:"));
                break;
            }
        } else {
            let (count, next) = fill(catalog, &mut lists, *section, cursor.take(), left)?;
            left = left.saturating_sub(count);
            if let Some(next) = next {
                reply.next_cursor = Some(format!("{name}:{next}"));
                break;
            }
        }
        at += 1;
    }
    Ok(DescribeReply {
        pools: lists.pools,
        nodes: lists.nodes,
        tools: lists.tools,
        buses: lists.buses,
        ..reply
    })
}

/// What a page has of each list.
#[derive(Default)]
struct Lists {
    pools: Vec<PoolItem>,
    nodes: Vec<NodeItem>,
    tools: Vec<ToolItem>,
    buses: Vec<BusItem>,
}

/// Puts a page of one list among the others; says how many items that were and where the next begins.
fn fill(
    catalog: Catalog<'_>,
    reply: &mut Lists,
    section: Section,
    cursor: Option<String>,
    limit: usize,
) -> Result<(usize, Option<String>), Error> {
    Ok(match section {
        Section::Ports => {
            let request = PoolListRequest {
                cursor,
                ..PoolListRequest::default()
            };
            let page = pools(catalog, &request, limit)?;
            reply.pools = page.items;
            (reply.pools.len(), page.next_cursor)
        }
        Section::Node => {
            let request = NodeListRequest {
                cursor,
                ..NodeListRequest::default()
            };
            let page = nodes(catalog, &request, limit)?;
            reply.nodes = page.items;
            (reply.nodes.len(), page.next_cursor)
        }
        Section::Tools => {
            let request = ToolListRequest {
                cursor,
                ..ToolListRequest::default()
            };
            let page = tools(catalog, &request, limit)?;
            reply.tools = page.items;
            (reply.tools.len(), page.next_cursor)
        }
        Section::Buses => {
            let request = BusListRequest {
                cursor,
                ..BusListRequest::default()
            };
            let page = buses(catalog, &request, limit)?;
            reply.buses = page.items;
            (reply.buses.len(), page.next_cursor)
        }
        Section::Schema | Section::Trust => (0, None),
    })
}
