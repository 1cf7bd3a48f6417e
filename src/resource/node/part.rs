//! The parts of nodes, as one type.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Node;
use super::bind::Bind;
use super::file::{File, NodePath};
use super::process::{Process, ProcessName, ProcessStatus, State};
use crate::resource::FieldChange;

/// The identity of a part within its node. Parts are made in this order, and removed in the reverse order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartKey {
    /// The node itself.
    Node,
    /// A file.
    File(NodePath),
    /// A bind, by its target.
    Bind(NodePath),
    /// A process.
    Process(ProcessName),
}

/// A part.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// The node itself.
    Node(Node),
    /// A file.
    File(File),
    /// A bind.
    Bind(Bind),
    /// A process.
    Process(Box<Supervised>),
}

/// A process with what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Supervised {
    /// The definition.
    pub definition: Process,
    /// Why it is not as it should be; always `None` for a desired process.
    pub defect: Option<String>,
    /// The changed files for which it must read its configuration again; always empty for a desired process.
    pub unread: BTreeSet<String>,
    /// What it is doing while it is on its way to be ready; always `None` for a desired process.
    pub pending: Option<State>,
}

impl Supervised {
    /// Returns a process that is as it should be.
    pub fn new(definition: Process) -> Self {
        Self { definition, defect: None, unread: BTreeSet::new(), pending: None }
    }

    /// Returns a process as its init reports it.
    pub fn of(status: ProcessStatus) -> (ProcessName, Self) {
        let ended = || status.last_end.as_ref().map_or_else(|| "it has ended".to_owned(), |end| format!("it {end}"));
        let defect = match status.state {
            // One that is being stopped is about to be stopped, or to be started again.
            State::Waiting | State::Starting | State::Running | State::Ready | State::Stopping | State::Backoff => None,
            State::Exited if status.definition.oneshot => None,
            State::Exited => Some(ended()),
            State::Failed => Some(status.failure.as_ref().map_or_else(ended, |failure| format!("it {failure}"))),
            State::Stopped => Some("it was stopped".to_owned()),
        };
        let is_pending = matches!(status.state, State::Waiting | State::Starting | State::Stopping | State::Backoff);
        let pending = is_pending.then_some(status.state);
        (status.name, Self { definition: status.definition, defect, unread: status.unread, pending })
    }
}

impl PartKey {
    /// Returns the word for the type of the part.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::File(_) => "file",
            Self::Bind(_) => "bind",
            Self::Process(_) => "process",
        }
    }

    /// Returns the position of the type in the order in which parts are made.
    pub fn rank(&self) -> usize {
        match self {
            Self::Node => 0,
            Self::File(_) => 1,
            Self::Bind(_) => 2,
            Self::Process(_) => 3,
        }
    }

    /// Returns the name of the part within its node; `None` for the node itself.
    pub fn name(&self) -> Option<&dyn fmt::Display> {
        match self {
            Self::Node => None,
            Self::File(path) | Self::Bind(path) => Some(path),
            Self::Process(name) => Some(name),
        }
    }
}

impl Part {
    /// Returns the attributes in which a desired part differs from the live one. Both have the same key.
    pub fn compare(&self, live: &Self) -> Vec<FieldChange> {
        match (self, live) {
            (Self::Node(desired), Self::Node(live)) => desired.compare(live),
            (Self::File(desired), Self::File(live)) => desired.compare(live),
            (Self::Bind(desired), Self::Bind(live)) => desired.compare(live),
            (Self::Process(desired), Self::Process(live)) => desired.definition.compare(&live.definition),
            (Self::Node(_) | Self::File(_) | Self::Bind(_) | Self::Process(_), _) => Vec::new(),
        }
    }

    /// Returns the attributes that are set, with the keys of the lab file.
    pub fn show(&self) -> Vec<(String, Value)> {
        let owned = |shown: Vec<(&'static str, Value)>| shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        match self {
            Self::Node(node) => owned(node.show()),
            Self::File(file) => owned(file.show()),
            Self::Bind(bind) => owned(bind.show()),
            Self::Process(process) => process.definition.show(),
        }
    }

    /// Returns the reason why a live part must be replaced, whatever is desired.
    pub fn defect(&self) -> Option<&str> {
        match self {
            Self::Node(node) => node.condition.reason(),
            Self::File(_) => None,
            Self::Bind(bind) => bind.defect(),
            Self::Process(process) => process.defect.as_deref(),
        }
    }
}
