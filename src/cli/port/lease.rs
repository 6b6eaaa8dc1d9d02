//! `onex port lease`

use clap::Args;
use jiff::{Timestamp, Unit};
use uuid::Uuid;

use crate::{
    cli::{
        failure::{Exit, Failure},
        host,
        output::span,
        parse,
        requester::Who,
        session::Session,
    },
    domain::ids::{Host, Label, Name, Port, RequestId, Token, Ttl},
    protocol::port::{Availability, LeaseReply, LeaseRequest, TransportWish},
};

/// Leases a port that nobody else holds.
///
/// It is held for --ttl; `onex port heartbeat` lets it last that long again, `onex port release` gives
/// it back. Once its time is up it must not be used any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  onex port lease --name api --ttl 10m\n  \
        onex port lease --preferred-port 20080 --exact --protocol http -o json")]
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
    #[arg(long, value_name = "NAME")]
    host: Option<Host>,
    /// In which port space: tcp or udp [default: tcp].
    #[arg(long, value_parser = parse::transport)]
    transport: Option<TransportWish>,
    /// The port to try first.
    #[arg(long, alias = "port", value_name = "PORT", value_parser = parse::port)]
    preferred_port: Option<Port>,
    /// Only the preferred port will do.
    #[arg(long, requires = "preferred_port")]
    exact: bool,
    /// A label by which it can be found; may be given 16 times.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<Label>,
    /// Your name for this request: the same again gets the same lease, never a second one [default: a
    /// new one].
    #[arg(long, value_name = "UUID", value_parser = parse::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    who: Who,
}

impl Lease {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request_id = self.request_id.unwrap_or_else(|| RequestId(Uuid::now_v7()));
        let lease = session.client.lease(&self.request(request_id)?).await;
        let lease = session.settle(lease).await.map_err(|failure| {
            failure.repeat_with(request_id, &format!("--request-id {}", request_id.0))
        })?;
        super::show(session, &lease)?;
        session.output.warnings(&lease.warnings);
        for note in notes(&lease) {
            session.output.note(&note);
        }
        Ok(Exit::Done)
    }

    fn request(self, request_id: RequestId) -> Result<LeaseRequest, Failure> {
        let protocol = match (self.protocol, self.transport) {
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
            transport: self.transport,
            preferred_port: self.preferred_port,
            exact: self.exact.then_some(true),
            count: None,
            contiguous: None,
            node_id: None,
            epoch: None,
            name: self.name,
            labels: self.labels,
            request_id: Some(request_id),
            requested_at: Timestamp::now().round(Unit::Millisecond).ok(),
            min_revision: None,
        })
    }
}

/// Nothing more than what is known anyway: the wire wants a protocol, and people who just need a port
/// have none to tell.
fn default_protocol(transport: Option<TransportWish>) -> &'static str {
    match transport.unwrap_or_default() {
        TransportWish::Tcp | TransportWish::Both => "tcp",
        TransportWish::Udp => "udp",
    }
}

fn notes(lease: &LeaseReply) -> Vec<String> {
    let mut notes = vec![format!(
        "Yours for {}. Keep it with `onex port heartbeat`, give it back with `onex port release --port {}`.",
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
