//! Commands that are shown to be typed: with the flags that the user gave, so that they reach the same server as the same
//! user. Variables are not repeated: they are there for the next command as well. Passwords are never shown.

/// What begins a command that is asked of a registry, where a text shows one.
const COMMAND: &str = "`onex ";
/// That of `onex serve`, which may be another user's.
const SERVE: &str = "`onex serve";

/// What begins a command that edits a stream, where a text shows one.
const EDIT: &str = "`nats stream edit ";

/// The text, with `flags` in each command in it that asks a registry.
pub(super) fn with_flags(text: &str, flags: &str) -> String {
    with_flags_in(text, COMMAND, flags)
}

/// The text, with `flags` in each command in it that edits a stream.
pub(super) fn with_nats_flags(text: &str, flags: &str) -> String {
    with_flags_in(text, EDIT, flags)
}

fn with_flags_in(text: &str, begins: &str, flags: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(begins) {
        let (before, command) = rest.split_at(at);
        // Behind the first mark: the second one ends the command.
        let Some(end) = command
            .char_indices()
            .skip(1)
            .find_map(|(end, c)| (c == '`').then_some(end))
        else {
            break;
        };
        let (command, behind) = command.split_at(end);
        done += before;
        done += command;
        if !command.starts_with(SERVE) {
            done += flags;
        }
        done.push('`');
        rest = behind.get(1..).unwrap_or_default();
    }
    done + rest
}

/// A flag with its value as a shell takes them, behind a space.
pub(super) fn argument((flag, value): (&str, String)) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+[]".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return format!(" {flag} {value}");
    }
    format!(" {flag} '{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_ask_a_registry_get_the_flags() {
        for (text, expected) in [
            (
                "`onex node list` shows them",
                "`onex node list --context a` shows them",
            ),
            (
                "see `onex port list`, or `nats context ls`; `onex pool list`",
                "see `onex port list --context a`, or `nats context ls`; `onex pool list --context a`",
            ),
            (
                "`onex serve --hosts-max` allows more",
                "`onex serve --hosts-max` allows more",
            ),
            ("an odd `onex mark", "an odd `onex mark"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(with_flags(text, " --context a"), expected);
        }
    }

    #[test]
    fn commands_that_edit_a_stream_get_the_flags() {
        assert_eq!(
            with_nats_flags(
                "put it right with `nats stream edit KV_x --max-age=0`; `nats stream edit` asks",
                " --server nats://a:4222"
            ),
            "put it right with `nats stream edit KV_x --max-age=0 --server nats://a:4222`; `nats stream edit` asks"
        );
    }

    #[test]
    fn a_value_is_quoted_where_a_shell_would_take_it_apart() {
        for (value, expected) in [
            ("/a/b.creds", " --creds /a/b.creds"),
            ("my file", " --creds 'my file'"),
            ("it's", " --creds 'it'\\''s'"),
            ("$HOME", " --creds '$HOME'"),
            ("", " --creds ''"),
        ] {
            assert_eq!(argument(("--creds", value.to_owned())), expected);
        }
    }
}
