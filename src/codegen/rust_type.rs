//! Types in Rust, laid out as rustfmt does it: on one line where that is wide enough, else item by item.

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

use super::rust_columns::{STEP, WIDTH, pad};

/// Columns between the parentheses of a tuple of several items on one line.
pub(super) const TUPLE_WIDTH: usize = 60;

/// A type as it is written.
#[derive(Debug, Clone)]
pub(super) enum Ty {
    /// A name, and types in angle brackets.
    Path(String, Vec<Ty>),
    Tuple(Vec<Ty>),
    /// Any type that has that trait.
    Impl(Box<Ty>),
}

impl From<&str> for Ty {
    fn from(name: &str) -> Self {
        Self::Path(name.to_owned(), Vec::new())
    }
}

impl Ty {
    pub(super) fn of(name: &str, inner: Self) -> Self {
        Self::Path(name.to_owned(), vec![inner])
    }

    /// What begins where so many columns are left; the lines below it are indented from `indent`. Nothing where rustfmt
    /// gives up, and leaves the item as it is: when a name takes more columns than there are.
    pub(super) fn laid_out(&self, indent: usize, width: usize) -> Option<String> {
        match self {
            Self::Path(name, inner) => {
                let left = width.checked_sub(name.width())?;
                if inner.is_empty() {
                    return Some(name.clone());
                }
                let list = List {
                    items: inner,
                    marks: ('<', '>'),
                    width_max: WIDTH,
                    comma: false,
                };
                Some(format!("{name}{}", list.laid_out(indent, left)?))
            }
            Self::Tuple(items) => {
                let list = List {
                    items,
                    marks: ('(', ')'),
                    width_max: TUPLE_WIDTH,
                    comma: items.len() == 1,
                };
                list.laid_out(indent, width)
            }
            // The word takes no columns, to rustfmt.
            Self::Impl(of) => Some(format!("impl {}", of.laid_out(indent, width)?)),
        }
    }

    /// The same on a line of its own in a list, with a comma behind it.
    pub(super) fn in_list(&self, indent: usize) -> Option<String> {
        self.laid_out(indent, in_list(indent))
    }
}

/// The columns for a line in a list, less that of its comma.
fn in_list(indent: usize) -> usize {
    WIDTH.saturating_sub(indent + 1)
}

/// Types between brackets or parentheses.
struct List<'a> {
    items: &'a [Ty],
    marks: (char, char),
    /// Columns between the marks on one line, at most, where there are several.
    width_max: usize,
    /// Whether a comma is behind the last of them on one line too.
    comma: bool,
}

impl List<'_> {
    fn laid_out(&self, indent: usize, width: usize) -> Option<String> {
        let between = width.saturating_sub(2);
        // What is alone between the marks, and has marks of its own, need not begin a line.
        if let [tuple @ Ty::Tuple(_)] = self.items
            && let Some(text) = tuple.laid_out(indent, between)
            && first_line(&text).width() <= between.min(self.width_max)
        {
            return Some(self.on_one_line(&text, indent, width));
        }
        let inner = indent + STEP;
        let all = self.items.iter().map(|item| item.in_list(inner));
        let all: Vec<String> = all.collect::<Option<_>>()?;
        let one = all.join(", ");
        let width_max = match all.len() {
            1 => between,
            _ => between.min(self.width_max),
        };
        if one.width() <= width_max && between > 0 && !one.contains('\n') {
            return Some(self.on_one_line(&one, indent, width));
        }
        let line = |item: &String| format!("{}{item},\n", pad(inner));
        let lines: String = all.iter().map(line).collect();
        let (open, close) = self.marks;
        Some(format!("{open}\n{lines}{}{close}", pad(indent)))
    }

    /// The items between the marks, or on a line of their own below the first mark.
    fn on_one_line(&self, text: &str, indent: usize, width: usize) -> String {
        let (open, close) = self.marks;
        let comma = if self.comma { "," } else { "" };
        let text = format!("{text}{comma}");
        if first_line(&text).width() < width {
            return format!("{open}{text}{close}");
        }
        format!(
            "{open}\n{}{text}\n{}{close}",
            pad(indent + STEP),
            pad(indent)
        )
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Where a type stands behind something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// The name of a member.
    Member,
    /// Another name for it.
    Alias,
}

/// `head ty` as a member or another name for a type has it, with a mark behind it, from the head on.
pub(super) fn assigned(indent: usize, head: &str, ty: &Ty, behind: Behind) -> Option<String> {
    let used = indent + head.width() + 1;
    let width = in_list(used);
    let here = ty.laid_out(indent, width);
    if let Some(here) = &here
        && !here.contains('\n')
        && (behind == Behind::Member && used < WIDTH || here.width() <= width)
    {
        return Some(format!("{head} {here}"));
    }
    let next_indent = indent + STEP;
    let free = WIDTH.saturating_sub(used + width);
    let next_width = WIDTH.saturating_sub(next_indent + free);
    let next = ty.laid_out(next_indent, next_width);
    match (here, next) {
        (Some(here), Some(next))
            if !fits(&next, next_indent, next_width) || !is_better_below(&here, &next) =>
        {
            Some(format!("{head} {here}"))
        }
        (_, Some(next)) => Some(format!("{head}\n{}{next}", pad(next_indent))),
        (Some(here), None) => Some(format!("{head} {here}")),
        (None, None) => None,
    }
}

/// A member without a name, behind its mark.
pub(super) fn unnamed(indent: usize, mark: &str, ty: &Ty) -> Option<String> {
    let width = in_list(indent + mark.trim().width());
    match ty.laid_out(indent, width) {
        Some(text) if !text.contains('\n') => Some(format!("{mark}{text}")),
        // As behind a name that is empty: with the columns and the indent of one.
        _ => {
            let text = assigned(indent, mark, ty, Behind::Alias)?;
            let ty = text.strip_prefix(mark).unwrap_or(&text);
            Some(format!("{mark}{}", ty.trim_start()))
        }
    }
}

fn fits(text: &str, indent: usize, width: usize) -> bool {
    let mut others = text.lines().skip(1);
    first_line(text).width() <= width
        && others.all(|line| line.width() <= WIDTH)
        && (!text.contains('\n')
            || text.lines().last().unwrap_or_default().width() <= indent + width)
}

/// Whether it stands on lines of its own rather than behind its head.
fn is_better_below(here: &str, below: &str) -> bool {
    let lines = |text: &str| text.matches('\n').count();
    let opens = |text: &str| first_line(text).ends_with('(');
    lines(below) == 0 || lines(here) > lines(below) + 1 || opens(here) && !opens(below)
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |types: &[Self]| {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            types.join(", ")
        };
        match self {
            Self::Path(name, inner) if inner.is_empty() => f.write_str(name),
            Self::Path(name, inner) => write!(f, "{name}<{}>", joined(inner)),
            Self::Impl(of) => write!(f, "impl {of}"),
            Self::Tuple(items) if items.len() == 1 => write!(f, "({},)", joined(items)),
            Self::Tuple(items) => write!(f, "({})", joined(items)),
        }
    }
}
