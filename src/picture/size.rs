//! The sizes of texts and boxes, in CSS pixels. Fonts differ from machine to machine, so that texts are measured generously.

use super::{Edge, EdgeKind, Node, NodeKind, Picture};

/// The size of a heading.
pub const TITLE: f64 = 13.0;
/// The size of a line.
pub const LINE: f64 = 11.0;
/// The distance of two lines.
pub const LEADING: f64 = 15.0;
/// The space around the text of a box.
pub const PADDING: f64 = 9.0;
/// The most lines that a box shows.
const MOST_LINES: usize = 8;
/// The same above folded nodes.
const MOST_HEAD_LINES: usize = 4;
/// The most characters of a line.
const MOST_CHARACTERS: usize = 44;
/// With more edges, the interfaces at their ends are left out.
const MOST_NAMED_EDGES: usize = 80;
/// The width of a character of a line, whose font has a fixed width, in parts of its size.
const OF_LINE: f64 = 0.61;
/// The widths of a narrow and of a wide character of a heading, which is bold.
const OF_TITLE: [f64; 2] = [0.66, 0.98];

/// A width and a height.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Size {
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
}

/// A text that is cut to the most characters.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The lines of a box; the last one says how many are left out. The page shows all.
pub fn lines(node: &Node, most: usize) -> Vec<String> {
    if node.lines.len() <= most {
        return node.lines.iter().map(|line| cut(line)).collect();
    }
    let shown = node.lines.iter().take(most.saturating_sub(1)).map(|line| cut(line));
    let more = node.lines.len() - most.saturating_sub(1);
    shown.chain((most > 0).then(|| format!("… {more} more"))).collect()
}

/// The lines of a box of its own.
pub fn own_lines(node: &Node) -> Vec<String> {
    lines(node, MOST_LINES)
}

/// The lines of a node that others are folded into.
pub fn head_lines(node: &Node) -> Vec<String> {
    lines(node, MOST_HEAD_LINES)
}

/// The lines of a folded node: the first one.
pub fn folded_lines(node: &Node) -> Vec<String> {
    node.lines.first().map(|line| cut(line)).into_iter().collect()
}

/// The size of a box with these lines.
pub fn of_box(node: &Node, lines: &[String]) -> Size {
    let title: f64 = cut(&node.title).chars().map(|c| TITLE * OF_TITLE[usize::from(is_wide(c))]).sum();
    let widest = lines.iter().map(|line| label_width(line)).fold(title, f64::max);
    let least = if node.kind == NodeKind::Segment { 30.0 } else { 56.0 };
    let height = LEADING * (1 + lines.len()) as f64 + 2.0 * PADDING - 4.0;
    Size { width: (widest + 2.0 * PADDING).max(least).ceil(), height }
}

/// The width of a line of a label.
pub fn label_width(text: &str) -> f64 {
    text.chars().map(|c| LINE * OF_LINE * if c.is_ascii() { 1.0 } else { 1.7 }).sum()
}

/// The interfaces at the ends of an edge, as far as they are written there: in a picture of many edges there is no room.
pub fn names<'p>(picture: &'p Picture, edge: &'p Edge) -> [Option<&'p str>; 2] {
    let has_room = picture.edges.len() <= MOST_NAMED_EDGES;
    edge.ends.each_ref().map(|end| end.label(&picture.nodes).filter(|_| has_room && edge.kind != EdgeKind::Inside))
}

/// The space that the labels of an edge need in a row.
pub fn of_labels(picture: &Picture, edge: &Edge) -> f64 {
    let label = Some(edge.label.join(", ")).filter(|label| !label.is_empty());
    let names = names(picture, edge).into_iter().flatten().map(label_width);
    names.chain(label.as_deref().map(label_width)).map(|width| width + 8.0).sum()
}

fn is_wide(c: char) -> bool {
    c.is_uppercase() || matches!(c, 'm' | 'w' | '@' | '%') || !c.is_ascii()
}
