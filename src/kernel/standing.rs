//! Whose a link is that is seen in the lab's namespaces or in `host`.

use crate::name::{LabName, LinkId};
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

fn phrase(lookalike: Lookalike) -> &'static str {
    match lookalike {
        Lookalike::None => "",
        Lookalike::Group => ", with the lab's group but not its alias",
        Lookalike::Alias => ", with the lab's alias but not its group",
    }
}
