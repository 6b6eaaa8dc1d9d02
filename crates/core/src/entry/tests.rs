use std::{num::NonZeroU32, sync::Arc};

use jiff::Timestamp;
use onex_types::{
    holder::Holder,
    ids::{
        Digest, Host, Incarnation, Label, LeaseId, NodeId, Port, RequestId, RequesterId, Transport,
        Ttl,
    },
    key::PortKey,
};
use proptest::{option, prelude::*, sample::select};
use serde_json::json;
use uuid::Uuid;

use super::{Change, Changes, CommandRecord, Entry, EventKind, EventRecord};
use crate::{
    key::{Key, REQUEST_SLOTS_MAX},
    lease::{Cooldown, Last, Lease, LeaseEnd, Member, PortKeyText, Remembered},
    record::Record,
    record_parts::{Json, OwnerRef, Request, Unknown},
};

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn time() -> impl Strategy<Value = Timestamp> {
    let seconds = Timestamp::MIN.as_second() + 1..Timestamp::MAX.as_second();
    (seconds, 0..1_000_000_000_i32)
        .prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).unwrap())
}

fn port() -> impl Strategy<Value = Port> {
    (1_u16..).prop_map(|number| Port::new(number).unwrap())
}

fn transport() -> impl Strategy<Value = Transport> {
    select(&Transport::ALL)
}

fn port_key() -> impl Strategy<Value = PortKey> {
    let host = select(vec!["a", "build-7.lab", "10.0.0.1", "fe80::1"]);
    let host = host.prop_map(|host| host.parse::<Host>().unwrap());
    (host, transport(), port()).prop_map(|(host, transport, port)| PortKey {
        host,
        transport,
        port,
    })
}

fn request() -> impl Strategy<Value = Request> {
    (id(), id()).prop_map(|(request, digest)| Request {
        id: RequestId(request),
        digest: Digest(digest),
    })
}

fn end() -> impl Strategy<Value = LeaseEnd> {
    use LeaseEnd::{Expired, InUse, Rebound, Released, Revoked, Superseded};
    select(vec![Released, Expired, InUse, Rebound, Superseded, Revoked])
}

fn label() -> impl Strategy<Value = Label> {
    any::<String>().prop_filter_map("a label", |text| text.parse().ok())
}

fn ttl() -> impl Strategy<Value = Ttl> {
    (1..=Ttl::MAX.seconds()).prop_map(|seconds| Ttl::try_from(seconds).unwrap())
}

fn lease() -> impl Strategy<Value = Lease> {
    let owner =
        ("[a-z]{1,9}(\\.[A-Z_-]{1,9})?", id()).prop_map(|(node_id, incarnation)| OwnerRef {
            node_id: node_id.parse::<NodeId>().unwrap(),
            incarnation: Incarnation(incarnation),
        });
    let names = ("[a-z_-]{1,128}", option::of("[A-Z0-9]{1,60}(\\.x){0,9}"));
    let ports = prop::collection::vec(port(), 0..4);
    let ids = (id(), id(), any::<u64>(), ttl());
    let requests = (option::of(request()), option::of(request()));
    let times = (option::of(time()), time());
    let labels = prop::collection::vec(label(), 0..4);
    let holder = option::of(any::<u32>().prop_map(|pid| {
        Arc::new(Holder {
            pid: NonZeroU32::new(pid),
            ..Holder::default()
        })
    }));
    (
        ids,
        names,
        option::of(owner),
        ports,
        labels,
        times,
        requests,
        holder,
    )
        .prop_map(
            |(ids, (protocol, name), owner, ports, labels, times, requests, holder)| Lease {
                lease_id: LeaseId(ids.0),
                requester_id: RequesterId(ids.1),
                protocol: protocol.parse().unwrap(),
                ttl: ids.3,
                owner,
                ports,
                transports: Transport::ALL.to_vec(),
                name: name.map(|name| name.parse().unwrap()),
                labels,
                holder,
                requested_at: times.0,
                granted_at: times.1,
                fence: ids.2,
                request: requests.0,
                renewal: requests.1,
                rebind: None,
                unknown: Unknown::new(),
            },
        )
}

fn record() -> impl Strategy<Value = Record> {
    let cooldown = (end(), time(), any::<u64>(), lease(), any::<bool>()).prop_map(
        |(how, ended_at, cooldown_ms, lease, part)| Cooldown {
            how,
            ended_at,
            cooldown_ms,
            holder_ms: 0,
            reason: None,
            last: Last {
                lease_id: lease.lease_id,
                requester_id: lease.requester_id,
                name: lease.name,
                holder: lease.holder,
                fence: lease.fence,
                request: lease.request,
                release: lease.renewal,
                part,
            },
        },
    );
    let remembered = (any::<u64>(), id(), request(), id(), port()).prop_map(
        |(n, requester_id, request, lease_id, port)| Remembered {
            n,
            requester_id: RequesterId(requester_id),
            request,
            lease_id: LeaseId(lease_id),
            port,
        },
    );
    prop_oneof![
        lease().prop_map(Record::from),
        cooldown.prop_map(Record::from),
        remembered.prop_map(Record::from),
        port_key().prop_map(|of| Record::from(Member {
            of: PortKeyText(of),
        })),
    ]
}

fn event() -> impl Strategy<Value = EventRecord> {
    let parts = (any::<u64>(), option::of(lease()), option::of(port()));
    (select(EventKind::PUBLISHED), parts).prop_map(|(kind, (n, lease, old_port))| EventRecord {
        n,
        lease: lease.map(Arc::new),
        old_port,
        ..EventRecord::new(kind)
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        port_key().prop_map(Key::Port),
        (0..REQUEST_SLOTS_MAX).prop_map(Key::Request),
    ]
}

/// What commands about leases write.
fn change() -> impl Strategy<Value = Change> {
    let put = (key(), record(), any::<bool>(), option::of(event()));
    let renew = (key(), option::of(ttl()), option::of(request()));
    let more = (option::of(any::<u64>()), option::of(request()));
    let ended = (key(), end(), more, option::of(event()));
    prop_oneof![
        put.prop_map(|(key, record, tentative, event)| Change::Put {
            key,
            record,
            tentative,
            event,
        }),
        renew.prop_map(|(key, ttl, request)| Change::Renew {
            key,
            ttl,
            request,
            health: None,
        }),
        ended.prop_map(|(key, how, (cooldown_ms, request), event)| Change::End {
            key,
            how,
            cooldown_ms,
            request,
            event,
        }),
        key().prop_map(|key| Change::Confirm { key }),
        (key(), option::of(event())).prop_map(|(key, event)| Change::Delete { key, event }),
    ]
}

proptest! {
    /// Nobody tries whether it can be read before it is appended.
    #[test]
    fn what_commands_about_leases_write_can_be_read(
        changes in prop::collection::vec(change(), 1..4),
        correlation_id in option::of(any::<String>()), requester_id in option::of(id()), at in time(), rev: u64
    ) {
        prop_assert!(!changes.iter().any(Change::is_free_form));
        let entry = Entry {
            rev,
            at,
            cmds: vec![CommandRecord::Other(Box::new(Changes {
                command: "port.lease".to_owned(),
                correlation_id,
                requester_id: requester_id.map(RequesterId),
                changes,
            }))],
        };
        let written = serde_json::to_vec(&entry).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Entry>(&written).unwrap(), entry);
    }
}

#[test]
fn what_may_be_nested_deeply_is_tried_before_it_is_written() {
    let lease = json!({"lease_id": Uuid::nil(), "requester_id": Uuid::nil(), "protocol": "http", "ttl": 60,
        "ports": [20_000], "transports": ["tcp"], "granted_at": "2026-11-22T10:00:00Z", "fence": 1});
    let mut later: Json = lease.clone();
    later["later"] = json!({"unknown": [1]});
    let port = "port.h.tcp.20000";
    for (change, free_form) in [
        (json!({"put": port, "lease": lease}), false),
        (json!({"put": port, "lease": later}), true),
        (
            json!({"end": port, "how": "released", "ev": {"kind": "port.released", "lease": lease}}),
            false,
        ),
        (
            json!({"end": port, "how": "released", "ev": {"kind": "port.released", "lease": later}}),
            true,
        ),
        (json!({"renew": "live.a", "ttl": 9}), false),
        (json!({"renew": "live.a", "health": {"load": 1}}), true),
    ] {
        let text = change.to_string();
        let change: Change = serde_json::from_value(change).unwrap();
        assert_eq!(change.is_free_form(), free_form, "{text}");
    }
}
