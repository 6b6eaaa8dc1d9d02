//! An administrator, who takes leases away, ends nodes, lifts quarantines and changes pools, whatever goes on.

use onex_types::{
    ids::{LeaseId, Port, Reason, Transport},
    key::PortKey,
    ports::PortRange,
};

use crate::{
    command::{Action, Command, Evict, RemoveHost, Revoke, RevokedLease, SetPool, Unquarantine},
    record::PoolPorts,
};

use super::{
    chance::Chance,
    instance::{Asked, PORT_FIRST, PORTS, Person, host},
    process::NODES,
    world::World,
};

pub(super) fn reason() -> Reason {
    "it hangs".parse().unwrap()
}

impl World {
    /// Does something to somebody now and then, at some instance, twice perhaps.
    pub(super) fn administrate(&mut self) {
        if !self.chance.hit(self.faults.administrator) {
            return;
        }
        let leases: Vec<LeaseId> = self.truth.granted.keys().rev().take(4).copied().collect();
        let action = action(&mut self.chance, &leases);
        self.say(|| format!("an administrator asks: {action:?}"));
        for _ in 0..self.chance.between(1, 2) {
            let command = Command {
                id: self.next_command(),
                correlation_id: None,
                action: action.clone(),
            };
            let person = Person::Administrator;
            self.send(Asked { person, ask: 0 }, command);
        }
    }
}

fn some_port(chance: &mut Chance) -> PortKey {
    let offset = chance.index(usize::from(PORTS));
    let number = PORT_FIRST + u16::try_from(offset).unwrap();
    PortKey {
        host: host(),
        transport: Transport::Tcp,
        port: Port::new(number).unwrap(),
    }
}

/// `leases` are the last that were granted.
fn action(chance: &mut Chance, leases: &[LeaseId]) -> Action {
    let reason = reason();
    match chance.below(10) {
        0 | 1 if !leases.is_empty() => Action::Revoke(Box::new(Revoke {
            lease: RevokedLease::Id(leases[chance.index(leases.len())]),
            reason,
        })),
        0..4 => Action::Revoke(Box::new(Revoke {
            lease: RevokedLease::Of(some_port(chance)),
            reason,
        })),
        4 => Action::Unquarantine(Box::new(Unquarantine {
            port: some_port(chance),
            reason,
        })),
        5 | 6 => Action::Evict(Box::new(Evict {
            node_id: NODES[chance.index(NODES.len())].parse().unwrap(),
            epoch: None,
            reason,
        })),
        7 if chance.hit(500) => Action::RemoveHost(Box::new(RemoveHost {
            host: host(),
            reason,
        })),
        7 => Action::DeletePool {
            host: host(),
            expected_revision: None,
        },
        _ => {
            let transports = [None, Some(Transport::Tcp), Some(Transport::Udp)];
            let last = some_port(chance).port;
            Action::SetPool(Box::new(SetPool {
                host: host(),
                transport: transports[chance.index(transports.len())],
                ports: PoolPorts {
                    ranges: vec![PortRange {
                        first: Port::new(PORT_FIRST).unwrap(),
                        last,
                    }],
                    reserved: Vec::new(),
                },
                description: None,
                expected_revision: None,
            }))
        }
    }
}
