//! Checks new routes and determines their next hops (`fib_create_info`, `ip6_route_info_create`).

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::device::{LOOPBACK, Place};
use super::network::{Network, said};
use super::route::{Entry, Family, Hop};
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::resource::object::At;
use crate::resource::route::{MAIN_TABLE, NextHop, Route, RouteType, Scope};
use crate::state::Ifindex;

/// The table of last resort (RT_TABLE_DEFAULT).
const DEFAULT_TABLE: u32 = 253;

/// A next hop of a request.
struct RequestedHop<'a> {
    namespace: &'a NamespaceName,
    table: u32,
    scope: Scope,
    hop: &'a NextHop,
    index: Option<Ifindex>,
}

impl Network {
    /// Returns the next hops of a route if the kernel accepts it.
    pub(super) fn check_route(&self, at: &At<Route>, entry: &Entry) -> Result<Vec<Hop>, Errno> {
        self.namespace(&at.namespace)?;
        let requests = at.value.nexthops.iter().enumerate().map(|(position, hop)| RequestedHop {
            namespace: &at.namespace,
            table: at.key.table,
            scope: entry.scope,
            hop,
            index: at.indices.get(position).copied().flatten(),
        });
        let requests: Vec<_> = requests.collect();
        let hops = match entry.family() {
            Family::Inet => self.check_inet(&requests, entry, at.key.to)?,
            Family::Inet6 => self.check_inet6(&requests, entry)?,
        };
        match entry.src {
            Some(src) if !self.is_source(&requests, at, src) => {
                Err(said(libc::EINVAL, if src.is_ipv4() { "Invalid prefsrc address" } else { "Invalid source address" }))
            }
            Some(_) | None => Ok(hops),
        }
    }

    /// Returns whether an address can be the source of a route: an IPv4 one in the VRF of the route or outside of VRFs, an IPv6 one
    /// in the VRF of the interface (`fib_valid_prefsrc`, `ip6_route_info_create`).
    fn is_source(&self, requests: &[RequestedHop<'_>], at: &At<Route>, src: IpAddr) -> bool {
        let is_in = |table: u32| self.is_local_in(&at.namespace, src, table);
        match src {
            IpAddr::V4(_) => [at.key.table, MAIN_TABLE].into_iter().any(is_in),
            IpAddr::V6(_) if requests.is_empty() => is_in(MAIN_TABLE),
            IpAddr::V6(_) => requests.iter().all(|requested| is_in(self.domain(requested))),
        }
    }

    /// Returns the table in which the local addresses are looked up: that of the VRF of the interface or of the route, or `main`.
    fn domain(&self, requested: &RequestedHop<'_>) -> u32 {
        let table_of = |index: Ifindex| self.routing_table(&Place::new(requested.namespace, index));
        let is_vrf = |table: u32| {
            let mut devices = self.namespaces.get(requested.namespace).into_iter().flat_map(|found| found.devices.values());
            devices.any(|device| device.kind.routing_table() == Some(table))
        };
        let of_route = || if is_vrf(requested.table) { requested.table } else { MAIN_TABLE };
        requested.index.map_or_else(of_route, table_of)
    }

    fn check_inet(&self, requests: &[RequestedHop<'_>], entry: &Entry, to: IpNet) -> Result<Vec<Hop>, Errno> {
        if to.trunc() != to {
            return Err(said(libc::EINVAL, "Invalid prefix for given prefix length"));
        }
        if entry.kind == RouteType::Local && entry.scope < Scope::Host {
            return Err(said(libc::EINVAL, "Invalid scope"));
        }
        if entry.kind.is_terminal() {
            return if requests.is_empty() { Ok(Vec::new()) } else { Err(Errno::new(libc::EINVAL)) };
        }
        if entry.scope >= Scope::Host && (requests.len() != 1 || requests[0].hop.via.is_some()) {
            return Err(said(libc::EINVAL, "Route with host scope can not have gateway or multiple nexthops"));
        }
        if requests.is_empty() {
            return Err(Errno::new(libc::ENODEV));
        }
        requests.iter().map(|requested| Ok(new_hop(requested, self.egress_inet(requested)?))).collect()
    }

    fn egress_inet(&self, requested: &RequestedHop<'_>) -> Result<Ifindex, Errno> {
        let device = |index: Ifindex| self.device(&Place::new(requested.namespace, index));
        match requested.hop.via {
            Some(via @ IpAddr::V6(_)) => self.egress_inet6(requested, via),
            Some(via) if requested.hop.onlink => {
                let Some((index, device)) = requested.index.and_then(|index| Some((index, device(index)?))) else {
                    return Err(said(libc::ENODEV, "Nexthop device required for onlink"));
                };
                match device.up {
                    true if via.is_unspecified() => Err(said(libc::EINVAL, "Nexthop has invalid gateway")),
                    true => Ok(index),
                    false => Err(said(libc::ENETDOWN, "Nexthop device is not up")),
                }
            }
            Some(via) => {
                let index = self.look_up(requested, via)?;
                let up = device(index).is_some_and(|device| device.up);
                if up { Ok(index) } else { Err(said(libc::ENETDOWN, "Device for nexthop is not up")) }
            }
            None => {
                let found = requested.index.and_then(|index| Some((index, device(index)?)));
                let (index, device) = found.ok_or_else(|| Errno::new(libc::ENODEV))?;
                let up = device.up || requested.scope >= Scope::Host;
                if up { Ok(index) } else { Err(said(libc::ENETDOWN, "Device for nexthop is not up")) }
            }
        }
    }

    /// Returns the link of an IPv4 gateway (`fib_check_nh_v4_gw`). Only routes without a gateway count.
    fn look_up(&self, requested: &RequestedHop<'_>, via: IpAddr) -> Result<Ifindex, Errno> {
        let least = requested.scope.number().saturating_add(1).max(Scope::Link.number());
        let fits = |index: Ifindex| requested.index.is_none_or(|wanted| wanted == index);
        let invalid = |number| said(number, "Nexthop has invalid gateway");
        let tables = [requested.table, self.domain(requested), MAIN_TABLE, DEFAULT_TABLE];
        let first = usize::from(requested.table == MAIN_TABLE);
        for table in tables.iter().skip(first) {
            // The table of a VRF has the local routes of its ports, and the table `local` the others.
            let of_table = |index: Ifindex| fits(index) && self.routing_table(&Place::new(requested.namespace, index)) == *table;
            if let Some(owner) = self.owner_in(requested.namespace, via, of_table) {
                return Ok(owner);
            }
            if self.is_broadcast(requested.namespace, via, &of_table) {
                return Err(invalid(libc::EINVAL));
            }
            let found = self.longest(requested.namespace, *table, via, |entry| {
                let alive = |hop: &Hop| !hop.dead && fits(hop.index);
                entry.scope.number() >= least && (entry.hops.is_empty() || entry.hops.iter().any(alive))
            });
            let Some(entry) = found else { continue };
            match entry.kind {
                RouteType::Unicast | RouteType::Local => {
                    let hop = entry.hops.iter().find(|hop| !hop.dead && fits(hop.index));
                    return hop.map(|hop| hop.index).ok_or_else(|| invalid(libc::ENETUNREACH));
                }
                RouteType::Blackhole | RouteType::Multicast => return Err(invalid(libc::EINVAL)),
                RouteType::Unreachable => return Err(invalid(libc::EHOSTUNREACH)),
                RouteType::Prohibit => return Err(invalid(libc::EACCES)),
                RouteType::Throw => {}
            }
        }
        Err(invalid(libc::ENETUNREACH))
    }

    fn longest(&self, namespace: &NamespaceName, table: u32, via: IpAddr, counts: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let routes = &self.namespaces.get(namespace)?.routes;
        let matching = routes.iter().filter(|entry| entry.table == table && entry.tos == 0 && entry.to.contains(&via));
        matching.filter(|entry| counts(entry)).min_by_key(|entry| (u8::MAX - entry.to.prefix_len(), entry.metric))
    }

    fn is_broadcast(&self, namespace: &NamespaceName, via: IpAddr, fits: &impl Fn(Ifindex) -> bool) -> bool {
        let devices = self.namespaces.get(namespace).map(|namespace| &namespace.devices);
        devices.into_iter().flatten().filter(|(index, device)| device.up && fits(**index)).any(|(_, device)| {
            let subnets = device.addresses.iter().map(|given| given.address.0);
            subnets.filter(|net| net.prefix_len() < 31).any(|net| net.addr().is_ipv4() && net.broadcast() == via)
        })
    }

    fn check_inet6(&self, requests: &[RequestedHop<'_>], entry: &Entry) -> Result<Vec<Hop>, Errno> {
        if entry.kind.is_terminal() {
            return Ok(vec![Hop { via: None, index: LOOPBACK, weight: 1, onlink: false, dead: false }]);
        }
        if requests.len() > 1 && requests.iter().any(|requested| requested.hop.via.is_none()) {
            return Err(said(libc::EINVAL, "Device only routes can not be added for IPv6 using the multipath API"));
        }
        let mut hops: Vec<Hop> = Vec::new();
        for requested in requests {
            let index = match requested.hop.via {
                Some(via) => self.egress_inet6(requested, via)?,
                None => self.usable_inet6(requested.namespace, requested.index)?,
            };
            let hop = new_hop(requested, index);
            if hops.iter().any(|other| other.via == hop.via && other.index == hop.index) {
                return Err(Errno::new(libc::EEXIST));
            }
            hops.push(hop);
        }
        if hops.is_empty() { Err(Errno::new(libc::ENODEV)) } else { Ok(hops) }
    }

    fn usable_inet6(&self, namespace: &NamespaceName, index: Option<Ifindex>) -> Result<Ifindex, Errno> {
        let found = index.map(|index| Place::new(namespace, index));
        let Some((place, device)) = found.and_then(|place| self.device(&place).map(|device| (place, device))) else {
            return Err(Errno::new(libc::ENODEV));
        };
        match (device.knows_ipv6(), self.has_ipv6(&place), device.up) {
            (false, ..) => Err(Errno::new(libc::ENODEV)),
            (_, false, _) => Err(said(libc::EACCES, "IPv6 is disabled on nexthop device")),
            (.., false) => Err(said(libc::ENETDOWN, "Nexthop device is not up")),
            _ => Ok(place.index),
        }
    }

    /// Returns the link of an IPv6 gateway (`ip6_validate_gw`, `ip6_route_check_nh`).
    fn egress_inet6(&self, requested: &RequestedHop<'_>, via: IpAddr) -> Result<Ifindex, Errno> {
        let IpAddr::V6(address) = via else { return Err(said(libc::EINVAL, "Invalid gateway address")) };
        let device = requested.index.and_then(|index| self.device(&Place::new(requested.namespace, index)));
        match (requested.index, device) {
            (Some(_), None) => return Err(Errno::new(libc::ENODEV)),
            (Some(_), Some(device)) if !device.knows_ipv6() => return Err(Errno::new(libc::ENODEV)),
            (None, _) if requested.hop.onlink => return Err(said(libc::ENODEV, "Nexthop device required for onlink")),
            (_, Some(device)) if requested.hop.onlink && !device.up => {
                return Err(said(libc::ENETDOWN, "Nexthop device is not up"));
            }
            _ => {}
        }
        if self.is_local_in(requested.namespace, via, self.domain(requested)) {
            return Err(said(libc::EINVAL, "Gateway can not be a local address"));
        }
        if address.is_multicast() || address.is_unspecified() {
            return Err(said(libc::EINVAL, "Invalid gateway address"));
        }
        let index = match (address.is_unicast_link_local(), requested.index) {
            (true, None) => return Err(said(libc::EINVAL, "Egress device not specified")),
            (_, Some(index)) if requested.hop.onlink => index,
            (true, Some(index)) => {
                let up = device.is_some_and(|device| device.up) && self.has_ipv6(&Place::new(requested.namespace, index));
                if !up {
                    return Err(Errno::new(libc::EHOSTUNREACH));
                }
                index
            }
            (false, _) => self.neighbour_inet6(requested, via)?,
        };
        if index == LOOPBACK {
            return Err(said(libc::EINVAL, "Egress device can not be loopback device for this route"));
        }
        self.usable_inet6(requested.namespace, Some(index))
    }

    /// Returns the link on which an IPv6 address is a neighbour, by the table of the route or the main table.
    fn neighbour_inet6(&self, requested: &RequestedHop<'_>, via: IpAddr) -> Result<Ifindex, Errno> {
        for table in [requested.table, self.domain(requested), MAIN_TABLE] {
            let alive = |hop: &Hop| !hop.dead && requested.index.is_none_or(|wanted| wanted == hop.index);
            let found = self.longest(requested.namespace, table, via, |entry| entry.hops.iter().any(alive));
            let Some(entry) = found else { continue };
            let usable = |hop: &&Hop| alive(hop) && hop.via.is_none();
            if let (Some(hop), false) = (entry.hops.iter().find(usable), entry.kind.is_terminal()) {
                return Ok(hop.index);
            }
        }
        Err(Errno::new(libc::EHOSTUNREACH))
    }
}

fn new_hop(requested: &RequestedHop<'_>, index: Ifindex) -> Hop {
    Hop { via: requested.hop.via, index, weight: requested.hop.weight, onlink: requested.hop.onlink, dead: false }
}
