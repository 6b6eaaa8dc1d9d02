//! What a node says of itself, and how it goes on.

use std::{str::FromStr, sync::Arc, time::Duration};

use onex_machine::{is_loopback, own_host};
use onex_protocol::{
    bounds::parse_version,
    bus::BusRegisterRequest,
    node::{InboundPort, NodeType, RegisterRequest},
    port::{LeaseReply, LeaseRequest},
    tool::Tool,
};
use onex_types::ids::{Invalid, Name, NodeId, Port, RequesterId, Ttl};
use semver::Version;
use serde_json::Value;
use uuid::Uuid;

use crate::Error;

use super::{
    plan::{Address, BusPlan, OnLoss, Plan, PortPlan},
    serve::DRAIN_DEFAULT,
};

/// A node to be. What is wrong with it is said by [`start`](Self::start), with the field: as the registry would where
/// that can be known here, else by the registry.
#[derive(Debug)]
#[must_use = "a node is registered when it is started"]
pub struct NodeBuilder(pub(super) Result<Draft, Error>);

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) plan: Plan,
    version: Option<Version>,
}

impl NodeBuilder {
    pub(super) fn new(id: &str) -> Self {
        let draft = parse::<NodeId>("/node_id", id).map(|node_id| {
            let requester_id = requester_of(&node_id);
            let any = Version::new(0, 0, 0);
            Draft {
                plan: Plan {
                    request: RegisterRequest::new(node_id, any, NodeType::Tool, requester_id),
                    ports: Vec::new(),
                    buses: Vec::new(),
                    offers: Vec::new(),
                    drain: DRAIN_DEFAULT,
                    grace: None,
                    inbox_prefixes: Vec::new(),
                    health: None,
                    on_expired: OnLoss::Rejoin,
                    on_superseded: OnLoss::Stop,
                },
                version: None,
            }
        });
        Self(draft)
    }

    /// After the first thing that is wrong nothing else is looked at.
    pub(super) fn with(self, change: impl FnOnce(&mut Draft) -> Result<(), Error>) -> Self {
        Self(self.0.and_then(|mut draft| {
            change(&mut draft)?;
            Ok(draft)
        }))
    }

    /// Its version, a semantic one. Required.
    pub fn version(self, version: &str) -> Self {
        self.with(|draft| {
            let parsed = parse_version(version);
            draft.version = Some(parsed.map_err(|wrong| Error::unfit("/version", wrong.0))?);
            Ok(())
        })
    }

    /// What it is. Default: it offers tools.
    pub fn node_type(self, node_type: NodeType) -> Self {
        self.announce(|request| request.node_type = node_type)
    }

    /// What it does, for people.
    pub fn description(self, text: &str) -> Self {
        self.with(|draft| {
            let text = text.to_owned().try_into();
            let text = text.map_err(|wrong: Invalid| Error::unfit("/description", wrong.0))?;
            draft.plan.request.description = Some(text);
            Ok(())
        })
    }

    /// A word by which it can be found.
    pub fn tag(self, tag: &str) -> Self {
        self.with(|draft| {
            draft.plan.request.tags.push(parse("/tags", tag)?);
            Ok(())
        })
    }

    /// The machine that it runs on, by the name under which the registry knows its ports. Default: this machine's
    /// host name, in lower case; `localhost` and loopback addresses stand for it.
    pub fn host(self, host: &str) -> Self {
        self.with(|draft| {
            draft.plan.request.host = Some(parse("/host", host)?);
            Ok(())
        })
    }

    /// Seconds that it lasts without a heartbeat, 1 to 86,400; default 60. So long its name and its ports stay taken
    /// when it dies without a word, and so long it goes on while no registry can be reached.
    pub fn ttl(self, seconds: u32) -> Self {
        self.with(|draft| {
            let ttl = Ttl::try_from(seconds);
            draft.plan.request.ttl = Some(ttl.map_err(|wrong| Error::unfit("/ttl", wrong.0))?);
            Ok(())
        })
    }

    /// How long it takes to stop using its ports: so long before a life's time is up [`Life::ending`](super::Life::ending)
    /// resolves. Default: a tenth of the TTL. It counts as half the TTL if it is more: the rest is for heartbeats.
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|draft| {
            draft.plan.grace = Some(grace);
            Ok(())
        })
    }

    /// Who announces it. Default: an id that follows from the node's, so that the program takes its own place when it
    /// is started anew.
    pub fn requester_id(self, requester_id: RequesterId) -> Self {
        self.announce(|request| request.requester_id = requester_id)
    }

    /// A port to lease for it: its name, and what is spoken there. It ends with the node. Others are told of it when
    /// it is listened on: see [`Life::listen`](super::Life::listen). They find it by the name of the node and the port,
    /// `calc.http`, and the node gets the same one again when it is free.
    pub fn port(self, name: &str, protocol: &str) -> Self {
        self.port_like(name, protocol, |_| ())
    }

    /// The same, with what else `adjust` says: a transport, a preferred port, labels. What follows from the node, as its
    /// host, is said by the node.
    pub fn port_like(
        self,
        name: &str,
        protocol: &str,
        adjust: impl FnOnce(&mut LeaseRequest),
    ) -> Self {
        self.with(|draft| {
            let request = &draft.plan.request;
            let name: Name = parse("/inbound_ports/name", name)?;
            let protocol = parse("/inbound_ports/protocol", protocol)?;
            let mut lease = LeaseRequest::new(request.requester_id, protocol);
            // One that is too long for a name goes without: it is a convenience.
            lease.name = format!("{}.{name}", request.node_id).parse().ok();
            adjust(&mut lease);
            draft.plan.ports.push(PortPlan {
                name,
                request: lease,
            });
            Ok(())
        })
    }

    /// A port on which it listens and which is not leased.
    pub fn fixed_port(self, name: &str, protocol: &str, number: u16) -> Self {
        self.with(|draft| {
            let none = || Error::unfit("/inbound_ports/port", "must be 1 to 65535");
            draft.plan.request.inbound_ports.push(InboundPort {
                name: parse("/inbound_ports/name", name)?,
                port: Port::new(number).ok_or_else(none)?,
                protocol: parse("/inbound_ports/protocol", protocol)?,
                lease_id: None,
                endpoint_uri: None,
                dynamic: false,
            });
            Ok(())
        })
    }

    /// A bus that it offers at that address. It ends with the node.
    pub fn bus(self, id: &str, protocol: &str, endpoint_uri: &str) -> Self {
        self.with(|draft| draft.bus(id, protocol, endpoint_uri, None))
    }

    /// A bus that it offers on its leased port of that name; `address` says where that is. Announced when the port is
    /// listened on.
    pub fn bus_on(
        self,
        id: &str,
        protocol: &str,
        port: &str,
        address: impl Fn(&LeaseReply) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|draft| {
            let port: Name = parse("/inbound_ports/name", port)?;
            if !draft.plan.ports.iter().any(|plan| plan.name == port) {
                let message = format!("{port} is not a port of this node: name it before its bus");
                return Err(Error::unfit("/inbound_ports/name", message));
            }
            draft.bus(id, protocol, "-", Some((port, Arc::new(address))))
        })
    }

    /// A tool that others may call: see [`Tool::of`]. To take its calls is the program's part;
    /// [`serve`](Self::serve) does that as well.
    pub fn tool(self, tool: Tool) -> Self {
        self.announce(|request| request.tools.push(tool))
    }

    /// What else it can do, in its own words.
    pub fn capabilities(self, capabilities: Value) -> Self {
        self.announce(|request| request.capabilities = Some(capabilities))
    }

    /// Asked before each heartbeat how the node is; the registry shows the answer. It must be quick, and not larger than
    /// 4 KiB: what is larger is not sent.
    pub fn health(self, health: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.with(|draft| {
            draft.plan.health = Some(Arc::new(health));
            Ok(())
        })
    }

    /// What to do when no heartbeat came through in time, or the registry does not know the node any more. Default:
    /// rejoin.
    pub fn on_expired(self, then: OnLoss) -> Self {
        self.with(|draft| {
            draft.plan.on_expired = then;
            Ok(())
        })
    }

    /// What to do when somebody else has registered the same node. Default: stop. Two that both rejoin take turns.
    pub fn on_superseded(self, then: OnLoss) -> Self {
        self.with(|draft| {
            draft.plan.on_superseded = then;
            Ok(())
        })
    }

    /// Says anything else that there is to say of a node. What belongs to one request only, as its epoch and its
    /// request id, is the node's to say.
    pub fn announce(self, say: impl FnOnce(&mut RegisterRequest)) -> Self {
        self.with(|draft| {
            say(&mut draft.plan.request);
            Ok(())
        })
    }
}

impl Draft {
    fn bus(
        &mut self,
        id: &str,
        protocol: &str,
        endpoint_uri: &str,
        at: Option<(Name, Address)>,
    ) -> Result<(), Error> {
        let uri = endpoint_uri.to_owned().try_into();
        let request = BusRegisterRequest {
            bus_id: parse("/bus_id", id)?,
            protocol: parse("/protocol", protocol)?,
            endpoint_uri: uri.map_err(|wrong: Invalid| Error::unfit("/endpoint_uri", wrong.0))?,
            inbound: true,
            outbound: true,
            requester_id: self.plan.request.requester_id,
            node_id: Some(self.plan.request.node_id.clone()),
            lease_id: None,
            request_id: None,
            min_revision: None,
        };
        self.plan.buses.push(BusPlan { request, at });
        Ok(())
    }

    /// What is said by the node comes last, whatever order it was said in.
    pub(super) fn plan(self) -> Result<Plan, Error> {
        let mut plan = self.plan;
        let missing = || Error::unfit("/version", "is missing: say NodeBuilder::version");
        plan.request.version = self.version.ok_or_else(missing)?;
        // What means this machine is said by its name: a registry on another one would take it for its own.
        if plan.request.host.as_ref().is_none_or(is_loopback) {
            let why =
                |wrong: Invalid| Error::unfit("/host", format!("this machine's name {wrong}"));
            plan.request.host = Some(own_host().map_err(why)?);
        }
        plan.request.epoch = None;
        for port in &mut plan.ports {
            port.request = LeaseRequest {
                requester_id: plan.request.requester_id,
                node_id: Some(plan.request.node_id.clone()),
                host: plan.request.host.clone(),
                ttl: None,
                ..port.request.clone()
            };
        }
        for bus in &mut plan.buses {
            bus.request.requester_id = plan.request.requester_id;
        }
        Ok(plan)
    }
}

fn requester_of(id: &NodeId) -> RequesterId {
    let name = format!("onex:node:{id}");
    RequesterId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
}

fn parse<T: FromStr<Err = Invalid>>(pointer: &str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|wrong: Invalid| Error::unfit(pointer, wrong.0))
}
