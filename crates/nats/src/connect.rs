//! Reaching a NATS server: address, credentials, TLS.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectOptions, Event, ServerAddr,
    rustls::{
        self,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        sign::CertifiedKey,
    },
};

use crate::elsewhere::reconnects_elsewhere;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that wait in one subscription, at most; what comes after that is dropped by the client.
const SUBSCRIPTION_MESSAGES_MAX: usize = 16 * 1024;
/// Commands that wait to be written to the socket, at most; senders wait after that.
const CLIENT_COMMANDS_MAX: usize = 512;
/// How often the server is asked whether it is still there. The client library gives it up where the third question in a row
/// would have no answer: one that stands still is left after 4.5 s at most.
const PING_INTERVAL: Duration = Duration::from_millis(1_500);

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
    Creds(PathBuf, #[source] io::Error),
    /// A certificate or key cannot be read.
    #[error("cannot read {}", .0.display())]
    Pem(PathBuf, #[source] io::Error),
    /// A client certificate and a key that do not belong together.
    #[error("the key in {} does not fit the certificate in {}", .1.display(), .0.display())]
    KeyPair(PathBuf, PathBuf, #[source] rustls::Error),
    /// No address, or a bad one.
    #[error("this (not shown) is not the URL of a NATS server; write nats://HOST:PORT")]
    Url(#[source] io::Error),
    /// The server's certificate proves nothing to us.
    #[error("cannot connect to NATS at {0}: its certificate is not trusted")]
    Untrusted(String, #[source] rustls::Error),
    /// TLS was asked for, and what answers does not speak it.
    #[error("cannot connect to NATS at {0}: the server there does not speak TLS")]
    NotTls(String),
    /// The server broke the TLS handshake off.
    #[error("cannot connect to NATS at {0}: the server does not accept the TLS connection")]
    TlsRefused(String, #[source] rustls::Error),
    /// Nobody answered, or it did not let us in.
    #[error("cannot connect to NATS at {0}")]
    Connect(String, #[source] async_nats::ConnectError),
}

impl Error {
    /// Why that server, as it is shown, could not be connected to.
    pub fn of_connect(server: String, error: ConnectError) -> Self {
        let io = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        let tls = io.and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
        match tls {
            Some(why @ rustls::Error::InvalidCertificate(_)) => {
                Self::Untrusted(server, why.clone())
            }
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls(server),
            Some(why @ rustls::Error::AlertReceived(_)) => Self::TlsRefused(server, why.clone()),
            _ => Self::Connect(server, error),
        }
    }
}

impl Options {
    /// A server at that URL, with nothing else to say.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// The same server, to which a credentials file says who we are, and nothing else does.
    #[must_use]
    pub fn with_creds(self, creds: PathBuf) -> Self {
        Self {
            creds: Some(creds),
            user: None,
            token: None,
            nkey: None,
            ..self
        }
    }

    /// Whether anything says who we are.
    pub fn says_who(&self) -> bool {
        let files = self.creds.is_some() || self.nkey.is_some();
        files || self.user.is_some() || self.token.is_some() || self.url_says_who()
    }

    /// Whether a user or token stands in the URL.
    pub fn url_says_who(&self) -> bool {
        let servers = self.url.split(',').filter_map(server);
        servers
            .into_iter()
            .any(|server| server.username().is_some())
    }

    /// Scheme, host and port of each URL, to be shown: secrets may stand anywhere else in it, and anywhere in what is
    /// no URL.
    pub fn shown(&self) -> String {
        let servers: Option<Vec<_>> = self.url.split(',').map(server).collect();
        let shown: Option<Vec<String>> =
            servers.and_then(|servers| servers.iter().map(shown).collect());
        let shown = shown.map(|shown| shown.join(","));
        shown.unwrap_or_else(|| "(not shown)".to_owned())
    }

    /// What stands behind host and port in a URL, by name: all of that is ignored.
    pub fn ignored(&self) -> Vec<&'static str> {
        let behind = self.url.split(',').map(behind_host);
        let behind: Vec<&str> = behind.collect();
        let named = [("path", '/'), ("query", '?'), ("fragment", '#')];
        let named = named.into_iter().filter(|(_, mark)| {
            let stands = |text: &&str| text.contains(*mark) && *text != "/";
            behind.iter().any(stands)
        });
        named.map(|(name, _)| name).collect()
    }

    /// Whether it says who we are, a client certificate included: then the server may let us do what others may not.
    pub fn has_credentials(&self) -> bool {
        self.says_who() || self.tls_cert.is_some()
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
            certificates(path).await?;
            options = options.add_root_certificates(path.clone());
        }
        if let Some((cert, key)) = &self.tls_cert {
            key_pair(cert, key).await?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(options)
    }

    /// What the client library is to be given, and the servers, for callers that connect with options of their own.
    pub async fn prepare(&self, name: &str) -> Result<(ConnectOptions, Vec<ServerAddr>), Error> {
        let servers: Vec<ServerAddr> = self
            .url
            .split(',')
            .map(|url| url.trim().parse().map_err(Error::Url))
            .collect::<Result<_, _>>()?;
        let mut options = self.prepared(name).await?;
        // The client library leaves what stands in a URL alone. A credentials file goes before it.
        let named = servers
            .iter()
            .filter(|_| self.creds.is_none())
            .find_map(|server| {
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
        reconnects_elsewhere(options)
            .event_callback(move |event| {
                on_event(event);
                std::future::ready(())
            })
            .connect(servers)
            .await
            .map_err(|error| Error::of_connect(self.shown(), error))
    }
}

/// Whether that file has certificates. The client library reads it when it connects, and does not say which file is
/// wrong.
async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unusable(path, "it holds no certificate in PEM format")),
        Err(error) => Err(unusable(path, error)),
    }
}

/// Whether the one file has certificates and the other their private key.
async fn key_pair(cert: &Path, key: &Path) -> Result<(), Error> {
    let certificates = certificates(cert).await?;
    let text = read(key).await?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| unusable(key, error))?;
    CertifiedKey::from_der(certificates, private, &ring::default_provider())
        .map(drop)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Error::KeyPair(cert.to_owned(), key.to_owned(), error)
            }
            rustls::Error::InvalidCertificate(_) => unusable(cert, error),
            _ => unusable(key, error),
        })
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let text = tokio::fs::read(path).await;
    text.map_err(|error| Error::Pem(path.to_owned(), error))
}

fn unusable(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = io::Error::new(io::ErrorKind::InvalidData, why);
    Error::Pem(path.to_owned(), error)
}

fn server(url: &str) -> Option<ServerAddr> {
    url.trim().parse().ok()
}

/// Nothing where the host is none: then it may be a secret, or have one in it.
fn shown(server: &ServerAddr) -> Option<String> {
    let (scheme, host, port) = (server.scheme(), server.host(), server.port());
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.contains(':') {
        Some(format!("{scheme}://[{host}]:{port}"))
    } else if host.chars().all(in_name) {
        Some(format!("{scheme}://{host}:{port}"))
    } else {
        None
    }
}

/// What stands behind host and port.
fn behind_host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default().trim_end();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.get(end..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_scheme_host_and_port_is_shown() {
        for (url, expected) in [
            (
                "nats://me:secret@one:4222,nats://two:4222",
                "nats://one:4222,nats://two:4222",
            ),
            ("nats://token@one", "nats://one:4222"),
            ("one:4223", "nats://one:4223"),
            ("nats://one:4222?pass=secret", "nats://one:4222"),
            ("nats://one:4222/?user=a&pass=b@c", "nats://one:4222"),
            ("nats://one:4222#secret", "nats://one:4222"),
            ("tls://[::1]:4222/secret", "tls://[::1]:4222"),
            ("nats://me:se#cret@one:4222", "(not shown)"),
            ("nats://me:secret@one:port", "(not shown)"),
            ("nats://me:se,cret@one", "(not shown)"),
            ("not%a%url:x", "(not shown)"),
            ("nats://token:secret", "(not shown)"),
            ("{\"pass\":\"secret\"}", "(not shown)"),
            ("one:4222,token:secret", "(not shown)"),
            ("nats://me:secret＠one", "(not shown)"),
            ("nats://secret＠one", "(not shown)"),
            ("nats://secret%40one", "(not shown)"),
            ("nats://me%3Asecret%40one:port", "(not shown)"),
            ("nats://one%23secret:4222", "(not shown)"),
            ("nats://one:4222/x/nats://me:secret@two", "nats://one:4222"),
        ] {
            assert_eq!(Options::at(url).shown(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_ignored_in_a_url_is_named() {
        for (url, expected) in [
            ("nats://one:4222", &[] as &[&str]),
            ("nats://me:secret@one:4222/,two", &[]),
            ("nats://one?pass=secret", &["query"]),
            ("nats://one,nats://two/x#secret", &["path", "fragment"]),
        ] {
            assert_eq!(Options::at(url).ignored(), expected, "{url}");
        }
    }

    /// As `openssl x509 -req` makes them by default: of version 1, which TLS does not take. The key is its own.
    const OF_VERSION_ONE: [&str; 2] = [
        "-----BEGIN CERTIFICATE-----\n\
         MIIBFjCBvQIUQkmI35BSqxwZg+uX/QReM7LfPT0wCgYIKoZIzj0EAwIwDTELMAkG\n\
         A1UEAwwCdjEwIBcNMjYxMTMwMTMyNzExWhgPMjEyNjExMDYxMzI3MTFaMA0xCzAJ\n\
         BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAErx0GHZiZt6BkQx/5\n\
         wiCbE9o+p1ooXr6ErqHIEFNpq5bJbW+4Jo59tXDttXXbNDEHSx1ZyJv8SgPrONBe\n\
         jUPTczAKBggqhkjOPQQDAgNIADBFAiEAtxF3eR/SVXS9RWvTL+4qvJ7LE7FApFmd\n\
         kJkiWiUw6cICICIp93O2DEDV7SyIOKPH56VQz/TGOu4LXs6UMqpSZ6+y\n\
         -----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----\n\
         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9wMTQay1VdjYdA32\n\
         SN9Ytoue5kZ91Q5e9PQrwrKIjZuhRANCAASvHQYdmJm3oGRDH/nCIJsT2j6nWihe\n\
         voSuocgQU2mrlsltb7gmjn21cO21dds0MQdLHVnIm/xKA+s40F6NQ9Nz\n\
         -----END PRIVATE KEY-----",
    ];

    #[tokio::test]
    async fn a_certificate_that_cannot_be_used_is_not_said_to_be_of_another_key() {
        let folder = std::env::temp_dir().join(format!("onex-certificate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        for (path, text) in [&cert, &key].into_iter().zip(OF_VERSION_ONE) {
            std::fs::write(path, text).unwrap();
        }
        let error = key_pair(&cert, &key).await.unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(
            matches!(&error, Error::Pem(path, why)
            if *path == cert && why.to_string().contains("UnsupportedCertVersion")),
            "{error:?}"
        );
    }
}
