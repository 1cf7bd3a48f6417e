//! Places the blocks of a picture: each connected part by itself, and the parts beside each other.

mod pack;
mod separate;
mod stress;
mod tiers;

use std::collections::BTreeMap;

use super::fold::{self, Block};
use super::size::Size;
use super::{Node, Picture};

/// How blocks are placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// By distance: that of two nodes in the picture is about that in the network.
    #[default]
    Distance,
    /// In rows: hosts at the bottom, what connects them above.
    Tiers,
}

/// A point, in CSS pixels.
pub type Point = [f64; 2];

/// A picture with a place for each node.
#[derive(Debug, Clone)]
pub struct Placed<'p> {
    /// The picture.
    pub picture: &'p Picture,
    /// The size of the whole.
    pub size: Size,
    /// The blocks with their centres.
    pub blocks: Vec<(Block, Point)>,
    /// The centre and the size of each node.
    pub nodes: Vec<(Point, Size)>,
    /// The block of each node.
    pub block_of: Vec<usize>,
}

impl Placed<'_> {
    /// Returns whether the node is folded into the block of another one.
    pub fn is_folded(&self, node: usize) -> bool {
        self.folded_into(node).is_some()
    }

    /// Returns the place of a node with all that is folded into it: that is where its edges end.
    pub fn extent(&self, node: usize) -> (Point, Size) {
        let (block, centre) = &self.blocks[self.block_of[node]];
        if self.is_folded(node) { self.nodes[node] } else { (*centre, block.size) }
    }

    /// Returns the node into whose block a node is folded.
    pub fn folded_into(&self, node: usize) -> Option<usize> {
        let head = self.blocks[self.block_of[node]].0.members[0].node;
        (head != node).then_some(head)
    }

    /// Returns the lines that the box of a node shows.
    pub fn lines(&self, position: usize, node: &Node) -> Vec<String> {
        match self.blocks[self.block_of[position]].0.members.len() {
            1 => super::size::own_lines(node),
            _ if self.is_folded(position) => super::size::folded_lines(node),
            _ => super::size::head_lines(node),
        }
    }
}

/// What is placed: the sizes of blocks, and pairs of connected ones.
pub struct Task {
    /// The sizes.
    pub sizes: Vec<Size>,
    /// The edges, each pair once. Of a directed picture, from what needs to what is needed.
    pub edges: Vec<[usize; 2]>,
    /// The space that the labels of each edge need.
    pub room: Vec<f64>,
    /// Whether edges have a direction.
    pub is_directed: bool,
    /// Whether a block is a host, or has some.
    pub has_hosts: Vec<bool>,
}

/// Larger networks are placed in rows: the time and the memory for distances grow with the square of the number of blocks.
const MOST_BY_DISTANCE: usize = 2000;
/// The size of a picture with nothing in it.
const EMPTY: Size = Size { width: 160.0, height: 60.0 };
/// The space around the picture.
const MARGIN: f64 = 24.0;

/// Places a picture.
pub fn arrange(picture: &Picture, arrangement: Arrangement) -> Placed<'_> {
    let blocks = fold::fold(picture);
    let mut block_of = vec![0; picture.nodes.len()];
    for (position, block) in blocks.iter().enumerate() {
        block.members.iter().for_each(|member| block_of[member.node] = position);
    }
    let mut edges: BTreeMap<[usize; 2], f64> = BTreeMap::new();
    for edge in &picture.edges {
        let [one, other] = edge.nodes().map(|node| block_of[node]);
        if one != other {
            let ends = if picture.is_directed { [one, other] } else { [one.min(other), one.max(other)] };
            let room = edges.entry(ends).or_default();
            *room = room.max(super::size::of_labels(picture, edge));
        }
    }
    let sizes: Vec<Size> = blocks.iter().map(|block| block.size).collect();
    let mut parts: Vec<pack::Part> = Vec::new();
    for members in components(blocks.len(), edges.keys()) {
        let task = subtask(&members, &sizes, &edges, &blocks, picture.is_directed);
        let is_by_distance = arrangement == Arrangement::Distance && !picture.is_directed && members.len() <= MOST_BY_DISTANCE;
        let centres = if is_by_distance { separate::separate(&task, stress::place(&task)) } else { tiers::place(&task) };
        parts.push(pack::Part::new(members, centres, &sizes));
    }
    let (size, centres) = pack::pack(parts, blocks.len(), MARGIN);
    let size = Size { width: size.width.max(EMPTY.width), height: size.height.max(EMPTY.height) };
    let mut nodes = vec![([0.0; 2], Size::default()); picture.nodes.len()];
    for (block, centre) in blocks.iter().zip(&centres) {
        for member in &block.members {
            nodes[member.node] = ([centre[0] + member.offset[0], centre[1] + member.offset[1]], member.size);
        }
    }
    Placed { picture, size, blocks: blocks.into_iter().zip(centres).collect(), nodes, block_of }
}

/// The connected parts, the largest first.
fn components<'e>(count: usize, edges: impl Iterator<Item = &'e [usize; 2]>) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..count).collect();
    fn root(parent: &mut [usize], mut node: usize) -> usize {
        while parent[node] != node {
            parent[node] = parent[parent[node]];
            node = parent[node];
        }
        node
    }
    for [one, other] in edges {
        let (one, other) = (root(&mut parent, *one), root(&mut parent, *other));
        parent[one.max(other)] = one.min(other);
    }
    let mut components: Vec<Vec<usize>> = vec![Vec::new(); count];
    for node in 0..count {
        let root = root(&mut parent, node);
        components[root].push(node);
    }
    components.retain(|members| !members.is_empty());
    components.sort_by_key(|members| std::cmp::Reverse(members.len()));
    components
}

fn subtask(members: &[usize], sizes: &[Size], edges: &BTreeMap<[usize; 2], f64>, blocks: &[Block], is_directed: bool) -> Task {
    let mut within = vec![usize::MAX; sizes.len()];
    members.iter().enumerate().for_each(|(position, block)| within[*block] = position);
    let inside = edges.iter().filter(|([one, other], _)| within[*one] != usize::MAX && within[*other] != usize::MAX);
    let (edges, room) = inside.map(|(edge, room)| (edge.map(|block| within[block]), *room)).unzip();
    Task {
        sizes: members.iter().map(|block| sizes[*block]).collect(),
        edges,
        room,
        is_directed,
        has_hosts: members.iter().map(|block| blocks[*block].members.len() > 1).collect(),
    }
}

impl Task {
    /// The neighbours of each block.
    pub fn neighbours(&self) -> Vec<Vec<usize>> {
        let mut neighbours = vec![Vec::new(); self.sizes.len()];
        for [one, other] in &self.edges {
            neighbours[*one].push(*other);
            neighbours[*other].push(*one);
        }
        neighbours
    }
}
