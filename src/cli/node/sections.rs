//! A node's description, section by section.

use serde_json::Value;

use crate::{
    cli::{
        bus,
        cells::{hash, listed, said},
        output::{
            Block, Detail, Lines, NOTHING, SECTION_INDENT, Table, UNMEASURED, at, json_line, plain,
            shortened, span, word, yes_or_no,
        },
        port,
        tool::{self, Offer},
    },
    protocol::{
        describe::NodeDescribeReply,
        node::{NodeSchema, OutboundPort, SchemaField},
        node_view::{ListensAt, Liveness, NodeMetadata, NodePorts, NodeTool},
        port::LeaseReply,
        trust::Trust,
    },
};

/// Columns of a node's own JSON that are shown.
const JSON_COLUMNS_MAX: usize = 240;

/// What people are shown of a node.
pub(super) fn blocks(reply: &NodeDescribeReply, detail: Detail) -> Vec<Block> {
    let view = &reply.view;
    let mut blocks = Vec::new();
    if let Some(node) = &view.node {
        blocks.push(Block::Heading(format!("NODE {}", reply.node_id)));
        blocks.extend(metadata(node, detail));
    }
    if let Some(found) = &view.ports {
        blocks.push(Block::Heading("PORTS".to_owned()));
        blocks.extend(ports(found, detail));
    }
    if let Some(found) = &view.schema {
        blocks.push(Block::Heading("SCHEMA".to_owned()));
        blocks.extend(schema(found));
    }
    if let Some(found) = &view.trust {
        blocks.push(Block::Heading("TRUST".to_owned()));
        blocks.push(trust(found, detail));
    }
    if let Some(found) = &view.tools {
        let ended = view
            .node
            .as_ref()
            .is_some_and(|node| node.summary.ended.is_some());
        let count = match found.len() {
            count if count > 0 && ended => format!("{count}, none to be called: it has ended"),
            count => count.to_string(),
        };
        blocks.push(Block::Heading(format!("TOOLS ({count})")));
        blocks.push(tools(found, detail));
    }
    if let Some(found) = &view.buses {
        blocks.push(Block::Heading(format!("BUSES ({})", found.len())));
        blocks.push(if found.is_empty() {
            none()
        } else {
            Block::Table(bus::table(found, detail), SECTION_INDENT)
        });
    }
    blocks
}

fn none() -> Block {
    Lines::paragraphs(SECTION_INDENT, "none").into()
}

fn metadata(node: &NodeMetadata, detail: Detail) -> Vec<Block> {
    let summary = &node.summary;
    let measured = |text: Option<String>| text.unwrap_or_else(|| UNMEASURED.to_owned());
    let rate = node.success_rate;
    let table = Table::values()
        .row(["State", &state(node)])
        .row(["Type", &word(&summary.node_type)])
        .row(["Version", &summary.version.to_string()])
        .row(["Host", &said(summary.host.as_ref())])
        .row([
            "Execution mode",
            &node
                .execution_mode
                .as_ref()
                .map_or_else(|| NOTHING.to_owned(), word),
        ])
        .row(["Tags", &listed(&summary.tags)])
        .row([
            "Registered",
            &format!("{}, epoch {}", at(summary.registered_at), summary.epoch),
        ])
        .row([
            "Heartbeat",
            &node
                .last_heartbeat_at
                .map_or_else(|| "none yet".to_owned(), at),
        ])
        .row(["Health", &own(node.health.as_ref(), detail)])
        .row([
            "Executions",
            &measured(node.execution_count.map(|count| count.to_string())),
        ])
        .row([
            "Success rate",
            &measured(rate.map(|rate| format!("{:.1} %", rate * 100.0))),
        ])
        .row([
            "Last execution",
            &measured(node.last_execution_timestamp.map(at)),
        ]);
    let table = optional(table, node, detail)
        .row(["Requester", &node.requester_id.to_string()])
        .row(["Contract", &hash(&node.contract_hash, detail)]);
    let description = node.description.as_deref().unwrap_or_default();
    vec![
        Lines::paragraphs(SECTION_INDENT, description).into(),
        Block::Table(table, SECTION_INDENT),
    ]
}

/// What few nodes say of themselves: only what was said, unless all is to be seen.
fn optional(table: Table, node: &NodeMetadata, detail: Detail) -> Table {
    let rows = [
        ("Version hash", said(node.version_hash.as_ref())),
        ("Capabilities", own(node.capabilities.as_ref(), detail)),
        ("Graph binding", own(node.graph_binding.as_ref(), detail)),
        ("Owned by", said(node.owned_by_agent.as_ref())),
        ("Followed by", listed(&node.subscribed_by_agents)),
        ("Upstream", listed(&node.upstream_nodes)),
        ("Downstream", listed(&node.downstream_nodes)),
    ];
    rows.into_iter()
        .filter(|(_, text)| detail.is_wide() || text != NOTHING)
        .fold(table, |table, (name, text)| table.row([name, &text]))
}

/// JSON in the node's own words.
fn own(value: Option<&Value>, detail: Detail) -> String {
    let Some(text) = value.and_then(|value| json_line(value).ok()) else {
        return NOTHING.to_owned();
    };
    match detail {
        Detail::Wide => text,
        Detail::Short => shortened(&text, JSON_COLUMNS_MAX).into_owned(),
    }
}

fn state(node: &NodeMetadata) -> String {
    let summary = &node.summary;
    if let (Some(when), Some(how)) = (summary.ended_at, &summary.ended) {
        let ended = format!("ended {} ({})", at(when), word(how));
        return match &summary.reason {
            Some(reason) => format!("{ended}: {}", plain(reason.as_str())),
            None => ended,
        };
    }
    let ttl = span(node.ttl.millis());
    match summary.liveness.known() {
        Some(Liveness::Online) => {
            let left = span(summary.expires_in_ms);
            format!("online, {left} of {ttl} left without a heartbeat")
        }
        Some(Liveness::Expired) => {
            format!("expired: no heartbeat for {ttl}, and about to be ended")
        }
        Some(Liveness::Ended) | None => word(&summary.liveness),
    }
}

fn ports(known: &NodePorts, detail: Detail) -> Vec<Block> {
    let NodePorts {
        inbound,
        outbound,
        leases,
        lease_count,
    } = known;
    let mut parts = Vec::new();
    if !inbound.is_empty() {
        parts.push(("Listens on".to_owned(), listens(inbound, detail)));
    }
    if !outbound.is_empty() {
        parts.push(("Sends to".to_owned(), sends(outbound)));
    }
    if let Some(first) = leases.first() {
        let mut count = lease_count.to_string();
        if leases.len() < *lease_count {
            let shown = leases.len();
            count = format!("{count}, the first {shown}; `onex port list --node` has all");
        }
        let mut heading = format!("Leases that end with it ({count})");
        let together = leases.iter().all(|lease| lease.host == first.host);
        let table = if together && !detail.is_wide() {
            heading = format!("{heading}, on {}", first.host);
            leases_of_a_host(leases)
        } else {
            port::table(leases, detail)
        };
        parts.push((heading, table));
    }
    if parts.is_empty() {
        return vec![none()];
    }
    parts
        .into_iter()
        .flat_map(|(heading, table)| {
            [
                Block::Subheading(heading),
                Block::Table(table, SECTION_INDENT),
            ]
        })
        .collect()
}

fn leases_of_a_host(leases: &[LeaseReply]) -> Table {
    Table::new(&["PORT", "NAME", "PROTOCOL", "LEFT"]).rows(leases, |lease| {
        [
            port::address(lease),
            said(lease.name.as_ref()),
            lease.protocol.to_string(),
            port::left(lease.expires_in_ms),
        ]
    })
}

fn listens(ports: &[ListensAt], detail: Detail) -> Table {
    let mut header = vec!["NAME", "PORT", "PROTOCOL", "DYNAMIC", "LEASE", "ADDRESS"];
    if detail.is_wide() {
        header.push("LEASE ID");
    }
    let table = Table::new(&header).rows(ports, |shown| {
        let (port, lease) = (&shown.port, shown.lease_status.as_ref());
        let mut cells = vec![
            port.name.to_string(),
            port.port.to_string(),
            port.protocol.to_string(),
            yes_or_no(port.dynamic).to_owned(),
            lease.map_or_else(|| NOTHING.to_owned(), word),
            said(port.endpoint_uri.as_ref()),
        ];
        if detail.is_wide() {
            cells.push(said(port.lease_id.map(|id| id.0).as_ref()));
        }
        cells
    });
    [1, 3, 4].into_iter().fold(table, Table::whole)
}

fn sends(ports: &[OutboundPort]) -> Table {
    Table::new(&["NAME", "TOPIC", "PROTOCOL"]).rows(ports, |port| {
        [
            port.name.to_string(),
            port.topic.to_string(),
            port.protocol.to_string(),
        ]
    })
}

fn schema(schema: &NodeSchema) -> Vec<Block> {
    let mut blocks = vec![Block::Table(
        Table::values()
            .row(["Takes a context", yes_or_no(schema.accepts_context)])
            .row(["Keeps state", yes_or_no(schema.modifies_state)])
            .row(["Side effects", &listed(&schema.side_effects)]),
        SECTION_INDENT,
    )];
    for (name, fields) in [("Inputs", &schema.inputs), ("Outputs", &schema.outputs)] {
        if !fields.is_empty() {
            blocks.push(Block::Subheading(name.to_owned()));
            blocks.push(Block::Table(self::fields(fields), SECTION_INDENT));
        }
    }
    blocks
}

fn fields(fields: &[SchemaField]) -> Table {
    Table::new(&["NAME", "TYPE", "REQUIRED", "DESCRIPTION"])
        .rows(fields, |field| {
            [
                field.name.to_string(),
                field.kind.to_string(),
                yes_or_no(field.required).to_owned(),
                said(field.description.as_ref()),
            ]
        })
        .whole(2)
}

/// How far a node is trusted, and why.
pub(in crate::cli) fn trust(trust: &Trust, detail: Detail) -> Block {
    let table = Table::values()
        .row(["State", &word(&trust.trust_state)])
        .row(["Score", &score(trust)])
        .row(["Validated", yes_or_no(trust.validated)])
        .row(["Validators", &listed(&trust.validator_ids)])
        .row(["Failures", &listed(&trust.failure_modes)])
        .row([
            "Lifecycle",
            &trust
                .registry_lifecycle
                .as_ref()
                .map_or_else(|| NOTHING.to_owned(), word),
        ])
        .row(["Reports", &reports(trust)])
        .row(["Rule", &trust.computed.rule])
        .row(["Contract", &hash(&trust.contract_hash, detail)]);
    Block::Table(table, SECTION_INDENT)
}

fn score(trust: &Trust) -> String {
    match trust.trust_score {
        Some(score) => format!("{score:.2}"),
        None => "none: nobody has examined what it is now".to_owned(),
    }
}

/// What the score was computed from.
fn reports(trust: &Trust) -> String {
    let computed = &trust.computed;
    let text = format!("{} passed, {} failed", computed.passed, computed.failed);
    match computed.outdated {
        0 => text,
        outdated => format!("{text}; {outdated} on what it was before, which do not count"),
    }
}

fn tools(tools: &[NodeTool], detail: Detail) -> Block {
    if tools.is_empty() {
        return none();
    }
    let lines = tools.iter().flat_map(|offered| {
        let offer = Offer {
            tool: &offered.tool,
            contract_hash: &offered.contract_hash,
            collision: offered.collision,
        };
        tool::lines(&offer, detail)
    });
    lines.collect::<Lines>().into()
}
