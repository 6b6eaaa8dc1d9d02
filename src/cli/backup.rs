//! `onex backup` and `onex restore`: the log of a registry as files, and from files.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::registry::{Accepted, Doctor, DoctorError, Saved};

use super::{
    connection::Flags,
    doctor::granted,
    failure::{Exit, Failure},
    output::{Output, Table},
    store_access::StoreAccess,
};

/// Save all that a registry knows into a folder.
///
/// The registry may run meanwhile: what is decided later is not in it. Finds the store as `onex serve` does: without --nats and
/// --context that is the one of a NATS server of its own, which must not be running; of one that runs, name it with --nats.
/// `nats stream restore` can read what this writes.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex backup --nats nats://127.0.0.1:4222 registry-2026-11-30")]
pub(super) struct Backup {
    /// A folder that is empty, or not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    access: StoreAccess,
}

/// Put back what `onex backup` saved, where the store is gone, and let a registry go on from it.
///
/// Start no registry before. Leases that were granted since the backup are lost, and those who hold them may use their ports
/// until they run out: so nothing is granted for the longest TTL, unless --holders-restarted says that nobody does. What
/// `nats stream backup` has written can be put back as well.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex restore --nats nats://127.0.0.1:4222 registry-2026-11-30")]
pub(super) struct Restore {
    /// The folder that was written.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// All that held a lease have been started again since, so that leases are granted at once.
    #[arg(long)]
    holders_restarted: bool,
    #[command(flatten)]
    access: StoreAccess,
}

/// What was put back, and how it goes on.
#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    saved: Saved,
    #[serde(flatten)]
    accepted: Accepted,
}

impl Backup {
    pub(super) async fn run(self, flags: &Flags, output: Output) -> Result<Exit, Failure> {
        let access = self.access.open(flags, false).await?;
        let saved = access.doctor().backup(&self.folder).await;
        let saved = saved.map_err(|error| access.failed(&error));
        access.close().await;
        let saved = saved?;
        let names = |_: &Saved| vec![self.folder.display().to_string()];
        output.show(&saved, names, |saved, _| vec![table(saved).into()])?;
        Ok(Exit::Done)
    }
}

impl Restore {
    pub(super) async fn run(self, flags: &Flags, output: Output) -> Result<Exit, Failure> {
        let access = self.access.open(flags, true).await?;
        let restored = self.restore(&access.doctor()).await;
        let restored = restored.map_err(|error| access.failed(&error));
        access.close().await;
        let names = |restored: &Restored| vec![restored.accepted.revision.to_string()];
        output.show(&restored?, names, |restored, _| {
            let Restored { saved, accepted } = restored;
            let table = table(saved)
                .row(["Goes on at revision", &accepted.revision.to_string()])
                .row(["Leases are granted", &granted(accepted)]);
            vec![table.into()]
        })?;
        Ok(Exit::Done)
    }

    async fn restore(&self, doctor: &Doctor) -> Result<Restored, DoctorError> {
        let saved = doctor.restore(&self.folder).await?;
        let accepted = doctor.accept_restore(self.holders_restarted).await?;
        Ok(Restored { saved, accepted })
    }
}

fn table(saved: &Saved) -> Table {
    Table::values()
        .row(["Entries", &saved.messages.to_string()])
        .row(["Last position", &saved.sequence.to_string()])
        .row(["Bytes of files", &saved.bytes.to_string()])
}
