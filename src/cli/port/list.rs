//! `onex port list`

use clap::Args;

use crate::{
    cli::{
        failure::{Exit, Failure},
        parse, requester,
        session::Session,
    },
    domain::ids::{Host, Label, Name, RequesterId},
    protocol::port::{Limit, ListRequest, PAGE_ITEMS_MAX},
};

/// Lists live leases, by host, transport and port, to the end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  onex port list --mine\n  onex port list --label blue -o json")]
pub(in crate::cli) struct List {
    /// Only those that you hold.
    #[arg(long, conflicts_with = "requester")]
    mine: bool,
    /// Only those that this requester holds.
    #[arg(long, value_name = "UUID", value_parser = parse::requester_id)]
    requester: Option<RequesterId>,
    /// Only on this host.
    #[arg(long, value_name = "NAME")]
    host: Option<Host>,
    /// Only of this name.
    #[arg(long)]
    name: Option<Name>,
    /// Only with this label.
    #[arg(long)]
    label: Option<Label>,
    #[command(flatten)]
    page: Page,
}

/// How much is asked for at once.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// Items to ask for at once, 1 to 1000. All come, whatever it is [default: 1000].
    #[arg(long, value_name = "N", value_parser = parse::limit)]
    limit: Option<Limit>,
}

impl Page {
    /// As much as there may be, unless told otherwise.
    pub(super) fn limit(&self) -> Option<Limit> {
        self.limit.or(Limit::try_from(PAGE_ITEMS_MAX).ok())
    }
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let requester_id = if self.mine {
            Some(requester::mine()?)
        } else {
            self.requester
        };
        let request = ListRequest {
            host: self.host,
            requester_id,
            name: self.name,
            label: self.label,
            limit: self.page.limit(),
            ..ListRequest::default()
        };
        let leases = session.client.all(&request).await;
        let leases = session.settle(leases).await?;
        session
            .output
            .show(&leases, |leases| vec![super::table(&leases.items)])?;
        Ok(Exit::Done)
    }
}
