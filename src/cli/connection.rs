//! The flags that say which NATS server, everywhere.

use std::path::PathBuf;

use clap::Args;

use crate::{connect::Options, protocol::names::Namespace};

/// Which server, and who we are to it.
#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
pub(super) struct Flags {
    /// URL of the NATS server, or several with commas between.
    #[arg(long, global = true, env = "NATS_URL", value_name = "URL")]
    pub(super) nats: Option<String>,
    /// Credentials file.
    #[arg(long, global = true, env = "NATS_CREDS", value_name = "FILE")]
    pub(super) creds: Option<PathBuf>,
    /// Root certificates to trust besides the system's.
    #[arg(long, global = true, env = "NATS_CA", value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// Client certificate.
    #[arg(
        long,
        global = true,
        env = "NATS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub(super) tls_cert: Option<PathBuf>,
    /// Key of the client certificate.
    #[arg(
        long,
        global = true,
        env = "NATS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(super) tls_key: Option<PathBuf>,
    /// Keeps several registries on one NATS system apart.
    #[arg(long, global = true, env = "ONEX_NAMESPACE", value_name = "NS")]
    pub(super) namespace: Option<Namespace>,
}

impl Flags {
    /// The server at `url`, with these credentials.
    pub(super) fn options(&self, url: String) -> Options {
        Options {
            creds: self.creds.clone(),
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone().zip(self.tls_key.clone()),
            ..Options::at(url)
        }
    }

    /// The namespace.
    pub(super) fn namespace(&self) -> Namespace {
        self.namespace.clone().unwrap_or_default()
    }
}
