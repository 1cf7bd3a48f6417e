//! Nodes: what a namespace of a lab has beyond its network. A node has namespaces of other kinds, and files of its own in them.
//!
//! A node consists of parts: the node itself, and what is in it. Each part is a resource with an identity, attributes and changes of
//! its own. The parts live in the node's init, a process that keeps the namespaces.

pub mod bind;
pub mod file;
pub mod hosts;
pub mod isolation;
pub mod limits;
mod part;
pub mod process;
pub mod time;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::part::{Part, PartKey, Supervised};

use self::isolation::Isolation;
use self::limits::Limits;
use self::time::TimeOffsets;
use super::FieldChange;

/// The maximum length of a host name and of a domain name in bytes, uname(2).
pub const HOSTNAME_LENGTH: usize = 64;

/// Whether a live node works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Its init runs in the network namespace of the node.
    #[default]
    Running,
    /// Its init runs, but in a network namespace that has lost its name.
    Detached,
    /// Its init has ended, and with it the namespaces.
    Ended,
    /// Its init runs, but cannot be reached.
    Lost,
}

impl Condition {
    /// Returns the reason to replace the node; `None` if it works.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Running => None,
            Self::Detached => Some("its network namespace is gone"),
            Self::Ended => Some("its init has ended"),
            Self::Lost => Some("the socket of its init is gone"),
        }
    }
}

/// A node: its namespaces besides that of the network, and what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The kinds of namespaces of its own.
    pub isolation: Isolation,
    /// The host name. Without one, it is the name of the node.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The NIS domain name, domainname(1).
    #[serde(default)]
    pub domainname: Option<String>,
    /// The offsets of its clocks.
    #[serde(default)]
    pub time: TimeOffsets,
    /// The limits of its processes. Those of a node without are not looked at.
    #[serde(default)]
    pub limits: Limits,
    /// Whether it works. Always so for a desired node.
    #[serde(default)]
    pub condition: Condition,
}

impl Node {
    /// Returns the attributes in which a desired node differs from the live one.
    pub fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if matches!(live.condition, Condition::Ended | Condition::Lost) {
            // Nothing is known of what it was.
            return changes;
        }
        let mut add = |name: &str, before: Value, after: Value, forces_replacement: bool| {
            if before != after {
                changes.push(FieldChange { forces_replacement, ..FieldChange::new(name, before, after) });
            }
        };
        add("isolation", live.isolation.show(), self.isolation.show(), true);
        add("hostname", live.hostname.clone().into(), self.hostname.clone().into(), false);
        add("domainname", live.domainname.clone().into(), self.domainname.clone().into(), false);
        add("time", live.time.show(), self.time.show(), true);
        // A node without limits has no control group, and its processes cannot move to another one all at once.
        let forces_replacement = self.limits.is_empty() != live.limits.is_empty();
        add("limits", live.limits.show(), self.limits.show(), forces_replacement);
        changes
    }

    /// Returns the attributes that are set, with the keys of the lab file.
    pub fn show(&self) -> Vec<(&'static str, Value)> {
        let mut shown = vec![("isolation", self.isolation.show())];
        shown.extend(self.hostname.clone().map(|name| ("hostname", name.into())));
        shown.extend(self.domainname.clone().map(|name| ("domainname", name.into())));
        shown.extend((self.time != TimeOffsets::default()).then(|| ("time", self.time.show())));
        shown.extend((!self.limits.is_empty()).then(|| ("limits", self.limits.show())));
        shown
    }
}

/// Checks a host name or a domain name.
///
/// # Errors
/// Describes what is wrong with it.
pub fn check_hostname(name: &str) -> Result<(), String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match name {
        "" => Err("a host name cannot be empty".to_owned()),
        _ if name.len() > HOSTNAME_LENGTH => Err(format!("a host name has at most {HOSTNAME_LENGTH} bytes")),
        _ if !name.chars().all(is_valid) => Err("a host name consists of letters, digits, `-`, `.` and `_`".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::node::isolation::NamespaceKind;

    #[test]
    fn isolation_and_time_force_a_replacement() {
        let live = Node::default();
        let node = Node {
            isolation: Isolation::from_iter([NamespaceKind::Uts]),
            hostname: Some("a".into()),
            time: TimeOffsets { boottime: 1, monotonic: 0 },
            ..Node::default()
        };
        let changes: Vec<_> = node.compare(&live).into_iter().map(|change| (change.name, change.forces_replacement)).collect();
        assert_eq!(changes, [("isolation".into(), true), ("hostname".into(), false), ("time".into(), true)]);
        assert_eq!(node.compare(&node), []);
    }

    #[test]
    fn host_names_are_checked() {
        assert!(check_hostname("r1.lab").is_ok() && check_hostname(&"x".repeat(64)).is_ok());
        for name in ["", "a b", "a\n", &"x".repeat(65)] {
            assert!(check_hostname(name).is_err(), "{name:?}");
        }
    }
}
