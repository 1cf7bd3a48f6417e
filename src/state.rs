//! The state of a network. Desired and live states have the same type.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use crate::adoption::Adoptions;
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::ownership::Obstacle;
use crate::resource::ignore::Ignore;
pub use crate::resource::link::Ifindex;
use crate::resource::link::{Link, TakenPort};
use crate::resource::node::{Node, Part, PartKey};
use crate::resource::object::Id;
use crate::resource::object::Message;
use crate::resource::object::table::{self, Any, ForeignLists, Ids, Inspect, Registered, Sorted, Tables, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};

/// The identity of a resource. Resources of a namespace are listed in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceId {
    /// A network namespace.
    Namespace(NamespaceName),
    /// A sysctl of a namespace, or of an interface in it.
    Sysctl(NamespaceName, SysctlKey),
    /// An interface.
    Link(LinkId),
    /// An object of a namespace, such as an address or a route.
    Object(Any<Ids>),
    /// A node, or a part of it.
    Part(NamespaceName, PartKey),
}

impl ResourceId {
    /// Returns the identity of an object.
    pub fn object<O: Registered>(namespace: &NamespaceName, key: &O::Key) -> Self {
        Self::Object(O::any::<Ids>((namespace.clone(), key.clone())))
    }

    /// Returns the namespace and the key if this is an object of type `O`.
    pub fn as_object<O: Registered>(&self) -> Option<&Id<O>> {
        match self {
            Self::Object(any) => O::of_any::<Ids>(any),
            Self::Namespace(_) | Self::Sysctl(..) | Self::Link(_) | Self::Part(..) => None,
        }
    }

    /// Returns the namespace of the resource. For a namespace, that is the namespace itself.
    pub fn namespace(&self) -> &NamespaceName {
        match self {
            Self::Namespace(namespace) | Self::Sysctl(namespace, _) | Self::Part(namespace, _) => namespace,
            Self::Link(link) => &link.namespace,
            Self::Object(object) => object.namespace(),
        }
    }

    /// Returns the word for the type of the resource.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "namespace",
            Self::Sysctl(..) => "sysctl",
            Self::Link(_) => "link",
            Self::Object(object) => object.word(),
            Self::Part(_, key) => key.word(),
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "{namespace}"),
            Self::Sysctl(namespace, key) => write!(f, "{namespace}:{key}"),
            Self::Link(link) => write!(f, "{link}"),
            Self::Object(object) => write!(f, "{object}"),
            Self::Part(namespace, key) => match key.name() {
                None => write!(f, "{namespace}"),
                Some(name) => write!(f, "{namespace}:{name}"),
            },
        }
    }
}

/// Attributes, with the keys of the lab file.
pub type Attributes = Vec<(String, Value)>;

/// A set of resources by identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The lab's own namespaces, without `host`.
    pub namespaces: BTreeSet<NamespaceName>,
    /// Sysctls.
    pub sysctls: BTreeMap<(NamespaceName, SysctlKey), Sysctl>,
    /// Interfaces, shared with plans.
    pub links: BTreeMap<LinkId, Arc<Link>>,
    /// Addresses, routes and the like.
    pub objects: Tables<Sorted>,
    /// Nodes and their parts.
    pub parts: BTreeMap<(NamespaceName, PartKey), Part>,
    /// What the user asked to adopt.
    pub adopt: Adoptions,
    /// Namespaces with foreign objects that the kernel has removed with changes of the lab.
    pub lost_in: BTreeSet<NamespaceName>,
    /// What others may add and change in the lab's namespaces.
    pub ignore: Ignore,
}

struct Concerned<'a> {
    state: &'a State,
    namespace: &'a NamespaceName,
    is_concerned: bool,
}

impl Visit for Concerned<'_> {
    fn visit<O: Registered>(&mut self) {
        self.is_concerned |= self.state.objects::<O>().keys().any(|(place, _)| place == self.namespace);
    }
}

impl State {
    /// Returns whether something is in a namespace.
    pub fn concerns(&self, namespace: &NamespaceName) -> bool {
        let mut concerned = Concerned { state: self, namespace, is_concerned: false };
        table::visit(&mut concerned);
        let links = self.links.keys().any(|link| link.namespace == *namespace);
        let sysctls = || self.sysctls.keys().any(|(place, _)| place == namespace);
        let parts = || self.parts.keys().any(|(place, _)| place == namespace);
        concerned.is_concerned || links || sysctls() || parts()
    }

    /// Returns the link with that name.
    pub fn link(&self, id: &LinkId) -> Option<&Link> {
        self.links.get(id).map(|link| &**link)
    }

    /// Returns the link with that name for modification.
    pub fn link_mut(&mut self, id: &LinkId) -> Option<&mut Link> {
        self.links.get_mut(id).map(Arc::make_mut)
    }

    /// Adds or replaces a link.
    pub fn insert_link(&mut self, id: LinkId, link: Link) {
        self.links.insert(id, Arc::new(link));
    }

    /// Returns the ports of a link, sorted.
    pub fn ports<'a>(&'a self, master: &'a LinkId) -> impl Iterator<Item = &'a LinkId> {
        let first = LinkId { namespace: master.namespace.clone(), ..LinkId::lowest() };
        let links = self.links.range(first..).take_while(|(id, _)| id.namespace == master.namespace);
        links.filter(|(_, link)| link.settings.master == Some(master.name)).map(|(id, _)| id)
    }

    /// Returns the node of a namespace, if it has more than a network.
    pub fn node(&self, namespace: &NamespaceName) -> Option<&Node> {
        match self.parts.get(&(namespace.clone(), PartKey::Node)) {
            Some(Part::Node(node)) => Some(node),
            Some(_) | None => None,
        }
    }

    /// Returns the objects of type `O`.
    pub fn objects<O: Registered>(&self) -> &BTreeMap<Id<O>, O> {
        self.objects.of::<O>()
    }

    /// Adds or replaces an object.
    pub fn insert<O: Registered>(&mut self, namespace: &NamespaceName, key: O::Key, value: O) {
        self.objects.of_mut::<O>().insert((namespace.clone(), key), value);
    }

    /// Returns the sysctls of a namespace.
    pub fn sysctls_of(&self, namespace: &NamespaceName) -> impl Iterator<Item = (&SysctlKey, &Sysctl)> {
        let from_first = self.sysctls.range((namespace.clone(), SysctlKey::lowest())..);
        let of_namespace = from_first.take_while(move |((other, _), _)| other == namespace);
        of_namespace.map(|((_, key), sysctl)| (key, sysctl))
    }

    /// Returns whether a foreign link of `host` becomes the lab's.
    pub fn adopts_link(&self, id: &LinkId) -> bool {
        self.adopt.named.contains(id) || self.adopt.all && self.link(id).is_some_and(|link| !link.external)
    }

    /// Returns the namespaces that become the lab's if they are foreign.
    pub fn adopted_namespaces(&self) -> impl Iterator<Item = &NamespaceName> {
        let named = self.adopt.named.iter().filter(|link| link.name.is_loopback() && !link.namespace.is_host());
        named.map(|link| &link.namespace).chain(self.namespaces.iter().filter(|_| self.adopt.all))
    }

    /// Returns the namespaces in which a link filters the frames of its ports by VLAN, or VLANs are set: those of a state that a
    /// rollback goes back to were read, and must be read again to be compared.
    pub fn namespaces_with_vlans(&self) -> BTreeSet<NamespaceName> {
        let has_vlans =
            |link: &Link| link.kind.vlans().is_some() || link.port.as_ref().is_some_and(|port| port.vlans().is_some());
        let concerned = self.links.iter().filter(|(_, link)| link.kind.filters_by_vlan() || has_vlans(link));
        concerned.map(|(id, _)| id.namespace.clone()).collect()
    }

    /// Adds the resources of another state.
    pub fn extend(&mut self, other: Self) {
        self.namespaces.extend(other.namespaces);
        self.sysctls.extend(other.sysctls);
        self.links.extend(other.links);
        self.adopt.join(other.adopt);
        self.lost_in.extend(other.lost_in);
        self.ignore.extend(other.ignore);
        self.parts.extend(other.parts);
        table::visit(&mut Extend { state: self, other: &other.objects });
    }

    /// Returns whether the resource exists.
    pub fn contains(&self, id: &ResourceId) -> bool {
        match id {
            ResourceId::Namespace(namespace) => self.namespaces.contains(namespace),
            ResourceId::Sysctl(namespace, key) => self.sysctls.contains_key(&(namespace.clone(), key.clone())),
            ResourceId::Link(link) => self.links.contains_key(link),
            ResourceId::Object(object) => object.inspect(Contained(self)),
            ResourceId::Part(namespace, key) => self.parts.contains_key(&(namespace.clone(), key.clone())),
        }
    }

    /// Returns the identities of all resources, sorted.
    pub fn ids(&self) -> Vec<ResourceId> {
        self.show().into_iter().map(|(id, _)| id).collect()
    }

    /// Returns all resources with the attributes that are set, sorted.
    pub fn show(&self) -> Vec<(ResourceId, Attributes)> {
        let namespaces = self.namespaces.iter().map(|namespace| (ResourceId::Namespace(namespace.clone()), Vec::new()));
        let sysctl = |((namespace, key), sysctl): (&(NamespaceName, SysctlKey), &Sysctl)| {
            (ResourceId::Sysctl(namespace.clone(), key.clone()), sysctl.show())
        };
        let links = self.links.iter().map(|(id, link)| (ResourceId::Link(id.clone()), link.show()));
        let mut shown: Vec<_> = namespaces.chain(self.sysctls.iter().map(sysctl)).chain(links).collect();
        table::visit(&mut Show { state: self, shown: &mut shown });
        shown.extend(
            self.parts.iter().map(|((namespace, key), part)| (ResourceId::Part(namespace.clone(), key.clone()), part.show())),
        );
        shown
    }
}

struct Extend<'a> {
    state: &'a mut State,
    other: &'a Tables<Sorted>,
}

impl Visit for Extend<'_> {
    fn visit<O: Registered>(&mut self) {
        let others = self.other.of::<O>().iter().map(|(id, value)| (id.clone(), value.clone()));
        self.state.objects.of_mut::<O>().extend(others);
    }
}

struct Contained<'a>(&'a State);

impl<'a> Inspect<'a, Ids> for Contained<'_> {
    type Result = bool;
    fn inspect<O: Registered>(self, id: &'a Id<O>) -> bool {
        self.0.objects::<O>().contains_key(id)
    }
}

struct Show<'a> {
    state: &'a State,
    shown: &'a mut Vec<(ResourceId, Attributes)>,
}

impl Visit for Show<'_> {
    fn visit<O: Registered>(&mut self) {
        self.shown.extend(self.state.objects::<O>().iter().map(|((namespace, key), value)| {
            let attributes = O::show(key, value).into_iter().map(|(name, value)| (name.to_owned(), value));
            (ResourceId::object::<O>(namespace, key), attributes.collect())
        }));
    }
}

/// Joins two sequences that are sorted by unique keys. Yields every key of either sequence with the values of both.
pub fn side_by_side<K: Ord, A, B>(
    one: impl Iterator<Item = (K, A)>,
    other: impl Iterator<Item = (K, B)>,
) -> impl Iterator<Item = (K, Option<A>, Option<B>)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || {
        let order = match (one.peek(), other.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let a = if order.is_le() { one.next() } else { None };
        let b = if order.is_ge() { other.next() } else { None };
        match (a, b) {
            (Some((key, a)), b) => Some((key, Some(a), b.map(|(_, b)| b))),
            (None, Some((key, b))) => Some((key, None, Some(b))),
            (None, None) => None,
        }
    })
}

/// A foreign link that the kernel removes together with the link below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignUpper {
    /// The link.
    pub id: LinkId,
    /// The name of its kind.
    pub kind: String,
    /// The link that it stands on, in the same namespace.
    pub below: LinkName,
}

/// The objects of a namespace that others added, and what the kernel tells of it.
#[derive(Debug, Clone, Default)]
pub struct ForeignObjects {
    /// Those that the kernel may remove with changes of the lab.
    pub present: Tables<ForeignLists>,
    /// Those that the kernel has removed with changes of the lab, and that are not there.
    pub lost: Tables<ForeignLists>,
    /// Those of `host` that the kernel has removed with changes of other labs. They come back with the last lab that keeps them away.
    pub lost_with_others: Tables<ForeignLists>,
    /// The connected routes, of all addresses.
    pub connected: Vec<(IpNet, LinkName)>,
    /// The local addresses, those that the kernel made included.
    pub local: Vec<(IpAddr, LinkName)>,
    /// Links on which the next IPv4 address of a subnet takes the place of the first one when that is removed.
    pub promoting: BTreeSet<LinkName>,
    /// Links in `host` that other labs keep down.
    pub down: BTreeSet<LinkName>,
    /// Links in `host` that have no IPv6 because of an mtu that other labs set.
    pub without_inet6: BTreeSet<LinkName>,
}

/// The live network, as far as a plan for one lab needs it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The resources that the lab owns or declares.
    pub state: State,
    /// The index of every link in `state`.
    pub indices: BTreeMap<LinkId, Ifindex>,
    /// Whether a foreign link is in the lab's group.
    pub group_is_shared: bool,
    /// Sysctls of `host` that the lab does not declare, but that the kernel can change with those that it declares.
    pub foreign_sysctls: BTreeMap<SysctlKey, Sysctl>,
    /// Foreign objects, in the namespaces where the kernel may remove some with changes of the lab, or has removed some.
    pub foreign_objects: BTreeMap<NamespaceName, ForeignObjects>,
    /// External links that the lab took from another master before, with what they had there.
    pub taken_ports: BTreeMap<LinkId, TakenPort>,
    /// The requests that add the static forwarding entries of external links.
    pub forwarding: BTreeMap<LinkId, Vec<Message>>,
    /// Links in `host` with the mark of another lab.
    pub of_other_labs: BTreeSet<LinkName>,
    /// Foreign links of `host` that stand on another link there.
    pub foreign_uppers: Vec<ForeignUpper>,
    /// Foreign links of `host` that are ports, with the names of their masters.
    pub foreign_ports: Vec<(LinkId, LinkName)>,
    /// The indices of foreign links in `host`. New links cannot have them, but can have these links as parents.
    pub taken_indices: BTreeMap<LinkId, Ifindex>,
    /// Namespaces of the lab that are incomplete because their creation or removal was interrupted.
    pub broken: BTreeSet<NamespaceName>,
    /// The lab's namespaces that a user namespace of their own owns, as far as the lab or a node asks for one.
    pub user_owned: BTreeSet<NamespaceName>,
    /// Foreign resources that conflict with resources of the lab.
    pub foreign: BTreeMap<ResourceId, Obstacle>,
    /// The namespace of the lab that took the place of `host`, because topo was started in it.
    pub inside: Option<NamespaceName>,
    /// Links that are down or have no carrier.
    pub idle: BTreeSet<LinkId>,
    /// IPv6 addresses that duplicate address detection is not finished with, those that the kernel made included.
    pub tentative: Vec<(LinkId, IpAddr)>,
}

impl Live {
    /// Returns a sysctl, be it the lab's or not.
    pub fn sysctl(&self, namespace: &NamespaceName, key: &SysctlKey) -> Option<&Sysctl> {
        let foreign = || self.foreign_sysctls.get(key).filter(|_| namespace.is_host());
        self.state.sysctls.get(&(namespace.clone(), key.clone())).or_else(foreign)
    }

    /// Returns the index of a link, be it the lab's or not.
    pub fn any_index(&self, link: &LinkId) -> Option<Ifindex> {
        self.indices.get(link).or_else(|| self.taken_indices.get(link)).copied()
    }

    /// Returns the index of a link.
    pub fn index(&self, namespace: &NamespaceName, name: LinkName) -> Option<Ifindex> {
        self.indices.get(&LinkId::new(namespace, name)).copied()
    }
}
