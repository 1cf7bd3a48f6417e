//! Addresses of interfaces, checked against their interface and against one another.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::Resources;
use super::interface::{Assigned, Interface, Namespace, Table};
use super::problem::{Problems, whole};
use crate::name::LinkId;
use crate::resource::address::{Address, Lifetime};
use crate::spec::Path;
use crate::spec::file::LongAddress;
use crate::state::{Resource, ResourceId};
use crate::value::{Duration, InterfaceAddress};

/// Smallest mtu with which an interface has IPv6.
pub(super) const LEAST_IPV6_MTU: u32 = 1280;
/// Longest label of an IPv4 address, in bytes (IFNAMSIZ less its terminating zero).
const LABEL_LENGTH: usize = 15;

/// Adds all addresses to the state and to their interfaces.
pub(super) fn lower(table: &mut Table<'_>, no_ipv6: &HashSet<LinkId>, resources: &mut Resources, problems: &mut Problems) {
    for namespace in table.values_mut() {
        for interface in namespace.interfaces.values_mut() {
            interface.addresses = of_interface(interface, resources, problems);
            check_ipv6(interface, no_ipv6, problems);
        }
        warn_of_repetition(namespace, problems);
    }
}

fn of_interface(interface: &Interface<'_>, resources: &mut Resources, problems: &mut Problems) -> Vec<Assigned> {
    let count = interface.address_specs().count();
    let mut addresses: Vec<Assigned> = Vec::with_capacity(count);
    let mut seen: BTreeMap<InterfaceAddress, usize> = BTreeMap::new();
    let (mut inet, mut inet6) = (0, 0);
    for (index, spec) in interface.address_specs().enumerate() {
        let spec = spec.long();
        let place = Place { interface, index };
        if count > 1
            && let Some(first) = seen.insert(spec.address, index)
        {
            let message = format!("`{}` has the duplicate address `{}`", interface.id, spec.address);
            let problem = problems.error(place.path(), message);
            problem.also(interface.address_path(first), "also set here").hint("remove one of the two");
            continue;
        }
        check_address(&spec, place, problems);
        let order = if spec.address.ip().is_ipv4() { &mut inet } else { &mut inet6 };
        addresses.push(assigned(&spec, index));
        let attributes = attributes(spec, *order, place, problems);
        *order += 1;
        let address = addresses[addresses.len() - 1].address;
        resources.add(|| (ResourceId::Address(interface.id.clone(), address), Resource::Address(attributes)));
    }
    addresses
}

fn assigned(spec: &LongAddress, index: usize) -> Assigned {
    let at = spec.peer.unwrap_or(spec.address.ip());
    let network = IpNet::new(at, spec.address.0.prefix_len()).unwrap_or(spec.address.0).trunc();
    // The kernel makes no route for the network of a lone address: that is the address itself.
    let alone = network.prefix_len() == network.max_prefix_len() && spec.peer.is_none();
    Assigned { address: spec.address, network, connected: !spec.noprefixroute && !alone, index }
}

/// Where an address stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    interface: &'p Interface<'p>,
    index: usize,
}

impl Place<'_> {
    fn path(self) -> Path {
        self.interface.address_path(self.index)
    }

    fn key(self, key: &str) -> Path {
        self.path().then(key)
    }
}

fn attributes(spec: LongAddress, order: u32, place: Place<'_>, problems: &mut Problems) -> Address {
    Address {
        lifetime: lifetime(&spec, place, problems),
        peer: spec.peer,
        scope: spec.scope,
        label: spec.label,
        broadcast: spec.broadcast,
        nodad: spec.nodad,
        noprefixroute: spec.noprefixroute,
        metric: spec.metric,
        foreign: false,
        disconnected: false,
        order,
    }
}

fn lifetime(spec: &LongAddress, place: Place<'_>, problems: &mut Problems) -> Option<Lifetime> {
    let (valid, preferred) = match (spec.valid_lft, spec.preferred_lft) {
        (None, None) => return None,
        (None, Some(_)) => {
            let problem = problems.error(place.key("preferred_lft"), "`preferred_lft` requires `valid_lft`");
            problem.needs(whole(place.path()));
            problem.hint("set `valid_lft` to at least the same value");
            return None;
        }
        (Some(valid), preferred) => (valid, preferred.unwrap_or(valid)),
    };
    for (key, lifetime) in [("valid_lft", valid), ("preferred_lft", preferred)] {
        if lifetime.0 % 1_000_000 != 0 || lifetime >= Duration::seconds(u32::MAX.into()) {
            let given = if key == "valid_lft" { spec.valid_lft } else { spec.preferred_lft };
            if given.is_some() {
                let problem = problems.error(place.key(key), format!("invalid address lifetime `{lifetime}`"));
                problem.hint("use whole seconds below 4294967295s, or remove it for an unlimited lifetime");
            }
        }
    }
    if valid.0 == 0 {
        problems.error(place.key("valid_lft"), "`valid_lft` must be at least 1s");
    }
    if preferred > valid {
        let message = format!("`preferred_lft` ({preferred}) is longer than `valid_lft` ({valid})");
        problems.error(place.key("preferred_lft"), message);
    }
    Some(Lifetime { valid, preferred })
}

fn check_address(spec: &LongAddress, place: Place<'_>, problems: &mut Problems) {
    let ip = spec.address.ip();
    if let Some(what) = unusable(ip) {
        problems.error(place.path(), format!("`{ip}` is {what} and cannot be assigned to an interface"));
        return;
    }
    if ip.is_ipv6() && ip.is_loopback() && !place.interface.id.name.is_loopback() {
        problems.error(place.path(), format!("`{ip}` is the loopback address and can be assigned to `lo` only"));
    }
    check_network(spec, place, problems);
    check_family(spec, place, problems);
}

/// What makes an address one that no interface can have.
fn unusable(ip: IpAddr) -> Option<&'static str> {
    match ip {
        ip if ip.is_multicast() => Some("a multicast address"),
        ip if ip.is_unspecified() => Some("the unspecified address"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn check_network(spec: &LongAddress, place: Place<'_>, problems: &mut Problems) {
    let IpNet::V4(net) = spec.address.0 else { return };
    if net.prefix_len() >= 31 || spec.peer.is_some() {
        return;
    }
    let what = if net.addr() == net.network() {
        "network"
    } else if net.addr() == net.broadcast() {
        "broadcast"
    } else {
        return;
    };
    let message = format!("`{}` is the {what} address of `{}`", net.addr(), net.trunc());
    problems.warning(place.path(), message).hint("use a host address, between the network address and the broadcast address");
}

fn check_family(spec: &LongAddress, place: Place<'_>, problems: &mut Problems) {
    let ipv4 = spec.address.ip().is_ipv4();
    let mut refuse = |key: &'static str, message: String| {
        problems.error(place.key(key), message);
    };
    let other = |ip: Option<IpAddr>| ip.filter(|ip| ip.is_ipv4() != ipv4);
    if let Some(peer) = other(spec.peer) {
        refuse("peer", format!("peer `{peer}` and address `{}` have different families", spec.address.ip()));
    } else if let Some((peer, what)) = spec.peer.and_then(|peer| Some((peer, unusable(peer)?))) {
        refuse("peer", format!("peer `{peer}` is {what} and cannot be assigned to an interface"));
    }
    if ipv4 {
        if spec.nodad {
            refuse("nodad", "`nodad` is valid for IPv6 addresses only".into());
        }
        if let Some(broadcast) = other(spec.broadcast) {
            refuse(
                "broadcast",
                format!("broadcast address `{broadcast}` and address `{}` have different families", spec.address.ip()),
            );
        }
        if let Some(label) = &spec.label {
            let rest = label.strip_prefix(&*place.interface.id.name.as_str());
            let fits = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
            let plain = label.bytes().all(|b| b.is_ascii_graphic());
            if !fits || !plain || label.len() > LABEL_LENGTH {
                let name = place.interface.id.name;
                let label = crate::name::escape(label);
                refuse(
                    "label",
                    format!("invalid label `{label}`: use `{name}` or `{name}:SUFFIX`, at most {LABEL_LENGTH} bytes"),
                );
            }
        }
        return;
    }
    let ipv4_only = [("label", spec.label.is_some()), ("broadcast", spec.broadcast.is_some()), ("scope", spec.scope.is_some())];
    for (key, _) in ipv4_only.into_iter().filter(|(_, given)| *given) {
        refuse(key, format!("`{key}` is valid for IPv4 addresses only"));
    }
}

fn check_ipv6(interface: &Interface<'_>, no_ipv6: &HashSet<LinkId>, problems: &mut Problems) {
    let Some(Assigned { address, index, .. }) = interface.addresses.iter().find(|a| a.address.ip().is_ipv6()) else { return };
    refuse_small_mtu(interface, &format!("the address `{address}`"), || interface.address_path(*index), problems);
    if no_ipv6.contains(&interface.id) {
        let message = format!("`{}` cannot have the address `{address}`: IPv6 is disabled", interface.id);
        let problem = problems.error(interface.address_path(*index), message);
        problem.hint("remove the sysctl `disable_ipv6` or the address");
    }
}

/// The kernel switches IPv6 off on an interface with a small mtu.
pub(super) fn refuse_small_mtu(interface: &Interface<'_>, what: &str, place: impl Fn() -> Path, problems: &mut Problems) {
    if let Some(mtu) = interface.link.settings.mtu.filter(|mtu| (super::settings::LEAST_MTU..LEAST_IPV6_MTU).contains(mtu)) {
        let message = format!("mtu {mtu} of `{}` is too small for IPv6, which {what} requires", interface.id);
        let problem = problems.error(interface.setting_path("mtu"), message);
        problem.also(place(), "requires IPv6").hint(format!("use an mtu of at least {LEAST_IPV6_MTU}"));
    }
}

fn warn_of_repetition(namespace: &Namespace<'_>, problems: &mut Problems) {
    let mut seen: BTreeMap<IpAddr, (&Interface<'_>, usize)> = BTreeMap::new();
    for interface in namespace.interfaces.values() {
        for Assigned { address, index, .. } in &interface.addresses {
            match seen.get(&address.ip()) {
                Some((first, place)) if first.id != interface.id => {
                    let message = format!("`{}` and `{}` both have the address `{}`", interface.id, first.id, address.ip());
                    let problem = problems.warning(interface.address_path(*index), message);
                    problem.also(first.address_path(*place), "also used here");
                }
                Some(_) => {}
                None => drop(seen.insert(address.ip(), (interface, *index))),
            }
        }
    }
}
