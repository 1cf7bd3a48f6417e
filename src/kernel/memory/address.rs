//! Addresses: primary and secondary ones, and their connected routes (net/ipv4/devinet.c, net/ipv6/addrconf.c).

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::device::{Device, Given, Place, Settled};
use super::network::{Author, Network, said};
use super::route::Family;
use crate::kernel::Errno;
use crate::resource::address::{Address, ConnectedRoute, Step, protocol, steps};
use crate::resource::object::{At, Put};
use crate::resource::route::Scope;

/// The kernel's message for an address that another link on the same parent has.
const ADDRESS_IN_USE: &str = "Address already assigned to an ipvlan device";

/// Returns whether two IPv4 addresses are in the same subnet: equal prefix lengths, and the far end of `b` within that of `a`.
fn same_subnet(a: &Given, b: &Given) -> bool {
    let net = |given: &Given| IpNet::new(given.far_end(), given.address.0.prefix_len()).map(|net| net.trunc());
    matches!((net(a), net(b)), (Ok(a), Ok(b)) if a == b)
}

impl Network {
    /// Adds or changes an address, or adds or deletes its connected route.
    pub(super) fn put_address(&mut self, author: Author<'_>, Put { at, over, .. }: &Put<Address>) -> Result<(), Errno> {
        for step in steps(at, over) {
            match step {
                Step::Give { replace } => self.give_address(author, at, replace)?,
                Step::Connect => self.connect(at, true)?,
                Step::Disconnect => self.connect(at, false)?,
            }
        }
        Ok(())
    }

    /// Returns the interface of an address.
    pub(super) fn place_of(&self, at: &At<Address>) -> Result<Place, Errno> {
        let place = Place::new(&at.namespace, at.index());
        match self.device(&place) {
            Some(device) if device.name == at.key.link => Ok(place),
            Some(_) | None => Err(Errno::new(libc::ENODEV)),
        }
    }

    fn give_address(&mut self, author: Author<'_>, at: &At<Address>, replace: bool) -> Result<(), Errno> {
        let (address, attributes) = (at.key.address, &at.value);
        let place = self.place_of(at)?;
        if let Some(lifetime) = attributes.lifetime
            && (lifetime.valid.0 == 0 || lifetime.preferred > lifetime.valid)
        {
            return Err(Errno::new(libc::EINVAL));
        }
        let protocol = match author {
            Author::Lab(_) => protocol(at).unwrap_or(0),
            Author::Hand => 0,
        };
        // The position in the list is the order.
        let attributes = Address {
            order: 0,
            secondary: None,
            connected: ConnectedRoute::AsMade,
            local: ConnectedRoute::AsMade,
            dad_failed: false,
            vrf: None,
            ..attributes.clone()
        };
        let given = Given { address, attributes, secondary: false, protocol };
        let mut connected = self.connected(&place);
        if replace && address.ip().is_ipv6() {
            // The kernel adds deleted connected routes again (`inet6_addr_modify`).
            let own = [address.0.trunc(), at.value.subnet(address)];
            connected.retain(|entry| !own.contains(&entry.to) || self.has_route(&place.namespace, entry));
        }
        let added = match address.ip() {
            IpAddr::V4(_) => self.add_inet(&place, given, replace),
            IpAddr::V6(_) => self.add_inet6(&place, given, replace),
        };
        self.reconnect(&place, &connected);
        if added.is_ok() && address.ip().is_ipv4() && self.device(&place).is_some_and(|device| device.up) {
            self.enable_hops(&place, Family::Inet);
        }
        added
    }

    fn add_inet(&mut self, place: &Place, mut given: Given, replace: bool) -> Result<(), Errno> {
        let Some(device) = self.device_mut(place) else { return Err(Errno::new(libc::ENODEV)) };
        given.attributes.scope = Some(given.attributes.complete_scope(given.address.ip()));
        given.attributes.nodad = false;
        let same = |other: &&mut Given| other.address.ip() == given.address.ip() && same_subnet(other, &given);
        if let Some(other) = device.addresses.iter_mut().find(same) {
            if !replace {
                return Err(said(libc::EEXIST, "Address already assigned"));
            }
            other.attributes.metric = given.attributes.metric;
            other.attributes.lifetime = given.attributes.lifetime;
            other.protocol = given.protocol;
            return Ok(());
        }
        if let Some(other) = device.addresses.iter().find(|other| other.address.ip().is_ipv4() && same_subnet(other, &given)) {
            if other.attributes.scope != given.attributes.scope {
                return Err(said(libc::EINVAL, "Invalid scope value"));
            }
            given.secondary = true;
        }
        if self.is_siblings_address(place, &given) {
            return Err(said(libc::EADDRINUSE, ADDRESS_IN_USE));
        }
        let Some(device) = self.device_mut(place) else { return Err(Errno::new(libc::ENODEV)) };
        device.settled = Settled::All;
        insert(device, given);
        Ok(())
    }

    fn add_inet6(&mut self, place: &Place, mut given: Given, replace: bool) -> Result<(), Errno> {
        let Some(device) = self.device(place) else { return Err(Errno::new(libc::ENODEV)) };
        let IpAddr::V6(ip) = given.address.ip() else { return Err(Errno::new(libc::EINVAL)) };
        if !device.knows_ipv6() {
            return Err(Errno::new(libc::EINVAL));
        }
        if !self.has_ipv6(place) {
            return Err(said(libc::EACCES, "IPv6 is disabled on this device"));
        }
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() && !device.is_loopback() {
            return Err(Errno::new(libc::EADDRNOTAVAIL));
        }
        given.attributes.scope = Some(match ip {
            _ if ip.is_loopback() => Scope::Host,
            _ if ip.is_unicast_link_local() => Scope::Link,
            _ if ip.segments()[0] & 0xffc0 == 0xfec0 => Scope::Site,
            _ => Scope::Global,
        });
        given.attributes.label = None;
        given.attributes.broadcast = None;
        let taken = self.is_siblings_address(place, &given);
        let Some(device) = self.device_mut(place) else { return Err(Errno::new(libc::ENODEV)) };
        let same = device.addresses.iter_mut().find(|other| other.address.ip() == IpAddr::V6(ip));
        if same.is_some() && !replace {
            return Err(said(libc::EEXIST, "address already assigned"));
        }
        match same {
            // The kernel keeps the prefix length (`inet6_addr_modify`).
            Some(other) => *other = Given { address: other.address, ..given },
            None if taken => return Err(said(libc::EADDRINUSE, ADDRESS_IN_USE)),
            None => device.addresses.push(given),
        }
        Ok(())
    }

    /// Returns whether the link or a sibling has the address, and only one of them can have it (`ipvlan_addr_busy`).
    fn is_siblings_address(&self, place: &Place, given: &Given) -> bool {
        /// The address that the driver compares.
        fn key(given: &Given) -> IpAddr {
            if given.address.ip().is_ipv4() { given.far_end() } else { given.address.ip() }
        }
        let Some(device) = self.device(place).filter(|device| device.kind.has_exclusive_addresses()) else { return false };
        let siblings = self.siblings(device);
        let mut addresses = siblings.iter().filter_map(|sibling| self.device(sibling)).flat_map(|sibling| &sibling.addresses);
        addresses.any(|other| key(other) == key(given))
    }

    pub(super) fn delete_address(&mut self, at: &At<Address>) -> Result<(), Errno> {
        let (address, attributes) = (at.key.address, &at.value);
        let place = self.place_of(at)?;
        let Some(device) = self.device(&place) else { return Err(Errno::new(libc::ENODEV)) };
        let wanted = Given { address, attributes: attributes.clone(), secondary: false, protocol: 0 };
        let is_meant = |given: &Given| given.address == address && (address.ip().is_ipv6() || same_subnet(given, &wanted));
        let Some(at) = device.addresses.iter().position(is_meant) else {
            return Err(said(libc::EADDRNOTAVAIL, "address not found"));
        };
        let connected = self.connected(&place);
        let gone = self.remove_addresses(&place, at);
        self.reconnect(&place, &connected);
        for ip in gone {
            self.remove_source(&place.namespace, ip);
        }
        if address.ip().is_ipv4() && self.device(&place).is_some_and(|device| !device.has_ipv4()) {
            self.disable_hops(&place, Family::Inet, true);
        }
        Ok(())
    }

    /// Removes an address. With a primary address, removes its secondary ones or promotes the first. Returns the removed addresses.
    fn remove_addresses(&mut self, place: &Place, at: usize) -> Vec<IpAddr> {
        let promotes = self.promotes_secondaries(place);
        let Some(device) = self.device_mut(place) else { return Vec::new() };
        let taken = device.addresses.remove(at);
        let mut gone = vec![taken.address.ip()];
        if taken.address.ip().is_ipv6() || taken.secondary {
            return gone;
        }
        let of_subnet = |given: &Given| given.secondary && same_subnet(given, &taken);
        if promotes {
            if let Some(next) = device.addresses.iter().position(of_subnet) {
                let next = device.addresses.remove(next);
                insert(device, Given { secondary: false, ..next });
            }
            return gone;
        }
        gone.extend(device.addresses.iter().filter(|given| of_subnet(given)).map(|given| given.address.ip()));
        device.addresses.retain(|given| !of_subnet(given));
        gone
    }
}

/// Inserts an IPv4 address in the kernel's order: a primary one after the primary ones of its scope or a wider scope, a secondary one
/// at the end (`__inet_insert_ifa`).
fn insert(device: &mut Device, given: Given) {
    let ahead =
        |other: &Given| other.address.ip().is_ipv4() && !other.secondary && given.attributes.scope <= other.attributes.scope;
    let at = match given.secondary {
        true => device.addresses.len(),
        false => device.addresses.iter().rposition(ahead).map_or(0, |at| at + 1),
    };
    device.addresses.insert(at, given);
}
