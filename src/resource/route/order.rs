//! The order in which routes change: a route that replaces another one is added before the other one is removed.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Route, RouteKey};
use crate::name::LinkName;
use crate::resource::link::LEAST_IPV6_MTU;
use crate::resource::object::{Fate, Group, Object, Pair, Surroundings, Verdict};

/// Compares each route separately. A route that goes stays until the new ones are there, if one of them has its destination.
pub(super) fn settle(group: &Group<'_, Route>, surroundings: &Surroundings<'_>) -> Vec<Verdict<Route>> {
    let verdict = |pair: &Pair<'_, Route>| pair.verdict(surroundings.losses);
    let verdicts: Vec<_> = group.iter().filter_map(verdict).collect();
    if !verdicts.iter().any(|verdict| verdict.fate == Fate::Delete) || !verdicts.iter().any(|verdict| verdict.after.is_some()) {
        return verdicts;
    }
    let order = Order::new(group, surroundings, &verdicts);
    let late = |verdict: &Verdict<Route>| verdict.fate == Fate::Delete && order.can_stay(verdict);
    let fates: Vec<_> = verdicts.iter().map(|verdict| if late(verdict) { Fate::DeleteLast } else { verdict.fate }).collect();
    verdicts.into_iter().zip(fates).map(|(verdict, fate)| Verdict { fate, ..verdict }).collect()
}

struct Order<'a, 'p, 's> {
    group: &'a Group<'p, Route>,
    surroundings: &'a Surroundings<'s>,
    /// The destinations of the routes that are added or changed.
    destinations: HashSet<IpNet>,
    /// The gateways that the kernel looks up for these routes, with their interfaces.
    gateways: BTreeSet<(IpAddr, Option<LinkName>)>,
}

impl<'a, 'p, 's> Order<'a, 'p, 's> {
    fn new(group: &'a Group<'p, Route>, surroundings: &'a Surroundings<'s>, verdicts: &[Verdict<Route>]) -> Self {
        let mut order = Self { group, surroundings, destinations: HashSet::new(), gateways: BTreeSet::new() };
        for (key, route) in verdicts.iter().filter_map(|verdict| Some((&verdict.key, verdict.after.as_ref()?))) {
            order.destinations.insert(key.to);
            let hops = route.nexthops.iter().filter(|hop| !hop.onlink);
            let gateways = hops.filter_map(|hop| Some((hop.via.filter(|via| !is_link_local(*via))?, hop.dev)));
            order.gateways.extend(gateways);
        }
        order
    }

    /// Returns whether a route that goes is replaced by another one, and can stay until that one is there.
    fn can_stay(&self, verdict: &Verdict<Route>) -> bool {
        let key = &verdict.key;
        let Some(old) = &verdict.before else { return false };
        // The request to delete a route that was appended does not tell it from the first one once that has changed.
        key.ordinal == 0 && self.destinations.contains(&key.to) && !self.is_lost(key, old) && !self.hinders(key, old)
    }

    /// Returns whether the kernel removes the route during the plan, together with something that it needs.
    fn is_lost(&self, key: &RouteKey, old: &Route) -> bool {
        let without_ipv6 = |dev| {
            let mtu = (self.surroundings.link)(dev).and_then(|link| link.settings.mtu);
            (self.surroundings.disables_ipv6)() || mtu.is_some_and(|mtu| mtu < LEAST_IPV6_MTU)
        };
        let losses = &self.surroundings.losses;
        Route::needs(key, old).iter().any(|need| losses.of(need).is_some())
            || key.is_ipv6() && old.nexthops.iter().filter_map(|hop| hop.dev).any(without_ipv6)
    }

    /// Returns whether the kernel could refuse the gateway of a new route as long as the old route is there (`fib_check_nh`,
    /// `ip6_route_check_nh`): it looks them up, and they must not be reached by another gateway.
    fn hinders(&self, key: &RouteKey, old: &Route) -> bool {
        let from = (key.to.network(), None);
        self.gateways.range(from..).take_while(|(via, _)| key.to.contains(via)).any(|&(via, dev)| {
            let leads_to = |hop: &super::NextHop| hop.via.is_none() && hop.dev == dev;
            let hindered = match via {
                // Routes with a gateway and those over other interfaces are passed over.
                IpAddr::V4(_) => old.nexthops.is_empty() || old.kind != super::RouteType::Unicast,
                IpAddr::V6(_) => !old.nexthops.iter().all(leads_to) || old.nexthops.is_empty(),
            };
            hindered && self.longest_connected(via).is_none_or(|length| length <= key.to.prefix_len())
        })
    }

    /// Returns the length of the longest prefix by which the gateway is reached directly in the end.
    fn longest_connected(&self, via: IpAddr) -> Option<u8> {
        let direct = |pair: &&Pair<'_, Route>| {
            pair.live.is_some() && pair.desired.is_some_and(|route| route.nexthops.iter().any(|hop| hop.via.is_none()))
        };
        let routes = self.group.iter().filter(direct).map(|pair| pair.key.to).filter(|to| to.contains(&via));
        routes.map(|to| to.prefix_len()).max().max((self.surroundings.connected)(via))
    }
}

/// fe80::/10
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
