//! Brings links up and down, with the side effects on routes, IPv6 addresses and upper links.

use nix::libc;

use super::device::{Device, Place};
use super::network::Network;
use super::route::{Entry, Family};
use crate::kernel::Errno;
use crate::resource::address::ConnectedRoute;
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
        let with_ipv6 = self.has_ipv6(place);
        if let Some(device) = self.device_mut(place) {
            device.up = true;
            // The kernel adds the local routes again (`fib_netdev_event`).
            device.addresses.iter_mut().for_each(|given| given.attributes.local = ConnectedRoute::AsMade);
            if device.is_loopback() {
                device.add_addresses_of_loopback(with_ipv6);
            }
        }
        self.reconnect(place, &[]);
        for family in [Family::Inet, Family::Inet6] {
            self.enable_hops(place, family);
        }
        for follower in self.followers(place) {
            // The kernel ignores failures here.
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
            self.disable_hops(place, family, false);
        }
        for follower in self.followers(place) {
            self.bring_down(&follower);
        }
    }

    /// Sets a link down and up again. It loses all routes, those of the machine itself, too, and all IPv6 addresses, even if it is down.
    /// `connected` are the connected routes that it had.
    pub(super) fn restart(&mut self, place: &Place, connected: &[Entry]) {
        if let Some(namespace) = self.namespaces.get_mut(&place.namespace) {
            namespace.routes.retain(|entry| !connected.contains(entry));
        }
        let was_up = self.device(place).is_some_and(|device| device.up);
        self.bring_down(place);
        if let Some(device) = self.device_mut(place) {
            device.addresses.retain(|given| given.address.ip().is_ipv4());
        }
        for family in [Family::Inet, Family::Inet6] {
            self.disable_hops(place, family, true);
        }
        self.drop_unmet_objects();
        if was_up {
            // Nothing can have changed that would prevent it.
            let _ = self.bring_up(place);
        }
    }

    /// Handles `disable_ipv6` being cleared.
    pub(super) fn enable_ipv6(&mut self, place: &Place) {
        if let Some(device) = self.device_mut(place).filter(|device| device.up) {
            if device.is_loopback() {
                device.add_addresses_of_loopback(true);
            }
            self.enable_hops(place, Family::Inet6);
        }
    }

    /// Handles `disable_ipv6` being set: removes the IPv6 addresses and routes of the link.
    pub(super) fn disable_ipv6(&mut self, place: &Place) {
        self.remove_ipv6_addresses(place);
        self.disable_hops(place, Family::Inet6, false);
    }

    fn remove_ipv6_addresses(&mut self, place: &Place) {
        let is_ipv6 = |entry: &super::route::Entry| entry.family() == Family::Inet6;
        let connected: Vec<_> = self.connected(place).into_iter().filter(is_ipv6).collect();
        if let Some(device) = self.device_mut(place) {
            device.addresses.retain(|given| given.address.ip().is_ipv4());
        }
        if let Some(namespace) = self.namespaces.get_mut(&place.namespace) {
            namespace.routes.retain(|entry| !connected.contains(entry));
        }
    }

    /// Removes the IPv6 addresses, routes and sysctls of a link whose mtu has become too small for IPv6.
    pub(super) fn remove_ipv6(&mut self, place: &Place) {
        self.remove_ipv6_addresses(place);
        self.remove_hops(place, Family::Inet6);
        if let Some(device) = self.device_mut(place) {
            device.sysctls.retain(|key, _| !key.starts_with("ipv6/"));
        }
    }

    /// Returns whether the parent or a sibling that is up has the hardware address, and the link must have a different one
    /// (`macvlan_addr_busy`).
    pub(super) fn mac_is_taken(&self, place: &Place, mac: Mac) -> bool {
        let distinct = |device: &&Device| device.kind.addressing() == Addressing::Distinct;
        let Some(below) = self.device(place).filter(distinct).and_then(|device| device.below.as_ref()) else { return false };
        let parents = self.device(below).is_some_and(|parent| parent.mac == mac);
        let others = self.upper_links(below).into_iter().filter(|other| other != place);
        let mut others = others.filter_map(|other| self.device(&other)).filter(distinct);
        parents || others.any(|other| other.up && other.mac == mac)
    }
}
