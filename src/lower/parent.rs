//! What links stand on: parents and underlays found by name, circles explained.

use std::collections::BTreeMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::interface::{Interface, Table, all, find, unknown_namespace};
use super::sibling::{self, parent};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::kind::with_article;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Resolves every parent and underlay. Returns the links that have such.
pub(super) fn resolve(table: &mut Table<'_>, problems: &mut Problems) -> Vec<LinkId> {
    let ids: Vec<LinkId> = all(table).filter(|interface| has_references(interface)).map(|i| i.id.clone()).collect();
    for id in &ids {
        let parent = find(table, id).and_then(|interface| parent_of(table, interface, problems));
        let underlay = find(table, id).and_then(|interface| underlay_of(table, interface, parent.as_ref(), problems));
        let Some(interface) = table.get_mut(&id.namespace).and_then(|n| n.interfaces.get_mut(&id.name)) else { continue };
        if let Some(slot) = interface.link.kind.parent_slot() {
            *slot = parent.map(Into::into);
        }
        if let Some(slot) = interface.link.kind.underlay_slot() {
            *slot = underlay;
        }
    }
    ids
}

/// Reports circles, gives every link the parent that the kernel does if there are none, and checks what stands side by side.
/// `upper` are the links that stand on others.
pub(super) fn check(table: &mut Table<'_>, upper: &[LinkId], problems: &mut Problems) {
    let roots: Vec<(LinkId, LinkId)> = match report_circles(table, problems) {
        true => Vec::new(),
        false => upper.iter().filter_map(|id| Some((id.clone(), replaced_parent(table, find(table, id)?)?))).collect(),
    };
    for (id, root) in roots {
        let interface = table.get_mut(&id.namespace).and_then(|namespace| namespace.interfaces.get_mut(&id.name));
        if let Some(slot) = interface.and_then(|interface| interface.link.kind.parent_slot()) {
            *slot = Some(root.into());
        }
    }
    let upper: Vec<&Interface<'_>> = upper.iter().filter_map(|id| find(table, id)).collect();
    sibling::check(table, &upper, problems);
}

fn has_references(interface: &Interface<'_>) -> bool {
    interface.end.is_none() && (interface.link.kind.parent().is_some() || interface.link.kind.has_underlay())
}

fn parent_of(table: &Table<'_>, interface: &Interface<'_>, problems: &mut Problems) -> Option<LinkId> {
    let id = parent(interface)?;
    let path = || interface.kind_path("parent");
    let Some(namespace) = table.get(&id.namespace) else {
        unknown_namespace(table, path(), &id.namespace, problems);
        return None;
    };
    if id == interface.id {
        problems.error(path(), format!("`{id}` cannot be its own parent"));
        return None;
    }
    let Some(below) = namespace.interfaces.get(&id.name) else {
        known(namespace, id.name, path(), problems);
        return None;
    };
    if let Some(refusal) = interface.link.kind.refuses_parent(below.link.kind.name()) {
        let [upper, lower] = [interface, below].map(|interface| with_article(interface.link.kind.name()));
        let problem = problems.error(path(), format!("the parent of {upper} cannot be {lower}"));
        if let Some(hint) = refusal.hint {
            problem.hint(hint);
        }
    }
    Some(id)
}

/// What to do about an interface that does not exist.
fn absent_hint(id: &LinkId) -> String {
    if id.namespace.is_host() {
        format!("if it exists already, declare it under `host`: `{}: {{ external: true }}`", id.name)
    } else {
        format!("declare it under the `interfaces` of `{}`, or make it an endpoint of a link", id.namespace)
    }
}

fn underlay_of(
    table: &Table<'_>,
    interface: &Interface<'_>,
    parent: Option<&LinkId>,
    problems: &mut Problems,
) -> Option<NamespaceName> {
    if !interface.link.kind.has_underlay() {
        return None;
    }
    let given = interface.link.kind.underlay();
    if let Some(given) = given.filter(|given| !table.contains_key(given)) {
        unknown_namespace(table, interface.kind_path("underlay"), given, problems);
    }
    if let (Some(given), Some(parent)) = (given, parent)
        && *given != parent.namespace
    {
        let message = format!("parent `{parent}` is not in the underlay namespace `{given}`");
        problems.error(interface.kind_path("underlay"), message).hint("remove `underlay`; it defaults to the parent's namespace");
    }
    let own = || parent.map_or(&interface.id.namespace, |parent| &parent.namespace);
    Some(given.unwrap_or_else(own).clone())
}

/// What one link needs another for.
#[derive(Clone, Copy)]
enum Need {
    Parent,
    Port,
}

/// Reports links that stand on one another in a circle.
fn report_circles(table: &Table<'_>, problems: &mut Problems) -> bool {
    let mut graph: DiGraph<LinkId, Need> = DiGraph::new();
    let mut nodes: BTreeMap<LinkId, NodeIndex> = BTreeMap::new();
    // Whatever needs nothing ends a chain, so that it is in no circle.
    let stands_on_others = |interface: &Interface<'_>| interface.link.kind.takes_ports() || parent(interface).is_some();
    let needs = all(table).flat_map(|interface| {
        let parent = parent(interface).filter(|parent| find(table, parent).is_some_and(stands_on_others));
        let parent = parent.map(|parent| (interface.id.clone(), parent, Need::Parent));
        let master = interface.link.settings.master.filter(|_| stands_on_others(interface));
        let master = master.map(|master| (LinkId::new(&interface.id.namespace, master), interface.id.clone(), Need::Port));
        parent.into_iter().chain(master)
    });
    for (upper, lower, need) in needs {
        let mut node = |id: LinkId| *nodes.entry(id.clone()).or_insert_with(|| graph.add_node(id));
        let (upper, lower) = (node(upper), node(lower));
        graph.add_edge(upper, lower, need);
    }
    let mut found = false;
    for circle in tarjan_scc(&graph) {
        if circle.len() > 1 {
            found = true;
            report_circle(table, &graph, &circle, problems);
        }
    }
    found
}

fn report_circle(table: &Table<'_>, graph: &DiGraph<LinkId, Need>, members: &[NodeIndex], problems: &mut Problems) {
    let Some(start) = members.iter().copied().min_by_key(|node| &graph[*node]) else { return };
    let members: std::collections::BTreeSet<NodeIndex> = members.iter().copied().collect();
    let (mut words, mut at) = (Vec::new(), start);
    let mut visited = std::collections::BTreeSet::new();
    while visited.insert(at) {
        // The members of a circle each have a way on that stays inside of it.
        let Some(edge) = graph.edges(at).filter(|edge| members.contains(&edge.target())).min_by_key(EdgeRef::target) else {
            break;
        };
        let word = match edge.weight() {
            Need::Parent => "has parent",
            Need::Port => "has port",
        };
        words.push(format!("`{}` {word} `{}`", graph[at], graph[edge.target()]));
        at = edge.target();
    }
    let Some(interface) = find(table, &graph[start]) else { return };
    let path = match interface.link.kind.takes_ports() {
        true => interface.kind_path("ports"),
        false => interface.kind_path("parent"),
    };
    problems.error(path, format!("circular link dependency: {}", words.join(", "))).hint("give one of them another parent");
}

/// The parent that the kernel gives a link instead of its own: the next one below of a kind that can stay.
fn replaced_parent(table: &Table<'_>, interface: &Interface<'_>) -> Option<LinkId> {
    let (first, replaces) =
        (parent(interface)?, |below: &&Interface<'_>| interface.link.kind.replaces_parent(below.link.kind.name()));
    let mut root = first.clone();
    // There are no circles.
    while let Some(below) = find(table, &root).filter(replaces) {
        root = parent(below)?;
    }
    (root != first).then_some(root)
}

/// Whether `name` names an interface of the namespace; otherwise that is reported.
pub(super) fn known(namespace: &super::interface::Namespace<'_>, name: LinkName, path: Path, problems: &mut Problems) -> bool {
    if namespace.interfaces.contains_key(&name) {
        return true;
    }
    let id = LinkId::new(&namespace.name, name);
    let names = namespace.names();
    let message = format!("interface `{id}` is not declared");
    let problem = problems.unknown(path, message, &name.as_str(), names.iter().map(String::as_str));
    problem.needs_all(namespace.name_parts()).hint.get_or_insert_with(|| absent_hint(&id));
    false
}
