//! Which link is meant by a number: the link below, or the other end of a pair, often in another namespace.
//!
//! The kernel names another namespace by a number that only the asking namespace knows (nsid). The two ends of a veth pair are
//! told by each naming the other's number; only where that is ambiguous, and for parents elsewhere, the kernel is asked.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use netlink_packet_core::Parseable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::Linux;
use super::read::Snapshot;
use super::scene::{Elsewhere, Scenery, SeenLink};
use crate::kernel::ObserveError;
use crate::name::{LinkId, LinkName, LinkRef, NamespaceName};
use crate::state::{Ifindex, State};

/// Veth ends by their own number and the other's.
pub(super) struct Ends<'a>(Vec<((Ifindex, Ifindex), &'a NamespaceName, LinkName)>);

/// What the numbers tell of the other end of a pair that is in another namespace.
pub(super) enum OtherEnd {
    /// It is not in what was read.
    Unknown,
    /// It is this one.
    One(LinkId),
    /// It is one of several.
    OneOf(Vec<LinkId>),
}

impl<'a> Ends<'a> {
    pub(super) fn of(snapshots: &'a BTreeMap<NamespaceName, Snapshot>) -> Self {
        let mut ends = Vec::new();
        for (namespace, snapshot) in snapshots {
            for raw in snapshot.links.iter().filter(|raw| raw.link.kind.is_pair()) {
                ends.extend(raw.below.map(|below| ((raw.index, below), namespace, raw.name)));
            }
        }
        ends.sort_by_key(|(numbers, ..)| *numbers);
        Self(ends)
    }

    /// The other end of the pair whose one end in `namespace` has the number `index`, and says that the other has `below`.
    pub(super) fn other(&self, namespace: &NamespaceName, index: Ifindex, below: Ifindex) -> OtherEnd {
        let numbers = (below, index);
        let first = self.0.partition_point(|(other, ..)| *other < numbers);
        let ends = self.0[first..].iter().take_while(|(other, ..)| *other == numbers);
        let mut ends = ends.filter(|(_, end, _)| *end != namespace).map(|(_, end, name)| LinkId::new(end, *name));
        match (ends.next(), ends.next()) {
            (None, _) => OtherEnd::Unknown,
            (Some(end), None) => OtherEnd::One(end),
            (Some(first), Some(second)) => OtherEnd::OneOf([first, second].into_iter().chain(ends).collect()),
        }
    }
}

/// Asks the kernel which namespaces the links of others stand in.
pub(super) struct Resolver<'a> {
    linux: &'a mut Linux,
    snapshots: &'a BTreeMap<NamespaceName, Snapshot>,
    /// All links by their number, once somebody has asked.
    by_index: Option<HashMap<(&'a NamespaceName, Ifindex), LinkName>>,
    /// (namespace that asks, nsid) to the namespace meant, as far as known.
    known: BTreeMap<(NamespaceName, i32), Option<NamespaceName>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(linux: &'a mut Linux, snapshots: &'a BTreeMap<NamespaceName, Snapshot>) -> Self {
        Self { linux, snapshots, by_index: None, known: BTreeMap::new() }
    }

    /// Fills in what links stand on where the numbers alone do not tell.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(super) fn resolve(&mut self, scenery: &mut Scenery, desired: &State) -> Result<(), ObserveError> {
        for SeenLink { id, link, elsewhere, .. } in &mut scenery.links {
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
            let all = snapshots.iter().flat_map(|(namespace, snapshot)| snapshot.links.iter().map(move |raw| (namespace, raw)));
            all.map(|(namespace, raw)| ((namespace, raw.index), raw.name)).collect()
        });
        by_index.get(&(namespace, index)).map(|name| LinkId::new(namespace, *name))
    }

    /// The end that is in the namespace which that of `id` knows by this number.
    fn confirmed(&mut self, id: &LinkId, ends: Vec<LinkId>, nsid: i32) -> Result<Option<LinkId>, ObserveError> {
        for end in ends {
            if self.nsid(&id.namespace, &end.namespace)? == Some(nsid) {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// The namespace that `asking` knows by this number; `None` when it is none of those that were read.
    fn namespace_of(
        &mut self,
        asking: &NamespaceName,
        nsid: i32,
        hint: Option<&NamespaceName>,
    ) -> Result<Option<NamespaceName>, ObserveError> {
        let key = (asking.clone(), nsid);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let likely = hint.cloned().into_iter().chain([NamespaceName::host()]);
        let candidates: Vec<NamespaceName> = likely.chain(self.linux.namespaces.keys().cloned()).collect();
        let mut found = None;
        for candidate in candidates {
            if candidate != *asking && self.nsid(asking, &candidate)? == Some(nsid) {
                found = Some(candidate);
                break;
            }
        }
        self.known.insert(key, found.clone());
        Ok(found)
    }

    /// The number by which `asking` knows `other`, if it has one.
    fn nsid(&mut self, asking: &NamespaceName, other: &NamespaceName) -> Result<Option<i32>, ObserveError> {
        let Some(descriptor) = self.linux.inhabited(other).map(|inhabited| inhabited.file.as_raw_fd()) else { return Ok(None) };
        let Some(inhabited) = self.linux.inhabited(asking) else { return Ok(None) };
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(descriptor.cast_unsigned()));
        let mut number = None;
        let answer = inhabited.socket.get(RouteNetlinkMessage::GetNsId(message), |_, body| {
            let message = NsidMessage::parse(body).map_err(|error| error.to_string())?;
            number = message.attributes.iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(number) if *number >= 0 => Some(*number),
                _ => None,
            });
            Ok(())
        });
        answer.map_err(|error| ObserveError { what: format!("what `{asking}` calls `{other}`"), source: Box::new(error) })?;
        Ok(number)
    }
}
