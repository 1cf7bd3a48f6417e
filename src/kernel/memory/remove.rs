//! Removes links and namespaces, with everything that depends on them.

use nix::libc;

use super::device::{Device, LOOPBACK, Place};
use super::network::Network;
use super::route::Family;
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::operation::LinkHandle;

impl Network {
    pub(super) fn delete_link(&mut self, link: &LinkHandle) -> Result<(), Errno> {
        let place = self.place(link)?;
        if self.device(&place).is_some_and(|device| !device.kind.can_be_made()) {
            return Err(Errno::new(libc::EOPNOTSUPP));
        }
        self.remove(&place);
        Ok(())
    }

    /// Removes links, all or none. One may be removed together with another one.
    pub(super) fn delete_links(&mut self, links: &[LinkHandle]) -> Result<(), Errno> {
        let places = links.iter().map(|link| self.place(link)).collect::<Result<Vec<_>, _>>()?;
        for place in &places {
            self.remove(place);
        }
        Ok(())
    }

    /// Removes a link, the other end of its pair, and the upper links of both.
    pub(super) fn remove(&mut self, place: &Place) {
        let mut pending = vec![place.clone()];
        while let Some(place) = pending.pop() {
            let Some(device) = self.device(&place) else { continue };
            if let (true, Some(other)) = (device.kind.is_pair(), &device.below) {
                pending.push(other.clone());
            }
            pending.extend(self.upper_links(&place));
            self.remove_alone(&place);
        }
    }

    fn remove_alone(&mut self, place: &Place) {
        self.bring_down(place);
        self.release(place);
        for port in self.ports(place) {
            self.change_master(&port, Device::leave_master);
        }
        for family in [Family::Inet, Family::Inet6] {
            self.remove_hops(place, family);
        }
        let namespace = self.namespaces.get_mut(&place.namespace);
        let Some(device) = namespace.and_then(|namespace| namespace.devices.remove(&place.index)) else { return };
        for given in device.addresses.iter().filter(|given| given.address.ip().is_ipv4()) {
            self.remove_source(&place.namespace, given.address.ip());
        }
    }

    /// Removes a namespace with its links, their other ends and upper links in other namespaces, and the links in other namespaces that
    /// have it as their underlay.
    pub(super) fn drop_namespace(&mut self, name: &NamespaceName) {
        let Some(namespace) = self.namespaces.get(name) else { return };
        let links: Vec<_> = namespace.devices.keys().filter(|index| **index != LOOPBACK).copied().collect();
        for index in links {
            self.remove(&Place::new(name, index));
        }
        for place in self.places(|device: &Device| device.underlay.as_ref() == Some(name)) {
            self.remove(&place);
        }
        self.namespaces.remove(name);
    }
}
