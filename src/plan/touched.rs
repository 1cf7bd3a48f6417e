//! Where a plan leaves traces: the namespaces that must be looked at again once it has been carried out.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Plan;
use crate::diff::{Action, Change};
use crate::name::{LinkId, LinkName, LinkRef, NamespaceName};
use crate::state::{Live, Resource, ResourceId};

/// A [`LinkId`] whose namespace is borrowed.
type Named<'a> = (&'a NamespaceName, LinkName);

impl Plan {
    /// The namespaces in which something changes, if only because the kernel lets links follow those that they stand on, or the
    /// other end of a pair. `before` is what the plan was made from.
    pub fn touched(&self, before: &Live) -> BTreeSet<NamespaceName> {
        let mut touched: HashSet<&NamespaceName> = self.changes.iter().map(|change| change.id.namespace()).collect();
        let gone: HashSet<&NamespaceName> = self.changes.iter().filter_map(namespace_that_goes).collect();
        let mut links: Vec<Named<'_>> = Vec::new();
        for change in &self.changes {
            if let ResourceId::Link(id) = &change.id {
                links.push((&id.namespace, id.name));
                let ends = [&change.before, &change.after];
                touched.extend(ends.into_iter().flatten().filter_map(parent).map(|below| named(id, below).0));
            }
        }
        if !links.is_empty() {
            follow(links, before, &gone, &mut touched);
        }
        touched.into_iter().cloned().collect()
    }
}

/// The namespace, if the change is that it goes.
fn namespace_that_goes(change: &Change) -> Option<&NamespaceName> {
    match &change.id {
        ResourceId::Namespace(namespace) => (change.action == Action::Delete).then_some(namespace),
        ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Address(..) | ResourceId::Route(..) => None,
    }
}

/// Adds where links stand on these, and on those in turn. Links in namespaces that go need not be found: each of them changes itself.
fn follow<'a>(
    mut links: Vec<Named<'a>>,
    before: &'a Live,
    gone: &HashSet<&NamespaceName>,
    touched: &mut HashSet<&'a NamespaceName>,
) {
    let mut above: HashMap<Named<'_>, Vec<&LinkId>> = HashMap::new();
    for (id, link) in before.state.links().filter(|(id, _)| !gone.contains(&id.namespace)) {
        if let Some(below) = link.kind.parent() {
            above.entry(named(id, below)).or_default().push(id);
        }
    }
    while let Some(link) = links.pop().filter(|_| !above.is_empty()) {
        // Each link is followed once: the two ends of a pair stand on each other.
        for id in above.remove(&link).into_iter().flatten() {
            touched.insert(&id.namespace);
            links.push((&id.namespace, id.name));
        }
    }
}

fn parent(resource: &Resource) -> Option<&LinkRef> {
    match resource {
        Resource::Link(link) => link.kind.parent(),
        Resource::Namespace | Resource::Sysctl(_) | Resource::Address(_) | Resource::Route(_) => None,
    }
}

/// The link that `id` refers to as the one `below`.
fn named<'a>(id: &'a LinkId, below: &'a LinkRef) -> Named<'a> {
    (below.namespace.as_ref().unwrap_or(&id.namespace), below.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const LAB: &str = "name: lab\nnamespaces: {a: , b: , c: {interfaces: {eth0: {addresses: [10.0.0.1/24]}}}}\n\
                       links: [{endpoints: [a:x, b:x]}, {endpoints: [c:eth0, b:y]}]\n";

    /// The namespaces that an update of this resource touches.
    fn touched(of: impl Fn(&ResourceId) -> bool) -> Vec<String> {
        let lab = crate::spec::load(LAB).lab.unwrap();
        let state = crate::lower::lower(&lab, &BTreeMap::new()).state;
        let (id, resource) =
            state.resources.iter().find(|(id, _)| of(id)).map(|(id, there)| (id.clone(), there.clone())).unwrap();
        let (before, after) = (Some(resource.clone()), Some(resource));
        let change = Change { id, action: Action::Update, before, after, fields: Vec::new(), reason: None };
        let plan = Plan { lab: lab.name, changes: vec![change], steps: Vec::new() };
        plan.touched(&Live { state, ..Live::default() }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_touches_its_namespace_alone() {
        assert_eq!(touched(|id| matches!(id, ResourceId::Address(..))), ["c"]);
    }

    #[test]
    fn what_stands_on_something_in_a_namespace_that_goes_is_found_through_it() {
        let lab = crate::spec::load(
            "name: lab\nnamespaces:\n  a: {interfaces: {d0: {dummy: {}}}}\n  b: {interfaces: {m0: {macvlan: {parent: \"a:d0\", mode: bridge}}}}\n  \
             c: {interfaces: {v0: {vlan: {parent: \"b:m0\", id: 7}}}}\n  d: {}\n",
        );
        let lab = lab.lab.unwrap();
        let state = crate::lower::lower(&lab, &BTreeMap::new()).state;
        let gone = |(id, there): (&ResourceId, &Resource)| {
            let (id, before) = (id.clone(), Some(there.clone()));
            Change { id, action: Action::Delete, before, after: None, fields: Vec::new(), reason: None }
        };
        let changes = state.resources.iter().filter(|(id, _)| id.namespace().as_str() == "b").map(gone).collect();
        let plan = Plan { lab: lab.name, changes, steps: Vec::new() };
        let touched = plan.touched(&Live { state, ..Live::default() });
        assert_eq!(touched.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_link_touches_where_the_other_end_of_its_pair_is() {
        assert_eq!(touched(|id| matches!(id, ResourceId::Link(link) if link.to_string() == "a:x")), ["a", "b"]);
    }
}
