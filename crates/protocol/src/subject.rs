//! Subjects on which tools listen. The registry publishes there with rights of its own, so whoever
//! announces a tool must not be able to choose just any.

use std::{fmt, str::FromStr};

use onex_types::ids::{Invalid, NodeId, Token};

use crate::names::Namespace;

/// Longest subject of a tool, in characters: no default is longer, whatever the names of tool and node are.
pub const SUBJECT_CHARS_MAX: usize = 512;

/// What the subjects of registries begin with, whatever the version; `*` stands for a namespace.
const OF_REGISTRIES: &[&[&str]] = &[&["onex", "registry"], &["onex", "*", "registry"]];

/// What the default subjects of tools begin with.
const OF_NODES: &[&[&str]] = &[&["onex", "node", "v1"], &["onex", "*", "node", "v1"]];

/// Whether a subject, or a pattern with everything it matches, begins so.
fn begins(subject: &str, with: &[&[&str]]) -> bool {
    with.iter().any(|beginning| {
        let mut tokens = subject.split('.');
        let mut beginning = beginning.iter();
        beginning.all(|part| {
            tokens
                .next()
                .is_some_and(|token| *part == "*" || *part == token)
        })
    })
}

/// Whether something that a pattern matches begins so.
fn may_begin(pattern: &str, with: &[&[&str]]) -> bool {
    with.iter().any(|beginning| {
        let mut tokens = pattern.split('.');
        let mut beginning = beginning.iter();
        loop {
            match (beginning.next(), tokens.next()) {
                (None, _) | (_, Some(">")) => return true,
                (Some(part), Some(token)) if *part == "*" || token == "*" || *part == token => {}
                _ => return false,
            }
        }
    })
}

/// A subject with wildcards: `*` for one token, `>` at the end for one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern(Box<str>);

impl SubjectPattern {
    /// Whether a subject without wildcards is one of these.
    pub fn matches(&self, subject: &str) -> bool {
        covers(&self.0, subject)
    }
}

/// Whether a subject without wildcards is one of those that the pattern means.
pub fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

impl FromStr for SubjectPattern {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let tokens = text.split('.').count();
        let good = |(at, token): (usize, &str)| match token {
            "*" => true,
            ">" => at + 1 == tokens,
            _ => is_literal(token),
        };
        if text.chars().count() <= SUBJECT_CHARS_MAX && text.split('.').enumerate().all(good) {
            return match never_for_tools(text) {
                Some(why) => Err(Invalid(format!(
                    "must be subjects on which tools may listen: {text:?} is {why}, which no tool is called by"
                ))),
                None => Ok(Self(text.into())),
            };
        }
        Err(Invalid(format!(
            "must be a subject of at most {SUBJECT_CHARS_MAX} characters, with '*' for one token or '>' at the end"
        )))
    }
}

/// Why no tool may have a subject of that pattern; none where one may.
fn never_for_tools(pattern: &str) -> Option<&'static str> {
    if pattern.starts_with('$') {
        return Some("an interface of the NATS server");
    }
    if pattern.starts_with('_') {
        return Some("an inbox, or another subject of clients");
    }
    if begins(pattern, OF_REGISTRIES) {
        return Some("a registry's own");
    }
    begins(pattern, OF_NODES)
        .then_some("a default subject of tools, each of which only its own node may have")
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where tools may listen, beyond the rules that hold everywhere. The default narrows nothing: an
/// endpoint that was there before this registry can be a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolSubjects {
    patterns: Vec<SubjectPattern>,
    /// Without patterns none is allowed instead of all.
    named_only: bool,
}

impl ToolSubjects {
    /// Only these; none means all.
    pub fn new(patterns: Vec<SubjectPattern>) -> Self {
        Self {
            patterns,
            named_only: false,
        }
    }

    /// The same where none means none: for a registry that has rights which its callers may lack.
    #[must_use]
    pub fn named_only(self) -> Self {
        Self {
            named_only: true,
            ..self
        }
    }

    /// The first pattern that leaves it to whoever announces a tool where its subject begins, or that matches
    /// subjects which no tool may have.
    pub fn widest(&self) -> Option<&SubjectPattern> {
        let mut patterns = self.patterns.iter();
        patterns.find(|SubjectPattern(text)| {
            text.starts_with(['*', '>'])
                || may_begin(text, OF_REGISTRIES)
                || may_begin(text, OF_NODES)
        })
    }

    /// Whether there is any that is not allowed, of those that the rules which hold everywhere let be.
    pub fn narrow(&self) -> bool {
        self.named_only || !self.patterns.is_empty()
    }

    fn allow(&self, subject: &str) -> bool {
        !self.narrow() || self.patterns.iter().any(|pattern| pattern.matches(subject))
    }
}

/// Whether a tool of `node` may listen on `subject`; says what is wrong with it.
///
/// Refused are wildcards, interfaces of the server (`$…`), inboxes and the like (`_…`), every registry's
/// own subjects, and the default subjects of other nodes. The node's own default subjects are always
/// allowed, all others within `subjects`.
pub fn check_subject(
    subject: &str,
    namespace: &Namespace,
    node: &NodeId,
    subjects: &ToolSubjects,
) -> Result<(), Invalid> {
    let refuse = |message: String| Err(Invalid(message));
    if subject.chars().count() > SUBJECT_CHARS_MAX {
        return refuse(format!("must be at most {SUBJECT_CHARS_MAX} characters"));
    }
    if !subject.split('.').all(is_literal) {
        return refuse("must be a subject without wildcards, spaces and empty tokens".to_owned());
    }
    if subject.starts_with(['$', '_']) {
        return refuse(
            "must not begin with '$' or '_': such subjects are not for tools".to_owned(),
        );
    }
    if begins(subject, OF_REGISTRIES) {
        return refuse("must not be a subject of a registry".to_owned());
    }
    if begins(subject, OF_NODES) {
        let own = |name: &str| {
            let name: Result<Token, _> = name.parse();
            name.is_ok_and(|name| namespace.tool_subject(&name, node) == subject)
        };
        if subject.rsplit('.').nth(1).is_some_and(own) {
            return Ok(());
        }
        return refuse("must not be the default subject of another node's tool".to_owned());
    }
    if subjects.allow(subject) {
        return Ok(());
    }
    refuse("must be a subject that this registry allows for tools (--tool-subjects)".to_owned())
}

/// Whether that is one token of a subject without wildcards.
pub(super) fn is_literal(token: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>');
    !token.is_empty() && !token.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::super::names::NAMESPACE_CHARS_MAX;
    use super::*;
    use onex_types::ids::TOKEN_CHARS_MAX;

    #[track_caller]
    fn check(subject: &str, allowed: &[&str], good: bool) {
        let patterns = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let result = check_subject(
            subject,
            &"ci".parse().unwrap(),
            &"calc.1".parse().unwrap(),
            &ToolSubjects::new(patterns),
        );
        assert_eq!(result.is_ok(), good, "{subject}: {result:?}");
    }

    #[test]
    fn a_tool_cannot_listen_just_anywhere() {
        check("calc.add", &[], true);
        check("onex.ci.node.v1.tool.add.calc=2E1", &[], true);
        check("onex.ci.node.v1.tool.add.calc=2E1", &["tools.>"], true);
        check("onex.ci.node.v1.tool.add.calc=2E2", &[], false);
        check("onex.ci.node.v1.tool.add.calc.1", &[], false);
        check("onex.node.v1.tool.add.calc=2E1", &[], false);
        check("onex.other.node.v1.tool.add.calc=2E1", &[], false);
        check("onex.ci.node.v1", &[], false);
        check("onex.registry.v1.port.lease", &[], false);
        check("onex.registry.v2.port.lease", &[], false);
        check("onex.ci.registry.v1.port.lease", &[], false);
        check("onex.any.registry", &[], false);
        check("onex.any.thing", &[], true);
        check("$JS.API.STREAM.DELETE.x", &[], false);
        check("$KV.onex-registry.sys", &[], false);
        check("_INBOX.abc.1", &[], false);
        check("calc.*", &[], false);
        check("calc.>", &[], false);
        check("calc.a>b", &[], false);
        check("calc..add", &[], false);
        check("", &[], false);
        check(".calc", &[], false);
        check("calc add", &[], false);
        check("calc.a\nb", &[], false);
        check(&"x".repeat(SUBJECT_CHARS_MAX), &[], true);
        check(&"x".repeat(SUBJECT_CHARS_MAX + 1), &[], false);
        check("tools.add", &["tools.*"], true);
        check("tools.add.2", &["tools.*"], false);
        check("tools.add.2", &["svc.x", "tools.>"], true);
        check("tools", &["tools.>"], false);
        check("other.add", &["tools.>"], false);
    }

    #[test]
    fn without_patterns_all_are_allowed_or_only_the_defaults() {
        let (namespace, node) = (Namespace::default(), "calc".parse().unwrap());
        let own = "onex.node.v1.tool.add.calc";
        let allowed = |subjects: &ToolSubjects, subject| {
            check_subject(subject, &namespace, &node, subjects).is_ok()
        };
        let any = ToolSubjects::default();
        assert!(allowed(&any, own) && allowed(&any, "calc.add"));
        let none = any.named_only();
        assert!(allowed(&none, own) && !allowed(&none, "calc.add"));
        let some = ToolSubjects::new(vec!["calc.*".parse().unwrap()]).named_only();
        assert!(allowed(&some, own) && allowed(&some, "calc.add"));
    }

    #[test]
    fn what_matches_subjects_of_others_is_wide() {
        for (pattern, wide) in [
            (">", true),
            ("*.delete", true),
            ("onex.>", true),
            ("onex.*.>", true),
            ("onex.*.*.port", true),
            ("onex.*.v1.>", true),
            ("onex.ci.>", true),
            ("onex.ci.*.v1.x", true),
            ("onex.any.thing.>", false),
            ("onex.*.thing.v1", true),
            ("onexes.>", false),
            ("calc.>", false),
        ] {
            let subjects = ToolSubjects::new(vec![pattern.parse().unwrap()]);
            assert_eq!(subjects.widest().is_some(), wide, "{pattern}");
        }
    }

    #[test]
    fn every_default_is_a_subject() {
        let longest =
            |part: &str, chars: usize| part.repeat(chars.div_ceil(part.len()))[..chars].to_owned();
        let tool: Token = longest("x", TOKEN_CHARS_MAX).parse().unwrap();
        // One with as many characters to escape as there can be.
        let dots = longest("x.", TOKEN_CHARS_MAX - 1);
        let node: NodeId = dots.trim_end_matches('.').parse().unwrap();
        let namespace: Namespace = longest("n", NAMESPACE_CHARS_MAX).parse().unwrap();
        let subject = namespace.tool_subject(&tool, &node);
        assert!(subject.len() <= SUBJECT_CHARS_MAX, "{}", subject.len());
        let any = ToolSubjects::default();
        assert!(check_subject(&subject, &namespace, &node, &any).is_ok());
    }

    #[test]
    fn patterns_are_checked() {
        for (text, good) in [
            (">", true),
            ("*", true),
            ("a.*.b.>", true),
            ("a.>.b", false),
            ("a*", false),
            ("", false),
            ("a..b", false),
            ("$JS.>", false),
            ("$SYS.REQ.>", false),
            ("$KV.onex-registry.>", false),
            ("$", false),
            ("_INBOX.>", false),
            ("onex.registry.v1.>", false),
            ("onex.*.registry.>", false),
            ("onex.node.v1.tool.>", false),
            ("onex.ci.node.v1.>", false),
            ("onex.any.thing", true),
            ("onex.>", true),
        ] {
            assert_eq!(text.parse::<SubjectPattern>().is_ok(), good, "{text}");
        }
    }
}
