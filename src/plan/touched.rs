//! Where a plan leaves traces: the namespaces that must be looked at again once it has been carried out.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use crate::name::{LinkId, NamespaceName};
use crate::resource::link::Link;
use crate::state::{Live, Resource, ResourceId};

impl Plan {
    /// The namespaces in which something changes, if only because the kernel lets links follow those that they stand on, or the
    /// other end of a pair. `before` is what the plan was made from.
    pub fn touched(&self, before: &Live) -> BTreeSet<NamespaceName> {
        let mut touched: BTreeSet<NamespaceName> = BTreeSet::new();
        let mut links: Vec<LinkId> = Vec::new();
        for change in &self.changes {
            if !touched.contains(change.id.namespace()) {
                touched.insert(change.id.namespace().clone());
            }
            if let ResourceId::Link(id) = &change.id {
                links.push(id.clone());
                for link in [&change.before, &change.after] {
                    touched.extend(link.as_ref().and_then(|link| below(id, link)).map(|below| below.namespace));
                }
            }
        }
        if !links.is_empty() {
            follow(links, before, &mut touched);
        }
        touched
    }
}

/// Adds where links stand on these, and on those in turn.
fn follow(mut links: Vec<LinkId>, before: &Live, touched: &mut BTreeSet<NamespaceName>) {
    let mut above: BTreeMap<LinkId, Vec<&LinkId>> = BTreeMap::new();
    for (id, link) in before.state.links() {
        if let Some(below) = link.kind.parent() {
            above.entry(below.resolve(&id.namespace)).or_default().push(id);
        }
    }
    while let Some(link) = links.pop() {
        // Each link is followed once: the two ends of a pair stand on each other.
        for id in above.remove(&link).into_iter().flatten() {
            touched.insert(id.namespace.clone());
            links.push(id.clone());
        }
    }
}

fn below(id: &LinkId, resource: &Resource) -> Option<LinkId> {
    let parent = |link: &Link| link.kind.parent().map(|below| below.resolve(&id.namespace));
    match resource {
        Resource::Link(link) => parent(link),
        Resource::Namespace | Resource::Sysctl(_) | Resource::Address(_) | Resource::Route(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{Action, Change};

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
    fn a_link_touches_where_the_other_end_of_its_pair_is() {
        assert_eq!(touched(|id| matches!(id, ResourceId::Link(link) if link.to_string() == "a:x")), ["a", "b"]);
    }
}
