//! The ownership marks that topo stores in the kernel.
//!
//! A namespace is marked by the alias of its `lo`; everything inside it belongs to the lab. A link in `host` is marked by a group and
//! an alias. A link with only one of them is foreign, unless it has an interface index from the range of the lab. Routes, rules,
//! neighbours and addresses in `host` are marked by a protocol number.

use std::fmt;

use crate::name::{LabName, LinkId, NamespaceName};

/// The protocol of routes (`rtm_protocol`), rules (FRA_PROTOCOL), neighbours (NDA_PROTOCOL) and addresses (IFA_PROTO) that topo adds to `host`.
pub const PROTOCOL: u8 = 116;

/// What is in the way of a resource of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The same of another lab.
    OfLab {
        /// What it is, such as `namespace` or `bridge`.
        what: String,
        /// The other lab.
        lab: LabName,
    },
    /// A namespace without a mark, which a lab can take over.
    FreeNamespace,
    /// Something else; the text describes it.
    Other(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfLab { what, lab } => write!(f, "a {what} of the lab `{lab}`"),
            Self::FreeNamespace => f.write_str("a namespace that topo did not make"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Returns the group (IFLA_GROUP) of the lab's links in `host`: the FNV-1a hash of its name, mapped to 2^30 and above to avoid the
/// small numbers that people use.
pub fn group(lab: &LabName) -> u32 {
    (hash(lab.as_str()) | 0x4000_0000) & 0x7fff_ffff
}

/// Returns the alias (IFLA_IFALIAS) of the lab's links in `host`.
pub fn link_alias(lab: &LabName) -> String {
    format!("topo:{lab}")
}

/// Returns the lab named by a link's alias, if the alias is part of a mark.
pub fn lab_of_link_alias(alias: &str) -> Option<LabName> {
    alias.strip_prefix("topo:")?.parse().ok()
}

/// The group and alias of a link in `host`, whoever set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// IFLA_GROUP.
    pub group: u32,
    /// IFLA_IFALIAS; empty when there is none.
    pub alias: String,
}

impl Mark {
    /// Returns the mark of the lab's links.
    pub fn of(lab: &LabName) -> Self {
        Self { group: group(lab), alias: link_alias(lab) }
    }

    /// Returns the mark of a link of the lab. In a namespace of the lab, only `lo` has one.
    pub fn of_link(lab: &LabName, id: &LinkId) -> Self {
        match id.namespace.is_host() {
            true => Self::of(lab),
            false => Self { group: 0, alias: namespace_mark(lab, &id.namespace) },
        }
    }
}

/// The owner of a link in `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The lab: both parts of the mark are present.
    Lab,
    /// The lab: one part of the mark is missing, but the interface index is in the range of the lab.
    Damaged,
    /// Another lab.
    Other(LabName),
    /// Not a lab. The value is the part of the lab's mark that the link has.
    Foreign(Lookalike),
}

/// The part of the lab's mark that a foreign link has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookalike {
    /// None.
    None,
    /// The group only.
    Group,
    /// The alias only.
    Alias,
}

/// Determines the owner of a link in `host` from its mark and its interface index.
pub fn owner(lab: &LabName, mark: &Mark, index: u32) -> Owner {
    let ours = Mark::of(lab);
    let in_range = index.checked_sub(first_index(lab)).is_some_and(|offset| offset < INDEX_RANGE);
    match (mark.group == ours.group, mark.alias == ours.alias) {
        (true, true) => Owner::Lab,
        (true, false) if in_range && mark.alias.is_empty() => Owner::Damaged,
        (false, true) if in_range && mark.group == 0 => Owner::Damaged,
        (group, false) => match lab_of_link_alias(&mark.alias) {
            Some(other) => Owner::Other(other),
            None if group => Owner::Foreign(Lookalike::Group),
            None => Owner::Foreign(Lookalike::None),
        },
        (false, true) => Owner::Foreign(Lookalike::Alias),
    }
}

/// Returns the mark of a namespace of the lab: the alias of its `lo`, and the content of its placeholder under /run/netns.
pub fn namespace_mark(lab: &LabName, namespace: &NamespaceName) -> String {
    format!("topo:{lab}/{namespace}")
}

/// Parses the mark of a namespace.
pub fn lab_of_namespace_mark(mark: &str) -> Option<(LabName, NamespaceName)> {
    let (lab, namespace) = mark.strip_prefix("topo:")?.split_once('/')?;
    Some((lab.parse().ok()?, namespace.parse().ok()?))
}

/// Returns the lowest interface index of the lab's links. The range is far above the indices that the kernel assigns, and different
/// for (almost) every lab, so that labs can be applied concurrently.
pub fn first_index(lab: &LabName) -> u32 {
    (1 << 20) + (hash(lab.as_str()) % 8000) * INDEX_RANGE
}

/// The number of interface indices reserved for a lab.
const INDEX_RANGE: u32 = 1 << 17;

fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_round_trip() {
        let (lab, namespace) = ("blog".parse().unwrap(), "red".parse().unwrap());
        assert_eq!(lab_of_namespace_mark(&namespace_mark(&lab, &namespace)), Some((lab, namespace)));
        for mark in ["", "topo:", "topo:a", "topo:/a", "topo:a/", "topo:a/b/c", "topo:a/b\n", "other:a/b"] {
            assert_eq!(lab_of_namespace_mark(mark), None, "{mark:?}");
        }
    }

    #[test]
    fn a_group_is_positive_and_stable() {
        let lab: LabName = "blog".parse().unwrap();
        assert_eq!(group(&lab), group(&lab));
        assert!(group(&lab) >= 1 << 30 && i32::try_from(group(&lab)).is_ok());
        assert!(first_index(&lab) + INDEX_RANGE < 1 << 31);
    }

    #[test]
    fn a_partial_mark_counts_only_with_an_index_of_the_lab() {
        let lab: LabName = "blog".parse().unwrap();
        let (whole, index) = (Mark::of(&lab), first_index(&lab) + 3);
        let with = |group: u32, alias: &str| Mark { group, alias: alias.into() };
        assert_eq!(owner(&lab, &whole, 7), Owner::Lab);
        assert_eq!(owner(&lab, &with(whole.group, ""), index), Owner::Damaged);
        assert_eq!(owner(&lab, &with(0, &whole.alias), index), Owner::Damaged);
        assert_eq!(owner(&lab, &with(whole.group, ""), 7), Owner::Foreign(Lookalike::Group));
        assert_eq!(owner(&lab, &with(0, &whole.alias), 7), Owner::Foreign(Lookalike::Alias));
        assert_eq!(owner(&lab, &with(whole.group, "mine"), index), Owner::Foreign(Lookalike::Group));
        assert_eq!(owner(&lab, &with(7, &whole.alias), index), Owner::Foreign(Lookalike::Alias));
        assert_eq!(owner(&lab, &with(0, ""), index), Owner::Foreign(Lookalike::None));
        assert_eq!(owner(&lab, &with(whole.group, "topo:other"), index), Owner::Other("other".parse().unwrap()));
    }
}
