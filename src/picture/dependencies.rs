//! The dependencies of a plan: each change, and the changes that it needs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Edge, EdgeKind, End, Node, NodeKind, Picture};
use crate::diff::{Action, Change, Subject};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::report::text;
use crate::resource::link::Link;
use crate::resource::node::{Part, PartKey};
use crate::resource::object::Verdict;
use crate::resource::object::table::{Inspect, Registered, Verdicts};
use crate::state::ResourceId;

/// Returns the changes of a plan with what each needs: a link its namespace, its parent, its master and the first end of its pair, an
/// object or a sysctl its links, a part of a node the node, and a process those that it comes after. What does not change is left out.
pub fn dependencies(plan: &Plan) -> Picture {
    let positions: BTreeMap<&ResourceId, usize> =
        plan.changes.iter().enumerate().map(|(position, change)| (&change.id, position)).collect();
    let creations = plan.steps.iter().filter_map(|step| match &step.operation {
        Operation::CreateLink(new) => Some(&new.handle.id),
        _ => None,
    });
    let first_ends: BTreeSet<&LinkId> = creations.collect();
    let mut edges = BTreeSet::new();
    for (position, change) in plan.changes.iter().enumerate() {
        let needed = needs(change, &first_ends).into_iter().filter_map(|id| positions.get(&id).copied());
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

/// `first_ends` are the links that operations create; the other ends of pairs come with them.
fn needs(change: &Change, first_ends: &BTreeSet<&LinkId>) -> Vec<ResourceId> {
    let namespace = change.id.namespace();
    let link_in = |link: LinkName| ResourceId::Link(LinkId::new(namespace, link));
    let mut needs = vec![ResourceId::Namespace(namespace.clone())];
    match (&change.id, &change.subject) {
        (ResourceId::Link(id), Subject::Link(sides, _)) => {
            let sides = [&sides.before, &sides.after].into_iter().flatten();
            sides.for_each(|link| needs.extend(of_link(id, link, first_ends)));
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

/// A link needs its parent and its master, and the second end of a pair the first.
fn of_link(id: &LinkId, link: &Link, first_ends: &BTreeSet<&LinkId>) -> Vec<ResourceId> {
    let other = link.kind.parent().map(|parent| parent.resolve(&id.namespace));
    let is_first = |other: &LinkId| match (first_ends.contains(other), first_ends.contains(id)) {
        (true, false) => true,
        (false, true) => false,
        _ => other < id,
    };
    let other = other.filter(|other| link.kind.peer().is_none() || is_first(other));
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
        needed[*one].iter().all(|step| step == other || reaches(*other, *step) || !reaches(*step, *other))
    };
    edges.iter().filter(is_direct).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Step, from_nothing};

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

    /// What a change needs is done first.
    #[test]
    fn no_arrow_contradicts_the_order_of_the_operations() {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
        let mut arrows = 0;
        for path in std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let body: String = text.lines().filter(|line| !line.starts_with("name:")).map(|line| format!("{line}\n")).collect();
            let plan = from_nothing(&body);
            let creates = |operation: &Operation, id: &ResourceId| match operation {
                Operation::CreateLink(new) => {
                    new.peer.as_ref().is_some_and(|peer| ResourceId::Link(peer.handle.id.clone()) == *id)
                }
                _ => false,
            };
            let is_of = |step: &Step, node| step.change == Some(node) || creates(&step.operation, &plan.changes[node].id);
            let first = |node: usize| plan.steps.iter().position(|step| is_of(step, node));
            // The second end of a pair joins its master in an operation of its own.
            let own = |node: usize| plan.steps.iter().position(|step| step.change == Some(node)).or_else(|| first(node));
            for [one, other] in dependencies(&plan).edges.iter().map(Edge::nodes) {
                if let (Some(one), Some(other)) = (own(one), first(other)) {
                    assert!(other <= one, "{}: {:?} before {:?}", path.display(), plan.steps[one], plan.steps[other]);
                    arrows += 1;
                }
            }
        }
        assert!(arrows > 100, "{arrows}");
    }

    #[test]
    fn shortcuts_are_left_out() {
        let edges = BTreeSet::from([(2, 1), (1, 0), (2, 0)]);
        assert_eq!(without_shortcuts(&edges, 3), [(1, 0), (2, 1)]);
        let circle = BTreeSet::from([(0, 1), (1, 0)]);
        assert_eq!(without_shortcuts(&circle, 2), [(0, 1), (1, 0)]);
    }
}
