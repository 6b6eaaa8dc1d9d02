//! `onex serve`: runs the registry, with a NATS server of its own or on a running one.

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{ArgMatches, Args, builder::ValueParser, parser::ValueSource};
use onex_machine::{is_loopback, own_host};
use onex_types::ids::{Host, Ttl};
use tokio::sync::watch;

use crate::{
    connect::Options,
    embedded,
    protocol::{
        inbox::{InboxPrefix, Inboxes},
        subject::{SubjectPattern, ToolSubjects},
    },
    registry::{
        Registry,
        settings::{self, Settings},
    },
};

use super::{
    connection::{Flags, Target},
    folders, host, logging,
    parse::{self, Ranges, Seconds},
    stopping::{Signals, StopSignal},
    store::Store,
    typed,
};

mod failure;

pub(super) use failure::is_about_data;

/// As many copies of a stream as a NATS server keeps at most.
const REPLICAS_MAX: u64 = 5;
/// How long until a registry that ended by a fault of its own is started again; twice as long each time.
const RESTART_PAUSE_MIN: Duration = Duration::from_secs(1);
/// How long at most. One that lasted longer than this is started again as if it were the first time.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Run the registry.
///
/// Without --nats and --context it starts a NATS server of its own on the loopback address, with its data
/// in --data. Ctrl-C, SIGTERM or SIGHUP lets it answer what is under way and stop; a second one stops it at once.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Serve {
    /// Start a NATS server of its own, even when NATS_URL or NATS_CONTEXT is set, as --listen and --data do too.
    #[arg(long)]
    embedded: bool,
    /// Where the NATS server of its own listens.
    #[arg(long, env = "ONEX_LISTEN", value_name = "ADDR:PORT", default_value_t = embedded::Options::LISTEN_DEFAULT, value_parser = parse::listen)]
    listen: SocketAddr,
    /// Where the NATS server of its own keeps its data [default: $XDG_DATA_HOME/onex-registry, or
    /// ~/.local/share/onex-registry].
    #[arg(long, env = "ONEX_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    store: Store,
    /// The host that this registry's ports are on [default: this machine's name].
    #[arg(long, env = "ONEX_HOST", value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// Ports to grant: numbers and ranges with commas between.
    #[arg(long, env = "ONEX_PORTS", value_name = "RANGES", default_value = settings::RANGES_DEFAULT, value_parser = parse::some_ranges)]
    ports: Ranges,
    /// Ports never to grant: numbers and ranges with commas between.
    #[arg(long, env = "ONEX_RESERVED", value_name = "RANGES", default_value = "", value_parser = parse::ranges)]
    reserved: Ranges,
    /// Longest TTL to grant, up to 24h.
    #[arg(long, env = "ONEX_TTL_MAX", value_name = "TIME", default_value = "24h", value_parser = parse::ttl)]
    ttl_max: Ttl,
    /// Copies of the bucket, on as many servers of a cluster, 1 to 5 [default: those that it has; for a new one as many
    /// as there are servers, at most 3].
    #[arg(long, env = "ONEX_REPLICAS", value_name = "N", value_parser = number(1..=REPLICAS_MAX))]
    replicas: Option<usize>,
    /// Bytes of events to keep, the oldest going first. A stream that exists keeps its setting [default: 1 GiB, or less
    /// where the server has less room].
    #[arg(long, env = "ONEX_EVENTS_BYTES_MAX", value_name = "BYTES", value_parser = parse::number::<u64>(1..=i64::MAX.unsigned_abs()))]
    events_bytes_max: Option<u64>,
    /// Bytes that the log of all changes may take [default: those that it has; for a new one 4 GiB, or less where the
    /// server has less room].
    #[arg(long, env = "ONEX_STORE_BYTES_MAX", value_name = "BYTES", value_parser = parse::number::<u64>(settings::STORE_BYTES_MAX_MIN..=i64::MAX.unsigned_abs()))]
    store_bytes_max: Option<u64>,
    /// Bytes of entries after which a snapshot of the log is written, for tests.
    #[arg(long, value_name = "BYTES", hide = true, value_parser = number(1..=u64::MAX))]
    snapshot_bytes: Option<usize>,
    /// How long to keep events. A stream that exists keeps its setting [default: 7d].
    #[arg(long, env = "ONEX_EVENTS_AGE_MAX", value_name = "TIME", value_parser = parse::kept_long)]
    events_age_max: Option<Seconds>,
    /// Refuse hosts that have no pool yet.
    #[arg(long, env = "ONEX_KNOWN_HOSTS_ONLY")]
    known_hosts_only: bool,
    /// Do not try ports of --host after a grant: this process is not on that machine's network (in a
    /// container, for instance). Leases are `unverified` then.
    #[arg(long, env = "ONEX_NO_PROBE")]
    no_probe: bool,
    /// Leases that one requester may hold, 1 to 1000.
    #[arg(long, env = "ONEX_HOLDER_LEASES_MAX", value_name = "N", default_value_t = settings::HOLDER_LEASES_MAX, value_parser = number(1..=settings::HOLDER_LEASES_MAX as u64))]
    holder_leases_max: usize,
    /// Hosts for which ports are kept.
    #[arg(long, env = "ONEX_HOSTS_MAX", value_name = "N", default_value_t = settings::HOSTS_MAX, value_parser = number(1..=u64::MAX))]
    hosts_max: usize,
    /// Nodes that may be known, those that have ended and are still remembered included.
    #[arg(long, env = "ONEX_NODES_MAX", value_name = "N", default_value_t = settings::NODES_MAX, value_parser = number(1..=u64::MAX))]
    nodes_max: usize,
    /// Buses that may be known, those that have ended and are still remembered included.
    #[arg(long, env = "ONEX_BUSES_MAX", value_name = "N", default_value_t = settings::BUSES_MAX, value_parser = number(1..=u64::MAX))]
    buses_max: usize,
    /// How long a node or bus that has ended is remembered.
    #[arg(long, env = "ONEX_RETENTION", value_name = "TIME", default_value_t = Seconds(settings::RETENTION_SECONDS), value_parser = parse::kept_long)]
    retention: Seconds,
    /// Subjects on which tools may listen beside their own defaults, with commas between: `calc.>,text.*`.
    /// Default: any that is not the server's or a registry's; where the NATS server knows the registry as a user, by
    /// credentials or as its no_auth_user, only the defaults.
    #[arg(
        long,
        env = "ONEX_TOOL_SUBJECTS",
        value_name = "SUBJECTS",
        value_delimiter = ','
    )]
    tool_subjects: Vec<SubjectPattern>,
    /// What the inboxes of clients begin with that do not use `_INBOX`, with commas between. A request
    /// with any other reply subject is dropped.
    #[arg(
        long,
        env = "ONEX_INBOX_PREFIX",
        value_name = "PREFIX",
        value_delimiter = ','
    )]
    inbox_prefix: Vec<InboxPrefix>,
    /// Requests in flight at the same time; one more is told BUSY. Heartbeats, releases and deregistrations have as many
    /// places of their own.
    #[arg(long, env = "ONEX_IN_FLIGHT_MAX", value_name = "N", default_value_t = settings::REQUESTS_IN_FLIGHT_MAX, value_parser = parse::number::<u32>(1..=u32::MAX.into()))]
    in_flight_max: u32,
    /// Calls of tools under way at the same time; one more is told BUSY.
    #[arg(long, env = "ONEX_INVOKES_MAX", value_name = "N", default_value_t = settings::INVOKES_MAX, value_parser = parse::number::<u32>(1..=u32::MAX.into()))]
    invokes_max: u32,
    /// Calls of one tool that one node may have under way from this instance; further ones wait.
    #[arg(long, env = "ONEX_INVOKES_PER_PROVIDER_MAX", value_name = "N", default_value_t = settings::INVOKES_PER_PROVIDER_MAX, value_parser = parse::number::<u32>(1..=u32::MAX.into()))]
    invokes_per_provider_max: u32,
    /// Calls that may wait, first come first served, until one provider has room; one more is told BUSY.
    #[arg(long, env = "ONEX_INVOKE_QUEUE_MAX", value_name = "N", default_value_t = settings::INVOKE_QUEUE_MAX, value_parser = number(0..=u64::MAX))]
    invoke_queue_max: usize,
    /// Calls with a request id that may be remembered; one more is told BUSY.
    #[arg(long, env = "ONEX_CALLS_MAX", value_name = "N", default_value_t = settings::CALLS_MAX, value_parser = number(1..=u64::MAX))]
    calls_max: usize,
    /// How long the outcome of a call with a request id is remembered, up to 24h.
    #[arg(long, env = "ONEX_CALLS_KEPT", value_name = "TIME", default_value_t = Seconds(settings::CALLS_KEPT_SECONDS), value_parser = parse::kept_a_day)]
    calls_kept: Seconds,
    /// Variables that have no meaning because the environment names a running NATS server too.
    #[arg(skip)]
    unused: Vec<&'static str>,
    /// See [`Settings::given`]; and what gave each.
    #[arg(skip)]
    given: Vec<(&'static str, String)>,
    /// What said the data folder; none where it is the default.
    #[arg(skip)]
    data_by: Option<&'static str>,
    /// The flags that only say where data is, for another command on it.
    #[arg(skip)]
    repeated: String,
    /// Log as JSON lines. RUST_LOG says what is logged, `info` by default: a level alone is one for the registry's own
    /// messages, `async_nats=debug` one for a library's.
    #[arg(long, env = "ONEX_LOG_JSON")]
    log_json: bool,
}

/// Options whose values all instances share, with the names under which a log keeps them.
const SHARED: [(&str, &str); 11] = [
    ("ports", "ports_default"),
    ("reserved", "reserved_default"),
    ("ttl_max", "ttl_max"),
    ("known_hosts_only", "known_hosts_only"),
    ("holder_leases_max", "holder_leases_max"),
    ("hosts_max", "hosts_max"),
    ("nodes_max", "nodes.nodes_max"),
    ("buses_max", "nodes.buses_max"),
    ("retention", "retention_ms"),
    ("calls_max", "calls_max"),
    ("calls_kept", "calls_kept_ms"),
];

impl Serve {
    /// Settles which NATS server is meant, `given` being what the flags were parsed from; or says why they cannot be
    /// meant. A flag goes before the environment. What comes from the environment is there for every command, and is
    /// passed over where it has no meaning.
    pub(super) fn settle(&mut self, flags: &Flags, given: &ArgMatches) -> Result<(), String> {
        let comes_from = |id: &str, source| given.value_source(id) == Some(source);
        let is_flag = |id: &&str| comes_from(id, ValueSource::CommandLine);
        let flag = |id: &str| format!("--{}", id.replace('_', "-"));
        let by_somebody = |id: &str| {
            let source = given.value_source(id);
            source.is_some_and(|source| source != ValueSource::DefaultValue)
        };
        let shared = SHARED.iter().filter(|(id, _)| by_somebody(id));
        let by = |id: &str| match given.value_source(id) {
            Some(ValueSource::EnvVariable) => format!("ONEX_{}", id.to_uppercase()),
            _ => flag(id),
        };
        self.given = shared.map(|(id, name)| (*name, by(id))).collect();
        if let Some(host) = self.host.as_ref().filter(|host| is_loopback(host)) {
            let from_variable = comes_from("host", ValueSource::EnvVariable);
            let whose = if from_variable { "ONEX_HOST" } else { "--host" };
            return Err(format!(
                "{whose} {host} means another machine to everyone: give this machine's name, as others call it"
            ));
        }
        if self.ports.are_within(&self.reserved) {
            let named = |id: &str, ranges: &Ranges| match given.value_source(id) {
                Some(ValueSource::CommandLine) => format!("{} {ranges}", flag(id)),
                Some(ValueSource::EnvVariable) => {
                    format!("ONEX_{}={ranges}", id.to_ascii_uppercase())
                }
                _ => format!("{}, {ranges} by default", flag(id)),
            };
            return Err(format!(
                "{} leaves no port of {}: reserve fewer ports, or grant others",
                named("reserved", &self.reserved),
                named("ports", &self.ports)
            ));
        }
        self.data_by = match given.value_source("data") {
            Some(ValueSource::CommandLine) => Some("--data"),
            Some(ValueSource::EnvVariable) => Some("ONEX_DATA"),
            _ => None,
        };
        let places = self.store.places().into_iter();
        let data = self.data.as_ref().map(|data| data.display().to_string());
        let places = places.chain([("data", data)]).filter(|(id, _)| is_flag(id));
        let places = places.filter_map(|(id, place)| Some((flag(id), place?)));
        self.repeated = places
            .map(|(flag, place)| typed::argument((&flag, place)))
            .collect();
        let own = ["embedded", "listen", "data"].into_iter().find(is_flag);
        let running = ["nats", "context"].into_iter().find(is_flag);
        if let (Some(own), Some(running)) = (own, running) {
            let (own, running) = (flag(own), flag(running));
            return Err(format!(
                "{own} is for a NATS server of its own, and {running} names a running one: give one of the two"
            ));
        }
        self.embedded |= own.is_some();
        if !self.embedded && flags.name_one() {
            let of_own = [("listen", "ONEX_LISTEN"), ("data", "ONEX_DATA")].into_iter();
            let unused = of_own.filter(|(id, _)| comes_from(id, ValueSource::EnvVariable));
            self.unused = unused.map(|(_, name)| name).collect();
            return Ok(());
        }
        if is_flag(&"replicas") && self.replicas.is_some_and(|replicas| replicas > 1) {
            return Err(
                "--replicas is for a cluster: a NATS server of its own is one server".to_owned(),
            );
        }
        let whoever = [
            "creds",
            "tls_ca",
            "tls_cert",
            "tls_key",
            "store_nats",
            "store_creds",
        ];
        match whoever.into_iter().find(is_flag).map(flag) {
            Some(who) => Err(format!(
                "{who} is for a running NATS server: say which with --nats or --context"
            )),
            None => Ok(()),
        }
    }

    pub(super) async fn run(self, flags: &Flags) -> ExitCode {
        logging::start(self.log_json);
        let repeated = flags.repeated() + &self.repeated;
        match Box::pin(self.serve(flags)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let message = failure::message(&error);
                eprintln!("onex serve: {}", typed::with_flags(&message, &repeated));
                failure::exit_code(&error).into()
            }
        }
    }

    async fn serve(self, flags: &Flags) -> anyhow::Result<()> {
        // Before anything is started: a signal that comes meanwhile must not leave it behind.
        let mut signals = Signals::catch()?;
        let (send_first, first) = watch::channel(None);
        tokio::select! {
            outcome = self.serve_until(flags, StopSignal(first)) => outcome,
            again = signals.listen(&send_first) => Err(anyhow::anyhow!(
                "{again} came again: stopped at once, whatever was under way"
            )),
        }
    }

    async fn serve_until(self, flags: &Flags, stop_signal: StopSignal) -> anyhow::Result<()> {
        let mut settings = self.settings(flags)?;
        let running = if self.embedded {
            None
        } else {
            flags.named().map_err(failure::unnamed)?
        };
        let (mut server, nats) = if let Some(Target {
            options, because, ..
        }) = &running
        {
            tracing::info!(
                nats = options.shown(),
                "using a running NATS server, {because}"
            );
            for variable in &self.unused {
                tracing::warn!(
                    "{variable} is not used: it is for a NATS server of its own; --embedded starts one"
                );
            }
            settings.store = self.store.options(options);
            if let Some(store) = &settings.store {
                tracing::info!(nats = store.shown(), "the log is kept elsewhere");
            }
            settings.notes = folders::notes_of(&settings, options);
            (None, options.clone())
        } else {
            let options = embedded_options(self.listen, self.data.as_ref())?;
            settings.notes = folders::notes(&settings, options.data.display().to_string());
            let give_up = async {
                stop_signal.received().await;
            };
            let started = embedded::Server::start_unless(&options, give_up).await;
            let started = started.map_err(|error| failure::unstarted(error, self.data_by));
            let Some(server) = started? else {
                stopped_while_starting(stop_signal.received().await);
                return Ok(());
            };
            let nats = Options::at(server.url());
            (Some(server), nats)
        };
        let of_own = || format!(" --server {}", nats.shown());
        let nats_flags = running.as_ref().map_or_else(of_own, Target::for_nats);
        let outcome = tokio::select! {
            outcome = run(settings, &nats, &nats_flags, &stop_signal) => outcome.map_err(|error| {
                let store = running.as_ref().and_then(|bus| self.store.target(&bus.options));
                let error = failure::differing(error, &self.given);
                failure::unreached(error, running.as_ref(), store.as_ref())
            }),
            how = exited(&mut server, &stop_signal) => Err(anyhow::anyhow!("the NATS server ended: {how}")),
        };
        if let Some(server) = server {
            server.stop().await;
        }
        outcome
    }

    fn settings(&self, flags: &Flags) -> anyhow::Result<Settings> {
        let host = match &self.host {
            Some(host) => host.clone(),
            None => own_host()
                .context("this machine's name cannot be used as a host; choose one with --host")?,
        };
        Ok(Settings {
            given: self.given.iter().map(|(name, _)| *name).collect(),
            namespace: flags.namespace(),
            probe: !self.no_probe,
            ranges: self.ports.0.clone(),
            reserved: self.reserved.0.clone(),
            ttl_max: self.ttl_max,
            replicas: self.replicas,
            store: None,
            store_size: settings::Size::or(self.store_bytes_max, settings::STORE_BYTES_MAX),
            snapshot_bytes: self.snapshot_bytes,
            events_size: settings::Size::or(self.events_bytes_max, settings::EVENTS_BYTES_MAX),
            events_age_max: self.events_age_max.map(|age| Duration::from_secs(age.0)),
            known_hosts_only: self.known_hosts_only,
            holder_leases_max: self.holder_leases_max,
            hosts_max: self.hosts_max,
            nodes_max: self.nodes_max,
            buses_max: self.buses_max,
            retention: Duration::from_secs(self.retention.0),
            inboxes: Inboxes::new(self.inbox_prefix.clone()),
            tool_subjects: ToolSubjects::new(self.tool_subjects.clone()),
            requests_in_flight_max: self.in_flight_max,
            calls_max: self.calls_max,
            calls_kept: Duration::from_secs(self.calls_kept.0),
            invokes_max: self.invokes_max,
            invokes_per_provider_max: self.invokes_per_provider_max,
            invoke_queue_max: self.invoke_queue_max,
            ..Settings::on(host)
        })
    }
}

/// A NATS server of its own, with its data in that folder or in the default one.
pub(super) fn embedded_options(
    listen: SocketAddr,
    data: Option<&PathBuf>,
) -> anyhow::Result<embedded::Options> {
    let data = match data {
        Some(data) => data.clone(),
        None => {
            folders::data_folder().context("no home folder; say where to keep data with --data")?
        }
    };
    // A store is known by this name, from wherever it is started.
    let data = std::path::absolute(&data).unwrap_or(data);
    Ok(embedded::Options { listen, data })
}

fn number(range: RangeInclusive<u64>) -> ValueParser {
    ValueParser::new(parse::number::<usize>(range))
}

fn stopped_while_starting(signal: &str) {
    tracing::info!(signal, "stopped while starting");
}

/// Serves until it is told to stop; then answers what is in flight.
async fn run(
    settings: Settings,
    nats: &Options,
    nats_flags: &str,
    stop_signal: &StopSignal,
) -> anyhow::Result<()> {
    let subject = settings.namespace.subject("port.lease");
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let began = Instant::now();
        let mut registry = tokio::select! {
            registry = Registry::start(settings.clone(), nats) => registry?,
            signal = stop_signal.received() => {
                stopped_while_starting(signal);
                return Ok(());
            }
        };
        tracing::info!("try: nats{nats_flags} req {subject} ''");
        tokio::select! {
            failure = registry.failed() => {
                registry.abandon();
                if !failure.is_passing() {
                    return Err(failure.into());
                }
                if began.elapsed() > RESTART_PAUSE_MAX {
                    pause = RESTART_PAUSE_MIN;
                }
                // Leases outlast a registry: a new one goes on where this one ended.
                tracing::error!(%failure, "starting again in {} s", pause.as_secs());
            }
            signal = stop_signal.received() => {
                tracing::info!(signal, "draining");
                registry.drain().await;
                tracing::info!("stopped");
                return Ok(());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(RESTART_PAUSE_MAX),
            signal = stop_signal.received() => {
                stopped_while_starting(signal);
                return Ok(());
            }
        }
    }
}

/// How the server of its own ended, if it did; tells it meanwhile when it is about to be stopped.
async fn exited(server: &mut Option<embedded::Server>, stop_signal: &StopSignal) -> String {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    tokio::select! {
        how = server.exited() => return how,
        _ = stop_signal.received() => {}
    }
    server.will_stop();
    server.exited().await
}
