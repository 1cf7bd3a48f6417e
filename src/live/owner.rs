//! Decides who owns each observed namespace and link.

use crate::name::{LabName, LinkId, NamespaceName};
use crate::ownership::{self, Lookalike, Mark, Owner};
use crate::resource::link::Marked;
use crate::state::{Ifindex, State};

/// What a link is to the lab.
pub(super) enum Claim {
    /// The lab's own, or about to become so.
    Lab(Marked),
    /// Declared as external.
    Declared,
    /// Foreign, with a phrase that says whose.
    Foreign(String),
}

impl Claim {
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

/// What a namespace with this mark is, when it is not the lab's.
pub fn foreign_namespace(lab: &LabName, name: &NamespaceName, mark: &str) -> Option<String> {
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
