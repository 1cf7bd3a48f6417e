//! Dependencies: the graph of links, dependency cycles, and the topological order of steps.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::name::LinkId;
use crate::resource::link::Link;
use crate::state::State;

/// The role of a link on which another link depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The parent.
    Parent,
    /// The other end of a pair.
    Peer,
    /// A port of the dependent link.
    Port,
}

/// The dependencies between links. Edges lead from the dependent link to the required one.
pub struct LinkGraph {
    graph: DiGraph<LinkId, Relation>,
    nodes: HashMap<LinkId, NodeIndex>,
}

impl LinkGraph {
    /// Builds the graph of these links. Required links may be missing among them.
    pub fn of<'s>(links: impl Iterator<Item = (&'s LinkId, &'s Link)>) -> Self {
        let mut this = Self { graph: DiGraph::new(), nodes: HashMap::new() };
        for (id, link) in links {
            let relation = if link.kind.peer().is_some() { Relation::Peer } else { Relation::Parent };
            if let Some(parent) = link.kind.parent() {
                this.connect(id, &parent.resolve(&id.namespace), relation);
            }
            if let Some(master) = link.settings.master {
                this.connect(&LinkId::new(&id.namespace, master), id, Relation::Port);
            }
        }
        this
    }

    /// Builds the graph of all links of a state.
    pub fn of_state(state: &State) -> Self {
        Self::of(state.links.iter().map(|(id, link)| (id, &**link)))
    }

    fn connect(&mut self, link: &LinkId, required: &LinkId, relation: Relation) {
        let (link, required) = (self.node(link), self.node(required));
        self.graph.add_edge(link, required, relation);
    }

    fn node(&mut self, id: &LinkId) -> NodeIndex {
        match self.nodes.get(id) {
            Some(node) => *node,
            None => {
                let node = self.graph.add_node(id.clone());
                self.nodes.insert(id.clone(), node);
                node
            }
        }
    }

    fn edges(&self, id: &LinkId, direction: Direction) -> impl Iterator<Item = (&LinkId, Relation)> {
        let edges = self.nodes.get(id).into_iter().flat_map(move |node| self.graph.edges_directed(*node, direction));
        edges.map(move |edge| {
            let other = if direction == Direction::Incoming { edge.source() } else { edge.target() };
            (&self.graph[other], *edge.weight())
        })
    }

    /// Returns the links that the kernel removes together with this link: its upper links and the other end of its pair.
    pub fn removed_with(&self, id: &LinkId) -> impl Iterator<Item = (&LinkId, Relation)> {
        self.above(id).filter(|(_, relation)| *relation != Relation::Port)
    }

    /// The links that need this one, and for what.
    pub fn above(&self, id: &LinkId) -> impl Iterator<Item = (&LinkId, Relation)> {
        self.edges(id, Direction::Incoming)
    }

    /// The ports of a link.
    pub fn ports(&self, id: &LinkId) -> impl Iterator<Item = &LinkId> {
        self.edges(id, Direction::Outgoing).filter(|(_, relation)| *relation == Relation::Port).map(|(port, _)| port)
    }

    /// Returns the dependent links: upper links, the other end of the pair, and the master.
    pub fn dependents(&self, id: &LinkId) -> impl Iterator<Item = &LinkId> {
        self.edges(id, Direction::Incoming).map(|(dependent, _)| dependent)
    }

    /// Returns circular dependencies: each link depends on the next, and the last depends on the first. Returns one of several circles
    /// that share links, starting at the link with the lowest name if that is in it. The two ends of a pair do not count as a circle.
    pub fn circles(&self) -> Vec<Vec<(&LinkId, Relation)>> {
        let graph = self.graph.filter_map(|_, id| Some(id), |_, relation| Some(*relation).filter(|r| *r != Relation::Peer));
        let components = tarjan_scc(&graph).into_iter().filter(|component| component.len() > 1);
        components.map(|component| circle(&graph, &component)).collect()
    }
}

/// Returns a circle of a strongly connected component.
fn circle<'g>(graph: &DiGraph<&'g LinkId, Relation>, component: &[NodeIndex]) -> Vec<(&'g LinkId, Relation)> {
    let members: BTreeSet<NodeIndex> = component.iter().copied().collect();
    let mut path: Vec<(NodeIndex, Relation)> = Vec::new();
    let mut at = component.iter().copied().min_by_key(|node| graph[*node]);
    while let Some(node) = at {
        if let Some(first) = path.iter().position(|(earlier, _)| *earlier == node) {
            path.drain(..first);
            break;
        }
        // Each member has an edge to another member.
        let next = graph.edges(node).filter(|edge| members.contains(&edge.target())).min_by_key(EdgeRef::target);
        path.extend(next.map(|edge| (node, *edge.weight())));
        at = next.map(|edge| edge.target());
    }
    path.into_iter().map(|(node, relation)| (graph[node], relation)).collect()
}

/// A dependency cycle, as indices of steps: each requires the next, and the last requires the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<usize>);

/// Orders `ranks.len()` steps so that each comes after all steps that it requires; independent steps by rank, then by position.
/// `dependencies` contains pairs (step, required step).
///
/// # Errors
/// Returns a cycle, if there is one.
pub fn order<R: Ord>(ranks: &[R], dependencies: &[(usize, usize)]) -> Result<Vec<usize>, Cycle> {
    let mut graph: DiGraph<usize, ()> = DiGraph::with_capacity(ranks.len(), dependencies.len());
    let nodes: Vec<NodeIndex> = (0..ranks.len()).map(|position| graph.add_node(position)).collect();
    for &(step, required) in dependencies {
        graph.add_edge(nodes[required], nodes[step], ());
    }
    let mut waiting: Vec<usize> = nodes.iter().map(|node| graph.edges_directed(*node, Direction::Incoming).count()).collect();
    let ready = (0..ranks.len()).filter(|&position| waiting[position] == 0);
    let mut ready: BinaryHeap<_> = ready.map(|position| Reverse((&ranks[position], position))).collect();
    let mut order = Vec::with_capacity(ranks.len());
    while let Some(Reverse((_, position))) = ready.pop() {
        order.push(position);
        for next in graph.neighbors_directed(nodes[position], Direction::Outgoing) {
            let next = graph[next];
            waiting[next] -= 1;
            if waiting[next] == 0 {
                ready.push(Reverse((&ranks[next], next)));
            }
        }
    }
    if order.len() == ranks.len() { Ok(order) } else { Err(find_cycle(&graph)) }
}

/// Finds a cycle in a graph whose edges lead from required steps to dependent ones.
fn find_cycle(graph: &DiGraph<usize, ()>) -> Cycle {
    let cyclic =
        tarjan_scc(graph).into_iter().find(|component| component.len() > 1 || graph.contains_edge(component[0], component[0]));
    let Some(component) = cyclic else { return Cycle(Vec::new()) };
    let mut path = vec![component[0]];
    loop {
        let here = path[path.len() - 1];
        let mut required = graph.neighbors_directed(here, Direction::Incoming);
        let Some(next) = required.find(|node| component.contains(node)) else { return Cycle(Vec::new()) };
        if let Some(start) = path.iter().position(|node| *node == next) {
            return Cycle(path[start..].iter().map(|node| graph[*node]).collect());
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_then_ranks_decide() {
        assert_eq!(order(&[2, 1, 0, 1], &[(2, 0)]).unwrap(), [1, 3, 0, 2]);
    }

    #[test]
    fn a_cycle_is_reported_in_the_order_of_dependencies() {
        let Cycle(cycle) = order(&[0, 0, 0, 0], &[(0, 1), (1, 2), (2, 0), (3, 0)]).unwrap_err();
        assert_eq!(cycle.len(), 3);
        let after = |position: usize| cycle[(cycle.iter().position(|&p| p == position).unwrap() + 1) % 3];
        assert_eq!((after(0), after(1), after(2)), (1, 2, 0));
    }
}
