//! `onex describe`: the registry itself.

use clap::Args;

use crate::protocol::describe::{DescribeReply, DescribeRequest};

use super::{
    failure::{Exit, Failure},
    output::Table,
    pool,
    session::Session,
};

/// Says what the registry is, which instances share its work, and what it has.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex describe -o json")]
pub(super) struct Describe {}

impl Describe {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let reply = session.client.all(&DescribeRequest::default()).await;
        let reply = session.settle(reply).await?;
        session.output.show(&reply, |reply| {
            vec![summary(reply), instances(reply), pool::table(&reply.pools)]
        })?;
        Ok(Exit::Done)
    }
}

fn summary(reply: &DescribeReply) -> Table {
    let DescribeReply {
        registry, counts, ..
    } = reply;
    let probes = if registry.probes {
        "its ports are tried after a grant"
    } else {
        "its ports are not tried"
    };
    let ttl = super::output::span(registry.ttl_max.millis());
    Table::values()
        .row(["Registry", &registry.registry_id.to_string()])
        .row([
            "Version",
            &format!("{}, protocol {}", registry.version, registry.protocol),
        ])
        .row([
            "Namespace",
            registry.namespace.as_deref().unwrap_or("(default)"),
        ])
        .row(["Host", &format!("{} ({probes})", registry.host)])
        .row(["NATS server", &registry.nats_server])
        .row([
            "Started",
            &registry
                .started_at
                .strftime("%Y-%m-%d %H:%M:%S UTC")
                .to_string(),
        ])
        .row(["Longest TTL", &ttl])
        .row([
            "Live leases",
            &format!("{} (hosts with a pool: {})", counts.leases, counts.hosts),
        ])
        .row(["Events waiting", &counts.events_waiting.to_string()])
        .row([
            "Revision",
            &format!("{} (lineage {})", reply.revision, registry.lineage),
        ])
}

fn instances(reply: &DescribeReply) -> Table {
    let unknown = || "-".to_owned();
    Table::new(&["INSTANCE", "VERSION", "HOST"])
        .rows(&reply.instances, |instance| {
            [
                instance.registry_id.clone(),
                instance.version.clone(),
                instance.host.clone().unwrap_or_else(unknown),
            ]
        })
        .whole(0)
}
