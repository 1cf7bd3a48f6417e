//! The operations on the parts of nodes.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::Context;
use super::build::{Node, Phase};
use crate::diff::{Action, Change, Sides};
use crate::name::NamespaceName;
use crate::operation::{Operation, PutPart};
use crate::resource::node::{Part, PartKey};
use crate::state::ResourceId;

/// Returns the nodes that the plan removes, be it to make them again.
pub(super) fn removed_nodes(changes: &[Change]) -> HashSet<&NamespaceName> {
    let removed = changes.iter().filter(|change| change.action.removes());
    removed
        .filter_map(|change| match &change.id {
            ResourceId::Part(namespace, PartKey::Node) => Some(namespace),
            _ => None,
        })
        .collect()
}

/// Returns the files that the plan writes or removes, and the targets of binds that it mounts or unmounts.
pub(super) fn changed_files(changes: &[Change]) -> HashSet<(&NamespaceName, &str)> {
    let files = changes.iter().filter_map(|change| match &change.id {
        ResourceId::Part(namespace, PartKey::File(path) | PartKey::Bind(path)) => Some((namespace, path.as_str())),
        _ => None,
    });
    files.collect()
}

impl Context<'_> {
    /// Returns whether a process must read its configuration again.
    fn reloads(&self, namespace: &NamespaceName, part: &Part) -> bool {
        let Part::Process(process) = part else { return false };
        process.definition.reload_on.iter().any(|file| self.changed_files.contains(&(namespace, file.as_str())))
    }

    /// Adds the operations of a change of one part. What is in a node that is removed needs no operation to disappear.
    pub(super) fn add_part_nodes(
        &self,
        nodes: &mut Vec<Node>,
        position: usize,
        change: &Change,
        (namespace, key): (&NamespaceName, &PartKey),
        sides: &Sides<Part>,
    ) {
        let action = change.action;
        let vanishes = *key != PartKey::Node && self.removed_nodes.contains(namespace);
        if action.removes() && !vanishes {
            let operation = Operation::RemovePart(namespace.clone(), key.clone());
            nodes.push(Node::new(position, Phase::RemoveParts(Reverse(position)), operation));
        }
        if let Some(part) = sides.after.clone() {
            let over = sides.before.clone().filter(|_| action == Action::Update);
            let has_unread = matches!(&over, Some(Part::Process(process)) if !process.unread.is_empty());
            let reload = has_unread || over.is_some() && self.reloads(namespace, &part);
            let put = PutPart { namespace: namespace.clone(), key: key.clone(), part, over, reload };
            nodes.push(Node::new(position, Phase::PutParts(key.rank()), Operation::PutPart(Box::new(put))));
        }
    }
}
