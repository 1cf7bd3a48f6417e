//! The state of a network: one type for what the lab desires and for what the kernel has.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::address::Address;
pub use crate::resource::link::Ifindex;
use crate::resource::link::Link;
use crate::resource::route::{Route, RouteKey};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::value::InterfaceAddress;

/// What tells a resource from all others. The order is the one in which resources are listed within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceId {
    /// A network namespace.
    Namespace(NamespaceName),
    /// A kernel setting of a namespace, or of an interface in it.
    Sysctl(NamespaceName, SysctlKey),
    /// An interface.
    Link(LinkId),
    /// An address on an interface.
    Address(LinkId, InterfaceAddress),
    /// A route of a namespace.
    Route(NamespaceName, RouteKey),
}

impl ResourceId {
    /// The namespace that the resource is, or is in.
    pub fn namespace(&self) -> &NamespaceName {
        match self {
            Self::Namespace(namespace) | Self::Sysctl(namespace, _) | Self::Route(namespace, _) => namespace,
            Self::Link(link) | Self::Address(link, _) => &link.namespace,
        }
    }

    /// The interface that the resource is, or is on.
    pub fn link(&self) -> Option<LinkId> {
        match self {
            Self::Link(link) | Self::Address(link, _) => Some(link.clone()),
            Self::Sysctl(namespace, key) => key.link().map(|name| LinkId::new(namespace, name)),
            Self::Namespace(_) | Self::Route(..) => None,
        }
    }

    /// The word for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "namespace",
            Self::Sysctl(..) => "sysctl",
            Self::Link(_) => "link",
            Self::Address(..) => "address",
            Self::Route(..) => "route",
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "{namespace}"),
            Self::Sysctl(namespace, key) => write!(f, "{namespace}:{key}"),
            Self::Link(link) => write!(f, "{link}"),
            Self::Address(link, address) => write!(f, "{link} {address}"),
            Self::Route(namespace, key) => write!(f, "{namespace} {key}"),
        }
    }
}

/// A resource: what is desired, or what is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// A network namespace; it has no attributes of its own.
    Namespace,
    /// A kernel setting.
    Sysctl(Sysctl),
    /// An interface; plans, and what is put back, share it.
    Link(Arc<Link>),
    /// An address.
    Address(Address),
    /// A route.
    Route(Route),
}

impl From<Sysctl> for Resource {
    fn from(sysctl: Sysctl) -> Self {
        Self::Sysctl(sysctl)
    }
}

impl From<Arc<Link>> for Resource {
    fn from(link: Arc<Link>) -> Self {
        Self::Link(link)
    }
}

impl From<Address> for Resource {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<Route> for Resource {
    fn from(route: Route) -> Self {
        Self::Route(route)
    }
}

impl Resource {
    /// All that is set, as a lab file would show it.
    pub fn show(&self) -> Vec<(String, Value)> {
        match self {
            Self::Namespace => Vec::new(),
            Self::Sysctl(sysctl) => vec![("value".into(), sysctl.value.clone().into())],
            Self::Link(link) => link.show(),
            Self::Address(address) => address.show(),
            Self::Route(route) => route.show(),
        }
    }

    /// The same as a JSON object.
    pub fn to_json(&self) -> Value {
        Value::Object(self.show().into_iter().collect::<Map<_, _>>())
    }
}

/// A set of resources by identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The resources, sorted.
    pub resources: BTreeMap<ResourceId, Resource>,
    /// Links of somebody else's that become the lab's, because the user said so.
    pub adopt: BTreeSet<LinkId>,
}

impl State {
    /// Adds or replaces a resource.
    pub fn insert(&mut self, id: ResourceId, resource: Resource) {
        self.resources.insert(id, resource);
    }

    /// The link of that name.
    pub fn link(&self, id: &LinkId) -> Option<&Link> {
        match self.resources.get(&ResourceId::Link(id.clone())) {
            Some(Resource::Link(link)) => Some(link),
            _ => None,
        }
    }

    /// The link of that name, to be changed.
    pub fn link_mut(&mut self, id: &LinkId) -> Option<&mut Link> {
        match self.resources.get_mut(&ResourceId::Link(id.clone())) {
            Some(Resource::Link(link)) => Some(Arc::make_mut(link)),
            _ => None,
        }
    }

    /// All links with their names, sorted.
    pub fn links(&self) -> impl Iterator<Item = (&LinkId, &Arc<Link>)> {
        self.links_from(LinkId::lowest())
    }

    /// The ports of a link, sorted.
    pub fn ports<'a>(&'a self, master: &'a LinkId) -> impl Iterator<Item = &'a LinkId> {
        let first = LinkId { namespace: master.namespace.clone(), ..LinkId::lowest() };
        let beside = self.links_from(first).take_while(|(id, _)| id.namespace == master.namespace);
        beside.filter(|(_, link)| link.settings.master == Some(master.name)).map(|(id, _)| id)
    }

    fn links_from(&self, first: LinkId) -> impl Iterator<Item = (&LinkId, &Arc<Link>)> {
        self.resources.range(ResourceId::Link(first)..).map_while(|(id, resource)| match (id, resource) {
            (ResourceId::Link(id), Resource::Link(link)) => Some((id, link)),
            _ => None,
        })
    }

    /// All namespaces, sorted; `host` is never one of them.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceName> {
        self.resources.keys().map_while(|id| match id {
            ResourceId::Namespace(namespace) => Some(namespace),
            _ => None,
        })
    }

    /// Whether the namespace is one of the lab's own.
    pub fn has_namespace(&self, namespace: &NamespaceName) -> bool {
        self.resources.contains_key(&ResourceId::Namespace(namespace.clone()))
    }

    /// All settings, sorted.
    pub fn sysctls(&self) -> impl Iterator<Item = (&ResourceId, &NamespaceName, &SysctlKey, &Sysctl)> {
        let before = |id: &ResourceId| matches!(id, ResourceId::Namespace(_));
        self.resources.iter().skip_while(move |(id, _)| before(id)).map_while(|(id, resource)| match (id, resource) {
            (ResourceId::Sysctl(namespace, key), Resource::Sysctl(sysctl)) => Some((id, namespace, key, sysctl)),
            _ => None,
        })
    }

    /// All addresses with what they are, sorted by interface.
    pub fn all_addresses(&self) -> impl Iterator<Item = ((&LinkId, InterfaceAddress), &Address)> {
        self.addresses_from(LinkId::lowest())
    }

    /// All addresses of an interface with what they are.
    pub fn addresses<'a>(&'a self, link: &'a LinkId) -> impl Iterator<Item = (InterfaceAddress, &'a Address)> + 'a {
        let all = self.addresses_from(link.clone()).take_while(move |((owner, _), _)| *owner == link);
        all.map(|((_, key), address)| (key, address))
    }

    fn addresses_from(&self, link: LinkId) -> impl Iterator<Item = ((&LinkId, InterfaceAddress), &Address)> {
        let lowest = InterfaceAddress(ipnet::Ipv4Net::default().into());
        let range = self.resources.range(ResourceId::Address(link, lowest)..);
        range.map_while(|(id, resource)| match (id, resource) {
            (ResourceId::Address(link, key), Resource::Address(address)) => Some(((link, *key), address)),
            _ => None,
        })
    }

    /// All routes, sorted by namespace.
    pub fn routes(&self) -> impl Iterator<Item = ((&NamespaceName, &RouteKey), &Route)> {
        let lowest = ResourceId::Route(LinkId::lowest().namespace, RouteKey::LOWEST);
        self.resources.range(lowest..).filter_map(|(id, resource)| match (id, resource) {
            (ResourceId::Route(namespace, key), Resource::Route(route)) => Some(((namespace, key), route)),
            _ => None,
        })
    }
}

/// What two sorted sequences of unique keys have for each key that is in either, sorted.
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

/// What the kernel has, and what a plan must know of it beyond the resources themselves.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// What the lab owns or declares.
    pub state: State,
    /// The number of every link in `state`, and of those in `host` that links of the lab stand on.
    pub indices: BTreeMap<LinkId, Ifindex>,
    /// Whether a link of somebody else is in the group that marks the lab's.
    pub group_is_shared: bool,
    /// The numbers of other people's links in `host`: they are taken, and the lab's links may stand on them.
    pub taken_indices: BTreeMap<LinkId, Ifindex>,
    /// Namespaces of the lab that are only half there, because their creation or removal was interrupted.
    pub broken: BTreeSet<NamespaceName>,
    /// Objects of others that stand where the lab wants its own, with what they are.
    pub foreign: BTreeMap<ResourceId, String>,
}

impl Live {
    /// The number of a link.
    pub fn index(&self, namespace: &NamespaceName, name: LinkName) -> Option<Ifindex> {
        self.indices.get(&LinkId::new(namespace, name)).copied()
    }
}
