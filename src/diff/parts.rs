//! The difference of nodes and of what is in them.

use std::collections::{BTreeSet, HashSet};

use super::{Action, Differ, Sides, Subject};
use crate::name::NamespaceName;
use crate::resource::node::{Part, PartKey};
use crate::state::{ResourceId, side_by_side};

/// The reason for changes of what is in a node that is replaced.
const NODE_IS_REPLACED: &str = "the node is replaced";

/// What has changed so far, in the order of the parts: the node, its files and binds, its processes.
#[derive(Default)]
struct Changed<'a> {
    /// The nodes that are removed, be it to make them again. What is in them is gone then.
    nodes: HashSet<&'a NamespaceName>,
    /// The files that are written or removed, and the targets of binds that are mounted or unmounted.
    files: HashSet<(&'a NamespaceName, &'a str)>,
}

impl Differ<'_> {
    pub(super) fn parts(&mut self) {
        let mut changed = Changed::default();
        let (desired, live) = (self.desired, self.live);
        for ((namespace, key), desired, live) in side_by_side(desired.parts.iter(), live.state.parts.iter()) {
            let (action, reason) = match (desired, live) {
                (Some(_), None) => (Action::Create, None),
                (None, _) => (Action::Delete, None),
                (Some(_), Some(_)) if *key != PartKey::Node && changed.nodes.contains(namespace) => {
                    (Action::Replace, Some(NODE_IS_REPLACED.to_owned()))
                }
                (Some(desired), Some(live)) => match self.part_action((namespace, key), desired, live, &changed) {
                    Some(found) => found,
                    None => continue,
                },
            };
            match key {
                PartKey::Node if action.removes() => drop(changed.nodes.insert(namespace)),
                PartKey::File(path) | PartKey::Bind(path) => drop(changed.files.insert((namespace, path.as_str()))),
                PartKey::Node | PartKey::Process(_) => {}
            }
            let sides = Sides { before: live.cloned(), after: desired.cloned() };
            self.add(ResourceId::Part(namespace.clone(), key.clone()), action, Subject::Part(sides), reason);
        }
    }

    /// Returns what must be done with a part that exists. A node ends with its network namespace.
    fn part_action(
        &self,
        (namespace, key): (&NamespaceName, &PartKey),
        desired: &Part,
        live: &Part,
        changed: &Changed<'_>,
    ) -> Option<(Action, Option<String>)> {
        if let Some(defect) = live.defect() {
            return Some((Action::Replace, Some(defect.to_owned())));
        }
        if *key == PartKey::Node && self.namespaces.contains_key(namespace) {
            return Some((Action::Replace, Some("its network namespace is replaced".to_owned())));
        }
        let fields = desired.compare(live);
        if let Some(field) = fields.iter().find(|field| field.forces_replacement) {
            return Some((Action::Replace, Some(format!("{} forces replacement", field.name))));
        }
        let reads =
            |files: &BTreeSet<String>| files.iter().find(|file| changed.files.contains(&(namespace, file.as_str()))).cloned();
        if let Part::Process(process) = desired {
            if let Some(file) = reads(&process.definition.restart_on) {
                return Some((Action::Replace, Some(format!("`{file}` changes"))));
            }
            if let Some(file) = reads(&process.definition.reload_on) {
                return Some((Action::Update, Some(format!("`{file}` changes"))));
            }
            if let Part::Process(live) = live
                && let Some(file) = live.unread.first()
            {
                return Some((Action::Update, Some(format!("it has not read `{file}` since that changed"))));
            }
        }
        (!fields.is_empty()).then_some((Action::Update, None))
    }
}
