//! What links stand on: parents and underlays found by name, circles explained.

use super::interface::{Interface, Table, all, find, unknown_namespace};
use super::sibling::{self, parent};
use crate::graph::{LinkGraph, Relation};
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

/// Reports links that need one another in a circle.
fn report_circles(table: &Table<'_>, problems: &mut Problems) -> bool {
    // A link that needs no other one is in no circle.
    let needs_others = |interface: &&Interface<'_>| interface.link.kind.takes_ports() || parent(interface).is_some();
    let graph = LinkGraph::of(all(table).filter(needs_others).map(|interface| (&interface.id, &*interface.link)));
    let circles = graph.circles();
    for circle in &circles {
        report_circle(table, circle, problems);
    }
    !circles.is_empty()
}

fn report_circle(table: &Table<'_>, circle: &[(&LinkId, Relation)], problems: &mut Problems) {
    let next = circle.iter().cycle().skip(1);
    let words = circle.iter().zip(next).map(|((link, relation), (needed, _))| {
        let relation = match relation {
            Relation::Parent | Relation::Peer => "has parent",
            Relation::Port => "has port",
        };
        format!("`{link}` {relation} `{needed}`")
    });
    let words: Vec<_> = words.collect();
    let Some(interface) = circle.first().and_then(|(first, _)| find(table, first)) else { return };
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
