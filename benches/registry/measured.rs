//! What is measured, beside what, and which ratios are to be reached.

use std::collections::BTreeMap;

use super::bus::Setting;
use super::load::Sample;
use super::plan::Plan;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Echo,
    Write,
    Etcd,
    Lease,
    LeaseNamed,
    Heartbeat,
    Release,
    DescribedBytes,
    Describe,
    PageBytes,
    Page,
    FirstBytes,
    PageFirst,
    PageMiddle,
    Direct,
    Invoke,
}

/// What a thing is measured beside.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside {
    /// An echo and a raw write, one after the other.
    EchoAndWrite,
    /// Of one caller the same; of many a raw write alone, for nothing is as slow as the disk.
    Write,
    /// That.
    One(What),
}

impl What {
    pub(crate) const ALL: [Self; 16] = [
        Self::Echo,
        Self::Write,
        Self::Etcd,
        Self::Lease,
        Self::LeaseNamed,
        Self::Heartbeat,
        Self::Release,
        Self::DescribedBytes,
        Self::Describe,
        Self::PageBytes,
        Self::Page,
        Self::FirstBytes,
        Self::PageFirst,
        Self::PageMiddle,
        Self::Direct,
        Self::Invoke,
    ];

    /// What it is measured beside, and the ratios to reach: of the single caller at most that, of many at least that.
    pub(crate) fn beside(self, setting: Setting, callers: usize) -> Vec<(Beside, Option<f64>)> {
        let beside = match self {
            Self::Echo
            | Self::Write
            | Self::Etcd
            | Self::DescribedBytes
            | Self::PageBytes
            | Self::FirstBytes
            | Self::Direct => {
                return Vec::new();
            }
            Self::Lease | Self::LeaseNamed | Self::Heartbeat | Self::Release => match setting {
                Setting::Lazy => Beside::EchoAndWrite,
                Setting::Always | Setting::Cluster => Beside::Write,
            },
            Self::Describe => Beside::One(Self::DescribedBytes),
            Self::Page => Beside::One(Self::PageBytes),
            Self::PageFirst | Self::PageMiddle => Beside::One(Self::FirstBytes),
            Self::Invoke => Beside::One(Self::Direct),
        };
        let mut all = vec![(beside, self.aim(setting, callers))];
        if (self, setting) == (Self::Lease, Setting::Always) {
            all.push((Beside::One(Self::Etcd), by_callers(callers, None, 4.0, 8.0)));
        }
        all
    }

    fn aim(self, setting: Setting, callers: usize) -> Option<f64> {
        match (self, setting) {
            (Self::Lease | Self::LeaseNamed, Setting::Lazy) => {
                by_callers(callers, Some(1.25), 0.8, None)
            }
            (Self::Lease | Self::LeaseNamed, Setting::Always) => {
                by_callers(callers, Some(1.25), 2.5, 4.0)
            }
            (Self::Lease | Self::LeaseNamed, Setting::Cluster) => {
                by_callers(callers, None, 1.0, 1.3)
            }
            (Self::Heartbeat, Setting::Lazy) => by_callers(callers, None, 1.0, None),
            (Self::Heartbeat, Setting::Always) => by_callers(callers, None, 4.0, 6.0),
            (Self::Describe, _) => by_callers(callers, None, 0.8, None),
            (Self::Page | Self::PageFirst | Self::PageMiddle, _) => {
                by_callers(callers, None, 0.5, None)
            }
            (Self::Invoke, _) => by_callers(callers, Some(2.3), 0.35, None),
            _ => None,
        }
    }
}

/// One caller's, that of many, and that of more.
fn by_callers(
    callers: usize,
    one: impl Into<Option<f64>>,
    many: impl Into<Option<f64>>,
    more: impl Into<Option<f64>>,
) -> Option<f64> {
    match callers {
        1 => one.into(),
        ..=Plan::READING_MAX => many.into(),
        _ => more.into(),
    }
}

/// What one round measured.
pub(crate) type Round = BTreeMap<What, Sample>;
