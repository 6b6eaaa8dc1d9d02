//! What `--rebind-on-failure` asks: whether a command serves on its port.

use std::{ops::ControlFlow, time::Duration};

use onex_types::ids::{Invalid, Name};
use tokio::time::Instant;

use crate::client::span;

use super::{command::Running, exit, port_spec::PortSpec};

/// When a command that was started is checked for the first time.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// After so many checks in a row that failed its port counts as one that cannot be used.
const FAILED_MAX: u32 = 3;
/// Other ports that one run takes, at most.
pub(super) const REBINDS_MAX: u32 = 5;

/// A check, and the port that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// Which of the ports it is.
    pub(super) place: usize,
    /// For a shell.
    script: String,
}

impl Check {
    /// Reads `[NAME=]CHECK`. The port may be any, or nothing could be done when the check fails.
    pub(super) fn of(text: &str, specs: &[PortSpec]) -> Result<Self, Invalid> {
        let named = text.split_once('=');
        let named = named.filter(|(name, _)| name.parse::<Name>().is_ok());
        let (place, script) = match named {
            None => (0, text),
            Some((name, script)) => {
                let place = specs.iter().position(|spec| spec.to_string() == name);
                (place.ok_or_else(|| no_such_port(name, specs))?, script)
            }
        };
        if script.trim().is_empty() {
            let message = "--rebind-on-failure needs a command for a shell that says whether COMMAND serves, as \
                'nc -z 127.0.0.1 $PORT'";
            return Err(Invalid(message.to_owned()));
        }
        if let Some(spec) = specs.get(place)
            && let Some(port) = spec.port
        {
            let any = match spec.name {
                Some(_) => format!("leave out :{port}"),
                None => "write a name in its place, as --port web".to_owned(),
            };
            return Err(Invalid(format!(
                "--rebind-on-failure is for a port that may be another one, and --port {spec} wants {port} only: {any}"
            )));
        }
        Ok(Self {
            place,
            script: script.to_owned(),
        })
    }
}

fn no_such_port(name: &str, specs: &[PortSpec]) -> Invalid {
    let names: Vec<_> = specs.iter().map(PortSpec::to_string).collect();
    let first = names.first().map_or("", String::as_str);
    Invalid(format!(
        "--rebind-on-failure {name}=…: there is no --port {name}, but {}; a CHECK that begins so itself is written \
         {first}={name}=…",
        names.join(", ")
    ))
}

/// The checks of a command from one start to its end.
pub(super) struct Checks<'a> {
    check: &'a Check,
    interval: Duration,
    /// When there is something to do next.
    due: Instant,
    tally: Tally,
}

impl<'a> Checks<'a> {
    /// Those of a command that is started now.
    pub(super) fn begin(check: &'a Check, interval: Duration) -> Self {
        Self {
            check,
            interval,
            due: Instant::now() + FIRST_AFTER,
            tally: Tally::default(),
        }
    }

    /// When [`go_on`](Self::go_on) has something to do.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Begins the next check. One that has not ended by now failed.
    pub(super) fn go_on(
        &mut self,
        running: &mut Running,
        variables: &[(String, String)],
    ) -> ControlFlow<Fault> {
        self.due = Instant::now() + self.interval;
        if running.stop_check() {
            let why = format!("it did not end within {}", span(self.interval));
            self.tally.failed(&why)?;
        }
        match running.check(&self.check.script, variables) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.tally.failed(&format!("it cannot be started: {error}")),
        }
    }

    /// It has ended with that exit code.
    pub(super) fn checked(&mut self, code: u8) -> ControlFlow<Fault> {
        self.tally.checked(code)
    }

    /// The command may have been told to end, or to read its settings anew: if it ends now, its port is not the reason.
    pub(super) fn told(mut self) -> Self {
        self.tally.passed = true;
        self
    }

    /// Why the port of a command that has ended with that exit code cannot be used, where that is the reason.
    pub(super) fn ended(&self, code: u8) -> Option<String> {
        self.tally.ended(code)
    }
}

/// What a check that has failed too often says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The port cannot be used, for this reason.
    Port(String),
    /// The check itself cannot be run, for this reason: on another port it could not either.
    Check(String),
}

/// What came of the checks so far.
#[derive(Debug, Default)]
struct Tally {
    passed: bool,
    failed_in_a_row: u32,
}

impl Tally {
    fn checked(&mut self, code: u8) -> ControlFlow<Fault> {
        if code != 0 {
            let failed = self.failed(&format!("it exited with {code}"));
            return match failed {
                ControlFlow::Break(Fault::Port(why)) if is_not_run(code) => {
                    ControlFlow::Break(Fault::Check(why))
                }
                failed => failed,
            };
        }
        *self = Self {
            passed: true,
            failed_in_a_row: 0,
        };
        ControlFlow::Continue(())
    }

    /// One more failed; what follows from that.
    fn failed(&mut self, why: &str) -> ControlFlow<Fault> {
        self.failed_in_a_row += 1;
        if self.failed_in_a_row < FAILED_MAX {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Fault::Port(format!(
            "CHECK has failed {FAILED_MAX} times in a row: {why}"
        )))
    }

    /// A program that cannot bind its port fails before it has ever served; one that cannot be run would not with another
    /// port either.
    fn ended(&self, code: u8) -> Option<String> {
        let is_of_the_port = code != 0 && !is_not_run(code);
        let why = || format!("the command exited with {code} before CHECK had passed");
        (is_of_the_port && !self.passed).then(why)
    }
}

/// Whether that exit code says that there is no such program, or that it cannot be run.
fn is_not_run(code: u8) -> bool {
    matches!(code, exit::NOT_FOUND | exit::NOT_RUNNABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ports: &[&str], expected: Result<(usize, &str), &str>) {
        let specs: Vec<PortSpec> = ports.iter().map(|port| port.parse().unwrap()).collect();
        let found = Check::of(text, &specs).map_err(|wrong| wrong.0);
        match expected {
            Ok((place, script)) => {
                let script = script.to_owned();
                assert_eq!(found, Ok(Check { place, script }), "{text:?}");
            }
            Err(told) => {
                let found = found.unwrap_err();
                assert!(found.contains(told), "{text:?}: {found}");
            }
        }
    }

    #[test]
    fn a_check_says_by_its_name_which_port_it_is_about() {
        let ports = &["web=http", "b.c-1", "dns:25353/udp", "28080"];
        check(
            "nc -z localhost $PORT",
            ports,
            Ok((0, "nc -z localhost $PORT")),
        );
        check("b.c-1=./check", ports, Ok((1, "./check")));
        // What is no name is a part of the check.
        check(
            "curl -f http://h/?a=b",
            ports,
            Ok((0, "curl -f http://h/?a=b")),
        );
        check("web=A=1 ./check", ports, Ok((0, "A=1 ./check")));
        check(
            "wep=./check",
            ports,
            Err("there is no --port wep, but web, b.c-1, dns, 28080"),
        );
        check("wep=./check", ports, Err("is written web=wep=…"));
        check(
            "dns=./check",
            ports,
            Err("--port dns wants 25353 only: leave out :25353"),
        );
        check(
            "28080=./check",
            ports,
            Err("--port 28080 wants 28080 only: write a name"),
        );
        check(
            "./check",
            &["web:8080", "b"],
            Err("--port web wants 8080 only"),
        );
        for empty in ["", " ", "web="] {
            check(empty, ports, Err("needs a command for a shell"));
        }
    }

    #[test]
    fn three_failures_in_a_row_say_that_a_port_cannot_be_used() {
        let mut tally = Tally::default();
        for code in [1, 2, 0, 3, 4] {
            assert!(tally.checked(code).is_continue(), "{code}");
        }
        let why = tally.failed("it did not end");
        let told = "CHECK has failed 3 times in a row: it did not end";
        assert_eq!(why, ControlFlow::Break(Fault::Port(told.to_owned())));
        for code in [126, 127] {
            let why = tally.checked(code);
            let is_of_the_check = matches!(&why, ControlFlow::Break(Fault::Check(_)));
            assert!(is_of_the_check, "{why:?}");
        }
    }

    #[test]
    fn a_command_that_fails_before_it_has_served_could_not_bind_its_port() {
        let mut tally = Tally::default();
        for (code, is_of_the_port) in [
            (0, false),
            (1, true),
            (137, true),
            (126, false),
            (127, false),
        ] {
            assert_eq!(tally.ended(code).is_some(), is_of_the_port, "{code}");
        }
        assert!(tally.checked(0).is_continue());
        assert_eq!(tally.ended(1), None);
    }
}
