//! Regular expressions in contracts: those of ECMA-262, matched as JavaScript does, or refused with the reason.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use onex_registry::contract::validator::Validator;
use serde_json::{Value, json};

/// Far longer than any text is matched.
const CHECK_PATIENCE: Duration = Duration::from_mins(1);

/// Matches everything, and takes an engine that can look ahead: for all that stand in one schema with it.
const LOOKS_AHEAD: &str = "(?=)";

/// Whether a text matches, by either engine.
fn matches(pattern: &str, text: &str) -> [Result<bool, String>; 2] {
    let alone = json!({"pattern": pattern});
    let beside = json!({"allOf": [{"pattern": LOOKS_AHEAD}, {"pattern": pattern}]});
    [alone, beside].map(|schema| match Validator::compile(&schema) {
        Ok(validator) => {
            let violations = validator.violations(&json!(text));
            if let Some(violation) = violations.first() {
                let wanted = format!("does not match {}", json!(pattern).as_str().unwrap());
                let shown = violation.message.replace("match \"", "match ");
                assert!(shown.contains(&wanted) || shown.len() > 200, "{shown}");
            }
            Ok(violations.is_empty())
        }
        Err(error) => Err(error.message),
    })
}

#[track_caller]
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    for (texts, wanted) in [(yes, true), (no, false)] {
        for text in texts {
            let found = matches(pattern, text);
            assert_eq!(found, [Ok(wanted), Ok(wanted)], "{pattern} at {text:?}");
        }
    }
}

#[track_caller]
fn refused(pattern: &str, reason: &str) {
    for found in matches(pattern, "") {
        let Err(message) = found else {
            panic!("{pattern} is taken");
        };
        assert!(message.contains(reason), "{pattern}: {message}");
    }
}

#[test]
fn patterns_match_as_in_ecma_262() {
    // A dot is any character that ends no line.
    check(
        "^.$",
        &["a", "é", "😀", "\u{85}"],
        &["\n", "\r", "\u{2028}", "\u{2029}", ""],
    );
    check("^[^]$", &["a", "\n", "\u{2028}", "😀"], &["", "aa"]);
    check("^[]$", &[], &["", "a", "]"]);
    check("[]", &[], &["", "a"]);
    check("^[]|a$", &["a"], &["", "b"]);
    check(r"^[\b]$", &["\u{8}"], &["b", ""]);
    check(r"^\0$", &["\0"], &["0", ""]);
    check(r"^[\0-\x1f]$", &["\0", "\n", "\u{1f}"], &[" "]);
    // Words are of ASCII.
    check(r"\bcat\b", &["a cat!", "cat", "écat"], &["cats", "a_cat"]);
    check(r"^\w+\b.$", &["aé", "a-"], &["ab", "é"]);
    check(r"a\Bé|aé\B", &["aé"], &["a", "aa"]);
    check(r"^\B$", &[""], &["a"]);
    check(r"^\d\D$", &["1a", "1٣"], &["٣a", "11"]);
    check(r"^\w\W$", &["aé", "_-"], &["éa", "aa"]);
    check(
        r"^\s\S$",
        &["\u{feff}a", "\u{2003}\u{85}"],
        &["aa", "\u{85}a"],
    );
    check(r"^[\D]$", &["a"], &["1"]);
    check(r"^[^\W_]$", &["a", "1"], &["_", "é"]);
    check(r"^[^\s\S]$", &[], &["a", " "]);
    check(r"^[\w.-]+$", &["a-b.c"], &["a b"]);
    check(r"^[-\w]+$|^[a-c-\d]$", &["a-b", "1"], &["a b", "."]);
    check("^[a-z&&^b]+$", &["a&^b"], &["A"]);
    check(r"^[[a]\]$", &["[]", "a]"], &["a"]);
    check("^[a~~b+--c]$", &["~", "+", ",", "-", "a", "c"], &["d", "."]);
    // Anchors are at the ends of the text only.
    check("^a$", &["a"], &["a\n", "\na", "b\na"]);
    check(
        r"^\u0041\u{1F600}\uD83D\uDE00\x41\cJ\t\v\f\/[\-]$",
        &["A😀😀A\n\t\u{b}\u{c}/-"],
        &["A"],
    );
    check(
        r"^\p{Lu}\P{L}\p{Script=Greek}[\p{L}_]$",
        &["A1α_", "É α\u{df}"],
        &["a1α_", "A1a_"],
    );
    check("^a{2}b{1,}c{0,1}$", &["aab", "aabbc"], &["ab", "aabcc"]);
    check(r"^\{a\}\]$", &["{a}]"], &["a"]);
    check(
        "^(?<year>[0-9]{4})-(?<größe_2>a|b)*?$",
        &["2026-ab"],
        &["2026-c"],
    );
    check(
        r"^\p{General_Category=Lu}\p{sc=Grek}\p{scx=Latin}\p{Alpha}$",
        &["AαaA"],
        &["aαaA"],
    );
    check("a||b", &["", "c"], &[]);
    check("", &["", "x"], &[]);
    // Looking around.
    check("^(?!foo)", &["bar", ""], &["foo", "foobar"]);
    check(r"^(?=.*\d)(?=.*[a-z]).{4,}$", &["abc1"], &["abcd", "a1"]);
    check("(?<=a|bc)d", &["ad", "xbcd"], &["d", "cd"]);
    check("(?<!a)b", &["b", "cb"], &["ab"]);
    check(r"^(?:(?!--).)*$", &["a-b"], &["a--b"]);
    check(r"^(?=\bcat\b).*$", &["cat é"], &["cats", "a cat"]);
}

#[test]
fn what_no_engine_does_is_refused_with_the_reason() {
    refused("(", "'(' is not closed (character 1)");
    refused("a(b(c)", "'(' is not closed (character 2)");
    refused("a)", "')' closes nothing (character 2)");
    refused("[a", "'[' is not closed (character 1)");
    refused("[a--b]", "out of order");
    refused("[z-a]", "a range is out of order (character 4)");
    refused("*a", "nothing to repeat (character 1)");
    refused("a++", "cannot be repeated");
    refused("a{2}{3}", "cannot be repeated");
    refused("^{2}", "nothing to repeat");
    refused("(?=a)*", "nothing to repeat");
    refused("a{3,2}", "out of order");
    refused("a{,5}", "write {0,n}");
    refused("a{1", "a repetition is {n}");
    refused("a{", "a brace of the text is written \\{ (character 2)");
    refused("{a}", "a repetition is {n}");
    refused("a}", "'}' closes nothing: write \\} (character 2)");
    refused("a]", "']' closes nothing");
    for range in [r"[\w-z]", r"[a-\d]", r"[\w-\d]", r"[--\d]", r"[\p{L}-z]"] {
        refused(range, "is no end of a range");
    }
    refused("(?<a>x)(?<a>y)", "two groups have the same name");
    refused("(?<1>x)", "begins with no digit");
    refused("(?<a\u{345}-b>x)", "a group's name");
    refused("(?<²>x)", "a group's name");
    refused(
        r"\-",
        r"'\-' means nothing in ECMA-262: '-' stands for itself",
    );
    refused(r"[\a]", r"'\a' means nothing");
    refused(r"[\!]", r"'\!' means nothing");
    for name in [
        "Greek",
        "lu",
        "letter",
        "Script=greek",
        "IsGreek",
        "sc=Klingon",
        "Script=Olditalic",
        "Script=Hrkt",
        "x=Lu",
    ] {
        refused(&format!(r"\p{{{name}}}"), "property that Unicode");
    }
    refused(r"(a)\1", "back-references are not supported");
    refused(r"(?<a>x)\k<a>", "back-references are not supported");
    refused("(?i:a)", "flags within a pattern");
    refused("(?i)a", "flags within a pattern");
    refused("(?P<a>x)", "'(?' begins none of");
    refused("(?>a)", "'(?' begins none of");
    refused(r"\Aa\z", r"'\A' means nothing in ECMA-262");
    refused(r"\a", r"'\a' means nothing");
    refused(r"\h", r"'\h' means nothing");
    refused(r"\01", "octal");
    refused(r"[\1]", "octal");
    refused(r"\c1", r"\c is followed by a letter");
    refused(r"\x4", r"\x is followed by two");
    refused(r"\u12", r"\u is followed by four");
    refused(r"\u{110000}", "no such character");
    refused(r"\pL", r"\p{Name}");
    refused(r"\p{Klingon}", "Klingon is no property that Unicode has");
    refused("(a{1000}){1000}", "takes more than 131072 bytes");
    refused(
        r"(\b[^]){2}(\p{L}{0,2}\s\p{L}){2}",
        "takes more than 131072 bytes",
    );
    refused(
        "((?=a))*b",
        "repeats a group that does nothing but look around",
    );
    refused(r"(?<!(?:\b_|\x61? ?\d{1,}){2})", "looks behind");
    refused("a\\", "a backslash stands at the end");
    let groups = "(".repeat(500) + &")".repeat(500);
    refused(&groups, "groups");
}

/// Each with the one reason that is right, and none of another escape's.
#[test]
fn escapes_and_repetitions_are_refused_for_the_right_reason() {
    for (pattern, reason) in [
        (
            r"\8",
            r"\8 refers to group 8, which the pattern does not have",
        ),
        (r"a\9", r"\9 refers to group 9, which"),
        (
            r"(a)(?:b)(?=c)[(]\((?<!d)\2",
            r"\2 refers to group 2, which",
        ),
        (r"\10(a)", r"\10 refers to group 10, which"),
        (r"\1(a)", "back-references are not supported"),
        (r"\2(?<n>a)(b)", "back-references are not supported"),
        (r"\k<n>(?<n>a)", "back-references are not supported"),
        (
            r"(?<n>a)\k<m>",
            r"\k<m> refers to a group which the pattern does not have",
        ),
        (r"\k", r"\k is followed by the name of a group"),
        (r"\k<", r"\k is followed by the name of a group"),
        (r"\k<a", r"\k is followed by the name of a group"),
        (r"\k<>", r"\k is followed by the name of a group"),
        (r"[\8]", r"'\8' means nothing in a class"),
        (r"[\B]", r"'\B' means nothing in a class"),
        (r"[\k]", r"'\k' means nothing in a class"),
        (r"[\7]", "octal"),
        (r"\00", "octal"),
        (r"\08", r"\0 is followed by no digit"),
        (r"\c", r"\c is followed by a letter of a to z"),
        (r"\cé", r"\c is followed by a letter of a to z"),
        (r"[\c_]", r"\c is followed by a letter of a to z"),
        (
            r"\x1",
            r"\x is followed by two hexadecimal digits (character 3)",
        ),
        (r"\x1g", r"\x is followed by two hexadecimal digits"),
        (
            r"\u1",
            r"\u is followed by four hexadecimal digits, or by some in braces",
        ),
        (
            r"\u{",
            r"\u is followed by four hexadecimal digits, or by some in braces",
        ),
        (r"\u{}", r"\u is followed by four"),
        (r"\u{12g}", r"\u is followed by four"),
        (r"\u{110000}", r"the last one is \u{10FFFF}"),
        (r"\p{Foo}", "Foo is no property"),
        (r"\p{RGI_Emoji}", "RGI_Emoji is a property of sequences"),
        ("\\\n", "a backslash before U+000A means nothing"),
        ("{2,1}", "there is nothing to repeat (character 5)"),
        ("a+{2,1}", "cannot be repeated"),
        ("a{2,1}", "out of order"),
        ("^*", "nothing to repeat: an assertion takes no text"),
        ("(?<=a)+", "nothing to repeat: an assertion takes no text"),
        ("|*", "there is nothing to repeat (character 2)"),
        ("[b-a]", "a range is out of order"),
        ("]", r"']' closes nothing: write \]"),
        ("}", r"'}' closes nothing: write \}"),
        ("(?<a", "a group's name is not closed"),
        ("(?<>a)", "a group's name is empty"),
        ("(?<a-b>x)", "a group's name is made of letters"),
    ] {
        refused(pattern, reason);
    }
}

/// A pattern that is made at random, and texts that may match it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn pattern(&mut self, depth: usize) -> String {
        let mut pattern = String::new();
        for _ in 0..=self.roll(3) {
            let atom = match self.roll(if depth == 0 { 7 } else { 12 }) {
                0..3 => self
                    .one(&["a", "b", "-", "_", "é", "1", " ", r"\n", r"\x61", r"\u00e9"])
                    .to_owned(),
                3 => self
                    .one(&[
                        ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\p{L}", r"\P{Lu}",
                    ])
                    .to_owned(),
                4 => self.one(&[r"\b", r"\B", "^", "$"]).to_owned(),
                5 | 6 => self.class(),
                7..9 => format!("({})", self.pattern(depth - 1)),
                9 => format!(
                    "(?:{}|{})",
                    self.pattern(depth - 1),
                    self.pattern(depth - 1)
                ),
                10 => format!("({}{})", self.one(&["?=", "?!"]), self.pattern(depth - 1)),
                _ => format!("({}{})", self.one(&["?<=", "?<!"]), self.pattern(depth - 1)),
            };
            let is_assertion = atom.starts_with("(?=")
                || atom.starts_with("(?!")
                || atom.starts_with("(?<")
                || [r"\b", r"\B", "^", "$"].contains(&atom.as_str());
            pattern.push_str(&atom);
            if !is_assertion {
                pattern.push_str(self.one(&["", "", "", "*", "+?", "?", "{2}", "{1,}", "{0,2}"]));
            }
        }
        pattern
    }

    fn class(&mut self) -> String {
        let mut class = self.one(&["[", "[^"]).to_owned();
        for _ in 0..self.roll(4) {
            let items = [
                "a", "b", "a-c", r"\d", r"\W", r"\S", r"\b", r"\-", "&&", "~~", "[", r"\]", "é",
                r"\p{L}", r"\n",
            ];
            class.push_str(self.one(&items));
        }
        class + "]"
    }

    fn text(&mut self) -> String {
        (0..self.roll(6))
            .map(|_| {
                self.one(&[
                    "a", "b", "c", "1", "_", "-", " ", "\n", "é", "É", "&", "~", "[", "]", "\u{8}",
                    "\u{2028}",
                ])
            })
            .collect()
    }
}

/// What JavaScript says of each pattern and text; null where it has no such pattern.
fn javascript(cases: &Value) -> Vec<Option<bool>> {
    let program = "
        const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
        console.log(JSON.stringify(cases.map(([pattern, text]) => {
            try { return new RegExp(pattern, 'u').test(text); } catch { return null; }
        })));";
    let mut node = Command::new("node")
        .args(["-e", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(cases.to_string().as_bytes()).unwrap();
    drop(stdin);
    let said = node.wait_with_output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn patterns_match_as_javascript_has_them() {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let mut cases = Vec::new();
    for _ in 0..400 {
        let pattern = dice.pattern(2);
        let texts: Vec<String> = (0..6).map(|_| dice.text()).collect();
        cases.extend(texts.into_iter().map(|text| (pattern.clone(), text)));
    }
    let said = javascript(&json!(cases));
    let (mut yes, mut no, mut not_ours) = (0, 0, 0);
    let mut last = (String::new(), Vec::new());
    for ((pattern, text), wanted) in cases.into_iter().zip(said) {
        let wanted = wanted.unwrap_or_else(|| panic!("JavaScript does not have {pattern}"));
        if last.0 != pattern {
            let alone = json!({"pattern": pattern});
            let beside = json!({"allOf": [{"pattern": LOOKS_AHEAD}, {"pattern": pattern}]});
            let both = [alone, beside].map(|schema| Validator::compile(&schema));
            if let Some(Err(error)) = both.iter().find(|one| one.is_err()) {
                println!("{pattern}: {}", error.message);
                not_ours += 1;
            }
            last = (pattern.clone(), both.into_iter().flatten().collect());
        }
        for validator in &last.1 {
            let found = validator.violations(&json!(text)).is_empty();
            assert_eq!(found, wanted, "{pattern} at {text:?}");
        }
        *if wanted { &mut yes } else { &mut no } += 1;
    }
    println!("{yes} match, {no} do not; {not_ours} patterns are not taken");
    assert!(
        yes > 500 && no > 500 && not_ours < 20,
        "{yes} {no} {not_ours}"
    );
}

/// Pieces of patterns, put together without regard to what they mean.
const PIECES: [&str; 62] = [
    "a",
    "b",
    "-",
    "_",
    "é",
    "1",
    "0",
    "2",
    ",",
    "/",
    "(",
    ")",
    "(?:",
    "(?=",
    "(?!",
    "(?<=",
    "(?<!",
    "(?<a>",
    "(?<b>",
    "(?<",
    "(?",
    "[",
    "[^",
    "]",
    "{",
    "}",
    "{2}",
    "{2,}",
    "{3,2}",
    "{,2}",
    "*",
    "+",
    "?",
    "|",
    "^",
    "$",
    ".",
    "\\",
    r"\d",
    r"\W",
    r"\s",
    r"\b",
    r"\B",
    r"\-",
    r"\/",
    r"\0",
    r"\1",
    r"\u0061",
    r"\u{61}",
    r"\x6",
    r"\cA",
    r"\p{Lu}",
    r"\p{Greek}",
    r"\p{Script=Greek}",
    r"\k<a>",
    "&&",
    "{0,4294967296}",
    r"\p{Cs}",
    r"\p{sc=Zzzz}",
    r"\uD83D",
    r"\uDE00",
    r"\u{DE00}",
];

/// What JavaScript does not take is refused, and what it takes is taken or not supported, for a reason that is told.
#[test]
fn what_javascript_refuses_is_refused() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut patterns: Vec<String> = (0..6_000)
        .map(|_| (0..=dice.roll(5)).map(|_| dice.one(&PIECES)).collect())
        .collect();
    // And those that are right but for one character.
    for _ in 0..2_000 {
        let mut pattern: Vec<char> = dice.pattern(1).chars().collect();
        let at = dice.roll(pattern.len());
        match dice.roll(3) {
            0 => drop(pattern.remove(at)),
            1 => pattern.insert(at, pattern[dice.roll(pattern.len())]),
            _ => pattern.swap(at, 0),
        }
        patterns.push(pattern.into_iter().collect());
    }
    let cases: Vec<(&String, &str)> = patterns.iter().map(|pattern| (pattern, "")).collect();
    let said = javascript(&json!(cases));
    let (mut good, mut bad) = (0, 0);
    for (pattern, said) in patterns.iter().zip(said) {
        let ours = Validator::compile(&json!({"pattern": pattern}));
        match (said, ours) {
            (None, Ok(_)) => panic!("JavaScript does not have {pattern}"),
            (Some(_), Err(error)) => {
                let told = ["not supported", "has too many groups", "takes more than"];
                let told = told.iter().any(|told| error.message.contains(told));
                assert!(told, "{pattern}: {}", error.message);
            }
            (Some(_), Ok(_)) => good += 1,
            (None, Err(_)) => bad += 1,
        }
    }
    println!("{good} are good, {bad} are not");
    assert!(good > 1_000 && bad > 1_000, "{good} {bad}");
}

#[test]
fn common_patterns_that_look_around_take_texts_of_some_length() {
    for (pattern, length) in [
        (r"^(?!\s*$).+", 20_000),
        (r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{8,}$", 1_000),
        (r"^(?:(?!--).)*$", 1_500),
        (r"\bA(?=1)", 1_500),
    ] {
        let text = "A1".repeat(length / 2);
        check(pattern, &[&text], &[]);
    }
    // Of those that would never end, that is said.
    let schema = json!({"pattern": "^(?:(?:a|aa|aaa)+)+(?!a)b"});
    let validator = Validator::compile(&schema).unwrap();
    let (told, tell) = mpsc::channel();
    thread::spawn(move || told.send(validator.violations(&json!("a".repeat(2_000)))));
    let violations = tell.recv_timeout(CHECK_PATIENCE);
    let violations =
        violations.unwrap_or_else(|_| panic!("{schema} is still matched after {CHECK_PATIENCE:?}"));
    assert!(
        violations[0].message.contains("too large or too deep"),
        "{violations:?}"
    );
}

/// Every name that ECMA-262 has for a property of Unicode, as it stands between the braces.
fn properties() -> Vec<String> {
    let named = include_str!("../../crates/contract/src/ecma/unicode.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let mut all = Vec::new();
    for line in named {
        let (kind, names) = line.split_once(' ').unwrap();
        for name in names.split(' ') {
            let prefixes: &[&str] = match kind {
                "gc" => &["", "General_Category=", "gc="],
                "sc" => &["Script=", "sc=", "Script_Extensions=", "scx="],
                _ => &[""],
            };
            all.extend(prefixes.iter().map(|prefix| format!("{prefix}{name}")));
        }
    }
    all
}

/// Texts of one character.
const CHARACTERS: &str = "\0\n -09AZ_aéßǅʰΩдאع中あア한กℓⅫ½€≤“”‿\u{300}\u{345}\u{903}\u{20dd}\u{200c}\u{202a}\u{2028}\u{2029}\u{e000}\u{ffff}\u{378}\
    \u{fffd}\u{e0001}\u{e0100}\u{1f1e6}\u{1f3fb}\u{2ff0}\u{2ff2}\u{fe0f}\u{e01ef}\u{10a00}😀﷐\u{10ffff}";

/// What is refused because the engine's Unicode is older, or because it does not have that one.
const NOT_SUPPORTED: [&str; 10] = [
    "Changes_When_NFKC_Casefolded",
    "CWKCF",
    "Sidetic",
    "Sidt",
    "Tai_Yo",
    "Tayo",
    "Tolong_Siki",
    "Tols",
    "Beria_Erfe",
    "Berf",
];

#[test]
fn every_property_of_unicode_means_what_it_means_in_javascript() {
    let texts: Vec<String> = CHARACTERS.chars().map(String::from).collect();
    let mut patterns: Vec<(String, String)> = Vec::new();
    for name in properties() {
        patterns.push((name.clone(), format!("^\\p{{{name}}}$")));
        patterns.push((name.clone(), format!("^[^a\\P{{{name}}}]$")));
    }
    let cases: Vec<(&String, &String)> = patterns
        .iter()
        .flat_map(|(_, pattern)| texts.iter().map(move |text| (pattern, text)))
        .collect();
    let said = javascript(&json!(cases));
    for (at, ((name, pattern), said)) in patterns.iter().zip(said.chunks(texts.len())).enumerate() {
        let mut schemas = vec![json!({"pattern": pattern})];
        if at % 20 < 2 {
            // The other engine, which is slow to build.
            schemas.push(json!({"allOf": [{"pattern": LOOKS_AHEAD}, {"pattern": pattern}]}));
        }
        let value = name.split('=').next_back().unwrap();
        for schema in schemas {
            let validator = match Validator::compile(&schema) {
                Ok(validator) => validator,
                Err(error) => {
                    assert!(
                        NOT_SUPPORTED.contains(&value),
                        "{pattern}: {}",
                        error.message
                    );
                    let reason = format!("{{{name}}}, which is not supported");
                    assert!(error.message.contains(&reason), "{}", error.message);
                    continue;
                }
            };
            for (text, wanted) in texts.iter().zip(said) {
                let found = validator.violations(&json!(text)).is_empty();
                assert_eq!(Some(found), *wanted, "{pattern} at {text:?}");
            }
        }
    }
}

/// Names in another spelling, or of another standard.
#[test]
fn properties_that_javascript_does_not_have_are_refused() {
    let mut wrong: Vec<String> = [
        "Script=Hrkt",
        "Script=Katakana_Or_Hiragana",
        "Script=Olditalic",
        "Script=Phagspa",
        "Block=Latin",
        "IDSU",
        "RGI_Emoji",
        "Age=6.0",
        "gc=Greek",
        "sc=L",
        "Alphabetic=Yes",
        "ASCII=",
        "=L",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    for name in properties() {
        let (prefix, value) = match name.split_once('=') {
            Some((prefix, value)) => (format!("{prefix}="), value),
            None => (String::new(), name.as_str()),
        };
        wrong.push(format!("{prefix}{}", value.to_lowercase()));
        wrong.push(format!("{prefix}{}", value.to_uppercase()));
        wrong.push(format!("{prefix}{}", value.replace('_', "")));
    }
    let patterns: Vec<String> = wrong.iter().map(|name| format!("\\p{{{name}}}")).collect();
    let cases: Vec<(&String, &str)> = patterns.iter().map(|pattern| (pattern, "")).collect();
    for (pattern, said) in patterns.iter().zip(javascript(&json!(cases))) {
        if said.is_none() {
            refused(pattern, "property");
        }
    }
}

#[test]
fn repetitions_of_any_number_are_taken_or_refused_for_their_size() {
    for many in [
        "67108864",
        "2147483647",
        "2147483648",
        "4294967296",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        check(&format!("^a{{0,{many}}}$"), &["", "aaa"], &["b"]);
        check(&format!("^(?:a?){{1,{many}}}$"), &["", "aaa"], &["b"]);
        refused(&format!("a{{{many}}}"), "takes more than 131072 bytes");
        refused(&format!("a{{{many},}}"), "takes more than 131072 bytes");
        refused(&format!("a{{{many},1}}"), "out of order");
    }
    check(
        "^a{00000000000000000000000000001,2}$",
        &["a", "aa"],
        &["", "aaa"],
    );
    refused(
        "a{99999999999999999999999,99999999999999999999998}",
        "out of order",
    );
}

#[test]
fn half_of_a_surrogate_pair_matches_no_text() {
    check(r"^\p{Cs}|\P{Surrogate}b$", &["ab", "\u{ffff}b"], &["a"]);
    check(r"\uD83D|\u{DE00}|^x$", &["x"], &["😀"]);
    check(r"^\uD83D*a$", &["a"], &["😀a"]);
    check(r"^[^\uD800-\uDFFF]$", &["a", "\u{ffff}", "😀"], &[""]);
    check(r"^[\u0061\uDE00-\uDFFF]$", &["a"], &["b", "😀"]);
    check(
        r"^[a-\uDBFF\u{DC00}-\uE000]$",
        &["b", "\u{d7ff}", "\u{e000}"],
        &["\u{e001}", "A"],
    );
    check(r"^[\uD83D\uDE00-\uD83D\uDE01]$", &["😀", "😁"], &["😂"]);
    check(r"^[\uD83D\u0061]\uD83D?\u{0062}$", &["ab"], &["😀b"]);
    refused(r"[\uDFFF-\uD800]", "out of order");
}
