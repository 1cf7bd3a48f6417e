//! The state of a network: one type for what the lab desires and for what the kernel has.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::name::{LinkId, LinkName, NamespaceName};
pub use crate::resource::link::Ifindex;
use crate::resource::link::Link;
use crate::resource::object::Id;
use crate::resource::object::table::{self, Any, Ids, Inspect, Registered, Sorted, Tables, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};

/// What tells a resource from all others. The order is the one in which resources are listed within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceId {
    /// A network namespace.
    Namespace(NamespaceName),
    /// A kernel setting of a namespace, or of an interface in it.
    Sysctl(NamespaceName, SysctlKey),
    /// An interface.
    Link(LinkId),
    /// An object of a namespace, such as an address or a route.
    Object(Any<Ids>),
}

impl ResourceId {
    /// The identity of an object.
    pub fn object<O: Registered>(namespace: &NamespaceName, key: &O::Key) -> Self {
        Self::Object(O::any::<Ids>((namespace.clone(), key.clone())))
    }

    /// The key of an object of that sort, if this is one.
    pub fn as_object<O: Registered>(&self) -> Option<&Id<O>> {
        match self {
            Self::Object(any) => O::of_any::<Ids>(any),
            Self::Namespace(_) | Self::Sysctl(..) | Self::Link(_) => None,
        }
    }

    /// The namespace that the resource is, or is in.
    pub fn namespace(&self) -> &NamespaceName {
        match self {
            Self::Namespace(namespace) | Self::Sysctl(namespace, _) => namespace,
            Self::Link(link) => &link.namespace,
            Self::Object(object) => object.namespace(),
        }
    }

    /// The word for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "namespace",
            Self::Sysctl(..) => "sysctl",
            Self::Link(_) => "link",
            Self::Object(object) => object.word(),
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
        }
    }
}

/// Attributes under the lab file's keys.
pub type Attributes = Vec<(String, Value)>;

/// A set of resources by identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The lab's own namespaces; `host` is never one of them.
    pub namespaces: BTreeSet<NamespaceName>,
    /// Kernel settings.
    pub sysctls: BTreeMap<(NamespaceName, SysctlKey), Sysctl>,
    /// Interfaces; plans, and what is restored, share them.
    pub links: BTreeMap<LinkId, Arc<Link>>,
    /// Addresses, routes and the like.
    pub objects: Tables<Sorted>,
    /// Foreign links that become the lab's, because the user said so.
    pub adopt: BTreeSet<LinkId>,
}

impl State {
    /// The link of that name.
    pub fn link(&self, id: &LinkId) -> Option<&Link> {
        self.links.get(id).map(|link| &**link)
    }

    /// The link of that name, to be changed.
    pub fn link_mut(&mut self, id: &LinkId) -> Option<&mut Link> {
        self.links.get_mut(id).map(Arc::make_mut)
    }

    /// Adds or replaces a link.
    pub fn insert_link(&mut self, id: LinkId, link: Link) {
        self.links.insert(id, Arc::new(link));
    }

    /// The ports of a link, sorted.
    pub fn ports<'a>(&'a self, master: &'a LinkId) -> impl Iterator<Item = &'a LinkId> {
        let first = LinkId { namespace: master.namespace.clone(), ..LinkId::lowest() };
        let beside = self.links.range(first..).take_while(|(id, _)| id.namespace == master.namespace);
        beside.filter(|(_, link)| link.settings.master == Some(master.name)).map(|(id, _)| id)
    }

    /// The objects of that sort.
    pub fn objects<O: Registered>(&self) -> &BTreeMap<Id<O>, O> {
        self.objects.of::<O>()
    }

    /// Adds or replaces an object.
    pub fn insert<O: Registered>(&mut self, namespace: &NamespaceName, key: O::Key, value: O) {
        self.objects.of_mut::<O>().insert((namespace.clone(), key), value);
    }

    /// Adds the resources of another state.
    pub fn extend(&mut self, other: Self) {
        self.namespaces.extend(other.namespaces);
        self.sysctls.extend(other.sysctls);
        self.links.extend(other.links);
        self.adopt.extend(other.adopt);
        table::visit(&mut Extend { state: self, other: &other.objects });
    }

    /// Whether there is such a resource.
    pub fn contains(&self, id: &ResourceId) -> bool {
        match id {
            ResourceId::Namespace(namespace) => self.namespaces.contains(namespace),
            ResourceId::Sysctl(namespace, key) => self.sysctls.contains_key(&(namespace.clone(), key.clone())),
            ResourceId::Link(link) => self.links.contains_key(link),
            ResourceId::Object(object) => object.inspect(Contained(self)),
        }
    }

    /// The identities of all resources, sorted.
    pub fn ids(&self) -> Vec<ResourceId> {
        self.show().into_iter().map(|(id, _)| id).collect()
    }

    /// All resources with the attributes that are set, under the lab file's keys, sorted.
    pub fn show(&self) -> Vec<(ResourceId, Attributes)> {
        let namespaces = self.namespaces.iter().map(|namespace| (ResourceId::Namespace(namespace.clone()), Vec::new()));
        let sysctl = |((namespace, key), sysctl): (&(NamespaceName, SysctlKey), &Sysctl)| {
            (ResourceId::Sysctl(namespace.clone(), key.clone()), sysctl.show())
        };
        let links = self.links.iter().map(|(id, link)| (ResourceId::Link(id.clone()), link.show()));
        let mut shown: Vec<_> = namespaces.chain(self.sysctls.iter().map(sysctl)).chain(links).collect();
        table::visit(&mut Show { state: self, shown: &mut shown });
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
    /// The number of every link in `state`.
    pub indices: BTreeMap<LinkId, Ifindex>,
    /// Whether a foreign link is in the group that marks the lab's.
    pub group_is_shared: bool,
    /// The numbers of foreign links in `host`: they are taken, and the lab's links may have them as parents.
    pub taken_indices: BTreeMap<LinkId, Ifindex>,
    /// Namespaces of the lab that are incomplete, because their creation or removal was interrupted.
    pub broken: BTreeSet<NamespaceName>,
    /// Foreign objects in the place of what the lab wants, with a phrase that says what they are.
    pub foreign: BTreeMap<ResourceId, String>,
}

impl Live {
    /// The number of a link.
    pub fn index(&self, namespace: &NamespaceName, name: LinkName) -> Option<Ifindex> {
        self.indices.get(&LinkId::new(namespace, name)).copied()
    }
}
