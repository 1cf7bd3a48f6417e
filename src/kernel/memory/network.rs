//! Namespaces and their contents, and the execution of operations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nix::libc;

use super::device::{Device, LOOPBACK, Place};
use super::object::Kept;
use super::route::Entry;
use crate::kernel::Errno;
use crate::name::{LabName, LinkName, NamespaceName};
use crate::operation::{LinkHandle, Operation};
use crate::ownership;
use crate::resource::link::rules::{Cause, Refusal};
use crate::resource::node::{Part, PartKey};
use crate::resource::object::table::Tables;
use crate::state::Ifindex;

/// The sender of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Author<'a> {
    /// A lab. What it creates gets the lab's mark.
    Lab(&'a LabName),
    /// Another program, or the user.
    Hand,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Namespace {
    pub(super) devices: BTreeMap<Ifindex, Device>,
    /// All routes outside of the table `local`, including those that the kernel made, oldest first.
    pub(super) routes: Vec<Entry>,
    /// Objects of all other types.
    pub(super) objects: Tables<Kept>,
    /// Sysctls that differ from the kernel's defaults, by path.
    pub(super) sysctls: BTreeMap<String, String>,
    /// Whether a user namespace of its own owns it.
    pub(super) user_owned: bool,
}

impl Namespace {
    pub(super) fn new() -> Self {
        Self {
            devices: BTreeMap::from([(LOOPBACK, Device::loopback())]),
            routes: Vec::new(),
            objects: Tables::default(),
            sysctls: BTreeMap::new(),
            user_owned: false,
        }
    }

    /// Returns whether a link has this name or alternative name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.devices.values().any(|device| device.has_name(name))
    }

    pub(super) fn by_name(&self, name: LinkName) -> Option<Ifindex> {
        self.devices.iter().find(|(_, device)| device.name == name).map(|(index, _)| *index)
    }
}

/// The network of a machine: `host` and the namespaces under /run/netns.
#[derive(Debug, Clone)]
pub struct Network {
    pub(super) namespaces: BTreeMap<NamespaceName, Namespace>,
    /// Files under /run/netns that are not namespaces, with their text.
    pub(super) placeholders: BTreeMap<NamespaceName, String>,
    /// Nodes and their parts.
    pub(super) parts: BTreeMap<(NamespaceName, PartKey), Part>,
    /// The number of links created so far. Hardware addresses are derived from it.
    pub(super) created_links: u32,
}

impl Default for Network {
    /// Returns `host` with `lo`.
    fn default() -> Self {
        let namespaces = BTreeMap::from([(NamespaceName::host(), Namespace::new())]);
        Self { namespaces, placeholders: BTreeMap::new(), parts: BTreeMap::new(), created_links: 0 }
    }
}

/// Two networks are equal if their visible states are.
impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

/// Returns an error with the kernel's message.
pub(super) fn said(number: i32, message: &str) -> Errno {
    Errno { number, message: Some(message.to_owned()) }
}

/// Returns the kernel's error number.
pub(super) fn number(cause: Cause) -> i32 {
    match cause {
        Cause::Invalid => libc::EINVAL,
        Cause::Unsupported => libc::EOPNOTSUPP,
        Cause::Busy => libc::EBUSY,
        Cause::Exists => libc::EEXIST,
        Cause::OutOfRange => libc::ERANGE,
        Cause::Loop => libc::ELOOP,
        Cause::Down => libc::ENETDOWN,
        Cause::Permission => libc::EPERM,
    }
}

impl From<Cause> for Errno {
    fn from(cause: Cause) -> Self {
        Self::new(number(cause))
    }
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        Self { number: number(refusal.cause), message: refusal.message.map(str::to_owned) }
    }
}

impl Network {
    /// Returns the visible state of the network, one line for each resource.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{words}");
        };
        for (name, placeholder) in &self.placeholders {
            line(format_args!("{name} placeholder {placeholder}"));
        }
        for (name, namespace) in &self.namespaces {
            line(format_args!("{name} namespace"));
            for (key, value) in &namespace.sysctls {
                line(format_args!("{name} sysctl {key} {value}"));
            }
            for (index, device) in &namespace.devices {
                let visible = Device { addresses: Vec::new(), sysctls: BTreeMap::new(), ..device.clone() };
                let visible = Device { settled: super::device::Settled::All, mtu_set: false, ..visible };
                line(format_args!("{name} link {index} {visible:?}"));
                // The kernel has a list for each family.
                let (inet, inet6): (Vec<_>, Vec<_>) = device.addresses.iter().partition(|given| given.address.ip().is_ipv4());
                for given in inet.into_iter().chain(inet6) {
                    line(format_args!("{name} address {} {given:?}", device.name));
                }
                for (key, value) in &device.sysctls {
                    line(format_args!("{name} sysctl {} {key} {value}", device.name));
                }
            }
            let mut routes: Vec<_> = namespace.routes.iter().map(|route| format!("{route:?}")).collect();
            routes.sort();
            for route in routes {
                line(format_args!("{name} route {route}"));
            }
            for object in namespace.kept_objects() {
                line(format_args!("{name} {object}"));
            }
        }
        for ((name, key), part) in &self.parts {
            line(format_args!("{name} part {key:?} {part:?}"));
        }
        text
    }

    pub(super) fn execute(&mut self, author: Author<'_>, operation: &Operation) -> Result<(), Errno> {
        if !self.namespaces.contains_key(operation.namespace()) && !self.placeholders.contains_key(operation.namespace()) {
            let needs_none = matches!(
                operation,
                Operation::CreateNamespace(_) | Operation::CreateUserNamespace(_) | Operation::RemovePart(..)
            );
            if !needs_none {
                return Err(said(libc::ENOENT, &format!("no namespace `{}`", operation.namespace())));
            }
        }
        match operation {
            Operation::CreateNamespace(namespace) => self.create_namespace(author, namespace, false),
            Operation::CreateUserNamespace(namespace) => self.create_namespace(author, namespace, true),
            Operation::DeleteNamespace(namespace) => self.delete_namespace(author, namespace),
            Operation::WriteSysctl { namespace, key, value } => self.write_sysctl(namespace, key, value),
            Operation::CreateLink(new) => self.create_link(author, new),
            Operation::ChangeLink(change) => self.change_link(change),
            Operation::DeleteLink(link) => self.delete_link(link),
            Operation::DeleteLinkGroup(links) => self.delete_links(links),
            Operation::Put(put) => self.put(author, put),
            Operation::Remove(object) => self.remove_object(author, object),
            Operation::Restore(again) => self.restore(again),
            // No entries are simulated, so none are lost.
            Operation::RestoreEntry(..) => Err(Errno::new(libc::EOPNOTSUPP)),
            Operation::PutPart(put) => self.put_part(put),
            Operation::RemovePart(namespace, key) => {
                self.remove_part(namespace, key);
                Ok(())
            }
        }?;
        self.enable_ports();
        self.drop_unmet_objects();
        Ok(())
    }

    fn create_namespace(&mut self, author: Author<'_>, name: &NamespaceName, user_owned: bool) -> Result<(), Errno> {
        if self.namespaces.contains_key(name) || self.placeholders.contains_key(name) {
            return Err(Errno::new(libc::EEXIST));
        }
        let mut namespace = Namespace { user_owned, ..Namespace::new() };
        if let (Author::Lab(lab), Some(loopback)) = (author, namespace.devices.get_mut(&LOOPBACK)) {
            loopback.alias = ownership::namespace_mark(lab, name);
        }
        self.namespaces.insert(name.clone(), namespace);
        Ok(())
    }

    fn delete_namespace(&mut self, author: Author<'_>, name: &NamespaceName) -> Result<(), Errno> {
        let owned = match author {
            Author::Lab(lab) => self.mark_of(name) == Some(&ownership::namespace_mark(lab, name)),
            Author::Hand => true,
        };
        if !owned || name.is_host() {
            return Err(Errno::new(libc::ENOENT));
        }
        self.placeholders.remove(name);
        self.drop_namespace(name);
        self.detach_node(name);
        Ok(())
    }

    /// Returns the mark of a namespace's `lo` or of a placeholder.
    pub(super) fn mark_of(&self, name: &NamespaceName) -> Option<&String> {
        let loopback = self.namespaces.get(name).and_then(|namespace| namespace.devices.get(&LOOPBACK));
        loopback.map(|device| &device.alias).or_else(|| self.placeholders.get(name))
    }

    pub(super) fn namespace(&self, name: &NamespaceName) -> Result<&Namespace, Errno> {
        self.namespaces.get(name).ok_or_else(|| said(libc::ENOENT, &format!("no namespace `{name}`")))
    }

    pub(super) fn device(&self, place: &Place) -> Option<&Device> {
        self.namespaces.get(&place.namespace)?.devices.get(&place.index)
    }

    pub(super) fn device_mut(&mut self, place: &Place) -> Option<&mut Device> {
        self.namespaces.get_mut(&place.namespace)?.devices.get_mut(&place.index)
    }

    /// Returns the link of a handle. Both its index and its name must match.
    pub(super) fn place(&self, handle: &LinkHandle) -> Result<Place, Errno> {
        let place = Place::new(&handle.id.namespace, handle.index);
        match self.device(&place) {
            Some(device) if device.name == handle.id.name => Ok(place),
            Some(_) | None => Err(Errno::new(libc::ENODEV)),
        }
    }

    /// Returns the upper links of a link, in all namespaces.
    pub(super) fn upper_links(&self, place: &Place) -> Vec<Place> {
        self.places(|device| device.is_on(place))
    }

    /// Returns all links that match.
    pub(super) fn places(&self, wanted: impl Fn(&Device) -> bool) -> Vec<Place> {
        let mut places = Vec::new();
        for (name, namespace) in &self.namespaces {
            let found = namespace.devices.iter().filter(|(_, device)| wanted(device));
            places.extend(found.map(|(index, _)| Place::new(name, *index)));
        }
        places
    }

    /// Returns the links that the kernel brings up and down with this one.
    pub(super) fn followers(&self, place: &Place) -> Vec<Place> {
        self.places(|device| device.is_on(place) && device.kind.follows_parent())
    }

    /// Returns the ports of a link.
    pub(super) fn ports(&self, master: &Place) -> Vec<Place> {
        let devices = self.namespaces.get(&master.namespace).map(|namespace| &namespace.devices);
        let ports = devices.into_iter().flatten().filter(|(_, device)| device.master == Some(master.index));
        ports.map(|(index, _)| Place::new(&master.namespace, *index)).collect()
    }

    /// Returns the receive handler of a link: that of its master, or that of its upper links.
    pub(super) fn receive_handler(&self, place: &Place) -> Option<&'static str> {
        let master = self.device(place)?.master.map(|master| Place::new(&place.namespace, master));
        let mut upper = self.upper_links(place).into_iter().chain(master);
        upper.find_map(|upper| self.device(&upper)?.kind.receive_handler())
    }
}
