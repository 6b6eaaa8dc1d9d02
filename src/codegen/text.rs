//! Text of code: literals, comments, and lists that fit on a line or do not.

/// Columns of code.
pub(super) const WIDTH: usize = 88;

/// Whether a character must not stand in code as it is: it would end a line, or show it as something else than it is.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text in double quotes; `hidden` spells what must not stand there as it is.
pub(super) fn quoted(text: &str, hidden: fn(char) -> String) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => out.push_str(&hidden(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The lines of a comment, `width` columns wide where words allow it, with an empty line between paragraphs. What a
/// comment must not hold is spelled out, but for what ends it in one language: that is up to who writes it.
pub(super) fn wrapped(paragraphs: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in paragraphs {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        for line in paragraph.replace("\r\n", "\n").split('\n') {
            wrap(&shown(line), width, &mut lines);
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// One line of text with what must not stand in a comment spelled out.
pub(super) fn shown(line: &str) -> String {
    let mut out = String::new();
    for c in line.replace('\t', "    ").chars() {
        if is_hidden(c) {
            out.push_str(&format!("U+{:04X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Words keep their indent, as items of lists have one.
fn wrap(text: &str, width: usize, lines: &mut Vec<String>) {
    let indent: String = text.chars().take_while(|c| *c == ' ').take(3).collect();
    let mut line = indent.clone();
    for word in text.split_whitespace() {
        let empty = line.trim().is_empty();
        if !empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        } else if !empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line.trim_end().to_owned());
}

/// `open`, the items, `close`, each item on a line of its own where one line does not hold all; `before` columns
/// stand before it on its first line, and `after` behind it. Further lines begin with `indent` columns.
pub(super) fn listed(
    (open, close): (&str, &str),
    items: &[String],
    (before, after): (usize, usize),
    (indent, step): (usize, usize),
) -> String {
    let one = format!("{open}{}{close}", items.join(", "));
    if !one.contains('\n') && before + one.chars().count() + after <= WIDTH {
        return one;
    }
    let mut out = format!("{open}\n");
    for item in items {
        out.push_str(&format!("{:width$}{item},\n", "", width = indent + step));
    }
    out.push_str(&format!("{:indent$}{close}", ""));
    out
}

/// The same, and all items on one line of their own where that holds them: as Python has it.
pub(super) fn called(
    (open, close): (&str, &str),
    items: &[String],
    (before, after): (usize, usize),
    (indent, step): (usize, usize),
) -> String {
    let all = items.join(", ");
    let one = before + open.len() + all.chars().count() + close.len() + after <= WIDTH;
    let two = indent + step + all.chars().count() <= WIDTH;
    if all.contains('\n') || one || !two {
        return listed((open, close), items, (before, after), (indent, step));
    }
    format!(
        "{open}\n{:two$}{all}\n{:indent$}{close}",
        "",
        "",
        two = indent + step
    )
}

/// The lines, each behind `indent` and then `mark`.
pub(super) fn block(lines: &[String], indent: &str, mark: &str) -> String {
    let line = |line: &String| format!("{}\n", format!("{indent}{mark}{line}").trim_end());
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        let hidden = |c| format!("<{:x}>", u32::from(c));
        let text = quoted("a\"\\\n\u{202e}\u{7}é😀\u{2028}", hidden);
        assert_eq!(text, "\"a\\\"\\\\\\n<202e><7>é😀<2028>\"");
    }

    #[test]
    fn comments_are_lines() {
        let paragraphs = [
            "one two three\n  - four five\r\nsix\u{2028}".to_owned(),
            "x".to_owned(),
        ];
        let lines = wrapped(&paragraphs, 10);
        let want = [
            "one two",
            "three",
            "  - four",
            "  five",
            "sixU+2028",
            "",
            "x",
        ];
        assert_eq!(lines, want);
    }
}
