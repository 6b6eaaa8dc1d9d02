//! The command under way: a process, and all that it has started.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, io,
    os::unix::process::CommandExt as _,
    pin::pin,
    process::{Command, Stdio},
    time::Duration,
};

use procfs::process::{ProcState, Process, Stat, all_processes};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getgid, kill_process, kill_process_group,
    set_child_subreaper, wait,
};
use tokio::{
    signal::unix::{self, SignalKind},
    task::yield_now,
    time::{Instant, sleep},
};

use super::{child, exit};

/// How long killed processes may take to be gone: they are at once, unless the kernel waits for a disk.
const KILLED_WAIT_MAX: Duration = Duration::from_secs(5);
/// Children that are reaped before everything else has its turn, at most.
const REAPED_MAX: usize = 64;
/// How often it is looked for processes that were started while others were being killed, when the last look found no
/// new one.
const KILL_AGAIN: Duration = Duration::from_millis(2);

/// A process that the command has started, by its number and name.
#[derive(Debug)]
pub(super) struct Descendant {
    pid: Pid,
    /// Its process group.
    group: i32,
    name: String,
}

impl fmt::Display for Descendant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// What came of ending the command and all that it has started.
pub(super) struct Ended {
    /// How many processes there were.
    pub(super) count: usize,
    /// Those that run still: `onex` must not signal them, or the kernel does not end them.
    pub(super) survivors: Vec<Descendant>,
}

/// What has come to an end.
pub(super) enum Event {
    /// The command itself, whatever it has left behind; with which exit code.
    Ended(u8),
    /// Its check; with which exit code.
    Checked(u8),
}

/// A command under way.
pub(super) struct Running {
    main: Pid,
    /// A check of it that is under way, the first of its process group.
    check: Option<Pid>,
    checked: Option<WaitStatus>,
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
        let started = becoming(command, variables).spawn()?;
        Ok(Self {
            main: Pid::from_child(&started),
            check: None,
            checked: None,
            deaths,
            ended: None,
        })
    }

    /// Starts a check of it, a shell's command: in silence, and in a process group of its own, where the terminal's signals
    /// do not reach it and it can be ended with what it has started.
    pub(super) fn check(&mut self, script: &str, variables: &[(String, String)]) -> io::Result<()> {
        let command = ["sh", "-c", script].map(OsString::from);
        let started = becoming(&command, variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        self.check = Some(Pid::from_child(&started));
        Ok(())
    }

    /// Ends its check; whether there was one under way.
    pub(super) fn stop_check(&mut self) -> bool {
        let check = self.check.take();
        if let Some(check) = check {
            // It is not reaped, so its number is not another's.
            let _ = kill_process_group(check, Signal::KILL);
        }
        self.checked = None;
        check.is_some()
    }

    /// Passes a signal on to the command itself.
    pub(super) fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // It is not reaped, so its number is not another's; and it is ours to signal.
            let _ = kill_process(self.main, signal);
        }
    }

    /// Waits until the command or its check has ended.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            let left = self.reap();
            if let Some(status) = self.ended {
                return Event::Ended(exit::code(status));
            }
            if let Some(status) = self.checked.take() {
                return Event::Checked(exit::code(status));
            }
            self.news(left).await;
        }
    }

    /// Ends the command and all that it has started: SIGTERM, and SIGKILL at the last moment.
    pub(super) async fn end(&mut self, last_moment: impl Future<Output = ()>) -> Ended {
        let check = self.check.map(Pid::as_raw_pid);
        let was_checked = self.stop_check();
        // One that forks and ends may be missed by the look, and is there all the same.
        let least = usize::from(self.reap() != Left::Nothing && !was_checked);
        let mut there = descendants();
        there.retain(|one| Some(one.group) != check);
        send(there.iter().map(|one| one.pid), Signal::TERM);
        let survivors = if self.gone(last_moment).await || self.killed().await {
            Vec::new()
        } else {
            descendants()
        };
        Ended {
            count: there.len().max(least),
            survivors,
        }
    }

    /// Whether by then nothing is left.
    async fn gone(&mut self, then: impl Future<Output = ()>) -> bool {
        let mut then = pin!(then);
        loop {
            let left = self.reap();
            if left == Left::Nothing {
                return true;
            }
            tokio::select! {
                biased;
                () = &mut then => return self.reap() == Left::Nothing,
                () = self.news(left) => {}
            }
        }
    }

    /// Waits until there may be more to reap. Whoever waits for something else beside this gets its turn.
    async fn news(&mut self, left: Left) {
        if left == Left::Ended {
            yield_now().await;
        } else {
            self.deaths.recv().await;
        }
    }

    /// Sends SIGKILL until nothing is left; whether that came about. What a killed process leaves behind is a child of
    /// this one at once, so children are looked at again and again: processes that fork and end sooner than all
    /// processes can be looked at are found there.
    async fn killed(&mut self) -> bool {
        let until = Instant::now() + KILLED_WAIT_MAX;
        let mut known = BTreeSet::new();
        while self.reap() != Left::Nothing {
            if Instant::now() >= until {
                return false;
            }
            let mut found = kill(children(), &mut known);
            if !found {
                found = kill(descendants().iter().map(|one| one.pid), &mut known);
            }
            if found {
                yield_now().await;
            } else {
                tokio::select! {
                    _ = self.deaths.recv() => {}
                    () = sleep(KILL_AGAIN) => {}
                }
            }
        }
        true
    }

    /// Takes note of children that have ended, at most [`REAPED_MAX`] of them: they may end as fast as they are reaped, and
    /// deadlines do not wait for that. What loses its parent becomes a child, so nothing that comes from this process
    /// is left when no child is.
    fn reap(&mut self) -> Left {
        reap_some(|| match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if pid == self.main {
                    self.ended = Some(status);
                } else if Some(pid) == self.check {
                    // What it has left running ends with it. Numbers are given out in turn: that of the group is not yet
                    // another's.
                    let _ = kill_process_group(pid, Signal::KILL);
                    self.check = None;
                    self.checked = Some(status);
                }
                Left::Ended
            }
            Ok(None) => Left::Running,
            // There is no child.
            Err(_) => Left::Nothing,
        })
    }
}

/// A child of this process that becomes that command, with these variables besides the environment that there is.
fn becoming(command: &[OsString], variables: &[(String, String)]) -> Command {
    // The path of this program may name another one by now.
    let mut becoming = Command::new("/proc/self/exe");
    becoming
        .args(child::arguments(command))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        // The group that it has anyway. Without that the standard library calls posix_spawn, and glibc's has the
        // child ignore two signals that it keeps for itself, 32 and 33, which would stay so.
        .gid(getgid().as_raw());
    becoming
}

/// What a look at the children has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// There is no child.
    Nothing,
    /// All that are left run.
    Running,
    /// Some more have ended.
    Ended,
}

/// Reaps one after the other as long as some have ended, but at most [`REAPED_MAX`].
fn reap_some(mut reap_one: impl FnMut() -> Left) -> Left {
    for _ in 0..REAPED_MAX {
        let left = reap_one();
        if left != Left::Ended {
            return left;
        }
    }
    Left::Ended
}

fn send(to: impl IntoIterator<Item = Pid>, signal: Signal) {
    for pid in to {
        // It may have ended since it was found; it is not reaped then, so its number is not another's, unless
        // its own parent was as quick.
        let _ = kill_process(pid, signal);
    }
}

/// Kills them; whether any of them was not known before.
fn kill(them: impl IntoIterator<Item = Pid>, known: &mut BTreeSet<i32>) -> bool {
    let mut found = false;
    send(
        them.into_iter()
            .inspect(|pid| found |= known.insert(pid.as_raw_pid())),
        Signal::KILL,
    );
    found
}

/// The children of this process, ended ones included; none where the kernel does not list them.
fn children() -> Vec<Pid> {
    let tasks = Process::myself().and_then(|own| own.tasks());
    let tasks = tasks.into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| task.children().ok()).flatten();
    let children = children.filter_map(|pid| i32::try_from(pid).ok());
    children.filter_map(Pid::from_raw).collect()
}

/// The processes that come from this one and have not ended, parents before their children.
fn descendants() -> Vec<Descendant> {
    let mut children: BTreeMap<i32, Vec<Stat>> = BTreeMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        // One that is gone meanwhile is none.
        let Ok(stat) = process.stat() else { continue };
        if !has_ended(&stat) {
            children.entry(stat.ppid).or_default().push(stat);
        }
    }
    let own = rustix::process::getpid().as_raw_pid();
    let mut found = children.remove(&own).unwrap_or_default();
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        found.extend(children.remove(&parent.pid).unwrap_or_default());
        at += 1;
    }
    let found = found.into_iter().filter_map(|stat| {
        Some(Descendant {
            pid: Pid::from_raw(stat.pid)?,
            group: stat.pgrp,
            name: stat.comm,
        })
    });
    found.collect()
}

/// A process whose first thread has ended looks ended, and is not as long as others run.
fn has_ended(stat: &Stat) -> bool {
    match stat.state() {
        Ok(ProcState::Zombie) => stat.num_threads < 2,
        Ok(ProcState::Dead) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They end as fast as they are reaped.
    #[test]
    fn reaping_stops_though_there_is_always_one_more() {
        let mut reaped = 0;
        let left = reap_some(|| {
            reaped += 1;
            assert!(reaped <= 1_000, "it does not stop");
            Left::Ended
        });
        assert_eq!((left, reaped), (Left::Ended, REAPED_MAX));
        assert_eq!(reap_some(|| Left::Running), Left::Running);
    }
}
