//! Pools of ports, in lists.

use onex_types::{
    ids::{Host, Transport},
    key::{escape, unescape},
};

use crate::protocol::{
    error::Error,
    pool::{PoolItem, PoolListRequest},
    port::Page,
};

use super::{Catalog, page::bad_cursor};

/// Pools, a page of at most `limit`.
pub(in crate::registry) fn pools(
    Catalog { state, .. }: Catalog<'_>,
    request: &PoolListRequest,
    limit: usize,
) -> Result<Page<PoolItem>, Error> {
    let after = request.cursor.as_deref().map(cursor).transpose()?;
    let mut found = state
        .pools()
        .filter(|((host, transport), _)| {
            let after = after.as_ref();
            after.is_none_or(|after| (host, *transport) > (&after.0, after.1))
        })
        .filter(|((host, _), _)| request.host.as_ref().is_none_or(|wanted| host == wanted));
    let mut last = None;
    let items = found
        .by_ref()
        .take(limit)
        .map(|((host, transport), pool)| {
            last = Some(format!("{}.{transport}", escape(host.as_str())));
            let (own, counts) = (state.ranges(host), pool.counts());
            let ports = own.ports(*transport);
            PoolItem {
                host: host.clone(),
                transport: *transport,
                ranges: ports.ranges.iter().copied().map(Into::into).collect(),
                reserved: ports.reserved.iter().copied().map(Into::into).collect(),
                capacity: counts.capacity,
                held: counts.held,
                held_outside: pool.held_outside(),
                resting: counts.resting,
                quarantined: counts.quarantined,
                free: counts.free,
                description: own.description.clone(),
                revision: state.pool_revision(host),
            }
        })
        .collect();
    Ok(Page {
        next_cursor: found.next().and(last),
        items,
        revision: state.revision(),
        ignored: Vec::new(),
    })
}

fn cursor(cursor: &str) -> Result<(Host, Transport), Error> {
    let parse = || {
        let (host, transport) = cursor.split_once('.')?;
        Some((unescape(host)?.parse().ok()?, transport.parse().ok()?))
    };
    parse().ok_or_else(bad_cursor)
}
