//! Checks of the instances that answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::registry::{
    grants::{Disagreements, host_in, protocol_of, registry_id},
    peers::Answer,
};

use super::{
    facts::{Facts, Named},
    nats_server::apart,
    problem::{Judged, Problem},
};

pub(super) const CHECKS: &[Named] = &[
    ("instances.answer", answer),
    ("instances.requests", requests),
    ("instances.version", version),
    ("instances.host", host),
    ("instances.namesake", namesake),
    ("instances.ports", ports),
    ("instances.following", following),
    ("instances.writing", writing),
    ("instances.clock", clock),
];

/// How old the last entry of a log may be while an instance runs: it appends one when it has seen none for five seconds.
const SILENCE_MAX: SignedDuration = SignedDuration::from_secs(10);

fn answer(facts: &Facts) -> Judged {
    if facts.is_alone || facts.instances().is_ok() {
        return facts.instances().map(|_| ());
    }
    Err(Problem::warn(
        "no instance of this registry answers",
        "start one with `onex serve`; one that runs does not reach this NATS server, or is in another --namespace",
    ))
}

/// A process that stands still keeps its subscriptions: it is sent its part of the requests.
fn requests(facts: &Facts) -> Judged {
    if facts.is_alone {
        return facts.instances().map(|_| ());
    }
    let may_not =
        || Problem::not_checked("this user may send no requests, or is not known to the server");
    let replies = facts.replies.as_ref().ok_or_else(may_not)?;
    if replies.silent == 0 {
        return facts.instances().map(|_| ());
    }
    let answering = facts.instances().unwrap_or_default().into_iter();
    let answering = answering.map(|it| registry_id(&it.identity));
    let answering: Vec<&str> = answering.collect();
    let others = match answering.as_slice() {
        [] => String::new(),
        ids => format!(
            "; this is none of the instances that answer: {}",
            ids.join(", ")
        ),
    };
    Err(Problem::fail(
        format!(
            "of {} requests {} had no reply within two seconds: an instance stands still, and takes its part of them{others}",
            replies.sent, replies.silent
        ),
        "find that process: it is stopped, or its machine has neither CPU nor memory left; end it (`kill -9 PID`), and start it \
         again",
    ))
}

fn version(facts: &Facts) -> Judged {
    let mut running: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for Answer { identity, .. } in facts.instances()? {
        let version = (identity.version.as_str(), protocol_of(identity));
        *running.entry(version).or_default() += 1;
    }
    if running.len() == 1 {
        return Ok(());
    }
    let texts = running.iter().map(|((version, protocol), count)| {
        format!("{count} of version {version} with protocol {protocol}")
    });
    Err(Problem::warn(
        format!(
            "instances of several versions run: {}",
            texts.collect::<Vec<_>>().join(", ")
        ),
        "finish the upgrade: restart those of the older version with the newer one, one after the other",
    ))
}

fn disagreements(facts: &Facts) -> Result<Disagreements, Problem> {
    facts.instances()?;
    let all: Vec<_> = facts.answers.iter().map(|it| it.identity.clone()).collect();
    Ok(Disagreements::among(&all, &facts.namespace))
}

fn host(facts: &Facts) -> Judged {
    match disagreements(facts)?.two_hosts {
        None => Ok(()),
        Some((one, other)) => Err(Problem::fail(
            format!(
                "instances or agents on one machine know it as host {one} and as host {other}: a port may be granted twice"
            ),
            "start all of a machine with the same --host",
        )),
    }
}

fn namesake(facts: &Facts) -> Judged {
    match disagreements(facts)?.namesake {
        None => Ok(()),
        Some(host) => Err(Problem::fail(
            format!(
                "instances or agents on several machines are all on host {host}: the ports of those machines are granted as if they were one's"
            ),
            "start those of each machine with a --host of its own",
        )),
    }
}

fn ports(facts: &Facts) -> Judged {
    let overlaps = disagreements(facts)?.overlaps;
    if overlaps.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = overlaps.into_iter().collect();
    Err(Problem::fail(
        format!(
            "another registry grants the same ports: {}",
            lines.join("; ")
        ),
        "stop one of the two, and start it with other --ports",
    ))
}

fn following(facts: &Facts) -> Judged {
    let reached = facts.state()?.revision();
    let instances = facts.instances()?;
    if instances.iter().all(|it| it.revision.is_none()) {
        return Err(Problem::not_checked(
            "the instances do not say how far they are",
        ));
    }
    let behind = instances.iter().filter_map(|it| {
        let at = it.revision.filter(|at| *at < reached)?;
        let host = host_in(&it.identity, &facts.namespace)?;
        let id = registry_id(&it.identity);
        Some(format!("{id} on host {host} is at revision {at}"))
    });
    let behind: BTreeSet<String> = behind.collect();
    if behind.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = behind.into_iter().collect();
    Err(Problem::fail(
        format!(
            "the log is at revision {reached}, and after three seconds {}",
            lines.join("; ")
        ),
        "see whether that instance reaches the server of the log, and what it has logged; restart it",
    ))
}

fn writing(facts: &Facts) -> Judged {
    let log = facts.log()?;
    facts.instances()?;
    let silence = log
        .told_at
        .zip(log.last_at)
        .map(|(told, last)| told.duration_since(last));
    match silence {
        Some(silence) if silence > SILENCE_MAX => Err(Problem::fail(
            format!(
                "instances answer, and none has written an entry for {} s: each does after five",
                silence.as_secs()
            ),
            "see what the NATS server of the log has logged: one whose disk was full writes nothing until there is room and it \
             was restarted; if it is well, see whether the instances reach it, and restart them one after the other",
        )),
        _ => Ok(()),
    }
}

fn clock(facts: &Facts) -> Judged {
    let mut known = false;
    for Answer { identity, now, .. } in facts.instances()? {
        let Some(now) = now else { continue };
        known = true;
        let host = host_in(identity, &facts.namespace).unwrap_or_default();
        apart(
            *now,
            facts.asked_at,
            &format!("the clock of the instance on host {host}"),
        )?;
    }
    if known {
        return Ok(());
    }
    Err(Problem::not_checked("the instances do not say their time"))
}
