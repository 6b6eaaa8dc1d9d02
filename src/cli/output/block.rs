//! What people are shown: blocks below each other, as wide as there is room.

use super::{
    layout::{Layout, SECTION_INDENT, spaces},
    table::Table,
    text::{plain, shortened, wrapped, wrapped_json},
};

/// Narrower than this nothing is laid out; a line is longer than the terminal then.
const WIDTH_COLUMNS_MIN: u16 = 20;

/// A part of what is shown.
pub(crate) enum Block {
    /// What the next blocks are about. No empty line comes behind it.
    Heading(String),
    /// The same, for a part of what stands under a heading.
    Subheading(String),
    /// A table, and how many columns it is moved to the right.
    Table(Table, u16),
    /// Lines of text.
    Lines(Lines),
}

impl From<Table> for Block {
    fn from(table: Table) -> Self {
        Self::Table(table, 0)
    }
}

/// Lines of text, without empty ones between.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Vec<Line>);

/// A line, or what would be one if there were room.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    text: String,
    /// Columns before it.
    indent: u16,
    /// Columns before what does not fit on the first line.
    hanging: u16,
    /// Whether what does not fit on the first line is left out.
    cut: bool,
    /// Whether it is JSON: broken between values only.
    json: bool,
}

impl Line {
    /// One that goes on below itself, `hanging` columns from the left.
    pub(crate) fn new(indent: u16, hanging: u16, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            indent,
            hanging,
            cut: false,
            json: false,
        }
    }

    /// One that is cut where the room ends.
    pub(crate) fn cut(indent: u16, text: impl Into<String>) -> Self {
        Self {
            cut: true,
            ..Self::new(indent, indent, text)
        }
    }

    fn render(&self, width: Option<u16>, into: &mut Vec<String>) {
        let text = plain(&self.text);
        let columns = width.map_or(usize::MAX, usize::from);
        if self.cut {
            let room = columns.saturating_sub(usize::from(self.indent));
            into.push(indented(self.indent, &shortened(&text, room)));
            return;
        }
        let (first, hanging) = (spaces(self.indent), spaces(self.hanging));
        into.extend(if self.json {
            wrapped_json(&text, &first, &hanging, columns)
        } else {
            wrapped(&text, &first, &hanging, columns)
        });
    }
}

impl Lines {
    /// The paragraphs of a text, one line each.
    pub(crate) fn paragraphs(indent: u16, text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| Line::new(indent, indent, line)).collect()
    }

    /// A document of JSON, whose line breaks and indents are its own. A text in it is never broken: a terminal does that
    /// without changing it.
    pub(crate) fn verbatim(indent: u16, text: &str) -> Self {
        let deeper = |line: &str| {
            let spaces = line.len() - line.trim_start_matches(' ').len();
            let own = indent.saturating_add(u16::try_from(spaces).unwrap_or(0));
            Line {
                json: true,
                ..Line::new(own, own + 2, line.trim_start_matches(' '))
            }
        };
        text.lines().map(deeper).collect()
    }
}

impl FromIterator<Line> for Lines {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        Self(lines.into_iter().collect())
    }
}

impl From<Lines> for Block {
    fn from(lines: Lines) -> Self {
        Self::Lines(lines)
    }
}

/// The blocks below each other, without a line feed at the end.
pub(super) fn render(blocks: Vec<Block>, layout: Layout) -> String {
    let layout = Layout {
        width: layout.width.map(|width| width.max(WIDTH_COLUMNS_MIN)),
        ..layout
    };
    let mut lines: Vec<String> = Vec::new();
    let mut under_heading = true;
    for block in blocks {
        let heading = matches!(block, Block::Heading(_) | Block::Subheading(_));
        let rendered = block.render(layout);
        if rendered.is_empty() {
            continue;
        }
        if !under_heading && !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(rendered);
        under_heading = heading;
    }
    lines.join("\n")
}

impl Block {
    fn render(self, layout: Layout) -> Vec<String> {
        let mut lines = Vec::new();
        let width = layout.width;
        match self {
            Self::Heading(text) => Line::new(0, SECTION_INDENT, text).render(width, &mut lines),
            Self::Subheading(text) => {
                Line::new(SECTION_INDENT, SECTION_INDENT, text).render(width, &mut lines);
            }
            Self::Lines(Lines(all)) => all.iter().for_each(|line| line.render(width, &mut lines)),
            Self::Table(table, indent) => {
                let width = width.map(|width| width.saturating_sub(indent));
                let text = table.render(Layout { width, ..layout });
                lines.extend(text.lines().map(|line| indented(indent, line)));
            }
        }
        lines
    }
}

fn indented(columns: u16, text: &str) -> String {
    let line = spaces(columns) + text;
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(width: Option<u16>) -> Layout {
        Layout {
            width,
            row_is_line: false,
            headers: true,
        }
    }

    #[test]
    fn blocks_stand_below_each_other_and_lines_fit() {
        let blocks = || {
            vec![
                Block::Heading("NUMBERS".to_owned()),
                Table::values().row(["One", "1"]).into(),
                Lines::default().into(),
                Block::Table(Table::values().row(["Two", "2"]), 2),
                Block::Heading("TEXT".to_owned()),
                Lines::from_iter([
                    Line::new(2, 6, "one two three four five six"),
                    Line::cut(2, "one two three four five six"),
                ])
                .into(),
            ]
        };
        let wide = "NUMBERS\nOne  1\n\n  Two  2\n\nTEXT\n  one two three four five six\n  one two three four five six";
        assert_eq!(render(blocks(), layout(None)), wide);
        let narrow = "NUMBERS\nOne  1\n\n  Two  2\n\nTEXT\n  one two three four\n      five six\n  one two three fou…";
        assert_eq!(render(blocks(), layout(Some(20))), narrow);
    }

    #[test]
    fn a_document_keeps_its_shape() {
        let lines = Lines::verbatim(2, "{\n  \"a\": [\n    1\n  ]\n}");
        let text = render(vec![lines.into()], layout(Some(80)));
        assert_eq!(text, "  {\n    \"a\": [\n      1\n    ]\n  }");
        let lines = Lines::verbatim(0, "{\n  \"a b\": \"one \\\" two\",\n  \"c\": [1, 2]\n}");
        let text = render(vec![lines.into()], layout(Some(20)));
        assert_eq!(
            text,
            "{\n  \"a b\":\n    \"one \\\" two\",\n  \"c\": [1, 2]\n}"
        );
        let paragraphs = Lines::paragraphs(1, "one\n\n two \n");
        assert_eq!(render(vec![paragraphs.into()], layout(None)), " one\n two");
    }
}
