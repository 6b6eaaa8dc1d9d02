//! A regular expression that was read, and how each engine has it.

/// Stands for `\b` and `\B` until it is known which engine reads it. No other character outside ASCII letters, digits
/// and punctuation is ever in what is written.
pub(super) const BOUNDARY: char = '\u{1}';
pub(super) const NO_BOUNDARY: char = '\u{2}';

/// A regular expression, read.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    pub(super) written: String,
    /// Characters and classes that it is made of, those that are repeated a number of times that often.
    pub(crate) size: u64,
    /// Whether it looks ahead or behind: then it takes an engine that tries again.
    pub(crate) looks_around: bool,
    /// Whether it does so again and again, as often as there is text.
    pub(crate) looks_in_loop: bool,
    /// Whether it asks for the boundaries of words.
    pub(crate) has_boundaries: bool,
    /// The properties of Unicode that it asks for, as they are written.
    pub(crate) properties: Vec<String>,
}

/// Which engine reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// One that takes time in proportion to the text, and knows no look-around.
    Linear,
    /// One that tries again, up to a limit.
    Backtracking,
}

impl Expression {
    /// All but the boundaries of words.
    pub(crate) fn without_boundaries(&self) -> String {
        self.written.replace([BOUNDARY, NO_BOUNDARY], "")
    }

    /// For that engine.
    pub(crate) fn written(&self, engine: Engine) -> String {
        let (boundary, none) = match engine {
            Engine::Linear => (r"(?-u:\b)", r"(?-u:\B)"),
            // This one has the boundaries of Unicode's words only.
            Engine::Backtracking => (
                "(?:(?<![0-9A-Z_a-z])(?=[0-9A-Z_a-z])|(?<=[0-9A-Z_a-z])(?![0-9A-Z_a-z]))",
                "(?:(?<![0-9A-Z_a-z])(?![0-9A-Z_a-z])|(?<=[0-9A-Z_a-z])(?=[0-9A-Z_a-z]))",
            ),
        };
        self.written
            .replace(BOUNDARY, boundary)
            .replace(NO_BOUNDARY, none)
    }
}
