//! `onex port resolve`

use clap::Args;
use onex_types::ids::{Host, Label, Name};

use crate::{
    cli::{
        cells::{listed, said},
        failure::{Exit, Failure},
        host,
        output::{Detail, Table},
        session::Session,
        watch::Listing,
    },
    protocol::port::{LeaseReply, ResolveRequest},
};

use super::rows;

/// Find what to connect to: the live leases of a name, or with a label.
///
/// Finding none is no error: the list is empty then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  onex port resolve api\n  onex port resolve --label blue")]
#[group(id = "what", required = true, multiple = false, args = ["word", "name", "label"])]
pub(in crate::cli) struct Resolve {
    /// The name.
    #[arg(value_name = "NAME")]
    word: Option<Name>,
    /// The name, as a flag.
    #[arg(long)]
    name: Option<Name>,
    /// The label.
    #[arg(long)]
    label: Option<Label>,
    /// Only on this host.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    #[command(flatten)]
    listing: Listing,
}

impl Resolve {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ResolveRequest {
            name: self.word.or(self.name),
            label: self.label,
            host: self.host.map(host::named).transpose()?,
            limit: self.listing.limit(),
            ..ResolveRequest::default()
        };
        let found = self
            .listing
            .show(
                session,
                request,
                rows::COLUMNS,
                |found| found.items.iter().map(address).collect(),
                |found, detail| vec![table(&found.items, detail).into()],
            )
            .await?;
        if found.is_some_and(|found| found.items.is_empty()) {
            session.output.note("Nobody holds such a lease.");
        }
        Ok(Exit::Done)
    }
}

/// What to connect to.
fn address(lease: &LeaseReply) -> String {
    let host = lease.host.as_str();
    if host.contains(':') {
        return format!("[{host}]:{}", lease.port);
    }
    format!("{host}:{}", lease.port)
}

fn table(leases: &[LeaseReply], detail: Detail) -> Table {
    let mut header = vec!["ADDRESS", "TRANSPORT", "PROTOCOL", "NAME", "LABELS"];
    if detail.is_wide() {
        header.extend(["NODE", "LEFT", "LEASE ID"]);
    }
    Table::new(&header).rows(leases, |lease| {
        let mut cells = vec![
            address(lease),
            lease.transport.to_string(),
            lease.protocol.to_string(),
            said(lease.name.as_ref()),
            listed(&lease.labels),
        ];
        if detail.is_wide() {
            cells.extend([
                said(lease.node_id.as_ref()),
                rows::left(lease.expires_in_ms),
                lease.lease_id.to_string(),
            ]);
        }
        cells
    })
}
