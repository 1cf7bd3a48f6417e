//! Determines which namespaces a plan changes, so that only those are read again for verification.

use std::collections::{BTreeSet, HashSet};

use super::Plan;
use crate::diff::{Action, Change, Subject};
use crate::graph::LinkGraph;
use crate::name::{LinkId, NamespaceName};
use crate::resource::link::Link;
use crate::state::{Live, ResourceId};

impl Plan {
    /// Returns the namespaces in which something changes. The kernel also changes links together with their parents, or with the other
    /// ends of their pairs. `before` is the live state that the plan was made from.
    pub fn touched(&self, before: &Live) -> BTreeSet<NamespaceName> {
        let mut touched: HashSet<&NamespaceName> = self.changes.iter().map(|change| change.id.namespace()).collect();
        let mut parents: Vec<NamespaceName> = Vec::new();
        let mut pending: Vec<LinkId> = Vec::new();
        for change in &self.changes {
            if let (ResourceId::Link(id), Subject::Link(sides, _)) = (&change.id, &change.subject) {
                let ends = [&sides.before, &sides.after].into_iter().flatten();
                parents.extend(ends.filter_map(|link| parent_namespace(id, link)));
                pending.push(id.clone());
            }
        }
        touched.extend(self.foreign.namespaces());
        touched.extend(&parents);
        let above = if pending.is_empty() { Vec::new() } else { self.namespaces_above(pending, before) };
        touched.extend(&above);
        touched.into_iter().cloned().collect()
    }

    /// Returns the namespaces of all direct and indirect upper links and other ends. Skips deleted namespaces, because each of their
    /// links has a change of its own.
    fn namespaces_above(&self, mut pending: Vec<LinkId>, before: &Live) -> Vec<NamespaceName> {
        let gone: HashSet<&NamespaceName> = self.changes.iter().filter_map(deleted_namespace).collect();
        let staying = before.state.links.iter().filter(|(id, _)| !gone.contains(&id.namespace));
        let graph = LinkGraph::of(staying.map(|(id, link)| (id, &**link)));
        let mut seen: HashSet<LinkId> = pending.iter().cloned().collect();
        let mut namespaces = Vec::new();
        while let Some(link) = pending.pop() {
            for (id, _) in graph.removed_with(&link) {
                namespaces.push(id.namespace.clone());
                if seen.insert(id.clone()) {
                    pending.push(id.clone());
                }
            }
        }
        namespaces
    }
}

/// Returns the namespace if the change deletes it.
fn deleted_namespace(change: &Change) -> Option<&NamespaceName> {
    match &change.id {
        ResourceId::Namespace(namespace) => (change.action == Action::Delete).then_some(namespace),
        ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Object(_) | ResourceId::Part(..) => None,
    }
}

fn parent_namespace(id: &LinkId, link: &Link) -> Option<NamespaceName> {
    link.kind.parent().map(|parent| parent.resolve(&id.namespace).namespace)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::diff::ForeignChanges;

    const LAB: &str = "name: lab\nnamespaces: {a: , b: , c: {interfaces: {eth0: {addresses: [10.0.0.1/24]}}}}\n\
                       links: [{endpoints: [a:x, b:x]}, {endpoints: [c:eth0, b:y]}]\n";

    fn state(text: &str) -> (crate::name::LabName, crate::state::State) {
        let lab = crate::spec::load(text).lab.unwrap();
        let state = crate::lower::lower(&lab, &BTreeMap::new()).state;
        (lab.name, state)
    }

    /// Returns the namespaces that are touched when the selected resources are removed.
    fn touched(text: &str, of: impl Fn(&ResourceId) -> bool) -> Vec<String> {
        let (lab, state) = state(text);
        let live = Live { state, ..Live::default() };
        let changes = crate::diff::diff(&crate::state::State::default(), &live).unwrap();
        let changes = changes.changes.into_iter().filter(|change| of(&change.id)).collect();
        let plan = Plan { lab, changes, side_effects: Vec::new(), foreign: ForeignChanges::default(), steps: Vec::new() };
        plan.touched(&live).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_touches_only_its_namespace() {
        assert_eq!(touched(LAB, |id| matches!(id, ResourceId::Object(_))), ["c"]);
    }

    #[test]
    fn deleting_a_namespace_touches_the_upper_links_of_its_links() {
        let lab = "name: lab\nnamespaces:\n  a: {interfaces: {d0: {dummy: {}}}}\n  \
                   b: {interfaces: {m0: {macvlan: {parent: \"a:d0\", mode: bridge}}}}\n  \
                   c: {interfaces: {v0: {vlan: {parent: \"b:m0\", id: 7}}}}\n  d: {}\n";
        assert_eq!(touched(lab, |id| id.namespace().as_str() == "b"), ["a", "b", "c"]);
    }

    #[test]
    fn a_link_touches_the_namespace_of_the_other_end_of_its_pair() {
        assert_eq!(touched(LAB, |id| matches!(id, ResourceId::Link(link) if link.to_string() == "a:x")), ["a", "b"]);
    }
}
