//! The contract that each kind's file fulfils, beyond its table of options.
//!
//! A kind knows its options, its parent and its wire format. It does not know names, indices or other resources.

use netlink_packet_core::DefaultNla;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ifindex;
use crate::name::{LinkRef, NamespaceName};
use crate::resource::option::{self, Mutability, OptionChange, OptionTable};

/// The mtus, in bytes, that a link's own may follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MtuAround {
    /// Its parent's.
    pub parent: Option<u32>,
    /// The smallest of its ports'.
    pub smallest_port: Option<u32>,
}

/// A glob over the interfaces of a namespace: `*` any text, `?` one character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PortPattern(pub String);

impl PortPattern {
    /// Whether the pattern is more than a name.
    pub fn is_glob(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether `name` matches, by the rules of glob(7) without character classes.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n, mut star) = (0, 0, None);
        while n < name.len() {
            if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) && pattern[p] != b'*' {
                p += 1;
                n += 1;
            } else if p < pattern.len() && pattern[p] == b'*' {
                star = Some((p, n));
                p += 1;
            } else if let Some((at, taken)) = star {
                p = at + 1;
                n = taken + 1;
                star = Some((at, taken + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&b| b == b'*')
    }
}

/// The contract of a kind, beyond its options. Everything has a default.
pub trait LinkKind: OptionTable {
    /// How many other links can be its ports (IFLA_MASTER).
    const MOST_PORTS: usize = 0;
    /// Whether a new link uses ARP (not IFF_NOARP); `None` when it takes that from its parent.
    const ARP: Option<bool> = Some(true);
    /// Whether a new link uses multicast (IFF_MULTICAST); `None` when it takes that from its parent.
    const MULTICAST: Option<bool> = Some(true);
    /// The attribute of IFLA_INFO_DATA that holds the parent's number, for a kind that does not take it from IFLA_LINK.
    const PARENT_ATTRIBUTE: Option<u16> = None;

    /// The link below (IFLA_LINK).
    fn parent(&self) -> Option<&LinkRef> {
        None
    }

    /// Where the parent is kept, for a kind that has one.
    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        None
    }

    /// The namespace that the link's own packets travel in, for a kind that sends such.
    fn underlay(&self) -> Option<&NamespaceName> {
        None
    }

    /// Where that namespace is kept.
    fn underlay_slot(&mut self) -> Option<&mut Option<NamespaceName>> {
        None
    }

    /// The ports as the file lists them.
    fn ports(&self) -> &[PortPattern] {
        &[]
    }

    /// Forgets the ports: each port knows its master from then on.
    fn clear_ports(&mut self) {}

    /// The mtu that the kernel gives a new link of this kind there; `None` when it cannot be told.
    fn default_mtu(&self, around: MtuAround) -> Option<u32> {
        let _ = around;
        Some(1500)
    }

    /// The options that one with many ports is better born with, and gets rid of when its ports are there, in place of its own. What
    /// they do must not be missed by anybody until then.
    fn while_ports_join(&self) -> Option<Self> {
        None
    }
}

pub(super) fn encode<K: LinkKind>(kind: &K, parent: Option<Ifindex>) -> Vec<u8> {
    let mut attributes = parent_attribute::<K>(parent);
    option::encode_into(kind, &mut attributes);
    option::emit(&attributes)
}

pub(super) fn encode_new<K: LinkKind>(kind: &K, parent: Option<Ifindex>) -> Vec<u8> {
    let mut attributes = parent_attribute::<K>(parent);
    option::encode_new_into(kind, &mut attributes);
    option::emit(&attributes)
}

fn parent_attribute<K: LinkKind>(parent: Option<Ifindex>) -> Vec<DefaultNla> {
    let parent = K::PARENT_ATTRIBUTE.zip(parent);
    parent.map(|(attribute, parent)| DefaultNla::new(attribute, parent.to_ne_bytes().to_vec())).into_iter().collect()
}

pub(super) fn compare_parent(desired: Option<&LinkRef>, live: Option<&LinkRef>) -> Option<OptionChange> {
    let show = |parent: Option<&LinkRef>| parent.map(|parent| Value::from(parent.to_string()));
    (desired != live).then(|| OptionChange {
        name: "parent",
        before: show(live),
        after: show(desired),
        mutability: Mutability::Replace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        let check = |pattern: &str, name: &str| PortPattern(pattern.into()).matches(name);
        assert!(check("p*", "p1") && check("p*", "p") && check("*", "x") && check("a?c", "abc") && check("a*b*c", "axxbyyc"));
        assert!(!check("p*", "xp") && !check("a?c", "ac") && !check("p1", "p10") && !check("a*b", "abx"));
    }
}
