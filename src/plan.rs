//! Changes into a plan: the operations, complete and in order, that make the live network the desired one.
//!
//! A plan is immutable and needs nothing further to be known: printing it tells the whole truth about executing it.

mod build;
mod links;
mod objects;
mod reach;
mod touched;

pub use reach::last_touches;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::diff::{Action, Change, Inheritance};
use crate::graph::LinkGraph;
use crate::name::{LabName, LinkId, NamespaceName};
use crate::operation::Operation;
use crate::ownership;
use crate::state::{Ifindex, Live, ResourceId, State};

/// One operation with the change that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The change's position in [`Plan::changes`].
    pub change: usize,
    /// What is done.
    pub operation: Operation,
}

/// How many resources a plan adds, changes and destroys; a replacement counts as both an addition and a destruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Created, and replaced.
    pub add: usize,
    /// Changed in place.
    pub change: usize,
    /// Deleted, and replaced.
    pub destroy: usize,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The lab that it is about.
    pub lab: LabName,
    /// What happens to which resource, sorted by resource.
    pub changes: Vec<Change>,
    /// How, in the order in which it is done.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The totals.
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

    /// The resource that the operation at this position is for.
    pub fn resource(&self, position: usize) -> Option<&ResourceId> {
        let step = self.steps.get(position)?;
        self.changes.get(step.change).map(|change| &change.id)
    }

    /// The operations alone, in order.
    pub fn operations(&self) -> Vec<Operation> {
        self.steps.iter().map(|step| step.operation.clone()).collect()
    }
}

/// Orders the changes and fills in everything that the kernel must be told. `preferred` gives interface numbers to links that had
/// them before, so that undoing a deletion restores the number too.
pub fn plan(lab: &LabName, desired: &State, live: &Live, changes: Vec<Change>, preferred: &BTreeMap<LinkId, Ifindex>) -> Plan {
    let steps = match changes.is_empty() {
        true => Vec::new(),
        false => build::steps(&Context::new(lab, desired, live, &changes, preferred), &changes),
    };
    Plan { lab: lab.clone(), changes, steps }
}

/// The plan that makes a lab, given without its name, where there is nothing.
#[cfg(test)]
fn from_nothing(lab: &str) -> Plan {
    let lab = crate::spec::load(&format!("name: lab\n{lab}")).lab.unwrap();
    let desired = crate::lower::lower(&lab, &BTreeMap::new()).state;
    let changes = crate::diff::diff(&desired, &Live::default()).unwrap();
    plan(&lab.name, &desired, &Live::default(), changes, &BTreeMap::new())
}

/// What the builders of operations look up.
struct Context<'a> {
    lab: &'a LabName,
    desired: &'a State,
    live: &'a Live,
    /// What happens to each link that changes.
    links: HashMap<&'a LinkId, Action>,
    /// Namespaces that are deleted.
    gone_namespaces: HashSet<&'a NamespaceName>,
    /// The numbers of links to be born.
    born: HashMap<&'a LinkId, Ifindex>,
    /// What links have that the lab does not say.
    inheritance: Inheritance<'a>,
    /// What the live links need of one another; made when something is deleted.
    live_links: OnceCell<LinkGraph>,
    /// Links with settings of their own that must be written before they come up.
    with_sysctls: HashSet<LinkId>,
    /// Links that get ports which are born in this plan, and how many.
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
            gone_namespaces: HashSet::new(),
            born: HashMap::new(),
            inheritance: Inheritance::new(desired, &live.state),
            live_links: OnceCell::new(),
            with_sysctls: HashSet::new(),
            with_new_ports: HashMap::new(),
        };
        let mut born: Vec<&LinkId> = Vec::new();
        for change in changes {
            match (&change.id, change.action) {
                (ResourceId::Link(link), action) => {
                    context.links.insert(link, action);
                    born.extend(action.makes().then_some(link));
                }
                (ResourceId::Namespace(namespace), Action::Delete) => {
                    context.gone_namespaces.insert(namespace);
                }
                (ResourceId::Sysctl(namespace, key), Action::Create) => {
                    context.with_sysctls.extend(key.link().map(|link| LinkId::new(namespace, link)));
                }
                _ => {}
            }
        }
        let masters = born.iter().filter_map(|id| Some(LinkId::new(&id.namespace, desired.link(id)?.settings.master?)));
        masters.for_each(|master| *context.with_new_ports.entry(master).or_default() += 1);
        context.number_links(&born, preferred);
        context
    }

    /// Chooses the interface numbers of new links: unique in the whole lab, so that the two ends of a pair can be told by their
    /// numbers alone.
    fn number_links(&mut self, born: &[&'a LinkId], preferred: &BTreeMap<LinkId, Ifindex>) {
        if born.is_empty() {
            return;
        }
        let mut taken: HashSet<Ifindex> = self.live.indices.values().chain(self.live.taken_indices.values()).copied().collect();
        let mut next = ownership::first_index(self.lab);
        for &id in born.iter().filter(|id| !id.name.is_loopback()) {
            let wish = preferred.get(id).copied().filter(|wish| self.is_free(id, *wish));
            let number = wish.unwrap_or_else(|| {
                while taken.contains(&next) {
                    next += 1;
                }
                next
            });
            taken.insert(number);
            self.born.insert(id, number);
        }
    }

    /// Whether a number is used by no living link of the namespace that will still be there.
    fn is_free(&self, id: &LinkId, number: Ifindex) -> bool {
        let host = id.namespace.is_host() && self.live.taken_indices.values().any(|taken| *taken == number);
        let mut others = self.live.indices.iter().filter(|(other, index)| other.namespace == id.namespace && **index == number);
        !host
            && !self.born.iter().any(|(other, index)| other.namespace == id.namespace && *index == number)
            && others.all(|(other, _)| self.is_gone(other))
    }

    fn is_born(&self, link: &LinkId) -> bool {
        self.links.get(link).is_some_and(|action| action.makes())
    }

    fn is_gone(&self, link: &LinkId) -> bool {
        self.links.get(link).is_some_and(|action| action.removes()) || self.gone_namespaces.contains(&link.namespace)
    }

    /// The number that a link has while it is created, changed or used.
    fn index(&self, link: &LinkId) -> Ifindex {
        // A link that is neither born nor alive is a reference that `lower` has refused; 0 makes the kernel refuse it too.
        const LOOPBACK: Ifindex = 1;
        let known =
            self.born.get(link).or_else(|| self.live.indices.get(link)).or_else(|| self.live.taken_indices.get(link)).copied();
        known.unwrap_or(if link.name.is_loopback() { LOOPBACK } else { 0 })
    }
}
