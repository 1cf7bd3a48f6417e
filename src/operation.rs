//! Operations: the smallest steps of a plan. Each contains every interface index that the kernel needs, so that it is executed without
//! further decisions or look-ups.

mod commands;

use std::fmt;

use crate::name::{LinkId, NamespaceName};
use crate::ownership::Mark;
pub use crate::resource::link::MasterChange;
use crate::resource::link::{Kind, Link, LinkSettings, Port, entry_title};
use crate::resource::node::{Part, PartKey};
use crate::resource::object::Message;
use crate::resource::object::table::{Any, Places, Puts, Restorations};
use crate::resource::sysctl::SysctlKey;
use crate::state::Ifindex;

/// An interface with its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkHandle {
    /// The interface.
    pub id: LinkId,
    /// Its index within the namespace.
    pub index: Ifindex,
}

/// A link to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLink {
    /// Its name, namespace and chosen index.
    pub handle: LinkHandle,
    /// Its kind and settings.
    pub link: Link,
    /// The parent (IFLA_LINK), for kinds that have one.
    pub parent: Option<LinkHandle>,
    /// The link that it becomes a port of (IFLA_MASTER).
    pub master: Option<LinkHandle>,
    /// Whether the creating message brings it up. If not, a later operation may.
    pub up: bool,
    /// The other end of a veth pair, created by the same message.
    pub peer: Option<Box<NewPeer>>,
}

impl NewLink {
    /// Returns the namespace in which the link is created: the underlay of a link that has one, or the namespace of the parent, where the
    /// parent's index is valid. For a pair with an end in `host`, that is `host`, so that the mark can be set with it.
    pub fn creating_namespace(&self) -> NamespaceName {
        let underlay = self.link.kind.underlay().cloned();
        let parent = self.parent.as_ref().map(|parent| parent.id.namespace.clone());
        let peer_in_host = self.peer.as_ref().map(|peer| peer.handle.id.namespace.clone()).filter(NamespaceName::is_host);
        underlay.or(parent).or(peer_in_host).unwrap_or_else(|| self.handle.id.namespace.clone())
    }
}

/// The other end of a veth pair. The kernel ignores its master and its up flag in the creating message. In `host`, the message that
/// marks it, sent together with the creating message, contains both.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPeer {
    /// Its name, namespace and chosen index.
    pub handle: LinkHandle,
    /// Its kind and settings.
    pub link: Link,
    /// The link in `host` that it becomes a port of.
    pub master: Option<LinkHandle>,
    /// Whether the message that marks it brings it up. If not, a later operation may.
    pub up: bool,
}

/// Changes to the options of a port.
#[derive(Debug, Clone, PartialEq)]
pub struct PortChange {
    /// The port with only those options set that change.
    pub options: Port,
    /// The other port that they refer to, if any.
    pub reference: Option<LinkHandle>,
}

/// Changes to an existing link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkChange {
    /// The link.
    pub handle: LinkHandle,
    /// The kind with only those options set that change.
    pub kind: Option<Kind>,
    /// The settings that change, except `master` and `altnames`.
    pub settings: LinkSettings,
    /// The change of its master.
    pub master: MasterChange<LinkHandle>,
    /// The options as a port that change. The link must be a port by then.
    pub port: Option<Box<PortChange>>,
    /// The new mark, if the owner changes or the mark is damaged.
    pub mark: Option<Mark>,
    /// Alternative names to add.
    pub add_altnames: Vec<String>,
    /// Alternative names to remove.
    pub remove_altnames: Vec<String>,
}

impl LinkChange {
    /// Returns an empty change of this link.
    pub fn of(handle: LinkHandle) -> Self {
        Self {
            handle,
            kind: None,
            settings: LinkSettings::default(),
            master: MasterChange::Keep,
            port: None,
            mark: None,
            add_altnames: Vec::new(),
            remove_altnames: Vec::new(),
        }
    }
}

/// A part of a node to be made or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct PutPart {
    /// The namespace of the node.
    pub namespace: NamespaceName,
    /// Its identity within the node.
    pub key: PartKey,
    /// The part.
    pub part: Part,
    /// The live part, if it is changed in place.
    pub over: Option<Part>,
    /// Whether a process must read its configuration again.
    pub reload: bool,
}

/// An operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Creates a namespace, marks it, brings its `lo` up, and publishes it under /run/netns.
    CreateNamespace(NamespaceName),
    /// Does the same, but a user namespace of its own owns the new namespace.
    CreateUserNamespace(NamespaceName),
    /// Deletes a namespace and everything in it.
    DeleteNamespace(NamespaceName),
    /// Writes a sysctl.
    WriteSysctl {
        /// The namespace.
        namespace: NamespaceName,
        /// The sysctl.
        key: SysctlKey,
        /// The new value.
        value: String,
    },
    /// Creates a link, or both ends of a veth pair, in their namespaces.
    CreateLink(Box<NewLink>),
    /// Changes an existing link.
    ChangeLink(Box<LinkChange>),
    /// Deletes a link, and with it the other end of a veth pair.
    DeleteLink(LinkHandle),
    /// Deletes all links of the lab in `host` by their group, and with them the other ends of veth pairs. The handles are all links of
    /// the group.
    DeleteLinkGroup(Vec<LinkHandle>),
    /// Adds an object, or changes the existing one.
    Put(Box<Any<Puts>>),
    /// Removes an object.
    Remove(Box<Any<Places>>),
    /// Adds a foreign object of `host` again that the kernel has removed as a side effect, if it is not there.
    Restore(Box<Any<Restorations>>),
    /// Adds a static forwarding entry to a port of a foreign bridge again, if it is not there.
    RestoreEntry(LinkHandle, Message),
    /// Makes a part of a node, or changes it.
    PutPart(Box<PutPart>),
    /// Removes a part of a node. Without the node itself, all of its parts are gone.
    RemovePart(NamespaceName, PartKey),
}

impl Operation {
    /// Returns the namespace that the operation changes.
    pub fn namespace(&self) -> &NamespaceName {
        match self {
            Self::CreateNamespace(namespace)
            | Self::CreateUserNamespace(namespace)
            | Self::DeleteNamespace(namespace)
            | Self::WriteSysctl { namespace, .. }
            | Self::RemovePart(namespace, _) => namespace,
            // Never empty, and all in `host`.
            Self::DeleteLinkGroup(links) => &links[0].id.namespace,
            Self::CreateLink(new) => &new.handle.id.namespace,
            Self::ChangeLink(change) => &change.handle.id.namespace,
            Self::DeleteLink(link) => &link.id.namespace,
            Self::Put(put) => put.namespace(),
            Self::Remove(object) => object.namespace(),
            Self::Restore(again) => again.namespace(),
            Self::RestoreEntry(port, _) => &port.id.namespace,
            Self::PutPart(put) => &put.namespace,
        }
    }
}

/// Writes the operation as a phrase for messages: ``create link `red:eth0` ``.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNamespace(namespace) => write!(f, "create namespace `{namespace}`"),
            Self::CreateUserNamespace(namespace) => write!(f, "create namespace `{namespace}` with a user namespace"),
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
            Self::Restore(again) => {
                let id = again.id();
                write!(f, "restore {} `{id}`", id.word())
            }
            Self::RestoreEntry(port, entry) => write!(f, "restore forwarding entry {} of `{}`", entry_title(entry), port.id),
            Self::PutPart(put) => {
                let verb = match (&put.key, &put.over) {
                    (_, Some(_)) => "change",
                    (PartKey::Node | PartKey::Process(_), None) => "start",
                    (PartKey::File(_), None) => "write",
                    (PartKey::Bind(_), None) => "mount",
                };
                write!(f, "{verb} {}", part_phrase(&put.namespace, &put.key))
            }
            Self::RemovePart(namespace, key) => {
                let verb = match key {
                    PartKey::Node | PartKey::Process(_) => "end",
                    PartKey::File(_) => "remove",
                    PartKey::Bind(_) => "unmount",
                };
                write!(f, "{verb} {}", part_phrase(namespace, key))
            }
        }
    }
}

fn part_phrase(namespace: &NamespaceName, key: &PartKey) -> String {
    match key.name() {
        None => format!("{} `{namespace}`", key.word()),
        Some(name) => format!("{} `{name}` of `{namespace}`", key.word()),
    }
}
