//! Which server comes next when a connection is lost. The client library takes any, the one that has just been given up too: a
//! server that stands still takes connections, and costs a whole attempt each time.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{ConnectOptions, ReconnectToServer, Server, ServerAddr};

/// The server that was tried last, once there was a choice.
type Last = Arc<Mutex<Option<ServerAddr>>>;

/// Lets a connection that is lost go to another server than the one that it was at, if there is one.
pub(crate) fn reconnects_elsewhere(options: ConnectOptions) -> ConnectOptions {
    let last = Last::default();
    options.reconnect_to_server_callback(move |servers, _| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(&servers, last.as_ref()).cloned();
        if next.is_some() {
            last.clone_from(&next);
        }
        // The library's own pauses between attempts.
        std::future::ready(next.map(|addr| ReconnectToServer { addr, delay: None }))
    })
}

/// The server behind the last one, of those that have failed the least; none before the first connection: then all are tried
/// at once.
fn next<'a>(servers: &'a [Server], last: Option<&ServerAddr>) -> Option<&'a ServerAddr> {
    let is_last = |server: &Server| last.map_or(server.did_connect, |last| server.addr == *last);
    let left = servers.iter().position(is_last)?;
    let behind = servers.iter().cycle().skip(left + 1).take(servers.len());
    let next = behind.min_by_key(|server| (is_last(server), server.failed_attempts));
    next.map(|server| &server.addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, failed_attempts: usize, did_connect: bool) -> Server {
        Server {
            addr: format!("nats://{name}").parse().unwrap(),
            failed_attempts,
            did_connect,
            is_discovered: false,
            last_error: None,
        }
    }

    #[test]
    fn a_lost_connection_goes_to_another_server() {
        let check =
            |servers: &[(&str, usize, bool)], last: Option<&str>, expected: Option<&str>| {
                let servers: Vec<Server> = servers
                    .iter()
                    .map(|(name, failed, did)| server(name, *failed, *did))
                    .collect();
                let addr = |name: &str| server(name, 0, false).addr;
                let next = next(&servers, last.map(addr).as_ref()).cloned();
                assert_eq!(next, expected.map(addr), "{servers:?}, {last:?}");
            };
        // At first the library tries all.
        check(&[("a", 0, false), ("b", 0, false)], None, None);
        // Whatever it has chosen is left.
        check(&[("a", 0, true), ("b", 0, false)], None, Some("b"));
        check(&[("a", 0, false), ("b", 0, true)], None, Some("a"));
        check(
            &[("a", 0, true), ("b", 0, false), ("c", 0, false)],
            Some("b"),
            Some("c"),
        );
        check(
            &[("a", 0, true), ("b", 0, true), ("c", 0, false)],
            Some("c"),
            Some("a"),
        );
        // One that failed comes behind those that did not, and the last one behind all.
        check(
            &[("a", 0, true), ("b", 1, false), ("c", 0, false)],
            Some("a"),
            Some("c"),
        );
        check(
            &[("a", 0, true), ("b", 1, false), ("c", 2, false)],
            Some("a"),
            Some("b"),
        );
        check(
            &[("a", 0, true), ("b", 1, false), ("c", 1, false)],
            Some("c"),
            Some("a"),
        );
        check(&[("a", 3, true)], Some("a"), Some("a"));
    }
}
