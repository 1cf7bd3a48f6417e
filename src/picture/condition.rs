//! Colours a topology by the changes that would make the live network what the file says.

use std::collections::BTreeSet;

use super::dependencies::Linked;
use super::{Condition, EdgeKind, Picture, Topology};
use crate::diff::{Action, Change, Subject};
use crate::name::LinkId;
use crate::report::text;
use crate::state::ResourceId;

/// Marks nodes and edges with the changes that they need. Everything else is as the file says.
pub fn mark(topology: &mut Topology, changes: &[Change]) {
    let picture = &mut topology.picture;
    picture.nodes.iter_mut().for_each(|node| node.condition = Some(Condition::Same));
    for (position, edge) in picture.edges.iter_mut().enumerate() {
        let is_replaced = topology.replaced.contains(&position);
        edge.condition = Some(if is_replaced { Condition::Extra } else { Condition::Same });
    }
    for change in changes {
        let condition = of(change.action);
        match &change.id {
            ResourceId::Namespace(namespace) => {
                let nodes = topology.nodes_in(namespace);
                for node in &nodes {
                    raise_node(&mut topology.picture, *node, condition);
                }
                add(topology, nodes.first().copied(), change);
            }
            ResourceId::Link(id) => link(topology, id, condition, change),
            ResourceId::Sysctl(namespace, key) => {
                let on_link = key.link().and_then(|link| topology.owner(&LinkId::new(namespace, link)));
                within(topology, on_link.or_else(|| topology.namespaces.get(namespace).copied()), change);
            }
            ResourceId::Object(_) | ResourceId::Part(..) => {
                let links = if let Subject::Object(object) = &change.subject { object.inspect(Linked) } else { Vec::new() };
                let on_link = links.first().and_then(|link| topology.owner(&LinkId::new(change.id.namespace(), *link)));
                let node = on_link.or_else(|| topology.nodes_in(change.id.namespace()).first().copied());
                within(topology, node, change);
            }
        }
    }
}

/// Marks links that are down or have no carrier. What is not there is neither.
pub fn mark_idle(topology: &mut Topology, idle: &BTreeSet<LinkId>) {
    let Topology { picture, edges, segments, .. } = topology;
    for id in idle {
        for position in edges.get(id).into_iter().flatten() {
            let edge = &mut picture.edges[*position];
            edge.is_idle = edge.condition != Some(Condition::Missing) && edge.kind != EdgeKind::Inside;
        }
        if let Some(node) = segments.get(id) {
            let node = &mut picture.nodes[*node];
            node.is_idle = node.condition != Some(Condition::Missing);
        }
    }
}

fn of(action: Action) -> Condition {
    match action {
        Action::Create => Condition::Missing,
        Action::Delete => Condition::Extra,
        Action::Update | Action::Replace => Condition::Changed,
    }
}

/// A link is a node of its own, or edges, or a line of its namespace.
fn link(topology: &mut Topology, id: &LinkId, condition: Condition, change: &Change) {
    let edges = topology.edges.get(id).cloned().unwrap_or_default();
    for edge in &edges {
        let edge = &mut topology.picture.edges[*edge];
        edge.condition = edge.condition.max(Some(condition));
    }
    match topology.segments.get(id).copied() {
        Some(node) => {
            raise_node(&mut topology.picture, node, condition);
            add(topology, Some(node), change);
        }
        None => within(topology, topology.owner(id), change),
    }
}

/// Something within a node differs.
fn within(topology: &mut Topology, node: Option<usize>, change: &Change) {
    if let Some(node) = node {
        raise_node(&mut topology.picture, node, Condition::Changed);
        add(topology, Some(node), change);
    }
}

fn raise_node(picture: &mut Picture, node: usize, condition: Condition) {
    let node = &mut picture.nodes[node];
    node.condition = node.condition.max(Some(condition));
}

fn add(topology: &mut Topology, node: Option<usize>, change: &Change) {
    if let Some(node) = node {
        topology.picture.nodes[node].changes.push(format!("{} {}", text::symbol(change.action).trim(), text::subject(change)));
    }
}
