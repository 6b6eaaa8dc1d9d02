//! A nats-server of the registry's own: found, checked, started and stopped with it.
//!
//! The server's files are in `nats/` below the data folder, locked for as long as the server runs; it ends when the
//! registry does, however that ends. On Linux; see [`child`] for how.

mod child;
mod error;
mod find;
mod folder;
mod occupant;
mod process;
mod ready;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::{interval_at, sleep, timeout};
use tracing::{info, warn};

pub use child::{CHILD, child};
pub use error::Error;
pub use occupant::Occupant;

use folder::{Folder, Holder};
use process::{Pipes, Process};

/// How long a server may take until it accepts clients: it reads what it has stored, gigabytes of events perhaps.
const START_WAIT_MAX: Duration = Duration::from_mins(5);

/// How often a start that takes long says so.
const START_NEWS_EVERY: Duration = Duration::from_secs(5);

/// The server writes a file when it listens, and tells nobody.
const READY_POLL: Duration = Duration::from_millis(5);

/// What is open to choice about the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it accepts clients; port 0 is any free port.
    pub listen: SocketAddr,
    /// The data folder; made when it is not there.
    pub data: PathBuf,
}

impl Options {
    /// Where a NATS server listens by custom, for this machine only.
    pub const LISTEN_DEFAULT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4222);
}

/// A running nats-server that accepts clients. Dropping it asks the server to end; [`Server::stop`] also waits.
#[derive(Debug)]
pub struct Server {
    process: Process,
    folder: Folder,
    url: String,
    version: String,
}

impl Server {
    /// Starts a server by way of this program's own `nats-child` subcommand, and returns when it accepts clients.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(|source| Error::Spawn { source })?;
        Self::start_by(options, &program).await
    }

    /// As [`Server::start`], unless `cancelled` resolves first: none then, and nothing of the server runs any more.
    pub async fn start_unless(
        options: &Options,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Option<Self>, Error> {
        let program = std::env::current_exe().map_err(|source| Error::Spawn { source })?;
        Self::start_by_unless(options, &program, cancelled).await
    }

    /// As [`Server::start`], for a program that has no `nats-child` subcommand itself: `onex` is the path of one that
    /// has.
    pub async fn start_by(options: &Options, onex: &Path) -> Result<Self, Error> {
        let never = std::future::pending();
        let started = Self::start_by_unless(options, onex, never).await?;
        started.ok_or_else(|| Error::Exited {
            how: "its start was given up".into(),
        })
    }

    async fn start_by_unless(
        options: &Options,
        onex: &Path,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Option<Self>, Error> {
        let began = Instant::now();
        tokio::pin!(cancelled);
        let found = tokio::select! {
            found = find::find() => found?,
            () = &mut cancelled => return Ok(None),
        };
        info!(path = %found.path.display(), version = %found.version, took_ms = millis(began), "found nats-server");
        if !options.listen.ip().is_loopback() {
            warn!(listen = %options.listen, "the server asks nobody who they are, and listens beyond this machine");
        }
        let folder = Folder::of(&options.data)?;
        folder.create()?;
        info!(folder = %folder.path().display(), listen = %options.listen, "starting nats-server");
        let mut command = Command::new(onex);
        command
            .arg(child::CHILD)
            .args(child::arguments(&found.path, &folder));
        let (mut process, pipes) = Process::spawn(command)
            .await
            .map_err(|source| Error::Spawn { source })?;
        let outcome = tokio::select! {
            outcome = bring_up(&mut process, pipes, &folder, options) => outcome.map(Some),
            () = &mut cancelled => Ok(None),
        };
        let (address, version) = match outcome {
            Ok(Some(ready)) => ready,
            Ok(None) => {
                // It may have come as far as to write: it ends in order, and before this returns.
                process.stop().await;
                return Ok(None);
            }
            Err(error) => {
                process.stop().await;
                return Err(error);
            }
        };
        let url = format!("nats://{address}");
        info!(
            url,
            version,
            pid = process.pid(),
            ready_after_ms = millis(began),
            "nats-server accepts clients"
        );
        Ok(Some(Self {
            process,
            folder,
            url,
            version,
        }))
    }

    /// Where this machine reaches the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's version, as it says itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns when the server has ended by itself; says how, with the last lines of its log.
    pub async fn exited(&mut self) -> String {
        let how = self.process.exited().await;
        format!("{how}; {}", self.folder.last_words())
    }

    /// Says that [`Server::stop`] comes soon: who starts another one in the same folder waits for that, and is not refused.
    pub fn will_stop(&self) {
        self.folder.note_stopping();
    }

    /// Ends the server: asks it to, and kills it when it has not ended after ten seconds.
    pub async fn stop(mut self) {
        let began = Instant::now();
        self.will_stop();
        info!(pid = self.pid(), "stopping nats-server");
        let how = self.process.stop().await;
        info!(how, took_ms = millis(began), "nats-server is stopped");
    }
}

/// From a started child to a server that accepts clients: its address and version.
async fn bring_up(
    process: &mut Process,
    pipes: Pipes,
    folder: &Folder,
    options: &Options,
) -> Result<(SocketAddr, String), Error> {
    let pipe = |source| Error::Spawn { source };
    let stdout = ChildStdout::from_std(pipes.stdout).map_err(pipe)?;
    let mut stdin = ChildStdin::from_std(pipes.stdin).map_err(pipe)?;
    await_lock(process, stdout, folder, &options.data).await?;
    // Only now: a former server of this folder has let go of its port.
    check_port(options.listen)?;
    folder.prepare(options.listen)?;
    let go = async {
        stdin
            .write_all(format!("{}\n", child::GO).as_bytes())
            .await?;
        stdin.shutdown().await
    };
    // A child that is gone is better described by how it ended.
    if let Err(error) = go.await
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(pipe(error));
    }
    await_ready(process, folder, options.listen).await
}

/// Waits until the child has the folder's lock.
async fn await_lock(
    process: &mut Process,
    stdout: ChildStdout,
    folder: &Folder,
    data: &Path,
) -> Result<(), Error> {
    let busy = || Error::DataBusy {
        path: data.to_owned(),
        holder: holder(folder),
        port: port_of_holder(folder),
    };
    let began = Instant::now();
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.as_str() {
            child::LOCKED => {
                info!(took_ms = millis(began), "the data folder is ours");
                return Ok(());
            }
            child::WAITING if is_kept(folder) => return Err(busy()),
            child::WAITING => {
                let holder = holder(folder);
                info!(
                    holder,
                    "the data folder is in use, waiting for its nats-server to end"
                );
            }
            child::BUSY => return Err(busy()),
            other => {
                if let Some(what) = other.strip_prefix(child::UNUSABLE) {
                    return Err(Error::DataOfChild {
                        what: what.to_owned(),
                    });
                }
                if let Some(why) = other.strip_prefix(child::FAILED) {
                    return Err(Error::Exited {
                        how: why.to_owned(),
                    });
                }
                warn!(line = other, "nats-child says something unknown");
            }
        }
    }
    Err(Error::Exited {
        how: format!("its supervisor gave up: {}", process.exited().await),
    })
}

/// Whether who has the folder locked goes on: a registry that runs with its server, and is not about to end.
fn is_kept(folder: &Folder) -> bool {
    folder.holder().is_some_and(|holder| {
        !holder.is_stopping && occupant::is_child_of(holder.server, holder.registry)
    })
}

/// Who has the folder locked, as the lock file says.
fn holder(folder: &Folder) -> String {
    let Some(Holder {
        server, registry, ..
    }) = folder.holder()
    else {
        return "another nats-server".into();
    };
    match occupant::command_of(registry) {
        Some(command) => format!("process {registry} ({command}) with nats-server {server}"),
        None => format!("nats-server {server}, whose registry {registry} is gone"),
    }
}

/// Where the server of whoever has the folder locked listens.
fn port_of_holder(folder: &Folder) -> Option<u16> {
    let server = u32::try_from(folder.holder()?.server).ok()?;
    ready::port(&folder.ports(), server)
}

fn check_port(listen: SocketAddr) -> Result<(), Error> {
    match occupant::bindable(listen) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::PortTaken {
            listen,
            occupant: occupant::occupant(listen),
        }),
        Err(source) => Err(Error::Listen { listen, source }),
    }
}

async fn await_ready(
    process: &mut Process,
    folder: &Folder,
    listen: SocketAddr,
) -> Result<(SocketAddr, String), Error> {
    let pid = process.pid();
    let began = Instant::now();
    let mut news = interval_at(
        tokio::time::Instant::now() + START_NEWS_EVERY,
        START_NEWS_EVERY,
    );
    let ready = async {
        loop {
            tokio::select! {
                ready = poll_ready(folder, listen, pid) => return Ok(ready),
                how = process.exited() => return Err(how),
                _ = news.tick() => {
                    let said = folder.last_words();
                    info!(after_ms = millis(began), said, "nats-server is still starting");
                }
            }
        }
    };
    match timeout(START_WAIT_MAX, ready).await {
        Ok(Ok(ready)) => Ok(ready),
        Ok(Err(how)) => {
            // Somebody may have taken the port after it was checked.
            check_port(listen)?;
            Err(Error::Exited {
                how: format!("{how}; {}", folder.last_words()),
            })
        }
        Err(_) => Err(Error::NotReady {
            seconds: START_WAIT_MAX.as_secs(),
            how: folder.last_words(),
        }),
    }
}

async fn poll_ready(folder: &Folder, listen: SocketAddr, pid: u32) -> (SocketAddr, String) {
    loop {
        if let Some(port) = ready::port(&folder.ports(), pid) {
            let address = ready::reachable(listen, port);
            if let Some(version) = ready::greeting(address).await {
                return (address, version);
            }
        }
        sleep(READY_POLL).await;
    }
}

/// Milliseconds since `began`, for the log.
fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
