//! One life of a node, as the program sees it.

use std::{
    future::Future,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use onex_protocol::{error::ErrorCode, port::LeaseReply, warning::Warning};
use onex_types::ids::{LeaseId, Name, Port};
use tokio::{net::TcpListener, sync::watch};

use crate::{BootTime, Ending, Error, Loss, keep, sleep_until};

use super::{
    keeper::{PAUSE_FIRST, is_over, wait},
    registration::{Leased, NodeRequests, Registration, no_such_port},
    state::{Phase, State},
};

/// Ports that are tried for one listener, at most, when programs that never asked listen on them. The registry
/// tries as many where it can.
const PORTS_TRIED_MAX: usize = 64;

/// A node from when it is online to when it is not. Its ports are this life's: the next one may have others.
#[derive(Debug)]
pub struct Life {
    pub(super) requests: NodeRequests,
    pub(super) registration: Arc<Registration>,
    pub(super) state: watch::Receiver<State>,
}

impl Life {
    /// Which life of the node it is, by the registry's count. One that was thought to be over, and was not, has
    /// the same.
    pub fn epoch(&self) -> u64 {
        self.registration.epoch
    }

    /// What the registry found worth a look, though it was done.
    pub fn warnings(&self) -> &[Warning] {
        &self.registration.warnings
    }

    /// The leased port of that name; none if the node has none of that name.
    pub fn port(&self, name: &str) -> Option<Port> {
        self.leased(name).map(|leased| leased.lease.port)
    }

    /// All leased ports, by their names, in the order in which they were named.
    pub fn ports(&self) -> Vec<(Name, LeaseReply)> {
        let ports = self.registration.ports().into_iter();
        ports.map(|leased| (leased.name, leased.lease)).collect()
    }

    fn leased(&self, name: &str) -> Option<Leased> {
        let mut ports = self.registration.ports().into_iter();
        ports.find(|leased| leased.name.as_str() == name)
    }

    /// Listens on the leased port of that name, at an address of this machine, and then tells the registry that it does.
    /// Where a program has the port that never asked the registry, another one is leased in its place, unless only
    /// that one will do. Where it is not known what came of a [`rebind`](Self::rebind), that is found out before.
    ///
    /// What may pass is tried again for as long as the life lasts; when it is over before, that is
    /// [`Error::Over`]. After any other error the node lives on, with a port that may be another one.
    ///
    /// Drop the listener when the life is over: the next one may have the same port.
    pub async fn listen(&self, name: &str, address: IpAddr) -> Result<TcpListener, Error> {
        tokio::select! {
            listener = self.listen_on(name, address) => listener,
            why = self.over() => Err(Error::Over(why)),
        }
    }

    /// Tells the registry that the leased port of that name is listened on, for a program that sees to that by itself.
    /// The same as [`listen`](Self::listen) goes for errors.
    pub async fn announce(&self, name: &str) -> Result<(), Error> {
        let leased = self.leased(name).ok_or_else(|| no_such_port(name))?;
        let announce = async {
            self.settle(&leased.name).await?;
            self.open(&leased.name).await
        };
        tokio::select! {
            opened = announce => opened,
            why = self.over() => Err(Error::Over(why)),
        }
    }

    /// Gets another port in the place of the leased one of that name, because another program uses that; returns the new one.
    /// Stop using the old one first: nobody gets it for a minute, or for the node's TTL if that is longer, and then anybody may.
    ///
    /// The new one is the node's from now on, in [`port`](Self::port) and [`ports`](Self::ports), and is asked for in its next
    /// lives. Where the port was announced, others are told of the new one in its place at once, there and in the addresses of
    /// buses that name the port: [`listen`](Self::listen) on it next. That also announces anew the buses whose address names
    /// it otherwise.
    ///
    /// The same as [`listen`](Self::listen) goes for errors; [`Error::Unfit`] also where only that port will do. After an
    /// error, and when the returned future is dropped, the node may have another port already: call it again, which is then
    /// the same request.
    pub async fn rebind(&self, name: &str) -> Result<Port, Error> {
        let Leased { name, lease, .. } = self.leased(name).ok_or_else(|| no_such_port(name))?;
        if !self.requests.may_change(&name) {
            let message = format!(
                "{} is the only one that will do for {name}: without `exact` there may be another one",
                lease.port
            );
            return Err(Error::unfit("/inbound_ports/port", message));
        }
        tokio::select! {
            rebound = self.another_of_the_lease(&name) => rebound,
            why = self.over() => Err(Error::Over(why)),
        }
    }

    async fn another_of_the_lease(&self, name: &Name) -> Result<Port, Error> {
        let mut pause = PAUSE_FIRST;
        loop {
            let rebound = self.requests.rebind(&self.registration, name, self.until());
            match rebound.await {
                Ok(port) => return Ok(port),
                Err(error) => patience(error, &mut pause).await?,
            }
        }
    }

    async fn settle(&self, name: &Name) -> Result<(), Error> {
        let mut pause = PAUSE_FIRST;
        loop {
            let settled = self.requests.settle(&self.registration, name, self.until());
            match settled.await {
                Ok(()) => return Ok(()),
                Err(error) => patience(error, &mut pause).await?,
            }
        }
    }

    async fn listen_on(&self, name: &str, address: IpAddr) -> Result<TcpListener, Error> {
        let no_such_port = || no_such_port(name);
        self.settle(&self.leased(name).ok_or_else(no_such_port)?.name)
            .await?;
        let Leased { name, lease, .. } = self.leased(name).ok_or_else(no_such_port)?;
        let mut lease = lease;
        let mut in_use = Vec::new();
        let listener = loop {
            let port = lease.port;
            let error = match TcpListener::bind(SocketAddr::new(address, port.number())).await {
                Ok(listener) => break Ok(listener),
                Err(error) => error,
            };
            let another = error.kind() == ErrorKind::AddrInUse && self.requests.may_change(&name);
            if !another || in_use.len() == PORTS_TRIED_MAX {
                break Err(Error::Listen {
                    port,
                    source: error,
                });
            }
            // Kept until there is a better one, or it would come again.
            in_use.push(lease.lease_id);
            lease = self.another(&name, &mut in_use).await?;
        };
        self.give_back(&mut in_use).await;
        let listener = listener?;
        self.open(&name).await?;
        Ok(listener)
    }

    /// Leases another port. Where there is none because these are kept, they are given back first: a program
    /// may have left one of them meanwhile.
    async fn another(&self, name: &Name, kept: &mut Vec<LeaseId>) -> Result<LeaseReply, Error> {
        let mut pause = PAUSE_FIRST;
        loop {
            let another = self
                .requests
                .another_port(&self.registration, name, self.until());
            let error = match another.await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            if error.code() == Some(ErrorCode::ResourceExhausted) {
                self.give_back(kept).await;
            }
            patience(error, &mut pause).await?;
        }
    }

    async fn give_back(&self, kept: &mut Vec<LeaseId>) {
        for lease_id in kept.drain(..) {
            // It ends with the node if not now.
            let _ = self.requests.release(lease_id, self.until()).await;
        }
    }

    async fn open(&self, name: &Name) -> Result<(), Error> {
        let mut pause = PAUSE_FIRST;
        loop {
            match self
                .requests
                .open(&self.registration, name, self.until())
                .await
            {
                Ok(()) => return Ok(()),
                Err(error) => patience(error, &mut pause).await?,
            }
        }
    }

    fn is_now(&self, state: &State) -> bool {
        matches!(&state.phase, Phase::Online(registration) if Arc::ptr_eq(registration, &self.registration))
    }

    fn until(&self) -> BootTime {
        self.state.borrow().term.until
    }

    /// Until when the life lasts, and its ports may be used, if no further heartbeat comes through. In the past once it
    /// is over.
    pub fn valid_until(&self) -> BootTime {
        let state = self.state.borrow();
        if self.is_now(&state) {
            state.term.until
        } else {
            state.term.until.min(BootTime::now())
        }
    }

    /// How long the life lasts, and its ports may be used, if no further heartbeat comes through; zero once it is over.
    /// Right also just after a sleep of the machine: look before a use that would do harm when it is late.
    pub fn remaining(&self) -> Duration {
        self.valid_until().since(BootTime::now())
    }

    /// Resolves when it is time to begin to stop: as long before [`valid_until`](Self::valid_until) as
    /// [`NodeBuilder::grace`](super::NodeBuilder::grace) says, unless a heartbeat comes through before, and at once when
    /// the life is over. It may be asked for as often as wanted.
    ///
    /// Then stop using the ports, and ask [`Node::online`](super::Node::online) for a life: this one, if it does not end
    /// after all, or the next.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        let registration = Arc::clone(&self.registration);
        keep::ending(self.state.clone(), move |state: &State| {
            let lost = registration.loss.get().cloned();
            lost.map_or_else(|| Ok(state.term.clone()), Err)
        })
    }

    /// Resolves when the life is over and its ports must not be used any more, to why. [`ending`](Self::ending) leaves time
    /// to stop: before the registry can give
    /// them to someone else. It may be asked for as often as wanted.
    pub fn over(&self) -> impl Future<Output = Loss> + Send + use<> {
        let mut state = self.state.clone();
        let registration = Arc::clone(&self.registration);
        async move {
            let over = state
                .wait_for(|_| registration.loss.get().is_some())
                .await
                .is_ok();
            if let (true, Some(ending)) = (over, registration.loss.get()) {
                return ending.why.clone();
            }
            // The runtime that it was kept by is gone: nobody renews it.
            let until = state.borrow().term.until;
            sleep_until(until).await;
            Loss::Expired(None)
        }
    }
}

/// Waits where asking again may help, and where the error means that the life is over: then whoever waits is told so
/// in a moment. Else the error.
async fn patience(error: Error, pause: &mut Duration) -> Result<(), Error> {
    if !error.retryable() && !is_over(&error) {
        return Err(error);
    }
    *pause = wait(&error, *pause).await;
    Ok(())
}
