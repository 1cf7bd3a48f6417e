//! Whether the kernel takes a route, and which ways out it makes of it (`fib_create_info`, `ip6_route_info_create`).

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

/// A way out that is to be checked.
struct Wish<'a> {
    namespace: &'a NamespaceName,
    table: u32,
    scope: Scope,
    hop: &'a NextHop,
    index: Option<Ifindex>,
}

impl Network {
    /// The ways out of a route, if it may be added.
    pub(super) fn check_route(&self, at: &At<Route>, entry: &Entry) -> Result<Vec<Hop>, Errno> {
        self.namespace(&at.namespace)?;
        let wishes = at.value.nexthops.iter().enumerate().map(|(position, hop)| Wish {
            namespace: &at.namespace,
            table: at.key.table,
            scope: entry.scope,
            hop,
            index: at.indices.get(position).copied().flatten(),
        });
        let wishes: Vec<_> = wishes.collect();
        let hops = match entry.family() {
            Family::Inet => self.check_inet(&wishes, entry, at.key.to)?,
            Family::Inet6 => self.check_inet6(&wishes, entry)?,
        };
        match entry.src {
            Some(src) if !self.is_local(&at.namespace, src) => {
                Err(said(libc::EINVAL, if src.is_ipv4() { "Invalid prefsrc address" } else { "Invalid source address" }))
            }
            Some(_) | None => Ok(hops),
        }
    }

    fn check_inet(&self, wishes: &[Wish<'_>], entry: &Entry, to: IpNet) -> Result<Vec<Hop>, Errno> {
        if to.trunc() != to {
            return Err(said(libc::EINVAL, "Invalid prefix for given prefix length"));
        }
        if entry.kind == RouteType::Local && entry.scope < Scope::Host {
            return Err(said(libc::EINVAL, "Invalid scope"));
        }
        if entry.kind.is_terminal() {
            return if wishes.is_empty() { Ok(Vec::new()) } else { Err(Errno::new(libc::EINVAL)) };
        }
        if entry.scope >= Scope::Host && (wishes.len() != 1 || wishes[0].hop.via.is_some()) {
            return Err(said(libc::EINVAL, "Route with host scope can not have gateway or multiple nexthops"));
        }
        if wishes.is_empty() {
            return Err(Errno::new(libc::ENODEV));
        }
        wishes.iter().map(|wish| Ok(made(wish, self.way_inet(wish)?))).collect()
    }

    fn way_inet(&self, wish: &Wish<'_>) -> Result<Ifindex, Errno> {
        let device = |index: Ifindex| self.device(&Place::new(wish.namespace, index));
        match wish.hop.via {
            Some(via @ IpAddr::V6(_)) => self.way_inet6(wish, via),
            Some(via) if wish.hop.onlink => {
                let Some((index, device)) = wish.index.and_then(|index| Some((index, device(index)?))) else {
                    return Err(said(libc::ENODEV, "Nexthop device required for onlink"));
                };
                match device.up {
                    true if via.is_unspecified() => Err(said(libc::EINVAL, "Nexthop has invalid gateway")),
                    true => Ok(index),
                    false => Err(said(libc::ENETDOWN, "Nexthop device is not up")),
                }
            }
            Some(via) => {
                let index = self.look_up(wish, via)?;
                let up = device(index).is_some_and(|device| device.up);
                if up { Ok(index) } else { Err(said(libc::ENETDOWN, "Device for nexthop is not up")) }
            }
            None => {
                let found = wish.index.and_then(|index| Some((index, device(index)?)));
                let (index, device) = found.ok_or_else(|| Errno::new(libc::ENODEV))?;
                let up = device.up || wish.scope >= Scope::Host;
                if up { Ok(index) } else { Err(said(libc::ENETDOWN, "Device for nexthop is not up")) }
            }
        }
    }

    /// Where an IPv4 gateway is (`fib_check_nh_v4_gw`): only routes that end on the link count, not those with gateways.
    fn look_up(&self, wish: &Wish<'_>, via: IpAddr) -> Result<Ifindex, Errno> {
        let least = wish.scope.number().saturating_add(1).max(Scope::Link.number());
        let fits = |index: Ifindex| wish.index.is_none_or(|wanted| wanted == index);
        let invalid = |number| said(number, "Nexthop has invalid gateway");
        let tables = [wish.table, MAIN_TABLE, DEFAULT_TABLE];
        let first = usize::from(wish.table == MAIN_TABLE);
        for (position, table) in tables.iter().enumerate().skip(first) {
            if position == 1 {
                if let Some(owner) = self.owner_of(wish.namespace, via).filter(|owner| fits(*owner)) {
                    return Ok(owner);
                }
                if self.is_broadcast(wish.namespace, via, &fits) {
                    return Err(invalid(libc::EINVAL));
                }
            }
            let found = self.longest(wish.namespace, *table, via, |entry| {
                let alive = |hop: &Hop| !hop.dead && fits(hop.index);
                entry.scope.number() >= least && (entry.hops.is_empty() || entry.hops.iter().any(alive))
            });
            let Some(entry) = found else { continue };
            match entry.kind {
                RouteType::Unicast | RouteType::Local => {
                    let hop = entry.hops.iter().find(|hop| !hop.dead && fits(hop.index));
                    return hop.map(|hop| hop.index).ok_or_else(|| invalid(libc::ENETUNREACH));
                }
                RouteType::Blackhole => return Err(invalid(libc::EINVAL)),
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

    fn check_inet6(&self, wishes: &[Wish<'_>], entry: &Entry) -> Result<Vec<Hop>, Errno> {
        if entry.kind.is_terminal() {
            return Ok(vec![Hop { via: None, index: LOOPBACK, weight: 1, onlink: false, dead: false }]);
        }
        if wishes.len() > 1 && wishes.iter().any(|wish| wish.hop.via.is_none()) {
            return Err(said(libc::EINVAL, "Device only routes can not be added for IPv6 using the multipath API"));
        }
        let mut hops: Vec<Hop> = Vec::new();
        for wish in wishes {
            let index = match wish.hop.via {
                Some(via) => self.way_inet6(wish, via)?,
                None => self.usable_inet6(wish.namespace, wish.index)?,
            };
            let hop = made(wish, index);
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

    /// Where an IPv6 gateway is (`ip6_validate_gw`, `ip6_route_check_nh`).
    fn way_inet6(&self, wish: &Wish<'_>, via: IpAddr) -> Result<Ifindex, Errno> {
        let IpAddr::V6(address) = via else { return Err(said(libc::EINVAL, "Invalid gateway address")) };
        let device = wish.index.and_then(|index| self.device(&Place::new(wish.namespace, index)));
        match (wish.index, device) {
            (Some(_), None) => return Err(Errno::new(libc::ENODEV)),
            (Some(_), Some(device)) if !device.knows_ipv6() => return Err(Errno::new(libc::ENODEV)),
            (None, _) if wish.hop.onlink => return Err(said(libc::ENODEV, "Nexthop device required for onlink")),
            (_, Some(device)) if wish.hop.onlink && !device.up => {
                return Err(said(libc::ENETDOWN, "Nexthop device is not up"));
            }
            _ => {}
        }
        if self.is_local(wish.namespace, via) {
            return Err(said(libc::EINVAL, "Gateway can not be a local address"));
        }
        if address.is_multicast() || address.is_unspecified() {
            return Err(said(libc::EINVAL, "Invalid gateway address"));
        }
        let index = match (address.is_unicast_link_local(), wish.index) {
            (true, None) => return Err(said(libc::EINVAL, "Egress device not specified")),
            (_, Some(index)) if wish.hop.onlink => index,
            (true, Some(index)) => {
                let up = device.is_some_and(|device| device.up) && self.has_ipv6(&Place::new(wish.namespace, index));
                if !up {
                    return Err(Errno::new(libc::EHOSTUNREACH));
                }
                index
            }
            (false, _) => self.neighbour_inet6(wish, via)?,
        };
        if index == LOOPBACK {
            return Err(said(libc::EINVAL, "Egress device can not be loopback device for this route"));
        }
        self.usable_inet6(wish.namespace, Some(index))
    }

    /// The link on which an IPv6 address is a neighbour, by the route's own table or by the others.
    fn neighbour_inet6(&self, wish: &Wish<'_>, via: IpAddr) -> Result<Ifindex, Errno> {
        for table in [wish.table, MAIN_TABLE] {
            let alive = |hop: &Hop| !hop.dead && wish.index.is_none_or(|wanted| wanted == hop.index);
            let found = self.longest(wish.namespace, table, via, |entry| entry.hops.iter().any(alive));
            let Some(entry) = found else { continue };
            let usable = |hop: &&Hop| alive(hop) && hop.via.is_none();
            if let (Some(hop), false) = (entry.hops.iter().find(usable), entry.kind.is_terminal()) {
                return Ok(hop.index);
            }
        }
        Err(Errno::new(libc::EHOSTUNREACH))
    }
}

fn made(wish: &Wish<'_>, index: Ifindex) -> Hop {
    Hop { via: wish.hop.via, index, weight: wish.hop.weight, onlink: wish.hop.onlink, dead: false }
}
