//! The child process: a thread that starts it and waits for it, and signals that never reach anyone else.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How long a server may take to shut down in order: it writes down what it has.
const TERM_WAIT_MAX: Duration = Duration::from_secs(10);

/// A killed process is gone at once, unless the kernel waits for a disk.
const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

/// A running child; dropping it asks the child to end.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    alive: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// A child's ends of our pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
}

impl Process {
    /// Starts `command` from a thread of its own: the child is told to end when the *thread* that started it does, and
    /// a runtime's threads come and go.
    pub(super) async fn spawn(mut command: Command) -> io::Result<(Self, Pipes)> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is meant for the registry, which answers what is in flight before it stops the server.
            .process_group(0);
        let (started, start) = oneshot::channel();
        let (ended, exit) = watch::channel(None);
        let alive = Arc::new(Mutex::new(true));
        let shared = Arc::clone(&alive);
        thread::Builder::new()
            .name("nats-server".into())
            .spawn(move || run(command, started, &shared, &ended))?;
        let (pid, pipes) = start.await.map_err(io::Error::other)??;
        Ok((Self { pid, alive, exit }, pipes))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// How the child ended, as soon as it has.
    pub(super) async fn exited(&mut self) -> String {
        match self.exit.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(status)) => describe(*status),
            // The thread is gone without having said: it cannot be, and there is nothing more to know.
            _ => "it ended unobserved".into(),
        }
    }

    /// Asks the child to end, and kills it when it does not; says how it ended.
    pub(super) async fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        if let Ok(how) = timeout(TERM_WAIT_MAX, self.exited()).await {
            return how;
        }
        self.signal(Signal::KILL);
        timeout(KILL_WAIT_MAX, self.exited())
            .await
            .unwrap_or_else(|_| "it does not end, not even when killed".into())
    }

    fn signal(&self, signal: Signal) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            // It can fail only for a process that is gone or not ours, and this one is neither.
            let _ = kill_process(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// The body of the thread.
fn run(
    mut command: Command,
    started: oneshot::Sender<io::Result<(Pid, Pipes)>>,
    alive: &Mutex<bool>,
    ended: &watch::Sender<Option<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // Whoever wanted to know has stopped waiting.
            let _ = started.send(Err(error));
            return;
        }
    };
    let pid = Pid::from_child(&child);
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return;
    };
    // If nobody waits any more the pipes close here, which ends the child.
    let _ = started.send(Ok((pid, Pipes { stdin, stdout })));
    // Waits without taking the process off the kernel's list: until `alive` is false its id cannot be another's.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
    let mut alive = alive.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait();
    *alive = false;
    drop(alive);
    if let Ok(status) = status {
        ended.send_replace(Some(status));
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn says_how_it_ended() {
        let (mut process, _pipes) = Process::spawn(shell("exit 3")).await.unwrap();
        assert_eq!(process.exited().await, "it ended with exit code 3");
        assert_eq!(process.stop().await, "it ended with exit code 3");
        let (mut process, _pipes) = Process::spawn(shell("kill -9 $$")).await.unwrap();
        assert_eq!(process.exited().await, "it was ended by signal 9");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error() {
        let error = Process::spawn(Command::new("/nowhere/nats-server"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn stop_and_drop_end_it() {
        let (mut process, _pipes) = Process::spawn(shell("exec cat")).await.unwrap();
        assert_eq!(process.stop().await, "it was ended by signal 15");
        let (process, pipes) = Process::spawn(shell("exec cat")).await.unwrap();
        let mut exit = process.exit.clone();
        drop(process);
        let status = *exit.wait_for(Option::is_some).await.unwrap();
        assert_eq!(status.and_then(|status| status.signal()), Some(15));
        drop(pipes);
    }
}
