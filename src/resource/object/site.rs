//! What the lowering of an object sees of the namespace that it is declared in, and where the result goes.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::Object;
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::LEAST_MTU;
use crate::value::InterfaceAddress;
use crate::yaml::document::Subtree;
use crate::yaml::{Path, Problems};

/// The smallest mtu with which an interface has IPv6 (IPV6_MIN_MTU).
const LEAST_IPV6_MTU: u32 = 1280;

/// One item of a list in the lab file.
pub struct Item<'s, S> {
    /// What is written.
    pub spec: &'s S,
    /// Where.
    pub position: Position,
}

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The list that it is in.
    pub list: List,
    /// Its index there.
    pub index: usize,
}

/// What a list belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The namespace.
    Namespace,
    /// An interface of the namespace.
    Interface(LinkName),
    /// The same interface, as the end of a link.
    Endpoint(LinkName),
}

impl Position {
    /// The interface that the item belongs to, if any.
    pub fn link(self) -> Option<LinkName> {
        match self.list {
            List::Namespace => None,
            List::Interface(link) | List::Endpoint(link) => Some(link),
        }
    }
}

/// A namespace as declared.
pub struct Site<'s> {
    /// The name.
    pub namespace: &'s NamespaceName,
    /// Whether topo makes it, so that everything in it is the lab's.
    pub owned: bool,
    /// Its interfaces.
    pub interfaces: BTreeMap<LinkName, Interface>,
    /// The names of routing tables beyond those that every system has.
    pub tables: &'s BTreeMap<String, u32>,
    /// Where things are in the lab file.
    pub places: &'s dyn Places,
}

/// An interface of a [`Site`].
pub struct Interface {
    /// The name.
    pub id: LinkId,
    /// Whether it is up, or will be.
    pub up: bool,
    /// Whether others than the lab may give it addresses and routes.
    pub shared: bool,
    /// The mtu that the file gives it.
    pub mtu: Option<u32>,
    /// Whether a setting disables IPv6 on it.
    pub without_ipv6: bool,
    /// Its addresses, once they are lowered.
    pub addresses: Vec<Assigned>,
}

/// An address that an interface has.
pub struct Assigned {
    /// The address.
    pub address: InterfaceAddress,
    /// The network that is reached by it.
    pub network: IpNet,
    /// Whether the kernel makes a route to that network.
    pub connected: bool,
    /// Where it is declared.
    pub position: Position,
}

/// Paths in the lab file.
pub trait Places {
    /// The path of the list of that name.
    fn list(&self, name: &'static str, of: List) -> Path;
    /// The path of a setting of an interface.
    fn setting(&self, link: LinkName, key: &str) -> Path;
    /// The parts of the file that tell which addresses the namespace reaches.
    fn reach_parts(&self) -> Vec<Subtree>;
    /// Reports that there is no such interface.
    fn unknown_interface(&self, name: LinkName, path: Path, problems: &mut Problems);
}

impl Site<'_> {
    /// Where an item of this sort is.
    pub fn path<O: Object>(&self, position: Position) -> Path {
        self.list::<O>(position).then(position.index)
    }

    /// Where the list is that the item of this sort is in.
    pub fn list<O: Object>(&self, position: Position) -> Path {
        self.places.list(O::LIST, position.list)
    }

    /// Reports an mtu that is too small for IPv6, which `what` needs: the kernel disables IPv6 on such an interface.
    pub fn refuse_small_mtu(&self, interface: &Interface, what: &str, place: impl Fn() -> Path, problems: &mut Problems) {
        if let Some(mtu) = interface.mtu.filter(|mtu| (LEAST_MTU..LEAST_IPV6_MTU).contains(mtu)) {
            let message = format!("mtu {mtu} of `{}` is too small for IPv6, which {what} requires", interface.id);
            let problem = problems.error(self.places.setting(interface.id.name, "mtu"), message);
            problem.also(place(), "requires IPv6").hint(format!("use an mtu of at least {LEAST_IPV6_MTU}"));
        }
    }

    /// The names of its interfaces, for messages.
    pub fn names(&self) -> Vec<String> {
        self.interfaces.keys().map(ToString::to_string).collect()
    }
}

/// Objects on their way into the state, if there is to be one.
pub struct Lowered<O: Object>(Option<Vec<Declared<O>>>);

/// A declared object.
pub struct Declared<O: Object> {
    /// Where.
    pub position: Position,
    /// Its key.
    pub key: O::Key,
    /// The object.
    pub value: O,
}

impl<O: Object> Lowered<O> {
    /// Takes objects if `wanted`, else looks for problems alone.
    pub fn new(wanted: bool) -> Self {
        Self(wanted.then(Vec::new))
    }

    /// Takes an object.
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
