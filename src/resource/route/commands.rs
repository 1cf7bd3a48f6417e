//! Routes in commands: ip-route(8).

use std::net::IpAddr;

use super::{IPV6_METRIC, MAIN_TABLE, NextHop, Route, RouteType, table};
use crate::iproute2::{Command, Line};
use crate::ownership;
use crate::resource::object::{At, Over, Restoration};
use crate::words;

pub(super) fn put(at: &At<Route>, over: &Over<Route>) -> Vec<Line> {
    let verb = match over {
        Over::Nothing => "add",
        Over::Anything | Over::Live(_) => "replace",
    };
    vec![command(at, verb, protocol(at)).into()]
}

/// As in messages, the protocol is left open in a lab's own namespaces.
pub(super) fn remove(at: &At<Route>) -> Vec<Line> {
    let protocol = protocol(at).filter(|_| at.namespace.is_host());
    vec![command(at, "delete", protocol).into()]
}

/// IPv4 has several routes with one key.
pub(super) fn again(again: &Restoration<Route>) -> Line {
    const PROTOCOL: usize = 5;
    let at = At::foreign(again);
    let verb = if at.key.is_ipv6() { "add" } else { "append" };
    command(&at, verb, again.request.0.get(PROTOCOL).copied()).may_fail().into()
}

/// The protocol, unless it is that of routes made by hand, which iproute2 adds by itself.
fn protocol(at: &At<Route>) -> Option<u8> {
    at.value.protocol.or(at.namespace.is_host().then_some(ownership::PROTOCOL))
}

fn command(at: &At<Route>, verb: &str, protocol: Option<u8>) -> Command {
    let (key, route, ipv6) = (&at.key, &at.value, at.key.is_ipv6());
    let mut command = Command::ip(&at.namespace, words!["route", verb]).inet6(ipv6);
    if route.kind != RouteType::Unicast {
        command = command.and(words![route.kind]);
    }
    command = if key.to.prefix_len() == 0 { command.and(words!["default"]) } else { command.and(words![key.to]) };
    let hops = route.nexthops.as_slice();
    if let (None, [hop]) = (route.object, hops) {
        command = way(command, hop, ipv6);
    }
    let default = if ipv6 { IPV6_METRIC } else { 0 };
    command = command.and_some("metric", Some(key.metric).filter(|metric| *metric != default));
    command = command.and_some("tos", Some(key.tos).filter(|tos| *tos != 0).map(|tos| format!("{tos:#x}")));
    // iproute2 has another default for local routes.
    let is_said = key.table != MAIN_TABLE || route.kind == RouteType::Local;
    command = command.and_some("table", is_said.then(|| table::word(key.table)));
    command = command.and_some("proto", protocol).and_some("src", route.src);
    command = command.and_some("scope", says_scope(route, ipv6, verb).then(|| route.complete_scope(ipv6)));
    command = command.and_some("mtu", route.mtu).and_some("nhid", route.object);
    if let (None, [_, _, ..]) = (route.object, hops) {
        for hop in hops {
            command = way(command.and(words!["nexthop"]), hop, ipv6).and(words!["weight", hop.weight]);
        }
    }
    command
}

/// Returns whether the scope is not what iproute2 takes: for deletion none, for several next hops the global one.
fn says_scope(route: &Route, ipv6: bool, verb: &str) -> bool {
    !ipv6 && (route.scope.is_some() || verb == "delete" || route.nexthops.len() > 1)
}

fn way(command: Command, hop: &NextHop, ipv6: bool) -> Command {
    let command = match hop.via {
        Some(via @ IpAddr::V6(_)) if !ipv6 => command.and(words!["via", "inet6", via]),
        via => command.and_some("via", via),
    };
    command.and_some("dev", hop.dev).and_if(hop.onlink, "onlink")
}
