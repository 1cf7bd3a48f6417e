//! The parts of nodes, as one type.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Node;
use super::file::{File, NodePath};
use crate::resource::FieldChange;

/// The identity of a part within its node. Parts are made in this order, and removed in the reverse order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartKey {
    /// The node itself.
    Node,
    /// A file.
    File(NodePath),
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The node itself.
    Node(Node),
    /// A file.
    File(File),
}

impl PartKey {
    /// Returns the word for the type of the part.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::File(_) => "file",
        }
    }

    /// Returns the position of the type in the order in which parts are made.
    pub fn rank(&self) -> usize {
        match self {
            Self::Node => 0,
            Self::File(_) => 1,
        }
    }

    /// Returns the name of the part within its node; `None` for the node itself.
    pub fn name(&self) -> Option<&dyn fmt::Display> {
        match self {
            Self::Node => None,
            Self::File(path) => Some(path),
        }
    }
}

impl Part {
    /// Returns the attributes in which a desired part differs from the live one. Both have the same key.
    pub fn compare(&self, live: &Self) -> Vec<FieldChange> {
        match (self, live) {
            (Self::Node(desired), Self::Node(live)) => desired.compare(live),
            (Self::File(desired), Self::File(live)) => desired.compare(live),
            (Self::Node(_), Self::File(_)) | (Self::File(_), Self::Node(_)) => Vec::new(),
        }
    }

    /// Returns the attributes that are set, with the keys of the lab file.
    pub fn show(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Node(node) => node.show(),
            Self::File(file) => file.show(),
        }
    }

    /// Returns the reason why a live part must be replaced, whatever is desired.
    pub fn defect(&self) -> Option<&'static str> {
        match self {
            Self::Node(node) => node.condition.reason(),
            Self::File(_) => None,
        }
    }
}
