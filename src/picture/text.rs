//! Writes a picture for Graphviz (<https://graphviz.org/doc/info/lang.html>) and Mermaid (<https://mermaid.js.org/syntax/flowchart.html>).

use std::fmt::Write;

use super::{Condition, Edge, EdgeKind, Node, NodeKind, Picture};
use crate::name::escape;

/// The colours of conditions, readable on light and on dark ground.
fn colour(condition: Condition) -> &'static str {
    match condition {
        Condition::Same | Condition::Added => "#2da44e",
        Condition::Changed => "#bf8700",
        Condition::Missing | Condition::Destroyed => "#e5534b",
        Condition::Extra => "#986ee2",
    }
}

/// Returns the picture in the language of Graphviz.
pub fn dot(picture: &Picture, title: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", escape(text).replace('\\', "\\\\").replace('"', "\\\""));
    let lines = |node: &Node| {
        let all = std::iter::once(&node.title).chain(&node.lines).map(|line| escape(line).into_owned());
        let all = all.map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
        format!("\"{}\"", all.collect::<Vec<_>>().join("\\n"))
    };
    let (word, arrow) = if picture.is_directed { ("digraph", "->") } else { ("graph", "--") };
    let mut out = format!("{word} {} {{\n", quoted(title));
    out.push_str("  graph [overlap=false, splines=true];\n  node [shape=box, fontname=\"sans-serif\", fontsize=11];\n");
    out.push_str("  edge [fontname=\"monospace\", fontsize=9];\n");
    for node in &picture.nodes {
        let shape = if node.kind == NodeKind::Segment { ", shape=ellipse" } else { "" };
        let colour = node.condition.map(|condition| format!(", color=\"{}\"", colour(condition))).unwrap_or_default();
        let _ = writeln!(out, "  {} [label={}{shape}{colour}];", quoted(&node.id), lines(node));
    }
    for edge in &picture.edges {
        let [one, other] = edge.nodes().map(|node| quoted(&picture.nodes[node].id));
        let attributes = dot_attributes(edge, &picture.nodes, &quoted).join(", ");
        let attributes = if attributes.is_empty() { attributes } else { format!(" [{attributes}]") };
        let _ = writeln!(out, "  {one} {arrow} {other}{attributes};");
    }
    out + "}\n"
}

fn dot_attributes(edge: &Edge, nodes: &[Node], quoted: &dyn Fn(&str) -> String) -> Vec<String> {
    let end = |name: &str, position: usize| {
        let interface = edge.ends[position].label(nodes).filter(|_| edge.kind != EdgeKind::Inside);
        interface.map(|interface| format!("{name}={}", quoted(interface)))
    };
    let label = (!edge.label.is_empty()).then(|| format!("label={}", quoted(&edge.label.join(", "))));
    let style = match (edge.is_idle, edge.kind) {
        (true, _) => Some("style=dotted"),
        (false, EdgeKind::Parent) => Some("style=dashed"),
        (false, EdgeKind::Inside) => Some("penwidth=0.5"),
        (false, EdgeKind::Pair | EdgeKind::Needs) => None,
    };
    let colour = edge.condition.map(|condition| format!("color=\"{}\"", colour(condition)));
    let style = style.map(str::to_owned);
    [end("taillabel", 0), end("headlabel", 1), label, style, colour].into_iter().flatten().collect()
}

/// Returns the picture as a Mermaid flowchart, which Markdown on many sites shows.
pub fn mermaid(picture: &Picture) -> String {
    // Mermaid has entities of its own for what would end a text.
    let plain = |text: &str| escape(text).replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;");
    let mut out = String::from(if picture.is_directed { "flowchart BT\n" } else { "flowchart LR\n" });
    for (position, node) in picture.nodes.iter().enumerate() {
        let label = std::iter::once(&node.title).chain(&node.lines).map(|line| plain(line)).collect::<Vec<_>>().join("<br>");
        let (open, close) = if node.kind == NodeKind::Segment { ("([", "])") } else { ("[", "]") };
        let class = node.condition.map(|condition| format!(":::{}", condition.name())).unwrap_or_default();
        let _ = writeln!(out, "  n{position}{open}\"{label}\"{close}{class}");
    }
    for edge in &picture.edges {
        let [one, other] = edge.nodes();
        let ends = edge.ends.iter().map(|end| end.interface.as_deref().unwrap_or("")).collect::<Vec<_>>();
        let pair = (edge.kind == EdgeKind::Pair).then(|| format!("{} - {}", ends[0], ends[1]));
        let idle = edge.is_idle.then(|| "no carrier".to_owned());
        let label = pair
            .into_iter()
            .chain(edge.label.iter().cloned())
            .chain(idle)
            .map(|text| plain(&text))
            .collect::<Vec<_>>()
            .join(", ");
        let label = if label.is_empty() { label } else { format!("|\"{label}\"|") };
        let line = match edge.kind {
            EdgeKind::Needs => "-->",
            EdgeKind::Pair if !edge.is_idle => "---",
            EdgeKind::Pair | EdgeKind::Parent | EdgeKind::Inside => "-.-",
        };
        let _ = writeln!(out, "  n{one} {line}{label} n{other}");
    }
    for condition in Condition::ALL.into_iter().filter(|one| picture.nodes.iter().any(|node| node.condition == Some(*one))) {
        let _ = writeln!(out, "  classDef {} stroke:{}", condition.name(), colour(condition));
    }
    out
}
