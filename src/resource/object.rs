//! Objects: resources that the kernel lists, adds and deletes in a network namespace by a key, such as addresses and routes.
//!
//! Each type of object has a file of its own with its key, value, lab file section, needs, messages, comparison and ownership, and the
//! checks of the in-memory kernel. `for_each_object` registers it for state, diff, plan, report, both kernels and the export to YAML.
//!
//! Links are not objects: they have kinds, parents and ports. See [`super::link`].

mod awaited;
pub mod site;
pub mod table;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::awaited::{Awaited, SettlingTime};
use self::site::{Item, Lowered, Site};
use self::wire::{Dump, Found, Notes, Reading, Request};
use super::FieldChange;
use super::link::{Ifindex, Link};
use crate::name::{LinkName, NamespaceName};
use crate::yaml::Problems;

/// The registry: hands every type of object to the macro `$then`. Objects are added in this order and removed in the reverse order. The
/// first word is the name of the list in the lab file, of an interface or of a namespace.
macro_rules! for_each_object {
    ($then:ident) => {
        $then! {
            interface {
                /// Addresses, in the order in which they are added.
                addresses => Address($crate::resource::address::Address),
            }
            namespace {
                /// Routes of both families.
                routes => Route($crate::resource::route::Route),
                /// Rules of policy routing, of both families.
                rules => Rule($crate::resource::rule::Rule),
                /// Neighbours and proxies of both families.
                neighbors => Neighbor($crate::resource::neighbor::Neighbor),
            }
        }
    };
}
pub(crate) use for_each_object;

/// The identity of an object among those of its type in the namespace. Plans list objects in its order.
pub trait ObjectKey: Clone + Ord + Hash + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + Send + Sync {}
impl<T: Clone + Ord + Hash + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + Send + Sync> ObjectKey for T {}

/// The identity of an object: its namespace and its key.
pub type Id<O> = (NamespaceName, <O as Object>::Key);

/// The contract of a type of object.
pub trait Object: Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The word for the type in plans and messages: `route`.
    const WORD: &'static str;
    /// The key of its list in the lab file: `routes`.
    const LIST: &'static str;
    /// Its identity within the namespace.
    type Key: ObjectKey;
    /// One item of its list in the lab file.
    type Spec: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + JsonSchema;

    // The lab file.

    /// Turns the items of one namespace into objects. Reports a problem for each item that the kernel would refuse.
    fn lower(items: &[Item<'_, Self::Spec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems);

    /// Returns the item of the lab file that describes the object: the inverse of [`Self::lower`].
    fn raise(key: &Self::Key, value: &Self) -> Self::Spec;

    // Dependencies.

    /// Returns the interfaces whose indices its messages contain, in the order of [`At::indices`]; `None` for an unknown one. The kernel
    /// removes the object when all of them are removed.
    fn links(key: &Self::Key, value: &Self) -> Vec<Option<LinkName>>;

    /// Returns its needs. The kernel removes the object when one of them is no longer met.
    fn needs(key: &Self::Key, value: &Self) -> Vec<Need>;

    // Comparison.

    /// Returns the attributes in which the desired object differs from the live one.
    fn compare(key: &Self::Key, desired: &Self, live: &Self) -> Vec<FieldChange>;

    /// Returns all attributes that are set, with the keys of the lab file.
    fn show(key: &Self::Key, value: &Self) -> Vec<(&'static str, Value)>;

    /// Returns its title in plans, which follows the [`Self::WORD`].
    fn title(key: &Self::Key, value: &Self) -> String {
        let _ = value;
        key.to_string()
    }

    /// Returns its address in messages and JSON plans: the namespace and the key.
    fn address(namespace: &NamespaceName, key: &Self::Key) -> String {
        format!("{namespace} {key}")
    }

    /// Determines the changes of the objects of one namespace. By default, each object is compared separately.
    fn settle(group: &Group<'_, Self>, surroundings: &mut Surroundings<'_>) -> Vec<Verdict<Self>> {
        group.iter().filter_map(|pair| pair.verdict(surroundings.losses)).collect()
    }

    /// Returns whether the kernel keeps a live object that has lost one of its needs, so that the plan must remove it.
    fn outlives_loss(&self) -> bool {
        false
    }

    /// Returns the order in which objects of the type are added to a namespace, lower ones first. Objects of equal rank are added in the
    /// order of their keys.
    fn rank(&self) -> i64 {
        0
    }

    /// Returns the order in which objects of the type are removed from a namespace; by default the reverse of [`Self::rank`].
    fn removal_rank(&self) -> i64 {
        -self.rank()
    }

    // Messages.

    /// Returns the requests that list all objects of a namespace.
    fn dumps() -> Vec<Dump>;

    /// Decodes the body of one message of a dump; `None` for objects that topo does not manage.
    ///
    /// # Errors
    /// Fails if the message is malformed.
    fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Self>>, String>;

    /// Returns the messages that add the object, or change the existing one.
    fn put(at: &At<Self>, over: &Over<Self>) -> Vec<Request>;

    /// Returns the messages that delete the object.
    fn remove(at: &At<Self>) -> Vec<Request>;

    /// Returns the local address that must pass duplicate address detection before the kernel accepts the object.
    fn awaits(key: &Self::Key, value: &Self) -> Option<IpAddr> {
        let _ = (key, value);
        None
    }

    /// Returns whether the object is put after all other operations, when the links of all namespaces are up.
    fn is_late(key: &Self::Key, value: &Self) -> bool {
        Self::awaits(key, value).is_some()
    }

    // Ownership and observation.

    /// Sorts the objects of one namespace, and completes attributes that a single message does not contain. The objects are given in the
    /// kernel's order.
    fn arrange(objects: &mut Vec<(Self::Key, Self)>, seen: &Seen<'_>) {
        let _ = seen;
        objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// Returns the declared key that the live object with this key excludes, and a description of the live object.
    fn clash<'k>(key: &Self::Key, declared: &mut dyn Iterator<Item = &'k Self::Key>) -> Option<(&'k Self::Key, String)> {
        let _ = (key, declared);
        None
    }

    /// Returns the foreign object marked for adoption; `None` for types that cannot be adopted.
    fn adopted(self) -> Option<Self> {
        None
    }

    // The in-memory kernel.

    /// Returns whether the kernel considers both the same object: it refuses to add the second, and deletes one for the other.
    fn is_same(one: (&Self::Key, &Self), other: (&Self::Key, &Self)) -> bool {
        one.0 == other.0
    }

    /// Checks an object as the kernel does, except for existing keys and missing interfaces.
    ///
    /// # Errors
    /// Returns the error number and the kernel's message.
    fn admit(at: &At<Self>, simulation: &dyn Simulation) -> Result<(), (i32, &'static str)> {
        let _ = (at, simulation);
        Ok(())
    }
}

/// A condition for the existence of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The interface exists.
    Link(LinkName),
    /// The interface exists and is up.
    Up(LinkName),
    /// The interface exists, is up, and has an IPv4 address. The kernel removes IPv4 routes with the last address.
    Inet(LinkName),
    /// The interface exists, is up, and has IPv6.
    Inet6(LinkName),
    /// The interface keeps its hardware address and its use of ARP.
    Hardware(LinkName),
    /// The interface has a carrier.
    Carrier(LinkName),
    /// The namespace has this address, which is the source of packets.
    Source(IpAddr),
}

impl Need {
    /// Returns the interface.
    pub fn link(&self) -> Option<LinkName> {
        match self {
            Self::Link(link)
            | Self::Up(link)
            | Self::Inet(link)
            | Self::Inet6(link)
            | Self::Hardware(link)
            | Self::Carrier(link) => Some(*link),
            Self::Source(_) => None,
        }
    }
}

/// The loss of a link, permanent or temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLoss {
    /// The link is deleted.
    Deleted,
    /// The link is replaced.
    Replaced,
    /// The link goes down.
    Down,
}

/// The links and addresses of one namespace that are lost during the plan, at least temporarily.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    /// The namespace, for reasons.
    pub namespace: Option<NamespaceName>,
    /// Links that are deleted, replaced or set down.
    pub links: BTreeMap<LinkName, LinkLoss>,
    /// Links that lose their last IPv4 address.
    pub without_inet: BTreeSet<LinkName>,
    /// Links whose hardware address or use of ARP changes.
    pub readdressed: BTreeSet<LinkName>,
    /// Links that lose their carrier.
    pub without_carrier: BTreeSet<LinkName>,
    /// Local addresses that are removed.
    pub sources: BTreeSet<IpAddr>,
}

impl Losses {
    /// Returns empty losses of this namespace.
    pub fn of_namespace(namespace: &NamespaceName) -> Self {
        Self { namespace: Some(namespace.clone()), ..Self::default() }
    }

    /// Returns whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        let Self { namespace: _, links, without_inet, readdressed, without_carrier, sources } = self;
        let of_links = [without_inet, readdressed, without_carrier];
        links.is_empty() && of_links.iter().all(|links| links.is_empty()) && sources.is_empty()
    }

    fn full_name(&self, link: LinkName) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}:{link}"),
            None => link.to_string(),
        }
    }

    /// Returns the loss of the link as a phrase.
    pub fn reason(&self, link: LinkName) -> Option<String> {
        let name = self.full_name(link);
        self.links.get(&link).map(|loss| match loss {
            LinkLoss::Deleted => format!("`{name}` is deleted"),
            LinkLoss::Replaced => format!("`{name}` is replaced"),
            LinkLoss::Down => format!("`{name}` goes down"),
        })
    }

    /// Returns whether the link is deleted or replaced.
    pub fn is_gone(&self, link: LinkName) -> bool {
        matches!(self.links.get(&link), Some(LinkLoss::Deleted | LinkLoss::Replaced))
    }

    /// Returns the reason if a need is not met during the plan.
    pub fn of(&self, need: &Need) -> Option<String> {
        match need {
            Need::Link(link) => self.reason(*link).filter(|_| self.is_gone(*link)),
            Need::Up(link) | Need::Inet6(link) => self.reason(*link),
            Need::Inet(link) => {
                let lost = || self.without_inet.contains(link).then(|| self.full_name(*link));
                self.reason(*link).or_else(|| Some(format!("the IPv4 addresses of `{}` change", lost()?)))
            }
            Need::Hardware(link) => {
                let changes = self.readdressed.contains(link);
                changes.then(|| format!("the hardware address of `{}`, or its use of ARP, may change", self.full_name(*link)))
            }
            Need::Carrier(link) => {
                let lost = self.without_carrier.contains(link);
                lost.then(|| format!("`{}` loses its carrier", self.full_name(*link)))
            }
            Need::Source(ip) => self.sources.contains(ip).then(|| format!("its source address {ip} changes")),
        }
    }
}

/// The context of [`Object::settle`].
pub struct Surroundings<'a> {
    /// Looks up a desired link.
    pub link: &'a dyn Fn(LinkName) -> Option<&'a Link>,
    /// Whether the namespace is created.
    pub is_new: bool,
    /// Returns whether a sysctl disables IPv6 in the namespace or on one of its interfaces.
    pub disables_ipv6: &'a dyn Fn() -> bool,
    /// Returns the length of the longest prefix of a desired address that contains an address, and that the kernel adds a route for.
    pub connected: &'a dyn Fn(IpAddr) -> Option<u8>,
    /// The losses so far. Types that come later in the registry see the additions of earlier ones.
    pub losses: &'a mut Losses,
}

/// A key with the desired and the live object.
pub struct Pair<'a, O: Object> {
    /// The key.
    pub key: &'a O::Key,
    /// The desired object.
    pub desired: Option<&'a O>,
    /// The live object.
    pub live: Option<&'a O>,
}

/// The objects of one namespace, sorted by key.
pub type Group<'a, O> = [Pair<'a, O>];

impl<O: Object> Pair<'_, O> {
    /// Compares the object without regard to others; `None` if nothing changes.
    pub fn verdict(&self, losses: &Losses) -> Option<Verdict<O>> {
        match (self.desired, self.live) {
            (Some(_), None) => Some(self.create()),
            (None, Some(_)) => Some(self.delete()),
            (None, None) => None,
            (Some(desired), Some(live)) => {
                let lost = || O::needs(self.key, live).iter().find_map(|need| losses.of(need));
                if let Some(reason) = (!losses.is_empty()).then(lost).flatten() {
                    return Some(self.replace(Replacement::Overwrite, Some(reason)));
                }
                let fields = O::compare(self.key, desired, live);
                match fields.iter().any(|field| field.forces_replacement) {
                    true => Some(self.replace(Replacement::PutFirst, None)),
                    false => (!fields.is_empty()).then(|| self.update()),
                }
            }
        }
    }

    /// Returns a verdict that adds the object.
    pub fn create(&self) -> Verdict<O> {
        self.verdict_of(Fate::Create, None)
    }

    /// Returns a verdict that removes the object.
    pub fn delete(&self) -> Verdict<O> {
        self.verdict_of(Fate::Delete, None)
    }

    /// Returns a verdict that removes the object after all objects have been added.
    pub fn delete_last(&self) -> Verdict<O> {
        self.verdict_of(Fate::DeleteLast, None)
    }

    /// Returns a verdict that changes the object in place.
    pub fn update(&self) -> Verdict<O> {
        self.verdict_of(Fate::Update, None)
    }

    /// Returns a verdict that replaces the object, or adds it again after the kernel has removed it.
    pub fn replace(&self, how: Replacement, reason: Option<String>) -> Verdict<O> {
        self.verdict_of(Fate::Replace(how), reason)
    }

    fn verdict_of(&self, fate: Fate, reason: Option<String>) -> Verdict<O> {
        let side = |object: Option<&O>, present: bool| object.filter(|_| present).cloned();
        let (before, after) =
            (side(self.live, fate != Fate::Create), side(self.desired, !matches!(fate, Fate::Delete | Fate::DeleteLast)));
        Verdict { key: self.key.clone(), fate, before, after, reason }
    }
}

/// The change of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is added.
    Create,
    /// It is changed in place.
    Update,
    /// It is replaced.
    Replace(Replacement),
    /// It is removed at the beginning of the plan.
    Delete,
    /// It is removed after all objects have been added, because others replace it.
    DeleteLast,
}

/// How an object is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// The old one is removed at the beginning of the plan.
    RemoveFirst,
    /// The new one is added before the old one is removed, so that one of them always exists.
    PutFirst,
    /// The kernel removes the old one, before or when the new one is added.
    Overwrite,
}

/// The change of one object, with the reason if it is not obvious.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict<O: Object> {
    /// Its key.
    pub key: O::Key,
    /// The change.
    pub fate: Fate,
    /// The live object; `None` if it is created.
    pub before: Option<O>,
    /// The desired object; `None` if it is deleted.
    pub after: Option<O>,
    /// The reason.
    pub reason: Option<String>,
}

/// The context of [`Object::arrange`].
pub struct Seen<'a> {
    /// What messages of other objects tell.
    pub notes: &'a Notes,
    /// Looks up a live link.
    pub link: &'a dyn Fn(LinkName) -> Option<&'a Link>,
}

/// An object with its namespace, its key, and the indices of its interfaces.
#[derive(Debug, Clone, PartialEq)]
pub struct At<O: Object> {
    /// The namespace.
    pub namespace: NamespaceName,
    /// Its key.
    pub key: O::Key,
    /// The object.
    pub value: O,
    /// The indices of the interfaces of [`Object::links`]; `None` for one that does not exist.
    pub indices: Vec<Option<Ifindex>>,
}

impl<O: Object> At<O> {
    /// Looks up the indices with `index`.
    pub fn new(namespace: &NamespaceName, key: &O::Key, value: &O, index: impl Fn(LinkName) -> Option<Ifindex>) -> Self {
        let indices = O::links(key, value).into_iter().map(|link| link.and_then(&index)).collect();
        Self { namespace: namespace.clone(), key: key.clone(), value: value.clone(), indices }
    }

    /// Returns the index of its first interface, or 0, which the kernel refuses.
    pub fn index(&self) -> Ifindex {
        self.indices.first().copied().flatten().unwrap_or(0)
    }
}

/// The existing object with the key of an object to be added.
#[derive(Debug, Clone, PartialEq)]
pub enum Over<O: Object> {
    /// None: the kernel refuses the new object if the key exists.
    Nothing,
    /// Any object or none. The new object replaces it.
    Anything,
    /// This live object. It is changed.
    Live(Box<O>),
}

/// An object to be added or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Put<O: Object> {
    /// The object.
    pub at: At<O>,
    /// The existing object.
    pub over: Over<O>,
    /// The address that must be usable first, [`Object::awaits`].
    pub awaited: Option<Box<Awaited>>,
}

/// The queries of objects to the in-memory kernel.
pub trait Simulation {
    /// Returns whether the interface with that index is up; `None` if it does not exist.
    fn is_up(&self, namespace: &NamespaceName, index: Ifindex) -> Option<bool>;
}

/// Protocols of manually added objects (RTPROT_UNSPEC, BOOT, STATIC).
const BY_HAND: [u8; 3] = [0, 3, 4];
/// Protocols of objects that the kernel adds or learns (RTPROT_REDIRECT, KERNEL, RA).
const BY_KERNEL: [u8; 3] = [1, wire::RTPROT_KERNEL, 9];

/// The creator of a live object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// topo.
    Topo,
    /// A user, manually.
    Hand,
    /// The kernel.
    Kernel,
    /// A daemon with that protocol, rtnetlink(7).
    Daemon(u8),
    /// Not reported by the kernel. The object counts as the kernel's unless the lab declares it.
    Unknown,
}

impl Maker {
    /// Returns the creator of an object with that protocol (`rtm_protocol` and the like).
    pub fn of_protocol(protocol: u8) -> Self {
        match protocol {
            crate::ownership::PROTOCOL => Self::Topo,
            protocol if BY_HAND.contains(&protocol) => Self::Hand,
            protocol if BY_KERNEL.contains(&protocol) => Self::Kernel,
            protocol => Self::Daemon(protocol),
        }
    }
}
