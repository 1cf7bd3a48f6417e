//! Objects: resources that the kernel lists, adds and deletes in a network namespace by a key, such as addresses and routes.
//!
//! Each type of object has a file of its own with its key, value, lab file section, needs, messages, comparison and ownership, and the
//! checks of the in-memory kernel. `for_each_object` registers it for state, diff, plan, report, both kernels and the export to YAML.
//!
//! Links are not objects: they have kinds, parents and ports. See [`super::link`].

mod awaited;
mod foreign;
mod maker;
mod need;
pub mod site;
pub mod table;
mod verdict;
pub mod wire;

use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::awaited::{Awaited, SettlingTime};
pub use self::foreign::{Bodies, ByKey, Foreign, Gateway, Message, Reach, Restoration, Way};
pub use self::maker::Maker;
pub use self::need::{LinkLoss, Losses, Need};
use self::site::{Item, Lowered, Site};
pub use self::verdict::{Fate, Group, Pair, Replacement, Surroundings, Verdict};
use self::wire::{Dump, Found, Notes, Reading, Request};
use super::FieldChange;
use super::link::{Ifindex, Link};
use crate::iproute2::Line;
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
                /// What interfaces do to the packets that they send: their root qdiscs.
                impair => Qdisc($crate::resource::qdisc::Qdisc),
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

/// The objects that the kernel does not allow beside another one.
pub struct Excluded<K> {
    /// Their keys.
    pub keys: RangeInclusive<K>,
    /// Describes the other one by its key.
    pub because: fn(&K) -> String,
}

/// The contract of a type of object.
pub trait Object: Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The word for the type in plans and messages: `route`.
    const WORD: &'static str;
    /// The key of its list in the lab file: `routes`.
    const LIST: &'static str;
    /// Its identity within the namespace.
    type Key: ObjectKey;
    /// The type of the message that adds one (RTM_NEW*).
    const NEW: u16;
    /// One item of its list in the lab file.
    type Spec: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + JsonSchema;

    // The lab file.

    /// Turns the items of one namespace into objects. Reports a problem for each item that the kernel would refuse.
    fn lower(items: &[Item<'_, Self::Spec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems);

    /// Returns the item of the lab file that describes the object: the inverse of [`Self::lower`].
    fn raise(key: &Self::Key, value: &Self) -> Self::Spec;

    /// Returns a live object as a lab file needs it: without the attributes that the kernel gives it by itself.
    #[must_use]
    fn plain(key: &Self::Key, value: &Self) -> Self {
        let _ = key;
        value.clone()
    }

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

    /// Returns whether the live object ends by itself after some time. One that the lab does not declare belongs to whoever added it.
    fn expires(&self) -> bool {
        false
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

    // Commands of iproute2.

    /// Returns the commands that add the object, or change the existing one: the same as [`Self::put`].
    fn say_put(at: &At<Self>, over: &Over<Self>) -> Vec<Line>;

    /// Returns the commands that delete the object: the same as [`Self::remove`].
    fn say_remove(at: &At<Self>) -> Vec<Line>;

    /// Returns the command that adds a foreign object again, if it is not there.
    fn say_again(again: &Restoration<Self>) -> Line;

    // Order and waiting.

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

    /// Returns the objects that the kernel does not allow beside the one with this key.
    fn excludes(key: &Self::Key) -> Option<Excluded<Self::Key>> {
        let _ = key;
        None
    }

    /// Returns the key after links were renamed. `now` returns their present names.
    fn renamed(key: Self::Key, now: &dyn Fn(LinkName) -> LinkName) -> Self::Key {
        let _ = now;
        key
    }

    /// Returns the foreign object marked for adoption; `None` for types that cannot be adopted.
    fn adopted(self) -> Option<Self> {
        None
    }

    // Foreign objects that the kernel removes as a side effect.

    /// Returns whether somebody added an object of an unknown creator, and not the kernel by itself. `link` is its interface.
    fn is_by_hand(key: &Self::Key, value: &Self, link: &Link) -> bool {
        let _ = (key, value, link);
        false
    }

    /// Returns which of the foreign objects the kernel removes with objects of the lab of this type, each with its position and the
    /// reason. What it removes with links follows from [`Self::needs`].
    fn taken_along(
        foreign: &[Foreign<Self>],
        lab: &[(&Self::Key, &Self, bool)],
        promotes: &dyn Fn(LinkName) -> bool,
    ) -> Vec<(usize, String)> {
        let _ = (foreign, lab, promotes);
        Vec::new()
    }

    /// Returns which of the foreign objects must be removed for a while, so that those objects of the lab that are added again get their
    /// place. Each has its position and the reason.
    fn displaced(foreign: &[Foreign<Self>], added: &[(&Self::Key, &Self)]) -> Vec<(usize, String)> {
        let _ = (foreign, added);
        Vec::new()
    }

    /// Returns the body of the request that adds a foreign object again, from the message that reported it; `None` if the kernel accepts
    /// no such request.
    fn again(message: &Message) -> Option<Message> {
        Some(message.clone())
    }

    /// Returns the flags of the request that adds a foreign object again: by default, it fails if another one has the key.
    fn flags_of_again(message: &Message) -> u16 {
        let _ = message;
        NLM_F_CREATE | NLM_F_EXCL
    }

    /// Returns what it contributes to the reachability of gateways, and needs of it.
    fn reach(key: &Self::Key, value: &Self) -> Reach {
        let _ = (key, value);
        Reach::default()
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

    /// Returns a foreign object that is added again. It has no indices.
    pub fn foreign(again: &Restoration<O>) -> Self {
        let Foreign { key, value, .. } = &again.foreign;
        Self::new(&again.namespace, key, value, |_| None)
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

impl<O: Object> Put<O> {
    /// Returns the interface whose loss of carrier would cost the object.
    fn kept_by_carrier_of(&self) -> Option<Ifindex> {
        let (key, value) = (&self.at.key, &self.at.value);
        let needs = if O::is_late(key, value) { O::needs(key, value) } else { Vec::new() };
        let link = needs.iter().find_map(|need| if let Need::Carrier(link) = need { Some(*link) } else { None })?;
        let mut links = O::links(key, value).into_iter().zip(&self.at.indices);
        links.find_map(|(other, index)| if other == Some(link) { *index } else { None })
    }
}

/// The queries of objects to the in-memory kernel.
pub trait Simulation {
    /// Returns whether the interface with that index is up; `None` if it does not exist.
    fn is_up(&self, namespace: &NamespaceName, index: Ifindex) -> Option<bool>;
}
