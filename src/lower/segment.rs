//! Layer 2 segments: which interfaces receive each other's broadcasts, as far as the file tells. Where it does not tell, segments are
//! separate, so that no warning comes of a guess.
//!
//! What is odd on one segment is a warning: it can be meant, and the kernel accepts it.

mod duplicate;
mod neighbours;
mod switching;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use petgraph::unionfind::UnionFind;

use super::interface::{Interface, Table, all};
use crate::name::{LinkId, NamespaceName};
use crate::resource::address::AddressSpec;
use crate::resource::link::port::LinkPort;
use crate::resource::link::rules::Segment;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Links on links that each need another pass until all segments are known, at most.
const MOST_PASSES: usize = 8;

/// Warns of what is odd on one segment.
pub(super) fn check(table: &Table<'_>, sysctls: &[((NamespaceName, SysctlKey), Sysctl)], problems: &mut Problems) {
    let interfaces = Interfaces::of(table);
    let stations = interfaces.segments(|port| port.passes_discovery());
    duplicate::check(&interfaces, &stations, problems);
    neighbours::check(&interfaces, &stations, sysctls, problems);
    switching::check_addresses(&interfaces, problems);
    switching::check_loops(&interfaces, problems);
}

/// All interfaces but the loopbacks, numbered.
struct Interfaces<'t, 'l> {
    /// Sorted.
    list: Vec<&'t Interface<'l>>,
    /// The other end of each that is a veth.
    peers: Vec<Option<usize>>,
    /// The master of each that has one and exchanges frames over it.
    masters: Vec<Option<usize>>,
    owners: OnceCell<Owners<'t>>,
}

/// The only namespace with an address; `None` if several have it.
type Owners<'t> = HashMap<IpAddr, Option<&'t NamespaceName>>;

/// The set that each interface belongs to.
type Sets = UnionFind<usize>;

/// What interfaces that continue the segment of another one have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'t> {
    /// The segment of the parent.
    Parent(usize),
    /// The tag on the segment of the parent.
    Tag(usize, u16, u16),
    /// The identifier and the port of a tunnel to a group, which is joined on a segment.
    Group(usize, u32, u16, IpAddr),
    /// The identifier and the port of a tunnel between two namespaces.
    Tunnel([&'t NamespaceName; 2], u32, u16),
}

impl<'t, 'l> Interfaces<'t, 'l> {
    fn of(table: &'t Table<'l>) -> Self {
        let list: Vec<_> = all(table).filter(|interface| !interface.id.name.is_loopback()).collect();
        debug_assert!(list.is_sorted_by_key(|interface| &interface.id), "namespaces and their interfaces are sorted");
        let peer = |interface: &&Interface<'_>| {
            let peer = interface.link.kind.peer()?.resolve(&interface.id.namespace);
            position(&list, &peer)
        };
        let master = |port: &&Interface<'_>| {
            let master = LinkId::new(&port.id.namespace, port.link.settings.master?);
            position(&list, &master).filter(|number| list[*number].link.kind.switching().is_some())
        };
        let (peers, masters) = (list.iter().map(peer).collect(), list.iter().map(master).collect());
        Self { list, peers, masters, owners: OnceCell::new() }
    }

    fn number(&self, id: &LinkId) -> Option<usize> {
        position(&self.list, id)
    }

    /// The owners of all addresses, which only tunnels ask for.
    fn owners(&self) -> &Owners<'t> {
        self.owners.get_or_init(|| {
            let mut owners = Owners::new();
            for interface in &self.list {
                let namespace = &interface.id.namespace;
                for (_, address) in interface.addresses() {
                    let owner = owners.entry(address).or_insert(Some(namespace));
                    *owner = owner.filter(|owner| *owner == namespace);
                }
            }
            owners
        })
    }

    /// The segments, if frames pass between a port and its master's other ports where `passes` says so.
    fn segments(&self, passes: fn(&dyn LinkPort) -> bool) -> Sets {
        let mut sets = self.wires();
        for (number, port) in self.list.iter().enumerate() {
            if let Some(master) = self.switch_of(number).filter(|_| port.passes(passes)) {
                sets.union(number, master);
            }
        }
        let passes = if self.list.iter().any(|link| link.link.kind.segment() != Segment::Own) { MOST_PASSES } else { 0 };
        for _ in 0..passes {
            let before = sets.clone().into_labeling();
            self.join_uppers(&before, &mut sets, |_| true);
            if sets.clone().into_labeling() == before {
                break;
            }
        }
        sets
    }

    /// What veth pairs connect.
    fn wires(&self) -> Sets {
        let mut sets = Sets::new(self.list.len());
        for (number, interface) in self.list.iter().enumerate() {
            if let Some(peer) = self.peers[number].filter(|peer| interface.is_up() && self.list[*peer].is_up()) {
                sets.union(number, peer);
            }
        }
        sets
    }

    /// Joins the interfaces that continue the same segment, by the `labels` of the segments.
    fn join_uppers(&self, labels: &[usize], sets: &mut Sets, wanted: fn(&Key<'_>) -> bool) {
        let tagged = self.list.iter().filter(|interface| matches!(interface.link.kind.segment(), Segment::Tagged { .. }));
        let on_ports = tagged.filter_map(|vlan| self.parent(vlan)).filter(|parent| self.switch_of(*parent).is_some());
        // There the tag ends at some ports, and passes others.
        let split: HashSet<usize> = on_ports.map(|parent| labels[parent]).collect();
        let mut first: HashMap<Key<'t>, usize> = HashMap::new();
        for (number, interface) in self.list.iter().enumerate().filter(|(_, interface)| interface.is_up()) {
            let key = self.key(interface, labels).filter(wanted);
            match key {
                Some(Key::Tag(segment, ..)) if split.contains(&segment) => {}
                Some(key) => {
                    let other = if let Key::Parent(_) = key { self.parent(interface) } else { None };
                    sets.union(number, other.unwrap_or_else(|| *first.entry(key).or_insert(number)));
                }
                None => {}
            }
        }
    }

    fn key(&self, interface: &'t Interface<'l>, labels: &[usize]) -> Option<Key<'t>> {
        let below = || self.parent(interface).filter(|parent| self.list[*parent].is_up()).map(|parent| labels[parent]);
        match interface.link.kind.segment() {
            Segment::Own => None,
            Segment::Parents => Some(Key::Parent(below()?)),
            Segment::Tagged { protocol, id } => Some(Key::Tag(below()?, protocol, id)),
            Segment::Tunnel { id, port, remote } if remote.is_multicast() => Some(Key::Group(below()?, id, port, remote)),
            Segment::Tunnel { id, port, remote } => {
                let mut ends = [interface.link.kind.underlay_in(&interface.id.namespace)?, (*self.owners().get(&remote)?)?];
                ends.sort_unstable();
                Some(Key::Tunnel(ends, id, port))
            }
        }
    }

    fn parent(&self, interface: &Interface<'_>) -> Option<usize> {
        let parent = interface.link.kind.below(&interface.id.namespace)?;
        self.number(&parent)
    }

    /// The master, if that exchanges frames between its ports.
    fn master(&self, port: usize) -> Option<usize> {
        self.masters[port]
    }

    /// The master of a port, if it exchanges all frames with it.
    fn switch_of(&self, port: usize) -> Option<usize> {
        let by_vlan = |master: &Interface<'_>| master.link.kind.switching().is_some_and(|switching| switching.by_vlan);
        let is_up = |number: usize| self.list[number].is_up();
        self.master(port).filter(|master| is_up(port) && is_up(*master) && !by_vlan(self.list[*master]))
    }
}

/// The number of an interface in the sorted list.
fn position(list: &[&Interface<'_>], id: &LinkId) -> Option<usize> {
    list.binary_search_by(|interface| interface.id.cmp(id)).ok()
}

impl Interface<'_> {
    fn passes(&self, passes: fn(&dyn LinkPort) -> bool) -> bool {
        self.link.port.as_ref().is_none_or(|port| passes(&**port))
    }

    /// Its addresses, numbered.
    fn addresses(&self) -> impl Iterator<Item = (usize, IpAddr)> + '_ {
        let section = self.section.into_iter().flat_map(|section| &section.addresses);
        let end = self.long().into_iter().flat_map(|long| &long.addresses);
        section.chain(end).map(AddressSpec::ip).enumerate()
    }

    fn address_path(&self, number: usize) -> Path {
        let first = self.section.map_or(0, |section| section.addresses.len());
        self.joined_path("addresses", number, first)
    }
}

/// The interfaces of each namespace on each segment: counted once, however many there are.
fn by_namespace<'i, T: Ord>(pairs: impl Iterator<Item = (&'i NamespaceName, T)>) -> BTreeMap<(&'i NamespaceName, T), usize> {
    let mut counts = BTreeMap::new();
    for pair in pairs {
        *counts.entry(pair).or_default() += 1;
    }
    counts
}
