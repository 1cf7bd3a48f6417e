//! Routes: family, table, and where each leads, by the rules that the kernel checks a new route with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::automatic::Automatic;
use super::nexthop::{self, Hop};
use super::reach::Reach;
use super::{Family, IPV6_METRIC, NextHop, Route, RouteKey, RouteSpec, RouteType, Scope, Table};
use crate::resource::link::LEAST_MTU;
use crate::resource::object::site::{Item, Lowered, Position, Site};
use crate::value::Destination;
use crate::yaml::document::Subtree;
use crate::yaml::problem::options;
use crate::yaml::{Path, Problems};

/// Largest mtu of a route; the kernel cuts what is above.
const MOST_MTU: u32 = 65520;

/// What a route is checked against.
pub(super) struct Context<'c> {
    pub(super) site: &'c Site<'c>,
    pub(super) reach: &'c Reach,
    pub(super) spec: &'c RouteSpec,
    pub(super) position: Position,
    pub(super) table: u32,
    pub(super) ipv6: bool,
}

/// Lowers the routes of a namespace.
pub(super) fn lower(items: &[Item<'_, RouteSpec>], site: &Site<'_>, lowered: &mut Lowered<Route>, problems: &mut Problems) {
    if items.is_empty() {
        return;
    }
    let mut reach = Reach::of_addresses(site);
    let mut declared = BTreeSet::new();
    for Item { spec, .. } in items {
        if let Some(table) = Table::number_in(spec.table.as_ref(), site.tables) {
            reach.add_route(site, spec, destination(spec), table);
            let key = key_in(spec, table);
            declared.insert((key.table, key.to, key.metric));
        }
    }
    let automatic = Automatic::among(&declared, site);
    let mut seen: BTreeMap<RouteKey, Position> = BTreeMap::new();
    for &Item { spec, position } in items {
        let path = || site.path::<Route>(position).then("table");
        let Some(table) = Table::resolve(spec.table.as_ref(), site.tables, path, problems) else { continue };
        let ipv6 = matches!(destination(spec), IpNet::V6(_));
        let context = Context { site, reach: &reach, spec, position, table, ipv6 };
        let key = key_in(spec, table);
        if let Some(first) = seen.get(&key) {
            refuse_second(&context, &key, *first, problems);
            continue;
        }
        seen.insert(key.clone(), position);
        automatic.refuse(&context, &key, problems);
        if let Some(route) = route(&context, problems) {
            lowered.add(position, || (key, route));
        }
    }
}

/// What a route is known by, and what its family follows from.
const KEY: &[&str] = &["to", "family", "via", "src", "table", "metric", "tos"];

fn refuse_second(context: &Context<'_>, key: &RouteKey, first: Position, problems: &mut Problems) {
    let message = format!("duplicate route `{key}` in `{}`", context.site.namespace);
    let problem = problems.error(context.path(), message);
    let first = context.site.path::<Route>(first);
    let key = [context.path(), first.clone()].map(|path| options(path, KEY));
    problem.also(first, "first defined here").needs_all(key);
    problem.hint("use different metrics, or one route with `nexthops`");
}

fn key_in(spec: &RouteSpec, table: u32) -> RouteKey {
    let to = destination(spec);
    let metric = match (to, spec.metric.unwrap_or(0)) {
        (IpNet::V6(_), 0) => IPV6_METRIC,
        (IpNet::V4(_) | IpNet::V6(_), metric) => metric,
    };
    RouteKey { table, to, metric, tos: spec.tos.unwrap_or(0), ordinal: 0 }
}

/// The prefix that a route is for, with `default` in its family.
fn destination(spec: &RouteSpec) -> IpNet {
    let gateways = || spec.via.into_iter().chain(spec.nexthops.iter().filter_map(|hop| hop.via)).chain(spec.src).next();
    let ipv6 = match (spec.to, spec.family) {
        (Destination::Prefix(prefix), _) => return prefix,
        (Destination::Default, Some(family)) => family == Family::Inet6,
        (Destination::Default, None) => gateways().is_some_and(|ip| ip.is_ipv6()),
    };
    if ipv6 { Ipv6Net::default().into() } else { Ipv4Net::default().into() }
}

fn route(context: &Context<'_>, problems: &mut Problems) -> Option<Route> {
    let before = problems.count;
    let spec = context.spec;
    check_family(context, problems);
    check_attributes(context, problems);
    let nexthops = if spec.kind.is_terminal() {
        refuse_ways(context, problems);
        Vec::new()
    } else if spec.nexthops.is_empty() {
        let hop = Hop { via: spec.via, dev: spec.dev, onlink: spec.onlink, weight: None, index: None };
        nexthop::resolve(context, &hop, problems).into_iter().collect()
    } else {
        several(context, problems)
    };
    let route = Route { kind: spec.kind, nexthops, src: spec.src, scope: spec.scope, mtu: spec.mtu, ..Route::default() };
    (problems.count == before).then_some(route)
}

fn check_family(context: &Context<'_>, problems: &mut Problems) {
    let spec = context.spec;
    let family = if context.ipv6 { "IPv6" } else { "IPv4" };
    if let (Destination::Prefix(prefix), Some(given)) = (spec.to, spec.family)
        && (given == Family::Inet6) != context.ipv6
    {
        let problem =
            problems.error(context.path().then("family"), format!("`family` contradicts the {family} prefix `{prefix}`"));
        problem.hint("remove `family`; the destination implies it");
    }
    let devs = || spec.dev.into_iter().chain(spec.nexthops.iter().filter_map(|hop| hop.dev));
    if let Some(src) = spec.src {
        let path = context.path().then("src");
        if src.is_ipv6() != context.ipv6 {
            problems.error(path, format!("`{src}` is not a valid source address of an {family} route"));
        } else if context.site.owned && !context.reach.is_source(src, context.table, devs()) {
            let message = format!("source address `{src}` is not assigned in `{}`", context.site.namespace);
            let problem = problems.error(path, message).needs_all(context.site.places.reach_parts());
            problem.hint("use an address of an interface of the namespace");
        }
    }
}

fn check_attributes(context: &Context<'_>, problems: &mut Problems) {
    let spec = context.spec;
    let path = |key: &str| context.path().then(key);
    for (key, given) in [("scope", spec.scope.is_some()), ("tos", spec.tos.is_some())] {
        if context.ipv6 && given {
            problems.error(path(key), format!("`{key}` is valid for IPv4 routes only"));
        }
    }
    if let Some(tos) = spec.tos.filter(|tos| tos & 3 != 0) {
        let problem = problems.error(path("tos"), format!("invalid type of service {tos}: the two low bits must be 0"));
        problem.hint("use a multiple of 4, such as `0x10`");
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| !(LEAST_MTU..=MOST_MTU).contains(mtu)) {
        problems.error(path("mtu"), format!("mtu {mtu} is out of range ({LEAST_MTU} to {MOST_MTU})"));
    }
    let gateway = spec.via.is_some() || spec.nexthops.iter().any(|hop| hop.via.is_some());
    match spec.scope {
        Some(Scope::Nowhere) => {
            problems.error(path("scope"), "a route cannot have scope `nowhere`");
        }
        Some(scope @ (Scope::Link | Scope::Host)) if gateway && !context.ipv6 => {
            let problem = problems.error(path("scope"), format!("a route with a gateway cannot have scope `{scope}`"));
            problem.hint("remove `scope` or the gateway");
        }
        Some(_) | None => {}
    }
}

fn refuse_ways(context: &Context<'_>, problems: &mut Problems) {
    let spec = context.spec;
    let given = [("via", spec.via.is_some()), ("dev", spec.dev.is_some()), ("nexthops", !spec.nexthops.is_empty())];
    for (key, _) in given.into_iter().chain([("onlink", spec.onlink)]).filter(|(_, given)| *given) {
        let kind = serde_json::json!(spec.kind);
        let kind = kind.as_str().unwrap_or_default();
        let message = format!("a route of type `{kind}` cannot have `{key}`");
        problems.error(context.path().then(key), message).hint(format!("remove `{key}` or `type`"));
    }
}

fn several(context: &Context<'_>, problems: &mut Problems) -> Vec<NextHop> {
    let spec = context.spec;
    for (key, given) in [("via", spec.via.is_some()), ("dev", spec.dev.is_some()), ("onlink", spec.onlink)] {
        if given {
            let message = format!("a route cannot have both `{key}` and `nexthops`");
            let problem = problems.error(context.path().then(key), message);
            problem.also(context.path().then("nexthops"), "the next hops").hint(format!("set `{key}` on each next hop instead"));
        }
    }
    let mut hops = Vec::new();
    for (index, hop) in spec.nexthops.iter().enumerate() {
        let hop = Hop { via: hop.via, dev: hop.dev, onlink: hop.onlink, weight: hop.weight, index: Some(index) };
        if context.ipv6 && hop.via.is_none() && hop.dev.is_some() && spec.nexthops.len() > 1 {
            let message = "each next hop of an IPv6 multipath route requires a gateway";
            problems.error(hop.path(context), message).hint("add `via`");
            continue;
        }
        let Some(resolved) = nexthop::resolve(context, &hop, problems) else { continue };
        let twin = hops.iter().position(|other: &NextHop| other.via == resolved.via && other.dev == resolved.dev);
        if let Some(twin) = twin.filter(|_| context.ipv6) {
            let problem = problems.error(hop.path(context), "duplicate next hop");
            let first = context.path().then("nexthops").then(twin);
            problem.also(first, "first given here").hint("use one next hop with a larger `weight`");
        }
        hops.push(resolved);
    }
    hops
}

impl Context<'_> {
    /// Where the route stands.
    pub(super) fn path(&self) -> Path {
        self.site.path::<Route>(self.position)
    }

    /// What tells its ways out, for problems that may come from what could not be read of it.
    pub(super) fn part(&self) -> Subtree {
        const WAY: &[&str] = &["to", "family", "via", "dev", "nexthops", "type", "table", "src", "onlink"];
        options(self.path(), WAY)
    }

    /// Whether the route is one to an address of the machine itself.
    pub(super) fn is_local(&self) -> bool {
        self.spec.kind == RouteType::Local
    }

    /// The word for the gateway's kind in messages.
    pub(super) fn family_of(ip: IpAddr) -> &'static str {
        if ip.is_ipv6() { "IPv6" } else { "IPv4" }
    }
}
