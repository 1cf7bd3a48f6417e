//! The marks by which the kernel itself says what a lab owns.
//!
//! A namespace carries its mark in the alias of its `lo`; what is inside it is owned by position. A link in `host` carries a
//! group and an alias; either alone is foreign, unless the link has one of the numbers that only topo gives. Routes and addresses in `host` carry a protocol number.

use crate::name::{LabName, NamespaceName};

/// The route protocol (`rtm_protocol`) and address protocol (IFA_PROTO) of what topo puts into `host`.
pub const PROTOCOL: u8 = 116;

/// Longest alias of a link, in bytes (IFALIASZ less the terminating zero).
pub const ALIAS_LENGTH: usize = 255;

/// The group (IFLA_GROUP) of the lab's links in `host`: FNV-1a of its name, kept clear of the small numbers that people use.
pub fn group(lab: &LabName) -> u32 {
    (hash(lab.as_str()) | 0x4000_0000) & 0x7fff_ffff
}

/// The alias (IFLA_IFALIAS) of the lab's links in `host`.
pub fn link_alias(lab: &LabName) -> String {
    format!("topo:{lab}")
}

/// The lab that a link's alias names, if it is that half of a mark.
pub fn lab_of_link_alias(alias: &str) -> Option<LabName> {
    alias.strip_prefix("topo:")?.parse().ok()
}

/// What a link in `host` carries: the lab's mark, or whatever somebody else has put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// IFLA_GROUP.
    pub group: u32,
    /// IFLA_IFALIAS; empty when there is none.
    pub alias: String,
}

impl Mark {
    /// The mark of the lab's own links.
    pub fn of(lab: &LabName) -> Self {
        Self { group: group(lab), alias: link_alias(lab) }
    }
}

/// Whose a link in `host` is, by its mark and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The lab's: both halves of the mark are its own.
    Lab,
    /// The lab's: somebody has erased one half of its mark, but the number is one that only the lab gives.
    Damaged,
    /// Another lab's.
    Other(LabName),
    /// Nobody's that topo knows; with what it has of the lab's mark nevertheless.
    Foreign(Lookalike),
}

/// What a foreign link has of the lab's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookalike {
    /// Nothing.
    None,
    /// The group alone.
    Group,
    /// The alias alone.
    Alias,
}

/// Judges a link in `host`.
pub fn owner(lab: &LabName, mark: &Mark, index: u32) -> Owner {
    let ours = Mark::of(lab);
    let numbered = index.checked_sub(first_index(lab)).is_some_and(|offset| offset < INDEX_RANGE);
    match (mark.group == ours.group, mark.alias == ours.alias) {
        (true, true) => Owner::Lab,
        (true, false) if numbered && mark.alias.is_empty() => Owner::Damaged,
        (false, true) if numbered && mark.group == 0 => Owner::Damaged,
        (group, false) => match lab_of_link_alias(&mark.alias) {
            Some(other) => Owner::Other(other),
            None if group => Owner::Foreign(Lookalike::Group),
            None => Owner::Foreign(Lookalike::None),
        },
        (false, true) => Owner::Foreign(Lookalike::Alias),
    }
}

/// The alias of `lo` in the lab's namespace, and the text of its placeholder under /run/netns.
pub fn namespace_mark(lab: &LabName, namespace: &NamespaceName) -> String {
    format!("topo:{lab}/{namespace}")
}

/// The lab that a namespace's mark names, if it is a mark.
pub fn lab_of_namespace_mark(mark: &str) -> Option<(LabName, NamespaceName)> {
    let (lab, namespace) = mark.strip_prefix("topo:")?.split_once('/')?;
    Some((lab.parse().ok()?, namespace.parse().ok()?))
}

/// The lowest of the interface numbers that the lab gives its links: far above those that the kernel counts out, and a range of
/// its own for (almost) every lab, so that labs can be applied at the same time.
pub fn first_index(lab: &LabName) -> u32 {
    (1 << 20) + (hash(lab.as_str()) % 8000) * INDEX_RANGE
}

/// How many interface numbers a lab has for itself.
const INDEX_RANGE: u32 = 1 << 17;

fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back() {
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
    fn half_a_mark_is_the_labs_only_with_a_number_of_the_lab() {
        let lab: LabName = "blog".parse().unwrap();
        let (whole, number) = (Mark::of(&lab), first_index(&lab) + 3);
        let with = |group: u32, alias: &str| Mark { group, alias: alias.into() };
        assert_eq!(owner(&lab, &whole, 7), Owner::Lab);
        assert_eq!(owner(&lab, &with(whole.group, ""), number), Owner::Damaged);
        assert_eq!(owner(&lab, &with(0, &whole.alias), number), Owner::Damaged);
        assert_eq!(owner(&lab, &with(whole.group, ""), 7), Owner::Foreign(Lookalike::Group));
        assert_eq!(owner(&lab, &with(0, &whole.alias), 7), Owner::Foreign(Lookalike::Alias));
        assert_eq!(owner(&lab, &with(whole.group, "mine"), number), Owner::Foreign(Lookalike::Group));
        assert_eq!(owner(&lab, &with(7, &whole.alias), number), Owner::Foreign(Lookalike::Alias));
        assert_eq!(owner(&lab, &with(0, ""), number), Owner::Foreign(Lookalike::None));
        assert_eq!(owner(&lab, &with(whole.group, "topo:other"), number), Owner::Other("other".parse().unwrap()));
    }
}
