//! The way to a registry's store for commands that need no registry: the store is found as `onex serve` finds it.

use std::path::PathBuf;

use clap::Args;

use crate::{
    connect::Options,
    embedded,
    registry::{BackupError, Doctor, DoctorError, Unreached, settings::Settings},
};

use super::{
    connection::{FLAGS, Flags, Target},
    failure::{Exit, Failure},
    folders::{notes, notes_of},
    output::plain,
    serve::{embedded_options, is_about_data},
    session,
    store::Store,
    typed,
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
    settings: Settings,
    bus: Target,
    /// Where the log is, where that is not where requests come from.
    store: Option<Target>,
    server: Option<embedded::Server>,
    /// The flags for another command on the same store.
    repeated: String,
}

impl StoreAccess {
    /// The store on a running server; where none is named that of a server of its own, which is started for it. Where there
    /// is no data of one either, and none is to be made, it is looked where every command looks.
    pub(super) async fn open(&self, flags: &Flags, makes_data: bool) -> Result<Access, Failure> {
        let host = onex_machine::own_host();
        let host = host.map_err(|error| Failure::usage(onex_types::chain(&error)))?;
        let mut settings = Settings {
            namespace: flags.namespace(),
            ..Settings::on(host)
        };
        let names_store = self.store.options(&Options::default()).is_some();
        let mut target = flags.named()?;
        if target.is_none()
            && !names_store
            && self.data.is_none()
            && !makes_data
            && !own_data(None)?.data.exists()
        {
            target = Some(flags.target()?);
        }
        if let Some(target) = target {
            settings.store = self.store.options(&target.options);
            settings.notes = notes_of(&settings, &target.options);
            return Ok(Access {
                settings,
                store: self.store.target(&target.options),
                bus: target,
                server: None,
                repeated: self.repeated(flags),
            });
        }
        if names_store {
            return Err(Failure::usage(
                "--store-nats and --store-creds are for a running NATS server: say which with --nats or --context".to_owned(),
            ));
        }
        let options = own_data(self.data.as_ref())?;
        settings.notes = notes(&settings, options.data.display().to_string());
        let server = embedded::Server::start(&options).await;
        let server = server.map_err(|error| {
            let message = onex_types::chain(&error);
            if is_about_data(&error) {
                return Failure::usage(message);
            }
            let failure = Failure::new(Exit::Failed, "NO_SERVER", message);
            match error {
                embedded::Error::DataBusy {
                    port: Some(port), ..
                } => failure.hint(format!(
                    "while that registry runs, look at it with --nats nats://127.0.0.1:{port}"
                )),
                _ => failure,
            }
        })?;
        let nats = Options::at(server.url());
        let started = format!("started for this, on {}", options.data.display());
        Ok(Access {
            settings,
            bus: Target::of(nats, started, Vec::new(), &FLAGS),
            store: None,
            server: Some(server),
            repeated: self.repeated(flags),
        })
    }

    /// The flags for another command on the same store, each behind a space.
    fn repeated(&self, flags: &Flags) -> String {
        let data = self.data.as_ref().map(|data| data.display().to_string());
        let [nats, creds] = self.store.places().map(|(_, place)| place);
        let places = [
            ("--data", data),
            ("--store-nats", nats),
            ("--store-creds", creds),
        ];
        let places = places.into_iter();
        let places = places.filter_map(|(flag, place)| Some(typed::argument((flag, place?))));
        places.fold(flags.repeated(), |repeated, place| repeated + &place)
    }
}

/// A server on that data, else on the default one.
fn own_data(data: Option<&PathBuf>) -> Result<embedded::Options, Failure> {
    let listen = ([127, 0, 0, 1], 0).into();
    let options = embedded_options(listen, data);
    options.map_err(|error| Failure::usage(onex_types::chain(error.as_ref())))
}

impl Access {
    /// Who looks at it, and changes it.
    pub(super) fn doctor(&self) -> Doctor {
        let is_alone = self.server.is_some();
        Doctor::new(self.settings.clone(), self.bus.options.clone(), is_alone)
    }

    /// Which server that is, and why that one.
    pub(super) fn place(&self) -> String {
        format!("{} ({})", self.bus.options.shown(), self.bus.because)
    }

    /// A text, with flags in its commands so that they reach the same store.
    pub(super) fn typed(&self, text: &str) -> String {
        typed::with_nats_flags(
            &typed::with_flags(text, &self.repeated),
            &self.log().for_nats(),
        )
    }

    /// The same for a stream that is where requests come from.
    pub(super) fn typed_for_bus(&self, text: &str) -> String {
        typed::with_nats_flags(
            &typed::with_flags(text, &self.repeated),
            &self.bus.for_nats(),
        )
    }

    /// Where the log is.
    fn log(&self) -> &Target {
        self.store.as_ref().unwrap_or(&self.bus)
    }

    /// Why that could not be done. Where a server is not reached, that is told as everywhere, of the one that it is.
    pub(super) fn failed(&self, error: &DoctorError) -> Failure {
        match error.unreached() {
            Some(Unreached::Bus(error)) => return session::unconnected(error, &self.bus),
            Some(Unreached::Store(error)) => {
                return session::unconnected(error, self.log());
            }
            None => {}
        }
        let message = self.typed(&plain(&onex_types::chain(error)));
        match error {
            DoctorError::Backup(
                BackupError::File { .. }
                | BackupError::NotEmpty(_)
                | BackupError::NotABackup { .. },
            ) => Failure::usage(message),
            _ => Failure::new(Exit::Failed, "STORE_UNAVAILABLE", message),
        }
    }

    /// Ends what was started for it.
    pub(super) async fn close(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}
