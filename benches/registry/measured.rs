//! What is measured, beside what, and which ratios are to be reached.

use std::collections::BTreeMap;

use super::bus::Sync;
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
    Sized,
    Describe,
    Page,
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
    pub(crate) const ALL: [Self; 14] = [
        Self::Echo,
        Self::Write,
        Self::Etcd,
        Self::Lease,
        Self::LeaseNamed,
        Self::Heartbeat,
        Self::Release,
        Self::Sized,
        Self::Describe,
        Self::Page,
        Self::PageFirst,
        Self::PageMiddle,
        Self::Direct,
        Self::Invoke,
    ];

    /// What it is measured beside, and the ratios to reach: of the single caller at most that, of many at least that.
    pub(crate) fn beside(self, sync: Sync, callers: usize) -> Vec<(Beside, Option<f64>)> {
        let beside = match self {
            Self::Echo | Self::Write | Self::Etcd | Self::Sized | Self::Page | Self::Direct => {
                return Vec::new();
            }
            Self::Lease | Self::LeaseNamed | Self::Heartbeat | Self::Release => match sync {
                Sync::Lazy => Beside::EchoAndWrite,
                Sync::Always => Beside::Write,
            },
            Self::Describe => Beside::One(Self::Sized),
            Self::PageFirst | Self::PageMiddle => Beside::One(Self::Page),
            Self::Invoke => Beside::One(Self::Direct),
        };
        let mut all = vec![(beside, self.aim(sync, callers))];
        if (self, sync) == (Self::Lease, Sync::Always) {
            let aim = match callers {
                1 => None,
                ..=Plan::READING_MAX => Some(4.0),
                _ => Some(8.0),
            };
            all.push((Beside::One(Self::Etcd), aim));
        }
        all
    }

    fn aim(self, sync: Sync, callers: usize) -> Option<f64> {
        let more = callers > Plan::READING_MAX;
        Some(match (self, callers, sync) {
            (Self::Lease | Self::LeaseNamed | Self::PageFirst | Self::PageMiddle, 1, _) => 1.25,
            (Self::Lease | Self::LeaseNamed, _, Sync::Lazy) if !more => 0.8,
            (Self::Lease | Self::LeaseNamed, _, Sync::Always) => {
                if more {
                    4.0
                } else {
                    2.5
                }
            }
            (Self::Heartbeat, 2.., Sync::Lazy) if !more => 1.0,
            (Self::Heartbeat, 2.., Sync::Always) => {
                if more {
                    6.0
                } else {
                    4.0
                }
            }
            (Self::Describe | Self::PageFirst | Self::PageMiddle, 2.., _) => 0.8,
            (Self::Invoke, 1, _) => 2.3,
            (Self::Invoke, _, _) => 0.35,
            _ => return None,
        })
    }
}

/// What one round measured.
pub(crate) type Round = BTreeMap<What, Sample>;
