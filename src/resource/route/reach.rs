//! What the interfaces of a namespace reach without a gateway: the networks of their addresses, and routes that lead straight
//! to an interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{MAIN_TABLE, Route, RouteKey, RouteSpec, RouteType, Scope};
use crate::name::{LinkName, NamespaceName};
use crate::resource::object;
use crate::resource::object::site::{Assigned, Site};

/// What is reached, from which interface, by which means.
pub(super) struct Reach {
    networks: BTreeMap<IpNet, Vec<Way>>,
    /// The prefix lengths that occur, longest last, by family.
    lengths: [BTreeSet<u8>; 2],
    /// The namespace's own addresses, with the table of their interfaces.
    own: BTreeSet<(IpAddr, u32)>,
    /// The tables of interfaces that are VRFs, or ports of VRFs.
    vrfs: BTreeMap<LinkName, u32>,
    /// Networks of addresses that do not help, and why.
    unreachable: Vec<(IpNet, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    dev: LinkName,
    /// The table that says so.
    table: u32,
}

impl Reach {
    /// What the addresses of a namespace reach.
    pub(super) fn of_addresses(site: &Site<'_>) -> Self {
        let mut reach = Self {
            networks: BTreeMap::new(),
            lengths: [BTreeSet::new(), BTreeSet::new()],
            own: BTreeSet::new(),
            vrfs: site.interfaces.values().filter_map(|interface| Some((interface.id.name, interface.vrf?))).collect(),
            unreachable: Vec::new(),
        };
        for interface in site.interfaces.values() {
            let name = interface.id.name;
            for Assigned { address, network, connected, .. } in &interface.addresses {
                reach.own.insert((address.ip(), interface.table()));
                if !interface.up {
                    reach.unreachable.push((*network, format!("`{name}` has `{address}`, but is down")));
                } else if *connected {
                    reach.add(*network, Way { dev: name, table: interface.table() });
                } else if network.prefix_len() < network.max_prefix_len() {
                    let why = format!("`{name}` has `{address}`, but `noprefixroute` suppresses the route to its network");
                    reach.unreachable.push((*network, why));
                }
            }
        }
        reach
    }

    /// Adds a route that leads straight to an interface.
    pub(super) fn add_route(&mut self, site: &Site<'_>, spec: &RouteSpec, to: IpNet, table: u32) {
        let straight = !spec.kind.is_terminal() && spec.via.is_none() && spec.nexthops.is_empty();
        let Some(dev) = spec.dev.filter(|_| straight) else { return };
        if site.interfaces.get(&dev).is_some_and(|interface| interface.up) {
            self.add(to, Way { dev, table });
        }
    }

    fn add(&mut self, network: IpNet, way: Way) {
        self.lengths[family(&network.addr())].insert(network.prefix_len());
        let ways = self.networks.entry(network).or_default();
        if !ways.contains(&way) {
            ways.push(way);
        }
    }

    /// Returns the table in which the kernel looks up the gateway and the local addresses of a route: that of the VRF of the interface, or
    /// of the route.
    fn domain(&self, table: u32, dev: Option<LinkName>) -> u32 {
        let is_vrf = || self.vrfs.values().any(|vrf| *vrf == table);
        dev.and_then(|dev| self.vrfs.get(&dev).copied()).unwrap_or_else(|| if is_vrf() { table } else { MAIN_TABLE })
    }

    /// The networks that hold the address, the smallest first, with what reaches them by one of the tables; at least one interface each.
    fn networks_of(&self, ip: IpAddr, tables: [u32; 3]) -> impl Iterator<Item = (IpNet, impl Iterator<Item = LinkName> + '_)> {
        let lengths = self.lengths[family(&ip)].iter().rev();
        let networks = lengths.filter_map(move |length| Some(IpNet::new(ip, *length).ok()?.trunc()));
        networks.filter_map(move |network| {
            let ways = self.networks.get(&network)?.iter().filter(move |way| tables.contains(&way.table));
            let mut devices = ways.map(|way| way.dev).peekable();
            devices.peek().is_some().then_some((network, devices))
        })
    }

    /// The interfaces that reach the address, by the longest prefix as the kernel chooses; several where it is the same. The kernel looks into
    /// the table of a VRF first.
    pub(super) fn interfaces_to(&self, ip: IpAddr, table: u32) -> Vec<LinkName> {
        let own = [self.domain(table, None); 3];
        let mut lookups = [own, [table, table, MAIN_TABLE]].into_iter().skip(usize::from(own[0] == MAIN_TABLE));
        let found = lookups.find_map(|tables| self.networks_of(ip, tables).next());
        let mut devices: Vec<LinkName> = found.into_iter().flat_map(|(_, devices)| devices).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Whether the address is reached over that interface.
    pub(super) fn is_over(&self, ip: IpAddr, dev: LinkName, table: u32) -> bool {
        self.networks_of(ip, [table, self.domain(table, Some(dev)), MAIN_TABLE])
            .any(|(_, mut devices)| devices.any(|device| device == dev))
    }

    /// Whether it is the broadcast address of a network that is reached.
    pub(super) fn is_broadcast(&self, ip: IpAddr, table: u32, dev: Option<LinkName>) -> Option<IpNet> {
        let IpAddr::V4(_) = ip else { return None };
        let domain = self.domain(table, dev);
        let mut networks = self.networks_of(ip, [table, domain, domain]).map(|(network, _)| network);
        networks.find(|network| (1..31).contains(&network.prefix_len()) && network.broadcast() == ip)
    }

    /// Whether the namespace has that address itself, outside of VRFs or in that of the route.
    pub(super) fn is_own(&self, ip: IpAddr, table: u32, dev: Option<LinkName>) -> bool {
        self.own.contains(&(ip, self.domain(table, dev)))
    }

    /// Whether the address can be the source of a route over these interfaces. An IPv4 one must be in the VRF of the route's table or outside
    /// of VRFs (`fib_valid_prefsrc`), an IPv6 one in the VRF of the interface (`ip6_route_info_create`).
    pub(super) fn is_source(&self, ip: IpAddr, table: u32, devs: impl Iterator<Item = LinkName>) -> bool {
        if ip.is_ipv4() {
            return [table, MAIN_TABLE].iter().any(|table| self.own.contains(&(ip, *table)));
        }
        let mut devs = devs.peekable();
        match devs.peek() {
            None => self.is_own(ip, table, None),
            Some(_) => devs.all(|dev| self.is_own(ip, table, Some(dev))),
        }
    }

    /// Whether the network of an address of the namespace contains it, which does not help.
    pub(super) fn is_lost(&self, ip: IpAddr) -> bool {
        self.unreachable.iter().any(|(network, _)| network.contains(&ip))
    }

    /// Why the address is not reached: an interface that would, or all that is reached.
    pub(super) fn explain(&self, namespace: &NamespaceName, ip: IpAddr) -> String {
        if let Some((_, why)) = self.unreachable.iter().find(|(network, _)| network.contains(&ip)) {
            return why.clone();
        }
        const SHOWN: usize = 6;
        let same_family = |network: &&IpNet| network.addr().is_ipv4() == ip.is_ipv4();
        let networks: Vec<_> = self.networks.keys().filter(same_family).collect();
        let shown = networks.iter().take(SHOWN).map(|network| {
            let devices: Vec<String> = self.networks[*network].iter().map(|way| format!("`{}`", way.dev)).collect();
            format!("{network} over {}", devices.join(", "))
        });
        let shown: Vec<String> = shown.collect();
        let more = networks.len().saturating_sub(SHOWN);
        match (shown.is_empty(), more) {
            (true, _) => {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                format!("`{namespace}` has no connected {family} network")
            }
            (false, 0) => format!("`{namespace}` reaches {}", shown.join("; ")),
            (false, more) => format!("`{namespace}` reaches {}; and {more} more", shown.join("; ")),
        }
    }
}

/// Returns what a live route contributes to the look-up of gateways, and its own gateways. For an IPv4 gateway the kernel sees only routes
/// of scope `link` or `host` (`fib_check_nh_v4_gw`); for an IPv6 gateway, all routes (`ip6_route_check_nh`). A gateway that is said to be
/// on the link, or has a link-local address, needs no route.
pub(super) fn of_live(key: &RouteKey, route: &Route) -> object::Reach {
    let is_local = |scope: Scope| matches!(scope, Scope::Link | Scope::Host);
    let counts = match key.is_ipv6() {
        true => true,
        false => matches!(route.kind, RouteType::Unicast | RouteType::Local) && is_local(route.complete_scope(false)),
    };
    let ways = route.nexthops.iter().filter(|_| counts).filter_map(|hop| {
        let is_direct = !key.is_ipv6() || hop.via.is_none();
        Some(object::Way { to: key.to, dev: hop.dev?, table: Some(key.table), is_direct })
    });
    let is_link_local = |via: &IpAddr| matches!(via, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let gateways = route.nexthops.iter().filter(|hop| !hop.onlink).filter_map(|hop| hop.via.zip(hop.dev));
    let gateways = gateways.filter(|(via, _)| !is_link_local(via));
    let gateways = gateways.map(|(via, dev)| object::Gateway { via, dev, table: key.table });
    object::Reach { ways: ways.collect(), source: None, gateways: gateways.collect() }
}

fn family(ip: &IpAddr) -> usize {
    usize::from(ip.is_ipv6())
}
