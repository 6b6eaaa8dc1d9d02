//! `onex schema`: JSON Schemas of messages, tools and nodes.

use clap::{Args, Subcommand};

use crate::protocol::{
    bounds::Text,
    catalog::{SCHEMA_NAME_CHARS_MAX, SchemaGetRequest, SchemaItem, SchemaKind, SchemaListRequest},
};

use super::{
    failure::{Exit, Failure},
    order::Columns,
    output::{Table, word},
    parse,
    session::Session,
    watch::Listing,
};

/// List and get JSON Schemas.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex schema list --kind tool\n  onex schema get port.lease.request"
)]
pub(super) enum Schema {
    List(List),
    Get(Get),
}

/// List schemas by kind and name: of the registry's own messages, of what the tools of live nodes
/// take and give, and of live nodes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex schema list --kind tool\n  onex schema list --kind message -o name"
)]
pub(super) struct List {
    /// Only of this kind: message, tool or node.
    #[arg(long, value_parser = parse::schema_kind)]
    kind: Option<SchemaKind>,
    #[command(flatten)]
    listing: Listing,
}

/// Get one schema: the output is the schema itself, as JSON unless -o says yaml.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex schema get port.lease.request\n  onex schema get add@1.0.0.input > add.json"
)]
pub(super) struct Get {
    /// Its name, as `onex schema list` shows it.
    #[arg(value_name = "NAME", value_parser = parse::schema_name)]
    name: Text<SCHEMA_NAME_CHARS_MAX>,
    /// Of this kind, where several have that name: message, tool or node.
    #[arg(long, value_parser = parse::schema_kind)]
    kind: Option<SchemaKind>,
}

impl Schema {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Get(get) => get.run(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = SchemaListRequest {
            kind: self.kind,
            limit: self.listing.limit(),
            ..SchemaListRequest::default()
        };
        self.listing
            .show(
                session,
                request,
                COLUMNS,
                |schemas| schemas.items.iter().map(|item| item.name.clone()).collect(),
                |schemas, _| vec![table(&schemas.items).into()],
            )
            .await?;
        Ok(Exit::Done)
    }
}

/// What schemas can be sorted by.
const COLUMNS: Columns = &[
    ("kind", &["kind"]),
    ("name", &["name"]),
    ("title", &["title"]),
];

fn table(schemas: &[SchemaItem]) -> Table {
    Table::new(&["KIND", "NAME", "TITLE"]).rows(schemas, |item| {
        [word(&item.kind), item.name.clone(), item.title.clone()]
    })
}

impl Get {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = SchemaGetRequest {
            name: self.name,
            kind: self.kind,
            min_revision: None,
        };
        let called = session.client.schema(&request).await;
        let reply = session.seen(called).await?;
        session.output.show_json(&reply.schema, &reply.name)?;
        Ok(Exit::Done)
    }
}
