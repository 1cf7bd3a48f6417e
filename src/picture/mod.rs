//! Pictures of a lab: its topology, and the dependencies of a plan. `topology` and `dependencies` say what is in a picture, `layout`
//! where it is, and `svg`, `html` and `text` write it down. The same picture always looks the same.

#![allow(clippy::cast_precision_loss, reason = "numbers of nodes and characters are small")]

mod condition;
mod dependencies;
mod fold;
mod html;
mod layout;
mod size;
mod svg;
mod text;
mod topology;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::condition::{mark, mark_idle};
pub use self::dependencies::dependencies;
pub use self::html::html;
pub use self::layout::{Arrangement, Placed, arrange};
pub use self::svg::svg;
pub use self::text::{dot, mermaid};
pub use self::topology::{Topology, topology};

/// Nodes and the edges between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
    /// Whether edges lead from what needs to what is needed. Those of a topology have no direction.
    pub is_directed: bool,
}

/// What a node of a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A namespace, or `host`.
    Namespace,
    /// A bridge, or another link that connects several: the parent of links in other namespaces.
    Segment,
    /// A change of a plan.
    Change,
}

/// How the live network compares with the lab file, or what a change of a plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// As the file says.
    Same,
    /// There, but something of it differs.
    Changed,
    /// The file declares it, and it is not there.
    Missing,
    /// It is there, and the file does not declare it.
    Extra,
    /// The plan adds it.
    Added,
    /// The plan removes it.
    Destroyed,
}

impl Condition {
    /// Its name, in JSON and as a class.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Added => "added",
            Self::Destroyed => "destroyed",
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] = [Self::Same, Self::Changed, Self::Missing, Self::Extra, Self::Added, Self::Destroyed];
}

/// A node of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Node {
    /// Its name, which no other node has: a namespace, `NAMESPACE:INTERFACE`, or a change.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// The heading.
    pub title: String,
    /// The lines below the heading: interfaces with their addresses, processes.
    pub lines: Vec<String>,
    /// How it compares with the lab file; null if that is not known.
    pub condition: Option<Condition>,
    /// Whether a live link that connects others is down or has no carrier.
    pub is_idle: bool,
    /// The changes that `topo apply` would make, as lines.
    pub changes: Vec<String>,
    /// What the lab file says of it, as YAML.
    pub details: String,
}

/// What an edge of a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// The two ends of a pair.
    Pair,
    /// A link and the one that it stands on.
    Parent,
    /// A link that connects others, and the namespace that it is in.
    Inside,
    /// A change, and one that it needs.
    Needs,
}

/// One end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct End {
    /// The position of the node.
    pub node: usize,
    /// The interface; null if the edge has none there.
    pub interface: Option<String>,
    /// The interface with its namespace.
    pub link: Option<String>,
    /// The addresses of the interface.
    pub addresses: Vec<String>,
}

/// An edge of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Edge {
    /// What it is.
    pub kind: EdgeKind,
    /// Both ends.
    pub ends: [End; 2],
    /// What the file says of the link, such as `mtu 9000`.
    pub label: Vec<String>,
    /// How it compares with the lab file; null if that is not known.
    pub condition: Option<Condition>,
    /// Whether the live link is down or has no carrier.
    pub is_idle: bool,
}

impl End {
    /// Returns the name that is written at the end: not that of a bridge at its own box.
    pub fn label<'a>(&'a self, nodes: &[Node]) -> Option<&'a str> {
        let is_node = self.link.as_ref() == nodes.get(self.node).map(|node| &node.id);
        self.interface.as_deref().filter(|_| !is_node)
    }
}

impl Edge {
    /// The positions of the two nodes.
    pub fn nodes(&self) -> [usize; 2] {
        [self.ends[0].node, self.ends[1].node]
    }

    /// Describes it in one line: `a:eth0 10.0.0.1/24 — b:eth0`.
    pub fn title(&self, nodes: &[Node]) -> String {
        let end = |end: &End| {
            let name = end.link.as_deref().or_else(|| nodes.get(end.node).map(|node| node.id.as_str())).unwrap_or_default();
            std::iter::once(name).chain(end.addresses.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        };
        let label = if self.label.is_empty() { String::new() } else { format!(" ({})", self.label.join(", ")) };
        format!("{} — {}{label}", end(&self.ends[0]), end(&self.ends[1]))
    }
}
