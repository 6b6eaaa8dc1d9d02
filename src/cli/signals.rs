//! Signals that end a process. One that was ignored when the process was started, as `nohup` does it, stays ignored.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// The signals that this process was started with ignored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ignored(u64);

impl Ignored {
    /// To be asked before any signal is caught: what is caught does not count as ignored any more.
    pub(super) fn look() -> Self {
        // Where the kernel does not say, none.
        Self(ignored().unwrap_or_default())
    }

    /// Whether that one is among them.
    pub(super) fn has(self, signal: i32) -> bool {
        let bit = u32::try_from(signal - 1).ok();
        bit.and_then(|bit| 1_u64.checked_shl(bit))
            .is_some_and(|bit| self.0 & bit != 0)
    }
}

/// One bit for each signal that this process ignores, the lowest for signal 1: only Linux is asked.
#[cfg(target_os = "linux")]
fn ignored() -> Option<u64> {
    let own = procfs::process::Process::myself().ok()?;
    Some(own.status().ok()?.sigign)
}

#[cfg(not(target_os = "linux"))]
fn ignored() -> Option<u64> {
    None
}

/// Waits for one kind of signal.
pub(super) struct Listener(Option<unix::Signal>);

impl Listener {
    /// From now on; never, if the process was started with it ignored.
    pub(super) fn new(kind: SignalKind, ignored: Ignored) -> io::Result<Self> {
        if ignored.has(kind.as_raw_value()) {
            return Ok(Self(None));
        }
        unix::signal(kind).map(|signal| Self(Some(signal)))
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_one_bit_for_each_signal() {
        let hup_and_term = Ignored(1 | 1 << 14);
        assert!(hup_and_term.has(1) && hup_and_term.has(15));
        for other in [0, -1, 2, 14, 64, 65] {
            assert!(!hup_and_term.has(other), "{other}");
        }
    }
}
