//! What this instance says of its machine in the log, for the others to know: its names and addresses. They stay when the
//! instance stops, so that what a host is called does not depend on who runs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use onex_core::{
    command::{Action, Command},
    host_names::{HostRecord, TellHost},
    state::State,
};
use onex_machine::new_id;
use onex_types::ids::{CommandId, Host};
use tokio::{sync::oneshot, time::sleep};
use uuid::Uuid;

use crate::{
    registry::{
        bus::Bus,
        clock::Clock,
        driver::{Handle, Submitted},
        host_records::{
            LOOK_INTERVAL, is_gone, is_of_another, tell_of_former_names, tell_of_two_hosts,
        },
        own_host::{OwnHost, records},
        request::Completion,
    },
    throttle::LogInterval,
};

/// How long a record may take to be written, in milliseconds.
const WRITE_MILLIS: u64 = 5_000;

/// Tells of this instance's machine.
pub(in crate::registry) struct HostNames {
    pub(in crate::registry) own: Arc<OwnHost>,
    pub(in crate::registry) driver: Handle<Completion>,
    pub(in crate::registry) bus: Bus,
    pub(in crate::registry) clock: Clock,
    /// What was said last, without what others said of the host.
    said: Option<BTreeSet<Host>>,
    /// Whether what others said was left beside that, because they run.
    shared: bool,
    complaints: LogInterval,
}

impl HostNames {
    /// Says it for the first time, before requests are taken.
    pub(in crate::registry) async fn start(
        own: Arc<OwnHost>,
        driver: Handle<Completion>,
        bus: Bus,
        clock: Clock,
    ) -> Self {
        let mut this = Self {
            own,
            driver,
            bus,
            clock,
            said: None,
            shared: false,
            complaints: LogInterval::default(),
        };
        let own = Arc::clone(&this.own);
        let is_anothers = |state: &State| {
            let record = state.host(own.name());
            record.is_some_and(|record| is_outdated(record, &own))
        };
        if this.read(is_anothers) == Some(true) && !this.is_alone() {
            own.heard.tell_of_namesake(own.name());
        }
        this.say().await;
        this.take_over().await;
        this.look_for_former_names();
        this
    }

    /// Says it again whenever it has changed, and before it would be forgotten, for ever.
    pub(in crate::registry) async fn run(mut self) {
        loop {
            let retention = self.read(|state| state.settings().map(|it| it.retention_ms));
            let retention = retention.flatten().map(Duration::from_millis);
            sleep(retention.map_or(LOOK_INTERVAL, |all| LOOK_INTERVAL.min(all / 4))).await;
            let aliases = self.own.machine.aliases();
            let wall = self.clock.now().wall;
            let name = self.own.name();
            let is_old = self.read(|state| state.is_to_be_said_again(name, wall));
            let is_old = is_old.unwrap_or_default();
            if is_old || self.said.as_ref() != Some(&aliases) || !self.stands(&aliases) {
                self.say().await;
            }
        }
    }

    /// What readers see; none where that may be old.
    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> Option<R> {
        self.driver.reads.with(self.clock.now().mono, read)
    }

    /// Whether no other instance runs on this host, or on another machine that is called so.
    fn is_alone(&self) -> bool {
        let now = self.clock.now().mono;
        let others = self.read(|state| self.own.others(state, now));
        others.is_some_and(|others| !others.contains(self.own.name()))
    }

    /// Whether the record says what it should.
    fn stands(&self, aliases: &BTreeSet<Host>) -> bool {
        let alone = self.is_alone();
        let stands = |record: &HostRecord| {
            record.renamed_to.is_none()
                && aliases.is_subset(&record.aliases)
                && !(alone && (self.shared || is_outdated(record, &self.own)))
        };
        let read = |state: &State| state.host(self.own.name()).is_some_and(|it| stands(it));
        self.read(read).unwrap_or(true)
    }

    async fn say(&mut self) {
        let (machine, alone) = (&self.own.machine, self.is_alone());
        let now = self.clock.now().mono;
        let running = self.read(|state| self.own.running(state, now));
        let aliases = machine.aliases();
        let tell = TellHost {
            host: machine.host().clone(),
            said_by: self.own.registry_id,
            port_space: machine.port_space(),
            aliases: aliases.clone(),
            replaces: self.said.clone().unwrap_or_default(),
            alone,
            running: running.unwrap_or_default(),
        };
        if self.decide(Action::TellHost(Box::new(tell))).await {
            self.said = Some(aliases);
            self.shared = !alone;
        } else if self.complaints.admits() {
            tracing::warn!(
                host = %self.own.name(),
                "the names and addresses of this machine cannot be written to the log: other instances do not know them"
            );
        }
    }

    /// What the same machine was called before, by an instance that does not run any more, means this host from now on.
    async fn take_over(&self) {
        let Some(port_space) = self.own.machine.port_space() else {
            return;
        };
        let own = self.own.name();
        let is_same = |host: &Host, record: &HostRecord| {
            host != own
                && record.port_space.as_ref() == Some(&port_space)
                && record.renamed_to.as_ref() != Some(own)
        };
        let others = self.read(|state| {
            let same = records(state).filter(|(host, _, record)| is_same(host, record));
            let others = same.map(|(host, _, record)| (host.clone(), record.said_by));
            others.collect::<Vec<(Host, Uuid)>>()
        });
        let now = self.clock.now().mono;
        let running = self.read(|state| self.own.running(state, now));
        let running = running.unwrap_or_default();
        for (other, said_by) in others.unwrap_or_default() {
            if running.contains(&other) || !is_gone(&self.bus.client(), said_by).await {
                tell_of_two_hosts(own, &other);
                continue;
            }
            let rename = Action::RenameHost {
                host: other.clone(),
                said_by,
                to: own.clone(),
            };
            if self.decide(rename).await {
                tracing::info!(host = %own, before = %other, "this machine's host has another name now");
            }
        }
    }

    /// Leases from before a name meant this host.
    fn look_for_former_names(&self) {
        let own = self.own.name();
        let found = self.read(|state| {
            let mut names = state.names_in_use(own);
            names.remove(own);
            let live = |name: &Host| {
                let ports = state.ports_of(name);
                ports.filter(|key| state.live_lease(key).is_some()).count()
            };
            names.retain(|name| live(name) > 0);
            let leases: usize = names.iter().map(live).sum();
            (names, leases)
        });
        let (names, leases) = found.unwrap_or_default();
        if leases > 0 {
            tell_of_former_names(own, &names, leases);
        }
    }

    /// Whether that was done.
    async fn decide(&self, action: Action) -> bool {
        let (completion, outcome) = oneshot::channel();
        let submitted = Submitted {
            waiter: Some(Completion::Task(completion)),
            command: Command {
                id: CommandId(new_id()),
                correlation_id: None,
                action,
            },
            deadline: self.clock.now().mono.plus(WRITE_MILLIS),
        };
        self.driver.submit(vec![submitted]).await.is_ok()
            && outcome.await.is_ok_and(|outcome| outcome.result.is_ok())
    }
}

/// Whether that was said of another machine, or of this one before it was started anew.
fn is_outdated(record: &HostRecord, own: &OwnHost) -> bool {
    is_of_another(record.port_space.as_ref(), &own.machine)
}
