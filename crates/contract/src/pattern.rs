//! The regular expressions of a schema, and what it takes to match text with them.

use std::collections::HashMap;

use onex_protocol::{error::Error, violation::shortened};

use crate::{
    ecma::{Engine, Expression},
    measure::length,
};

/// Longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Bytes of one compiled regular expression, at most; those of one schema cannot take more than 64 times as much.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 128 * 1024;
/// How often an expression that looks ahead or behind may try again on one text.
pub const PATTERN_RETRIES_MAX: usize = 10_000;

/// How often such an expression is first allowed to try again. Few need more; how many it takes cannot be known but by
/// trying, and each attempt is paid for before it is made.
const RETRIES: [usize; 4] = [16, 256, 2_048, PATTERN_RETRIES_MAX];
/// Bytes of the text, times characters and classes of the expression, in a step.
const MATCHED_PER_STEP: u64 = 100;
/// The same for one attempt of several: few of them look at all of the text.
const RETRIED_PER_STEP: u64 = 400;

/// A regular expression in a schema.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Where it stands.
    pub(super) pointer: String,
    /// As the schema has it.
    pub(super) source: String,
    /// As the engine reads it. Different ones are never written alike.
    pub(super) written: String,
    expression: Expression,
    /// By how often they may try again; none where the engine never does.
    attempts: Vec<(usize, fancy_regex::Regex)>,
}

impl Pattern {
    /// Reads what stands at `pointer`.
    pub(super) fn read(source: &str, pointer: &str) -> Result<Self, Error> {
        if source.len() > PATTERN_BYTES_MAX {
            let message =
                format!("must be a regular expression of at most {PATTERN_BYTES_MAX} bytes");
            return Err(Error::invalid(pointer, message));
        }
        let expression = Expression::read(source).map_err(|why| {
            let message = format!("must be a regular expression of ECMA-262: {why}");
            Error::invalid(pointer, message)
        })?;
        Ok(Self {
            pointer: pointer.to_owned(),
            source: source.to_owned(),
            written: String::new(),
            expression,
            attempts: Vec::new(),
        })
    }

    fn looks_around(&self) -> bool {
        self.expression.looks_around
    }

    /// Why it cannot be compiled.
    fn refused(&self, error: &fancy_regex::Error) -> Error {
        use fancy_regex::{CompileError, Error as Fault, ParseError};
        let why = match error {
            Fault::CompileError(error) => match &**error {
                CompileError::InnerError(error) if error.size_limit().is_some() => {
                    format!("takes more than {PATTERN_COMPILED_BYTES_MAX} bytes when it is compiled")
                }
                CompileError::InnerError(error) if error.syntax_error().is_some() => {
                    self.unsupported()
                }
                CompileError::LookBehindNotConst | CompileError::FeatureNotYetSupported(_) => {
                    "looks behind for text of varying length in which it looks around again, or for the boundary of a \
                     word: that is not supported"
                        .to_owned()
                }
                _ => format!("cannot be compiled: {error}"),
            },
            Fault::ParseError(_, ParseError::RecursionExceeded) => {
                "has too many groups in each other".to_owned()
            }
            Fault::ParseError(_, ParseError::TargetNotRepeatable) => {
                "repeats a group that does nothing but look around, which is not supported".to_owned()
            }
            _ => format!("cannot be compiled: {error}"),
        };
        let message = format!("the regular expression {}", shortened(&why));
        Error::invalid(self.pointer.as_str(), message)
    }

    /// The property of Unicode that the engine does not know, in a message.
    fn unsupported(&self) -> String {
        let mut properties = self.expression.properties.iter();
        let unknown = properties.find(|property| compile(property, 0).is_err());
        let property = unknown.map_or("a property of Unicode", String::as_str);
        format!("asks for {property}, which is not supported: write its characters in a class")
    }

    /// Steps for matching a text; none where they are more than `limit`, or where no number of attempts is enough.
    pub(super) fn steps(&self, text: &str, limit: u64) -> Option<u64> {
        let bytes = length(text.len()).saturating_add(1);
        let once = bytes.saturating_mul(self.expression.size);
        if self.attempts.is_empty() {
            let steps = once / MATCHED_PER_STEP;
            return (steps <= limit).then_some(steps);
        }
        let looks = if self.expression.looks_in_loop || self.expression.has_boundaries {
            bytes
        } else {
            1
        };
        let mut steps: u64 = 0;
        for (retries, attempt) in &self.attempts {
            let tries = length(*retries).saturating_add(looks);
            steps = steps.saturating_add(once.saturating_mul(tries) / RETRIED_PER_STEP);
            if steps > limit {
                return None;
            }
            if attempt.is_match(text).is_ok() {
                return Some(steps);
            }
        }
        None
    }
}

/// Chooses the engine for all expressions of a schema, and writes them for it.
pub(super) fn settle(patterns: &mut [Pattern]) -> Result<Engine, Error> {
    let engine = if patterns.iter().any(Pattern::looks_around) {
        Engine::Backtracking
    } else {
        Engine::Linear
    };
    let mut sources: HashMap<String, String> = HashMap::new();
    for pattern in patterns {
        let mut written = pattern.expression.written(engine);
        // Two that mean the same would take one place below `patternProperties`.
        while sources
            .get(&written)
            .is_some_and(|source| *source != pattern.source)
        {
            written.push_str("(?:)");
        }
        sources.insert(written.clone(), pattern.source.clone());
        pattern.written = written;
        if engine == Engine::Backtracking
            && (pattern.looks_around() || pattern.expression.has_boundaries)
        {
            for retries in RETRIES {
                let attempt = compile(&pattern.written, retries);
                let attempt = attempt.map_err(|error| pattern.refused(&error))?;
                pattern.attempts.push((retries, attempt));
            }
        }
    }
    Ok(engine)
}

/// Why one of them cannot be compiled, if that is so.
pub(super) fn fault(patterns: &[Pattern], engine: Engine) -> Option<Error> {
    patterns.iter().find_map(|pattern| {
        let compiled = match engine {
            Engine::Backtracking => compile(&pattern.written, PATTERN_RETRIES_MAX),
            // As one piece, as that engine does it: boundaries are never at fault.
            Engine::Linear => compile(
                &pattern.expression.without_boundaries(),
                PATTERN_RETRIES_MAX,
            ),
        };
        compiled.err().map(|error| pattern.refused(&error))
    })
}

fn compile(written: &str, retries: usize) -> Result<fancy_regex::Regex, Box<fancy_regex::Error>> {
    fancy_regex::RegexBuilder::new(written)
        .backtrack_limit(retries)
        .delegate_size_limit(PATTERN_COMPILED_BYTES_MAX)
        .delegate_dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
        .map_err(Box::new)
}
