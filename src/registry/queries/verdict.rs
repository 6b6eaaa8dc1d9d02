//! What a port is, in a sentence that people understand.

use std::time::Duration;

use onex_types::{holder::Whose, kinds::LeaseEnd, listener::Listener, ports::PortRange, span};

use crate::protocol::{
    explain::{ExplainReply, LastLease, PortState},
    port::LeaseReply,
};

/// Says what `reply` says; `ranges` are those of its host.
pub(super) fn verdict(reply: &ExplainReply, state: PortState, ranges: &[PortRange]) -> String {
    let said = told(reply, state, ranges);
    let mut letters = said.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

fn told(reply: &ExplainReply, state: PortState, ranges: &[PortRange]) -> String {
    let port = format!("port {}/{} on {}", reply.port, reply.transport, reply.host);
    let left = span(Duration::from_millis(reply.expires_in_ms.unwrap_or(0)));
    let last = reply.last.as_ref();
    let listeners = reply.in_use.as_deref();
    match state {
        PortState::Held => {
            let who = reply.lease.as_ref().map_or_else(String::new, of_lease);
            let until = if reply.expires_in_ms == Some(0) {
                "; its time is up, and the registry is about to end the lease".to_owned()
            } else {
                format!(" for another {left}, unless it is renewed before")
            };
            format!("{port} is held by {who}{until}{}", heard(listeners))
        }
        PortState::Resting => {
            let whose = match last {
                Some(last) if last.outcome.known() == Some(&LeaseEnd::Revoked) => {
                    let (who, why) = (of_last(last), reason(last));
                    format!("it was taken away from {who}{why}, who")
                }
                Some(last) => format!("its last holder, {},", of_last(last)),
                None => "its last holder".to_owned(),
            };
            format!("{port} cools down for another {left}: {whose} may still count on it")
        }
        PortState::Quarantined => {
            let now = match listeners {
                Some([listener, ..]) => format!("; {listener} uses it now"),
                _ => String::new(),
            };
            let given_up = last.filter(|last| last.outcome.known() == Some(&LeaseEnd::Rebound));
            let why = given_up.map_or_else(
                || "another program was using it".to_owned(),
                |last| format!("{} gave it up for another one", of_last(last)),
            );
            format!("{port} is quarantined for another {left}: {why}{now}")
        }
        PortState::Reserved => {
            format!("{port} is reserved: it is never granted{}", used(listeners))
        }
        PortState::Outside => {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            format!(
                "{port} is in none of the ranges of that host ({}): it is never granted{}",
                ranges.join(", "),
                used(listeners)
            )
        }
        PortState::InUse => format!("nobody has leased {port}{}", used(listeners)),
        PortState::Free => {
            let seen = match listeners {
                Some(_) => "",
                None => "; whether another program uses it cannot be seen from here",
            };
            let before = last.map_or_else(String::new, |last| {
                let (who, how, why) = (of_last(last), how(last), reason(last));
                format!("; it was last held by {who}, {how}{why}")
            });
            format!("{port} is free{before}{seen}")
        }
    }
}

fn of_lease(lease: &LeaseReply) -> String {
    let whose = Whose {
        requester_id: lease.requester_id,
        name: lease.name.as_ref(),
        node_id: lease.node_id.as_ref(),
        holder: lease.holder.as_deref(),
    };
    whose.to_string()
}

fn of_last(last: &LastLease) -> String {
    let whose = Whose {
        requester_id: last.requester_id,
        name: last.name.as_ref(),
        node_id: None,
        holder: last.holder.as_deref(),
    };
    whose.to_string()
}

fn how(last: &LastLease) -> &'static str {
    match last.outcome.known() {
        Some(LeaseEnd::Released) => "who released it",
        Some(LeaseEnd::Expired) => "until its time was up",
        Some(LeaseEnd::Superseded) => "until another life of its node began",
        Some(LeaseEnd::Revoked) => "until it was taken away",
        Some(LeaseEnd::InUse) => "who could not use it",
        Some(LeaseEnd::Rebound) => "who gave it up for another one",
        None => "until it ended",
    }
}

/// Why an administrator took it away, in brackets.
fn reason(last: &LastLease) -> String {
    let reason = last.reason.as_ref();
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// Whether the holder of a port listens there.
fn heard(listeners: Option<&[Listener]>) -> String {
    match listeners {
        None => String::new(),
        Some([]) => "; nobody listens there".to_owned(),
        Some([listener, ..]) => format!("; {listener} listens there"),
    }
}

/// Who uses a port that nobody holds.
fn used(listeners: Option<&[Listener]>) -> String {
    match listeners {
        Some([listener, ..]) => format!(", but {listener} uses it at {}", listener.address),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use onex_types::ids::Port;
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::bounds::Open;

    const ID: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";
    const TIME: &str = "2026-11-22T10:04:07.600Z";

    fn holder() -> Value {
        json!({"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"})
    }

    #[track_caller]
    fn check(state: &str, more: &Value, expected: &str) {
        let mut reply = json!({
            "port": 20_017, "host": "h", "transport": "tcp", "state": state, "history": null, "in_use": [], "ephemeral_range": null,
            "next_free": null, "verdict": "", "revision": 1,
        });
        reply
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let reply: ExplainReply = serde_json::from_value(reply).unwrap();
        let Open::Known(state) = reply.state.clone() else {
            panic!("{state}")
        };
        let range = |first, last| PortRange {
            first: Port::new(first).unwrap(),
            last: Port::new(last).unwrap(),
        };
        let ranges = [range(20_000, 20_009), range(21_000, 21_000)];
        assert_eq!(verdict(&reply, state, &ranges), expected);
    }

    #[test]
    fn each_state_is_said_in_a_sentence() {
        let lease = json!({
            "lease_id": ID, "status": "active", "port": 20_017, "ports": [20_017], "host": "h", "transport": "tcp",
            "protocol": "http", "requester_id": ID, "assigned_to": ID, "name": "api", "node_id": "calc",
            "holder": holder(), "ttl": 60, "granted_at": TIME, "expires_at": TIME, "expires_in_ms": 43_000,
            "renew_after_ms": 1, "fencing_token": 1, "revision": 1,
        });
        let last = json!({
            "lease_id": ID, "requester_id": ID, "outcome": "superseded", "ended_at": TIME, "fencing_token": 1,
        });
        let released = json!({
            "lease_id": ID, "requester_id": ID, "holder": holder(), "outcome": "released", "ended_at": TIME,
            "fencing_token": 1,
        });
        let python = json!([{"address": "127.0.0.1", "pid": 77, "command": "python3"}]);
        let unseen = json!([{"address": "::", "user": "root"}]);
        check(
            "held",
            &json!({"lease": lease, "expires_in_ms": 43_000, "in_use": python}),
            "Port 20017/tcp on h is held by ana@build-7 (pytest, pid 4711) as \"api\" with node calc for another 43s, \
             unless it is renewed before; python3 (pid 77) listens there.",
        );
        check(
            "held",
            &json!({"lease": lease, "expires_in_ms": 0, "in_use": null}),
            "Port 20017/tcp on h is held by ana@build-7 (pytest, pid 4711) as \"api\" with node calc; its time is up, \
             and the registry is about to end the lease.",
        );
        check(
            "resting",
            &json!({"last": last, "expires_in_ms": 61_000}),
            &format!(
                "Port 20017/tcp on h cools down for another 1m1s: its last holder, requester {ID}, may still count on it."
            ),
        );
        let mut revoked = last.clone();
        revoked["outcome"] = json!("revoked");
        revoked["reason"] = json!("its build was killed");
        check(
            "resting",
            &json!({"last": revoked, "expires_in_ms": 61_000}),
            &format!(
                "Port 20017/tcp on h cools down for another 1m1s: it was taken away from requester {ID} (its build was \
                 killed), who may still count on it."
            ),
        );
        check(
            "free",
            &json!({"last": revoked}),
            &format!(
                "Port 20017/tcp on h is free; it was last held by requester {ID}, until it was taken away (its build was \
                 killed)."
            ),
        );
        check(
            "quarantined",
            &json!({"last": last, "expires_in_ms": 9_000, "in_use": python}),
            "Port 20017/tcp on h is quarantined for another 9s: another program was using it; \
             python3 (pid 77) uses it now.",
        );
        let mut given_up = released.clone();
        given_up["outcome"] = json!("rebound");
        check(
            "quarantined",
            &json!({"last": given_up, "expires_in_ms": 9_000}),
            "Port 20017/tcp on h is quarantined for another 9s: ana@build-7 (pytest, pid 4711) gave it up for another one.",
        );
        check(
            "free",
            &json!({"last": given_up}),
            "Port 20017/tcp on h is free; it was last held by ana@build-7 (pytest, pid 4711), who gave it up for another one.",
        );
        check(
            "reserved",
            &json!({}),
            "Port 20017/tcp on h is reserved: it is never granted.",
        );
        check(
            "outside",
            &json!({"in_use": unseen}),
            "Port 20017/tcp on h is in none of the ranges of that host (20000-20009, 21000): it is never granted, but a \
             program of user root uses it at ::.",
        );
        check(
            "in_use",
            &json!({"in_use": python}),
            "Nobody has leased port 20017/tcp on h, but python3 (pid 77) uses it at 127.0.0.1.",
        );
        check("free", &json!({}), "Port 20017/tcp on h is free.");
        check(
            "free",
            &json!({"last": released, "in_use": null}),
            "Port 20017/tcp on h is free; it was last held by ana@build-7 (pytest, pid 4711), who released it; whether \
             another program uses it cannot be seen from here.",
        );
    }
}
