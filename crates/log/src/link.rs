//! One TCP connection at a time. The client library would reconnect by itself and send what it has buffered, before anybody
//! has compared the store with what was applied; and it would go on trying after its last user is gone. So a client here
//! has one connection, and is dead when that is.

use std::time::Duration;

use async_nats::{Client, ServerAddr};
use jiff::Timestamp;
use onex_nats::connect::{self, Options};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    api::{Api, Described, Names, Peer},
    follow::SUBSCRIPTION_MESSAGES_MAX,
};

/// How long one attempt to connect may take: a frozen server accepts, and greets never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server that could not be connected to is left alone while there are others: one that stands still costs all of
/// that time again.
const FAILED_REST: Duration = Duration::from_secs(10);
/// How long a server is asked whether it knows a leader, and how often.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long something that was sent may take to be settled once a leader was found at another server.
const LOOK_GRACE: Duration = Duration::from_millis(300);
/// Servers that are known, at most: those that were named and those that these told of.
const SERVERS_MAX: usize = 64;
/// An address at which nobody can listen: the client library has no other way not to reconnect.
const NOWHERE: &str = "nats://127.0.0.1:0";
/// What the connection is called on the server.
const NAME: &str = "onex-registry store";

/// The servers, one of which is next.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    options: Options,
    known: Vec<Known>,
    next: usize,
}

#[derive(Debug, Clone)]
struct Known {
    addr: ServerAddr,
    /// When it could not be connected to.
    failed: Option<Instant>,
}

impl Known {
    fn new(addr: ServerAddr) -> Self {
        Self { addr, failed: None }
    }

    /// Whether it is left alone for a while.
    fn rests(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < FAILED_REST)
    }
}

impl Servers {
    pub(crate) fn new(options: Options) -> Self {
        // Not all instances at the same server.
        let [.., low] = Uuid::new_v4().into_bytes();
        Self {
            options,
            known: Vec::new(),
            next: usize::from(low),
        }
    }

    /// The next attempt goes to another server, if there is one.
    pub(crate) fn turn(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    /// Connects to the first server that takes us, from the next one on.
    pub(crate) async fn connect_any(&mut self) -> Result<Client, connect::Error> {
        let mut result = self.connect().await;
        for _ in 1..self.known.len() {
            if result.is_ok() {
                break;
            }
            self.turn();
            result = self.connect().await;
        }
        result
    }

    /// Connects to the next server.
    pub(crate) async fn connect(&mut self) -> Result<Client, connect::Error> {
        let (options, named) = self.options.prepare(NAME).await?;
        if self.known.is_empty() {
            self.known = named.into_iter().map(Known::new).collect();
        }
        self.pass_resting();
        let addr = self.next_addr().cloned();
        let connected = options
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .ignore_discovered_servers()
            // The least there is. Together with the address below: none.
            .max_reconnects(1)
            .connect(addr.as_slice())
            .await;
        let count = self.known.len().max(1);
        if let Some(server) = self.known.get_mut(self.next % count) {
            server.failed = connected.is_err().then(Instant::now);
        }
        let client =
            connected.map_err(|error| connect::Error::of_connect(self.options.shown(), error))?;
        // It fails only where the connection has ended already, and then every request says so.
        let _ = client.set_server_pool(NOWHERE).await;
        self.learn(&client);
        Ok(client)
    }

    fn next_addr(&self) -> Option<&ServerAddr> {
        let index = self.next % self.known.len().max(1);
        self.known.get(index).map(|server| &server.addr)
    }

    /// Looks at all others than the next server, again and again, until one of them knows a leader of the stream that most of
    /// its copies follow. That one is next then.
    pub(crate) async fn look_for_leader(mut self, names: Names, created: Timestamp) -> Self {
        let used = self.next_addr().cloned();
        loop {
            self.turn();
            self.pass_resting();
            if self.next_addr() != used.as_ref() && self.has_leader(names.clone(), created).await {
                // What was sent may have come there from here as well.
                sleep(LOOK_GRACE).await;
                return self;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// One that is cut off goes on leading for a while, and says so.
    async fn has_leader(&mut self, names: Names, created: Timestamp) -> bool {
        let Ok(client) = self.connect().await else {
            return false;
        };
        let api = Api::new(client, names).insisting();
        let until = Instant::now() + LOOK_TIMEOUT;
        while Instant::now() < until {
            match api.identify(created).await {
                Ok(described) if has_majority(&described) => return true,
                // Whoever leads since a moment ago has not heard of the others yet.
                Ok(_) => sleep(LOOK_INTERVAL).await,
                Err(_) => return false,
            }
        }
        false
    }

    /// Goes on to the next server that could be connected to lately, if there is one.
    fn pass_resting(&mut self) {
        let count = self.known.len().max(1);
        let behind = self.known.iter().cycle().skip(self.next % count);
        let passed = behind.take(count).position(|server| !server.rests());
        self.next = self.next.wrapping_add(passed.unwrap_or(0));
    }

    fn learn(&mut self, client: &Client) {
        let told = client.server_info().connect_urls;
        for addr in told.iter().filter_map(|url| url.parse().ok()) {
            let is_known = self.known.iter().any(|known| known.addr == addr);
            if self.known.len() < SERVERS_MAX && !is_known {
                self.known.push(Known::new(addr));
            }
        }
    }
}

fn has_majority(described: &Described) -> bool {
    let follows = |peer: &&Peer| peer.current && !peer.offline;
    let following = described.peers.iter().filter(follows).count();
    described.info.leader.is_some() && 2 * following >= described.peers.len()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::fake::Fake;

    #[tokio::test]
    async fn a_server_that_does_not_greet_is_left_alone_for_a_while() {
        let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = frozen.local_addr().unwrap();
        let fake = Fake::start(0).await;
        let mut servers = Servers::new(Options::at(format!("nats://{at},{}", fake.url)));
        servers.next = 0;
        assert!(servers.connect().await.is_err(), "nobody greets");
        for _ in 0..4 {
            servers.turn();
            let since = Instant::now();
            servers.connect().await.unwrap();
            assert!(since.elapsed() < CONNECT_TIMEOUT / 2);
        }
    }
}
