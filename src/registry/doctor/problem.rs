//! Why a check does not end well.

use std::fmt;

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and should be otherwise.
    Warn,
    /// It does not work.
    Fail,
    /// Nobody knows.
    NotChecked,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
            Self::NotChecked => "not checked",
        })
    }
}

/// Why a check does not end well.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: Status,
    pub(super) finding: String,
    pub(super) remedy: Option<String>,
}

impl Problem {
    /// It works, and should be otherwise.
    pub(super) fn warn(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(Status::Warn, finding, remedy)
    }

    /// It does not work.
    pub(super) fn fail(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(Status::Fail, finding, remedy)
    }

    /// Nobody knows, for this reason.
    pub(super) fn not_checked(why: impl Into<String>) -> Self {
        Self {
            status: Status::NotChecked,
            finding: why.into(),
            remedy: None,
        }
    }

    /// Nobody knows, and somebody can look.
    pub(super) fn unknown(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::of(Status::NotChecked, why, remedy)
    }

    fn of(status: Status, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            status,
            finding: finding.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// What comes of judging what was found.
pub(super) type Judged = Result<(), Problem>;
