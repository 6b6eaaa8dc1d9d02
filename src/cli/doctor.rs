//! `onex doctor`: looks at a registry's store.

use std::path::PathBuf;

use clap::Args;

use crate::{
    connect::Options,
    embedded,
    registry::{self, Accepted, DoctorError, Report, settings::Settings},
};

use super::{
    connection::{FLAGS, Flags, Target},
    failure::{Exit, Failure},
    notes, notes_of,
    output::{Output, Table, plain},
    serve::{embedded_options, is_about_data},
    session,
    store::Store,
};

/// Look at the store of a registry, and say whether one starts on it.
///
/// Finds the store as `onex serve` does: without --nats and --context that is the one of a NATS server of its own, which must
/// not be running. It changes nothing but with --accept-restore.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex doctor --nats nats://127.0.0.1:4222 --accept-restore")]
pub(super) struct Doctor {
    /// Go on from what the store says, though more was known: it was restored from a backup, or made anew. Stop every
    /// instance first. Nothing is granted for the longest TTL, because those who hold what is lost may use it until then.
    #[arg(long)]
    accept_restore: bool,
    /// All that held a lease have been started again since, so that leases are granted at once.
    #[arg(long, requires = "accept_restore")]
    holders_restarted: bool,
    /// The data of a registry that starts a NATS server of its own.
    #[arg(long, env = "ONEX_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    store: Store,
}

impl Doctor {
    pub(super) async fn run(self, flags: &Flags, output: Output) -> Result<Exit, Failure> {
        let host = crate::client::own_host();
        let host = host.map_err(|error| Failure::usage(crate::chain(&error)))?;
        let mut settings = Settings {
            namespace: flags.namespace(),
            ..Settings::on(host)
        };
        if let Some(target) = flags.named()? {
            settings.store = self.store.options(&target.options);
            settings.notes = notes_of(&settings, &target.options);
            return self.examine(settings, target, output).await;
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
        let nats = Options::at(server.url());
        let target = Target::of(nats, "started for this".to_owned(), Vec::new(), &FLAGS);
        let done = self.examine(settings, target, output).await;
        server.stop().await;
        done
    }

    async fn examine(
        self,
        settings: Settings,
        target: Target,
        output: Output,
    ) -> Result<Exit, Failure> {
        let doctor = registry::Doctor::new(settings, target.options.clone());
        let store = self.store.target(&target.options);
        let failed = |error| failed(&error, &target, store.as_ref());
        if self.accept_restore {
            let accepted = doctor.accept_restore(self.holders_restarted).await;
            return show_accepted(&accepted.map_err(failed)?, output);
        }
        let report = doctor.examine().await.map_err(failed)?;
        show(&report, output)?;
        match &report.refused {
            None => Ok(Exit::Done),
            Some(why) => Err(Failure::new(Exit::Failed, "STORE_CHANGED", why.as_str())),
        }
    }
}

/// Why the store cannot be looked at. Where a server is not reached, that is told as everywhere, of the one that it is.
fn failed(error: &DoctorError, bus: &Target, store: Option<&Target>) -> Failure {
    let unreached = match error {
        DoctorError::Connect(error) => Some((error, bus)),
        DoctorError::Store(onex_log::Error::Connect(error)) => Some((error, store.unwrap_or(bus))),
        _ => None,
    };
    if let Some((error, target)) = unreached {
        return session::unconnected(error, target);
    }
    let message = plain(&crate::chain(error)).into_owned();
    Failure::new(Exit::Failed, "STORE_UNAVAILABLE", message)
}

fn show_accepted(accepted: &Accepted, output: Output) -> Result<Exit, Failure> {
    output.show(
        accepted,
        |accepted| vec![accepted.revision.to_string()],
        |accepted, _| {
            let granted = match accepted.quiet_ms.div_ceil(1_000) {
                0 => "at once".to_owned(),
                seconds => format!("{seconds} s after the registry has started"),
            };
            let table = Table::values()
                .row(["Known revision", &accepted.known.to_string()])
                .row(["Goes on at revision", &accepted.revision.to_string()])
                .row(["Leases are granted", &granted]);
            vec![table.into()]
        },
    )?;
    Ok(Exit::Done)
}

fn show(report: &Report, output: Output) -> Result<(), Failure> {
    output.show(
        report,
        |report| vec![report.bucket.clone()],
        |report, _| {
            let number =
                |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let id = report
                .store_id
                .map_or_else(|| "-".to_owned(), |id| id.to_string());
            let noted = report.noted.as_ref().map(|note| note.revision);
            let size = format!("{} of {} bytes", report.bytes, report.bytes_max);
            let table = Table::values()
                .row(["Bucket", &report.bucket])
                .row(["Store id", &id])
                .row(["Created", &report.created_at.to_string()])
                .row(["Revision", &number(report.revision)])
                .row(["Last position", &report.sequence.to_string()])
                .row(["Entries", &report.messages.to_string()])
                .row(["Size", &size])
                .row(["Last event", &number(report.event_revision)])
                .row(["Noted here", &number(noted)]);
            vec![table.into()]
        },
    )
}
