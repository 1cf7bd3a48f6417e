//! Decides who owns each observed namespace and link.

use crate::name::{LabName, LinkId, NamespaceName};
use crate::ownership::{self, Lookalike, Mark, Obstacle, Owner};
use crate::resource::link::Marked;
use crate::state::{Ifindex, State};

/// The relation of a link to the lab.
pub(super) enum Claim {
    /// The lab owns or adopts it.
    Lab(Marked),
    /// The lab declares it as external.
    Declared,
    /// It is foreign.
    Foreign(Obstacle),
}

impl Claim {
    /// Determines the owner of a link from its mark and its index. `kind` is the kernel's name of its kind.
    pub(super) fn of(lab: &LabName, desired: &State, id: &LinkId, mark: Mark, index: Ifindex, kind: &str) -> Self {
        if !id.namespace.is_host() {
            let is_adopted = id.name.is_loopback() && mark.alias != ownership::namespace_mark(lab, &id.namespace);
            return Self::Lab(if is_adopted { Marked::Foreign(mark) } else { Marked::Lab });
        }
        let owner = ownership::owner(lab, &mark, index);
        let external = owner != Owner::Lab && desired.link(id).is_some_and(|link| link.external);
        let adopted = desired.adopts_link(id);
        match owner {
            Owner::Lab => Self::Lab(Marked::Lab),
            _ if external => Self::Declared,
            Owner::Damaged => Self::Lab(Marked::Damaged(mark)),
            Owner::Foreign(_) if adopted => Self::Lab(Marked::Foreign(mark)),
            Owner::Other(other) => Self::Foreign(Obstacle::OfLab { what: kind.to_owned(), lab: other }),
            Owner::Foreign(lookalike) => {
                Self::Foreign(Obstacle::Other(format!("a {kind} that topo did not make{}", phrase(lookalike))))
            }
        }
    }
}

/// Describes a namespace with this mark; `None` if it belongs to the lab, or if the lab adopts it.
pub fn foreign_namespace(lab: &LabName, name: &NamespaceName, mark: &str, is_adopted: bool) -> Option<Obstacle> {
    match ownership::lab_of_namespace_mark(mark) {
        Some((owner, marked)) if owner == *lab && marked == *name => None,
        Some((owner, _)) if owner != *lab => Some(Obstacle::OfLab { what: "namespace".to_owned(), lab: owner }),
        Some((_, marked)) => Some(Obstacle::Other(format!("the lab's namespace `{marked}` under another name"))),
        None => (!is_adopted).then_some(Obstacle::FreeNamespace),
    }
}

fn phrase(lookalike: Lookalike) -> &'static str {
    match lookalike {
        Lookalike::None => "",
        Lookalike::Group => ", with the lab's group but not its alias",
        Lookalike::Alias => ", with the lab's alias but not its group",
    }
}
