//! `onex port resolve`

use clap::Args;

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::Table,
        session::Session,
    },
    domain::ids::{Host, Label, Name},
    protocol::port::{LeaseReply, ResolveRequest},
};

use super::list::Page;

/// Finds what to connect to: the live leases of a name, or with a label.
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
    #[arg(long, value_name = "NAME")]
    host: Option<Host>,
    #[command(flatten)]
    page: Page,
}

impl Resolve {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ResolveRequest {
            name: self.word.or(self.name),
            label: self.label,
            host: self.host,
            limit: self.page.limit(),
            ..ResolveRequest::default()
        };
        let found = session.client.all(&request).await;
        let found = session.settle(found).await?;
        session
            .output
            .show(&found, |found| vec![table(&found.items)])?;
        if found.items.is_empty() {
            session.output.note("Nobody holds such a lease.");
        }
        Ok(Exit::Done)
    }
}

fn table(leases: &[LeaseReply]) -> Table {
    let header = ["ADDRESS", "TRANSPORT", "PROTOCOL", "NAME", "LABELS"];
    Table::new(&header)
        .rows(leases, |lease| {
            let host = lease.host.as_str();
            let address = if host.contains(':') {
                format!("[{host}]:{}", lease.port)
            } else {
                format!("{host}:{}", lease.port)
            };
            let labels: Vec<_> = lease.labels.iter().map(Label::as_str).collect();
            [
                address,
                lease.transport.to_string(),
                lease.protocol.to_string(),
                lease
                    .name
                    .as_ref()
                    .map_or("-", |name| name.as_str())
                    .to_owned(),
                labels.join(", "),
            ]
        })
        .whole(0)
}
