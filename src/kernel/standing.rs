//! Whose is what is seen in the lab's namespaces and in `host`: namespaces, links, routes.

use crate::name::{LabName, LinkId, NamespaceName};
use crate::ownership::{self, Lookalike, Mark, Owner};
use crate::resource::link::Marked;
use crate::state::{Ifindex, State};

/// What a link is to the lab.
pub(super) enum Standing {
    /// Its own, or about to become so.
    Lab(Marked),
    /// Declared as external.
    Declared,
    /// Somebody else's: a phrase that says whose.
    Foreign(String),
}

impl Standing {
    /// Judges a link by its mark and number. `kind` is the kernel's word for its kind.
    pub(super) fn of(lab: &LabName, desired: &State, id: &LinkId, mark: Mark, index: Ifindex, kind: &str) -> Self {
        if !id.namespace.is_host() {
            return Self::Lab(Marked::Lab);
        }
        let owner = ownership::owner(lab, &mark, index);
        let external = owner != Owner::Lab && desired.link(id).is_some_and(|link| link.external);
        let adopted = desired.adopt.contains(id);
        match owner {
            Owner::Lab => Self::Lab(Marked::Lab),
            _ if external => Self::Declared,
            Owner::Damaged => Self::Lab(Marked::Damaged(mark)),
            Owner::Foreign(_) if adopted => Self::Lab(Marked::Foreign(mark)),
            Owner::Other(other) => Self::Foreign(format!("a {kind} of the lab `{other}`")),
            Owner::Foreign(lookalike) => Self::Foreign(format!("a {kind} that topo did not make{}", phrase(lookalike))),
        }
    }
}

/// Protocols of routes that hands make (RTPROT_UNSPEC, BOOT, STATIC) and topo's own; all others belong to the kernel or to a
/// routing daemon.
pub(super) const BY_HAND: [u8; 4] = [0, 3, 4, ownership::PROTOCOL];
/// Protocol of routes that the kernel makes for its own addresses (RTPROT_KERNEL).
pub(super) const KERNEL: u8 = 2;
/// Protocols of routes that the kernel makes or learns by itself (RTPROT_REDIRECT, KERNEL, RA).
pub(super) const BY_KERNEL: [u8; 3] = [1, KERNEL, 9];

/// What a namespace is that bears this mark, when it is not the lab's.
pub(super) fn foreign_namespace(lab: &LabName, name: &NamespaceName, mark: &str) -> Option<String> {
    match ownership::lab_of_namespace_mark(mark) {
        Some((owner, marked)) if owner == *lab && marked == *name => None,
        Some((owner, _)) if owner != *lab => Some(format!("a namespace of the lab `{owner}`")),
        Some((_, marked)) => Some(format!("the lab's namespace `{marked}` under another name")),
        None => Some("a namespace that topo did not make".into()),
    }
}

fn phrase(lookalike: Lookalike) -> &'static str {
    match lookalike {
        Lookalike::None => "",
        Lookalike::Group => ", with the lab's group but not its alias",
        Lookalike::Alias => ", with the lab's alias but not its group",
    }
}
