//! The settings that all instances share, under `sys` in the bucket.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    domain::{
        key::{Key, Revision},
        record::{FORMAT, Stored, Sys},
        write::Write,
    },
    store::{Store, Written},
};

use super::{barrier::Barrier, mirror::Mirror, settings::Settings, start::StartError};

/// How often they are tried to be written.
const SETTINGS_TRIES_MAX: usize = 20;

/// Makes the settings under `sys` in a new bucket, and raises the longest TTL where this instance
/// allows a longer one.
pub(super) async fn ensure_settings(
    store: &Store,
    mirror: &Mirror,
    barrier: &Barrier,
    settings: &Settings,
) -> Result<(), StartError> {
    for _ in 0..SETTINGS_TRIES_MAX {
        let (known, used) = mirror.with(|core| (core.index.sys().cloned(), core.index.is_used()));
        let (expected, sys) = match known {
            Some((_, sys)) if sys.ttl_max >= settings.ttl_max => return Ok(()),
            Some((revision, sys)) => (
                revision,
                Sys {
                    ttl_max: settings.ttl_max,
                    ..sys
                },
            ),
            None if used => return Err(StartError::NoSettings(settings.namespace.bucket())),
            None => {
                let sys = Sys {
                    format: FORMAT,
                    lineage: 0,
                    ttl_max: settings.ttl_max,
                    unknown: BTreeMap::default(),
                };
                (Revision::default(), sys)
            }
        };
        let write = Write {
            key: Key::Sys,
            expected,
            value: Stored::Sys(sys),
        };
        let written = store.write(std::slice::from_ref(&write)).await;
        tracing::debug!(?written, "settings");
        if written == Written::Unsent {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Behind it the index knows the settings, of this write or of the one that won.
        barrier.pass().await;
    }
    Err(StartError::Settings)
}
