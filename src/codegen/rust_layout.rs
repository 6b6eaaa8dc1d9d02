//! Rust laid out as rustfmt does it by default, for what is generated here and nothing else. What it cannot lay out so is
//! left out of rustfmt's work by an attribute: see [`item`].

use unicode_width::UnicodeWidthStr as _;

use super::{
    rust_columns::{STEP, WIDTH, pad},
    rust_type::{Behind, TUPLE_WIDTH, Ty, assigned, unnamed},
};

/// Columns between the braces of a struct literal on one line.
const LITERAL_WIDTH: usize = 18;
/// Columns of a pattern that may stand on a line with others.
const PATTERN_WIDTH: usize = 20;
/// Columns that are kept free behind patterns, for ` => {`.
const ARM_WIDTH: usize = 5;
/// Columns of a type without members on one line, less one.
const EMPTY_WIDTH: usize = 99;

fn fits(line: &str) -> bool {
    line.width() <= WIDTH
}

/// `head ty,`, as a member has it.
pub(super) fn member(head: &str, ty: &Ty) -> String {
    let text = assigned(STEP, head, ty, Behind::Member);
    format!(
        "{}{},\n",
        pad(STEP),
        text.unwrap_or_else(|| format!("{head} {ty}"))
    )
}

/// `head ty;`, as another name for a type has it.
pub(super) fn alias(head: &str, ty: &Ty) -> String {
    let text = assigned(0, head, ty, Behind::Alias);
    format!("{};\n", text.unwrap_or_else(|| format!("{head} {ty}")))
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
    let inner = indent + STEP;
    let all = types.iter().map(|ty| {
        let text = unnamed(inner, mark, ty);
        text.unwrap_or_else(|| format!("{mark}{ty}"))
    });
    let all: Vec<String> = all.collect();
    let one = all.join(", ");
    let wide = one.contains('\n') || types.len() > 1 && one.width() > TUPLE_WIDTH;
    let line = format!("{}{head}({one}){end}", pad(indent));
    if fits(&line) && !wide {
        return line + "\n";
    }
    let line = |it: &String| format!("{}{it},\n", pad(inner));
    let lines: String = all.iter().map(line).collect();
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

/// A type without members.
pub(super) fn empty(name: &str) -> String {
    let head = format!("pub struct {name}");
    // The braces are broken before the line is full, and stand together again below it.
    match head.width() + " {}".len() {
        0..EMPTY_WIDTH => format!("{head} {{}}\n"),
        EMPTY_WIDTH..=WIDTH => format!("{head} {{\n}}\n"),
        _ => format!("{head}\n{{}}\n"),
    }
}

/// The first line of an implementation, or the first three; `of` is the trait, if any.
pub(super) fn implementation(of: &str, name: &str) -> String {
    let behind = if of.is_empty() { "" } else { "for " };
    let one = format!("impl{of} {behind}{name} {{\n");
    let below = format!("    {behind}{name}");
    // What no line holds is left as it is.
    if fits(one.trim_end()) || !fits(&below) {
        return one;
    }
    format!("impl{of}\n{below}\n{{\n")
}

/// The first line of a function, or its first lines; a parameter without a type is a receiver.
pub(super) fn signature(head: &str, parameters: &[(&str, Option<Ty>)], result: &Ty) -> String {
    // What rustfmt gives up on is left as it is.
    let text = |(name, ty): &(&str, Option<Ty>)| match ty {
        Some(ty) => {
            let width = WIDTH.checked_sub(2 * STEP + 1 + name.width() + 2);
            let text = width.and_then(|width| ty.laid_out(2 * STEP, width));
            format!("{name}: {}", text.unwrap_or_else(|| ty.to_string()))
        }
        None => (*name).to_owned(),
    };
    let all: Vec<String> = parameters.iter().map(text).collect();
    let one = format!("    {head}({}) -> {result} {{", all.join(", "));
    if fits(&one) && !one.contains('\n') {
        return one + "\n";
    }
    let line = |it: &String| format!("        {it},\n");
    let lines: String = all.iter().map(line).collect();
    let result = result
        .laid_out(STEP, WIDTH - STEP - "-> ".len())
        .unwrap_or_else(|| result.to_string());
    let end = format!("    ) -> {result}");
    let last = end.lines().last().unwrap_or_default();
    // The indent counts twice.
    let brace = if last.width() + 2 + STEP <= WIDTH {
        " {"
    } else {
        "\n    {"
    };
    format!("    {head}(\n{lines}{end}{brace}\n")
}

/// A call as the value of a function.
pub(super) fn call(indent: usize, function: &str, argument: &str) -> String {
    let outer = pad(indent);
    let one = format!("{outer}{function}({argument})\n");
    // What no line holds is left as it is.
    let holds = indent + function.width() <= WIDTH;
    if fits(one.trim_end()) || !holds {
        return one;
    }
    format!(
        "{outer}{function}(\n{}{argument},\n{outer})\n",
        pad(indent + STEP)
    )
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
                let first = chain.map(|value| format!("{inner}{name}: {value}"));
                match (first.filter(|first| first.width() < WIDTH), chain) {
                    (Some(first), _) => format!("{first}\n{next}.into(),\n"),
                    (None, Some(value)) if !fits(&format!("{next}{value}.into()")) => {
                        let below = pad(indent + 3 * STEP);
                        format!("{inner}{name}:\n{next}{value}\n{below}.into(),\n")
                    }
                    _ => format!("{inner}{name}:\n{next}{value},\n"),
                }
            }
            _ => one + "\n",
        }
    };
    let lines: String = members.iter().map(line).collect();
    format!("{outer}Self {{\n{lines}{outer}}}\n")
}

/// One arm of a match; the value is a call, or something on which the method `call` is called.
pub(super) fn arm(indent: usize, patterns: &[String], value: &str, call: &str) -> String {
    let outer = pad(indent);
    let inner = pad(indent + STEP);
    let one = patterns.join(" | ");
    let pattern = if patterns.len() < 2 || indent + one.width() + ARM_WIDTH <= WIDTH {
        format!("{outer}{one}")
    } else {
        rows(patterns, indent).join("\n")
    };
    let last = pattern.lines().last().unwrap_or_default();
    let body = format!("{value}{call}");
    // Of patterns rustfmt counts the bytes, and not the columns.
    if last.len() + body.width() + ARM_WIDTH <= WIDTH {
        return format!("{pattern} => {body},\n");
    }
    let below = format!("{inner}{call},");
    let chain = !fits(&format!("{inner}{body}")) && !call.is_empty();
    if chain && fits(&below) && last.len() + value.width() + ARM_WIDTH <= WIDTH {
        return format!("{pattern} => {value}\n{below}\n");
    }
    format!("{pattern} => {{\n{inner}{body}\n{outer}}}\n")
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

/// An item, with an attribute where rustfmt would lay it out in another way than this module. What no line can hold it
/// leaves as it is, but for these.
pub(super) fn item(text: String) -> String {
    let other = |line: &str| {
        let trimmed = line.trim_start();
        let begins = |all: &[&str]| all.iter().any(|it| trimmed.starts_with(it));
        let ends = |all: &[&str]| all.iter().any(|it| trimmed.ends_with(it));
        // The value of an arm that a block does not hold; of a call a column earlier.
        let call = begins(&["Ok(Self::"]);
        let value = ends(&[".serialize(to)"]) || begins(&["inner(value)"]) || call;
        // A result that cannot be broken: what is behind it comes closer.
        let result = begins(&[") -> Result<"]) && ends(&[" {"]);
        // A parameter of a trait that only a line of its own holds.
        let of = line.split_once('>').map_or(0, |(of, _)| of.width() + 1);
        let of = begins(&["impl From<"]) && (WIDTH + 1..=WIDTH + 2).contains(&of);
        // A member without a name gets two spaces before a type of several lines.
        let member = begins(&["pub "]) && ends(&["(", "<"]);
        let member = member && !line.contains(':') && !line.contains(" fn ");
        (value || result) && line.width() + usize::from(call) > WIDTH
            || of
            || member && line.starts_with(' ')
    };
    if text.lines().any(other) {
        return format!("#[rustfmt::skip]\n{text}");
    }
    text
}
