//! Turns changes into a plan: the complete, ordered list of operations that make the live network match the desired state.
//!
//! A plan is immutable and complete: it prints exactly the operations that `apply` executes.

mod build;
mod links;
mod objects;
mod parts;
mod reach;
mod touched;

pub use reach::last_touches;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::diff::{Action, Change, Difference, ForeignChanges, Inheritance, Remedy, SideEffect};
use crate::graph::LinkGraph;
use crate::name::{LabName, LinkId, NamespaceName};
use crate::operation::Operation;
use crate::ownership;
use crate::state::{Ifindex, Live, ResourceId, State};

/// Why a plan with side effects that cannot be undone is refused.
pub const IRREVERSIBLE: &str = "the kernel would remove what is not the lab's, and it could not be put back";

/// One operation with the change that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The change's position in [`Plan::changes`]; `None` for what restores foreign objects.
    pub change: Option<usize>,
    /// The operation.
    pub operation: Operation,
}

/// The number of resources that a plan adds, changes and destroys. A replacement counts as an addition and a destruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Resources that are created or replaced.
    pub add: usize,
    /// Resources that are changed in place.
    pub change: usize,
    /// Resources that are deleted or replaced.
    pub destroy: usize,
}

/// The changes to a network, and the operations that make them.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The lab.
    pub lab: LabName,
    /// The changes, sorted by resource.
    pub changes: Vec<Change>,
    /// What the kernel does to foreign resources with these changes.
    pub side_effects: Vec<SideEffect>,
    /// What happens to foreign objects.
    pub foreign: ForeignChanges,
    /// The operations, in the order of execution.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Returns whether the network matches the desired state already.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.foreign.restores_nothing()
    }

    /// Returns the side effects on `host` that cannot be undone. The lab's own namespaces are the user's to change.
    pub fn irreversible(&self) -> impl Iterator<Item = &SideEffect> {
        let of_host = self.side_effects.iter().filter(|effect| effect.id.namespace().is_host());
        of_host.filter(|effect| effect.remedy == Remedy::None)
    }

    /// Returns the names of the foreign objects that the plan adds again, although it does not remove them.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.side_effects.iter().filter(|effect| effect.attribute.is_none() && effect.before.is_none());
        missing.map(|effect| effect.title.clone()).collect()
    }

    /// Counts the changes.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for change in &self.changes {
            match change.action {
                Action::Create => summary.add += 1,
                Action::Update => summary.change += 1,
                Action::Delete => summary.destroy += 1,
                Action::Replace => {
                    summary.add += 1;
                    summary.destroy += 1;
                }
            }
        }
        summary
    }

    /// Returns the resource that the operation at this position changes.
    pub fn resource(&self, position: usize) -> Option<&ResourceId> {
        let step = self.steps.get(position)?;
        self.changes.get(step.change?).map(|change| &change.id)
    }

    /// Returns the operations, in order.
    pub fn operations(&self) -> Vec<Operation> {
        self.steps.iter().map(|step| step.operation.clone()).collect()
    }
}

/// Makes the operations for the changes and orders them. New links get the interface index in `preferred` if it is free, so that a
/// rollback restores the indices of deleted links.
pub fn plan(lab: &LabName, desired: &State, live: &Live, difference: Difference, preferred: &BTreeMap<LinkId, Ifindex>) -> Plan {
    let Difference { changes, side_effects, foreign } = difference;
    let steps = match changes.is_empty() && foreign.restores_nothing() {
        true => Vec::new(),
        false => {
            let preferred = with_known_indices(preferred, live, &foreign);
            build::steps(&Context::new(lab, desired, live, &changes, &preferred), &changes, &foreign)
        }
    };
    Plan { lab: lab.clone(), changes, side_effects, foreign, steps }
}

/// Adds the indices of links where foreign objects are removed: their messages have them, so that a replaced link must keep its own.
fn with_known_indices<'a>(
    preferred: &'a BTreeMap<LinkId, Ifindex>,
    live: &Live,
    foreign: &ForeignChanges,
) -> Cow<'a, BTreeMap<LinkId, Ifindex>> {
    if foreign.removed.is_empty() {
        return Cow::Borrowed(preferred);
    }
    let known = live.indices.iter().filter(|(id, _)| foreign.removed.contains_key(&id.namespace));
    let mut indices: BTreeMap<LinkId, Ifindex> = known.map(|(id, index)| (id.clone(), *index)).collect();
    indices.extend(preferred.iter().map(|(id, index)| (id.clone(), *index)));
    Cow::Owned(indices)
}

/// Returns the plan that creates a lab on an empty machine. `lab` is a lab file without the name.
#[cfg(test)]
pub(crate) fn from_nothing(lab: &str) -> Plan {
    let lab = crate::spec::load(&format!("name: lab\n{lab}")).lab.unwrap();
    let desired = crate::lower::lower(&lab, &BTreeMap::new()).state;
    let difference = crate::diff::diff(&desired, &Live::default()).unwrap();
    plan(&lab.name, &desired, &Live::default(), difference, &BTreeMap::new())
}

/// The data from which operations are built.
struct Context<'a> {
    lab: &'a LabName,
    desired: &'a State,
    live: &'a Live,
    /// The actions on links that change.
    links: HashMap<&'a LinkId, Action>,
    /// Namespaces that are deleted.
    deleted_namespaces: HashSet<&'a NamespaceName>,
    /// Nodes that are removed, be it to make them again.
    removed_nodes: HashSet<&'a NamespaceName>,
    /// Files of nodes that are written or removed.
    changed_files: HashSet<(&'a NamespaceName, &'a str)>,
    /// The interface indices of new links.
    new_indices: HashMap<&'a LinkId, Ifindex>,
    /// The mtus that links inherit from their parents or ports.
    inheritance: Inheritance<'a>,
    /// The dependencies of the live links. Built on the first deletion.
    live_links: OnceCell<LinkGraph>,
    /// Links with sysctls, which must be written before the link comes up.
    with_sysctls: HashSet<LinkId>,
    /// Links that get new ports, with the number of new ports.
    with_new_ports: HashMap<LinkId, usize>,
}

impl<'a> Context<'a> {
    fn new(
        lab: &'a LabName,
        desired: &'a State,
        live: &'a Live,
        changes: &'a [Change],
        preferred: &BTreeMap<LinkId, Ifindex>,
    ) -> Self {
        let mut context = Self {
            lab,
            desired,
            live,
            links: HashMap::new(),
            deleted_namespaces: HashSet::new(),
            removed_nodes: parts::removed_nodes(changes),
            changed_files: parts::changed_files(changes),
            new_indices: HashMap::new(),
            inheritance: Inheritance::new(desired, &live.state),
            live_links: OnceCell::new(),
            with_sysctls: HashSet::new(),
            with_new_ports: HashMap::new(),
        };
        let mut created: Vec<&LinkId> = Vec::new();
        for change in changes {
            match (&change.id, change.action) {
                (ResourceId::Link(link), action) => {
                    context.links.insert(link, action);
                    created.extend(action.creates().then_some(link));
                }
                (ResourceId::Namespace(namespace), Action::Delete) => {
                    context.deleted_namespaces.insert(namespace);
                }
                (ResourceId::Sysctl(namespace, key), Action::Create) => {
                    context.with_sysctls.extend(key.link().map(|link| LinkId::new(namespace, link)));
                }
                _ => {}
            }
        }
        let masters = created.iter().filter_map(|id| Some(LinkId::new(&id.namespace, desired.link(id)?.settings.master?)));
        masters.for_each(|master| *context.with_new_ports.entry(master).or_default() += 1);
        context.assign_indices(&created, preferred);
        context
    }

    /// Assigns interface indices to new links. They are unique within the lab, so that the two ends of a pair can be identified by
    /// their indices.
    fn assign_indices(&mut self, created: &[&'a LinkId], preferred: &BTreeMap<LinkId, Ifindex>) {
        if created.is_empty() {
            return;
        }
        let mut taken: HashSet<Ifindex> = self.live.indices.values().chain(self.live.taken_indices.values()).copied().collect();
        let mut next = ownership::first_index(self.lab);
        for &id in created.iter().filter(|id| !id.name.is_loopback()) {
            let preferred = preferred.get(id).copied().filter(|index| self.is_free(id, *index));
            let index = preferred.unwrap_or_else(|| {
                while taken.contains(&next) {
                    next += 1;
                }
                next
            });
            taken.insert(index);
            self.new_indices.insert(id, index);
        }
    }

    /// Returns whether an index is free in the namespace of `id`: no other new link and no remaining link has it.
    fn is_free(&self, id: &LinkId, wanted: Ifindex) -> bool {
        let host = id.namespace.is_host() && self.live.taken_indices.values().any(|taken| *taken == wanted);
        let mut others = self.live.indices.iter().filter(|(other, index)| other.namespace == id.namespace && **index == wanted);
        !host
            && !self.new_indices.iter().any(|(other, index)| other.namespace == id.namespace && *index == wanted)
            && others.all(|(other, _)| self.is_removed(other))
    }

    /// Returns whether the plan creates the link, be it new or replaced.
    fn is_created(&self, link: &LinkId) -> bool {
        self.links.get(link).is_some_and(|action| action.creates())
    }

    /// Returns whether the plan removes the live link, even if it replaces it.
    fn is_removed(&self, link: &LinkId) -> bool {
        self.links.get(link).is_some_and(|action| action.removes()) || self.deleted_namespaces.contains(&link.namespace)
    }

    /// Returns the index of a new or existing link.
    fn index(&self, link: &LinkId) -> Ifindex {
        // `lower` refuses references to any other link. The kernel refuses index 0.
        const LOOPBACK: Ifindex = 1;
        let known = self
            .new_indices
            .get(link)
            .or_else(|| self.live.indices.get(link))
            .or_else(|| self.live.taken_indices.get(link))
            .copied();
        known.unwrap_or(if link.name.is_loopback() { LOOPBACK } else { 0 })
    }
}
