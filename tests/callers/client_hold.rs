//! A lease that is kept by the Rust client: how long it lasts, how it is lost, and how it is given back.

use std::time::Duration;

use onex_registry::{
    client::{BootTime, Client, Error, LeaseGuard, Loss},
    ids::{Port, RequestId, RequesterId, Ttl},
    protocol::{
        endpoint::Endpoint,
        error::ErrorCode,
        names::Namespace,
        port::{LeaseReply, LeaseRequest, ListRequest, ReleaseRequest},
    },
};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use super::scripted::{Scripted, lease, lease_of};
use crate::harness::{Caller, Events, Nats, PATIENCE, Proxy, Registry, until};

/// A registry with one port only, whoever uses it.
const ONE_PORT: &[&str] = &["--no-probe", "--ports", "21000-21000"];

async fn client(url: &str) -> Client {
    Client::new(
        async_nats::connect(url).await.unwrap(),
        Namespace::default(),
    )
}

fn lease_request(ttl: u32) -> LeaseRequest {
    LeaseRequest {
        ttl: Some(Ttl::try_from(ttl).unwrap()),
        ..LeaseRequest::new(RequesterId(Uuid::new_v4()), "http".parse().unwrap())
    }
}

/// Somebody else asks for the port until it gets it.
async fn granted_on(client: &Client) -> LeaseReply {
    until("the port to be granted to someone else", async || {
        client.lease(&lease_request(60)).await.ok()
    })
    .await
}

async fn loss(guard: &LeaseGuard) -> Loss {
    timeout(PATIENCE, guard.lost()).await.unwrap()
}

#[track_caller]
fn refused(error: &Error, code: ErrorCode) {
    assert_eq!(error.code(), Some(code), "{error:?}");
}

/// Waits until the lease lasts longer than it does now.
async fn renewed(guard: &LeaseGuard) {
    let before = guard.valid_until();
    until("a renewal", async || {
        (guard.valid_until() > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_kept_past_its_ttl_and_given_back() {
    let registry = Registry::start(ONE_PORT);
    let client = client(registry.url()).await;
    let guard = client.hold(&lease_request(2)).await.unwrap();
    assert_eq!(guard.port().number(), 21_000);
    let token = guard.fencing_token();
    assert_eq!(token, guard.lease().fencing_token);
    // Real time has to pass: several times the TTL.
    let end = BootTime::now() + Duration::from_secs(7);
    while BootTime::now() < end {
        refused(
            &client.lease(&lease_request(60)).await.unwrap_err(),
            ErrorCode::ResourceExhausted,
        );
        assert!(!guard.remaining().is_zero());
        assert!(guard.remaining() <= Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(guard.fencing_token(), token);
    let lost = guard.lost();
    guard.release().await.unwrap();
    assert!(matches!(lost.await, Loss::Released));
    client.lease(&lease_request(60)).await.unwrap();
}

/// The holder is cut off; the registry and everybody else go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_knows_before_anyone_else_gets_the_port() {
    let registry = Registry::start(ONE_PORT);
    let wire = Proxy::to(registry.url()).await;
    let holder = client(&wire.url()).await.with_timeout(PATIENCE);
    let other = client(registry.url()).await;
    let guard = holder.hold(&lease_request(2)).await.unwrap();
    renewed(&guard).await;
    let lost = tokio::spawn({
        let lost = guard.lost();
        async move { (lost.await, BootTime::now()) }
    });
    wire.cut();
    let next = granted_on(&other).await;
    let granted = BootTime::now();
    assert_eq!(next.port, guard.port());
    assert!(lost.is_finished(), "someone else has the port");
    let (why, told) = lost.await.unwrap();
    assert!(matches!(why, Loss::Expired(Some(_))), "{why:?}");
    assert!(told < granted && guard.valid_until() <= told);
    assert!(guard.remaining().is_zero());
    // Whoever is lost stays lost, and what is given back is not the other one's.
    wire.mend();
    refused(
        &guard.release().await.unwrap_err(),
        ErrorCode::LeaseNotFound,
    );
    let renewed = other.heartbeat(next.requester_id, next.lease_id, None, None);
    renewed.await.unwrap();
}

/// The program gets all the time that it said it takes to stop, and has the port meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_is_told_to_stop_before_its_time_is_up() {
    let (ttl, grace) = (4, Duration::from_secs(2));
    let registry = Registry::start(ONE_PORT);
    let wire = Proxy::to(registry.url()).await;
    let holder = client(&wire.url()).await.with_timeout(PATIENCE);
    let other = client(registry.url()).await;
    let guard = holder
        .hold_with_grace(&lease_request(ttl), grace)
        .await
        .unwrap();
    wire.cut();
    let ending = timeout(PATIENCE, guard.ending()).await.unwrap();
    let told = BootTime::now();
    assert!(matches!(ending.why, Loss::Expired(Some(_))), "{ending:?}");
    assert_eq!(
        (ending.deadline, ending.deadline),
        (guard.deadline(), guard.valid_until())
    );
    assert!(told + grace >= ending.deadline, "too early: {ending:?}");
    assert!(told + grace / 2 < ending.deadline, "too late: {ending:?}");
    assert!(!guard.remaining().is_zero());
    loss(&guard).await;
    assert!(BootTime::now() >= ending.deadline);
    granted_on(&other).await;
    assert_eq!(guard.deadline(), ending.deadline);
    // Who asks now is told the same.
    assert_eq!(guard.ending().await.deadline, ending.deadline);
}

/// However much time it wants for that, and as long as it is renewed.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_is_not_told_to_stop_while_its_lease_is_renewed() {
    let registry = Registry::start(ONE_PORT);
    let client = client(registry.url()).await;
    let guard = client
        .hold_with_grace(&lease_request(3), PATIENCE)
        .await
        .unwrap();
    let ending = tokio::spawn(guard.ending());
    for _ in 0..4 {
        renewed(&guard).await;
    }
    assert!(!ending.is_finished());
    guard.release().await.unwrap();
    assert!(matches!(ending.await.unwrap().why, Loss::Released));
}

/// The registry is killed; another one starts on the same store.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_comes_back_too_late_has_not_been_waited_for() {
    let nats = Nats::start();
    let mut first = Registry::on(&nats, ONE_PORT);
    let client = client(&nats.url()).await;
    let before = BootTime::now();
    let guard = client.hold(&lease_request(2)).await.unwrap();
    first.kill();
    let why = loss(&guard).await;
    let told = BootTime::now();
    assert!(matches!(why, Loss::Expired(_)), "{why:?}");
    assert!(told >= before + Duration::from_secs(2));
    let _second = Registry::on(&nats, ONE_PORT);
    granted_on(&client).await;
    // More than the whole TTL anew: the second one counts from when it saw the lease.
    assert!(BootTime::now().since(told) >= Duration::from_secs(2));
}

/// One that comes back in time is found again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_a_registry_that_is_paused_and_a_wire_that_is_cut_for_a_while() {
    let registry = Registry::start(ONE_PORT);
    let wire = Proxy::to(registry.url()).await;
    let client = client(&wire.url()).await;
    let guard = client.hold(&lease_request(6)).await.unwrap();
    registry.pause();
    // Real time has to pass: a renewal is due after two seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    registry.resume();
    renewed(&guard).await;
    wire.cut();
    // And here as well.
    tokio::time::sleep(Duration::from_secs(3)).await;
    wire.mend();
    renewed(&guard).await;
    assert!(!guard.remaining().is_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_guard_gives_its_lease_back() {
    let registry = Registry::start(ONE_PORT);
    let client = client(registry.url()).await;
    let guard = client.hold(&lease_request(86_400)).await.unwrap();
    let lost = guard.lost();
    drop(guard);
    assert!(matches!(lost.await, Loss::Released));
    granted_on(&client).await;
}

/// Gives its lease back as another program with the same requester id would.
async fn give_back(client: &Client, guard: &LeaseGuard) {
    let release = ReleaseRequest {
        requester_id: guard.lease().requester_id,
        lease_id: guard.lease().lease_id,
        request_id: None,
        min_revision: None,
    };
    client.release(&release).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_says_is_lost_is_lost_at_once() {
    let registry = Registry::start(ONE_PORT);
    let client = client(registry.url()).await;
    let guard = client.hold(&lease_request(3)).await.unwrap();
    give_back(&client, &guard).await;
    let before = guard.valid_until();
    match loss(&guard).await {
        Loss::Refused(error) => refused(&error, ErrorCode::LeaseExpired),
        other => panic!("{other:?}"),
    }
    assert!(guard.remaining().is_zero() && guard.valid_until() < before);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused() {
    let registry = Registry::start(ONE_PORT);
    let client = client(registry.url()).await;
    let bound = LeaseRequest {
        node_id: Some("calc".parse().unwrap()),
        ttl: None,
        ..lease_request(1)
    };
    let error = client.hold(&bound).await.unwrap_err();
    assert!(matches!(error, Error::Unfit(_)), "{error:?}");
    assert!(error.to_string().contains("/node_id"), "{error}");
    let _guard = client.hold(&lease_request(60)).await.unwrap();
    let error = client.hold(&lease_request(60)).await.unwrap_err();
    refused(&error, ErrorCode::ResourceExhausted);
}

/// A request that a program sent before it was started anew leads to the same lease, and is as old as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_asked_for_before_is_renewed_at_once() {
    let registry = Registry::start(ONE_PORT);
    let client = client(registry.url()).await;
    let request = LeaseRequest {
        request_id: Some(RequestId(Uuid::new_v4())),
        ..lease_request(60)
    };
    let before = client.lease(&request).await.unwrap();
    let since = BootTime::now();
    let guard = client.hold(&request).await.unwrap();
    assert_eq!(guard.lease().lease_id, before.lease_id);
    assert_eq!(guard.fencing_token(), before.fencing_token);
    assert!(guard.valid_until() >= since + Duration::from_mins(1));
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

/// A registry with some ports, whoever uses them.
const SOME_PORTS: &[&str] = &["--no-probe", "--ports", "21000-21009"];

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_has_the_port_that_its_lease_was_rebound_to() {
    let registry = Registry::start(SOME_PORTS);
    let client = client(registry.url()).await;
    let request = LeaseRequest {
        count: Some(3.try_into().unwrap()),
        ..lease_request(2)
    };
    let mut guard = client.hold(&request).await.unwrap();
    let (before, token) = (guard.ports(), guard.fencing_token());
    let new = guard.rebind(before[1]).await.unwrap();
    assert!(!before.contains(&new));
    assert_eq!(guard.ports(), [before[0], new, before[2]]);
    assert_eq!(guard.port(), before[0]);
    assert_eq!(guard.lease().ports, guard.ports());
    assert!(guard.fencing_token() > token);
    let again = guard.rebind(before[0]).await.unwrap();
    assert_eq!(guard.ports(), [again, new, before[2]]);
    assert_eq!(guard.port(), again);
    let error = guard.rebind(before[0]).await.unwrap_err();
    assert!(matches!(error, Error::Unfit(_)), "{error:?}");
    assert!(error.to_string().contains("/port"), "{error}");
    // It is renewed as before, whatever the heartbeats under way knew.
    renewed(&guard).await;
    renewed(&guard).await;
    let held = client.heartbeat(
        guard.lease().requester_id,
        guard.lease().lease_id,
        None,
        None,
    );
    assert_eq!(held.await.unwrap().ports, guard.ports());
    guard.release().await.unwrap();
}

/// Also where a renewal has come between the rebind and its repetition.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebind_whose_answer_was_lost_is_not_done_twice() {
    for renewed_between in [false, true] {
        let nats = Nats::start();
        let registry = Registry::on(&nats, SOME_PORTS);
        let caller = Caller::of(&registry).await;
        let wire = Proxy::to(&nats.url()).await;
        let holder = client(&wire.url())
            .await
            .with_timeout(Duration::from_secs(2));
        let other = client(&nats.url()).await;
        let mut guard = holder.hold(&lease_request(86_400)).await.unwrap();
        let (requester_id, lease_id) = (guard.lease().requester_id, guard.lease().lease_id);
        let old = guard.port();
        registry.pause();
        wire.hold_after("port.rebind");
        let rebinding = tokio::spawn(async move { (guard.rebind(old).await, guard) });
        wire.held().await;
        wire.cut();
        registry.resume();
        let mine = ListRequest {
            requester_id: Some(requester_id),
            ..ListRequest::default()
        };
        let new = until("the lease to have another port", async || {
            let lease = other.list(&mine).await.ok()?.items.pop()?;
            (lease.port != old).then_some(lease.port)
        })
        .await;
        if renewed_between {
            let renewal = other.heartbeat(
                requester_id,
                lease_id,
                None,
                Some(RequestId(Uuid::new_v4())),
            );
            renewal.await.unwrap();
        }
        wire.mend();
        let (mut rebound, mut guard) = timeout(PATIENCE, rebinding).await.unwrap().unwrap();
        while let Err(error) = &rebound {
            assert!(error.may_be_done(), "{error:?}");
            rebound = guard.rebind(old).await;
        }
        assert_eq!((rebound.unwrap(), guard.port()), (new, new));
        let events = Events::published(&caller).await;
        assert_eq!(events.of_kind("port.rebound").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_is_told_of_the_loss_when_it_rebinds_is_lost() {
    let registry = Registry::start(SOME_PORTS);
    let client = client(registry.url()).await;
    let mut guard = client.hold(&lease_request(86_400)).await.unwrap();
    give_back(&client, &guard).await;
    let old = guard.port();
    for _ in 0..2 {
        match guard.rebind(old).await.unwrap_err() {
            Error::Over(Loss::Refused(error)) => refused(&error, ErrorCode::LeaseExpired),
            other => panic!("{other:?}"),
        }
        assert!(guard.remaining().is_zero());
    }
    assert!(matches!(loss(&guard).await, Loss::Refused(_)));
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_is_asked_again_as_the_same_and_counted_from_the_first_time() {
    let ttl = Duration::from_secs(6);
    let mut registry = Scripted::new(&[
        Endpoint::PortLease,
        Endpoint::PortHeartbeat,
        Endpoint::PortRelease,
    ])
    .await;
    let client = registry
        .client
        .clone()
        .with_timeout(Duration::from_millis(700));

    let before = BootTime::now();
    let guard = tokio::spawn(async move { client.hold(&lease_request(6)).await.unwrap() });
    let (first, came, _) = registry.next().await;
    let (second, _, to) = registry.next().await;
    assert!(first["request_id"].is_string());
    assert_eq!(first, second);
    registry.answer(to, &lease(6, 5)).await;
    let guard = guard.await.unwrap();
    let held = guard.valid_until();
    assert!(before + ttl <= held && held <= came + ttl, "{guard:?}");

    let (first, came, _) = registry.next().await;
    let (second, _, to) = registry.next().await;
    assert_eq!(first["lease_id"], lease(6, 5)["lease_id"]);
    assert!(first["request_id"].is_string());
    assert_eq!(first, second);
    registry.answer(to, &lease(6, 6)).await;
    until("the renewal to count", async || {
        (guard.valid_until() > held).then_some(())
    })
    .await;
    let renewed = guard.valid_until();
    assert!(renewed <= came + ttl, "{guard:?}");

    let lost = guard.lost();
    let release = tokio::spawn(guard.release());
    assert!(matches!(lost.await, Loss::Released));
    let mut asked = Vec::new();
    while asked.len() < 2 {
        let (body, _, to) = registry.next().await;
        // A renewal that was on its way.
        if body.get("ttl").is_none() && asked.first().is_none_or(|first| *first == body) {
            asked.push(body);
        }
        if asked.len() == 2 {
            let reply = json!({
                "lease_id": lease(6, 5)["lease_id"], "status": "released", "released_at": "2026-01-01T00:00:00Z",
                "revision": 7,
            });
            registry.answer(to, &reply).await;
        }
    }
    release.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebind_is_the_same_request_until_it_is_answered() {
    let mut registry = Scripted::new(&[Endpoint::PortLease, Endpoint::PortRebind]).await;
    let client = registry.client.clone();
    let holding = {
        let client = client.clone().with_timeout(Duration::from_millis(200));
        tokio::spawn(async move { client.hold(&lease_request(86_400)).await.unwrap() })
    };
    let (_, _, to) = registry.next().await;
    registry.answer(to, &lease(86_400, 5)).await;
    let mut guard = holding.await.unwrap();

    let error = guard.rebind(port(21_000)).await.unwrap_err();
    assert!(error.may_be_done(), "{error:?}");
    assert_eq!(guard.port(), port(21_000));
    let again = tokio::spawn(async move { (guard.rebind(port(21_000)).await, guard) });
    let mut bodies = Vec::new();
    // Three tries, and then that of the second call.
    let to = loop {
        let (body, _, to) = registry.next().await;
        bodies.push(body);
        if bodies.len() == 4 {
            break to;
        }
    };
    assert!(bodies[0]["request_id"].is_string());
    assert_eq!(bodies[0]["port"], 21_000);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    registry.answer(to, &lease_of(21_001, 86_400, 9)).await;
    let (rebound, mut guard) = again.await.unwrap();
    assert_eq!(rebound.unwrap(), port(21_001));
    assert_eq!((guard.port(), guard.fencing_token()), (port(21_001), 9));

    let next = tokio::spawn(async move { guard.rebind(port(21_001)).await });
    let (body, _, to) = registry.next().await;
    assert_ne!(body["request_id"], bodies[0]["request_id"]);
    registry.answer(to, &lease_of(21_000, 86_400, 11)).await;
    assert_eq!(next.await.unwrap().unwrap(), port(21_000));
}

/// Nobody has to ask again: renewals say which ports the lease has.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_finds_out_what_came_of_a_rebind_whose_answer_was_lost() {
    let mut registry = Scripted::new(&[
        Endpoint::PortLease,
        Endpoint::PortHeartbeat,
        Endpoint::PortRebind,
    ])
    .await;
    let client = registry.client.clone();
    let holding = tokio::spawn(async move { client.hold(&lease_request(3)).await.unwrap() });
    let (_, _, to) = registry.next().await;
    registry.answer(to, &lease(3, 5)).await;
    let mut guard = holding.await.unwrap();
    let asked = {
        let rebinding = guard.rebind(port(21_000));
        tokio::select! {
            rebound = rebinding => panic!("{rebound:?}"),
            (asked, _, _) = registry.next() => asked,
        }
    };
    assert_eq!(guard.port(), port(21_000));
    // A third of the TTL has to pass.
    let (_, _, to) = registry.next().await;
    registry.answer(to, &lease_of(21_001, 3, 9)).await;
    until("the guard to know", async || {
        (guard.port() == port(21_001)).then_some(())
    })
    .await;
    assert_eq!(
        (guard.ports(), guard.fencing_token()),
        (vec![port(21_001)], 9)
    );
    // Asked for again it is the same request.
    let again = tokio::spawn(async move { (guard.rebind(port(21_000)).await, guard) });
    let to = loop {
        let (body, _, to) = registry.next().await;
        if body.get("port").is_some() {
            assert_eq!(body, asked);
            break to;
        }
        registry.answer(to, &lease_of(21_001, 3, 9)).await;
    };
    registry.answer(to, &lease_of(21_001, 3, 9)).await;
    let (rebound, guard) = again.await.unwrap();
    assert_eq!(
        (rebound.unwrap(), guard.port()),
        (port(21_001), port(21_001))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_under_way_does_not_bring_the_port_before_back() {
    let mut registry = Scripted::new(&[
        Endpoint::PortLease,
        Endpoint::PortHeartbeat,
        Endpoint::PortRebind,
    ])
    .await;
    let client = registry.client.clone();
    let holding = tokio::spawn(async move { client.hold(&lease_request(3)).await.unwrap() });
    let (_, _, to) = registry.next().await;
    registry.answer(to, &lease(3, 5)).await;
    let mut guard = holding.await.unwrap();
    // A third of the TTL has to pass.
    let (heartbeat, _, renewal) = registry.next().await;
    assert!(heartbeat.get("port").is_none());
    let held = guard.valid_until();
    let rebinding = tokio::spawn(async move { (guard.rebind(port(21_000)).await, guard) });
    let (body, _, to) = registry.next().await;
    assert_eq!(body["port"], 21_000);
    registry.answer(to, &lease_of(21_001, 3, 9)).await;
    let (rebound, guard) = rebinding.await.unwrap();
    assert_eq!(rebound.unwrap(), port(21_001));
    assert_eq!(guard.valid_until(), held);
    registry.answer(renewal, &lease(3, 6)).await;
    until("the renewal to count", async || {
        (guard.valid_until() > held).then_some(())
    })
    .await;
    assert_eq!((guard.port(), guard.fencing_token()), (port(21_001), 9));
}
