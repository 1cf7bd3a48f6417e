//! The difference of nodes and of what is in them.

use std::collections::HashSet;

use super::{Action, Differ, Sides, Subject};
use crate::name::NamespaceName;
use crate::resource::node::{Part, PartKey};
use crate::state::{ResourceId, side_by_side};

/// The reason for changes of what is in a node that is replaced.
const NODE_IS_REPLACED: &str = "the node is replaced";

impl Differ<'_> {
    pub(super) fn parts(&mut self) {
        // The nodes that are removed, be it to make them again. What is in them is gone then.
        let mut removed: HashSet<&NamespaceName> = HashSet::new();
        for ((namespace, key), desired, live) in side_by_side(self.desired.parts.iter(), self.live.state.parts.iter()) {
            let is_node = *key == PartKey::Node;
            let (action, reason) = match (desired, live) {
                (Some(_), None) => (Action::Create, None),
                (None, _) => (Action::Delete, None),
                (Some(_), Some(_)) if !is_node && removed.contains(namespace) => {
                    (Action::Replace, Some(NODE_IS_REPLACED.to_owned()))
                }
                (Some(desired), Some(live)) => match self.part_action(is_node.then_some(namespace), desired, live) {
                    Some(found) => found,
                    None => continue,
                },
            };
            if is_node && action.removes() {
                removed.insert(namespace);
            }
            let sides = Sides { before: live.cloned(), after: desired.cloned() };
            self.add(ResourceId::Part(namespace.clone(), key.clone()), action, Subject::Part(sides), reason);
        }
    }

    /// Returns what must be done with a part that exists. `node` is the namespace, if the part is the node itself: that ends with its
    /// network namespace.
    fn part_action(&self, node: Option<&NamespaceName>, desired: &Part, live: &Part) -> Option<(Action, Option<String>)> {
        if let Some(defect) = live.defect() {
            return Some((Action::Replace, Some(defect.to_owned())));
        }
        if node.is_some_and(|namespace| self.namespaces.contains_key(namespace)) {
            return Some((Action::Replace, Some("its network namespace is replaced".to_owned())));
        }
        let fields = desired.compare(live);
        match fields.iter().find(|field| field.forces_replacement) {
            Some(field) => Some((Action::Replace, Some(format!("{} forces replacement", field.name)))),
            None if fields.is_empty() => None,
            None => Some((Action::Update, None)),
        }
    }
}
