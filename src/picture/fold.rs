//! Folds nodes with a single edge into a block with their neighbour, so that a network of hundreds of hosts is a picture of its routers and
//! switches.

use std::cmp::Ordering;

use super::size::{self, Size};
use super::{NodeKind, Picture};

/// A neighbour with at least so many nodes that have no other edge is folded with them.
const FEWEST: usize = 4;
/// In smaller pictures there is room for all.
const MOST_UNFOLDED: usize = 12;
/// The distance of nodes within a block.
const GAP: f64 = 6.0;
/// The space between a block and its nodes.
pub const MARGIN: f64 = 8.0;
/// The width of a block in parts of its height.
const SHAPE: f64 = 1.6;

/// Nodes that are placed together.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its size.
    pub size: Size,
    /// The nodes, the first of which has edges to other blocks.
    pub members: Vec<Member>,
}

/// A node in a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// The position in the picture.
    pub node: usize,
    /// The centre, from the centre of the block.
    pub offset: [f64; 2],
    /// The size.
    pub size: Size,
}

/// Divides the nodes of a picture into blocks.
pub fn fold(picture: &Picture) -> Vec<Block> {
    let leaves = leaves(picture);
    let folded: std::collections::BTreeSet<usize> = leaves.iter().flatten().copied().collect();
    let shown = (0..picture.nodes.len()).filter(|node| !folded.contains(node));
    shown.map(|node| block(picture, node, &leaves[node])).collect()
}

/// Returns the nodes that are folded into each node.
fn leaves(picture: &Picture) -> Vec<Vec<usize>> {
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); picture.nodes.len()];
    for [one, other] in picture.edges.iter().map(super::Edge::nodes) {
        neighbours[one].push(other);
        neighbours[other].push(one);
    }
    let mut leaves: Vec<Vec<usize>> = vec![Vec::new(); picture.nodes.len()];
    if picture.is_directed || picture.nodes.len() <= MOST_UNFOLDED {
        return leaves;
    }
    for (node, connected) in neighbours.iter().enumerate() {
        if let [neighbour] = connected[..]
            && neighbours[neighbour].len() > 1
            && picture.nodes[node].kind == NodeKind::Namespace
        {
            leaves[neighbour].push(node);
        }
    }
    leaves.iter_mut().filter(|leaves| leaves.len() < FEWEST).for_each(Vec::clear);
    let by_number = |one: &usize, other: &usize| by_number(&picture.nodes[*one].title, &picture.nodes[*other].title);
    for leaves in &mut leaves {
        leaves.sort_by(by_number);
    }
    leaves
}

/// Compares names so that `h2` comes before `h10`.
fn by_number(one: &str, other: &str) -> Ordering {
    let split = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (mut one, mut other) = (one, other);
    while let (Some(a), Some(b)) = (one.chars().next(), other.chars().next()) {
        let order = match (split(one), split(other)) {
            (0, _) | (_, 0) if a == b => {
                (one, other) = (&one[a.len_utf8()..], &other[b.len_utf8()..]);
                continue;
            }
            (0, _) | (_, 0) => a.cmp(&b),
            (x, y) => {
                let (digits, others) = (one[..x].trim_start_matches('0'), other[..y].trim_start_matches('0'));
                (one, other) = (&one[x..], &other[y..]);
                digits.len().cmp(&others.len()).then(digits.cmp(others))
            }
        };
        if order.is_ne() {
            return order;
        }
    }
    one.cmp(other)
}

/// Places the leaves in rows below their neighbour.
fn block(picture: &Picture, node: usize, leaves: &[usize]) -> Block {
    let at = &picture.nodes[node];
    let lines = if leaves.is_empty() { size::own_lines(at) } else { size::head_lines(at) };
    let head = size::of_box(at, &lines);
    if leaves.is_empty() {
        return Block { size: head, members: vec![Member { node, offset: [0.0, 0.0], size: head }] };
    }
    let sizes = leaves.iter().map(|leaf| size::of_box(&picture.nodes[*leaf], &size::folded_lines(&picture.nodes[*leaf])));
    let cell = sizes
        .fold(Size::default(), |one, other| Size { width: one.width.max(other.width), height: one.height.max(other.height) });
    let area = leaves.len() as f64 * (cell.width + GAP) * (cell.height + GAP);
    let columns = ((area * SHAPE).sqrt() / (cell.width + GAP)).round().clamp(1.0, leaves.len() as f64);
    let rows = (leaves.len() as f64 / columns).ceil();
    let grid = Size { width: columns * (cell.width + GAP) - GAP, height: rows * (cell.height + GAP) - GAP };
    let size = Size { width: grid.width.max(head.width) + 2.0 * MARGIN, height: head.height + GAP + grid.height + 2.0 * MARGIN };
    let top = -size.height / 2.0 + MARGIN;
    let mut members = vec![Member { node, offset: [0.0, top + head.height / 2.0], size: head }];
    let (mut column, mut row) = (0.0, 0.0);
    for leaf in leaves {
        let x = -grid.width / 2.0 + column * (cell.width + GAP) + cell.width / 2.0;
        let y = top + head.height + GAP + row * (cell.height + GAP) + cell.height / 2.0;
        members.push(Member { node: *leaf, offset: [x, y], size: cell });
        (column, row) = if column + 1.0 < columns { (column + 1.0, row) } else { (0.0, row + 1.0) };
    }
    Block { size, members }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_their_numbers() {
        let mut names = ["h10", "h2", "h1-10", "h1-2", "a", "h02", "h", "ü9", "ü10"];
        names.sort_by(|one, other| by_number(one, other));
        assert_eq!(names, ["a", "h", "h1-2", "h1-10", "h2", "h02", "h10", "ü9", "ü10"]);
    }
}
