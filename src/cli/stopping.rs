//! How `onex serve` is told to stop: by a signal, and at once by a second one.

use std::time::{Duration, Instant};

use tokio::{signal::unix::SignalKind, sync::watch};

use super::signals::{Ignored, Listener};

/// A signal that comes again within this time is the same one: timeout(1), for instance, sends its to
/// the process and then to the group.
const SIGNAL_ECHO: Duration = Duration::from_millis(200);

/// The signals that end a process, from now on.
pub(super) struct Signals {
    terminate: Listener,
    interrupt: Listener,
    /// Its terminal is gone.
    hang_up: Listener,
}

impl Signals {
    pub(super) fn catch() -> std::io::Result<Self> {
        let ignored = Ignored::look();
        Ok(Self {
            terminate: Listener::new(SignalKind::terminate(), ignored)?,
            interrupt: Listener::new(SignalKind::interrupt(), ignored)?,
            hang_up: Listener::new(SignalKind::hangup(), ignored)?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            () = self.terminate.next() => "SIGTERM",
            () = self.interrupt.next() => "SIGINT",
            () = self.hang_up.next() => "SIGHUP",
        }
    }

    /// Sends the first signal to `first`, and returns with the second.
    pub(super) async fn listen(
        &mut self,
        first: &watch::Sender<Option<&'static str>>,
    ) -> &'static str {
        first.send_replace(Some(self.next().await));
        let since = Instant::now();
        loop {
            let again = self.next().await;
            if since.elapsed() >= SIGNAL_ECHO {
                return again;
            }
        }
    }
}

/// The signal that told the process to stop, once there is one.
pub(super) struct StopSignal(pub(super) watch::Receiver<Option<&'static str>>);

impl StopSignal {
    pub(super) async fn received(&self) -> &'static str {
        match self.0.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(signal)) => signal,
            // Nobody is left to say so.
            _ => std::future::pending().await,
        }
    }
}
