//! Writes a placed picture as SVG 1.1 (<https://www.w3.org/TR/SVG11/>), which needs no other file.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::layout::{Placed, Point};
use super::size::{self, Size};
use super::{Condition, Edge, EdgeKind, NodeKind, fold};
use crate::name::escape;

/// The colours and fonts of a picture.
pub const STYLE: &str = include_str!("picture.css");
/// The most lines between the same two nodes; more are one line with their number.
const MOST_PARALLEL: usize = 6;
/// The distance of lines between the same two nodes.
const PARALLEL: f64 = 16.0;
/// The height of the legend.
const LEGEND: f64 = 26.0;

/// Returns the picture as an SVG document.
pub fn svg(placed: &Placed<'_>, title: &str) -> String {
    let Size { width, height } = whole(placed);
    let title = text(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" class=\"picture\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
        body(placed)
    )
}

/// The size of the picture with its legend.
pub fn whole(placed: &Placed<'_>) -> Size {
    let legend = legend(placed, 0.0);
    let (height, least) = if legend.is_empty() { (0.0, 0.0) } else { (LEGEND, 440.0) };
    Size { width: placed.size.width.max(least), height: placed.size.height + height }
}

/// Returns what is drawn, without the document around it.
pub fn body(placed: &Placed<'_>) -> String {
    let mut out = String::new();
    if placed.picture.is_directed {
        out.push_str(
            "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path class=\"arrow\" d=\"M0 0 8 4 0 8z\"/></marker></defs>\n",
        );
    }
    for (position, (block, centre)) in placed.blocks.iter().enumerate().filter(|(_, (block, _))| block.members.len() > 1) {
        let _ = writeln!(out, "<g data-block=\"{position}\">{}</g>", rect("block", *centre, block.size, fold::MARGIN));
    }
    edges(&mut out, placed);
    for position in 0..placed.nodes.len() {
        node(&mut out, placed, position);
    }
    if placed.nodes.is_empty() {
        let what = if placed.picture.is_directed { "no changes" } else { "no namespaces" };
        label_at(&mut out, "label", [placed.size.width / 2.0, placed.size.height / 2.0], what);
    }
    out.push_str(&badges(placed));
    out.push_str(&legend(placed, placed.size.height));
    out
}

/// Escapes a text for XML.
pub fn text(text: &str) -> String {
    escape(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn rect(class: &str, centre: Point, size: Size, radius: f64) -> String {
    let (x, y) = (centre[0] - size.width / 2.0, centre[1] - size.height / 2.0);
    let Size { width, height } = size;
    format!("<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\"/>")
}

fn edges(out: &mut String, placed: &Placed<'_>) {
    let picture = placed.picture;
    let mut between: BTreeMap<[usize; 2], Vec<usize>> = BTreeMap::new();
    for (position, edge) in picture.edges.iter().enumerate() {
        let [one, other] = edge.nodes();
        // A folded node is beside the other end.
        if placed.block_of[one] != placed.block_of[other] {
            between.entry([one.min(other), one.max(other)]).or_default().push(position);
        }
    }
    for (ends, edges) in between {
        if edges.len() > MOST_PARALLEL {
            bundle(out, placed, &edges);
            continue;
        }
        // The lines must not leave the smaller box.
        let room =
            ends.map(|node| placed.extent(node).1).map(|size| size.width.min(size.height)).into_iter().fold(f64::MAX, f64::min);
        let distance = PARALLEL.min(0.8 * room / edges.len() as f64);
        for (rank, position) in edges.iter().enumerate() {
            let shift = (rank as f64 - (edges.len() - 1) as f64 / 2.0) * distance;
            edge(out, placed, *position, shift);
        }
    }
}

/// One line for many edges between the same nodes.
fn bundle(out: &mut String, placed: &Placed<'_>, edges: &[usize]) {
    let all = edges.iter().map(|position| &placed.picture.edges[*position]);
    let Some(first) = all.clone().next() else { return };
    let Some(line) = line(placed, first, 0.0) else { return };
    let condition = all.clone().filter_map(|edge| edge.condition).max();
    let titles: Vec<_> = all.clone().map(|edge| text(&edge.title(&placed.picture.nodes))).collect();
    let classes = classes(first.kind, condition, all.clone().any(|edge| edge.is_idle));
    open_edge(out, first, 0.0, &format!("{classes} bundle"), &titles.join("\n"), &line, placed.picture.is_directed);
    let middle = [f64::midpoint(line.from[0], line.to[0]), f64::midpoint(line.from[1], line.to[1])];
    label_at(out, "label", middle, &format!("{} links", edges.len()));
    out.push_str("</g>\n");
}

/// The part of an edge that is not behind the boxes of its ends.
struct Line {
    from: Point,
    to: Point,
    unit: Point,
    length: f64,
}

fn line(placed: &Placed<'_>, edge: &Edge, shift: f64) -> Option<Line> {
    let [one, other] = edge.nodes();
    let ((from, start), (to, end)) = (placed.extent(one), placed.extent(other));
    let between = [to[0] - from[0], to[1] - from[1]];
    let length = (between[0] * between[0] + between[1] * between[1]).sqrt();
    if length < 1.0 {
        return None;
    }
    let unit = [between[0] / length, between[1] / length];
    // The side of the shift must not depend on the direction of the edge.
    let side = if one < other { shift } else { -shift };
    let offset = [-unit[1] * side, unit[0] * side];
    // How far the shifted line is within a box, in the direction of `sign`.
    let inside = |size: Size, sign: f64| {
        let along = |half: f64, unit: f64, offset: f64| {
            if unit.abs() < 1e-6 { f64::INFINITY } else { (half - unit.signum() * sign * offset) / unit.abs() }
        };
        along(size.width / 2.0, unit[0], offset[0]).min(along(size.height / 2.0, unit[1], offset[1])).max(0.0)
    };
    let (near, far) = (inside(start, 1.0).min(length), (length - inside(end, -1.0)).max(0.0));
    let at = |distance: f64| [from[0] + offset[0] + unit[0] * distance, from[1] + offset[1] + unit[1] * distance];
    Some(Line { from: at(near), to: at(far), unit, length: far - near })
}

fn classes(kind: EdgeKind, condition: Option<Condition>, is_idle: bool) -> String {
    let kind = match kind {
        EdgeKind::Pair => "pair",
        EdgeKind::Parent => "parent",
        EdgeKind::Inside => "inside",
        EdgeKind::Needs => "needs",
    };
    let idle = if is_idle { " idle" } else { "" };
    format!("edge {kind} {}{idle}", condition.map_or("", Condition::name))
}

fn open_edge(out: &mut String, edge: &Edge, shift: f64, classes: &str, title: &str, line: &Line, is_directed: bool) {
    let [one, other] = edge.nodes();
    let [[x1, y1], [x2, y2]] = [line.from, line.to];
    let arrow = if is_directed { " marker-end=\"url(#arrow)\"" } else { "" };
    let _ = write!(
        out,
        "<g class=\"{classes}\" data-ends=\"{one} {other}\" data-shift=\"{shift:.1}\"><title>{title}</title>\
         <path d=\"M{x1:.1} {y1:.1} {x2:.1} {y2:.1}\"{arrow}/>"
    );
}

fn label_at(out: &mut String, class: &str, at: Point, shown: &str) {
    let _ = write!(out, "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", at[0], at[1] + 4.0, text(shown));
}

fn edge(out: &mut String, placed: &Placed<'_>, position: usize, shift: f64) {
    let edge = &placed.picture.edges[position];
    let Some(line) = line(placed, edge, shift) else { return };
    let classes = classes(edge.kind, edge.condition, edge.is_idle);
    let title = text(&edge.title(&placed.picture.nodes));
    open_edge(out, edge, shift, &classes, &title, &line, placed.picture.is_directed);
    labels(out, placed, edge, &line);
    out.push_str("</g>\n");
}

/// Writes what the file says of a link in its middle, and the interfaces at its ends if there is room.
fn labels(out: &mut String, placed: &Placed<'_>, edge: &Edge, line: &Line) {
    let label = edge.label.join(", ");
    let extent = |text: &str| size::label_width(text) * line.unit[0].abs() + size::LINE * line.unit[1].abs() + 6.0;
    let middle = if label.is_empty() { 0.0 } else { extent(&label) };
    if !label.is_empty() {
        let centre = [f64::midpoint(line.from[0], line.to[0]), f64::midpoint(line.from[1], line.to[1])];
        label_at(out, "label", centre, &label);
    }
    for (name, (from, sign)) in size::names(placed.picture, edge).into_iter().zip([(line.from, 1.0), (line.to, -1.0)]) {
        if let Some(name) = name.filter(|name| extent(name) <= (line.length - middle) / 2.0) {
            let distance = sign * (extent(name) / 2.0 + 2.0);
            label_at(out, "end", [from[0] + line.unit[0] * distance, from[1] + line.unit[1] * distance], name);
        }
    }
}

fn node(out: &mut String, placed: &Placed<'_>, position: usize) {
    let node = &placed.picture.nodes[position];
    let (centre, size) = placed.nodes[position];
    let kind = match node.kind {
        NodeKind::Namespace => "namespace",
        NodeKind::Segment => "segment",
        NodeKind::Change => "change",
    };
    let condition = node.condition.map_or("", Condition::name).to_owned() + if node.is_idle { " idle" } else { "" };
    let folded =
        if placed.is_folded(position) { format!(" folded\" data-block=\"{}", placed.block_of[position]) } else { String::new() };
    let radius = if node.kind == NodeKind::Segment { 12.0 } else { 4.0 };
    let lines = placed.lines(position, node);
    let hint = std::iter::once(&node.id).chain(&node.lines).chain(&node.changes).map(|line| text(line)).collect::<Vec<_>>();
    let _ = write!(
        out,
        "<g class=\"node {kind} {condition}{folded}\" data-node=\"{position}\"><title>{}</title>{}",
        hint.join("\n"),
        rect("box", centre, size, radius)
    );
    let height = size::LEADING * (1 + lines.len()) as f64;
    let mut baseline = centre[1] - height / 2.0 + size::LEADING - 3.5;
    let title = text(&size::cut(&node.title));
    let _ = write!(out, "<text class=\"title\" x=\"{:.1}\" y=\"{baseline:.1}\">{title}</text>", centre[0]);
    let is_centred = node.kind == NodeKind::Segment || placed.is_folded(position);
    let (class, left) =
        if is_centred { ("line middle", centre[0]) } else { ("line", centre[0] - size.width / 2.0 + size::PADDING) };
    for line in lines {
        baseline += size::LEADING;
        let _ = write!(out, "<text class=\"{class}\" x=\"{left:.1}\" y=\"{baseline:.1}\">{}</text>", text(&line));
    }
    out.push_str("</g>\n");
}

/// The number of folded nodes below the node that they are folded into. The page shows it in their place.
fn badges(placed: &Placed<'_>) -> String {
    let mut out = String::new();
    for (position, (block, centre)) in placed.blocks.iter().enumerate() {
        if let [head, folded @ ..] = &block.members[..]
            && !folded.is_empty()
        {
            let y = centre[1] + head.offset[1] + head.size.height / 2.0 + size::LEADING;
            let x = centre[0] + head.offset[0];
            let count = folded.len();
            let _ = writeln!(out, "<text class=\"badge\" data-block=\"{position}\" x=\"{x:.1}\" y=\"{y:.1}\">+{count}</text>");
        }
    }
    out
}

/// What the colours mean. Empty for a picture of a file alone.
fn legend(placed: &Placed<'_>, top: f64) -> String {
    let picture = placed.picture;
    let has_idle = picture.edges.iter().any(|edge| edge.is_idle) || picture.nodes.iter().any(|node| node.is_idle);
    let is_compared = picture.nodes.iter().any(|node| node.condition.is_some());
    let conditions: &[Condition] = match (picture.is_directed, is_compared) {
        (true, true) => &[Condition::Added, Condition::Changed, Condition::Destroyed],
        (false, true) => &[Condition::Same, Condition::Changed, Condition::Missing, Condition::Extra],
        (_, false) if has_idle => &[],
        (_, false) => return String::new(),
    };
    let kind = if picture.is_directed { "change" } else { "namespace" };
    let mut out = String::from("<g class=\"legend\">");
    let mut left = 24.0;
    for condition in conditions {
        let word = condition.name();
        let y = top + 6.0;
        let _ = write!(
            out,
            "<g class=\"node {kind} {word}\"><rect class=\"box\" x=\"{left:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" rx=\"3\"/></g>\
             <text class=\"line\" x=\"{:.1}\" y=\"{y:.1}\">{word}</text>",
            y - 10.0,
            left + 18.0
        );
        left += 34.0 + size::label_width(word);
    }
    if has_idle {
        let y = top + 2.0;
        let _ = write!(
            out,
            "<g class=\"edge pair idle\"><path d=\"M{left:.1} {y:.1}h20\"/></g>\
             <text class=\"line\" x=\"{:.1}\" y=\"{:.1}\">no carrier</text>",
            left + 26.0,
            y + 4.0
        );
    }
    out.push_str("</g>\n");
    out
}
