//! Topological order of steps by their dependencies, and detection of cycles.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

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
