//! What runs have found, each as the few steps that lead there.

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    command::{Action, Answer, Command, Probed, Refusal, Wish},
    core::Core,
    deed::{Deed, Fed, Step},
    ids::{CommandId, Digest, LeaseId, Port, RequestId, RequesterId, Transport, Ttl},
    index::Index,
    key::{Key, PortKey, Revision},
    outbox::Publish,
    policy::Policy,
    pool::PortRange,
    record::{Body, Checkpoint, Ended, FORMAT, Request, Stored},
    time::{Moment, Now},
    write::Write,
};

use super::{store::Store, world::host};

const DEADLINE: u64 = 4_000;

/// A stream, and instances that see of it what the test shows them.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) cores: Vec<Core>,
    pub(super) time: u64,
    ids: u128,
}

impl Bench {
    pub(super) fn new(instances: u128) -> Self {
        let port = Port::new(20_000).unwrap();
        let last = Port::new(20_001).unwrap();
        let core = |n| {
            Core::new(Index::new(Policy {
                registry_id: Uuid::from_u128(n),
                host: host(true),
                probe: true,
                ranges: vec![PortRange { first: port, last }],
                reserved: Vec::new(),
                ttl_max: Ttl::DEFAULT,
                holder_leases_max: 64,
                hosts_max: 4,
                known_hosts_only: false,
                nodes_max: 64,
                buses_max: 64,
                node_bytes_max: 1 << 20,
                retention_millis: 60_000,
                marker_millis: 60_000,
                calls_max: 4,
                calls_kept_millis: 60_000,
            }))
        };
        Self {
            store: Store::default(),
            cores: (1..=instances).map(core).collect(),
            time: 1_000,
            ids: 1_000,
        }
    }

    pub(super) fn id(&mut self) -> CommandId {
        self.ids += 1_000;
        CommandId(Uuid::from_u128(self.ids))
    }

    pub(super) fn now(&self) -> Now {
        Now {
            mono: Moment(self.time),
            micros: 0,
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    pub(super) fn deed(&mut self, action: Action) -> Deed {
        let command = Command {
            id: self.id(),
            correlation_id: None,
            confirmed: false,
            action,
        };
        Deed::new(command, Moment(self.time + DEADLINE))
    }

    pub(super) fn lease(&mut self, request: Option<u128>) -> Deed {
        self.deed(Action::Lease(wish(request)))
    }

    pub(super) fn step(&mut self, instance: usize, deed: &mut Deed, fed: Fed) -> Step {
        let now = self.now();
        deed.step(&mut self.cores[instance], fed, now)
    }

    /// Steps to a write.
    #[track_caller]
    pub(super) fn until_write(&mut self, instance: usize, deed: &mut Deed, fed: Fed) -> Write {
        let mut step = self.step(instance, deed, fed);
        while let Step::Pause(_) = step {
            step = self.step(instance, deed, Fed::Go);
        }
        match step {
            Step::Write(writes) => {
                assert_eq!(writes.len(), 1);
                writes[0].clone()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The write lands.
    #[track_caller]
    pub(super) fn land(&mut self, write: &Write) -> Revision {
        self.store.write(std::slice::from_ref(write), true).unwrap()
    }

    /// Every event up to there is out.
    pub(super) fn published(&mut self, instance: usize, out_to: u64) {
        let expected = Revision(self.store.revision(&Key::Checkpoint));
        let checkpoint = Checkpoint {
            format: FORMAT,
            owner: Uuid::from_u128(instance as u128 + 1),
            out_to,
            unknown: std::collections::BTreeMap::new(),
        };
        self.land(&Write {
            key: Key::Checkpoint,
            expected,
            value: Stored::Checkpoint(checkpoint),
        });
        self.follow(instance);
    }

    /// The instance's follower comes to the end of the stream.
    pub(super) fn follow(&mut self, instance: usize) {
        let now = self.now();
        let core = &mut self.cores[instance];
        let behind = core.index.applied().0 + 1;
        let ahead: Vec<_> = self.store.log.range(behind..).collect();
        for (n, (revision, (key, stored))) in ahead.iter().enumerate() {
            let pending = (ahead.len() - n - 1) as u64;
            core.apply(key, Revision(**revision), stored.clone(), pending, now);
        }
    }
}

pub(super) fn requester() -> RequesterId {
    RequesterId(Uuid::from_u128(7))
}

/// Any port, for two seconds.
pub(super) fn wish(request: Option<u128>) -> Wish {
    Wish {
        requester_id: requester(),
        protocol: "http".parse().unwrap(),
        ttl: Ttl::try_from(2).unwrap(),
        node_id: None,
        epoch: None,
        host: Some(host(true)),
        transport: Transport::Tcp,
        preferred: None,
        exact: false,
        name: None,
        labels: Vec::new(),
        requested_at: None,
        request: request.map(|id| Request {
            id: RequestId(Uuid::from_u128(id)),
            digest: Digest(Uuid::from_u128(id)),
        }),
    }
}

fn port_of(write: &Write) -> PortKey {
    match &write.key {
        Key::Port(key) => key.clone(),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn ended(write: &Write) -> Ended {
    match &write.value {
        Stored::Port(record) => match &record.body {
            Body::Rest(rest) => rest.ended,
            Body::Lease(lease) => panic!("{lease:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_knows_while_the_first_write_is_under_way() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    bench.until_write(0, &mut deed, Fed::Go);
    assert!(deed.is_unsettled());
}

#[test]
fn a_write_that_never_left_does_not_leave_after_the_deadline() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    assert!(matches!(
        bench.step(0, &mut deed, Fed::Unsent),
        Step::Pause(_)
    ));
    assert!(!deed.is_unsettled());
    bench.time += DEADLINE;
    let step = bench.step(0, &mut deed, Fed::Go);
    assert_eq!(step, Step::Done(Err(Refusal::Unreachable)));
    assert!(!deed.is_unsettled());
    assert!(!bench.cores[0].reserved.contains(&write.key));
}

#[test]
fn a_record_that_could_not_be_read_back_is_refused_at_once_and_frees_its_key() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let step = bench.step(0, &mut deed, Fed::Unreadable);
    assert_eq!(step, Step::Done(Err(Refusal::Unreadable)));
    assert!(!deed.is_unsettled());
    assert!(!bench.cores[0].reserved.contains(&write.key));
}

#[test]
fn a_port_in_use_is_given_back_though_its_grant_is_not_seen_yet() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let revision = bench.land(&write);
    let key = port_of(&write);
    let step = bench.step(0, &mut deed, Fed::Written(revision));
    assert_eq!(step, Step::Probe(key.clone()));
    let step = bench.step(0, &mut deed, Fed::Probed(Probed::InUse));
    assert_eq!(
        step,
        Step::Moved(vec![(Key::Port(key), Revision(revision.0 - 1))])
    );
    bench.follow(0);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    assert_eq!(ended(&write), Ended::InUse);
}

#[test]
fn a_lease_that_another_instance_told_of_is_not_taken_back() {
    let mut bench = Bench::new(2);
    let mut first = bench.lease(Some(1));
    let write = bench.until_write(0, &mut first, Fed::Go);
    let revision = bench.land(&write);
    let key = port_of(&write);
    let step = bench.step(0, &mut first, Fed::Written(revision));
    assert_eq!(step, Step::Exact(revision));
    bench.follow(0);
    assert_eq!(bench.step(0, &mut first, Fed::Go), Step::Probe(key.clone()));

    // The same request at another instance: it is told of the lease, and binds the port.
    bench.follow(1);
    let mut again = bench.lease(Some(1));
    let adopt = bench.until_write(1, &mut again, Fed::Go);
    let adopted = bench.land(&adopt);
    let told = bench.step(1, &mut again, Fed::Written(adopted));
    let Step::Done(Ok(Answer::Lease(held))) = told else {
        panic!("{told:?}");
    };
    assert_eq!((held.revision, held.key), (adopted, key.clone()));

    let step = bench.step(0, &mut first, Fed::Probed(Probed::InUse));
    assert_eq!(
        step,
        Step::Moved(vec![(Key::Port(key.clone()), Revision(revision.0 - 1))])
    );
    let end = bench.until_write(0, &mut first, Fed::Go);
    assert!(
        bench
            .store
            .write(std::slice::from_ref(&end), true)
            .is_none()
    );
    assert_eq!(
        bench.step(0, &mut first, Fed::Lost),
        Step::Moved(vec![(Key::Port(key), revision)])
    );
    bench.follow(0);
    assert!(matches!(bench.step(0, &mut first, Fed::Go), Step::Pause(_)));
    let outcome = bench.step(0, &mut first, Fed::Go);
    assert!(
        matches!(&outcome, Step::Done(Ok(Answer::Lease(same))) if same.lease == held.lease),
        "{outcome:?}"
    );
}

#[test]
fn a_grant_whose_acknowledgement_was_lost_is_judged_and_tried_as_well() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(Some(1));
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let revision = bench.land(&write);
    let repeated = bench.until_write(0, &mut deed, Fed::Unknown);
    assert_eq!(repeated, write);
    let key = port_of(&write);
    let step = bench.step(0, &mut deed, Fed::Lost);
    assert_eq!(
        step,
        Step::Moved(vec![(Key::Port(key.clone()), write.expected)])
    );
    // Seen, but not at an exact point: something is still behind it.
    let now = bench.now();
    bench.cores[0].apply(&write.key, revision, write.value, 1, now);
    assert!(matches!(bench.step(0, &mut deed, Fed::Go), Step::Pause(_)));
    assert_eq!(bench.step(0, &mut deed, Fed::Go), Step::Exact(revision));
    let now = bench.now().mono;
    bench.cores[0].index.seen(Revision(revision.0 + 1), 0, now);
    assert_eq!(bench.step(0, &mut deed, Fed::Go), Step::Probe(key));
}

#[test]
fn a_port_whose_lease_may_have_ended_is_not_tried() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let revision = bench.land(&write);
    let step = bench.step(0, &mut deed, Fed::Written(revision));
    assert_eq!(step, Step::Probe(port_of(&write)));
    assert!(deed.may_probe(Moment(bench.time + 999)));
    assert!(!deed.may_probe(Moment(bench.time + 1_000)));
}

#[test]
fn an_outcome_that_was_unknown_once_is_not_called_none() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let lease_id = LeaseId(deed.id().0);
    let revision = bench.land(&write);
    bench.step(0, &mut deed, Fed::Written(revision));
    bench.follow(0);

    let release = Action::Release {
        requester_id: requester(),
        lease_id,
        request: None,
    };
    let mut release = bench.deed(release);
    let end = bench.until_write(0, &mut release, Fed::Go);
    bench.land(&end);
    // It has landed, its acknowledgement is lost, and the port is granted on.
    bench.until_write(0, &mut release, Fed::Unknown);
    bench.follow(0);
    let mut other = bench.lease(None);
    let mut write = bench.until_write(0, &mut other, Fed::Go);
    (write.key, write.expected) = (end.key.clone(), Revision(bench.store.last));
    bench.land(&write);
    bench.follow(0);
    let step = bench.step(0, &mut release, Fed::Lost);
    assert_eq!(
        step,
        Step::Moved(vec![(Key::Port(port_of(&end)), end.expected)])
    );
    assert!(matches!(
        bench.step(0, &mut release, Fed::Go),
        Step::Pause(_)
    ));
    assert_eq!(bench.step(0, &mut release, Fed::Go), Step::Barrier);
    let step = bench.step(0, &mut release, Fed::Failed);
    assert_eq!(step, Step::Done(Err(Refusal::Unreachable)));
    assert!(release.is_unsettled());
}

#[test]
fn a_lease_id_that_has_ended_is_not_granted_again() {
    let mut bench = Bench::new(1);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let first = deed.id();
    let revision = bench.land(&write);
    bench.follow(0);
    // Its acknowledgement is lost, its time runs out, and the port is somebody else's.
    let mut taken = write.clone();
    taken.expected = revision;
    if let Stored::Port(record) = &mut taken.value
        && let Body::Lease(lease) = &mut record.body
    {
        lease.lease_id = LeaseId(Uuid::from_u128(1));
    }
    bench.until_write(0, &mut deed, Fed::Unknown);
    bench.land(&taken);
    bench.step(0, &mut deed, Fed::Lost);
    bench.follow(0);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    assert_ne!(port_of(&write), port_of(&taken));
    assert_ne!(deed.id(), first);
}

#[test]
fn a_publisher_that_was_replaced_unawares_counts_no_gap() {
    let mut bench = Bench::new(2);
    let mut deed = bench.lease(None);
    let write = bench.until_write(0, &mut deed, Fed::Go);
    let revision = bench.land(&write);
    bench.follow(0);
    let claim = bench.cores[0]
        .index
        .outbox
        .next(revision, Moment(bench.time));
    let Publish::Claim(claim) = claim else {
        panic!("{claim:?}");
    };
    bench.land(&claim);
    bench.follow(0);
    assert!(bench.cores[0].index.outbox.is_mine());

    // The other one takes over, tells what has happened since, and records carry it no longer.
    let now = bench.now();
    let mut theirs = claim.clone();
    if let Stored::Checkpoint(checkpoint) = &mut theirs.value {
        checkpoint.owner = Uuid::from_u128(2);
        checkpoint.out_to = 9;
    }
    let mut later = write.clone();
    if let Stored::Port(record) = &mut later.value {
        record.transitions = 4;
        record.outbox.clear();
    }
    let core = &mut bench.cores[0];
    core.apply(&later.key, Revision(10), later.value, 1, now);
    assert_eq!(core.index.outbox.gaps(), 0);
    core.apply(&theirs.key, Revision(11), theirs.value, 0, now);
    assert_eq!(core.index.outbox.gaps(), 0);
}
