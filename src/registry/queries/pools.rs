//! Lists of pools.

use crate::{
    domain::{
        ids::{Host, Transport},
        index::Index,
        key::{escape, unescape},
    },
    protocol::{
        error::Error,
        pool::{PoolItem, PoolListRequest},
        port::Page,
    },
};

use super::super::view;
use super::bad_cursor;

/// Pools, a page of at most `limit`.
pub(in crate::registry) fn pools(
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
