//! What is subscribed over one connection to the bus. It ends with the connection, or when the server allows it no longer, and
//! is begun anew over another one. Everything that the registry knows stays.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use onex_nats::serving::round_trip;

use crate::{
    connect::{self, Options},
    protocol::names::SERVICE,
    throttle::LogThrottle,
};

use super::{
    bus::Bus,
    connection_events::{Refusals, request_events},
    fatal::Fatal,
    intake::{Intake, Listening},
    micro::Micro,
    peers::Peer,
    probing::ProbeAnswers,
    rights::Rights,
    start_error::StartError,
    stop::Stop,
};

/// How long what has come over a connection that lasts may take to be taken.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take until it is known that the server refuses something, beyond its answer to what came later.
const REFUSED_LATE: Duration = Duration::from_millis(50);
/// How long until the next attempt to connect; twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Opens sessions.
pub(super) struct Opener {
    pub(super) nats: Options,
    pub(super) rights: Rights,
    pub(super) micro: Arc<Micro>,
    pub(super) peer: Peer,
    /// None where this process cannot try the ports of its host.
    pub(super) probes: Option<ProbeAnswers>,
    pub(super) bus: Bus,
}

/// A connection on which nothing is subscribed yet.
pub(super) struct Connection {
    pub(super) client: async_nats::Client,
    pub(super) stop: Stop,
    refusals: Refusals,
}

/// Everything that is subscribed.
pub(super) struct Session {
    pub(super) listening: Listening,
    pub(super) stop: Stop,
}

/// Connects for requests.
pub(super) async fn connect(nats: &Options, rights: &Rights) -> Result<Connection, connect::Error> {
    let (stop, refusals) = (Stop::new(), Refusals::default());
    let doubted = rights.clone();
    let on_event = request_events(refusals.clone(), stop.clone(), move || doubted.forget());
    let client = nats
        .connect(&format!("{SERVICE} requests"), on_event)
        .await?;
    Ok(Connection {
        client,
        stop,
        refusals,
    })
}

impl Session {
    /// It ends for that reason. What has come over a connection that lasts is answered.
    pub(super) async fn end(&mut self, intake: &Intake, why: &Fatal) {
        if matches!(why, Fatal::Refused(_)) {
            let _ = timeout(LEAVE_TIMEOUT, intake.leave(&mut self.listening)).await;
        }
        self.stop.abandon();
        self.listening.end();
    }
}

impl Opener {
    /// Subscribes to everything over that connection. `before` is done when service discovery finds this instance, and no
    /// request can come yet.
    pub(super) async fn open(
        &self,
        connection: Connection,
        intake: &Arc<Intake>,
        before: impl Future<Output = ()>,
    ) -> Result<Session, StartError> {
        let Connection {
            client,
            stop,
            refusals,
        } = connection;
        self.bus.replace(client.clone());
        stop.watch_connection(&client).await?;
        // Who is said to run on this machine answers: another one that starts now would take it for stopped.
        self.micro.listen(&stop).await?;
        self.peer.listen(&client, &stop).await?;
        if let Some(probes) = &self.probes {
            probes.listen(&client, &stop).await?;
        }
        round_trip(&client).await;
        before.await;
        intake.invoke.listen(&stop).await?;
        let listening = intake.listen().await?;
        // Ready is when the server routes requests here.
        round_trip(&client).await;
        // The client library tells of refusals from a task of its own.
        sleep(REFUSED_LATE).await;
        if let Some(refusal) = refusals.first() {
            let mut session = Session { listening, stop };
            session.end(intake, &Fatal::Refused(refusal.clone())).await;
            return Err(StartError::Refused(refusal));
        }
        Ok(Session { listening, stop })
    }

    /// Opens sessions until one is there.
    pub(super) async fn again(&self, intake: &Arc<Intake>, why: &Fatal) -> Session {
        tracing::error!(%why, "connecting again");
        let failures = LogThrottle::new("attempts to connect");
        let mut pause = PAUSE_MIN;
        loop {
            match self.attempt(intake).await {
                Ok(session) => {
                    tracing::info!("taking requests again");
                    return session;
                }
                Err(error) => {
                    if failures.admits() {
                        tracing::warn!(
                            error = onex_types::chain(&error),
                            "no requests can be taken"
                        );
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, intake: &Arc<Intake>) -> Result<Session, StartError> {
        let connection = connect(&self.nats, &self.rights).await?;
        self.open(connection, intake, async {}).await
    }
}
