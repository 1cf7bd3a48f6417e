//! Which gateways and source addresses the kernel accepts in routes of one namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::LinkName;
use crate::resource::object::{Gateway, Reach, Way};
use crate::resource::route::{DEFAULT_TABLE, MAIN_TABLE};

/// The routes and local addresses that the kernel looks at.
#[derive(Default)]
pub(super) struct Reachable {
    ways: BTreeMap<IpNet, Vec<Way>>,
    /// The prefix lengths that occur, of IPv4 and IPv6.
    lengths: [BTreeSet<u8>; 2],
    sources: BTreeSet<IpAddr>,
}

impl Reachable {
    /// Adds what an object contributes, as far as its links are `usable`, by their names and whether it is about IPv6.
    pub(super) fn add(&mut self, reach: Reach, usable: impl Fn(LinkName, bool) -> bool) {
        let source = reach.source.filter(|(ip, dev)| usable(*dev, ip.is_ipv6()));
        self.sources.extend(source.map(|(ip, _)| ip));
        for way in reach.ways.into_iter().filter(|way| usable(way.dev, is_ipv6(&way.to))) {
            self.lengths[usize::from(is_ipv6(&way.to))].insert(way.to.prefix_len());
            self.ways.entry(way.to).or_default().push(way);
        }
    }

    /// Returns whether the namespace has the address.
    pub(super) fn has_source(&self, ip: &IpAddr) -> bool {
        self.sources.contains(ip)
    }

    /// Returns whether the kernel accepts the gateway. For IPv4 any route without a gateway will do (`fib_check_nh_v4_gw`); for IPv6 the
    /// best route of a table must have none (`ip6_route_check_nh`). It looks into the table of the route first, and then into the others.
    pub(super) fn reaches(&self, gateway: &Gateway) -> bool {
        match gateway.via {
            IpAddr::V4(_) => {
                let tables = [gateway.table, MAIN_TABLE, DEFAULT_TABLE];
                self.ways_to(gateway).any(|way| way.is_direct && way.table.is_none_or(|table| tables.contains(&table)))
            }
            IpAddr::V6(_) => [gateway.table, MAIN_TABLE].into_iter().any(|table| self.best_is_direct(gateway, table)),
        }
    }

    /// Returns whether the most specific route of a table leads straight to the gateway's interface.
    fn best_is_direct(&self, gateway: &Gateway, table: u32) -> bool {
        let mut ways = self.ways_to(gateway).filter(|way| way.table.is_none_or(|of| of == table)).peekable();
        let best = ways.peek().map(|way| way.to);
        ways.take_while(|way| Some(way.to) == best).any(|way| way.is_direct)
    }

    /// Returns the ways to a gateway over its interface, the most specific ones first.
    fn ways_to(&self, gateway: &Gateway) -> impl Iterator<Item = &Way> {
        let Gateway { via, dev, .. } = *gateway;
        let lengths = self.lengths[usize::from(via.is_ipv6())].iter().rev();
        let networks = lengths.filter_map(move |length| Some(IpNet::new(via, *length).ok()?.trunc()));
        let ways = networks.filter_map(|network| self.ways.get(&network)).flatten();
        ways.filter(move |way| way.dev == dev)
    }
}

fn is_ipv6(network: &IpNet) -> bool {
    matches!(network, IpNet::V6(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(to: &str, dev: &str, table: Option<u32>, is_direct: bool) -> Way {
        Way { to: to.parse().unwrap(), dev: dev.parse().unwrap(), table, is_direct }
    }

    fn reachable(ways: Vec<Way>) -> Reachable {
        let mut reachable = Reachable::default();
        reachable.add(Reach { ways, ..Reach::default() }, |_, _| true);
        reachable
    }

    fn gateway(via: &str, dev: &str, table: u32) -> Gateway {
        Gateway { via: via.parse().unwrap(), dev: dev.parse().unwrap(), table }
    }

    #[test]
    fn a_gateway_is_behind_its_interface() {
        let wide = reachable(vec![way("0.0.0.0/0", "eth1", Some(MAIN_TABLE), true), way("::/0", "eth1", Some(MAIN_TABLE), true)]);
        for via in ["192.0.2.1", "2001:db8::1"] {
            assert!(!wide.reaches(&gateway(via, "eth0", MAIN_TABLE)));
            assert!(wide.reaches(&gateway(via, "eth1", MAIN_TABLE)));
        }
    }

    #[test]
    fn the_own_table_and_the_main_one_count() {
        let other = reachable(vec![way("192.0.2.0/24", "eth0", Some(7), true), way("2001:db8::/64", "eth0", Some(7), true)]);
        for via in ["192.0.2.1", "2001:db8::1"] {
            assert!(!other.reaches(&gateway(via, "eth0", MAIN_TABLE)));
            assert!(other.reaches(&gateway(via, "eth0", 7)));
        }
        let main = reachable(vec![way("192.0.2.0/24", "eth0", None, true), way("2001:db8::/64", "eth0", None, true)]);
        for via in ["192.0.2.1", "2001:db8::1"] {
            assert!(main.reaches(&gateway(via, "eth0", 7)));
        }
    }

    #[test]
    fn a_more_specific_ipv6_route_with_a_gateway_hides_the_subnet() {
        let hidden = |subnet, host| reachable(vec![way(subnet, "eth0", None, true), way(host, "eth0", Some(MAIN_TABLE), false)]);
        assert!(!hidden("2001:db8::/64", "2001:db8::1/128").reaches(&gateway("2001:db8::1", "eth0", MAIN_TABLE)));
        assert!(hidden("192.0.2.0/24", "192.0.2.1/32").reaches(&gateway("192.0.2.1", "eth0", MAIN_TABLE)));
    }
}
