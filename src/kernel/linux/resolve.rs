//! Which link is meant by a number: the link below, or the other end of a pair, often in another namespace.
//!
//! The kernel names another namespace by a number that only the asking namespace knows (nsid). The two ends of a veth pair are
//! told by each naming the other's number; only where that is ambiguous, and for parents elsewhere, the kernel is asked.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsRawFd;

use netlink_packet_core::Parseable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::Linux;
use super::decode::RawLink;
use super::read::Snapshot;
use crate::kernel::ObserveError;
use crate::name::{LinkId, LinkName, LinkRef, NamespaceName};
use crate::resource::link::{Kind, Link};
use crate::state::{Ifindex, State};

/// Finds links by number across the namespaces that were read.
pub(super) struct Resolver<'a> {
    linux: &'a mut Linux,
    snapshots: &'a BTreeMap<NamespaceName, Snapshot>,
    /// All links by their number, once somebody has asked.
    by_index: Option<HashMap<(&'a NamespaceName, Ifindex), LinkName>>,
    /// Veth ends by their own number and the other's, sorted.
    ends: Vec<((Ifindex, Ifindex), LinkId)>,
    /// (namespace that asks, nsid) to the namespace meant, as far as known.
    known: BTreeMap<(NamespaceName, i32), Option<NamespaceName>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(linux: &'a mut Linux, snapshots: &'a BTreeMap<NamespaceName, Snapshot>) -> Self {
        let mut ends = Vec::new();
        for (namespace, snapshot) in snapshots {
            for raw in snapshot.links.iter().filter(|raw| matches!(raw.link.kind, Kind::Veth(_))) {
                ends.extend(raw.below.map(|below| ((raw.index, below), LinkId::new(namespace, raw.name))));
            }
        }
        ends.sort_by_key(|(numbers, _)| *numbers);
        Self { linux, snapshots, by_index: None, ends, known: BTreeMap::new() }
    }

    fn link_with(&mut self, namespace: &NamespaceName, index: Ifindex) -> Option<LinkId> {
        let snapshots = self.snapshots;
        let by_index = self.by_index.get_or_insert_with(|| {
            let all = snapshots.iter().flat_map(|(namespace, snapshot)| snapshot.links.iter().map(move |raw| (namespace, raw)));
            all.map(|(namespace, raw)| ((namespace, raw.index), raw.name)).collect()
        });
        let (namespace, _) = snapshots.get_key_value(namespace)?;
        by_index.get(&(namespace, index)).map(|name| LinkId::new(namespace, *name))
    }

    /// Fills in what the link stands on: parent, other end, underlay.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(super) fn resolve(&mut self, id: &LinkId, raw: &RawLink, link: &mut Link, desired: &State) -> Result<(), ObserveError> {
        let pair = matches!(link.kind, Kind::Veth(_));
        let Some(slot) = link.kind.parent_slot() else { return Ok(()) };
        if let (true, Some(_), Some(below)) = (pair, raw.below_nsid, raw.below) {
            *slot = self.other_end(id, raw, below)?.map(LinkRef::from);
            return Ok(());
        }
        let hint = desired.link(id).and_then(|link| Some(link.kind.parent()?.resolve(&id.namespace).namespace));
        let namespace = match raw.below_nsid {
            None => Some(id.namespace.clone()),
            Some(nsid) => self.namespace_of(&id.namespace, nsid, hint.as_ref())?,
        };
        let below = namespace.as_ref().zip(raw.below).and_then(|(namespace, below)| self.link_with(namespace, below));
        *slot = below.map(LinkRef::from);
        if let Some(slot) = link.kind.underlay_slot() {
            *slot = namespace;
        }
        Ok(())
    }

    fn other_end(&mut self, id: &LinkId, raw: &RawLink, below: Ifindex) -> Result<Option<LinkId>, ObserveError> {
        let numbers = (below, raw.index);
        let first = self.ends.partition_point(|(other, _)| *other < numbers);
        let ends = self.ends[first..].iter().take_while(|(other, _)| *other == numbers).map(|(_, end)| end);
        let mut candidates: Vec<LinkId> = ends.filter(|end| end.namespace != id.namespace).cloned().collect();
        if candidates.len() > 1 {
            let nsid = raw.below_nsid.unwrap_or(-1);
            let mut confirmed = Vec::new();
            for candidate in candidates {
                if self.nsid(&id.namespace, &candidate.namespace)? == Some(nsid) {
                    confirmed.push(candidate);
                }
            }
            candidates = confirmed;
        }
        Ok(candidates.pop())
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
