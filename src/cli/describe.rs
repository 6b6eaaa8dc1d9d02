//! `onex describe`: the registry itself, or a node.

use clap::Args;
use onex_types::ids::NodeId;

use crate::protocol::{
    describe::{DescribeReply, DescribeRequest},
    node_view::Section,
};

use super::{
    bus,
    failure::{Exit, Failure},
    node,
    output::{Block, Detail, Lines, NOTHING, SECTION_INDENT, Table, at, span, word},
    parse, pool,
    session::Session,
    tool, watch,
};

/// Lines of each table, unless all is to be seen or that table is asked for.
const ROWS_SHOWN_MAX: usize = 10;

/// The sections of a registry, and what lists all that one shows.
const LISTS: [(Section, &str, &str); 4] = [
    (Section::Ports, "POOLS", "onex pool list"),
    (Section::Node, "NODES", "onex node list"),
    (Section::Tools, "TOOLS", "onex tool list"),
    (Section::Buses, "BUSES", "onex bus list"),
];

/// Describe the registry, its instances and what it has; or one node.
///
/// Tables of the registry show their first ten lines: `-o wide`, or `--section` with the name of one, shows
/// all.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex describe -o json\n  onex describe --section tools\n  \
        onex describe --node calc.1 --section trust"
)]
pub(super) struct Describe {
    /// Describe this node.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Only this: of the registry ports, node, tools or buses, of a node also schema and trust; may be given
    /// several times.
    #[arg(long = "section", value_name = "SECTION", value_parser = parse::section)]
    sections: Vec<Section>,
}

impl Describe {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if let Some(node_id) = self.node {
            return node::describe(session, node_id, self.sections).await;
        }
        let sections = self.sections;
        let known = |section: &&Section| LISTS.iter().any(|(other, ..)| other == *section);
        if let Some(other) = sections.iter().find(|section| !known(section)) {
            let name = word(other);
            let message = format!("--section {name} is of a node: say which with --node");
            return Err(Failure::usage(message));
        }
        let request = DescribeRequest {
            sections: Some(sections.clone()).filter(|sections| !sections.is_empty()),
            limit: watch::most(),
            ..DescribeRequest::default()
        };
        let reply = session.all(&request).await?;
        session.output.show(
            &reply,
            |reply| vec![reply.registry.registry_id.to_string()],
            |reply, detail| blocks(reply, &sections, detail),
        )?;
        Ok(Exit::Done)
    }
}

fn blocks(reply: &DescribeReply, sections: &[Section], detail: Detail) -> Vec<Block> {
    let mut blocks = Vec::new();
    let most = if sections.is_empty() && !detail.is_wide() {
        ROWS_SHOWN_MAX
    } else {
        usize::MAX
    };
    if sections.is_empty() {
        let count = reply.instances.len();
        blocks.extend([
            summary(reply).into(),
            Block::Heading(format!("INSTANCES ({count})")),
            Block::Table(instances(reply), SECTION_INDENT),
        ]);
    }
    for (section, heading, list) in LISTS {
        if !sections.is_empty() && !sections.contains(&section) {
            continue;
        }
        let (count, table) = match section {
            Section::Ports => (
                reply.pools.len(),
                pool::table(first(&reply.pools, most), detail),
            ),
            Section::Node => (
                reply.nodes.len(),
                node::table(first(&reply.nodes, most), detail),
            ),
            Section::Tools => (
                reply.tools.len(),
                tool::table(first(&reply.tools, most), detail),
            ),
            Section::Buses => (
                reply.buses.len(),
                bus::table(first(&reply.buses, most), detail),
            ),
            Section::Schema | Section::Trust => continue,
        };
        let shown = if count > most {
            format!("{count}, the first {most}; `{list}` has all")
        } else {
            count.to_string()
        };
        blocks.push(Block::Heading(format!("{heading} ({shown})")));
        blocks.push(if count == 0 {
            Lines::paragraphs(SECTION_INDENT, "none").into()
        } else {
            Block::Table(table, SECTION_INDENT)
        });
    }
    blocks
}

fn first<T>(items: &[T], most: usize) -> &[T] {
    items.get(..most).unwrap_or(items)
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
        .row(["Started", &at(registry.started_at)])
        .row(["Longest TTL", &span(registry.ttl_max.millis())])
        .row([
            "Live leases",
            &format!("{} (hosts with a pool: {})", counts.leases, counts.hosts),
        ])
        .row(["Live nodes", &counts.nodes.to_string()])
        .row(["Tools", &counts.tools.to_string()])
        .row(["Active buses", &counts.buses.to_string()])
        .row(["Events waiting", &counts.events_waiting.to_string()])
        .row([
            "Revision",
            &format!("{} (lineage {})", reply.revision, registry.lineage),
        ])
}

fn instances(reply: &DescribeReply) -> Table {
    let unknown = || NOTHING.to_owned();
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
