//! Routes: adding and deleting them, and the side effects of changes to links and addresses (net/ipv4/fib_semantics.c,
//! net/ipv6/route.c).

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::device::{Device, Given, LOOPBACK, Place};
use super::network::{Author, Network};
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::ownership;
use crate::resource::address::Address;
use crate::resource::object::wire::RTPROT_KERNEL;
use crate::resource::object::{At, Over, Put};
use crate::resource::route::{IPV6_CONNECTED_METRIC, IPV6_METRIC, Route, RouteKey, RouteType, Scope};
use crate::state::Ifindex;

/// The protocol of manually added routes (RTPROT_BOOT), as in ip-route(8).
pub(super) const BY_HAND: u8 = 3;

/// The address family. The kernel removes routes of the two families at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Inet,
    Inet6,
}

impl Family {
    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }
}

/// A next hop.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hop {
    pub(super) via: Option<IpAddr>,
    pub(super) index: Ifindex,
    pub(super) weight: u16,
    pub(super) onlink: bool,
    /// Whether its link is down (RTNH_F_DEAD).
    pub(super) dead: bool,
}

/// A route. An IPv6 route of a type without next hops, such as `blackhole`, has one next hop over `lo`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) table: u32,
    pub(super) to: IpNet,
    pub(super) metric: u32,
    pub(super) tos: u8,
    pub(super) kind: RouteType,
    pub(super) scope: Scope,
    pub(super) hops: Vec<Hop>,
    pub(super) src: Option<IpAddr>,
    pub(super) mtu: Option<u32>,
    pub(super) protocol: u8,
}

impl Entry {
    pub(super) fn family(&self) -> Family {
        Family::of(self.to.addr())
    }

    /// Returns whether the kernel considers both the same route.
    fn has_key(&self, key: &RouteKey) -> bool {
        self.table == key.table && self.to == key.to.trunc() && self.metric == metric(key) && self.tos == key.tos
    }

    /// Returns whether the route is local to the machine. The kernel keeps such routes when their link goes down.
    fn is_local(&self) -> bool {
        self.family() == Family::Inet && self.scope >= Scope::Host
    }

    /// Returns whether a request to delete matches this route. All attributes of the request must match.
    fn matches(&self, at: &At<Route>, protocol: Option<u8>) -> bool {
        let route = &at.value;
        let hops: Vec<_> = route.nexthops.iter().zip(&at.indices).collect();
        let same_hops = hops.is_empty()
            || hops.len() == self.hops.len()
                && hops.iter().all(|(wanted, index)| {
                    let same = |hop: &Hop| hop.via == wanted.via && index.is_none_or(|index| index == hop.index);
                    self.hops.iter().any(same)
                });
        self.has_key(&at.key)
            && self.kind == route.kind
            && protocol.is_none_or(|protocol| protocol == self.protocol)
            && (self.family() == Family::Inet6 || self.scope == route.complete_scope(false))
            && (route.src.is_none() || route.src == self.src)
            && same_hops
    }
}

fn metric(key: &RouteKey) -> u32 {
    if key.is_ipv6() && key.metric == 0 { IPV6_METRIC } else { key.metric }
}

impl Network {
    pub(super) fn put_route(&mut self, author: Author<'_>, Put { at, over, .. }: &Put<Route>) -> Result<(), Errno> {
        let key = &at.key;
        let mut entry = Entry {
            table: key.table,
            to: key.to.trunc(),
            metric: metric(key),
            tos: key.tos,
            kind: at.value.kind,
            scope: at.value.complete_scope(key.is_ipv6()),
            hops: Vec::new(),
            src: at.value.src,
            mtu: at.value.mtu,
            protocol: match author {
                Author::Lab(_) | Author::Hand if at.value.protocol.is_some() => at.value.protocol.unwrap_or_default(),
                Author::Lab(_) if at.namespace.is_host() => ownership::PROTOCOL,
                Author::Lab(_) | Author::Hand => BY_HAND,
            },
        };
        entry.hops = self.check_route(at, &entry)?;
        let namespace = self.namespaces.get_mut(&at.namespace).ok_or_else(|| Errno::new(libc::ENOENT))?;
        let same = namespace.routes.iter().position(|other| other.has_key(key));
        match (same, over) {
            (Some(_), Over::Nothing) => return Err(Errno::new(libc::EEXIST)),
            (Some(same), Over::Anything | Over::Live(_)) => namespace.routes[same] = entry,
            (None, _) => namespace.routes.push(entry),
        }
        Ok(())
    }

    pub(super) fn delete_route(&mut self, author: Author<'_>, at: &At<Route>) -> Result<(), Errno> {
        let protocol = match author {
            Author::Lab(_) if at.namespace.is_host() => Some(ownership::PROTOCOL),
            Author::Lab(_) | Author::Hand => None,
        };
        let namespace = self.namespaces.get_mut(&at.namespace).ok_or_else(|| Errno::new(libc::ENOENT))?;
        let found = namespace.routes.iter().position(|entry| entry.matches(at, protocol));
        namespace.routes.remove(found.ok_or_else(|| Errno::new(libc::ESRCH))?);
        Ok(())
    }

    fn change_routes(&mut self, namespace: &NamespaceName, mut keep: impl FnMut(&mut Entry) -> bool) {
        if let Some(namespace) = self.namespaces.get_mut(namespace) {
            namespace.routes.retain_mut(|entry| keep(entry));
        }
    }

    /// Marks the next hops of a family over the link as dead, and removes routes that have no other next hop. Also removes local routes
    /// if `including_local`, which is the case when the link loses its last IPv4 address.
    pub(super) fn disable_hops(&mut self, place: &Place, family: Family, including_local: bool) {
        self.change_routes(&place.namespace, |entry| {
            if entry.family() != family || entry.is_local() && !including_local {
                return true;
            }
            for hop in entry.hops.iter_mut().filter(|hop| hop.index == place.index) {
                hop.dead = true;
            }
            entry.hops.is_empty() || entry.hops.iter().any(|hop| !hop.dead)
        });
    }

    /// Marks the next hops of a family over the link as alive.
    pub(super) fn enable_hops(&mut self, place: &Place, family: Family) {
        self.change_routes(&place.namespace, |entry| {
            if entry.family() == family {
                for hop in entry.hops.iter_mut().filter(|hop| hop.index == place.index) {
                    hop.dead = false;
                }
            }
            true
        });
    }

    /// Removes the next hops of a family over the link. The kernel removes an IPv4 route with any of its next hops, and an IPv6 route with
    /// its last one.
    pub(super) fn remove_hops(&mut self, place: &Place, family: Family) {
        self.change_routes(&place.namespace, |entry| {
            let over = entry.hops.iter().any(|hop| hop.index == place.index);
            if entry.family() != family || !over {
                return true;
            }
            entry.hops.retain(|hop| hop.index != place.index);
            family == Family::Inet6 && !entry.hops.is_empty()
        });
    }

    /// Handles the loss of a source address: removes IPv4 routes that have it as their source, and removes the source from IPv6 routes.
    pub(super) fn remove_source(&mut self, namespace: &NamespaceName, ip: IpAddr) {
        if self.is_local(namespace, ip) {
            return;
        }
        self.change_routes(namespace, |entry| {
            let affected = entry.src == Some(ip);
            if affected && ip.is_ipv6() {
                entry.src = None;
            }
            !affected || ip.is_ipv6()
        });
    }

    /// Returns whether an interface of the namespace has the address, even one that is down.
    pub(super) fn is_local(&self, namespace: &NamespaceName, ip: IpAddr) -> bool {
        self.owner_of(namespace, ip).is_some()
    }

    /// Returns whether an interface of the VRF with that table has the address, or one outside of VRFs if it is `main`.
    pub(super) fn is_local_in(&self, namespace: &NamespaceName, ip: IpAddr, table: u32) -> bool {
        self.owner_in(namespace, ip, |index| self.routing_table(&Place::new(namespace, index)) == table).is_some()
    }

    /// Returns the interface that has an address.
    fn owner_of(&self, namespace: &NamespaceName, ip: IpAddr) -> Option<Ifindex> {
        self.owner_in(namespace, ip, |_| true)
    }

    /// Returns one of these interfaces that has an address.
    pub(super) fn owner_in(&self, namespace: &NamespaceName, ip: IpAddr, of: impl Fn(Ifindex) -> bool) -> Option<Ifindex> {
        let devices = &self.namespaces.get(namespace)?.devices;
        let has = |device: &Device| device.addresses.iter().any(|given| given.address.ip() == ip);
        let given = devices.iter().find(|(index, device)| has(device) && of(**index));
        given.map(|(index, _)| *index).or_else(|| (ip.is_loopback() && of(LOOPBACK)).then_some(LOOPBACK))
    }

    /// Returns the connected routes that the kernel adds for the addresses of a link.
    pub(super) fn connected(&self, place: &Place) -> Vec<Entry> {
        let mut connected = Vec::new();
        for given in self.device(place).iter().flat_map(|device| &device.addresses) {
            let routes = self.connected_routes(place, given);
            connected.extend(routes.filter(|entry| !connected.contains(entry)).collect::<Vec<_>>());
        }
        connected
    }

    /// Returns the connected routes that the kernel adds for one address of a link: of an IPv6 one with a peer, there are two.
    fn connected_routes(&self, place: &Place, given: &Given) -> impl Iterator<Item = Entry> {
        let far = self.connected_route(place, given);
        let own = far.clone().filter(|_| given.address.ip().is_ipv6() && given.attributes.peer.is_some());
        let own = own.map(|entry| Entry { to: given.address.0.trunc(), ..entry });
        own.into_iter().chain(far)
    }

    /// Returns the connected route of one address of a link, [`Address::subnet`].
    fn connected_route(&self, place: &Place, given: &Given) -> Option<Entry> {
        let device = self.device(place).filter(|device| device.up && !given.attributes.noprefixroute)?;
        let (ip, far) = (given.address.ip(), given.far_end());
        let to = given.attributes.subnet(given.address);
        let ipv4 = ip.is_ipv4();
        let bare_host = ipv4 && far == ip && to.prefix_len() == 32;
        if given.secondary || bare_host || device.is_loopback() && (ipv4 || ip.is_loopback()) || !ipv4 && !self.has_ipv6(place) {
            return None;
        }
        Some(Entry {
            table: self.routing_table(place),
            to,
            metric: given.attributes.metric.unwrap_or(if ipv4 { 0 } else { IPV6_CONNECTED_METRIC }),
            tos: 0,
            kind: RouteType::Unicast,
            scope: if ipv4 { Scope::Link } else { Scope::Global },
            hops: vec![Hop { via: None, index: place.index, weight: 1, onlink: false, dead: false }],
            src: ipv4.then_some(ip),
            mtu: None,
            protocol: RTPROT_KERNEL,
        })
    }

    pub(super) fn has_route(&self, namespace: &NamespaceName, entry: &Entry) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.routes.contains(entry))
    }

    /// Returns whether the kernel adds a connected route for an address of a link in its current state.
    pub(super) fn expects_route(&self, place: &Place, given: &Given) -> bool {
        !self.device(place).is_some_and(Device::is_loopback) && self.connected_route(place, given).is_some()
    }

    /// Adds or deletes the connected route of an address.
    pub(super) fn connect(&mut self, at: &At<Address>, present: bool) -> Result<(), Errno> {
        let place = self.place_of(at)?;
        let device = self.device(&place).ok_or_else(|| Errno::new(libc::ENODEV))?;
        let given = device.addresses.iter().find(|given| given.address == at.key.address);
        let entry = given.and_then(|given| self.connected_route(&place, given)).ok_or_else(|| Errno::new(libc::EINVAL))?;
        let refusal = || Errno::new(if present { libc::EEXIST } else { libc::ESRCH });
        let routes = &mut self.namespaces.get_mut(&place.namespace).ok_or_else(refusal)?.routes;
        match (routes.iter().position(|route| *route == entry), present) {
            (None, true) => routes.push(entry),
            (Some(at), false) => {
                routes.remove(at);
            }
            _ => return Err(refusal()),
        }
        Ok(())
    }

    /// Updates the connected routes of a link. `before` are those that it had before a change.
    pub(super) fn reconnect(&mut self, place: &Place, before: &[Entry]) {
        let after = self.connected(place);
        let Some(namespace) = self.namespaces.get_mut(&place.namespace) else { return };
        for entry in before.iter().filter(|entry| !after.contains(entry)) {
            if let Some(at) = namespace.routes.iter().position(|route| route == entry) {
                namespace.routes.remove(at);
            }
        }
        namespace.routes.extend(after.into_iter().filter(|entry| !before.contains(entry)));
    }
}
