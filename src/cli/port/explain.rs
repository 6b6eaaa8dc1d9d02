//! `onex port explain`

use clap::Args;
use onex_types::{
    ids::{Host, Port, RequesterId, Transport},
    listener::Listener,
};

use crate::{
    cli::{
        cells::{listed, said},
        failure::{Exit, Failure},
        host,
        output::{Block, Detail, Lines, SECTION_INDENT, Table, at, plain, span, word},
        parse, requester,
        session::Session,
    },
    protocol::{
        explain::{ExplainReply, ExplainRequest, LastLease, PastState},
        port::LeaseReply,
    },
};

use super::rows::address;

/// Explain who holds a port, and why it can be had or not.
///
/// Says in a sentence what the port is, and below that who holds it or held it last, until when, who listens on it by
/// the kernel's tables (where a registry runs on that machine), and the next port that is free.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex port explain 20080\n  onex port who 20080 --host build-7\n  \
        onex port explain 20053 --transport udp -o json"
)]
pub(in crate::cli) struct Explain {
    /// The port.
    #[arg(value_parser = parse::port)]
    port: Port,
    /// The machine whose port it is [env: ONEX_HOST] [default: this machine].
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// In which port space: tcp or udp [default: tcp].
    #[arg(long)]
    transport: Option<Transport>,
}

impl Explain {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ExplainRequest {
            port: self.port,
            host: Some(host::meant(self.host)?),
            transport: self.transport,
            min_revision: None,
        };
        let explained = session.client.explain(&request).await;
        let explained = session.seen(explained).await?;
        session.output.show(&explained, names, blocks)?;
        Ok(Exit::Done)
    }
}

/// The lease that holds the port.
fn names(explained: &ExplainReply) -> Vec<String> {
    let lease = explained.lease.iter();
    lease.map(|lease| lease.lease_id.to_string()).collect()
}

fn blocks(explained: &ExplainReply, detail: Detail) -> Vec<Block> {
    let mut table = Table::values().row(["State", &state(explained)]);
    if let Some(lease) = &explained.lease {
        table = of_lease(table, lease, detail);
    }
    if let Some(last) = &explained.last {
        table = of_last(table, last);
    }
    if let Some(listeners) = &explained.in_use {
        table = table.row(["In use", &in_use(listeners)]);
    }
    if let Some(range) = explained.ephemeral_range.filter(|_| detail.is_wide()) {
        table = table.row(["Ephemeral", &format!("{}-{}", range.first, range.last)]);
    }
    table = table.row(["Next free", &said(explained.next_free.as_ref())]);
    let mut blocks = vec![
        Lines::paragraphs(0, &explained.verdict).into(),
        Block::Table(table, SECTION_INDENT),
    ];
    if let Some(history) = explained
        .history
        .as_ref()
        .filter(|history| !history.is_empty())
    {
        blocks.push(Block::Heading(format!("HISTORY ({})", history.len())));
        blocks.push(Block::Table(of_history(history, detail), SECTION_INDENT));
    }
    blocks
}

/// A line for each state, the newest first.
fn of_history(history: &[PastState], detail: Detail) -> Table {
    let mut header = vec!["SINCE", "STATE", "WHO", "WHY"];
    if detail.is_wide() {
        header.extend(["LEASE ID", "REQUESTER", "REVISION"]);
    }
    Table::new(&header).rows(history, |past| {
        let name = said(past.name.as_ref());
        let mut cells = vec![
            at(past.since),
            spaced(&word(&past.state)),
            past.holder.as_ref().map_or(name, ToString::to_string),
            past.reason.clone(),
        ];
        if detail.is_wide() {
            cells.extend([
                said(past.lease_id.as_ref()),
                said(past.requester_id.as_ref()),
                past.revision.to_string(),
            ]);
        }
        cells
    })
}

/// As people write it: `in use`.
fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

fn state(explained: &ExplainReply) -> String {
    let state = spaced(&word(&explained.state));
    let since = explained.since.map(at);
    let since = since.map_or_else(String::new, |since| format!(", since {since}"));
    let left = match explained.expires_in_ms {
        Some(0) => ", due".to_owned(),
        Some(left) => format!(", for another {}", span(left)),
        None => String::new(),
    };
    format!("{state}{since}{left}")
}

fn of_lease(mut table: Table, lease: &LeaseReply, detail: Detail) -> Table {
    if lease.ports.len() > 1 || !lease.transports.is_empty() {
        table = table.row(["Ports", &address(lease)]);
    }
    if let Some(node_id) = &lease.node_id {
        table = table.row(["Node", node_id.as_str()]);
    }
    table = table
        .row(["Holder", &said(lease.holder.as_deref())])
        .row(["Requester", &whose(lease.requester_id)])
        .row(["Name", &said(lease.name.as_ref())])
        .row(["Protocol", lease.protocol.as_str()])
        .row(["Lease", &lease.lease_id.to_string()]);
    if detail.is_wide() {
        table = table
            .row(["Labels", &listed(&lease.labels)])
            .row(["TTL", &span(lease.ttl.millis())])
            .row(["Fencing token", &lease.fencing_token.to_string()]);
    }
    table
}

fn of_last(table: Table, last: &LastLease) -> Table {
    let mut ended = format!("{}, {}", spaced(&word(&last.outcome)), at(last.ended_at));
    if let Some(reason) = &last.reason {
        ended = format!("{ended}: {}", plain(reason.as_str()));
    }
    table
        .row(["Last holder", &said(last.holder.as_deref())])
        .row(["Requester", &whose(last.requester_id)])
        .row(["Name", &said(last.name.as_ref())])
        .row(["Ended", &ended])
}

fn whose(requester_id: RequesterId) -> String {
    if requester::known() == Some(requester_id) {
        return format!("{requester_id} (you)");
    }
    requester_id.to_string()
}

/// Who uses the port: each with its address.
fn in_use(listeners: &[Listener]) -> String {
    if listeners.is_empty() {
        return "by nobody".to_owned();
    }
    let each = listeners.iter();
    let each: Vec<String> = each
        .map(|listener| format!("{} by {listener}", listener.address))
        .collect();
    each.join(", ")
}
