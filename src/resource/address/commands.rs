//! Addresses in commands: ip-address(8).

use super::wire::{self, Step};
use super::{Address, AddressKey, IPV6_CONNECTED_METRIC, Lifetime};
use crate::iproute2::{Command, Line, Phrase};
use crate::resource::object::{At, Over, Restoration};
use crate::value::Duration;
use crate::words;

pub(super) fn put(at: &At<Address>, over: &Over<Address>) -> Vec<Line> {
    let was_limited = matches!(over, Over::Live(live) if live.lifetime.is_some());
    let command = |step| match step {
        Step::Give { replace } => give(at, if replace { "replace" } else { "add" }, was_limited, wire::protocol(at)),
        Step::Connect => connected(at, "append"),
        Step::Disconnect => connected(at, "delete"),
    };
    wire::steps(at, over).into_iter().map(command).map(Line::from).collect()
}

pub(super) fn remove(at: &At<Address>) -> Vec<Line> {
    vec![name(at, "delete").into()]
}

pub(super) fn again(again: &Restoration<Address>) -> Line {
    let at = At::foreign(again);
    let protocol = again.foreign.maker.protocol();
    give(&at, "add", false, Some(protocol).filter(|_| at.value.automatic)).may_fail().into()
}

/// A command that names the address.
fn name(at: &At<Address>, verb: &str) -> Command {
    let AddressKey { link, address } = &at.key;
    let command = Command::ip(&at.namespace, words!["address", verb]);
    let command = match at.value.peer {
        None => command.and(words![address]),
        Some(peer) => command.and(words![address.ip(), "peer", format!("{peer}/{}", address.0.prefix_len())]),
    };
    command.and(words!["dev", link])
}

fn give(at: &At<Address>, verb: &str, was_limited: bool, protocol: Option<u8>) -> Command {
    let value = &at.value;
    let scope = value.scope.filter(|_| at.key.ip().is_ipv4());
    let command = name(at, verb).and_some("broadcast", value.broadcast).and_some("scope", scope);
    let command = command.and_some("label", value.label.as_ref()).and_some("metric", value.metric);
    let command = command.and_if(value.nodad, "nodad").and_if(value.noprefixroute, "noprefixroute");
    let command = match value.lifetime {
        Some(Lifetime { valid, preferred }) => {
            command.and(words!["valid_lft", seconds(valid), "preferred_lft", seconds(preferred)])
        }
        None if was_limited => command.and(words!["valid_lft", "forever", "preferred_lft", "forever"]),
        None => command,
    };
    match protocol {
        Some(protocol) => command.with(Phrase::new(words!["proto", protocol]).since(6, 3)),
        None => command,
    }
}

fn seconds(time: Duration) -> String {
    if time >= Lifetime::FOREVER { "forever".to_owned() } else { (time.0 / 1_000_000).to_string() }
}

/// A command about the route to the subnet, as the kernel makes it by itself.
fn connected(at: &At<Address>, verb: &str) -> Command {
    let (address, value) = (at.key.address, &at.value);
    let ipv4 = address.ip().is_ipv4();
    let command = Command::ip(&at.namespace, words!["route", verb, value.subnet(address), "dev", at.key.link]).inet6(!ipv4);
    let command = command.and_some("table", value.vrf).and(words!["proto", "kernel"]);
    let command = if ipv4 { command.and(words!["scope", "link", "src", address.ip()]) } else { command };
    command.and_some("metric", value.metric.or((!ipv4).then_some(IPV6_CONNECTED_METRIC)))
}
