//! Objects: what the kernel lists, adds and deletes inside a network namespace under a key, such as addresses and routes.
//!
//! One sort of object is one file: its key, its value, its part of the lab file, what it requires, its messages, how the
//! desired one is compared with the live one, who made it, and what the in-memory kernel refuses. The file is registered in
//! `for_each_object`; state, diff, plan, report, both kernels and the way back to YAML follow.
//!
//! Links are not objects: they have kinds, parents and ports, and live in [`super::link`].

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

use self::site::{Item, Lowered, Site};
use self::wire::{Dump, Found, Notes, Reading, Request};
use super::FieldChange;
use super::link::{Ifindex, Link};
use crate::name::{LinkName, NamespaceName};
use crate::yaml::Problems;

/// The registry: hands every sort of object to the macro `$then`, in the order in which objects are put; they are removed in
/// the reverse order. The first word is the list in the lab file, of an interface or of a namespace.
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
            }
        }
    };
}
pub(crate) use for_each_object;

/// What tells one object from all others of its sort in the namespace. Plans list objects in its order.
pub trait ObjectKey: Clone + Ord + Hash + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + Send + Sync {}
impl<T: Clone + Ord + Hash + fmt::Debug + fmt::Display + Serialize + DeserializeOwned + Send + Sync> ObjectKey for T {}

/// The identity of an object: where it is, and its key there.
pub type Id<O> = (NamespaceName, <O as Object>::Key);

/// The contract of a sort of object.
pub trait Object: Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The word for it in plans and messages: `route`.
    const WORD: &'static str;
    /// The key of its list in the lab file: `routes`.
    const LIST: &'static str;
    /// Its identity within the namespace.
    type Key: ObjectKey;
    /// One item of its list in the lab file.
    type Spec: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + JsonSchema;

    // The lab file.

    /// Turns the items of one namespace into objects. What the kernel would refuse, and the file alone shows, is a problem.
    fn lower(items: &[Item<'_, Self::Spec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems);

    /// The item of the lab file that describes the object: the inverse of [`Self::lower`].
    fn raise(key: &Self::Key, value: &Self) -> Self::Spec;

    // What it has to do with others.

    /// The interfaces whose numbers its messages contain, in the order of [`At::indices`]; `None` for one that is not known. The
    /// kernel removes the object when all of them are gone.
    fn links(key: &Self::Key, value: &Self) -> Vec<Option<LinkName>>;

    /// What must be there before it, and takes it along when it goes.
    fn needs(key: &Self::Key, value: &Self) -> Vec<Need>;

    // What differs.

    /// The attributes in which the desired object differs from the live one.
    fn compare(key: &Self::Key, desired: &Self, live: &Self) -> Vec<FieldChange>;

    /// All attributes that are set, under the lab file's keys.
    fn show(key: &Self::Key, value: &Self) -> Vec<(&'static str, Value)>;

    /// What plans call it, after the [`Self::WORD`].
    fn title(key: &Self::Key, value: &Self) -> String {
        let _ = value;
        key.to_string()
    }

    /// Its address in messages and JSON plans: the namespace and the key.
    fn address(namespace: &NamespaceName, key: &Self::Key) -> String {
        format!("{namespace} {key}")
    }

    /// Decides what happens to the objects of one namespace. By default each object is compared on its own.
    fn settle(group: &Group<'_, Self>, surroundings: &mut Surroundings<'_>) -> Vec<Verdict<Self>> {
        group.iter().filter_map(|pair| pair.verdict(surroundings.losses)).collect()
    }

    /// Whether the kernel keeps a live object although it has lost one of its needs, so that it must be removed by hand.
    fn outlives_loss(&self) -> bool {
        false
    }

    /// The position among objects of the sort that are put in one namespace; lower ones come first. Ties are put in the order
    /// of their keys.
    fn rank(&self) -> i64 {
        0
    }

    /// The position among objects of the sort that are removed from one namespace; by default the reverse of [`Self::rank`].
    fn removal_rank(&self) -> i64 {
        -self.rank()
    }

    // The kernel's messages.

    /// The requests that list all objects of a namespace.
    fn dumps() -> Vec<Dump>;

    /// Decodes the body of one message of a dump; `None` for what topo does not manage.
    ///
    /// # Errors
    /// When the message is malformed.
    fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Self>>, String>;

    /// The messages that add the object, or change the one in its place.
    fn put(at: &At<Self>, over: &Over<Self>) -> Vec<Request>;

    /// The messages that delete the object.
    fn remove(at: &At<Self>) -> Vec<Request>;

    /// The address of the namespace itself that must have passed duplicate address detection before the kernel takes the object.
    fn awaits(key: &Self::Key, value: &Self) -> Option<IpAddr> {
        let _ = (key, value);
        None
    }

    // Who made it.

    /// Completes and sorts the objects of one namespace, given in the kernel's order: what a single message does not tell.
    fn arrange(objects: &mut Vec<(Self::Key, Self)>, seen: &Seen<'_>) {
        let _ = seen;
        objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// The declared key that the kernel cannot have beside this one, and what the live object is.
    fn clash<'k>(key: &Self::Key, declared: &mut dyn Iterator<Item = &'k Self::Key>) -> Option<(&'k Self::Key, String)> {
        let _ = (key, declared);
        None
    }

    /// The object with the mark of a foreign one that the lab adopts; `None` for sorts that cannot be adopted.
    fn adopted(self) -> Option<Self> {
        None
    }

    // The in-memory kernel.

    /// Whether the kernel takes both for the same object: it refuses the second, and a request to delete one means the other.
    fn is_same(one: (&Self::Key, &Self), other: (&Self::Key, &Self)) -> bool {
        one.0 == other.0
    }

    /// What the kernel refuses, beyond keys that are taken and interfaces that are missing: the error number and the kernel's words.
    ///
    /// # Errors
    /// The refusal.
    fn admit(at: &At<Self>, simulation: &dyn Simulation) -> Result<(), (i32, &'static str)> {
        let _ = (at, simulation);
        Ok(())
    }
}

/// What an object cannot exist without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The interface.
    Link(LinkName),
    /// The interface, and that it is up.
    Up(LinkName),
    /// The interface, that it is up, and that it has an IPv4 address: the kernel removes IPv4 routes with the last one.
    Inet(LinkName),
    /// The namespace's own address, as the source of packets.
    Source(IpAddr),
}

impl Need {
    /// The interface that is needed.
    pub fn link(&self) -> Option<LinkName> {
        match self {
            Self::Link(link) | Self::Up(link) | Self::Inet(link) => Some(*link),
            Self::Source(_) => None,
        }
    }
}

/// Why what depends on a link is gone for a while at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLoss {
    /// The link is deleted.
    Deleted,
    /// The link is replaced.
    Replaced,
    /// The link goes down.
    Down,
}

/// What objects of one namespace lose during the plan.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    /// The namespace, for reasons.
    pub namespace: Option<NamespaceName>,
    /// Links that are gone, or down, for a while at least.
    pub links: BTreeMap<LinkName, LinkLoss>,
    /// Links that lose their last IPv4 address, for a while at least.
    pub without_inet: BTreeSet<LinkName>,
    /// Own addresses that are gone for a while at least.
    pub sources: BTreeSet<IpAddr>,
}

impl Losses {
    /// Nothing so far, in this namespace.
    pub fn of_namespace(namespace: &NamespaceName) -> Self {
        Self { namespace: Some(namespace.clone()), ..Self::default() }
    }

    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.without_inet.is_empty() && self.sources.is_empty()
    }

    /// What happens to the link, as a phrase.
    pub fn reason(&self, link: LinkName) -> Option<String> {
        let name = match &self.namespace {
            Some(namespace) => format!("{namespace}:{link}"),
            None => link.to_string(),
        };
        self.links.get(&link).map(|loss| match loss {
            LinkLoss::Deleted => format!("`{name}` is deleted"),
            LinkLoss::Replaced => format!("`{name}` is replaced"),
            LinkLoss::Down => format!("`{name}` goes down"),
        })
    }

    /// Whether the link is deleted or replaced.
    pub fn is_gone(&self, link: LinkName) -> bool {
        matches!(self.links.get(&link), Some(LinkLoss::Deleted | LinkLoss::Replaced))
    }

    /// Why a need is not met for a while, if so.
    fn of(&self, need: &Need) -> Option<String> {
        match need {
            Need::Link(link) => self.reason(*link).filter(|_| self.is_gone(*link)),
            Need::Up(link) => self.reason(*link),
            Need::Inet(link) => self.reason(*link).or_else(|| {
                let namespace = self.namespace.as_ref().filter(|_| self.without_inet.contains(link))?;
                Some(format!("the IPv4 addresses of `{namespace}:{link}` change"))
            }),
            Need::Source(ip) => self.sources.contains(ip).then(|| format!("its source address {ip} changes")),
        }
    }
}

/// What [`Object::settle`] may look at and add to.
pub struct Surroundings<'a> {
    /// The desired link of that name.
    pub link: &'a dyn Fn(LinkName) -> Option<&'a Link>,
    /// What is lost so far; objects that come later in the registry see what earlier ones add.
    pub losses: &'a mut Losses,
}

/// A key with the desired and the live object.
pub struct Pair<'a, O: Object> {
    /// The key.
    pub key: &'a O::Key,
    /// What the lab wants.
    pub desired: Option<&'a O>,
    /// What is there.
    pub live: Option<&'a O>,
}

/// The objects of one namespace, sorted by key.
pub type Group<'a, O> = [Pair<'a, O>];

impl<O: Object> Pair<'_, O> {
    /// What happens to the object when it is looked at on its own; `None` when nothing does.
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

    /// The object is added.
    pub fn create(&self) -> Verdict<O> {
        self.verdict_of(Fate::Create, None)
    }

    /// The object is removed.
    pub fn delete(&self) -> Verdict<O> {
        self.verdict_of(Fate::Delete, None)
    }

    /// The object is removed after others have taken its place.
    pub fn delete_last(&self) -> Verdict<O> {
        self.verdict_of(Fate::DeleteLast, None)
    }

    /// The object is changed in place.
    pub fn update(&self) -> Verdict<O> {
        self.verdict_of(Fate::Update, None)
    }

    /// The object is removed and added, or put where the kernel has removed it.
    pub fn replace(&self, how: Replacement, reason: Option<String>) -> Verdict<O> {
        self.verdict_of(Fate::Replace(how), reason)
    }

    fn verdict_of(&self, fate: Fate, reason: Option<String>) -> Verdict<O> {
        let kept = |side: Option<&O>, there: bool| side.filter(|_| there).cloned();
        let (before, after) =
            (kept(self.live, fate != Fate::Create), kept(self.desired, !matches!(fate, Fate::Delete | Fate::DeleteLast)));
        Verdict { key: self.key.clone(), fate, before, after, reason }
    }
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is added.
    Create,
    /// It is changed in place.
    Update,
    /// It is added anew.
    Replace(Replacement),
    /// It is removed at the beginning of the plan.
    Delete,
    /// It is removed after all objects have been put, since others take its place.
    DeleteLast,
}

/// How an object is added anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// The old one is removed at the beginning of the plan.
    RemoveFirst,
    /// The new one is added before the old one is removed: there is no moment without either.
    PutFirst,
    /// The kernel removes the old one by itself, sooner or later; the new one takes its place.
    Overwrite,
}

/// What happens to one object, and why where it is not obvious.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict<O: Object> {
    /// Its key.
    pub key: O::Key,
    /// What happens.
    pub fate: Fate,
    /// What is there; `None` when it is created.
    pub before: Option<O>,
    /// What will be there; `None` when it is deleted.
    pub after: Option<O>,
    /// Why.
    pub reason: Option<String>,
}

/// What of the namespace [`Object::arrange`] may look at.
pub struct Seen<'a> {
    /// What messages of other objects told.
    pub notes: &'a Notes,
    /// The live link of that name.
    pub link: &'a dyn Fn(LinkName) -> Option<&'a Link>,
}

/// An object with its place, and the numbers of its interfaces.
#[derive(Debug, Clone, PartialEq)]
pub struct At<O: Object> {
    /// Where.
    pub namespace: NamespaceName,
    /// Its key.
    pub key: O::Key,
    /// The object.
    pub value: O,
    /// The numbers of the interfaces of [`Object::links`]; `None` for one that does not exist.
    pub indices: Vec<Option<Ifindex>>,
}

impl<O: Object> At<O> {
    /// Its place, with the numbers that `index` knows.
    pub fn new(namespace: &NamespaceName, key: &O::Key, value: &O, index: impl Fn(LinkName) -> Option<Ifindex>) -> Self {
        let indices = O::links(key, value).into_iter().map(|link| link.and_then(&index)).collect();
        Self { namespace: namespace.clone(), key: key.clone(), value: value.clone(), indices }
    }

    /// The number of its first interface; 0 makes the kernel refuse the message.
    pub fn index(&self) -> Ifindex {
        self.indices.first().copied().flatten().unwrap_or(0)
    }
}

/// What an object is put over.
#[derive(Debug, Clone, PartialEq)]
pub enum Over<O: Object> {
    /// Nothing: the key must be free.
    Nothing,
    /// Whatever has the key, or nothing.
    Anything,
    /// This live object.
    Live(Box<O>),
}

/// An object to be put.
#[derive(Debug, Clone, PartialEq)]
pub struct Put<O: Object> {
    /// The object.
    pub at: At<O>,
    /// What has its place now.
    pub over: Over<O>,
}

/// What an object may ask of the in-memory kernel.
pub trait Simulation {
    /// Whether the interface with that number is up; `None` when there is none.
    fn is_up(&self, namespace: &NamespaceName, index: Ifindex) -> Option<bool>;
}

/// Protocols of objects that are made by hand (RTPROT_UNSPEC, BOOT, STATIC).
const BY_HAND: [u8; 3] = [0, 3, 4];
/// Protocols of objects that the kernel makes or learns (RTPROT_REDIRECT, KERNEL, RA).
const BY_KERNEL: [u8; 3] = [1, wire::RTPROT_KERNEL, 9];

/// Who made a live object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// topo.
    Topo,
    /// Somebody at a command line.
    Hand,
    /// The kernel, by itself.
    Kernel,
    /// A daemon with that protocol, rtnetlink(7).
    Daemon(u8),
    /// The kernel does not say; it is the kernel's unless the lab declares it.
    Unknown,
}

impl Maker {
    /// The maker of an object with that protocol (`rtm_protocol` and its like).
    pub fn of_protocol(protocol: u8) -> Self {
        match protocol {
            crate::ownership::PROTOCOL => Self::Topo,
            protocol if BY_HAND.contains(&protocol) => Self::Hand,
            protocol if BY_KERNEL.contains(&protocol) => Self::Kernel,
            protocol => Self::Daemon(protocol),
        }
    }
}
