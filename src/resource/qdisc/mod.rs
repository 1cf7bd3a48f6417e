//! The root queueing discipline of an interface, as far as it impairs what the interface sends: netem, tc-netem(8).
//!
//! ```yaml
//! interfaces:
//!   eth0: { impair: { delay: 20ms, jitter: 5ms, loss: 1%, rate: 10mbit } }
//! ```
//!
//! A qdisc has no protocol that could tell who made it. Those of topo have handles of their own. The kernel does not report the table of a
//! distribution, so that the handle stands for it, too.

mod commands;
mod distribution;
mod lower;
mod netem;
mod spec;
mod value;
mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::netem::Netem;
pub use self::spec::Impairment;
use super::FieldChange;
use super::link::Link;
use super::object::site::{Item, Lowered, Site};
use super::object::wire::{Dump, Found, Reading, Request};
use super::object::{At, Need, Object, Over, Restoration};
use crate::iproute2::Line;
use crate::name::{LinkName, NamespaceName};
use crate::yaml::Problems;

/// The place of a root qdisc: its interface (`tcm_ifindex`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QdiscKey {
    /// The interface.
    pub dev: LinkName,
}

impl fmt::Display for QdiscKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "root of {}", self.dev)
    }
}

/// A root qdisc.
#[derive(Debug, Clone, PartialEq)]
pub enum Qdisc {
    /// One that the lab file can describe.
    Netem(Box<Netem>),
    /// A live one that it cannot describe.
    Other {
        /// What it is: its kind (TCA_KIND), or a netem with an option that the lab file lacks.
        what: String,
        /// The major number of its handle.
        major: u16,
    },
}

impl Default for Qdisc {
    fn default() -> Self {
        Self::Netem(Box::default())
    }
}

impl Qdisc {
    fn netem(&self) -> Option<&Netem> {
        match self {
            Self::Netem(netem) => Some(netem),
            Self::Other { .. } => None,
        }
    }

    /// Returns the kind, or a description of what is not in the lab file's vocabulary.
    fn what(&self) -> &str {
        match self {
            Self::Netem(_) => "netem",
            Self::Other { what, .. } => what,
        }
    }
}

impl Object for Qdisc {
    const WORD: &'static str = "qdisc";
    const LIST: &'static str = "impair";
    /// RTM_NEWQDISC
    const NEW: u16 = 36;
    type Key = QdiscKey;
    type Spec = Impairment;

    fn renamed(key: QdiscKey, now: &dyn Fn(LinkName) -> LinkName) -> QdiscKey {
        QdiscKey { dev: now(key.dev) }
    }

    fn lower(items: &[Item<'_, Impairment>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems) {
        lower::lower(items, site, lowered, problems);
    }

    fn raise(_: &QdiscKey, value: &Self) -> Impairment {
        value.netem().map(spec::raise).unwrap_or_default()
    }

    fn links(key: &QdiscKey, _: &Self) -> Vec<Option<LinkName>> {
        vec![Some(key.dev)]
    }

    fn needs(key: &QdiscKey, _: &Self) -> Vec<Need> {
        vec![Need::Link(key.dev)]
    }

    fn title(key: &QdiscKey, value: &Self) -> String {
        format!("{} on {}", value.what(), key.dev)
    }

    fn address(namespace: &NamespaceName, key: &QdiscKey) -> String {
        format!("{namespace}:{} root", key.dev)
    }

    fn is_by_hand(_: &QdiscKey, value: &Self, _: &Link) -> bool {
        value.netem().is_none()
    }

    fn compare(_: &QdiscKey, desired: &Self, live: &Self) -> Vec<FieldChange> {
        match (desired, live) {
            (Self::Netem(desired), Self::Netem(live)) => desired.compare(live),
            (desired, live) if desired.what() == live.what() => Vec::new(),
            (desired, live) => vec![FieldChange::new("kind", json!(live.what()), json!(desired.what()))],
        }
    }

    fn show(_: &QdiscKey, value: &Self) -> Vec<(&'static str, Value)> {
        value.netem().map(Netem::show).unwrap_or_default()
    }

    fn dumps() -> Vec<Dump> {
        wire::dumps()
    }

    fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Self>>, String> {
        wire::decode(body, reading.names)
    }

    fn put(at: &At<Self>, over: &Over<Self>) -> Vec<Request> {
        wire::put(at, over)
    }

    fn remove(at: &At<Self>) -> Vec<Request> {
        vec![wire::remove(at)]
    }

    fn say_put(at: &At<Self>, over: &Over<Self>) -> Vec<Line> {
        commands::put(at, over)
    }

    fn say_remove(at: &At<Self>) -> Vec<Line> {
        vec![commands::remove(at).into()]
    }

    fn say_again(again: &Restoration<Self>) -> Line {
        commands::again(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> QdiscKey {
        QdiscKey { dev: "eth0".parse().unwrap() }
    }

    fn names(desired: &Qdisc, live: &Qdisc) -> Vec<String> {
        Qdisc::compare(&key(), desired, live).into_iter().map(|change| change.name).collect()
    }

    #[test]
    fn another_kind_differs_as_a_whole() {
        let other = |major| Qdisc::Other { what: "htb".to_owned(), major };
        assert_eq!(names(&Qdisc::default(), &other(1)), ["kind"]);
        assert_eq!(names(&other(1), &Qdisc::default()), ["kind"]);
        assert!(names(&other(1), &other(2)).is_empty());
    }

    #[test]
    fn each_attribute_is_compared() {
        let netem = |text: &str| Qdisc::Netem(Box::new(spec::tests::netem(text)));
        let live = netem("{ delay: 10ms, limit: 1000 }");
        assert!(names(&live, &live).is_empty());
        for (desired, expected) in [
            ("{ delay: 20ms, limit: 1000 }", vec!["delay"]),
            ("{ delay: 10ms, loss: 1%, limit: 1000 }", vec!["loss"]),
            ("{ delay: 10ms, rate: 1mbit, limit: 10 }", vec!["rate", "limit"]),
            ("{ delay: 10ms, jitter: 1ms, distribution: normal, limit: 1000 }", vec!["jitter", "distribution"]),
        ] {
            assert_eq!(names(&netem(desired), &live), expected, "{desired}");
        }
        // The kernel draws a seed if there is none.
        assert!(names(&live, &netem("{ delay: 10ms, limit: 1000, seed: 7 }")).is_empty());
        assert_eq!(names(&netem("{ delay: 10ms, limit: 1000, seed: 7 }"), &live), ["seed"]);
    }
}
