use std::cell::Cell;

use jiff::Timestamp;
use onex_types::ids::Ttl;
use semver::Version;
use uuid::Uuid;

use super::*;
use crate::{node::Registration, node_record::NodeEnded, record_parts::Unknown};

thread_local! {
    /// How often something was looked up in the index.
    pub(super) static LOOKED: Cell<usize> = const { Cell::new(0) };
}

fn id(n: usize) -> NodeId {
    format!("n{n:06}").parse().unwrap()
}

/// Of ten nodes one is live; of those every second one is a validator and has the tag `even`.
fn put(index: &mut NodeIndex, n: usize) {
    let even = n.is_multiple_of(20);
    let incarnation = Incarnation(Uuid::from_u128(n as u128));
    let tool = Tool {
        name: format!("t{}", n % 500).parse().unwrap(),
        version: Version::new(1, 0, 0),
        contract_hash: "c".to_owned(),
        bytes: 0,
        patterns: 0,
        subject: String::new(),
        tags: vec!["math".parse().unwrap()],
        more: Unknown::new(),
    };
    let registration = Registration {
        version: Version::new(1, 0, 0),
        node_type: if even {
            NodeType::Validator
        } else {
            NodeType::Tool
        },
        tags: even.then(|| "even".parse().unwrap()).into_iter().collect(),
        host: Some(format!("h{}", n % 30).parse().unwrap()),
        contract_hash: "c".to_owned(),
        base_hash: "b".to_owned(),
        bytes: 0,
        inbound_ports: Vec::new(),
        tools: vec![tool],
        more: Unknown::new(),
    };
    let node = Node {
        incarnation,
        registration,
        began: None,
        requests: Vec::new(),
        earlier: Vec::new(),
        unknown: Unknown::new(),
    };
    let ended = NodeEnded {
        how: NodeEnd::Expired,
        at: Timestamp::UNIX_EPOCH,
        kept_ms: 1,
        reason: None,
    };
    let live = Live {
        incarnation,
        epoch: 1,
        requester_id: RequesterId(Uuid::from_u128(n as u128 % 7)),
        ttl: Ttl::DEFAULT,
        registered_at: Timestamp::UNIX_EPOCH,
        ended: Some(ended).filter(|_| !n.is_multiple_of(10)),
        past: Vec::new(),
        health: None,
        unknown: Unknown::new(),
    };
    index.insert(&Key::Node(id(n)), &node.into());
    index.insert(&Key::Live(id(n)), &live.into());
}

fn of(nodes: usize) -> NodeIndex {
    let mut index = NodeIndex::default();
    (0..nodes).for_each(|n| put(&mut index, n));
    index
}

fn filters() -> Vec<NodeFilter> {
    let online = NodeFilter {
        liveness: vec![Liveness::Online],
        ..NodeFilter::default()
    };
    vec![
        NodeFilter::default(),
        online.clone(),
        NodeFilter {
            node_type: Some(NodeType::Validator),
            ..online.clone()
        },
        NodeFilter {
            tag: Some("even".parse().unwrap()),
            host: Some("h0".parse().unwrap()),
            ..online
        },
        NodeFilter {
            liveness: vec![Liveness::Expired, Liveness::Ended],
            ..NodeFilter::default()
        },
        NodeFilter {
            requester_id: Some(RequesterId(Uuid::from_u128(3))),
            ..NodeFilter::default()
        },
    ]
}

#[test]
fn a_page_of_nodes_costs_the_same_however_many_there_are() {
    let cost = |index: &NodeIndex, filter: &NodeFilter| {
        LOOKED.with(|looked| looked.set(0));
        let after = id(200);
        assert_eq!(index.nodes(filter, Some(&after)).take(20).count(), 20);
        LOOKED.with(Cell::get)
    };
    let (few, many) = (of(2_000), of(20_000));
    for filter in filters() {
        assert_eq!(cost(&few, &filter), cost(&many, &filter), "{filter:?}");
        assert!(cost(&many, &filter) <= 20 * 8, "{filter:?}");
    }
}

#[test]
fn nodes_are_those_of_which_every_condition_holds() {
    let index = of(700);
    for filter in filters() {
        let found: Vec<NodeId> = index.nodes(&filter, None).cloned().collect();
        let holds = |n: &usize| {
            let online = n.is_multiple_of(10);
            let wanted = &filter.liveness;
            (wanted.is_empty() || wanted.contains(&Liveness::Online) == online)
                && (filter.node_type.is_none() || n.is_multiple_of(20))
                && (filter.tag.is_none() || n.is_multiple_of(20))
                && (filter.host.is_none() || n.is_multiple_of(30))
                && (filter.requester_id.is_none() || n % 7 == 3)
        };
        let expected: Vec<NodeId> = (0..700).filter(holds).map(id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    assert_eq!(index.count_of(Liveness::Online), 70);
    assert_eq!(index.known(), 700);
}

#[test]
fn tools_are_those_of_live_nodes_and_go_with_them() {
    let mut index = of(1_000);
    let name: Token = "t20".parse().unwrap();
    let offer = index.offer(&name).unwrap();
    let providers: Vec<&NodeId> = offer.providers(None).collect();
    assert_eq!(providers, [&id(20), &id(520)]);
    // Of 500 names those that are multiples of ten are offered by live nodes.
    assert_eq!(index.offers(None).count(), 50);
    let math: Name = "math".parse().unwrap();
    assert_eq!(
        index
            .offers_tagged(&math, Some(&name))
            .next()
            .unwrap()
            .0
            .as_str(),
        "t200"
    );
    for n in [20, 520] {
        let node = index.entries.get(&id(n)).unwrap().node.clone().unwrap();
        index.remove(&Key::Node(id(n)), &Record::Node(node));
    }
    assert!(index.offer(&name).is_none());
    assert_eq!(index.offers_tagged(&math, None).count(), 49);
}
