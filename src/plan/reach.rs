//! Determines after which operation a namespace does not change any more, so that it can be verified early.

use std::collections::{HashMap, HashSet};

use crate::graph::LinkGraph;
use crate::name::{LinkId, NamespaceName};
use crate::operation::{MasterChange, Operation};
use crate::resource::link::Link;

/// Returns each namespace with the position of the last operation that can change something in it. Returns nothing for operations that
/// do more than create.
///
/// An operation that creates changes only the links that it names, their masters, the other ends of their pairs, and the upper links of
/// those. The operations themselves create all of these upper links.
pub fn last_touches(operations: &[Operation]) -> Vec<(usize, NamespaceName)> {
    if !only_creates(operations) {
        return Vec::new();
    }
    let graph = LinkGraph::of(operations.iter().flat_map(new_links));
    let mut last: HashMap<&NamespaceName, usize> = HashMap::new();
    let mut changed: Vec<(usize, &LinkId)> = Vec::new();
    for (position, operation) in operations.iter().enumerate() {
        last.insert(operation.namespace(), position);
        match operation {
            Operation::CreateLink(new) => {
                let parent = new.parent.as_ref().map(|parent| &parent.id.namespace);
                last.extend(parent.into_iter().chain(new.link.kind.underlay()).map(|namespace| (namespace, position)));
                changed.extend(new_links(operation).map(|(link, _)| (position, link)));
            }
            Operation::ChangeLink(change) => changed.push((position, &change.handle.id)),
            _ => {}
        }
    }
    // In reverse order: a link that was visited before was visited for a later change, together with its dependents.
    let mut seen: HashSet<&LinkId> = HashSet::new();
    for (position, link) in changed.into_iter().rev() {
        let mut pending = vec![link];
        while let Some(link) = pending.pop() {
            if seen.insert(link) {
                let at = last.entry(&link.namespace).or_default();
                *at = position.max(*at);
                pending.extend(graph.dependents(link));
            }
        }
    }
    last.into_iter().map(|(namespace, position)| (position, namespace.clone())).collect()
}

/// Returns the links that an operation creates.
fn new_links(operation: &Operation) -> impl Iterator<Item = (&LinkId, &Link)> {
    let new = match operation {
        Operation::CreateLink(new) => Some(new),
        _ => None,
    };
    let peer = new.and_then(|new| new.peer.as_ref()).map(|peer| (&peer.handle.id, &peer.link));
    new.map(|new| (&new.handle.id, &new.link)).into_iter().chain(peer)
}

fn only_creates(operations: &[Operation]) -> bool {
    let mut created: HashSet<&LinkId> = HashSet::new();
    operations.iter().all(|operation| match operation {
        Operation::CreateNamespace(_)
        | Operation::CreateUserNamespace(_)
        | Operation::WriteSysctl { .. }
        | Operation::Put(_)
        | Operation::PutPart(_) => true,
        Operation::CreateLink(new) => {
            created.extend(new_links(operation).map(|(link, _)| link));
            let masters = [new.master.as_ref(), new.peer.as_ref().and_then(|peer| peer.master.as_ref())];
            masters.into_iter().flatten().all(|master| created.contains(&master.id))
        }
        Operation::ChangeLink(change) => {
            let enslaved = match &change.master {
                MasterChange::Enslave(master) => created.contains(&master.id),
                MasterChange::Keep | MasterChange::Release => true,
            };
            enslaved && (change.handle.id.name.is_loopback() || created.contains(&change.handle.id))
        }
        Operation::DeleteNamespace(_)
        | Operation::DeleteLink(_)
        | Operation::DeleteLinkGroup(_)
        | Operation::Remove(_)
        | Operation::Restore(_)
        | Operation::RestoreEntry(..)
        | Operation::RemovePart(..) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::from_nothing;

    /// Returns the operations that create a lab on an empty machine, and the last operation that touches each namespace.
    fn created(lab: &str) -> (Vec<Operation>, BTreeMap<String, usize>) {
        let operations = from_nothing(lab).operations();
        let last = last_touches(&operations).into_iter().map(|(at, name)| (name.to_string(), at)).collect();
        (operations, last)
    }

    fn last_of(operations: &[Operation], wanted: impl Fn(&Operation) -> bool) -> usize {
        operations.iter().rposition(wanted).unwrap()
    }

    #[test]
    fn changing_the_other_end_of_a_pair_touches_a_namespace() {
        let (operations, last) = created(
            "namespaces:\n  a: { interfaces: { x: { addresses: [10.0.0.1/24] } } }\n  b: {}\nlinks: [{ endpoints: [a:x, b:y] }]\n",
        );
        let change = |operation: &Operation| matches!(operation, Operation::ChangeLink(change) if change.handle.id.name.to_string() != "lo");
        assert!(last["a"] >= last_of(&operations, change), "{operations:?}");
        assert_eq!(last["a"].max(last["b"]), operations.len() - 1);
    }

    #[test]
    fn changing_ports_of_a_bridge_touches_its_upper_links() {
        let (operations, last) = created(
            "namespaces:\n  host: { interfaces: { br0: { bridge: { ports: [p0] } } } }\n  a: { interfaces: { eth0: {} } }\n  \
             m: { interfaces: { mv0: { macvlan: { parent: \"host:br0\", mode: bridge } } } }\nlinks: [{ endpoints: [a:eth0, host:p0] }]\n",
        );
        let in_host = |operation: &Operation| operation.namespace().is_host() || matches!(operation, Operation::CreateLink(_));
        assert!(last["m"] >= last_of(&operations, in_host), "{operations:?}");
    }

    #[test]
    fn plans_that_remove_something_give_no_answer() {
        let (mut operations, last) = created("namespaces: { a: {} }\n");
        assert_eq!(last.len(), 1);
        operations.push(Operation::DeleteNamespace("b".parse().unwrap()));
        assert_eq!(last_touches(&operations), []);
    }
}
