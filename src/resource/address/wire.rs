//! Addresses in rtnetlink messages: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType as WireRouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Address, AddressKey, ConnectedRoute, Lifetime};
use crate::ownership;
use crate::resource::object::wire::{AF_INET, AF_INET6, Dump, Found, Names, Reading, Request, attributes, ip, number, text};
use crate::resource::object::{At, Maker, Over};
use crate::resource::route::{IPV6_CONNECTED_METRIC, Scope};
use crate::value::{Duration, InterfaceAddress};

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const FOREVER: u32 = u32::MAX;

/// IFA_PROTO of what the kernel assigns by itself (linux/if_addr.h): the addresses of `lo`.
const IFAPROT_KERNEL_LO: u8 = 1;
/// Addresses with the prefix of a router advertisement.
const IFAPROT_KERNEL_RA: u8 = 2;
/// Link-local addresses.
const IFAPROT_KERNEL_LL: u8 = 3;

pub(super) fn dumps() -> Vec<Dump> {
    // One family at a time, since the kernel holds its lock on all networks (rtnl) during a dump of all families.
    let dump = |family: u8| {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::from(family);
        Dump { request: RouteNetlinkMessage::GetAddress(message), family: Some(family) }
    };
    vec![dump(AF_INET), dump(AF_INET6)]
}

pub(super) fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Address>>, String> {
    let header: &[u8; 8] = body.first_chunk().ok_or("a truncated address message")?;
    let (prefix_length, index) = (header[1], number(&header[4..8])?);
    let (mut local, mut other, mut protocol, mut flags) = (None, None, None, u32::from(header[2]));
    let mut value = Address { scope: Some(Scope::from_number(header[3])), ..Address::default() };
    for attribute in attributes(&body[8..]) {
        match attribute? {
            (IFA_LOCAL, bytes) => local = Some(ip(bytes)?),
            (IFA_ADDRESS, bytes) => other = Some(ip(bytes)?),
            (IFA_LABEL, bytes) => value.label = Some(text(bytes)),
            (IFA_BROADCAST, bytes) => value.broadcast = Some(ip(bytes)?),
            (IFA_FLAGS, bytes) => flags = number(bytes)?,
            (IFA_RT_PRIORITY, bytes) => value.metric = Some(number(bytes)?).filter(|metric| *metric != 0),
            (IFA_PROTO, bytes) => protocol = bytes.first().copied(),
            (IFA_CACHEINFO, bytes) if bytes.len() >= 8 => value.lifetime = lifetime(number(bytes)?, number(&bytes[4..])?),
            _ => {}
        }
    }
    let (Some(local), Some(link)) = (local.or(other), reading.names.get(index)) else { return Ok(None) };
    let address = InterfaceAddress(IpNet::new(local, prefix_length).map_err(|error| error.to_string())?);
    let tentative = local.is_ipv6() && flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_OPTIMISTIC) == IFA_F_TENTATIVE;
    if tentative {
        reading.notes.tentative.push((link, local));
    }
    let key = AddressKey { link, address };
    let maker = maker(&key, protocol, reading.tells_address_makers);
    value.automatic = key.is_of_loopback() || protocol == Some(IFAPROT_KERNEL_LL);
    value.secondary = local.is_ipv4().then_some(flags & IFA_F_SECONDARY != 0);
    value.peer = other.filter(|other| *other != local);
    value.nodad = flags & IFA_F_NODAD != 0 && local.is_ipv6();
    value.dad_failed = flags & IFA_F_DADFAILED != 0 && local.is_ipv6();
    // Kernels differ in the flags of `::1`.
    value.noprefixroute = flags & IFA_F_NOPREFIXROUTE != 0 && !key.is_of_loopback();
    value.label = value.label.filter(|label| *label != link.as_str());
    if index != Names::LOOPBACK && gets_route(address, &value, flags) {
        let later = tentative && value.peer.is_some();
        value.connected = if later { ConnectedRoute::Coming } else { ConnectedRoute::Expected };
    }
    // The kernel adds the local route of an IPv6 address when duplicate address detection has succeeded.
    if local.is_ipv4() || flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0 {
        value.local = ConnectedRoute::Expected;
    }
    Ok(Some(Found { key, value, maker }))
}

fn lifetime(preferred: u32, valid: u32) -> Option<Lifetime> {
    let seconds = |seconds: u32| Duration::seconds(u64::from(seconds));
    let limited = valid != FOREVER || preferred != FOREVER;
    limited.then(|| Lifetime { valid: seconds(valid), preferred: seconds(preferred) })
}

/// Who gave the address. The kernel says nothing of those that programs gave, and before Linux 5.18 of none.
pub(super) fn maker(key: &AddressKey, protocol: Option<u8>, tells: bool) -> Maker {
    match protocol {
        Some(ownership::PROTOCOL) => Maker::Topo,
        Some(IFAPROT_KERNEL_LO | IFAPROT_KERNEL_RA | IFAPROT_KERNEL_LL) => Maker::Kernel,
        _ if key.is_of_loopback() => Maker::Kernel,
        None if key.is_link_local() && !tells => Maker::Unknown,
        Some(0) | None => Maker::Hand,
        Some(protocol) => Maker::Daemon(protocol),
    }
}

/// Whether the kernel makes a route to its subnet as long as the interface is up (`fib_add_ifaddr`, `addrconf_prefix_route`): not for
/// secondary addresses, which share that of the primary one, and not to the peer of an address that failed duplicate address detection.
fn gets_route(address: InterfaceAddress, value: &Address, flags: u32) -> bool {
    let ipv4 = address.ip().is_ipv4();
    let secondary = ipv4 && flags & IFA_F_SECONDARY != 0;
    let bare_host = ipv4 && address.0.prefix_len() == 32 && value.peer.is_none();
    // No route leads to 0.0.0.0/8 (`ipv4_is_zeronet`).
    let zero = matches!(value.subnet(address).network(), IpAddr::V4(ip) if ip.octets()[0] == 0);
    let failed = value.dad_failed && value.peer.is_some();
    !(secondary || value.noprefixroute || bare_host || zero || failed)
}

/// What is done to put an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Gives the address.
    Give {
        /// Whether it may be there already.
        replace: bool,
    },
    /// Adds the connected route.
    Connect,
    /// Deletes the connected route.
    Disconnect,
}

/// What is done to put the address over what is there.
pub fn steps(at: &At<Address>, over: &Over<Address>) -> Vec<Step> {
    let (connected, replace, only_route) = match over {
        Over::Nothing => (true, false, false),
        Over::Anything => (true, true, false),
        Over::Live(live) => (!live.is_disconnected(), true, at.value.differs_in_route_alone(live, &at.key)),
    };
    let wanted = !at.value.is_disconnected();
    let restored = wanted && at.value.restores_route(&at.key);
    let replace = replace || at.value.automatic || at.key.is_link_local();
    let mut steps = Vec::new();
    if !only_route || restored {
        steps.push(Step::Give { replace });
    }
    if wanted != connected && !restored {
        steps.push(if wanted { Step::Connect } else { Step::Disconnect });
    }
    steps
}

pub(super) fn put(at: &At<Address>, over: &Over<Address>) -> Vec<Request> {
    let request = |step| match step {
        Step::Give { replace } => give(at, replace),
        // Behind what others may have put at the same key, as the kernel does.
        Step::Connect => Request { message: RouteNetlinkMessage::NewRoute(connected(at)), flags: NLM_F_CREATE | NLM_F_APPEND },
        Step::Disconnect => Request { message: RouteNetlinkMessage::DelRoute(connected(at)), flags: 0 },
    };
    steps(at, over).into_iter().map(request).collect()
}

pub(super) fn remove(at: &At<Address>) -> Vec<Request> {
    vec![Request { message: RouteNetlinkMessage::DelAddress(message(at)), flags: 0 }]
}

fn message(at: &At<Address>) -> AddressMessage {
    let (address, value) = (at.key.address, &at.value);
    let mut message = AddressMessage::default();
    message.header.family = if address.ip().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.0.prefix_len();
    message.header.index = at.index();
    message.header.scope = value.complete_scope(address.ip()).number().into();
    message.attributes.push(AddressAttribute::Local(address.ip()));
    message.attributes.push(AddressAttribute::Address(value.peer.unwrap_or(address.ip())));
    message
}

fn give(at: &At<Address>, replace: bool) -> Request {
    let value = &at.value;
    let mut message = message(at);
    let list = &mut message.attributes;
    list.extend(value.label.clone().map(AddressAttribute::Label));
    if let Some(IpAddr::V4(broadcast)) = value.broadcast {
        list.push(AddressAttribute::Broadcast(broadcast));
    }
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, value.nodad);
    flags.set(AddressFlags::Noprefixroute, value.noprefixroute);
    if !flags.is_empty() {
        list.push(AddressAttribute::Flags(flags));
    }
    if value.lifetime.is_some() || replace {
        let seconds = |duration: Duration| u32::try_from(duration.0 / 1_000_000).unwrap_or(FOREVER);
        let mut info = CacheInfo::default();
        info.ifa_valid = value.lifetime.map_or(FOREVER, |lifetime| seconds(lifetime.valid));
        info.ifa_preferred = value.lifetime.map_or(FOREVER, |lifetime| seconds(lifetime.preferred));
        list.push(AddressAttribute::CacheInfo(info));
    }
    list.extend(value.metric.map(AddressAttribute::RoutePriority));
    list.extend(protocol(at).map(|protocol| AddressAttribute::Protocol(AddressProtocol::from(protocol))));
    let flags = NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL };
    Request { message: RouteNetlinkMessage::NewAddress(message), flags }
}

/// The protocol that an address is given with (IFA_PROTO).
pub fn protocol(at: &At<Address>) -> Option<u8> {
    let automatic = if at.key.link.is_loopback() { IFAPROT_KERNEL_LO } else { IFAPROT_KERNEL_LL };
    match at.value.automatic {
        true => Some(automatic),
        false => (at.namespace.is_host() && !at.value.foreign).then_some(ownership::PROTOCOL),
    }
}

/// The route of an address to its subnet, as the kernel makes it by itself (`fib_add_ifaddr`, `addrconf_prefix_route`).
fn connected(at: &At<Address>) -> RouteMessage {
    let (address, value) = (at.key.address, &at.value);
    let ipv4 = address.ip().is_ipv4();
    let subnet = value.subnet(address);
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: subnet.prefix_len(),
        // The header's byte has room for small numbers only; the attribute for all.
        table: u8::try_from(value.table()).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: RouteProtocol::Kernel,
        scope: if ipv4 { RouteScope::Link } else { RouteScope::Universe },
        kind: WireRouteType::Unicast,
        ..RouteHeader::default()
    };
    let list = &mut message.attributes;
    list.extend(value.vrf.map(RouteAttribute::Table));
    list.push(RouteAttribute::Destination(subnet.network().into()));
    list.push(RouteAttribute::Oif(at.index()));
    list.extend(ipv4.then(|| RouteAttribute::PrefSource(address.ip().into())));
    list.extend(value.metric.or((!ipv4).then_some(IPV6_CONNECTED_METRIC)).map(RouteAttribute::Priority));
    message
}
