//! Registers and deregisters a node: what is asked of the registry, in which order.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use onex_protocol::{
    bus::{BusRegisterRequest, BusReply},
    endpoint::Endpoint,
    node::{InboundPort, RegisterReply, RegisterRequest},
    node_life::{DeregisterReply, DeregisterRequest},
    port::{LeaseReply, LeaseRequest, ReleaseReply, ReleaseRequest},
    warning::Warning,
};
use onex_types::ids::{Invalid, LeaseId, Name, Port, Ttl};

use crate::{
    BootTime, Client, Ending, Error,
    keep::fresh,
    rebind::{Rebinding, is_settled},
    tenure::{Asked, Tenure},
};

use super::plan::{Plan, PortPlan};

/// One life of a node, as it was registered.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) epoch: u64,
    pub(super) ttl: Ttl,
    pub(super) warnings: Vec<Warning>,
    /// In the order of the plan.
    ports: Mutex<Vec<Leased>>,
    /// Why it is over.
    pub(super) loss: OnceLock<Ending>,
}

/// A leased port of a life.
#[derive(Debug, Clone)]
pub(super) struct Leased {
    pub(super) name: Name,
    pub(super) lease: LeaseReply,
    /// Whether it is listened on, so that others may know of it.
    open: bool,
    /// One of which it is not known what came of it.
    rebinding: Option<Rebinding>,
    /// Whether it has, or had in an earlier life, another port than the one that was leased for it: that one could not be
    /// used.
    is_rebound: bool,
}

impl Registration {
    pub(super) fn ports(&self) -> Vec<Leased> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Leased>> {
        // What is in there is whole at every moment.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the port of that name.
    fn change(&self, name: &Name, change: impl Fn(&mut Leased)) {
        let mut ports = self.lock();
        for port in ports.iter_mut().filter(|port| port.name == *name) {
            change(port);
        }
    }

    /// The lease of the port of that name, and what rebinds it: as it was begun before, where it is not known what came of that.
    fn rebinding(&self, name: &Name) -> Result<(LeaseReply, Rebinding), Error> {
        let mut ports = self.lock();
        let port = ports.iter_mut().find(|port| port.name == *name);
        let port = port.ok_or_else(|| no_such_port(name.as_str()))?;
        let rebinding = match port.rebinding {
            Some(begun) => begun,
            None => Rebinding::of(&port.lease, port.lease.port)?,
        };
        port.rebinding = Some(rebinding);
        Ok((port.lease.clone(), rebinding))
    }

    /// The port to ask for in the life after this one, where the one that the plan prefers could not be used.
    fn preferred_next(&self, name: &Name) -> Option<Port> {
        let ports = self.lock();
        let port = ports.iter().find(|port| port.name == *name);
        port.filter(|port| port.is_rebound)
            .map(|port| port.lease.port)
    }

    /// The same life, that was thought to be over.
    pub(super) fn resumed(&self) -> Self {
        Self {
            epoch: self.epoch,
            ttl: self.ttl,
            warnings: self.warnings.clone(),
            ports: Mutex::new(self.ports()),
            loss: OnceLock::new(),
        }
    }
}

/// The requests of a node to the registry.
#[derive(Debug, Clone)]
pub(super) struct NodeRequests {
    pub(super) client: Client,
    pub(super) plan: Arc<Plan>,
}

impl NodeRequests {
    /// Begins a life, the one after `before`: the node, its ports, and its buses but those that wait for a port. What was
    /// done of it is taken back if something fails.
    pub(super) async fn register(
        &self,
        before: Option<&Registration>,
    ) -> Result<(Registration, Tenure), Error> {
        let asked = Asked::now(fresh());
        let ttl = self.plan.request.ttl.unwrap_or(Ttl::DEFAULT);
        let until = asked.sent + Duration::from_millis(ttl.millis());
        let request = RegisterRequest {
            request_id: Some(asked.id),
            ..self.plan.request.clone()
        };
        let reply: RegisterReply = self
            .client
            .insist(Endpoint::NodeRegister, &request, until, Error::may_be_done)
            .await?;
        let (grace, now) = (self.plan.grace, BootTime::now());
        let tenure = Tenure::granted(asked, reply.ttl, reply.revision, grace, now);
        let epoch = reply.epoch;
        match self.lease_and_announce(reply, tenure, before).await {
            Ok(begun) => Ok(begun),
            Err(error) => {
                // As well as it can be done: it ends by itself.
                let _ = self.deregister(epoch).await;
                Err(error)
            }
        }
    }

    async fn lease_and_announce(
        &self,
        reply: RegisterReply,
        tenure: Tenure,
        before: Option<&Registration>,
    ) -> Result<(Registration, Tenure), Error> {
        let mut ports = Vec::new();
        for port in &self.plan.ports {
            let rebound = before.and_then(|before| before.preferred_next(&port.name));
            let request = LeaseRequest {
                preferred_port: rebound.or(port.request.preferred_port),
                ..port.request.clone()
            };
            let lease = self.lease(port, &request, tenure.until()).await?;
            ports.push(Leased {
                name: port.name.clone(),
                lease,
                open: false,
                rebinding: None,
                is_rebound: rebound.is_some(),
            });
        }
        let mut registration = Registration {
            epoch: reply.epoch,
            ttl: reply.ttl,
            warnings: reply.warnings,
            ports: Mutex::new(ports),
            loss: OnceLock::new(),
        };
        for bus in self.plan.buses.iter().filter(|bus| bus.at.is_none()) {
            let request = bus.request.clone();
            let reply = self.announce_bus(request, tenure.until()).await?;
            registration.warnings.extend(reply.warnings);
            // The registry has seen no more than what was left.
            let pointer = format!("bus {}: /endpoint_uri", bus.request.bus_id);
            registration
                .warnings
                .extend(bus.request.endpoint_uri.warning(&pointer));
        }
        if tenure.until() <= BootTime::now() {
            return Err(Error::TimedOut {
                endpoint: Endpoint::NodeRegister,
                after: Duration::from_millis(registration.ttl.millis()),
            });
        }
        Ok((registration, tenure))
    }

    async fn lease(
        &self,
        port: &PortPlan,
        request: &LeaseRequest,
        until: BootTime,
    ) -> Result<LeaseReply, Error> {
        let request = LeaseRequest {
            request_id: Some(fresh()),
            ..self.client.with_own_holder(request)
        };
        tracing::debug!(port = %port.name, "leasing a port");
        self.client
            .insist(Endpoint::PortLease, &request, until, Error::may_be_done)
            .await
    }

    async fn announce_bus(
        &self,
        request: BusRegisterRequest,
        until: BootTime,
    ) -> Result<BusReply, Error> {
        let request = BusRegisterRequest {
            request_id: Some(fresh()),
            ..request
        };
        self.client
            .insist(Endpoint::BusRegister, &request, until, Error::may_be_done)
            .await
    }

    /// Whether any other port than the one that was asked for will do.
    pub(super) fn may_change(&self, name: &Name) -> bool {
        let mut ports = self.plan.ports.iter().filter(|port| port.name == *name);
        ports.all(|port| port.request.exact != Some(true))
    }

    /// Another port in place of the one of that name, which nobody listens on yet.
    pub(super) async fn another_port(
        &self,
        registration: &Registration,
        name: &Name,
        until: BootTime,
    ) -> Result<LeaseReply, Error> {
        let plan = self.plan.ports.iter().find(|port| port.name == *name);
        let plan = plan.ok_or_else(|| no_such_port(name.as_str()))?;
        let request = LeaseRequest {
            preferred_port: None,
            ..plan.request.clone()
        };
        let lease = self.lease(plan, &request, until).await?;
        registration.change(name, |port| {
            port.lease.clone_from(&lease);
            port.open = false;
            port.rebinding = None;
        });
        Ok(lease)
    }

    /// Another port for the lease of the one of that name. Where that was announced the registry changes it itself.
    pub(super) async fn rebind(
        &self,
        registration: &Registration,
        name: &Name,
        until: BootTime,
    ) -> Result<Port, Error> {
        let (lease, rebinding) = registration.rebinding(name)?;
        let rebound = self.client.rebound(&lease, rebinding, until).await;
        if is_settled(&rebound) {
            registration.change(name, |port| {
                port.rebinding = port.rebinding.filter(|begun| *begun != rebinding);
            });
        }
        let (lease, new) = rebound?;
        registration.change(name, |port| {
            // Another lease may have taken its place meanwhile.
            let is_its = port.lease.lease_id == lease.lease_id;
            if is_its && port.lease.revision <= lease.revision {
                port.lease.clone_from(&lease);
                port.is_rebound = true;
            }
        });
        Ok(new)
    }

    /// Finds out what came of a rebind of the port of that name whose answer was lost: it is asked for again as the same.
    pub(super) async fn settle(
        &self,
        registration: &Registration,
        name: &Name,
        until: BootTime,
    ) -> Result<(), Error> {
        let mut ports = registration.ports().into_iter();
        let begun = ports.find(|port| port.name == *name && port.rebinding.is_some());
        if begun.is_none() {
            return Ok(());
        }
        match self.rebind(registration, name, until).await {
            Err(error) if error.may_be_done() => Err(error),
            // It was done, or will not be: a refusal of the same request says so.
            Ok(_) | Err(_) => {
                registration.change(name, |port| port.rebinding = None);
                Ok(())
            }
        }
    }

    /// Says that the port of that name is listened on, and the buses that are reached there.
    pub(super) async fn open(
        &self,
        registration: &Registration,
        name: &Name,
        until: BootTime,
    ) -> Result<(), Error> {
        registration.change(name, |port| port.open = true);
        let mut request = RegisterRequest {
            epoch: Some(registration.epoch),
            request_id: Some(fresh()),
            ..self.plan.request.clone()
        };
        let ports = registration.ports();
        let open = ports.iter().filter(|port| port.open);
        request.inbound_ports.extend(open.map(|port| InboundPort {
            name: port.name.clone(),
            port: port.lease.port,
            protocol: port.lease.protocol.clone(),
            lease_id: Some(port.lease.lease_id),
            endpoint_uri: None,
            dynamic: true,
        }));
        let _: RegisterReply = self
            .client
            .insist(Endpoint::NodeRegister, &request, until, Error::may_be_done)
            .await?;
        for port in ports.iter().filter(|port| port.name == *name) {
            for (bus, address) in self.plan.buses_at(name) {
                let uri = address(&port.lease).try_into();
                let wrong = |wrong: Invalid| Error::unfit("/endpoint_uri", wrong.0);
                let request = BusRegisterRequest {
                    endpoint_uri: uri.map_err(wrong)?,
                    lease_id: Some(port.lease.lease_id),
                    ..bus.clone()
                };
                self.announce_bus(request, until).await?;
            }
        }
        Ok(())
    }

    /// Gives one port back.
    pub(super) async fn release(&self, lease_id: LeaseId, until: BootTime) -> Result<(), Error> {
        let request = ReleaseRequest {
            requester_id: self.plan.request.requester_id,
            lease_id,
            request_id: Some(fresh()),
            min_revision: None,
        };
        let released = self
            .client
            .insist(Endpoint::PortRelease, &request, until, Error::retryable);
        released.await.map(|_: ReleaseReply| ())
    }

    /// Ends the life of that epoch.
    pub(super) async fn deregister(&self, epoch: u64) -> Result<DeregisterReply, Error> {
        let request = DeregisterRequest {
            node_id: self.plan.request.node_id.clone(),
            requester_id: self.plan.request.requester_id,
            epoch,
            request_id: Some(fresh()),
            min_revision: None,
        };
        let ttl = self.plan.request.ttl.unwrap_or(Ttl::DEFAULT);
        let until = BootTime::now() + Duration::from_millis(ttl.millis());
        self.client
            .insist(
                Endpoint::NodeDeregister,
                &request,
                until.max(BootTime::now() + self.client.timeout()),
                Error::retryable,
            )
            .await
    }
}

/// The node has no leased port of that name.
pub(super) fn no_such_port(name: &str) -> Error {
    let message = format!("{name:?} is not a leased port of this node");
    Error::unfit("/inbound_ports/name", message)
}
