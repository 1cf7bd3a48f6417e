//! Links going up and down, and what goes with it: routes, IPv6 addresses, links on top.

use nix::libc;

use super::device::{Device, Place};
use super::network::Network;
use super::route::Family;
use crate::kernel::Errno;
use crate::resource::link::rules::Addressing;
use crate::value::Mac;

impl Network {
    /// Sets IFF_UP.
    pub(super) fn bring_up(&mut self, place: &Place) -> Result<(), Errno> {
        let Some(device) = self.device(place) else { return Err(Errno::new(libc::ENODEV)) };
        if device.up {
            return Ok(());
        }
        let below = device.below.as_ref().and_then(|below| self.device(below));
        if device.kind.follows_parent() && below.is_none_or(|below| !below.up) {
            return Err(Errno::new(libc::ENETDOWN));
        }
        if self.mac_is_taken(place, device.mac) {
            return Err(Errno::new(libc::EADDRINUSE));
        }
        if let Some(device) = self.device_mut(place) {
            device.up = true;
        }
        self.reconnect(place, &[]);
        for family in [Family::Inet, Family::Inet6] {
            self.routes_regain(place, family);
        }
        for follower in self.followers(place) {
            // The kernel tries, and leaves one down that cannot be brought up.
            let _ = self.bring_up(&follower);
        }
        Ok(())
    }

    /// Clears IFF_UP.
    pub(super) fn bring_down(&mut self, place: &Place) {
        let connected = self.connected(place);
        match self.device_mut(place) {
            Some(device) if device.up => {
                device.up = false;
                device.addresses.retain(|given| given.address.ip().is_ipv4());
            }
            Some(_) | None => return,
        }
        self.reconnect(place, &connected);
        for family in [Family::Inet, Family::Inet6] {
            self.routes_lose(place, family, false);
        }
        for follower in self.followers(place) {
            self.bring_down(&follower);
        }
    }

    /// IPv6 works on the link again, after `disable_ipv6` forbade it.
    pub(super) fn ipv6_appears(&mut self, place: &Place) {
        if self.device(place).is_some_and(|device| device.up) {
            self.routes_regain(place, Family::Inet6);
        }
    }

    /// `disable_ipv6` takes the link's IPv6 addresses and routes.
    pub(super) fn ipv6_vanishes(&mut self, place: &Place) {
        self.forget_ipv6_addresses(place);
        self.routes_lose(place, Family::Inet6, false);
    }

    fn forget_ipv6_addresses(&mut self, place: &Place) {
        let is_ipv6 = |entry: &super::route::Entry| entry.family() == Family::Inet6;
        let connected: Vec<_> = self.connected(place).into_iter().filter(is_ipv6).collect();
        if let Some(device) = self.device_mut(place) {
            device.addresses.retain(|given| given.address.ip().is_ipv4());
        }
        if let Some(namespace) = self.namespaces.get_mut(&place.namespace) {
            namespace.routes.retain(|entry| !connected.contains(entry));
        }
    }

    /// The link's mtu fell below what IPv6 needs: the kernel forgets that IPv6 ever knew it, settings included.
    pub(super) fn ipv6_forgets(&mut self, place: &Place) {
        self.forget_ipv6_addresses(place);
        self.routes_forget(place, Family::Inet6);
        if let Some(device) = self.device_mut(place) {
            device.sysctls.retain(|key, _| !key.starts_with("ipv6/"));
        }
    }

    /// Whether a link that needs an address of its own would have that of its parent, or of a sibling that is up
    /// (`macvlan_addr_busy`).
    pub(super) fn mac_is_taken(&self, place: &Place, mac: Mac) -> bool {
        let distinct = |device: &&Device| device.kind.addressing() == Addressing::Distinct;
        let Some(below) = self.device(place).filter(distinct).and_then(|device| device.below.as_ref()) else { return false };
        let parents = self.device(below).is_some_and(|parent| parent.mac == mac);
        let others = self.standing_on(below).into_iter().filter(|other| other != place);
        let mut others = others.filter_map(|other| self.device(&other)).filter(distinct);
        parents || others.any(|other| other.up && other.mac == mac)
    }
}
