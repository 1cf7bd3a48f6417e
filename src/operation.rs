//! Operations: the smallest steps of a plan. Each is complete, with every index that the kernel needs, so that executing one
//! needs no decision and no look-up.

use std::fmt;

use crate::name::{LinkId, NamespaceName};
use crate::ownership::Mark;
pub use crate::resource::link::MasterChange;
use crate::resource::link::{Kind, Link, LinkSettings};
use crate::resource::object::table::{Any, Places, Puts};
use crate::resource::sysctl::SysctlKey;
use crate::state::Ifindex;

/// An interface with the number that the kernel knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkHandle {
    /// The interface.
    pub id: LinkId,
    /// Its number within its namespace.
    pub index: Ifindex,
}

/// A link to be born.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLink {
    /// Its name, place and chosen number.
    pub handle: LinkHandle,
    /// What it is to be.
    pub link: Link,
    /// The link below (IFLA_LINK), for kinds that have one.
    pub parent: Option<LinkHandle>,
    /// The link that it becomes a port of (IFLA_MASTER).
    pub master: Option<LinkHandle>,
    /// Whether the creating message brings it up; otherwise a later operation does, or nothing.
    pub up: bool,
    /// The other end of a veth pair, born by the same message.
    pub peer: Option<Box<NewPeer>>,
}

/// The other end of a veth pair. The kernel takes neither its master nor its being up from the creating message; in `host` the
/// message that marks it, which is sent together with that one, carries both.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPeer {
    /// Its name, place and chosen number.
    pub handle: LinkHandle,
    /// What it is to be.
    pub link: Link,
    /// The link in `host` that it becomes a port of.
    pub master: Option<LinkHandle>,
    /// Whether it comes up along with its mark; otherwise a later operation does it, or nothing.
    pub up: bool,
}

/// Changes to a living link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkChange {
    /// Which link.
    pub handle: LinkHandle,
    /// The kind's options that change; only those are set.
    pub kind: Option<Kind>,
    /// The settings that change; `master` and `altnames` are given below.
    pub settings: LinkSettings,
    /// What becomes of its master.
    pub master: MasterChange<LinkHandle>,
    /// The mark that it gets, when it changes hands.
    pub mark: Option<Mark>,
    /// Further names that it gets.
    pub add_altnames: Vec<String>,
    /// Further names that it loses.
    pub remove_altnames: Vec<String>,
}

impl LinkChange {
    /// No change to this link, to be filled in.
    pub fn of(handle: LinkHandle) -> Self {
        Self {
            handle,
            kind: None,
            settings: LinkSettings::default(),
            master: MasterChange::Keep,
            mark: None,
            add_altnames: Vec::new(),
            remove_altnames: Vec::new(),
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Makes a namespace, marks it, brings its `lo` up, and publishes it under /run/netns.
    CreateNamespace(NamespaceName),
    /// Removes a namespace and all that is in it.
    DeleteNamespace(NamespaceName),
    /// Writes a kernel setting.
    WriteSysctl {
        /// Where.
        namespace: NamespaceName,
        /// Which.
        key: SysctlKey,
        /// Its new value.
        value: String,
    },
    /// Makes a link, or both ends of a veth pair, in place.
    CreateLink(Box<NewLink>),
    /// Changes a living link.
    ChangeLink(Box<LinkChange>),
    /// Removes a link; the other end of a veth pair goes with it.
    DeleteLink(LinkHandle),
    /// Removes all links of the lab in `host` at once, by their group; never fewer than all that are in the group. The other
    /// ends of veth pairs go with them.
    DeleteLinkGroup(Vec<LinkHandle>),
    /// Adds an object, or changes the one in its place.
    Put(Box<Any<Puts>>),
    /// Removes an object.
    Remove(Box<Any<Places>>),
}

impl Operation {
    /// The namespace that the operation works in.
    pub fn namespace(&self) -> &NamespaceName {
        match self {
            Self::CreateNamespace(namespace) | Self::DeleteNamespace(namespace) | Self::WriteSysctl { namespace, .. } => {
                namespace
            }
            // Never empty; all are in one namespace.
            Self::DeleteLinkGroup(links) => &links[0].id.namespace,
            Self::CreateLink(new) => &new.handle.id.namespace,
            Self::ChangeLink(change) => &change.handle.id.namespace,
            Self::DeleteLink(link) => &link.id.namespace,
            Self::Put(put) => put.namespace(),
            Self::Remove(object) => object.namespace(),
        }
    }
}

/// The step as a phrase for messages: ``create link `red:eth0` ``.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace(namespace) => write!(f, "create namespace `{namespace}`"),
            Self::DeleteNamespace(namespace) => write!(f, "delete namespace `{namespace}`"),
            Self::WriteSysctl { namespace, key, value } => {
                write!(f, "set `{key}` of `{namespace}` to `{}`", crate::name::escape(value))
            }
            Self::CreateLink(new) => match &new.peer {
                Some(peer) => write!(f, "create {} `{}` with `{}`", new.link.kind.name(), new.handle.id, peer.handle.id),
                None => write!(f, "create {} `{}`", new.link.kind.name(), new.handle.id),
            },
            Self::ChangeLink(change) => write!(f, "change `{}`", change.handle.id),
            Self::DeleteLink(link) => write!(f, "delete link `{}`", link.id),
            Self::DeleteLinkGroup(links) => {
                let names: Vec<_> = links.iter().map(|link| format!("`{}`", link.id)).collect();
                write!(f, "delete links {}", names.join(", "))
            }
            Self::Put(put) => {
                let id = put.id();
                write!(f, "add {} `{id}`", id.word())
            }
            Self::Remove(object) => {
                let id = object.id();
                write!(f, "delete {} `{id}`", id.word())
            }
        }
    }
}
