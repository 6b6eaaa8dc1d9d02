//! From a message's header block to the header of an entry. Every instance must judge a message alike, whether it came
//! through a consumer (the client library parses the block) or by a request for one message (the block comes as bytes).

use async_nats::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use onex_types::entry::{ENTRY_HEADER, EntryHeader};

/// The entry's header, if there is exactly one and it can be read. Anything else is foreign.
pub(crate) fn of(headers: Option<&HeaderMap>) -> Option<EntryHeader> {
    let mut values = headers?.get_all(ENTRY_HEADER);
    let only = values.next().filter(|_| values.next().is_none())?;
    only.as_str().parse().ok()
}

/// The block as async-nats 0.51 reads it, or nothing where its connection would break (text that is not UTF-8, a bad name
/// or status) or panic (a CR within a value). Such a message can never come through a consumer: it is read around.
pub(crate) fn read(block: &[u8]) -> Option<HeaderMap> {
    let mut lines = std::str::from_utf8(block).ok()?.lines().peekable();
    let version = lines.next()?.strip_prefix("NATS/1.0")?.trim();
    let status = version.split_once(' ').map_or(version, |(code, _)| code);
    if !status.is_empty() {
        status.trim().parse::<StatusCode>().ok()?;
    }
    let mut headers = HeaderMap::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let name: HeaderName = name.parse().ok()?;
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        let value: HeaderValue = value.trim_end().parse().ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "00000000000000000000000000000001 00000000000000000000000000000002 2 0 0";

    #[test]
    fn a_header_block_is_read_or_cannot_be() {
        for (block, readable, entry) in [
            (
                format!("NATS/1.0\r\n{ENTRY_HEADER}: {ENTRY}\r\n\r\n"),
                true,
                true,
            ),
            (
                format!("NATS/1.0\r\n{ENTRY_HEADER}:{ENTRY}\r\nA: b\r\n\r\n"),
                true,
                true,
            ),
            (
                format!("NATS/1.0\r\n{ENTRY_HEADER}: {ENTRY}\r\n{ENTRY_HEADER}: {ENTRY}\r\n\r\n"),
                true,
                false,
            ),
            (
                format!("NATS/1.0\r\nonex-entry: {ENTRY}\r\n\r\n"),
                true,
                false,
            ),
            (
                format!("NATS/1.0\r\n{ENTRY_HEADER}: x {ENTRY}\r\n\r\n"),
                true,
                false,
            ),
            ("NATS/1.0\r\n\r\n".to_owned(), true, false),
            ("NATS/1.0 503 no\r\n\r\n".to_owned(), true, false),
            (
                format!("NATS/1.0\r\nA: b\rc\r\n{ENTRY_HEADER}: {ENTRY}\r\n\r\n"),
                false,
                false,
            ),
            (
                format!("NATS/1.0\r\nA\r\n{ENTRY_HEADER}: {ENTRY}\r\n\r\n"),
                false,
                false,
            ),
            (
                format!("NATS/1.0 x\r\n{ENTRY_HEADER}: {ENTRY}\r\n\r\n"),
                false,
                false,
            ),
            (
                format!("HTTP/1.0\r\n{ENTRY_HEADER}: {ENTRY}\r\n\r\n"),
                false,
                false,
            ),
            (String::new(), false, false),
        ] {
            let headers = read(block.as_bytes());
            assert_eq!(headers.is_some(), readable, "{block:?}");
            assert_eq!(of(headers.as_ref()).is_some(), entry, "{block:?}");
        }
        assert!(read(b"NATS/1.0\r\nA: \xff\r\n\r\n").is_none());
    }
}
