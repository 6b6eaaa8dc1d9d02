//! Rust laid out as rustfmt does it by default, for what is generated here and nothing else. What it cannot lay out so is
//! left out of rustfmt's work by an attribute: see [`item`].

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

/// Columns of code.
const WIDTH: usize = 100;
/// Columns between the parentheses of a tuple of several items on one line.
const TUPLE_WIDTH: usize = 60;
/// Columns between the braces of a struct literal on one line.
const LITERAL_WIDTH: usize = 18;
/// Columns of a pattern that may stand on a line with others.
const PATTERN_WIDTH: usize = 20;
/// Columns that are kept free behind patterns, for ` => {`.
const ARM_WIDTH: usize = 5;
const STEP: usize = 4;

/// A type as it is written.
#[derive(Debug, Clone)]
pub(super) enum Ty {
    /// A name, and types in angle brackets.
    Path(String, Vec<Ty>),
    Tuple(Vec<Ty>),
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

    /// On one line where `before` columns stand before it and `after` behind it, else on several; what is inside is
    /// indented from `indent`.
    pub(super) fn placed(&self, indent: usize, before: usize, after: usize) -> String {
        let one = self.to_string();
        if !self.is_wide() && before + one.width() + after <= WIDTH {
            return one;
        }
        self.broken(indent)
    }

    /// Whether it takes several lines, however many columns there are.
    fn is_wide(&self) -> bool {
        match self {
            Self::Path(_, inner) => inner.iter().any(Self::is_wide),
            // The parentheses do not count.
            Self::Tuple(items) if items.len() > 1 => {
                self.to_string().width() > TUPLE_WIDTH + 2 || items.iter().any(Self::is_wide)
            }
            Self::Tuple(items) => items.iter().any(Self::is_wide),
        }
    }

    fn broken(&self, indent: usize) -> String {
        match self {
            Self::Path(name, inner) => match inner.as_slice() {
                [] => name.clone(),
                [tuple @ Self::Tuple(_)] => format!("{name}<{}>", tuple.broken(indent)),
                inner => format!("{name}<\n{}{}>", lines(inner, indent), pad(indent)),
            },
            Self::Tuple(items) => format!("(\n{}{})", lines(items, indent), pad(indent)),
        }
    }
}

/// Each on a line of its own, or several.
fn lines(types: &[Ty], indent: usize) -> String {
    let indent = indent + STEP;
    let line = |ty: &Ty| format!("{}{},\n", pad(indent), ty.placed(indent, indent, 1));
    types.iter().map(line).collect()
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
            Self::Tuple(items) if items.len() == 1 => write!(f, "({},)", joined(items)),
            Self::Tuple(items) => write!(f, "({})", joined(items)),
        }
    }
}

pub(super) fn pad(indent: usize) -> String {
    " ".repeat(indent)
}

fn fits(line: &str) -> bool {
    line.width() <= WIDTH
}

/// `head ty end`, as a member or another name for a type has it.
pub(super) fn typed(indent: usize, head: &str, ty: &Ty, end: char) -> String {
    let head = format!("{}{head}", pad(indent));
    let one = format!("{head} {ty}{end}");
    if fits(&one) && !ty.is_wide() {
        return one + "\n";
    }
    let broken = ty.broken(indent);
    let next = format!("{}{ty}{end}", pad(indent + STEP));
    let name = matches!(ty, Ty::Path(_, inner) if inner.is_empty());
    if name || !ty.is_wide() && fits(&next) {
        return format!("{head}\n{next}\n");
    }
    format!("{head} {broken}{end}\n")
}

/// `head literal;`, with the literal on a line of its own where only that holds it.
pub(super) fn said(indent: usize, head: &str, literal: &str) -> String {
    let one = format!("{}{head} {literal};\n", pad(indent));
    let next = format!("{}{literal};", pad(indent + STEP));
    if fits(one.trim_end()) || !fits(&next) {
        return one;
    }
    format!("{}{head}\n{next}\n", pad(indent))
}

/// The name of a variant on the wire.
pub(super) fn variant_renamed(literal: &str) -> String {
    renamed(literal, WIDTH)
}

/// The name of a member on the wire.
pub(super) fn member_renamed(literal: &str) -> String {
    // A column less than anything else has.
    renamed(literal, WIDTH - 1)
}

fn renamed(literal: &str, width: usize) -> String {
    let indent = STEP;
    let one = format!("{}#[serde(rename = {literal})]", pad(indent));
    if one.width() <= width {
        return one + "\n";
    }
    let pad = pad(indent);
    format!("{pad}#[serde(\n{pad}    rename = {literal}\n{pad})]\n")
}

/// The members of a tuple struct or the value of a variant, from the name on.
pub(super) fn fields(indent: usize, head: &str, types: &[Ty], mark: &str, end: char) -> String {
    let all: Vec<String> = types.iter().map(|ty| format!("{mark}{ty}")).collect();
    let all = all.join(", ");
    let wide = types.iter().any(Ty::is_wide) || types.len() > 1 && all.width() > TUPLE_WIDTH;
    let one = format!("{}{head}({all}){end}", pad(indent));
    if fits(&one) && !wide {
        return one + "\n";
    }
    let inner = indent + STEP;
    let line = |ty: &Ty| {
        let ty = ty.placed(inner, inner + mark.width(), 1);
        format!("{}{mark}{ty},\n", pad(inner))
    };
    let lines: String = types.iter().map(line).collect();
    format!("{}{head}(\n{lines}{}){end}\n", pad(indent), pad(indent))
}

/// The first line of a type with members, or the first two.
pub(super) fn opened(head: &str) -> String {
    let one = format!("{head} {{\n");
    if fits(one.trim_end()) {
        return one;
    }
    format!("{head}\n{{\n")
}

/// A macro with a name in it.
pub(super) fn called(head: &str, name: &str) -> String {
    let one = format!("{head}({name});\n");
    if fits(one.trim_end()) || STEP + name.width() > WIDTH {
        return one;
    }
    format!("{head}(\n    {name}\n);\n")
}

/// The first line of an implementation, or the first three.
pub(super) fn implementation(of: &str, name: &str) -> String {
    let one = format!("impl{of} for {name} {{\n");
    if fits(one.trim_end()) {
        return one;
    }
    format!("impl{of}\n    for {name}\n{{\n")
}

/// The first line of a function, or its first lines; a parameter without a type is a receiver.
pub(super) fn signature(head: &str, parameters: &[(&str, Option<Ty>)], result: &Ty) -> String {
    let text = |(name, ty): &(&str, Option<Ty>)| match ty {
        Some(ty) => format!("{name}: {ty}"),
        None => (*name).to_owned(),
    };
    let all: Vec<String> = parameters.iter().map(text).collect();
    let wide = |(_, ty): &(&str, Option<Ty>)| ty.as_ref().is_some_and(Ty::is_wide);
    let one = format!("    {head}({}) -> {result} {{", all.join(", "));
    if fits(&one) && !parameters.iter().any(wide) {
        return one + "\n";
    }
    let line = |(name, ty): &(&str, Option<Ty>)| match ty {
        Some(ty) => {
            let before = 2 * STEP + name.width() + 2;
            format!("        {name}: {},\n", ty.placed(2 * STEP, before, 1))
        }
        None => format!("        {name},\n"),
    };
    let lines: String = parameters.iter().map(line).collect();
    let end = format!("    ) -> {}", result.placed(STEP, STEP, 0));
    let last = end.lines().last().unwrap_or_default();
    // The indent counts twice.
    let brace = if last.width() + 2 + STEP <= WIDTH {
        " {"
    } else {
        "\n    {"
    };
    format!("    {head}(\n{lines}{end}{brace}\n")
}

/// A struct literal as the value of a function; a member without a value is a variable of that name.
pub(super) fn literal(indent: usize, members: &[(&str, Option<String>)]) -> String {
    let text = |(name, value): &(&str, Option<String>)| match value {
        Some(value) => format!("{name}: {value}"),
        None => (*name).to_owned(),
    };
    let all: Vec<String> = members.iter().map(text).collect();
    let one = all.join(", ");
    let outer = pad(indent);
    if one.width() <= LITERAL_WIDTH {
        return format!("{outer}Self {{ {one} }}\n");
    }
    let inner = pad(indent + STEP);
    let line = |member: &(&str, Option<String>)| {
        let one = format!("{inner}{},", text(member));
        match member {
            (name, Some(value)) if !fits(&one) => {
                let next = pad(indent + 2 * STEP);
                let chain = value.strip_suffix(".into()");
                let chain = chain.map(|value| format!("{inner}{name}: {value}"));
                match chain.filter(|first| first.width() < WIDTH) {
                    Some(first) => format!("{first}\n{next}.into(),\n"),
                    None => format!("{inner}{name}:\n{next}{value},\n"),
                }
            }
            _ => one + "\n",
        }
    };
    let lines: String = members.iter().map(line).collect();
    format!("{outer}Self {{\n{lines}{outer}}}\n")
}

/// One arm of a match.
pub(super) fn arm(indent: usize, patterns: &[String], body: &str) -> String {
    let outer = pad(indent);
    let one = patterns.join(" | ");
    let pattern = if patterns.len() < 2 || indent + one.width() + ARM_WIDTH <= WIDTH {
        format!("{outer}{one}")
    } else {
        rows(patterns, indent).join("\n")
    };
    let last = pattern.lines().last().unwrap_or_default();
    // Of patterns rustfmt counts the bytes, and not the columns.
    if last.len() + body.width() + ARM_WIDTH <= WIDTH {
        return format!("{pattern} => {body},\n");
    }
    format!("{pattern} => {{\n{outer}    {body}\n{outer}}}\n")
}

/// Patterns that one line does not hold: where all are short as many on a line as it holds, else one on each.
fn rows(patterns: &[String], indent: usize) -> Vec<String> {
    let short = patterns.iter().all(|it| it.width() <= PATTERN_WIDTH);
    let mut rows: Vec<String> = Vec::new();
    for pattern in patterns {
        match rows.last_mut() {
            None => rows.push(format!("{}{pattern}", pad(indent))),
            Some(row) if short && row.width() + 3 + pattern.width() + ARM_WIDTH <= WIDTH => {
                row.push_str(" | ");
                row.push_str(pattern);
            }
            Some(_) => rows.push(format!("{}| {pattern}", pad(indent))),
        }
    }
    rows
}

/// Whether there is nothing but a name on a line: it cannot be broken.
fn is_name(line: &str) -> bool {
    let heads = ["pub struct ", "pub enum ", "for ", "pub "];
    let name = heads.iter().find_map(|head| line.strip_prefix(head));
    let name = name.unwrap_or(line);
    name.chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | ','))
}

/// An item, with an attribute where rustfmt would lay it out in another way than this module: when not even broken lines
/// hold it.
pub(super) fn item(text: String) -> String {
    // Those that rustfmt leaves as they are, however long.
    let left = [
        "///",
        "//",
        "let ",
        "rename = ",
        "#[serde(rename",
        "object!",
        "\"",
        "| \"",
    ];
    let long = |line: &str| {
        let trimmed = line.trim_start();
        // A value that ends a block needs a column more.
        let width = line.width() + usize::from(line.ends_with(')'));
        width > WIDTH && !left.iter().any(|it| trimmed.starts_with(it)) && !is_name(trimmed)
    };
    // A body that no line holds is not laid out at all, and what is around it neither.
    let body = |line: &str| line.trim_start().starts_with('"') && line.ends_with(".serialize(to)");
    if text
        .lines()
        .any(|line| long(line) || !fits(line) && body(line))
    {
        return format!("#[rustfmt::skip]\n{text}");
    }
    text
}
