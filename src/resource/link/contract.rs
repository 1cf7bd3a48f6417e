//! The contract that each kind's file fulfils, and what follows from a kind's table of options: encoding, decoding, comparing and
//! showing.
//!
//! A kind knows its options, its parent and its wire format. It does not know names, indices or other resources.

use netlink_packet_core::{DecodeError, Emitable, NlaBuffer, NlasIterator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ifindex;
use super::option::{KindOption, Mutability};
use crate::name::{LinkRef, NamespaceName};

/// Something about a kind's options that the kernel would refuse, found without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The key it is about.
    pub key: &'static str,
    /// What is wrong, as a phrase.
    pub message: String,
}

/// The mtus, in bytes, that a link's own may follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MtuAround {
    /// Its parent's.
    pub parent: Option<u32>,
    /// The smallest of its ports'.
    pub smallest_port: Option<u32>,
}

/// One option that differs between the desired and the live link.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionChange {
    /// The key.
    pub name: &'static str,
    /// The live value.
    pub before: Option<Value>,
    /// The desired one, the kernel's default if the lab says nothing.
    pub after: Option<Value>,
    /// Whether the kernel can do it to the living link.
    pub mutability: Mutability,
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

/// The contract of a kind. Everything has a default but the name, the options and the kernel's own values for them.
pub trait LinkKind: Clone + Default + 'static {
    /// IFLA_INFO_KIND, and the key in the lab file.
    const NAME: &'static str;
    /// The options that are single attributes.
    const OPTIONS: &'static [KindOption<Self>];
    /// How many other links can be its ports (IFLA_MASTER).
    const MOST_PORTS: usize = 0;
    /// Whether a new link uses ARP (not IFF_NOARP); `None` when it takes that from its parent.
    const ARP: Option<bool> = Some(true);
    /// Whether a new link uses multicast (IFF_MULTICAST); `None` when it takes that from its parent.
    const MULTICAST: Option<bool> = Some(true);
    /// The attribute of IFLA_INFO_DATA that holds the parent's number, for a kind that does not take it from IFLA_LINK.
    const PARENT_ATTRIBUTE: Option<u16> = None;

    /// What the kernel takes for the options that this one leaves out.
    #[must_use]
    fn kernel_default(&self) -> Self;

    /// What can be refused without asking the kernel.
    fn validate(&self) -> Vec<Invalid> {
        Vec::new()
    }

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

    /// Attributes of rows that share one or need a list.
    fn encode_rest(&self, attributes: &mut Vec<netlink_packet_core::DefaultNla>) {
        let _ = attributes;
    }

    /// The reverse: takes an attribute that no row names.
    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        let _ = (attribute, bytes);
    }

    /// Whether the kernel reports something else under the name of that option at the moment.
    fn conceals(&self, option: &str) -> bool {
        let _ = option;
        false
    }

    /// The options that one with many ports is better born with, and gets rid of when its ports are there, in place of its own. What
    /// they do must not be missed by anybody until then.
    fn while_ports_join(&self) -> Option<Self> {
        None
    }

    /// Brings what the kernel reported into the form that a lab file would have.
    fn normalise(&mut self) {}
}

pub(super) fn encode<K: LinkKind>(kind: &K, parent: Option<Ifindex>) -> Vec<u8> {
    let mut attributes = Vec::new();
    if let (Some(attribute), Some(parent)) = (K::PARENT_ATTRIBUTE, parent) {
        attributes.push(netlink_packet_core::DefaultNla::new(attribute, parent.to_ne_bytes().to_vec()));
    }
    for row in K::OPTIONS {
        if let Some(bytes) = (row.write)(kind) {
            attributes.push(netlink_packet_core::DefaultNla::new(row.attribute, bytes));
        }
    }
    kind.encode_rest(&mut attributes);
    let mut buffer = vec![0; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut buffer);
    buffer
}

/// The same for a new link, without what it is born with anyway: a kernel that lacks a feature refuses even its default.
pub(super) fn encode_new<K: LinkKind>(kind: &K, parent: Option<Ifindex>) -> Vec<u8> {
    let default = kind.kernel_default();
    let mut special = K::default();
    if let (Some(slot), Some(parent)) = (special.parent_slot(), kind.parent()) {
        *slot = Some(parent.clone());
    }
    for row in K::OPTIONS.iter().filter(|row| !(row.same)(kind, &default)) {
        (row.fill)(&mut special, kind);
    }
    encode(&special, parent)
}

pub(super) fn decode<K: LinkKind>(data: &[u8]) -> Result<K, DecodeError> {
    let mut kind = K::default();
    for attribute in NlasIterator::new(data) {
        let attribute: NlaBuffer<_> = attribute?;
        match K::OPTIONS.iter().find(|row| row.attribute != 0 && row.attribute == attribute.kind()) {
            Some(row) => (row.read)(&mut kind, attribute.value())
                .ok_or_else(|| DecodeError::from(format!("unexpected value of `{}` of a {}", row.name, K::NAME)))?,
            None => kind.decode_rest(attribute.kind(), attribute.value()),
        }
    }
    kind.normalise();
    Ok(kind)
}

pub(super) fn complete<K: LinkKind>(kind: &K) -> K {
    let default = kind.kernel_default();
    let mut complete = kind.clone();
    for row in K::OPTIONS {
        (row.fill)(&mut complete, &default);
    }
    complete
}

pub(super) fn compare<K: LinkKind>(desired: &K, live: &K) -> Vec<OptionChange> {
    let wanted = complete(desired);
    let mut changes: Vec<OptionChange> = Vec::new();
    for row in K::OPTIONS {
        // An option that neither the lab sets nor this kernel reports is a feature that was compiled out.
        let absent = (row.show)(live).is_none() && (row.show)(desired).is_none();
        let unknown = live.conceals(row.name) || desired.conceals(row.name);
        if absent || unknown || (row.same)(&wanted, live) || changes.iter().any(|change| change.name == row.name) {
            continue;
        }
        changes.push(OptionChange {
            name: row.name,
            before: (row.show)(live),
            after: (row.show)(&wanted),
            mutability: if (row.unchangeable)(&wanted, live) { Mutability::Replace } else { row.mutability },
        });
    }
    changes
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

/// The kind that brings `live` to `desired` in place: only what differs is set.
pub(super) fn difference<K: LinkKind>(desired: &K, live: &K) -> K {
    let wanted = complete(desired);
    let changes = compare(desired, live);
    let mut only = K::default();
    for row in K::OPTIONS {
        if changes.iter().any(|change| change.name == row.name) {
            (row.fill)(&mut only, &wanted);
        }
    }
    only
}

pub(super) fn show<K: LinkKind>(kind: &K) -> Vec<(&'static str, Value)> {
    let mut shown: Vec<(&'static str, Value)> = Vec::new();
    for row in K::OPTIONS {
        if let Some(value) = (row.show)(kind)
            && shown.iter().all(|(name, _)| *name != row.name)
        {
            shown.push((row.name, value));
        }
    }
    shown
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
