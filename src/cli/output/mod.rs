//! What comes out: data on stdout, in the format that was asked for, and all else on stderr.

mod block;
mod document;
mod excerpt;
mod layout;
mod screen;
mod table;
mod text;

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::protocol::{json::JsonText, warning::Warning};

use super::{
    failure::{Exit, Failure},
    typed,
};

pub(super) use block::{Block, Line, Lines};
pub(super) use document::{json, json_line, word};
pub(super) use excerpt::{excerpt, spot};
use layout::Layout;
pub(super) use layout::SECTION_INDENT;
pub(super) use screen::{is_drawn, reader_is_gone, width};
pub(super) use table::Table;
pub(super) use text::{
    NOTHING, UNMEASURED, at, first_line, plain, plain_lines, shortened, span, yes_or_no,
};

/// How data is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people, with all that there is.
    Wide,
    /// One JSON document; errors are JSON too, on stderr.
    Json,
    /// One YAML document.
    Yaml,
    /// Names alone, one a line, as other commands take them.
    Name,
    /// Of a lease: its port alone.
    Port,
    /// Of a lease: variables, as shells and `env` take them.
    Env,
}

impl Format {
    /// Whether people read it.
    fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Whether only a lease can be shown so.
    pub(super) fn is_of_a_lease(self) -> bool {
        matches!(self, Self::Port | Self::Env)
    }

    /// Whether errors are JSON as well.
    pub(super) fn is_json(self) -> bool {
        self == Self::Json
    }

    /// Whether it is lines of text alone.
    fn is_lines(self) -> bool {
        matches!(self, Self::Name | Self::Port | Self::Env)
    }
}

/// How much people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// What fits a screen.
    Short,
    /// Everything.
    Wide,
}

impl Detail {
    /// Whether that is everything.
    pub(super) fn is_wide(self) -> bool {
        self == Self::Wide
    }
}

/// Whether a list is printed alone, or is one of several that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListMode {
    Alone,
    InStream,
}

/// Whether somebody still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// As far as can be told.
    There,
    /// Has seen enough.
    Gone,
}

/// Where data, notes and errors go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
    headers: bool,
    /// The flags that commands need which are shown.
    flags: &'static str,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            headers: true,
            flags: "",
        }
    }

    /// With those flags in each command that is shown to be typed. They are kept as long as this process runs.
    #[must_use]
    pub(super) fn repeating(self, flags: String) -> Self {
        Self {
            flags: flags.leak(),
            ..self
        }
    }

    /// The flags that commands need which are shown.
    pub(super) fn flags(self) -> &'static str {
        self.flags
    }

    fn typed(self, text: &str) -> String {
        text::plain_lines(&typed::with_flags(text, self.flags))
    }

    /// Tables without their header, a row a line.
    #[must_use]
    pub(super) fn without_headers(self) -> Self {
        Self {
            headers: false,
            ..self
        }
    }

    fn layout(self, mode: ListMode) -> Layout {
        let row_is_line =
            self.format == Format::Wide || !self.headers || mode == ListMode::InStream;
        Layout {
            width: screen::width(),
            row_is_line,
            headers: self.headers,
        }
    }

    pub(super) fn format(self) -> Format {
        self.format
    }

    /// Shows data: `value`, its `names`, or the blocks that `blocks` makes of it.
    pub(super) fn show<T: Serialize>(
        self,
        value: &T,
        names: impl Fn(&T) -> Vec<String>,
        blocks: impl Fn(&T, Detail) -> Vec<Block>,
    ) -> Result<(), Failure> {
        let text = self.text(value, ListMode::Alone, names, blocks);
        put(text).map(|_| ())
    }

    /// Shows one of several values that follow each other, so that what reads them knows where one ends: one
    /// line of JSON, one YAML document, or else with an empty line behind it.
    pub(super) fn show_next<T: Serialize>(
        self,
        value: &T,
        names: impl Fn(&T) -> Vec<String>,
        blocks: impl Fn(&T, Detail) -> Vec<Block>,
    ) -> Result<Reader, Failure> {
        put(self.text(value, ListMode::InStream, names, blocks))
    }

    /// Shows data in the place of what the terminal showed before.
    pub(super) fn redraw<T: Serialize>(
        self,
        value: &T,
        names: impl Fn(&T) -> Vec<String>,
        blocks: impl Fn(&T, Detail) -> Vec<Block>,
    ) -> Result<Reader, Failure> {
        let text = self.text(value, ListMode::Alone, names, blocks);
        put(text.map(|text| screen::drawn(&text)))
    }

    /// Shows what is JSON by itself: as that, also to people.
    pub(super) fn show_json(self, value: &serde_json::Value, name: &str) -> Result<(), Failure> {
        let text = match self.format {
            Format::Name | Format::Port | Format::Env => Ok(text::plain(name).into_owned() + "\n"),
            Format::Yaml => document::yaml(value),
            Format::Table | Format::Wide | Format::Json => json(value).map(|text| text + "\n"),
        };
        put(text).map(|_| ())
    }

    /// Whether a list that changes is drawn again in its place, and not behind what was there.
    pub(super) fn redraws(self) -> bool {
        (self.format.is_for_people() || self.format.is_lines()) && is_drawn()
    }

    /// Shows the part of an answer that was asked for: as JSON, indented where a terminal shows it and else on one line.
    /// Formats for programs get all of the answer.
    pub(super) fn show_result<T: Serialize>(
        self,
        whole: &T,
        result: &JsonText,
        name: &str,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Name | Format::Port | Format::Env => Ok(text::plain(name).into_owned() + "\n"),
            Format::Json => json(whole).map(|text| text + "\n"),
            Format::Yaml => document::yaml(whole),
            Format::Table | Format::Wide if io::stdout().is_terminal() => {
                json(result).map(|text| text + "\n")
            }
            Format::Table | Format::Wide => json_line(result).map(|text| text + "\n"),
        };
        put(text).map(|_| ())
    }

    /// Tells people more about what was done, beside the data. Programs have it in their format.
    pub(super) fn notes(self, blocks: Vec<Block>) {
        if self.format.is_for_people() {
            let text = block::render(blocks, self.layout(ListMode::Alone));
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Tells people something that is not data. Programs do not get it.
    pub(super) fn note(self, text: &str) {
        if self.format.is_for_people() {
            let _ = writeln!(io::stderr(), "{}", self.typed(text));
        }
    }

    /// Tells what a registry found worth a look, though it was done. In JSON and YAML it is in the data.
    pub(super) fn warnings(self, warnings: &[Warning]) {
        for warning in warnings {
            self.remark(&format!("onex: warning: {}", warning.message));
        }
    }

    /// Tells whoever looks at stderr, beside data of any kind but JSON and YAML.
    pub(super) fn remark(self, text: &str) {
        if !matches!(self.format, Format::Json | Format::Yaml) {
            let _ = writeln!(io::stderr(), "{}", self.typed(text));
        }
    }

    /// Tells why it was not done.
    pub(super) fn failure(self, failure: &Failure) {
        let text = match self.format {
            Format::Json => json(&failure.json(self.flags)).unwrap_or_default(),
            _ => text::plain_lines(&failure.text(self.flags)),
        };
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn text<T: Serialize>(
        self,
        value: &T,
        mode: ListMode,
        names: impl Fn(&T) -> Vec<String>,
        blocks: impl Fn(&T, Detail) -> Vec<Block>,
    ) -> io::Result<String> {
        let detail = match self.format {
            Format::Wide => Detail::Wide,
            _ => Detail::Short,
        };
        let text = match (self.format, mode) {
            (Format::Json, ListMode::Alone) => json(value)? + "\n",
            (Format::Json, ListMode::InStream) => json_line(value)? + "\n",
            (Format::Yaml, ListMode::Alone) => document::yaml(value)?,
            (Format::Yaml, ListMode::InStream) => {
                document::YAML_START.to_owned() + &document::yaml(value)?
            }
            (Format::Name | Format::Port | Format::Env, _) => names(value)
                .iter()
                .map(|name| text::plain(name).into_owned() + "\n")
                .collect(),
            (Format::Table | Format::Wide, _) => {
                let text = block::render(blocks(value, detail), self.layout(mode));
                if text.is_empty() { text } else { text + "\n" }
            }
        };
        let parted =
            mode == ListMode::InStream && (self.format.is_for_people() || self.format.is_lines());
        Ok(if parted { text + "\n" } else { text })
    }
}

/// Moves what a terminal shows out of the way of what will be drawn.
pub(super) fn begin_drawing() -> Result<Reader, Failure> {
    put(Ok(screen::cleared()))
}

/// Writes what is no data of the registry's.
pub(super) fn print(text: &[u8]) -> Result<(), Failure> {
    put(String::from_utf8(text.to_vec()).map_err(io::Error::other)).map(|_| ())
}

fn put(text: io::Result<String>) -> Result<Reader, Failure> {
    let written = text.and_then(|text| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    });
    match written {
        Ok(()) => Ok(Reader::There),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            "OUTPUT",
            format!("cannot write to stdout: {error}"),
        )),
    }
}
