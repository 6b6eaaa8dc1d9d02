//! Which machine a request means, and what is said of one that nobody has named before.

use crate::{
    domain::ids::Host,
    protocol::{
        error::Error,
        port::{LeaseReply, LeaseRequest},
        warning::{Warning, WarningCode},
    },
};

use super::{requests::Caller, serve::Server, shape::Asked};

impl Server {
    /// The request, with the name that leases are kept by in the place of another of that host.
    pub(super) fn resolved<Q: Asked>(&self, mut request: Q) -> Q {
        if let Some(host) = request.host() {
            *host = self.commit.machine.resolve(host.clone());
        }
        request
    }

    /// Grants a port. The first lease on a host that nobody has named says so: the host may be misspelt, or be
    /// another name of a machine whose ports are granted already.
    pub(super) async fn lease(
        &self,
        caller: &Caller,
        request: LeaseRequest,
    ) -> Result<LeaseReply, Error> {
        let host = request.host.clone();
        let host = host.map(|host| self.commit.machine.resolve(host));
        let mut unknown = host.filter(|host| !self.knows_host(host));
        if unknown.is_some() {
            // A grant that was just answered may not be in the index yet.
            self.see(None, caller).await?;
            unknown = unknown.filter(|host| !self.knows_host(host));
        }
        let mut lease = self.commit.lease(caller, request).await?;
        if unknown.is_some_and(|host| host == lease.host) {
            lease.warnings.push(self.unknown_host(&lease.host));
        }
        Ok(lease)
    }

    /// Whether a lease, a node or an instance has named that host.
    fn knows_host(&self, host: &Host) -> bool {
        let by_index = self.commit.mirror.with(|core| {
            let index = &core.index;
            let mut nodes = index.nodes.all(None);
            index.knows_host(host)
                || nodes.any(|seen| seen.node.registration.host.as_ref() == Some(host))
        });
        by_index || {
            let instances = self.peers.known();
            instances
                .iter()
                .any(|instance| instance.host.as_deref() == Some(host.as_str()))
        }
    }

    fn unknown_host(&self, host: &Host) -> Warning {
        let message = format!(
            "host {host:?} is new: no registry runs there, and no node and no lease has named it before. It has \
             ports of its own from now on. If it is another name of a machine that is known, release this lease \
             and use the known name: pool.list shows all hosts, and this registry's is {:?}",
            self.registry.host.as_str(),
            host = host.as_str(),
        );
        Warning::new(WarningCode::HostUnknown, message)
    }
}
