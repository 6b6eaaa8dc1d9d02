//! `onex version`

use clap::Args;
use serde::Serialize;

use crate::protocol::names::PROTOCOL_MINOR;

use super::{
    failure::{Exit, Failure},
    output::{Output, Table},
};

/// Show the version of this program and of the protocol that it speaks. No registry is asked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex version -o json")]
pub(super) struct Version {}

#[derive(Serialize)]
struct Shown {
    version: &'static str,
    protocol: String,
}

impl Version {
    pub(super) fn run(self, output: Output) -> Result<Exit, Failure> {
        let Self {} = self;
        let shown = Shown {
            version: env!("CARGO_PKG_VERSION"),
            protocol: format!("1.{PROTOCOL_MINOR}"),
        };
        output.show(
            &shown,
            |shown| vec![shown.version.to_owned()],
            |shown, _| {
                let table = Table::values()
                    .row(["Version", shown.version])
                    .row(["Protocol", &shown.protocol]);
                vec![table.into()]
            },
        )?;
        Ok(Exit::Done)
    }
}
