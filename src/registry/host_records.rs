//! What this instance says of its machine in the bucket, for the others to know: its names and addresses. They stay
//! when the instance stops, so that what a host is called does not depend on who runs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    domain::{
        hosts::{HOST_RECORDS_MAX, HostRecord},
        ids::Host,
        key::Key,
        record::Stored,
        write::Write,
    },
    store::Written,
};

use super::{commit::Commit, seldom::Seldom};

/// How often the machine's names and addresses are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);
/// How often a record is tried to be written.
const TRIES_MAX: usize = 5;
/// How long until a record that was written is seen.
const SEEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells of this instance's machine.
pub(super) struct HostRecords {
    commit: Arc<Commit>,
    registry_id: Uuid,
    /// What was said last.
    said: Option<BTreeSet<Host>>,
    complaints: Seldom,
}

impl HostRecords {
    /// Says it for the first time, before requests are taken.
    pub(super) async fn start(commit: Arc<Commit>, registry_id: Uuid) -> Self {
        let mut this = Self {
            commit,
            registry_id,
            said: None,
            complaints: Seldom::default(),
        };
        this.make_room().await;
        this.say().await;
        this.take_over().await;
        this
    }

    /// Says it again whenever it has changed, for ever.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let aliases = self.commit.machine.aliases();
            let host = self.commit.machine.host();
            let stands = self.commit.mirror.with(|core| {
                let record = core.index.hosts.get(host);
                record.is_some_and(|record| record.renamed_to.is_none())
            });
            if !stands || self.said.as_ref() != Some(&aliases) {
                self.say().await;
            }
        }
    }

    async fn say(&mut self) {
        let machine = &self.commit.machine;
        let (host, aliases, port_space) = (machine.host(), machine.aliases(), machine.port_space());
        let written = self
            .write(host, |before| {
                let mut record = before.unwrap_or_else(|| HostRecord::new(self.registry_id));
                record.said_by = self.registry_id;
                record.renamed_to = None;
                // One that is not on the machine's network leaves what is known of it as it is.
                if port_space.is_some() || !aliases.is_empty() {
                    record.aliases.clone_from(&aliases);
                    record.port_space.clone_from(&port_space);
                }
                Some(Stored::Host(record))
            })
            .await;
        if written {
            self.said = Some(aliases);
        } else if self.complaints.may() {
            tracing::warn!(
                %host,
                "the names and addresses of this machine cannot be written to the bucket: other instances do not know them"
            );
        }
    }

    /// What the same machine was called before, by an instance that does not run any more, means this host from now on.
    async fn take_over(&self) {
        let Some(port_space) = self.commit.machine.port_space() else {
            return;
        };
        let own = self.commit.machine.host().clone();
        let others: Vec<Host> = self.commit.mirror.with(|core| {
            let same = core.index.hosts.all().filter(|(host, _, record)| {
                **host != own
                    && record.port_space.as_ref() == Some(&port_space)
                    && record.renamed_to.as_ref() != Some(&own)
            });
            same.map(|(host, ..)| host.clone()).collect()
        });
        let live = self.commit.live_hosts();
        for other in others {
            if live.contains(&other) {
                tracing::warn!(
                    host = %own, %other,
                    "another instance grants ports of this machine under another host: one port may be granted twice. \
                     Start all instances of a machine with the same --host"
                );
                continue;
            }
            let renamed = |before: Option<HostRecord>| {
                Some(Stored::Host(HostRecord {
                    renamed_to: Some(own.clone()),
                    ..before?
                }))
            };
            if self.write(&other, renamed).await {
                tracing::info!(host = %own, before = %other, "this machine's host has another name now");
            }
        }
    }

    /// At the bound the oldest record goes of which no instance runs.
    async fn make_room(&self) {
        let own = self.commit.machine.host();
        let live = self.commit.live_hosts();
        let oldest = self.commit.mirror.with(|core| {
            let hosts = &core.index.hosts;
            if hosts.get(own).is_some() || hosts.all().count() < HOST_RECORDS_MAX {
                return None;
            }
            let idle = hosts.all().filter(|(host, ..)| !live.contains(*host));
            let oldest = idle.min_by_key(|(_, revision, _)| *revision);
            oldest.map(|(host, ..)| host.clone())
        });
        if let Some(host) = oldest {
            tracing::warn!(%host, "too many hosts: what was known of the one that said nothing for longest is dropped");
            self.write(&host, |before| before.map(|_| Stored::Forgotten))
                .await;
        }
    }

    /// Writes what `make` makes of the record that is there; whether it is written and seen.
    async fn write(
        &self,
        host: &Host,
        make: impl Fn(Option<HostRecord>) -> Option<Stored>,
    ) -> bool {
        let Commit {
            store,
            mirror,
            barrier,
            ..
        } = &*self.commit;
        let key = Key::Host(host.clone());
        for _ in 0..TRIES_MAX {
            let (before, seen) = mirror.with(|core| {
                let hosts = &core.index.hosts;
                (hosts.get(host).cloned(), hosts.revision(host))
            });
            let expected = match seen {
                Some(revision) => Some(revision),
                // Nothing, or the marker of one that was removed.
                None => store.locate(&key).await,
            };
            let Some(value) = make(before) else {
                return false;
            };
            let write = Write {
                key: key.clone(),
                expected: expected.unwrap_or_default(),
                value,
            };
            match store.write(std::slice::from_ref(&write)).await {
                Written::At(revision) => {
                    return timeout(SEEN_TIMEOUT, mirror.exact(revision)).await.is_ok();
                }
                Written::Unreadable => return false,
                Written::Lost | Written::Unknown | Written::Unsent => {
                    barrier.pass().await;
                }
            }
        }
        false
    }
}
