//! The terminal: how wide it is, drawing in place, and whether anybody reads.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::tcgetwinsize,
};

/// Where a screen begins.
const TOP: &str = "\x1b[H";
/// Forgets what stands behind the end of a line.
const REST_OF_LINE: &str = "\x1b[K";
/// Forgets what stands below.
const REST_OF_SCREEN: &str = "\x1b[J";

/// How wide a line may be: `COLUMNS`, else the terminal; any width where no terminal is, so that every
/// item stays on one line for what reads it there.
pub(crate) fn width() -> Option<u16> {
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|columns| columns.parse().ok());
    told.filter(|columns| *columns > 0)
        .or_else(|| size().map(|(columns, _)| columns))
}

/// Columns and rows of the terminal.
fn size() -> Option<(u16, u16)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// Whether stdout is a terminal that can be drawn on.
pub(crate) fn is_drawn() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && !dumb
}

/// What moves all that a terminal shows to where one can scroll back to.
pub(super) fn cleared() -> String {
    "\n".repeat(size().map_or(0, |(_, rows)| usize::from(rows)))
}

/// What draws `text` in the place of all that a terminal shows: as many lines as there is room for.
pub(super) fn drawn(text: &str) -> String {
    let rows = size().map_or(0, |(_, rows)| usize::from(rows));
    on_rows(text, rows)
}

/// The same on so many rows; any number where that is 0.
fn on_rows(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor waits on the last row.
    let room = if rows == 0 { usize::MAX } else { rows - 1 };
    let fits = lines.len() <= room;
    let shown = if fits {
        lines.len()
    } else {
        room.saturating_sub(1)
    };
    let rest = (!fits).then(|| format!("… {} more lines", lines.len() - shown));
    let mut screen = TOP.to_owned();
    for line in lines.into_iter().take(shown).chain(rest.as_deref()) {
        screen.push_str(line);
        screen.push_str(REST_OF_LINE);
        screen.push('\n');
    }
    screen + REST_OF_SCREEN
}

/// Whether stdout is a pipe that nobody reads any more: who has nothing to say would not notice.
pub(crate) fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec::try_from(Duration::ZERO).ok();
    let answered = poll(&mut watched, at_once.as_ref());
    answered.is_ok_and(|count| count > 0)
        && watched
            .iter()
            .any(|stdout| stdout.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_drawn_over_the_last_one_and_fits() {
        let text = "A\nB\nC\n";
        let all = "\x1b[HA\x1b[K\nB\x1b[K\nC\x1b[K\n\x1b[J";
        assert_eq!(on_rows(text, 4), all);
        assert_eq!(on_rows(text, 0), all);
        let cut = "\x1b[HA\x1b[K\n… 2 more lines\x1b[K\n\x1b[J";
        assert_eq!(on_rows(text, 3), cut);
    }
}
