//! The way to a registry's store for commands that need no registry: the store is found as `onex serve` finds it.

use std::path::PathBuf;

use clap::Args;

use crate::{connect::Options, embedded, registry::settings::Settings};

use super::{
    connection::Flags,
    failure::{Exit, Failure},
    notes, notes_of,
    serve::{embedded_options, is_about_data},
    store::Store,
};

/// Where the store is.
#[derive(Debug, Args)]
pub(super) struct StoreAccess {
    /// The data of a registry that starts a NATS server of its own [default: that of `onex serve`].
    #[arg(long, env = "ONEX_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    store: Store,
}

/// A store that can be reached.
pub(super) struct Access {
    pub(super) settings: Settings,
    pub(super) nats: Options,
    server: Option<embedded::Server>,
}

impl StoreAccess {
    /// The store on a running server; where none is named that of a server of its own, which is started for it.
    pub(super) async fn open(&self, flags: &Flags) -> Result<Access, Failure> {
        let host = crate::client::own_host();
        let host = host.map_err(|error| Failure::usage(crate::chain(&error)))?;
        let mut settings = Settings {
            namespace: flags.namespace(),
            ..Settings::on(host)
        };
        if let Some(target) = flags.named()? {
            settings.store = self.store.options(&target.options);
            settings.notes = notes_of(&settings, &target.options);
            return Ok(Access {
                settings,
                nats: target.options,
                server: None,
            });
        }
        if self.store.options(&Options::default()).is_some() {
            return Err(Failure::usage(
                "--store-nats and --store-creds are for a running NATS server: say which with --nats or --context".to_owned(),
            ));
        }
        let usage = |error: anyhow::Error| Failure::usage(crate::chain(error.as_ref()));
        let listen = ([127, 0, 0, 1], 0).into();
        let options = embedded_options(listen, self.data.as_ref()).map_err(usage)?;
        settings.notes = notes(&settings, options.data.display().to_string());
        let server = embedded::Server::start(&options).await;
        let server = server.map_err(|error| {
            let message = crate::chain(&error);
            if is_about_data(&error) {
                Failure::usage(message)
            } else {
                Failure::new(Exit::Failed, "NO_SERVER", message)
            }
        })?;
        Ok(Access {
            settings,
            nats: Options::at(server.url()),
            server: Some(server),
        })
    }
}

impl Access {
    /// Ends what was started for it.
    pub(super) async fn close(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}
