//! The dependencies of a plan: each change, and the changes that it needs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Edge, EdgeKind, End, Node, NodeKind, Picture};
use crate::diff::{Action, Change, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::plan::Plan;
use crate::report::text;
use crate::resource::link::Link;
use crate::resource::node::{Part, PartKey};
use crate::resource::object::Verdict;
use crate::resource::object::table::{Inspect, Registered, Verdicts};
use crate::state::ResourceId;

/// Returns the changes of a plan with what each needs: a link its namespace, its parent, the other end of its pair and its ports, an
/// object or a sysctl its links, a part of a node the node, and a process those that it comes after. What does not change is left out.
pub fn dependencies(plan: &Plan) -> Picture {
    let positions: BTreeMap<&ResourceId, usize> =
        plan.changes.iter().enumerate().map(|(position, change)| (&change.id, position)).collect();
    let mut edges = BTreeSet::new();
    for (position, change) in plan.changes.iter().enumerate() {
        let needed = needs(change).into_iter().filter_map(|id| positions.get(&id).copied());
        edges.extend(needed.filter(|needed| *needed != position).map(|needed| (position, needed)));
    }
    let end = |node| End { node, interface: None, link: None, addresses: Vec::new() };
    let edge = |(one, other)| Edge {
        kind: EdgeKind::Needs,
        ends: [end(one), end(other)],
        label: Vec::new(),
        condition: None,
        is_idle: false,
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let nodes = plan.changes.iter().map(|change| {
        let mut node = node(change);
        // Routes may differ in what their titles do not say.
        let count = seen.entry(node.id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            node.id = format!("{} ({count})", node.id);
        }
        node
    });
    let nodes = nodes.collect();
    Picture { nodes, edges: without_shortcuts(&edges, plan.changes.len()).into_iter().map(edge).collect(), is_directed: true }
}

fn node(change: &Change) -> Node {
    let condition = match change.action {
        Action::Create => Condition::Added,
        Action::Update | Action::Replace => Condition::Changed,
        Action::Delete => Condition::Destroyed,
    };
    let fields = change.fields();
    let fields = fields.iter().map(|field| format!("{}: {} -> {}", field.name, field.before, field.after));
    Node {
        id: text::subject(change),
        kind: NodeKind::Change,
        title: format!("{} {}", text::symbol(change.action).trim(), change.title()),
        lines: std::iter::once(format!("in {}", change.id.namespace())).chain(fields).collect(),
        condition: Some(condition),
        is_idle: false,
        changes: change.reason.iter().cloned().collect(),
        details: String::new(),
    }
}

fn needs(change: &Change) -> Vec<ResourceId> {
    let namespace = change.id.namespace();
    let link_in = |link: LinkName| ResourceId::Link(LinkId::new(namespace, link));
    let mut needs = vec![ResourceId::Namespace(namespace.clone())];
    match (&change.id, &change.subject) {
        (ResourceId::Link(id), Subject::Link(sides, _)) => {
            let sides = [&sides.before, &sides.after].into_iter().flatten();
            sides.for_each(|link| needs.extend(of_link(id, link)));
        }
        (ResourceId::Sysctl(_, key), _) => needs.extend(key.link().map(link_in)),
        (_, Subject::Object(object)) => needs.extend(object.inspect(Linked).into_iter().map(link_in)),
        (ResourceId::Part(_, key), Subject::Part(sides)) => {
            needs.extend((*key != PartKey::Node).then(|| ResourceId::Part(namespace.clone(), PartKey::Node)));
            if let Some(Part::Process(process)) = &sides.after {
                let earlier = process.definition.after.iter().map(|name| PartKey::Process(name.clone()));
                needs.extend(earlier.map(|key| ResourceId::Part(namespace.clone(), key)));
            }
        }
        _ => {}
    }
    needs
}

/// The second end of a pair is made with the first. A port needs its master for its options alone; both are made before it joins.
fn of_link(id: &LinkId, link: &Link) -> Vec<ResourceId> {
    let other = link.kind.parent().map(|parent| parent.resolve(&id.namespace));
    let other = other.filter(|other| link.kind.peer().is_none() || other < id);
    let master = link.settings.master.map(|master| LinkId::new(&id.namespace, master));
    other.into_iter().chain(master).map(ResourceId::Link).collect()
}

/// The links of an object.
pub(super) struct Linked;

impl<'v> Inspect<'v, Verdicts> for Linked {
    type Result = Vec<LinkName>;
    fn inspect<O: Registered>(self, (_, verdict): &'v (NamespaceName, Verdict<O>)) -> Vec<LinkName> {
        let sides = [&verdict.before, &verdict.after].into_iter().flatten();
        let links: BTreeSet<_> = sides.flat_map(|value| O::links(&verdict.key, value)).flatten().collect();
        links.into_iter().collect()
    }
}

/// Leaves out edges from a change to what it needs by way of another one, too. A circle keeps all of its edges.
fn without_shortcuts(edges: &BTreeSet<(usize, usize)>, count: usize) -> Vec<(usize, usize)> {
    let mut needed: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (one, other) in edges {
        needed[*one].push(*other);
    }
    let reaches = |from: usize, to: usize| {
        let (mut seen, mut pending) = (BTreeSet::new(), needed[from].clone());
        while let Some(node) = pending.pop() {
            if node == to {
                return true;
            }
            if seen.insert(node) {
                pending.extend(&needed[node]);
            }
        }
        false
    };
    let is_direct = |(one, other): &&(usize, usize)| {
        needed[*one].iter().all(|way| way == other || reaches(*other, *way) || !reaches(*way, *other))
    };
    edges.iter().filter(is_direct).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::from_nothing;

    #[test]
    fn changes_need_what_they_stand_on() {
        let plan = from_nothing(
            "namespaces: { a: { interfaces: { eth0: { addresses: [10.0.0.1/24] } }, routes: [{ to: default, via: 10.0.0.2 }] }, b: {} }\n\
             links: [{ endpoints: [a:eth0, b:eth0] }]",
        );
        let picture = dependencies(&plan);
        let edges = picture.edges.iter().map(|edge| edge.nodes().map(|node| picture.nodes[node].id.as_str()));
        let edges: Vec<_> = edges.map(|[one, other]| format!("{one} -> {other}")).collect();
        let expected = [
            "a veth eth0 -> namespace a",
            "b veth eth0 -> namespace b",
            "b veth eth0 -> a veth eth0",
            "a address 10.0.0.1/24 on eth0 -> a veth eth0",
            "a route default -> a veth eth0",
        ];
        assert_eq!(edges, expected);
    }

    #[test]
    fn shortcuts_are_left_out() {
        let edges = BTreeSet::from([(2, 1), (1, 0), (2, 0)]);
        assert_eq!(without_shortcuts(&edges, 3), [(1, 0), (2, 1)]);
        let circle = BTreeSet::from([(0, 1), (1, 0)]);
        assert_eq!(without_shortcuts(&circle, 2), [(0, 1), (1, 0)]);
    }
}
