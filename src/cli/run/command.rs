//! The command under way: a process, and all that it has started.

use std::{collections::BTreeMap, ffi::OsString, io, pin::pin, process::Command, time::Duration};

use procfs::process::{ProcState, all_processes};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, set_child_subreaper, waitpid,
};
use tokio::{
    signal::unix::{self, SignalKind},
    time::{Instant, sleep_until},
};

use super::{child, exit};

/// How long killed processes may take to be gone: they are at once, unless the kernel waits for a disk.
const KILLED_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often it is looked for processes that were started while others were being killed.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// A command under way.
pub(super) struct Running {
    main: Pid,
    /// A child of this process has ended, or one of its children's that was left without a parent.
    deaths: unix::Signal,
    ended: Option<WaitStatus>,
}

impl Running {
    /// Starts `command` with these variables besides the environment that there is. To be called on a thread
    /// that lasts: the command is told to end when the *thread* that started it does.
    pub(super) fn start(command: &[OsString], variables: &[(String, String)]) -> io::Result<Self> {
        let deaths = unix::signal(SignalKind::child())?;
        // What the command starts and leaves behind becomes a child of this process, not of the system's first.
        set_child_subreaper(Some(rustix::process::getpid()))?;
        // The path of this program may name another one by now.
        let started = Command::new("/proc/self/exe")
            .args(child::arguments(command))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .spawn()?;
        Ok(Self {
            main: Pid::from_child(&started),
            deaths,
            ended: None,
        })
    }

    /// Passes a signal on to the command itself.
    pub(super) fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // It is not reaped, so its number is not another's; and it is ours to signal.
            let _ = kill_process(self.main, signal);
        }
    }

    /// Waits until the command itself has ended, whatever it has left behind; says with which exit code.
    pub(super) async fn ended(&mut self) -> u8 {
        loop {
            self.reap();
            if let Some(status) = self.ended {
                return exit::code(status);
            }
            self.deaths.recv().await;
        }
    }

    /// Ends the command and all that it has started: SIGTERM, and SIGKILL at the last moment. Says how many
    /// processes there were.
    pub(super) async fn end(&mut self, last_moment: impl Future<Output = ()>) -> usize {
        self.reap();
        let there = descendants();
        send(&there, Signal::TERM);
        if !self.gone(last_moment).await {
            let until = Instant::now() + KILLED_WAIT_MAX;
            while Instant::now() < until {
                send(&descendants(), Signal::KILL);
                let again = (Instant::now() + KILL_AGAIN).min(until);
                if self.gone(sleep_until(again)).await {
                    break;
                }
            }
        }
        there.len()
    }

    /// Whether by then nothing is left.
    async fn gone(&mut self, then: impl Future<Output = ()>) -> bool {
        let mut then = pin!(then);
        loop {
            self.reap();
            if descendants().is_empty() {
                return true;
            }
            tokio::select! {
                _ = self.deaths.recv() => {}
                () = &mut then => {
                    self.reap();
                    return descendants().is_empty();
                }
            }
        }
    }

    /// Takes note of every child that has ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
            if pid == self.main {
                self.ended = Some(status);
            }
        }
    }
}

fn send(to: &[Pid], signal: Signal) {
    for pid in to {
        // It may have ended since it was found; it is not reaped then, so its number is not another's, unless
        // its own parent was as quick.
        let _ = kill_process(*pid, signal);
    }
}

/// The processes that come from this one and have not ended, parents before their children.
fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        // One that is gone meanwhile is none.
        let Ok(stat) = process.stat() else { continue };
        if !matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead)) {
            children.entry(stat.ppid).or_default().push(stat.pid);
        }
    }
    let mut found = vec![rustix::process::getpid().as_raw_pid()];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        found.extend(children.remove(parent).unwrap_or_default());
        at += 1;
    }
    let own = found.into_iter().skip(1);
    own.filter_map(Pid::from_raw).collect()
}
