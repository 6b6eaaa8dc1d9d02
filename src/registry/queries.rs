//! What is answered from the index alone: lists, names, pools, the registry itself.

use std::collections::BTreeSet;

use crate::{
    domain::{
        ids::{Host, Label, Name, RequesterId, Transport},
        index::Index,
        key::{PortKey, Revision, escape, unescape},
        time::Moment,
    },
    protocol::{
        describe::{DescribeReply, DescribeRequest, Instance, Registry, Totals},
        error::Error,
        pool::{PoolItem, PoolListRequest},
        port::{LeaseReply, ListRequest, Page, ResolveRequest},
    },
};

use super::view;

/// Which leases are asked for.
#[derive(Default)]
struct Filter<'a> {
    host: Option<&'a Host>,
    requester: Option<RequesterId>,
    name: Option<&'a Name>,
    label: Option<&'a Label>,
}

/// Live leases, a page of at most `limit`.
pub(super) fn list(
    index: &Index,
    request: &ListRequest,
    limit: usize,
    now: Moment,
) -> Result<Page<LeaseReply>, Error> {
    if request.node_id.is_some() {
        return Err(Error::invalid(
            "/node_id",
            "leases bound to a node are not offered by this version",
        ));
    }
    let filter = Filter {
        host: request.host.as_ref(),
        requester: request.requester_id,
        name: request.name.as_ref(),
        label: request.label.as_ref(),
    };
    leases(index, &filter, request.cursor.as_deref(), limit, now)
}

/// Live leases of a name or with a label, a page of at most `limit`.
pub(super) fn resolve(
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
    // The narrowest set that holds all of them.
    let keys: Box<dyn Iterator<Item = &PortKey>> =
        match (filter.name, filter.requester, filter.label, filter.host) {
            (Some(name), _, _, _) => Box::new(index.lookup.named(name.clone(), after)),
            (None, Some(requester), _, _) => Box::new(index.lookup.held_by(requester, after)),
            (None, None, Some(label), _) => Box::new(index.lookup.labelled(label.clone(), after)),
            (None, None, None, host) => Box::new(index.lookup.live(host, after)),
        };
    let mut found = keys
        .filter(|key| filter.host.is_none_or(|host| key.host == *host))
        .filter_map(|key| view::held(index, key))
        .filter(|held| {
            let lease = &held.lease;
            filter
                .requester
                .is_none_or(|requester| lease.requester_id == requester)
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

fn bad_cursor() -> Error {
    Error::invalid("/cursor", "must be the next_cursor of the page before")
}

/// Pools, a page of at most `limit`.
pub(super) fn pools(
    index: &Index,
    request: &PoolListRequest,
    limit: usize,
) -> Result<Page<PoolItem>, Error> {
    let after = request
        .cursor
        .as_deref()
        .map(parse_pool_cursor)
        .transpose()?;
    let mut found = index
        .pools()
        .filter(|((host, transport), _)| {
            after
                .as_ref()
                .is_none_or(|after| (*host, *transport) > (&after.0, after.1))
        })
        .filter(|((host, _), _)| request.host.as_ref().is_none_or(|wanted| *host == wanted));
    let mut last = None;
    let items = found
        .by_ref()
        .take(limit)
        .map(|((host, transport), pool)| {
            last = Some(format!("{}.{transport}", escape(host.as_str())));
            view::pool(&index.policy, host, transport, pool)
        })
        .collect();
    let next_cursor = found.next().and(last);
    let revision = index.applied().wire(index.lineage());
    Ok(Page {
        items,
        next_cursor,
        revision,
        ignored: Vec::new(),
    })
}

fn parse_pool_cursor(cursor: &str) -> Result<(Host, Transport), Error> {
    let parse = || {
        let (host, transport) = cursor.split_once('.')?;
        Some((unescape(host)?.parse().ok()?, transport.parse().ok()?))
    };
    parse().ok_or_else(bad_cursor)
}

/// The registry.
pub(super) fn describe(
    index: &Index,
    request: &DescribeRequest,
    limit: usize,
    registry: Registry,
    instances: BTreeSet<Instance>,
) -> Result<DescribeReply, Error> {
    if request.node_id.is_some() {
        return Err(Error::invalid(
            "/node_id",
            "nodes are not offered by this version",
        ));
    }
    if request.sections.is_some() {
        return Err(Error::invalid(
            "/sections",
            "sections are not offered by this version",
        ));
    }
    let page = pools(
        index,
        &PoolListRequest {
            cursor: request.cursor.clone(),
            ..PoolListRequest::default()
        },
        limit,
    )?;
    Ok(DescribeReply {
        registry: Registry {
            lineage: index.lineage(),
            ..registry
        },
        instances: instances.into_iter().collect(),
        counts: Totals {
            leases: index.lookup.live_leases(),
            hosts: index.hosts(),
            events_waiting: index.outbox.len(),
        },
        pools: page.items,
        next_cursor: page.next_cursor,
        revision: page.revision,
        ignored: Vec::new(),
    })
}

/// Whether the index knows `wanted`, a revision from outside: it says how far it is, exactly.
pub(super) fn knows(index: &Index, wanted: Revision) -> bool {
    index.exact() >= wanted
}
