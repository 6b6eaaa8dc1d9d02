//! Lists of leases.

use crate::{
    domain::{
        ids::{Host, Label, Name, NodeId, Port, RequesterId},
        index::Index,
        key::PortKey,
        time::Moment,
    },
    protocol::{
        error::Error,
        port::{LeaseReply, ListRequest, Page, ResolveRequest},
    },
};

use super::super::view;
use super::bad_cursor;

/// Which leases are asked for.
#[derive(Default)]
struct Filter<'a> {
    host: Option<&'a Host>,
    requester: Option<RequesterId>,
    node: Option<&'a NodeId>,
    name: Option<&'a Name>,
    label: Option<&'a Label>,
    port: Option<Port>,
}

/// Live leases, a page of at most `limit`.
pub(in crate::registry) fn list(
    index: &Index,
    request: &ListRequest,
    limit: usize,
    now: Moment,
) -> Result<Page<LeaseReply>, Error> {
    let filter = Filter {
        host: request.host.as_ref(),
        requester: request.requester_id,
        node: request.node_id.as_ref(),
        name: request.name.as_ref(),
        label: request.label.as_ref(),
        port: request.port,
    };
    leases(index, &filter, request.cursor.as_deref(), limit, now)
}

/// Live leases of a name or with a label, a page of at most `limit`.
pub(in crate::registry) fn resolve(
    index: &Index,
    request: &ResolveRequest,
    limit: usize,
    now: Moment,
) -> Result<Page<LeaseReply>, Error> {
    match (&request.name, &request.label) {
        (None, None) => return Err(Error::invalid("/name", "name or label is required")),
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "/label",
                "only one of name and label may be given",
            ));
        }
        _ => {}
    }
    let filter = Filter {
        host: request.host.as_ref(),
        name: request.name.as_ref(),
        label: request.label.as_ref(),
        ..Filter::default()
    };
    leases(index, &filter, request.cursor.as_deref(), limit, now)
}

fn leases(
    index: &Index,
    filter: &Filter<'_>,
    cursor: Option<&str>,
    limit: usize,
    now: Moment,
) -> Result<Page<LeaseReply>, Error> {
    let after = cursor
        .map(str::parse::<PortKey>)
        .transpose()
        .map_err(|_| bad_cursor())?;
    let after = after.as_ref();
    // Leases are kept by the name that the host had when they were granted.
    let hosts = filter.host.map(|host| index.with_former(host));
    let hosts = hosts.as_ref();
    // The narrowest set that holds all of them.
    let of_node = filter.node.map(|node| index.lookup.bound_to(node, after));
    let keys: Box<dyn Iterator<Item = &PortKey>> = if let Some(keys) = of_node {
        Box::new(keys)
    } else {
        match (filter.name, filter.requester, filter.label, hosts) {
            (Some(name), _, _, _) => Box::new(index.lookup.named(name.clone(), after)),
            (None, Some(requester), _, _) => Box::new(index.lookup.held_by(requester, after)),
            (None, None, Some(label), _) => Box::new(index.lookup.labelled(label.clone(), after)),
            (None, None, None, hosts) => match (filter.port, hosts) {
                (Some(port), _) => Box::new(index.holding(port, after)),
                (None, None) => Box::new(index.lookup.live(None, after)),
                (None, Some(hosts)) => {
                    let each = hosts.iter();
                    Box::new(each.flat_map(move |host| index.lookup.live(Some(host), after)))
                }
            },
        }
    };
    let mut found = keys
        .filter(|key| hosts.is_none_or(|hosts| hosts.contains(&key.host)))
        .filter(|key| filter.port.is_none_or(|port| key.port == port))
        .filter_map(|key| view::held(index, key))
        .filter(|held| {
            let lease = &held.lease;
            filter
                .requester
                .is_none_or(|requester| lease.requester_id == requester)
                && filter.node.is_none_or(|node| {
                    lease
                        .node
                        .as_ref()
                        .is_some_and(|life| life.node_id == *node)
                })
                && filter
                    .name
                    .is_none_or(|name| lease.name.as_ref() == Some(name))
                && filter
                    .label
                    .is_none_or(|label| lease.labels.contains(label))
        });
    let (revision, lineage) = (index.applied(), index.lineage());
    let mut last = None;
    let items: Vec<LeaseReply> = found
        .by_ref()
        .take(limit)
        .map(|held| {
            last = Some(held.key.to_string());
            view::lease(held, revision, lineage, now)
        })
        .collect();
    let next_cursor = found.next().and(last);
    Ok(Page {
        items,
        next_cursor,
        revision: revision.wire(lineage),
        ignored: Vec::new(),
    })
}
