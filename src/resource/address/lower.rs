//! Addresses of interfaces, checked against their interface and against one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Address, AddressKey, AddressSpec, ConnectedRoute, Lifetime, LongAddress, generated_link_local};
use ipnet::IpNet;

use crate::name::{LinkName, escape};
use crate::resource::object::site::{Assigned, Item, Lowered, Position, Site};
use crate::value::{Duration, InterfaceAddress};
use crate::yaml::problem::whole;
use crate::yaml::{Path, Problems};

/// Longest label of an IPv4 address, in bytes (IFNAMSIZ less its terminating zero).
const LABEL_LENGTH: usize = 15;

/// Lowers the addresses of all interfaces of a namespace, and notes at each interface which it has.
pub(super) fn lower(
    items: &[Item<'_, AddressSpec>],
    site: &mut Site<'_>,
    lowered: &mut Lowered<Address>,
    problems: &mut Problems,
) {
    for of_link in items.chunk_by(|one, next| one.position.link() == next.position.link()) {
        let Some(link) = of_link[0].position.link() else { continue };
        let addresses = of_interface(link, of_link, site, lowered, problems);
        if let Some(interface) = site.interfaces.get_mut(&link) {
            interface.addresses = addresses;
        }
        check_ipv6(site, link, problems);
    }
}

fn of_interface(
    link: LinkName,
    items: &[Item<'_, AddressSpec>],
    site: &Site<'_>,
    lowered: &mut Lowered<Address>,
    problems: &mut Problems,
) -> Vec<Assigned> {
    let mut addresses: Vec<Assigned> = Vec::with_capacity(items.len());
    let mut seen: BTreeMap<InterfaceAddress, Position> = BTreeMap::new();
    let mut subnets: BTreeSet<IpNet> = BTreeSet::new();
    let (mut inet, mut inet6) = (0, 0);
    // The addresses of `lo` come first, because they exist as soon as it is up.
    let (own, others): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| AddressKey { link, address: item.spec.address() }.is_of_loopback());
    for item in own.into_iter().chain(others) {
        let spec = item.spec.long();
        let place = Place { site, link, position: item.position };
        if items.len() > 1
            && let Some(first) = seen.insert(spec.address, item.position)
        {
            let message = format!("`{}:{link}` has the duplicate address `{}`", site.namespace, spec.address);
            let problem = problems.error(place.path(), message);
            problem.also(site.path::<Address>(first), "also set here").hint("remove one of the two");
            continue;
        }
        check_address(&spec, place, problems);
        let order = if spec.address.ip().is_ipv4() { &mut inet } else { &mut inet6 };
        let key = AddressKey { link, address: spec.address };
        let address = attributes(spec, *order, place, problems);
        // A further IPv4 address of a subnet is a secondary address.
        let secondary = key.ip().is_ipv4() && !subnets.insert(address.subnet(key.address));
        addresses.push(assigned(&key, &address, secondary, item.position));
        addresses.extend(beside_peer(&key, &address, item.position));
        *order += 1;
        lowered.add(item.position, || (key, address));
    }
    addresses
}

fn assigned(key: &AddressKey, address: &Address, secondary: bool, position: Position) -> Assigned {
    let network = address.subnet(key.address);
    // The kernel makes no route for the network of a lone address: that is the address itself.
    let alone = network.prefix_len() == network.max_prefix_len() && address.peer.is_none();
    Assigned {
        address: key.address,
        network,
        connected: !address.noprefixroute && !alone,
        prefix_route: address.prefix_route(key).filter(|_| !secondary),
        secondary,
        metric: address.metric,
        peer: address.peer,
        broadcast: address.broadcast,
        position,
    }
}

/// An IPv6 address with a peer has a route to its own subnet, too.
fn beside_peer(key: &AddressKey, address: &Address, position: Position) -> Option<Assigned> {
    let network = key.address.0.trunc();
    let has_route = key.ip().is_ipv6() && address.peer.is_some() && !address.noprefixroute && network.prefix_len() < 128;
    has_route.then_some(Assigned {
        address: key.address,
        network,
        connected: true,
        prefix_route: None,
        secondary: false,
        metric: address.metric,
        peer: None,
        broadcast: None,
        position,
    })
}

/// Where an address is declared.
#[derive(Clone, Copy)]
struct Place<'p> {
    site: &'p Site<'p>,
    link: LinkName,
    position: Position,
}

impl Place<'_> {
    fn path(self) -> Path {
        self.site.path::<Address>(self.position)
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
        automatic: automatic(place, spec.address).is_some_and(|made| made == spec.address),
        connected: ConnectedRoute::AsMade,
        dad_failed: false,
        local: ConnectedRoute::AsMade,
        secondary: None,
        vrf: place.site.interfaces.get(&place.link).and_then(|interface| interface.vrf),
        order,
    }
}

/// Returns the address that the kernel assigns to the interface by itself and that excludes the given one, or is the same.
fn automatic(place: Place<'_>, address: InterfaceAddress) -> Option<InterfaceAddress> {
    let interface = place.site.interfaces.get(&place.link)?;
    let made = match address.ip() {
        IpAddr::V6(ip) if ip.is_loopback() && place.link.is_loopback() => IpNet::new(ip.into(), 128),
        IpAddr::V6(ip) if interface.generates_link_local && ip == generated_link_local(interface.mac?) => {
            IpNet::new(ip.into(), 64)
        }
        IpAddr::V4(_) if AddressKey { link: place.link, address }.is_of_loopback() => return Some(address),
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    made.ok().map(InterfaceAddress)
}

/// Reports an address that the kernel assigns to `lo` if attributes are declared for it, or an address that the kernel assigns with
/// another prefix length.
fn check_automatic(spec: &LongAddress, place: Place<'_>, problems: &mut Problems) {
    let Some(made) = automatic(place, spec.address) else { return };
    let name = format!("{}:{}", place.site.namespace, place.link);
    if made != spec.address {
        let message = format!("the kernel assigns `{made}` to `{name}` by itself; it cannot have `{}` as well", spec.address);
        problems.error(place.path(), message).hint(format!("use `{made}`, or remove the address"));
    } else if place.link.is_loopback() && *spec != LongAddress::of(made) {
        let message = format!("the kernel assigns `{made}` to `{name}` by itself; its attributes cannot be set");
        problems.error(place.path(), message).hint(format!("write `{made}` alone"));
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
    if ip.is_ipv6() && ip.is_loopback() && !place.link.is_loopback() {
        problems.error(place.path(), format!("`{ip}` is the loopback address and can be assigned to `lo` only"));
    }
    check_automatic(spec, place, problems);
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
            let rest = label.strip_prefix(&*place.link.as_str());
            let fits = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
            let plain = label.bytes().all(|b| b.is_ascii_graphic());
            if !fits || !plain || label.len() > LABEL_LENGTH {
                let name = place.link;
                let label = escape(label);
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

fn check_ipv6(site: &Site<'_>, link: LinkName, problems: &mut Problems) {
    let Some(interface) = site.interfaces.get(&link) else { return };
    let Some(Assigned { address, position, .. }) = interface.addresses.iter().find(|a| a.address.ip().is_ipv6()) else { return };
    let path = || site.path::<Address>(*position);
    site.refuse_small_mtu(interface, &format!("the address `{address}`"), path, problems);
    if interface.without_ipv6 {
        let message = format!("`{}` cannot have the address `{address}`: IPv6 is disabled", interface.id);
        problems.error(path(), message).hint("remove the sysctl `disable_ipv6` or the address");
    }
}
