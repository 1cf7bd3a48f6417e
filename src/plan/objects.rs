//! Builds the operations of objects. An object that the kernel removes together with a link or a namespace is not removed.

use super::Context;
use super::build::{Node, Phase};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::operation::Operation;
use crate::readiness;
use crate::resource::object::table::{self, Any, Inspect, Places, Puts, Registered, Restorations, Verdicts};
use crate::resource::object::{At, Fate, Over, Put, Replacement, Restoration, Verdict};

impl Context<'_> {
    pub(super) fn add_object_nodes(&self, nodes: &mut Vec<Node>, position: usize, object: &Any<Verdicts>) {
        object.inspect(AddNodes { context: self, nodes, position });
    }

    /// Returns whether the kernel removes a live object with its namespace or with its links.
    fn is_removed_by_kernel<O: Registered>(&self, namespace: &NamespaceName, key: &O::Key, value: &O) -> bool {
        let links = O::links(key, value);
        let mut names = links.iter().flatten().peekable();
        let with_links = names.peek().is_some() && names.all(|name| self.is_removed(&LinkId::new(namespace, *name)));
        with_links || self.deleted_namespaces.contains(namespace)
    }
}

struct AddNodes<'c, 'n> {
    context: &'c Context<'c>,
    nodes: &'n mut Vec<Node>,
    position: usize,
}

impl<'a> Inspect<'a, Verdicts> for AddNodes<'_, '_> {
    type Result = ();

    fn inspect<O: Registered>(mut self, (namespace, verdict): &'a (NamespaceName, Verdict<O>)) {
        let sort = table::position::<O>();
        if let (Some(before), Some(phase)) = (&verdict.before, removal(verdict, sort))
            && !self.context.is_removed_by_kernel(namespace, &verdict.key, before)
        {
            self.remove(namespace, verdict, before, phase);
        }
        if let Some(after) = &verdict.after {
            self.put(namespace, verdict, after, sort);
        }
    }
}

/// Returns the phase in which an operation removes the live object; `None` if no operation does.
fn removal<O: Registered>(verdict: &Verdict<O>, sort: usize) -> Option<Phase> {
    let first = Phase::RemoveObjects(std::cmp::Reverse(sort));
    match verdict.fate {
        Fate::Create | Fate::Update => None,
        Fate::Delete | Fate::Replace(Replacement::RemoveFirst) => Some(first),
        Fate::DeleteLast | Fate::Replace(Replacement::PutFirst) => Some(Phase::RemoveReplaced(std::cmp::Reverse(sort))),
        Fate::Replace(Replacement::Overwrite) => verdict.before.as_ref().filter(|live| live.outlives_loss()).map(|_| first),
    }
}

impl AddNodes<'_, '_> {
    fn remove<O: Registered>(&mut self, namespace: &NamespaceName, verdict: &Verdict<O>, before: &O, phase: Phase) {
        let index = |link: LinkName| self.context.live.indices.get(&LinkId::new(namespace, link)).copied();
        let at = At::new(namespace, &verdict.key, before, index);
        let mut node = Node::new(self.position, phase, Operation::Remove(Box::new(O::any::<Places>(at))));
        node.rank.1 = before.removal_rank();
        self.nodes.push(node);
    }

    fn put<O: Registered>(&mut self, namespace: &NamespaceName, verdict: &Verdict<O>, after: &O, sort: usize) {
        let at = At::new(namespace, &verdict.key, after, |link| Some(self.context.index(&LinkId::new(namespace, link))));
        let over = match (verdict.fate, &verdict.before) {
            (Fate::Update, Some(live)) => Over::Live(Box::new(live.clone())),
            (Fate::Replace(Replacement::Overwrite), _) => Over::Anything,
            _ => Over::Nothing,
        };
        let source = O::awaits(&verdict.key, after);
        let awaited = source.map(|source| Box::new(readiness::awaited(self.context.desired, namespace, source)));
        let late = O::is_late(&verdict.key, after);
        let phase = if late { Phase::PutLate } else { Phase::PutObjects(sort) };
        let mut node = Node::new(self.position, phase, Operation::Put(Box::new(O::any::<Puts>(Put { at, over, awaited }))));
        node.rank.1 = after.rank();
        node.after = O::links(&verdict.key, after).into_iter().flatten().map(|name| LinkId::new(namespace, name)).collect();
        self.nodes.push(node);
    }
}

/// Adds the operation that adds a foreign object again, after the lab's own objects of the type.
pub(super) struct AddRestoration<'n> {
    pub(super) nodes: &'n mut Vec<Node>,
    pub(super) position: usize,
}

impl<'a> Inspect<'a, Restorations> for AddRestoration<'_> {
    type Result = ();

    fn inspect<O: Registered>(self, again: &'a Restoration<O>) {
        let phase = if again.awaited.is_some() { Phase::PutLate } else { Phase::PutObjects(table::position::<O>()) };
        let links = O::links(&again.foreign.key, &again.foreign.value).into_iter().flatten();
        let after = links.map(|name| LinkId::new(&again.namespace, name)).collect();
        let rank = (usize::MAX, i64::try_from(self.position).unwrap_or(i64::MAX));
        let operation = Operation::Restore(Box::new(O::any::<Restorations>(again.clone())));
        self.nodes.push(Node { change: None, phase, operation, after, provides: Vec::new(), rank });
    }
}

/// Adds the operation that removes a foreign object for a while, before those of the lab of the type are removed.
pub(super) struct AddDisplaced<'n> {
    pub(super) nodes: &'n mut Vec<Node>,
    pub(super) object: &'n Any<Places>,
    pub(super) position: usize,
}

impl<'a> Inspect<'a, Places> for AddDisplaced<'_> {
    type Result = ();

    fn inspect<O: Registered>(self, _: &'a At<O>) {
        let phase = Phase::RemoveObjects(std::cmp::Reverse(table::position::<O>()));
        let node = Node::new(self.position, phase, Operation::Remove(Box::new(self.object.clone())));
        self.nodes.push(Node { change: None, rank: (0, i64::MIN.saturating_add_unsigned(self.position as u64)), ..node });
    }
}
