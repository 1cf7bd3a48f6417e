//! Changes that other programs and users make to the network, for tests.

use super::device::{Device, LOOPBACK, Place};
use super::network::{Author, Namespace, Network};
use super::route::BY_HAND;
use crate::kernel::Errno;
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::operation::{LinkChange, LinkHandle, NewLink, NewPeer, Operation, PortChange};
use crate::ownership;
use crate::resource::address::{Address, AddressKey, ConnectedRoute};
use crate::resource::link::rules::Flags;
use crate::resource::link::veth::Veth;
use crate::resource::link::{Kind, Link, LinkSettings, Port};
use crate::resource::object::table::{Places, Puts, Registered};
use crate::resource::object::{At, Over, Put};
use crate::resource::route::{Route, RouteKey};
use crate::resource::sysctl::SysctlKey;
use crate::state::Ifindex;
use crate::value::{InterfaceAddress, Mac};

/// The parts of a lab's mark that a link has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark<'a> {
    /// None.
    None,
    /// The group of this lab.
    Group(&'a LabName),
    /// The alias of this lab.
    Alias(&'a LabName),
    /// Both.
    Both(&'a LabName),
}

/// Every method fails with the error number of the kernel; ENODEV for a link that does not exist.
#[allow(clippy::missing_errors_doc, reason = "documented once, above")]
impl Network {
    /// Executes an operation without marking what it creates. The kernel assigns an index to a new link with index 0.
    pub fn by_hand(&mut self, operation: &Operation) -> Result<(), Errno> {
        self.execute(Author::Hand, operation)
    }

    /// Returns the handle of a link for operations.
    pub fn handle(&self, id: &LinkId) -> Result<LinkHandle, Errno> {
        let namespace = self.namespace(&id.namespace)?;
        let index = namespace.by_name(id.name).ok_or_else(|| Errno::new(nix::libc::ENODEV))?;
        Ok(LinkHandle { id: id.clone(), index })
    }

    /// Adds a namespace as ip-netns(8) does.
    pub fn add_namespace(&mut self, name: &NamespaceName) -> Result<(), Errno> {
        self.by_hand(&Operation::CreateNamespace(name.clone()))
    }

    /// Adds a link that is up. A kind's parent must be in the same namespace.
    pub fn add_link(&mut self, id: &LinkId, kind: Kind, mark: Mark<'_>) -> Result<Ifindex, Errno> {
        let parent = kind.parent().map(|parent| self.handle(&parent.resolve(&id.namespace))).transpose()?;
        let handle = LinkHandle { id: id.clone(), index: 0 };
        let new = NewLink { handle, link: Link::new(kind), parent, master: None, up: true, peer: None };
        self.by_hand(&Operation::CreateLink(Box::new(new)))?;
        self.set_mark(id, mark)?;
        Ok(self.handle(id)?.index)
    }

    /// Adds a hardware interface, which messages can neither create nor delete.
    pub fn add_device(&mut self, id: &LinkId) -> Result<Ifindex, Errno> {
        self.namespace(&id.namespace)?;
        let mac = self.draw_mac();
        let device = Device { up: true, ..Device::new(id.name, &Kind::default(), mac, 1500, Flags::default()) };
        Ok(self.insert_device(&LinkHandle { id: id.clone(), index: 0 }, device).index)
    }

    /// Adds a pair, both ends up.
    pub fn add_pair(&mut self, one: &LinkId, other: &LinkId) -> Result<(), Errno> {
        let handle = |id: &LinkId| LinkHandle { id: id.clone(), index: 0 };
        let link = || Link::new(Veth::default().into());
        let peer = Some(Box::new(NewPeer { handle: handle(other), link: link(), master: None, up: false }));
        let new = NewLink { handle: handle(one), link: link(), parent: None, master: None, up: true, peer };
        self.by_hand(&Operation::CreateLink(Box::new(new)))?;
        self.set_up(other, true)
    }

    /// Changes options of a link as a port.
    pub fn set_port_options(&mut self, id: &LinkId, options: Port) -> Result<(), Errno> {
        let port = Some(Box::new(PortChange { options, reference: None }));
        self.by_hand(&Operation::ChangeLink(Box::new(LinkChange { port, ..LinkChange::of(self.handle(id)?) })))
    }

    /// Changes the mark of a link.
    pub fn set_mark(&mut self, id: &LinkId, mark: Mark<'_>) -> Result<(), Errno> {
        let (group, alias) = match mark {
            Mark::None => (0, String::new()),
            Mark::Group(lab) => (ownership::group(lab), String::new()),
            Mark::Alias(lab) => (0, ownership::link_alias(lab)),
            Mark::Both(lab) => (ownership::group(lab), ownership::link_alias(lab)),
        };
        let place = self.place(&self.handle(id)?)?;
        if let Some(device) = self.device_mut(&place) {
            (device.group, device.alias) = (group, alias);
        }
        Ok(())
    }

    /// Changes the text of a namespace's mark. Without a mark, the namespace is foreign.
    pub fn set_namespace_mark(&mut self, name: &NamespaceName, mark: &str) {
        if let Some(device) = self.device_mut(&Place::new(name, LOOPBACK)) {
            mark.clone_into(&mut device.alias);
        }
    }

    /// Takes the marks away from all namespaces and links, as though others had made them.
    pub fn disown(&mut self) {
        for device in self.namespaces.values_mut().flat_map(|namespace| namespace.devices.values_mut()) {
            (device.group, device.alias) = (0, String::new());
        }
    }

    /// Deletes a link.
    pub fn delete(&mut self, id: &LinkId) -> Result<(), Errno> {
        self.by_hand(&Operation::DeleteLink(self.handle(id)?))
    }

    /// Removes a namespace as ip-netns(8) does.
    pub fn delete_namespace_by_hand(&mut self, name: &NamespaceName) -> Result<(), Errno> {
        self.by_hand(&Operation::DeleteNamespace(name.clone()))
    }

    /// Breaks a namespace as a crash during its creation or removal does: leaves only a file under /run/netns with the lab's mark.
    pub fn break_namespace(&mut self, lab: &LabName, name: &NamespaceName) {
        self.drop_namespace(name);
        self.placeholders.insert(name.clone(), ownership::namespace_mark(lab, name));
    }

    /// Renames a link.
    pub fn rename(&mut self, id: &LinkId, name: LinkName) -> Result<(), Errno> {
        let place = self.place(&self.handle(id)?)?;
        if self.namespace(&id.namespace)?.has_name(&name.as_str()) {
            return Err(Errno::new(nix::libc::EEXIST));
        }
        if let Some(device) = self.device_mut(&place) {
            device.name = name;
        }
        // Objects here know their link by its name. Under another one the lab has no use for them.
        self.drop_unmet_objects();
        Ok(())
    }

    /// Changes settings of a link, except its master and names.
    pub fn set(&mut self, id: &LinkId, settings: LinkSettings) -> Result<(), Errno> {
        let change = LinkChange { settings, ..LinkChange::of(self.handle(id)?) };
        self.by_hand(&Operation::ChangeLink(Box::new(change)))
    }

    /// Brings a link up or down.
    pub fn set_up(&mut self, id: &LinkId, up: bool) -> Result<(), Errno> {
        self.set(id, LinkSettings { up: Some(up), ..LinkSettings::default() })
    }

    /// Changes a link's mtu.
    pub fn set_mtu_of(&mut self, id: &LinkId, mtu: u32) -> Result<(), Errno> {
        self.set(id, LinkSettings { mtu: Some(mtu), ..LinkSettings::default() })
    }

    /// Changes the hardware address of a link.
    pub fn set_mac_of(&mut self, id: &LinkId, mac: Mac) -> Result<(), Errno> {
        self.set(id, LinkSettings { mac: Some(mac), ..LinkSettings::default() })
    }

    /// Adds an address to a link.
    pub fn add_address_to(&mut self, id: &LinkId, address: InterfaceAddress) -> Result<(), Errno> {
        self.put_by_hand(&id.namespace, &AddressKey { link: id.name, address }, &Address::default(), Over::Nothing)
    }

    /// Makes an IPv6 address fail duplicate address detection.
    pub fn fail_detection(&mut self, id: &LinkId, address: InterfaceAddress) -> Result<(), Errno> {
        let place = self.place(&self.handle(id)?)?;
        let addresses = self.device_mut(&place).into_iter().flat_map(|device| &mut device.addresses);
        let given = addresses.filter(|given| given.address.ip().is_ipv6()).find(|given| given.address == address);
        given.ok_or_else(|| Errno::new(nix::libc::EADDRNOTAVAIL))?.attributes.dad_failed = true;
        Ok(())
    }

    /// Deletes an address of a link.
    pub fn delete_address_of(&mut self, id: &LinkId, address: InterfaceAddress) -> Result<(), Errno> {
        let device = &self.namespace(&id.namespace)?.devices[&self.handle(id)?.index];
        let given = device.addresses.iter().find(|given| given.address == address);
        let attributes = given.map(|given| given.attributes.clone()).unwrap_or_default();
        self.remove_by_hand(&id.namespace, &AddressKey { link: id.name, address }, &attributes)
    }

    /// Deletes the connected route of an address, if it has one.
    pub fn disconnect(&mut self, id: &LinkId, address: InterfaceAddress, live: &Address) -> Result<(), Errno> {
        if live.connected == ConnectedRoute::Missing {
            return Ok(());
        }
        let missing = Address { connected: ConnectedRoute::Missing, ..live.clone() };
        let over = Over::Live(Box::new(live.clone()));
        self.put_by_hand(&id.namespace, &AddressKey { link: id.name, address }, &missing, over)
    }

    /// Deletes the local route of an address, so that it does not answer.
    pub fn delete_local_route(&mut self, id: &LinkId, address: InterfaceAddress) -> Result<(), Errno> {
        let place = self.place(&self.handle(id)?)?;
        let given = self.device_mut(&place).and_then(|device| device.addresses.iter_mut().find(|given| given.address == address));
        given.ok_or_else(|| Errno::new(nix::libc::ESRCH))?.attributes.local = ConnectedRoute::Missing;
        Ok(())
    }

    /// Adds a route with this protocol.
    pub fn add_route_to(&mut self, namespace: &NamespaceName, key: &RouteKey, route: &Route, protocol: u8) -> Result<(), Errno> {
        self.put_by_hand(namespace, key, route, Over::Nothing)?;
        let routes = self.namespaces.get_mut(namespace).map(|namespace: &mut Namespace| &mut namespace.routes);
        if let Some(entry) = routes.and_then(|routes| routes.last_mut()).filter(|entry| entry.protocol == BY_HAND) {
            entry.protocol = protocol;
        }
        Ok(())
    }

    /// Deletes a route.
    pub fn delete_route_of(&mut self, namespace: &NamespaceName, key: &RouteKey, route: &Route) -> Result<(), Errno> {
        self.remove_by_hand(namespace, key, route)
    }

    /// Adds or changes an object.
    pub fn put_by_hand<O: Registered>(
        &mut self,
        namespace: &NamespaceName,
        key: &O::Key,
        value: &O,
        over: Over<O>,
    ) -> Result<(), Errno> {
        let at = self.at(namespace, key, value)?;
        self.by_hand(&Operation::Put(Box::new(O::any::<Puts>(Put { at, over, awaited: None }))))
    }

    /// Removes an object.
    pub fn remove_by_hand<O: Registered>(&mut self, namespace: &NamespaceName, key: &O::Key, value: &O) -> Result<(), Errno> {
        let at = self.at(namespace, key, value)?;
        self.by_hand(&Operation::Remove(Box::new(O::any::<Places>(at))))
    }

    /// Returns an object with its indices, for operations.
    pub fn at<O: Registered>(&self, namespace: &NamespaceName, key: &O::Key, value: &O) -> Result<At<O>, Errno> {
        let found = self.namespace(namespace)?;
        Ok(At::new(namespace, key, value, |name| found.by_name(name)))
    }

    /// Writes a sysctl.
    pub fn set_sysctl(&mut self, namespace: &NamespaceName, key: &SysctlKey, value: &str) -> Result<(), Errno> {
        self.by_hand(&Operation::WriteSysctl { namespace: namespace.clone(), key: key.clone(), value: value.into() })
    }

    /// Reads a sysctl.
    pub fn sysctl(&self, namespace: &NamespaceName, key: &SysctlKey) -> Option<String> {
        self.read_sysctl(namespace, key.path())
    }
}
