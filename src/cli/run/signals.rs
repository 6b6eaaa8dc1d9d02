//! Signals that reach `onex run` and are meant for its command.

use std::{io, thread};

use rustix::process::Signal;
use signal_hook::{
    consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::{Cause, Origin},
};
use tokio::sync::mpsc;

use crate::cli::signals::Ignored;

/// What is passed on. The terminal tells the command of its size itself, and stops and continues both.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// Signals that wait to be passed on, at most; what comes then is dropped, as the kernel drops the same
/// signal twice.
const WAITING_MAX: usize = 64;

/// A signal that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) signal: Signal,
    /// Whether the kernel sent it: of the signals here that is a terminal's doing, and it sends them to
    /// the command as well.
    pub(super) to_both: bool,
}

impl Came {
    /// Whether another process sent HUP. Many programs read their settings anew then, and go on; when a terminal is gone, the
    /// kernel sends it.
    pub(super) fn is_sent_hangup(self) -> bool {
        self.signal == Signal::HUP && !self.to_both
    }

    /// Whether it asks a program to end, as most take it.
    pub(super) fn asks_to_end(self) -> bool {
        matches!(
            self.signal,
            Signal::HUP | Signal::INT | Signal::QUIT | Signal::TERM
        )
    }
}

/// The signals from now on, but for those that this process was started with ignored: the command inherits that.
pub(super) struct Signals(mpsc::Receiver<Came>);

impl Signals {
    /// Catches them.
    pub(super) fn catch() -> io::Result<Self> {
        let ignored = Ignored::look();
        let caught = PASSED_ON.iter().filter(|signal| !ignored.has(**signal));
        let mut signals = SignalsInfo::<WithOrigin>::new(caught)?;
        let (send, receive) = mpsc::channel(WAITING_MAX);
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for origin in signals.forever() {
                    if let Some(came) = came(&origin) {
                        // Full: see WAITING_MAX. Closed: the process is about to end.
                        let _ = send.try_send(came);
                    }
                }
            })?;
        Ok(Self(receive))
    }

    /// The next one that asks to end; others that come before it are dropped.
    pub(super) async fn next_to_end(&mut self) -> Signal {
        loop {
            let came = self.next().await;
            if came.asks_to_end() {
                return came.signal;
            }
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Came {
        match self.0.recv().await {
            Some(came) => came,
            // The thread that sends them never ends.
            None => std::future::pending().await,
        }
    }
}

fn came(origin: &Origin) -> Option<Came> {
    let to_both = matches!(origin.cause, Cause::Kernel);
    let signal = Signal::from_named_raw(origin.signal)?;
    Some(Came { signal, to_both })
}
