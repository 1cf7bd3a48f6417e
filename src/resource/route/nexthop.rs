//! The ways out of a route: interfaces found by their gateways, and gateways checked as the kernel does.

use std::net::IpAddr;

use super::NextHop;
use super::lower::Context;
use crate::name::LinkName;
use crate::resource::object::site::Interface;
use crate::yaml::Path;
use crate::yaml::Problems;
use crate::yaml::suggest::list;

/// One way out as written.
pub(super) struct Hop {
    pub(super) via: Option<IpAddr>,
    pub(super) dev: Option<LinkName>,
    pub(super) onlink: bool,
    pub(super) weight: Option<u16>,
    /// Its place among several.
    pub(super) index: Option<usize>,
}

impl Hop {
    /// Where it stands.
    pub(super) fn path(&self, context: &Context<'_>) -> Path {
        match self.index {
            Some(index) => context.path().then("nexthops").then(index),
            None => context.path(),
        }
    }
}

/// Finds the interface of a way and checks its gateway.
pub(super) fn resolve(context: &Context<'_>, hop: &Hop, problems: &mut Problems) -> Option<NextHop> {
    let before = problems.count;
    if let Some(weight) = hop.weight.filter(|weight| !(1..=256).contains(weight)) {
        problems.error(hop.path(context).then("weight"), format!("weight {weight} is out of range (1 to 256)"));
    }
    if let Some(dev) = hop.dev {
        check_dev(context, hop, dev, problems);
    }
    let usable = hop.via.is_none_or(|via| check_gateway(context, hop, via, problems));
    let dev = match (hop.via, hop.dev) {
        (_, Some(dev)) => Some(dev),
        (Some(via), None) if usable => find_dev(context, hop, via, problems),
        (Some(_), None) => None,
        (None, None) => {
            no_way(context, hop, problems);
            None
        }
    };
    if let (Some(via), Some(dev), true) = (hop.via, hop.dev, problems.count == before) {
        check_reach(context, hop, via, dev, problems);
    }
    let clean = problems.count == before;
    // The kernel looks up an IPv6 gateway of an IPv4 route, too, with the interface's part of IPv6 (`fib_check_nh_v6_gw`).
    let needs_ipv6 = context.ipv6 || hop.via.is_some_and(|via| via.is_ipv6());
    if let (true, true, Some(interface)) = (clean, needs_ipv6, dev.and_then(|dev| context.site.interfaces.get(&dev))) {
        check_ipv6(context, hop, interface, problems);
    }
    let hop = NextHop { via: hop.via, dev, weight: hop.weight.unwrap_or(1), onlink: hop.onlink };
    (problems.count == before).then_some(hop)
}

fn check_dev(context: &Context<'_>, hop: &Hop, dev: LinkName, problems: &mut Problems) {
    let path = || hop.path(context).then("dev");
    let Some(interface) = context.site.interfaces.get(&dev) else {
        context.site.places.unknown_interface(dev, path(), problems);
        return;
    };
    if !interface.up {
        let problem = problems.error(path(), format!("`{}` is down; the kernel rejects routes over it", interface.id));
        problem.also(context.site.places.setting(dev, "up"), "set down here").hint("remove the route, or `up: false`");
    }
}

/// Whether a gateway is an address that could be one; otherwise that is reported.
fn check_gateway(context: &Context<'_>, hop: &Hop, via: IpAddr, problems: &mut Problems) -> bool {
    let path = || hop.path(context).then("via");
    let namespace = context.site.namespace;
    if context.is_local() {
        problems.error(path(), "a route of type `local` cannot have a gateway").hint("remove `via`");
    } else if context.ipv6 && via.is_ipv4() {
        problems.error(path(), format!("an IPv6 route cannot have the IPv4 gateway `{via}`"));
    } else if via.is_multicast() || via.is_unspecified() || via.is_loopback() {
        problems.error(path(), format!("`{via}` is not a valid gateway")).hint("use the unicast address of a neighbour");
    } else if context.reach.is_own(via, context.table, hop.dev) {
        let problem = problems.error(path(), format!("gateway `{via}` is a local address of `{namespace}`"));
        problem.hint("use the unicast address of a neighbour");
    } else if let Some(network) = context.reach.is_broadcast(via, context.table, hop.dev) {
        problems.error(path(), format!("gateway `{via}` is the broadcast address of `{network}`"));
    } else if hop.onlink && hop.dev.is_none() {
        let problem = problems.error(hop.path(context).then("onlink"), "`onlink` requires `dev`");
        problem.needs(context.part());
        problem.hint("name the interface that leads to the gateway with `dev`");
    } else if is_link_local(via) && hop.dev.is_none() {
        let problem = problems.error(path(), format!("link-local gateway `{via}` requires `dev`"));
        problem.needs(context.part());
        problem.hint(format!("name the interface with `dev`; {}", interfaces(context)));
    } else {
        return true;
    }
    false
}

/// fe80::/10
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn find_dev(context: &Context<'_>, hop: &Hop, via: IpAddr, problems: &mut Problems) -> Option<LinkName> {
    let namespace = context.site.namespace;
    let path = || hop.path(context).then("via");
    match context.reach.interfaces_to(via, context.table).as_slice() {
        [dev] => Some(*dev),
        [] => {
            let family = Context::family_of(via);
            let message = format!("no {family} network of `{namespace}` contains the gateway `{via}`");
            let problem = problems.error(path(), message).needs(context.part()).needs_all(context.site.places.reach_parts());
            let name_it =
                if context.site.owned { "" } else { "; if an address outside the lab reaches it, name the interface with `dev`" };
            problem.hint(format!("{}{name_it}{}", context.reach.explain(namespace, via), off_the_subnet(context, via)));
            None
        }
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message =
                format!("gateway `{via}` is reachable over several interfaces: {}", list(names.iter().map(String::as_str)));
            problems.error(path(), message).hint(format!("name one of them, such as `dev: {}`", names[0]));
            None
        }
    }
}

/// How to use a neighbour that no address covers, if nothing else is the reason.
fn off_the_subnet(context: &Context<'_>, via: IpAddr) -> String {
    if !context.site.owned || context.reach.is_lost(via) {
        return String::new();
    }
    let usable = |interface: &&Interface| interface.up && !interface.id.name.is_loopback();
    let mut usable = context.site.interfaces.values().filter(usable);
    let dev = match (usable.next(), usable.next()) {
        (None, _) => return String::new(),
        (Some(only), None) => format!("`dev: {}`", only.id.name),
        (Some(_), Some(_)) => "its interface as `dev`".to_owned(),
    };
    format!("; if it is a neighbour nevertheless, add {dev} and `onlink: true`")
}

/// A gateway must be reached over the interface that the route names.
fn check_reach(context: &Context<'_>, hop: &Hop, via: IpAddr, dev: LinkName, problems: &mut Problems) {
    let interface = &context.site.interfaces[&dev];
    if hop.onlink || is_link_local(via) || interface.shared || context.reach.is_over(via, dev, context.table) {
        return;
    }
    let message = format!("gateway `{via}` is not reachable over `{}`", interface.id);
    let problem = problems.error(hop.path(context).then("via"), message);
    problem.needs(context.part()).needs_all(context.site.places.reach_parts());
    let explanation = context.reach.explain(context.site.namespace, via);
    problem.hint(format!("{explanation}; with `onlink: true` the kernel does not check this"));
}

fn check_ipv6(context: &Context<'_>, hop: &Hop, interface: &Interface, problems: &mut Problems) {
    context.site.refuse_small_mtu(interface, "a route", || hop.path(context), problems);
    if interface.without_ipv6 {
        let routes = if context.ipv6 { "IPv6 routes" } else { "IPv6 gateways" };
        let message = format!("IPv6 is disabled on `{}`; the kernel rejects {routes} over it", interface.id);
        problems.error(hop.path(context), message).hint("remove the sysctl `disable_ipv6` or the route");
    }
}

fn no_way(context: &Context<'_>, hop: &Hop, problems: &mut Problems) {
    if context.is_local() {
        let problem = problems.error(hop.path(context), "a route of type `local` requires `dev`").needs(context.part());
        problem.hint("add `dev: lo`, the usual interface");
        return;
    }
    let problem = problems.error(hop.path(context), "the route has neither `via` nor `dev`").needs(context.part());
    problem.hint(format!("name a gateway or an interface; {}", interfaces(context)));
}

fn interfaces(context: &Context<'_>) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<String> = context.site.names();
    names.retain(|name| name != "lo");
    if names.is_empty() {
        return format!("`{}` has no interface other than `lo`", context.site.namespace);
    }
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    names.truncate(SHOWN);
    format!("`{}` has {}{more}", context.site.namespace, list(names.iter().map(String::as_str)))
}
