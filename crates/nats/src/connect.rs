//! Reaching a NATS server: address, credentials, TLS.

use std::{path::PathBuf, time::Duration};

use async_nats::{Client, ConnectOptions, Event, ServerAddr};

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that wait in one subscription, at most; what comes after that is dropped by the client.
const SUBSCRIPTION_MESSAGES_MAX: usize = 16 * 1024;
/// Commands that wait to be written to the socket, at most; senders wait after that.
const CLIENT_COMMANDS_MAX: usize = 512;
/// How often the server is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Where the server is, and who we are to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// One URL or several with commas between; user and password, or a token, may stand in the first
    /// that has any.
    pub url: String,
    /// A file with a JWT and its seed.
    pub creds: Option<PathBuf>,
    /// A file with root certificates to trust besides the system's.
    pub tls_ca: Option<PathBuf>,
    /// A client certificate and its key.
    pub tls_cert: Option<(PathBuf, PathBuf)>,
    /// User and password, where they are not in the URL.
    pub user: Option<(String, String)>,
    /// A token.
    pub token: Option<String>,
    /// Seed of an nkey.
    pub nkey: Option<String>,
}

/// Why a server could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The credentials cannot be read.
    #[error("cannot read the credentials file {}", .0.display())]
    Creds(PathBuf, #[source] std::io::Error),
    /// No address, or a bad one.
    #[error("{0:?} is not the URL of a NATS server; write nats://HOST:PORT")]
    Url(String, #[source] std::io::Error),
    /// Nobody answered, or it did not let us in.
    #[error("cannot connect to NATS at {0}")]
    Connect(String, #[source] async_nats::ConnectError),
}

impl Options {
    /// A server at that URL, with nothing else to say.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// The URL without user and password, to be shown.
    pub fn shown(&self) -> String {
        let without_user = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            (_, None) => url.to_owned(),
        };
        self.url
            .split(',')
            .map(without_user)
            .collect::<Vec<_>>()
            .join(",")
    }

    async fn prepared(&self, name: &str) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new()
            .name(name)
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .client_capacity(CLIENT_COMMANDS_MAX)
            .ping_interval(PING_INTERVAL);
        if let Some(path) = &self.creds {
            let creds = tokio::fs::read_to_string(path)
                .await
                .map_err(|error| Error::Creds(path.clone(), error))?;
            options = options
                .credentials(&creds)
                .map_err(|error| Error::Creds(path.clone(), error))?;
        }
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.clone());
        }
        if let Some(path) = &self.tls_ca {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((cert, key)) = &self.tls_cert {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options)
    }

    /// What the client library is to be given, and the servers, for callers that connect with options of their own.
    pub async fn prepare(&self, name: &str) -> Result<(ConnectOptions, Vec<ServerAddr>), Error> {
        let servers: Vec<ServerAddr> = self
            .url
            .split(',')
            .map(|url| {
                url.trim()
                    .parse()
                    .map_err(|error| Error::Url(self.shown(), error))
            })
            .collect::<Result<_, _>>()?;
        let mut options = self.prepared(name).await?;
        // The client library leaves what stands in a URL alone.
        let named = servers.iter().find_map(|server| {
            let user = server.username()?;
            Some((user.to_owned(), server.password().map(str::to_owned)))
        });
        match named {
            Some((user, Some(password))) => options = options.user_and_password(user, password),
            Some((token, None)) => options = options.token(token),
            None => {}
        }
        Ok((options, servers))
    }

    /// Connects, and tells `on_event` whenever the connection is lost or back. It comes back by itself.
    pub async fn connect<F>(&self, name: &str, on_event: F) -> Result<Client, Error>
    where
        F: Fn(Event) + Send + Sync + 'static,
    {
        let (options, servers) = self.prepare(name).await?;
        options
            .event_callback(move |event| {
                on_event(event);
                std::future::ready(())
            })
            .connect(servers)
            .await
            .map_err(|error| Error::Connect(self.shown(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let options = Options::at("nats://me:secret@one:4222,nats://two:4222");
        assert_eq!(options.shown(), "nats://one:4222,nats://two:4222");
    }
}
