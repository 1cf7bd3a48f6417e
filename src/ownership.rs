//! The marks by which the kernel itself says what a lab owns.
//!
//! A namespace carries its mark in the alias of its `lo`; what is inside it is owned by position. A link in `host` carries a
//! group and an alias; either alone is foreign. Routes and addresses in `host` carry a protocol number.

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
    (1 << 20) + (hash(lab.as_str()) % 8000) * (1 << 17)
}

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
        assert!(first_index(&lab) + (1 << 17) < 1 << 31);
    }
}
