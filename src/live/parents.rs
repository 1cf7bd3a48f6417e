//! Finds the parent or the other end of a pair by its index, often in another namespace.
//!
//! The kernel reports another namespace by its nsid, which is valid only in the namespace of the link. The two ends of a veth pair are
//! found because each contains the index of the other. If that is ambiguous, and for parents in other namespaces, the kernel is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::SeenLink;
use crate::name::{LinkId, LinkName, LinkRef, NamespaceName};
use crate::resource::link::Link;
use crate::snapshot::{Numbering, Snapshots};
use crate::state::{Ifindex, State};

/// The parent or other end of a link in another namespace. `nsid` is that namespace's nsid in the namespace of the link.
pub(super) enum Elsewhere {
    /// The other end of a pair is one of these.
    Pair { ends: Vec<LinkId>, nsid: i32 },
    /// The parent has the index `below`.
    Parent { below: Option<Ifindex>, nsid: i32 },
}

/// Returns whether the link is one end of a pair.
pub(super) fn is_end_of_pair(link: &Link) -> bool {
    link.kind.is_pair()
}

/// Ends of pairs by their own index and the index of the other end.
pub(super) struct Ends<'a>(Vec<((Ifindex, Ifindex), &'a NamespaceName, LinkName)>);

impl<'a> Ends<'a> {
    pub(super) fn of(snapshots: &'a Snapshots) -> Self {
        let mut ends = Vec::new();
        for (namespace, snapshot) in snapshots {
            for found in snapshot.links.iter().filter(|found| is_end_of_pair(&found.link)) {
                ends.extend(found.below.map(|below| ((found.index, below), namespace, found.name)));
            }
        }
        ends.sort_by_key(|(numbers, ..)| *numbers);
        Self(ends)
    }

    /// Finds the other end of the pair whose end in `namespace` has the index `index` and reports `below` as the index of the other.
    /// Returns the candidates if there are several.
    pub(super) fn other(
        &self,
        namespace: &NamespaceName,
        index: Ifindex,
        below: Ifindex,
        nsid: i32,
        slot: &mut Option<LinkRef>,
    ) -> Option<Elsewhere> {
        let numbers = (below, index);
        let first = self.0.partition_point(|(other, ..)| *other < numbers);
        let ends = self.0[first..].iter().take_while(|(other, ..)| *other == numbers);
        let mut ends = ends.filter(|(_, end, _)| *end != namespace).map(|(_, end, name)| LinkId::new(end, *name));
        let one = ends.next()?;
        match ends.next() {
            None => {
                *slot = Some(LinkRef::from(one));
                None
            }
            Some(second) => Some(Elsewhere::Pair { ends: [one, second].into_iter().chain(ends).collect(), nsid }),
        }
    }
}

/// Finds the namespaces of parents by asking the kernel.
pub(super) struct Parents<'a, N> {
    snapshots: &'a Snapshots,
    numbering: &'a mut N,
    /// All links by their index. Built on first use.
    by_index: Option<HashMap<(&'a NamespaceName, Ifindex), LinkName>>,
    /// Cache of answers: (asking namespace, nsid) to the namespace.
    known: BTreeMap<(NamespaceName, i32), Option<NamespaceName>>,
}

impl<'a, N: Numbering> Parents<'a, N> {
    pub(super) fn new(snapshots: &'a Snapshots, numbering: &'a mut N) -> Self {
        Self { snapshots, numbering, by_index: None, known: BTreeMap::new() }
    }

    /// Sets the parents, other ends and underlays that the indices alone do not identify.
    pub(super) fn find(&mut self, links: &mut [SeenLink], desired: &State) -> Result<(), N::Error> {
        for SeenLink { id, link, elsewhere, .. } in links {
            let (below, namespace) = match elsewhere.take() {
                None => continue,
                Some(Elsewhere::Pair { ends, nsid }) => (self.confirmed(id, ends, nsid)?, None),
                Some(Elsewhere::Parent { below, nsid }) => {
                    let hint = desired.link(id).and_then(|link| Some(link.kind.parent()?.resolve(&id.namespace).namespace));
                    let namespace = self.namespace_of(&id.namespace, nsid, hint.as_ref())?;
                    let below = namespace.as_ref().zip(below).and_then(|(namespace, below)| self.link_with(namespace, below));
                    (below, namespace)
                }
            };
            let link = Arc::make_mut(link);
            if let Some(slot) = link.kind.parent_slot() {
                *slot = below.map(LinkRef::from);
            }
            if let Some(slot) = link.kind.underlay_slot() {
                *slot = namespace;
            }
        }
        Ok(())
    }

    fn link_with(&mut self, namespace: &NamespaceName, index: Ifindex) -> Option<LinkId> {
        let snapshots = self.snapshots;
        let by_index = self.by_index.get_or_insert_with(|| {
            let all =
                snapshots.iter().flat_map(|(namespace, snapshot)| snapshot.links.iter().map(move |found| (namespace, found)));
            all.map(|(namespace, found)| ((namespace, found.index), found.name)).collect()
        });
        by_index.get(&(namespace, index)).map(|name| LinkId::new(namespace, *name))
    }

    /// Returns the end in the namespace with this nsid.
    fn confirmed(&mut self, id: &LinkId, ends: Vec<LinkId>, nsid: i32) -> Result<Option<LinkId>, N::Error> {
        for end in ends {
            if self.numbering.number(&id.namespace, &end.namespace)? == Some(nsid) {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Returns the namespace with this nsid in `asking`; `None` if it is not among the snapshots.
    fn namespace_of(
        &mut self,
        asking: &NamespaceName,
        nsid: i32,
        hint: Option<&NamespaceName>,
    ) -> Result<Option<NamespaceName>, N::Error> {
        let key = (asking.clone(), nsid);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let likely = hint.cloned().into_iter().chain([NamespaceName::host()]);
        let candidates: Vec<NamespaceName> = likely.chain(self.snapshots.keys().cloned()).collect();
        let mut found = None;
        for candidate in candidates {
            if candidate != *asking && self.numbering.number(asking, &candidate)? == Some(nsid) {
                found = Some(candidate);
                break;
            }
        }
        self.known.insert(key, found.clone());
        Ok(found)
    }
}
