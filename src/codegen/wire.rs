//! What every language's part that is the same in all files takes from the protocol.

use crate::protocol::{endpoint::Endpoint, error::ErrorCode, names};

use super::{order::Via, task::Task};

/// Fills the places `@{NAME}` of a part, and leaves in it what is for that way of calling: between a line that ends
/// with `@{if registry}` or `@{if direct}` and one that ends with `@{end}`.
pub(super) fn filled(part: &str, task: &Task, quoted: fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut kept = true;
    for line in part.lines() {
        match line.split_once("@{if ") {
            Some((_, way)) => {
                let way = way.trim_end_matches('}');
                kept = way
                    == if task.via == Via::Direct {
                        "direct"
                    } else {
                        "registry"
                    };
            }
            None if line.ends_with("@{end}") => kept = true,
            None if kept => {
                out.push_str(line);
                out.push('\n');
            }
            None => {}
        }
    }
    let version = format!("1.{}", names::PROTOCOL_MINOR);
    for (place, value) in [
        ("PREFIX", task.prefix.as_str()),
        ("PROTOCOL", &version),
        ("HEADER_PROTOCOL", names::HEADER_PROTOCOL),
        ("HEADER_TIMEOUT_MS", names::HEADER_TIMEOUT_MS),
        ("HEADER_CORRELATION_ID", names::HEADER_CORRELATION_ID),
        ("HEADER_ERROR_NUMBER", names::HEADER_ERROR_NUMBER),
        ("HEADER_ERROR", names::HEADER_ERROR),
        ("HEADER_TOOL", names::HEADER_TOOL),
        ("HEADER_TOOL_VERSION", names::HEADER_TOOL_VERSION),
        ("HEADER_EXECUTION_ID", names::HEADER_EXECUTION_ID),
        ("HEADER_CONTRACT_HASH", names::HEADER_CONTRACT_HASH),
        ("HEADER_EXECUTED", names::HEADER_EXECUTED),
        ("INVOKE", Endpoint::ToolInvoke.name()),
        ("RESOLVE", Endpoint::ToolResolve.name()),
        ("CONTRACT_CHANGED", ErrorCode::ContractChanged.as_str()),
        ("TOOL_ERROR", ErrorCode::ToolError.as_str()),
        // What it holds is not looked at again.
        ("COMMAND", task.command.as_str()),
    ] {
        out = out.replace(&format!("@{{{place}}}"), &quoted(value));
    }
    out
}
