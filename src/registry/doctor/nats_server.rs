//! Checks of the NATS servers: that of the requests, and the one that keeps the log.

use jiff::{SignedDuration, Timestamp};
use onex_log::{Server, published, published_of};
use onex_nats::server_version::{INSTALL, SERVER_VERSION_MIN};

use crate::{
    protocol::{
        endpoint::{Endpoint, NODE_BYTES_MAX},
        names::{PEER_INSTANCES, bucket_subject},
    },
    registry::rights::User,
};

use super::{
    facts::{Facts, NOT_LET, Named},
    problem::{Judged, Problem},
};

pub(super) const CHECKS: &[Named] = &[
    ("server.version", version),
    ("server.payload", payload),
    ("server.jetstream", jetstream),
    ("server.storage", storage),
    ("server.rights", rights),
    ("server.clock", clock),
    ("server.sync", sync),
];

/// How far two clocks may be apart.
pub(super) const APART_MAX: SignedDuration = SignedDuration::from_secs(2);
/// A message of this length is what servers take where nobody says otherwise, in bytes.
const PAYLOAD_BYTES_USUAL: usize = 1024 * 1024;
/// What to do about rights that a registry lacks.
const RIGHTS_REMEDY: &str = "run this as the user that the registry is (--creds or --context); if it is, allow it in the permissions of \
                             that user, and reload the server";
/// From so many hundredths of what an account may store on, it is nearly full.
const STORAGE_PERCENT: u64 = 80;

fn servers(facts: &Facts) -> [&Server; 2] {
    [&facts.bus, &facts.store]
}

fn version(facts: &Facts) -> Judged {
    let mut servers = servers(facts).into_iter();
    let Some(old) = servers.find(|server| server.check_version().is_err()) else {
        return Ok(());
    };
    Err(Problem::fail(
        format!(
            "the NATS server at {} is version {}; at least {SERVER_VERSION_MIN} is needed",
            old.address, old.version
        ),
        format!("install a newer one, for instance with `{INSTALL}`, and restart it"),
    ))
}

fn payload(facts: &Facts) -> Judged {
    let remedy = "raise max_payload in its configuration, and reload it";
    for server in servers(facts) {
        let is = format!(
            "the NATS server at {} takes messages of {} bytes",
            server.address, server.payload_max
        );
        if server.check_payload().is_err() {
            let finding = format!("{is}: a registry does not start there");
            return Err(Problem::fail(finding, remedy));
        }
        if server.payload_max < PAYLOAD_BYTES_USUAL {
            let bytes = NODE_BYTES_MAX.min(server.payload_max / 16 * 7);
            let finding = format!(
                "{is}, where {PAYLOAD_BYTES_USUAL} are usual: registrations of nodes have {bytes} bytes at most, and pages of \
                 lists are shorter"
            );
            return Err(Problem::warn(finding, remedy));
        }
    }
    Ok(())
}

fn jetstream(facts: &Facts) -> Judged {
    match &facts.account {
        Ok(_) => Ok(()),
        Err(onex_log::Error::NoJetStream) => Err(Problem::fail(
            "the NATS server has no JetStream for this account",
            "start it with --jetstream, or enable JetStream for the account",
        )),
        Err(_) if facts.refusal.is_some() => Err(Problem::not_checked(NOT_LET)),
        Err(error) => Err(Problem::fail(
            format!("JetStream does not answer: {}", onex_types::chain(error)),
            "start the servers of the cluster again: more than half of them must run",
        )),
    }
}

fn storage(facts: &Facts) -> Judged {
    let unknown = || match facts.refusal {
        Some(_) => Problem::not_checked(NOT_LET),
        None => Problem::not_checked("JetStream does not answer"),
    };
    let account = facts.account.as_ref().map_err(|_| unknown())?;
    let Some(max) = account.bytes_max else {
        return Err(Problem::unknown(
            "the account has no bound of its own, and a server says to its system account only what max_file_store leaves",
            "compare what `nats server report jetstream` says as a user of that account with what the disk has",
        ));
    };
    let remedy = "raise max_file of the account, or give its streams a smaller --max-bytes with `nats stream edit`";
    if account.bytes_reserved > max {
        let finding = format!(
            "the streams of the account may take {} bytes together, and the account {max}: they cannot grow to their bounds",
            account.bytes_reserved
        );
        return Err(Problem::warn(finding, remedy));
    }
    if account.bytes.saturating_mul(100) > max.saturating_mul(STORAGE_PERCENT) {
        let finding = format!(
            "the streams of the account take {} of its {max} bytes: more than {STORAGE_PERCENT} %",
            account.bytes
        );
        return Err(Problem::warn(finding, remedy));
    }
    Ok(())
}

fn rights(facts: &Facts) -> Judged {
    let Facts {
        namespace, bucket, ..
    } = facts;
    if let Some(refusal) = &facts.refusal {
        let finding = format!("a registry needs JetStream, and the NATS server says: {refusal}");
        return Err(Problem::fail(finding, RIGHTS_REMEDY));
    }
    let peers = || [PEER_INSTANCES.to_owned(), namespace.peer_load()];
    let any_inbox = || ["_INBOX.x.y".to_owned()];
    let mut subscribed: Vec<String> = Vec::new();
    subscribed.extend(Endpoint::ALL.map(|it| namespace.subject(it.name())));
    subscribed.extend(["PING", "INFO", "STATS"].map(|verb| format!("$SRV.{verb}")));
    subscribed.extend(peers().into_iter().chain(any_inbox()));
    let event = namespace.events().replace('>', "port.leased.x");
    let view = namespace.view_bucket();
    let mut published_on: Vec<String> = vec![event, bucket_subject(&view, "port.x.tcp.1")];
    published_on.extend(published_of(&namespace.events_stream()));
    published_on.extend(published_of(&facts.view_stream));
    published_on.extend(peers().into_iter().chain(any_inbox()));
    may(facts.bus_user.as_ref(), &subscribed, &published_on)?;
    may(facts.store_user.as_ref(), &any_inbox(), &published(bucket))
}

/// Whether a user may do all of that.
fn may(user: Option<&User>, subscribed: &[String], published: &[String]) -> Judged {
    let Some(user) = user else {
        return Err(Problem::unknown(
            "the server does not tell what this user may do",
            "let it publish on $SYS.REQ.USER.INFO, or compare its permissions with docs/protocol.md",
        ));
    };
    let rights = &user.permissions;
    let not = |verb: &str, subjects: &[String], has: &dyn Fn(&str) -> bool| {
        let missing = subjects.iter().filter(|subject| !has(subject));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        missing.first().map(|first| match missing.len() {
            1 => format!("{verb} {first}"),
            count => format!("{verb} {first} and {} more", count - 1),
        })
    };
    let missing = [
        not("subscribe to", subscribed, &|it| rights.subscribe.has(it)),
        not("publish on", published, &|it| rights.publish.has(it)),
    ];
    let missing: Vec<String> = missing.into_iter().flatten().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let name = match user.user.as_str() {
        "" => "this connection".to_owned(),
        name => format!("user {name}"),
    };
    Err(Problem::fail(
        format!(
            "{name} may not {}, as a registry has to",
            missing.join(", nor ")
        ),
        RIGHTS_REMEDY,
    ))
}

fn clock(facts: &Facts) -> Judged {
    let told = facts.log()?.told_at;
    let told = told.ok_or_else(|| Problem::not_checked("the server does not say its time"))?;
    apart(told, facts.told_at, "the NATS server's clock")
}

/// Whether a clock is close to that of this machine, both having been looked at at once.
pub(super) fn apart(clock: Timestamp, here: Timestamp, whose: &str) -> Judged {
    let ahead = clock.duration_since(here);
    if ahead.abs() <= APART_MAX {
        return Ok(());
    }
    let direction = if ahead.is_positive() {
        "ahead of"
    } else {
        "behind"
    };
    Err(Problem::warn(
        format!(
            "{whose} is {} s {direction} that of this machine: times that people are shown, as expires_at, are wrong by that; \
             leases are not",
            ahead.abs().as_secs()
        ),
        "let both machines set their clocks by NTP: `timedatectl set-ntp true`",
    ))
}

fn sync(_: &Facts) -> Judged {
    Err(Problem::unknown(
        "a server does not tell its users whether it syncs every write to disk",
        "look for `sync_interval: always` in its jetstream block: without it a power cut may take the last two minutes",
    ))
}
