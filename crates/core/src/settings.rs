//! Settings that all instances share, as they are stored: what an instance is started with is held against what the
//! store has.

use std::fmt;

use onex_types::{ids::Ttl, ports::PortRange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{node_record::NodeLimits, record_parts::Unknown};

/// How long what has ended is remembered where no setting says it, in milliseconds: one hour.
pub const RETENTION_MILLIS_DEFAULT: u64 = 3_600_000;

fn retention_default() -> u64 {
    RETENTION_MILLIS_DEFAULT
}

/// The settings that all instances share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The longest TTL that a request may ask for.
    pub ttl_max: Ttl,
    /// How many leases one requester may hold.
    pub holder_leases_max: usize,
    /// For how many hosts ports are granted.
    pub hosts_max: usize,
    /// The ranges of a host that has no pool of its own.
    pub ports_default: Vec<PortRange>,
    /// What of them is never granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved_default: Vec<PortRange>,
    /// Whether a host without a pool is refused.
    #[serde(default)]
    pub known_hosts_only: bool,
    /// How long what has ended is remembered at least, in milliseconds.
    #[serde(default = "retention_default")]
    pub retention_ms: u64,
    /// What bounds nodes and buses.
    #[serde(default)]
    pub nodes: NodeLimits,
    /// How many calls with a request id may be remembered.
    pub calls_max: usize,
    /// How long such a call is remembered after its end, in milliseconds.
    pub calls_kept_ms: u64,
    /// How many executions without a request id may be under way.
    pub runs_max: usize,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A setting with which an instance was started, and of which the store has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDiffers {
    /// Its name, as it is stored.
    pub setting: String,
    /// Its value in the store, as JSON.
    pub stored: String,
    /// The value that the instance was started with, as JSON.
    pub started: String,
}

impl fmt::Display for SettingDiffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {} in the store and was started with {}",
            self.setting, self.stored, self.started
        )
    }
}

/// Each on its own, with what to do.
pub(crate) fn explain(differences: &[SettingDiffers]) -> String {
    let each: Vec<String> = differences.iter().map(ToString::to_string).collect();
    format!(
        "{}: what the first start has set stays; start without that option, or with that value",
        each.join("; ")
    )
}

impl Settings {
    /// Those of the settings `given` that `stored` has other values of, in the order of their names.
    pub fn differences(&self, stored: &Self, given: &[String]) -> Vec<SettingDiffers> {
        let (started, stored) = (members(self), members(stored));
        let mut given: Vec<&String> = given.iter().collect();
        given.sort_unstable();
        let each = given.into_iter().map(|setting| SettingDiffers {
            setting: setting.clone(),
            stored: value(&stored, setting),
            started: value(&started, setting),
        });
        each.filter(|differs| differs.stored != differs.started)
            .collect()
    }

    /// With those members of `before` that this version does not know.
    #[must_use]
    pub(crate) fn keeping_unknown(mut self, before: &Self) -> Self {
        for (name, value) in &before.unknown {
            self.unknown
                .entry(name.clone())
                .or_insert_with(|| value.clone());
        }
        self
    }
}

fn members(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// The value of that name, which names a member of a member with a dot between them. What is empty is not stored.
fn value(members: &Value, name: &str) -> String {
    let value = members.pointer(&format!("/{}", name.replace('.', "/")));
    value.unwrap_or(&Value::Null).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ttl_max: u32, hosts_max: usize) -> Settings {
        Settings {
            ttl_max: Ttl::try_from(ttl_max).unwrap(),
            holder_leases_max: 3,
            hosts_max,
            ports_default: Vec::new(),
            reserved_default: Vec::new(),
            known_hosts_only: false,
            retention_ms: 1_000,
            nodes: NodeLimits::default(),
            calls_max: 1,
            calls_kept_ms: 1,
            runs_max: 1,
            unknown: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_difference_names_both_values_and_only_given_settings_count() {
        let (started, stored) = (settings(60, 5), settings(90, 7));
        let given = ["ttl_max".to_owned(), "known_hosts_only".to_owned()];
        let differences = started.differences(&stored, &given);
        let text = "ttl_max is 90 in the store and was started with 60: what the first start has set \
                    stays; start without that option, or with that value";
        assert_eq!(explain(&differences), text);
        assert_eq!(started.differences(&stored, &[]), []);
        let (started, mut stored) = (settings(60, 5), settings(60, 5));
        stored.nodes.buses_max = 7;
        let given = ["nodes.nodes_max".to_owned(), "nodes.buses_max".to_owned()];
        let differences = started.differences(&stored, &given);
        assert!(explain(&differences).starts_with("nodes.buses_max is 7 in the store"));
    }

    #[test]
    fn members_that_are_not_known_are_kept() {
        let mut stored = settings(60, 5);
        stored.unknown.insert("later".to_owned(), Value::from(1));
        let changed = settings(90, 5).keeping_unknown(&stored);
        assert_eq!(changed.unknown, stored.unknown);
        assert_eq!(changed.ttl_max, settings(90, 5).ttl_max);
    }
}
