//! The context of lowering an object: the namespace in which it is declared, and the results.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Object;
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::{LEAST_IPV6_MTU, LEAST_MTU};
use crate::resource::route::MAIN_TABLE;
use crate::value::{InterfaceAddress, Mac};
use crate::yaml::document::Subtree;
use crate::yaml::{Path, Problems};

/// One item of a list in the lab file.
pub struct Item<'s, S> {
    /// The item.
    pub spec: &'s S,
    /// Its position in the lab file.
    pub position: Position,
}

/// The position of an item in the lab file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The list that it is in.
    pub list: List,
    /// Its index there.
    pub index: usize,
}

/// The owner of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The namespace.
    Namespace,
    /// An interface of the namespace.
    Interface(LinkName),
    /// The same interface, as the end of a link.
    Endpoint(LinkName),
    /// The link that the interface is an end of, and which of the two.
    Link(LinkName, usize),
}

impl Position {
    /// Returns the interface that the item belongs to, if any.
    pub fn link(self) -> Option<LinkName> {
        match self.list {
            List::Namespace => None,
            List::Interface(link) | List::Endpoint(link) | List::Link(link, _) => Some(link),
        }
    }

    /// Returns whether it is the second time that the item is met: one of a link is an item of both ends.
    pub fn is_met_again(self) -> bool {
        matches!(self.list, List::Link(_, 1..))
    }

    /// Returns whether the item belongs to a link, and so to both of its ends.
    pub fn is_of_link(self) -> bool {
        matches!(self.list, List::Link(..))
    }
}

/// A namespace as declared.
pub struct Site<'s> {
    /// The name.
    pub namespace: &'s NamespaceName,
    /// Whether topo creates it, so that everything in it belongs to the lab.
    pub owned: bool,
    /// Its interfaces.
    pub interfaces: BTreeMap<LinkName, Interface>,
    /// The names of routing tables in addition to the standard ones.
    pub tables: &'s BTreeMap<String, u32>,
    /// The paths in the lab file.
    pub places: &'s dyn Places,
}

/// An interface of a [`Site`].
pub struct Interface {
    /// The name.
    pub id: LinkId,
    /// Whether it is declared as up.
    pub up: bool,
    /// The table of the VRF that it is, or is a port of.
    pub vrf: Option<u32>,
    /// Whether others can add addresses and routes to it.
    pub shared: bool,
    /// The mtu in the lab file.
    pub mtu: Option<u32>,
    /// The hardware address in the lab file.
    pub mac: Option<Mac>,
    /// Whether a sysctl disables IPv6 on it.
    pub without_ipv6: bool,
    /// Whether the kernel generates a link-local address from its hardware address when it comes up.
    pub generates_link_local: bool,
    /// Whether the kernel adds a route to all multicast groups of IPv6.
    pub joins_groups: bool,
    /// Its addresses. Empty until they are lowered.
    pub addresses: Vec<Assigned>,
}

impl Interface {
    /// Returns the table of its connected routes.
    pub fn table(&self) -> u32 {
        self.vrf.unwrap_or(MAIN_TABLE)
    }
}

/// An address of an interface.
pub struct Assigned {
    /// The address.
    pub address: InterfaceAddress,
    /// The connected network.
    pub network: IpNet,
    /// Whether the kernel adds a route to that network.
    pub connected: bool,
    /// The table, destination and metric of the route that the kernel adds for its prefix while the interface is up.
    pub prefix_route: Option<(u32, IpNet, u32)>,
    /// Whether it is not the first address of its IPv4 subnet on the interface.
    pub secondary: bool,
    /// The metric of the connected route, if it is declared.
    pub metric: Option<u32>,
    /// The other end of a point-to-point interface.
    pub peer: Option<IpAddr>,
    /// The IPv4 broadcast address.
    pub broadcast: Option<IpAddr>,
    /// Its position in the lab file.
    pub position: Position,
}

/// Paths in the lab file.
pub trait Places {
    /// Returns the path of a list.
    fn list(&self, name: &'static str, of: List) -> Path;
    /// Returns the path of a setting of an interface.
    fn setting(&self, link: LinkName, key: &str) -> Path;
    /// Returns the parts of the file that determine which addresses the namespace reaches.
    fn reach_parts(&self) -> Vec<Subtree>;
    /// Reports that the interface does not exist.
    fn unknown_interface(&self, name: LinkName, path: Path, problems: &mut Problems);
}

impl Site<'_> {
    /// Returns the path of an item of this type.
    pub fn path<O: Object>(&self, position: Position) -> Path {
        self.list::<O>(position).then(position.index)
    }

    /// Returns the path of an address.
    pub fn path_of_address(&self, assigned: &Assigned) -> Path {
        self.path::<crate::resource::address::Address>(assigned.position)
    }

    /// Returns the path of the list that contains an item of this type.
    pub fn list<O: Object>(&self, position: Position) -> Path {
        self.places.list(O::LIST, position.list)
    }

    /// Reports an mtu that is too small for IPv6, which `what` requires: the kernel disables IPv6 on such an interface.
    pub fn refuse_small_mtu(&self, interface: &Interface, what: &str, place: impl Fn() -> Path, problems: &mut Problems) {
        if let Some(mtu) = interface.mtu.filter(|mtu| (LEAST_MTU..LEAST_IPV6_MTU).contains(mtu)) {
            let message = format!("mtu {mtu} of `{}` is too small for IPv6, which {what} requires", interface.id);
            let problem = problems.error(self.places.setting(interface.id.name, "mtu"), message);
            problem.also(place(), "requires IPv6").hint(format!("use an mtu of at least {LEAST_IPV6_MTU}"));
        }
    }

    /// Returns the names of its interfaces, for messages.
    pub fn names(&self) -> Vec<String> {
        self.interfaces.keys().map(ToString::to_string).collect()
    }
}

/// The results of lowering. Empty if only problems are wanted.
pub struct Lowered<O: Object>(Option<Vec<Declared<O>>>);

/// A declared object.
pub struct Declared<O: Object> {
    /// Its position in the lab file.
    pub position: Position,
    /// Its key.
    pub key: O::Key,
    /// The object.
    pub value: O,
}

impl<O: Object> Lowered<O> {
    /// Collects objects if `wanted`. Otherwise only problems are reported.
    pub fn new(wanted: bool) -> Self {
        Self(wanted.then(Vec::new))
    }

    /// Adds an object.
    pub fn add(&mut self, position: Position, make: impl FnOnce() -> (O::Key, O)) {
        if let Some(objects) = &mut self.0 {
            let (key, value) = make();
            objects.push(Declared { position, key, value });
        }
    }
}

impl<O: Object> IntoIterator for Lowered<O> {
    type Item = Declared<O>;
    type IntoIter = std::iter::Flatten<std::option::IntoIter<Vec<Declared<O>>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}
