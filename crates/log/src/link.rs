//! One TCP connection at a time. The client library would reconnect by itself and send what it has buffered, before anybody
//! has compared the store with what was applied; and it would go on trying after its last user is gone. So a client here
//! has one connection, and is dead when that is.

use std::time::Duration;

use async_nats::{Client, ServerAddr};
use onex_nats::connect::{self, Options};
use uuid::Uuid;

use crate::follow::SUBSCRIPTION_MESSAGES_MAX;

/// How long one attempt to connect may take: a frozen server accepts, and greets never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
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
    known: Vec<ServerAddr>,
    next: usize,
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
            self.known = named;
        }
        let count = self.known.len().max(1);
        let server = self.known.get(self.next % count).cloned();
        let client = options
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .ignore_discovered_servers()
            // The least there is. Together with the address below: none.
            .max_reconnects(1)
            .connect(server.as_slice())
            .await
            .map_err(|error| connect::Error::of_connect(self.options.shown(), error))?;
        // It fails only where the connection has ended already, and then every request says so.
        let _ = client.set_server_pool(NOWHERE).await;
        self.learn(&client);
        Ok(client)
    }

    fn learn(&mut self, client: &Client) {
        let told = client.server_info().connect_urls;
        for server in told.iter().filter_map(|url| url.parse().ok()) {
            if self.known.len() < SERVERS_MAX && !self.known.contains(&server) {
                self.known.push(server);
            }
        }
    }
}
