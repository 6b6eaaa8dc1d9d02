//! What every language's part that is the same in all files takes from the protocol.

use crate::protocol::names;

use super::{Order, Via};

/// Fills the places `@{NAME}` of a part, and leaves in it what is for that way of calling: between a line that ends
/// with `@{if registry}` or `@{if direct}` and one that ends with `@{end}`.
pub(super) fn filled(part: &str, order: &Order<'_>, quoted: fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut kept = true;
    for line in part.lines() {
        match line.split_once("@{if ") {
            Some((_, way)) => {
                let way = way.trim_end_matches('}');
                kept = way
                    == if order.via == Via::Direct {
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
        ("PREFIX", order.prefix),
        ("PROTOCOL", &version),
        ("HEADER_PROTOCOL", names::HEADER_PROTOCOL),
        ("HEADER_TIMEOUT_MS", names::HEADER_TIMEOUT_MS),
        ("HEADER_CORRELATION_ID", names::HEADER_CORRELATION_ID),
        ("HEADER_ERROR_NUMBER", names::HEADER_ERROR_NUMBER),
        ("HEADER_ERROR", names::HEADER_ERROR),
        ("HEADER_TOOL", HEADER_TOOL),
        ("HEADER_TOOL_VERSION", HEADER_TOOL_VERSION),
        ("HEADER_EXECUTION_ID", HEADER_EXECUTION_ID),
        ("HEADER_CONTRACT_HASH", HEADER_CONTRACT_HASH),
        ("HEADER_EXECUTED", HEADER_EXECUTED),
        ("INVOKE", TOOL_INVOKE),
        ("RESOLVE", TOOL_RESOLVE),
        ("CONTRACT_CHANGED", CONTRACT_CHANGED),
        ("TOOL_ERROR", TOOL_ERROR),
        // What it holds is not looked at again.
        ("COMMAND", order.command),
    ] {
        out = out.replace(&format!("@{{{place}}}"), &quoted(value));
    }
    out
}

const HEADER_TOOL: &str = "Onex-Tool";
const HEADER_TOOL_VERSION: &str = "Onex-Tool-Version";
const HEADER_EXECUTION_ID: &str = "Onex-Execution-Id";
const HEADER_CONTRACT_HASH: &str = "Onex-Contract-Hash";
const HEADER_EXECUTED: &str = "Onex-Executed";
const TOOL_INVOKE: &str = "tool.invoke";
const TOOL_RESOLVE: &str = "tool.resolve";
const CONTRACT_CHANGED: &str = "CONTRACT_CHANGED";
const TOOL_ERROR: &str = "TOOL_ERROR";
