//! What this instance says of its machine in the bucket, for the others to know: its names and addresses. They stay
//! when the instance stops, so that what a host is called does not depend on who runs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_nats::Client;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    domain::{
        hosts::{ALIASES_MAX, HOST_RECORDS_MAX, HostRecord},
        ids::Host,
        key::Key,
        record::Stored,
        write::Write,
    },
    machine::Machine,
    store::Written,
};

use super::{commit::Commit, micro, seldom::Seldom, serve::Server};

/// How often the machine's names and addresses are looked at again.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_mins(1);
/// How often a record is tried to be written.
const TRIES_MAX: usize = 5;
/// How long until a record that was written is seen.
const SEEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an instance may take to say that it runs.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells of this instance's machine.
pub(super) struct HostRecords {
    commit: Arc<Commit>,
    registry_id: Uuid,
    /// What was said last, without what others said of the host.
    said: Option<BTreeSet<Host>>,
    /// Whether what others said was left beside that, because they run.
    shared: bool,
    complaints: Seldom,
}

impl HostRecords {
    /// Says it for the first time, before requests are taken.
    pub(super) async fn start(server: &Server, registry_id: Uuid) -> Self {
        let mut this = Self {
            commit: Arc::clone(&server.commit),
            registry_id,
            said: None,
            shared: false,
            complaints: Seldom::default(),
        };
        this.make_room().await;
        this.look_for_namesake();
        this.say().await;
        this.take_over(&server.client).await;
        this.look_for_former_names();
        this
    }

    /// Says it again whenever it has changed, for ever.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let aliases = self.commit.machine.aliases();
            if self.said.as_ref() != Some(&aliases) || !self.stands(&aliases) {
                self.say().await;
            }
        }
    }

    /// Whether no other instance runs on this host, or on another machine that is called so.
    fn is_alone(&self) -> bool {
        let others = self.commit.others_hosts();
        !others.contains(self.commit.machine.host())
    }

    /// Whether the record says what it should.
    fn stands(&self, aliases: &BTreeSet<Host>) -> bool {
        let machine = &self.commit.machine;
        let outdated =
            |record: &HostRecord| self.shared || is_of_another(record.port_space.as_ref(), machine);
        let alone = self.is_alone();
        self.commit.mirror.with(|core| {
            let Some(record) = core.index.hosts.get(machine.host()) else {
                return false;
            };
            record.renamed_to.is_none()
                && aliases.is_subset(&record.aliases)
                && !(alone && outdated(record))
        })
    }

    async fn say(&mut self) {
        let machine = &self.commit.machine;
        let (host, aliases, port_space) = (machine.host(), machine.aliases(), machine.port_space());
        let alone = self.is_alone();
        let written = self
            .write(host, |before| {
                let mut record = before.unwrap_or_else(|| HostRecord::new(self.registry_id));
                record.said_by = self.registry_id;
                record.renamed_to = None;
                // One that is not on the machine's network leaves what is known of it as it is.
                if port_space.is_some() || !aliases.is_empty() {
                    // So is what others say that run.
                    let is_mine = |name: &Host| self.said.iter().any(|said| said.contains(name));
                    record.aliases.retain(|name| !alone && !is_mine(name));
                    let room = ALIASES_MAX.saturating_sub(record.aliases.len());
                    record.aliases.extend(aliases.iter().take(room).cloned());
                    record.port_space.clone_from(&port_space);
                }
                Some(Stored::Host(record))
            })
            .await;
        if written {
            self.said = Some(aliases);
            self.shared = !alone;
        } else if self.complaints.may() {
            tracing::warn!(
                %host,
                "the names and addresses of this machine cannot be written to the bucket: other instances do not know them"
            );
        }
    }

    /// That another machine has this name, as far as its instances have said so before this one started. Those that start
    /// now are heard of later (`peers`).
    fn look_for_namesake(&self) {
        let machine = &self.commit.machine;
        let host = machine.host();
        let anothers = self.commit.mirror.with(|core| {
            let record = core.index.hosts.get(host);
            record.is_some_and(|record| is_of_another(record.port_space.as_ref(), machine))
        });
        if anothers && !self.is_alone() {
            self.commit.heard.tell_of_namesake(host);
        }
    }

    /// Leases from before a name meant this host.
    fn look_for_former_names(&self) {
        let host = self.commit.machine.host();
        let (names, leases) = self.commit.mirror.with(|core| {
            let mut names = core.index.with_former(host);
            names.remove(host);
            let live = |name: &Host| core.index.lookup.live(Some(name), None).count();
            names.retain(|name| live(name) > 0);
            let leases: usize = names.iter().map(live).sum();
            (names, leases)
        });
        if leases > 0 {
            tell_of_former_names(host, &names, leases);
        }
    }

    /// What the same machine was called before, by an instance that does not run any more, means this host from now on.
    async fn take_over(&self, client: &Client) {
        let Some(port_space) = self.commit.machine.port_space() else {
            return;
        };
        let own = self.commit.machine.host().clone();
        let others: Vec<(Host, Uuid)> = self.commit.mirror.with(|core| {
            let same = core.index.hosts.all().filter(|(host, _, record)| {
                **host != own
                    && record.port_space.as_ref() == Some(&port_space)
                    && record.renamed_to.as_ref() != Some(&own)
            });
            same.map(|(host, _, record)| (host.clone(), record.said_by))
                .collect()
        });
        let live = self.commit.live_hosts();
        for (other, said_by) in others {
            if live.contains(&other) || !is_gone(client, said_by).await {
                tell_of_two_hosts(&own, &other);
                continue;
            }
            let renamed = |before: Option<HostRecord>| {
                // Another one may have started there since.
                let before = before.filter(|before| before.said_by == said_by)?;
                Some(Stored::Host(HostRecord {
                    renamed_to: Some(own.clone()),
                    ..before
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

/// Whether that was said of another machine, or of one that has been started anew.
pub(super) fn is_of_another(theirs: Option<&String>, machine: &Machine) -> bool {
    let own = machine.port_space();
    theirs.is_some() && own.is_some() && theirs != own.as_ref()
}

/// Whether that instance does not run any more; not where nobody can tell.
pub(super) async fn is_gone(client: &Client, registry_id: Uuid) -> bool {
    let gone = micro::is_gone(client, registry_id);
    timeout(GONE_TIMEOUT, gone).await.unwrap_or(false)
}

/// The ports of one machine are granted under two hosts.
pub(super) fn tell_of_two_hosts(own: &Host, other: &Host) {
    tracing::warn!(
        host = %own, %other,
        "another instance grants ports of this machine under another host: one port may be granted twice. \
         Start all instances of a machine with the same --host"
    );
}

/// Leases are live from before these names meant this host.
pub(super) fn tell_of_former_names(host: &Host, names: &BTreeSet<Host>, leases: usize) {
    let names: Vec<&str> = names.iter().map(Host::as_str).collect();
    tracing::warn!(
        %host, leases, names = names.join(", "),
        "leases are live under former names of this host: until they end, their ports are held here"
    );
}
