//! What can go wrong between "start a server" and "it accepts clients".

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::occupant::Occupant;
use crate::server_version::{INSTALL, Version};

/// Why there is no local nats-server. Each message says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No nats-server was found, or only ones that are too old or do not run; `found` says which.
    #[error(
        "no nats-server {minimum} or newer: {found}; install one with `{INSTALL}`, or name one in ONEX_NATS_SERVER"
    )]
    NoServer {
        /// The oldest version that will do.
        minimum: Version,
        /// Every candidate and what is wrong with it.
        found: String,
    },
    /// A file or folder below the data folder cannot be made, read or written.
    #[error("cannot use {}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The same, found by the process that becomes the server.
    #[error("{what}")]
    DataOfChild {
        /// What cannot be used, and why.
        what: String,
    },
    /// The server's configuration is text, so the path of the data folder has to be.
    #[error("the path of the data folder is not valid UTF-8: {}", path.display())]
    DataName {
        /// The data folder.
        path: PathBuf,
    },
    /// Another nats-server has had the data folder locked for as long as this one was ready to wait.
    #[error("the data folder {} is in use by {holder}: stop that registry, or give this one another folder with `--data`", path.display())]
    DataBusy {
        /// The data folder.
        path: PathBuf,
        /// Who has it.
        holder: String,
        /// The port on which that one's server listens, where that is known.
        port: Option<u16>,
    },
    /// Somebody else listens on the address.
    #[error(
        "{listen} is taken by {occupant}: stop it, or listen elsewhere with `--listen` (`--listen {}:0` takes any free port), or use it, if it is a NATS server, with `--nats nats://{listen}`",
        host(listen)
    )]
    PortTaken {
        /// The address asked for.
        listen: SocketAddr,
        /// Who listens there.
        occupant: Occupant,
    },
    /// The address cannot be listened on, whoever else is there: not this machine's, or not permitted.
    #[error("cannot listen on {listen}: choose another address with `--listen`")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The child process cannot be started or talked to.
    #[error("cannot run nats-server's supervisor")]
    Spawn {
        /// What the system said.
        source: io::Error,
    },
    /// The child ended before it accepted clients.
    #[error("nats-server did not start: {how}")]
    Exited {
        /// How it ended, with the last lines of its log.
        how: String,
    },
    /// The child runs but accepts no clients.
    #[error("nats-server was not ready after {seconds} s: {how}")]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// What it said last.
        how: String,
    },
    /// `nats-child` was not started by a registry.
    #[error("nats-child is run by `onex serve`, not by hand: {what}")]
    Arguments {
        /// What is wrong with the arguments.
        what: &'static str,
    },
    /// The registry that started this child is gone.
    #[error("the registry that wanted a nats-server is gone")]
    Orphan,
    /// The child cannot become nats-server.
    #[error("cannot run {}", path.display())]
    Exec {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The address as it is written in front of `:port`.
fn host(listen: &SocketAddr) -> String {
    match listen {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}
