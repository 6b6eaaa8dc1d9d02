//! Processes of this machine, as they are shown: this one as the holder of a lease, and others by their number.

use std::{env, ffi::OsStr, num::NonZeroU32, path::Path, process};

use onex_types::holder::{Holder, HolderText};

use crate::system::{node_name, read};

/// The variable that keeps a program from saying who it is, where it is set to something else than `0`, `false`, `no` or
/// `off`.
pub const NO_HOLDER_VARIABLE: &str = "ONEX_NO_HOLDER";
/// Names and numbers of users.
const USERS_FILE: &str = "/etc/passwd";

/// What this process says of itself where it holds something; none where [`NO_HOLDER_VARIABLE`] says so.
pub fn own_holder() -> Option<Holder> {
    if env::var_os(NO_HOLDER_VARIABLE).is_some_and(|value| !is_no(&value)) {
        return None;
    }
    let program = env::args_os().next();
    Some(Holder {
        user: user(),
        host: HolderText::of(&node_name()),
        pid: NonZeroU32::new(process::id()),
        command: program.and_then(|program| program_name(&program)),
    })
}

/// What this process says of itself where it holds something for the one that started it, and ends before that.
pub fn parents_holder() -> Option<Holder> {
    let own = own_holder()?;
    // 0 stands for one that is not visible from here.
    match NonZeroU32::new(std::os::unix::process::parent_id()) {
        Some(parent) => Some(Holder {
            pid: Some(parent),
            command: command_of(parent),
            ..own
        }),
        None => Some(own),
    }
}

/// The name of a program without its folder, and without the `-` in front of it that says that it is a login shell.
pub fn program_name(program: &OsStr) -> Option<HolderText> {
    let name = Path::new(program).file_name()?.to_string_lossy();
    HolderText::of(name.strip_prefix('-').unwrap_or(&name))
}

/// The name of the program that a process runs; none where that may not be read.
#[cfg(target_os = "linux")]
pub(crate) fn command_of(pid: NonZeroU32) -> Option<HolderText> {
    let process = procfs::process::Process::new(pid.get().try_into().ok()?).ok()?;
    let arguments = process.cmdline().unwrap_or_default();
    let program = arguments.first().filter(|program| !program.is_empty());
    // What runs in the kernel has no arguments.
    program
        .and_then(|program| program_name(OsStr::new(program)))
        .or_else(|| HolderText::of(&process.stat().ok()?.comm))
}

/// Nobody says.
#[cfg(not(target_os = "linux"))]
pub(crate) fn command_of(_: NonZeroU32) -> Option<HolderText> {
    None
}

/// The user that this process runs as: by name, else by number.
fn user() -> Option<HolderText> {
    let number = rustix::process::geteuid().as_raw();
    let variable = || env::var("USER").or_else(|_| env::var("LOGNAME")).ok();
    let name = user_name(&read(USERS_FILE), number).or_else(variable);
    name.map_or_else(|| user_of(number), |name| HolderText::of(&name))
}

/// The user of that number: by name where that is known, else by number.
pub(crate) fn user_of(number: u32) -> Option<HolderText> {
    let name = user_name(&read(USERS_FILE), number);
    HolderText::of(&name.unwrap_or_else(|| number.to_string()))
}

/// The name of a user in such a file.
fn user_name(users: &str, number: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(number) && !name.is_empty()).then(|| name.to_owned())
    })
}

fn is_no(value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "0" | "false" | "f" | "no" | "n" | "off"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_says_who_runs_what_and_where() {
        let own = own_holder().unwrap();
        assert_eq!(own.pid.unwrap().get(), process::id());
        assert!(own.user.is_some() && own.host.is_some(), "{own:?}");
        let name = own.command.unwrap();
        assert!(!name.as_str().contains('/'), "{name}");
        assert_eq!(command_of(own.pid.unwrap()), Some(name));
        assert_ne!(parents_holder().unwrap().pid, own.pid);
    }

    #[test]
    fn a_program_is_named_without_its_folder() {
        let name = |program: &str| program_name(OsStr::new(program)).map(|name| name.to_string());
        assert_eq!(name("/usr/bin/python3").as_deref(), Some("python3"));
        assert_eq!(name("-bash").as_deref(), Some("bash"));
        assert_eq!(name(""), None);
    }

    #[test]
    fn users_are_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\nodd\n";
        assert_eq!(user_name(users, 1_000).as_deref(), Some("ana"));
        assert_eq!(user_name(users, 7), None);
    }

    #[test]
    fn words_for_no_and_nothing_leave_it_on() {
        for text in ["", " ", "0", "False", "no", "off"] {
            assert!(is_no(OsStr::new(text)), "{text:?}");
        }
        for text in ["1", "true", "yes", "please"] {
            assert!(!is_no(OsStr::new(text)), "{text:?}");
        }
    }
}
