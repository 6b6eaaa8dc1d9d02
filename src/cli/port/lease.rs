//! `onex port lease`

use std::time::Duration;

use clap::Args;
use jiff::{Timestamp, Unit};
use onex_machine::{new_id, parents_holder};
use onex_types::ids::{Host, Label, Name, Port, RequestId, Token, Ttl};
use tokio::time::Instant;

use crate::{
    cli::{
        failure::{Exit, Failure},
        host,
        output::{Format, span},
        parse,
        requester::{Saying, Who},
        session::Session,
        typed::argument,
        variables,
    },
    client::Client,
    protocol::port::{Availability, LEASE_PORTS_MAX, LeaseReply, LeaseRequest, RequestedTransport},
};

use super::rows;

/// How long `--wait` does not ask again at most: a port that is given back early is found that soon.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(1);
/// And at least.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(50);
/// The variable with all ports of a lease that has several, with commas between them.
const VARIABLE_PORTS: &str = "PORTS";
/// The variable with the lease's id.
const VARIABLE_LEASE_ID: &str = "ONEX_LEASE_ID";

/// Lease a port that nobody else holds.
///
/// It is held for --ttl; `onex port heartbeat` lets it last that long again, `onex port release` gives
/// it back. Once its time is up it must not be used any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  onex port lease --name api --ttl 10m\n  \
        onex port lease --port 20080 --protocol http -o json\n  \
        onex port lease --count 3 --contiguous -o port\n  \
        export $(onex port lease --name api --wait 30s -o env)")]
pub(in crate::cli) struct Lease {
    /// Your name for it: you get the same port again when it is free, and others can resolve it.
    #[arg(long)]
    name: Option<Name>,
    /// How long it lasts without a heartbeat: seconds, or with a unit as 10m; at most a day
    /// [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = parse::ttl)]
    ttl: Option<Ttl>,
    /// What will be spoken there, for those who look it up: http, grpc, redis, … [default: the
    /// transport's name].
    #[arg(long)]
    protocol: Option<Token>,
    /// Machine that it will be bound on [env: ONEX_HOST] [default: this machine].
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// In which port space: tcp, udp or both [default: tcp].
    #[arg(long, value_parser = parse::transport)]
    transport: Option<RequestedTransport>,
    /// The same number in both port spaces: as --transport both.
    #[arg(long, conflicts_with = "transport")]
    both: bool,
    /// How many ports, 1 to 64: all of them, or none [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(LEASE_PORTS_MAX)))]
    count: Option<u16>,
    /// Only ports that follow one another.
    #[arg(long, requires = "count")]
    contiguous: bool,
    /// The only port that will do.
    #[arg(long, value_name = "PORT", value_parser = parse::port, group = "which")]
    port: Option<Port>,
    /// The port to try first; where it is taken you get another one.
    #[arg(long, value_name = "PORT", value_parser = parse::port, group = "which")]
    preferred_port: Option<Port>,
    /// Only the preferred port will do: the same as --port.
    #[arg(long, requires = "which")]
    exact: bool,
    /// A label by which it can be found; may be given 16 times.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<Label>,
    /// Where no port is free, or not the exact one: ask again for that long, as 30s or 5m, at most an hour.
    #[arg(long, value_name = "TIME", value_parser = parse::wait)]
    wait: Option<Duration>,
    /// Your name for this request: the same again gets the same lease, never a second one [default: a
    /// new one].
    #[arg(long, value_name = "UUID", value_parser = parse::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    saying: Saying,
}

impl Lease {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request_id = self.request_id.unwrap_or_else(|| RequestId(new_id()));
        let wait = self.wait;
        // This process ends at once: what goes on with the port is the one that started it.
        let client = session
            .client
            .clone()
            .with_holder(self.saying.of(parents_holder()));
        let (requester, place) = self.repeated();
        let request = self.request(request_id)?;
        let lease = lease(session, &client, &request, wait)
            .await
            .map_err(|failure| {
                failure.repeat_with(request_id, &format!("--request-id {}", request_id.0))
            })?;
        let format = session.output.format();
        session.output.show(
            &lease,
            |lease| lines(lease, format),
            |lease, detail| vec![rows::table(std::slice::from_ref(lease), detail).into()],
        )?;
        session.output.warnings(&lease.warnings);
        for note in notes(&lease, &requester, &place) {
            session.output.note(&note);
        }
        Ok(Exit::Done)
    }

    /// The flags that say whose lease it is, and where, for the commands that are shown.
    fn repeated(&self) -> (String, String) {
        let requester = self
            .who
            .given()
            .map(|id| argument(("--requester", id.to_string())));
        let host = self.host.as_ref();
        let host = host.map(|host| argument(("--host", host.to_string())));
        let udp = self.transport() == Some(RequestedTransport::Udp);
        let transport = udp.then(|| argument(("--transport", "udp".to_owned())));
        let place = host.into_iter().chain(transport).collect();
        (requester.unwrap_or_default(), place)
    }

    fn transport(&self) -> Option<RequestedTransport> {
        self.both
            .then_some(RequestedTransport::Both)
            .or(self.transport)
    }

    fn request(self, request_id: RequestId) -> Result<LeaseRequest, Failure> {
        let transport = self.transport();
        let protocol = match (self.protocol, transport) {
            (Some(protocol), _) => protocol,
            (None, transport) => default_protocol(transport)
                .parse()
                .map_err(|error| Failure::usage(format!("--protocol {error}")))?,
        };
        Ok(LeaseRequest {
            requester_id: self.who.id()?,
            protocol,
            ttl: self.ttl,
            host: Some(host::meant(self.host)?),
            transport,
            preferred_port: self.port.or(self.preferred_port),
            exact: (self.exact || self.port.is_some()).then_some(true),
            count: self.count,
            contiguous: self.contiguous.then_some(true),
            node_id: None,
            epoch: None,
            name: self.name,
            labels: self.labels,
            request_id: Some(request_id),
            holder: None,
            requested_at: Timestamp::now().round(Unit::Millisecond).ok(),
            min_revision: None,
        })
    }
}

/// Asks for a lease; again while no port is free, as long as `wait` says.
async fn lease(
    session: &Session,
    client: &Client,
    request: &LeaseRequest,
    wait: Option<Duration>,
) -> Result<LeaseReply, Failure> {
    let until = wait.map(|wait| Instant::now() + wait);
    let mut told = false;
    loop {
        let leased = client.lease(request).await;
        let failure = match session.settle(leased).await {
            Ok(lease) => return Ok(lease),
            Err(failure) => failure,
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let Some(left) = left.filter(|left| !left.is_zero() && failure.may_pass()) else {
            return Err(failure);
        };
        if !told {
            let whole = wait.unwrap_or_default().as_millis();
            let whole = span(u64::try_from(whole).unwrap_or(u64::MAX));
            let message = failure.message();
            session
                .output
                .remark(&format!("Waiting for up to {whole}: {message}"));
            told = true;
        }
        let again = failure.retry_after().unwrap_or(ASK_AGAIN_MAX);
        tokio::time::sleep(again.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX).min(left)).await;
    }
}

/// What programs take of it, line by line.
fn lines(lease: &LeaseReply, format: Format) -> Vec<String> {
    match format {
        Format::Port => lease.ports.iter().map(ToString::to_string).collect(),
        Format::Env => {
            let port = lease.port;
            let named = lease.name.as_ref();
            let named = named.map(|name| format!("{}={port}", variables::of(name)));
            let several = (lease.ports.len() > 1).then(|| {
                let ports: Vec<String> = lease.ports.iter().map(ToString::to_string).collect();
                format!("{VARIABLE_PORTS}={}", ports.join(","))
            });
            [format!("{}={port}", variables::FIRST)]
                .into_iter()
                .chain(several)
                .chain(named)
                .chain([format!("{VARIABLE_LEASE_ID}={}", lease.lease_id)])
                .collect()
        }
        _ => vec![lease.lease_id.to_string()],
    }
}

/// Nothing more than what is known anyway: the wire wants a protocol, and people who just need a port
/// have none to tell.
fn default_protocol(transport: Option<RequestedTransport>) -> &'static str {
    match transport.unwrap_or_default() {
        RequestedTransport::Tcp | RequestedTransport::Both => "tcp",
        RequestedTransport::Udp => "udp",
    }
}

fn notes(lease: &LeaseReply, requester: &str, place: &str) -> Vec<String> {
    let mut notes = vec![format!(
        "Yours for {}. Keep it with `onex port heartbeat{requester}`, give it back with `onex port release --port \
         {}{place}{requester}`.",
        span(lease.ttl.millis()),
        lease.port
    )];
    if lease.availability == Some(Availability::Unverified) {
        notes.push(format!(
            "Nobody could try the port on {}: something that never asked may be using it.",
            lease.host
        ));
    }
    notes
}
