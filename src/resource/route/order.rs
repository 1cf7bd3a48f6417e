//! The order in which routes change: a route that replaces another one is added before the other one is removed.

use std::net::IpAddr;

use super::{Route, RouteKey};
use crate::resource::object::{Fate, Group, Object, Pair, Surroundings, Verdict};

/// The smallest mtu of an interface with IPv6 (IPV6_MIN_MTU).
const LEAST_IPV6_MTU: u32 = 1280;

/// Compares each route separately. A route that goes stays until the new ones are there, if one of them has its destination.
pub(super) fn settle(group: &Group<'_, Route>, surroundings: &Surroundings<'_>) -> Vec<Verdict<Route>> {
    let verdict = |pair: &Pair<'_, Route>| pair.verdict(surroundings.losses);
    let verdicts: Vec<_> = group.iter().filter_map(verdict).collect();
    if !verdicts.iter().any(|verdict| verdict.fate == Fate::Delete) || !verdicts.iter().any(|verdict| verdict.after.is_some()) {
        return verdicts;
    }
    let order = Order { group, surroundings, puts: verdicts.iter().filter_map(put).collect() };
    let late = |verdict: &Verdict<Route>| verdict.fate == Fate::Delete && order.can_stay(verdict);
    let fates: Vec<_> = verdicts.iter().map(|verdict| if late(verdict) { Fate::DeleteLast } else { verdict.fate }).collect();
    verdicts.into_iter().zip(fates).map(|(verdict, fate)| Verdict { fate, ..verdict }).collect()
}

/// A route that is added or changed.
type Added = (RouteKey, Route);

fn put(verdict: &Verdict<Route>) -> Option<Added> {
    verdict.after.clone().map(|route| (verdict.key.clone(), route))
}

struct Order<'a, 'p, 's> {
    group: &'a Group<'p, Route>,
    surroundings: &'a Surroundings<'s>,
    puts: Vec<Added>,
}

impl Order<'_, '_, '_> {
    /// Returns whether a route that goes is replaced by another one, and can stay until that one is there.
    fn can_stay(&self, verdict: &Verdict<Route>) -> bool {
        let key = &verdict.key;
        let Some(old) = &verdict.before else { return false };
        // The request to delete a route that was appended does not tell it from the first one once that has changed.
        key.ordinal == 0
            && self.puts.iter().any(|(added, _)| added.to == key.to)
            && !self.is_lost(key, old)
            && !self.puts.iter().any(|(_, added)| self.hinders(key, old, added))
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

    /// Returns whether the kernel could refuse the gateways of a new route as long as the old route is there (`fib_check_nh`,
    /// `ip6_route_check_nh`): it looks them up, and they must not be reached by another gateway.
    fn hinders(&self, key: &RouteKey, old: &Route, added: &Route) -> bool {
        let hops = added.nexthops.iter().filter(|hop| !hop.onlink);
        let looked_up =
            hops.filter_map(|hop| Some((hop.via.filter(|via| key.to.contains(via) && !is_link_local(*via))?, hop.dev)));
        looked_up.into_iter().any(|(via, dev)| {
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
