//! Routes that the kernel adds by itself: for addresses, and for interfaces that are up. It refuses a second route with the same table,
//! destination and metric, whatever the next hops are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::lower::Context;
use super::{IPV6_CONNECTED_METRIC, LOCAL_TABLE, MAIN_TABLE, RouteKey};
use crate::resource::object::site::{Assigned, Interface, Site};
use crate::yaml::Problems;

/// The table, destination and metric of a route.
pub(super) type Key = (u32, IpNet, u32);

/// The declared routes that the kernel adds by itself.
pub(super) struct Automatic<'s> {
    routes: BTreeMap<Key, (&'s Interface, Option<&'s Assigned>)>,
}

impl<'s> Automatic<'s> {
    /// Finds those of the `declared` routes.
    pub(super) fn among(declared: &BTreeSet<Key>, site: &'s Site<'_>) -> Self {
        let mut routes = BTreeMap::new();
        for interface in site.interfaces.values() {
            for assigned in &interface.addresses {
                let keys = of_address(interface, assigned).filter(|key| declared.contains(key));
                routes.extend(keys.map(|key| (key, (interface, Some(assigned)))));
            }
            for key in of_interface(interface).filter(|key| declared.contains(key)) {
                routes.entry(key).or_insert((interface, None));
            }
        }
        Self { routes }
    }

    /// Reports a route that the kernel adds by itself.
    pub(super) fn refuse(&self, context: &Context<'_>, key: &RouteKey, problems: &mut Problems) {
        let route = (key.table, key.to, key.metric);
        let Some((interface, assigned)) = self.routes.get(&route).filter(|_| key.tos == 0) else { return };
        let Some(assigned) = assigned else {
            let message = format!("the kernel adds the route `{key}` by itself when `{}` is up", interface.id);
            problems.error(context.path(), message).hint("remove the route, or give it another `metric`");
            return;
        };
        let of = format!("for the address `{}` of `{}`", assigned.address, interface.id);
        let problem = problems.error(context.path(), format!("the kernel adds the route `{key}` by itself {of}"));
        problem.also(context.site.path_of_address(assigned), "the address").needs(context.part());
        let is_prefix_route = assigned.prefix_route == Some(route) && !assigned.address.ip().is_loopback();
        problem.hint(match is_prefix_route {
            true => "remove the route, give it another `metric`, or set `noprefixroute: true` on the address",
            false => "remove the route, or give it another `metric`",
        });
    }
}

/// Returns the routes that the kernel adds for an address, except for those that no lab file can declare (`fib_add_ifaddr`,
/// `inet6_addr_add`, `__ipv6_ifa_notify`).
fn of_address(interface: &Interface, assigned: &Assigned) -> impl Iterator<Item = Key> {
    let table = interface.vrf.unwrap_or(LOCAL_TABLE);
    let local = move |ip: IpAddr| (table, IpNet::from(ip), 0);
    let ip = assigned.address.ip();
    let own = ip.is_ipv4().then(|| local(ip));
    let network = || Some(assigned.network).filter(|network| network.prefix_len() < 31 && !assigned.secondary);
    let (broadcasts, peer) = match (ip.is_ipv4(), assigned.peer) {
        (true, _) => ([assigned.broadcast, network().map(|network| network.broadcast())], None),
        (false, peer) => {
            let metric = assigned.metric.unwrap_or(IPV6_CONNECTED_METRIC);
            ([None, None], peer.map(|peer| (interface.table(), peer.into(), metric)))
        }
    };
    let when_up = assigned.prefix_route.into_iter().chain(broadcasts.into_iter().flatten().map(local)).chain(peer);
    own.into_iter().chain(when_up.filter(|_| interface.up))
}

/// Returns the routes that the kernel adds for an interface, whatever addresses are declared.
fn of_interface(interface: &Interface) -> impl Iterator<Item = Key> {
    let local = |ip: [u8; 4], length| (LOCAL_TABLE, Ipv4Net::new_assert(ip.into(), length).into(), 0);
    let ipv6 = |table, ip: Ipv6Addr, length| (table, Ipv6Net::new_assert(ip, length).into(), IPV6_CONNECTED_METRIC);
    let prefix = |first| Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0);
    let routes = if interface.id.name.is_loopback() {
        [
            Some(local([127, 0, 0, 0], 8)),
            Some(local(Ipv4Addr::LOCALHOST.octets(), 32)),
            Some(local([127, 255, 255, 255], 32)),
            (!interface.without_ipv6).then(|| ipv6(MAIN_TABLE, Ipv6Addr::LOCALHOST, 128)),
        ]
    } else {
        let table = interface.vrf.unwrap_or(LOCAL_TABLE);
        let multicast = (interface.joins_groups && !interface.without_ipv6).then(|| ipv6(table, prefix(0xff00), 8));
        let link_local = multicast.filter(|_| interface.generates_link_local);
        let link_local = link_local.map(|_| ipv6(interface.table(), prefix(0xfe80), 64));
        [multicast, link_local, None, None]
    };
    routes.into_iter().flatten().filter(|_| interface.up)
}
