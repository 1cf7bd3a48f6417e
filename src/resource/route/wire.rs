//! Routes in rtnetlink messages: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLA_TYPE_MASK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteType as WireType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{MAIN_TABLE, NextHop, Route, RouteKey, RouteType, Scope};
use crate::name::LinkName;
use crate::ownership;
use crate::resource::link::Ifindex;
use crate::resource::object::wire::{
    AF_INET, AF_INET6, Dump, Found, Names, RTPROT_KERNEL, Reading, Request, attributes, ip, number,
};
use crate::resource::object::{At, Maker, Message, Over};

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;
const RTA_EXPIRES: u16 = 23;
const RTA_NH_ID: u16 = 30;
const RTNH_F_ONLINK: u8 = 4;
/// The length of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
const RTM_F_CLONED: u32 = 0x200;
/// `rtm_type` of what topo reads: unicast, local, multicast, blackhole, unreachable, prohibit, throw.
const MANAGED_TYPES: [u8; 7] = [1, 2, RTN_MULTICAST, 6, 7, 8, 9];
const RTN_MULTICAST: u8 = 5;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;

/// Protocol of the routes in a lab's own namespaces: as if made by hand (RTPROT_BOOT).
const BY_HAND: RouteProtocol = RouteProtocol::Boot;

pub(super) fn dumps() -> Vec<Dump> {
    // One family at a time, since the kernel holds its lock on all networks (rtnl) during a dump of all families.
    let dump = |family: u8| {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::from(family);
        Dump { request: RouteNetlinkMessage::GetRoute(message), family: Some(family) }
    };
    vec![dump(AF_INET), dump(AF_INET6)]
}

/// Where a message has the length of the prefix that packets must come from, `from` of IPv6.
const SOURCE_LENGTH: usize = 2;

/// Decodes a route. Of those that the kernel makes for its own addresses, of which there are many, only the subnets are noted.
pub(super) fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Route>>, String> {
    let Some(header) = body.first_chunk::<12>() else { return Err("a truncated route message".into()) };
    let cloned = number(&header[8..12])? & RTM_F_CLONED != 0;
    if cloned || !MANAGED_TYPES.contains(&header[7]) {
        return Ok(None);
    }
    let maker = match Maker::of_protocol(header[5]) {
        // No lab declares such a route: it is not the lab's, whoever added it.
        Maker::Hand if header[7] == RTN_MULTICAST || header[SOURCE_LENGTH] != 0 => Maker::Unknown,
        maker => maker,
    };
    if header[5] == RTPROT_KERNEL {
        match connected(body, reading.names)? {
            Automatic::Connected(connected) => reading.notes.connected.push(connected),
            Automatic::Local((to, link)) => reading.notes.local.push((to.addr(), link)),
            Automatic::Other => {}
            Automatic::No => return found(body, reading.names, maker).map(Some),
        }
        return Ok(None);
    }
    found(body, reading.names, maker).map(Some)
}

fn found(body: &[u8], names: &Names, maker: Maker) -> Result<Found<Route>, String> {
    let message = RouteMessage::parse(body).map_err(|error| error.to_string())?;
    let (key, mut value) = route(&message, names)?;
    value.protocol = matches!(maker, Maker::Kernel | Maker::Daemon(_)).then(|| body[5]);
    Ok(Found { key, value, maker })
}

/// What a route with the kernel's protocol is.
enum Automatic {
    /// A connected route.
    Connected((IpNet, LinkName)),
    /// The route to an address of the machine itself, or to a network of such addresses.
    Local((IpNet, LinkName)),
    /// Another route that the kernel adds.
    Other,
    /// A route that the kernel does not add, because it has a gateway.
    No,
}

/// Decodes a connected or local route.
fn connected(body: &[u8], names: &Names) -> Result<Automatic, String> {
    let (mut to, mut link) = (None, None);
    if ![RTN_UNICAST, RTN_LOCAL].contains(&body[7]) {
        return Ok(Automatic::Other);
    }
    for attribute in attributes(&body[12..]) {
        match attribute? {
            (RTA_DST, value) => to = Some(ip(value)?),
            (RTA_GATEWAY | RTA_MULTIPATH | RTA_VIA, _) => return Ok(Automatic::No),
            (RTA_OIF, value) => link = names.get(number(value)?),
            _ => {}
        }
    }
    let Some((to, link)) = to.zip(link) else { return Ok(Automatic::Other) };
    let route = (IpNet::new(to, body[1]).map_err(|error| error.to_string())?, link);
    Ok(if body[7] == RTN_LOCAL { Automatic::Local(route) } else { Automatic::Connected(route) })
}

fn route(message: &RouteMessage, names: &Names) -> Result<(RouteKey, Route), String> {
    let header = &message.header;
    let ipv6 = header.address_family == AddressFamily::Inet6;
    let mut to: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let kind = match header.kind {
        WireType::BlackHole => RouteType::Blackhole,
        WireType::Unreachable => RouteType::Unreachable,
        WireType::Prohibit => RouteType::Prohibit,
        WireType::Throw => RouteType::Throw,
        WireType::Local => RouteType::Local,
        WireType::Multicast => RouteType::Multicast,
        _ => RouteType::Unicast,
    };
    let (mut table, mut metric) = (u32::from(header.table), 0);
    let mut value = Route { kind, scope: Some(Scope::from_number(header.scope.into())), ..Route::default() };
    let mut single = NextHop { via: None, dev: None, weight: 1, onlink: header.flags.contains(RouteFlags::Onlink) };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = plain(address).unwrap_or(to),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => single.via = gateway(attribute),
            RouteAttribute::Oif(index) => single.dev = names.get(*index),
            RouteAttribute::NhId(object) => value.object = Some(*object),
            RouteAttribute::PrefSource(source) => value.src = plain(source),
            RouteAttribute::Metrics(metrics) => {
                value.mtu = metrics.iter().find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None });
            }
            RouteAttribute::CacheInfo(info) => value.expires = info.expires != 0,
            RouteAttribute::MultiPath(list) => value.nexthops.extend(list.iter().map(|hop| next_hop(hop, names))),
            _ => {}
        }
    }
    if !kind.is_terminal() && value.nexthops.is_empty() {
        value.nexthops.push(single);
    }
    let to = IpNet::new(to, header.destination_prefix_length).map_err(|error| error.to_string())?;
    let table = if table == 0 { MAIN_TABLE } else { table };
    Ok((RouteKey { table, to, metric, tos: header.tos, ordinal: 0 }, value))
}

fn next_hop(hop: &RouteNextHop, names: &Names) -> NextHop {
    NextHop {
        via: hop.attributes.iter().find_map(gateway),
        dev: names.get(hop.interface_index),
        weight: u16::from(hop.hops) + 1,
        onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
    }
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => plain(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

/// The request that adds a reported route again: without flags that the kernel sets by the state of links, and refuses in requests
/// (`fib_get_nhs`). A route over a nexthop object needs the object, which the kernel may have removed with the link. A route that expires
/// keeps the rest of its time.
pub(super) fn again(message: &Message) -> Option<Message> {
    let mut body = message.0.clone();
    let mut seconds = None;
    let flags = number(body.get(8..12)?).ok()? & u32::from(RTNH_F_ONLINK);
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    let mut at = ROUTE_HEADER;
    while let Some(&[l0, l1, k0, k1]) = body.get(at..).and_then(|rest| rest.first_chunk()) {
        let length = usize::from(u16::from_ne_bytes([l0, l1])).max(4);
        match u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK {
            RTA_NH_ID => return None,
            RTA_MULTIPATH => clear_hop_flags(body.get_mut(at + 4..at + length)?),
            RTA_CACHEINFO => seconds = rest_of_time(body.get(at + 4..at + length)?),
            _ => {}
        }
        at += length.next_multiple_of(4);
    }
    if let Some(seconds) = seconds {
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend([8_u16, RTA_EXPIRES].into_iter().flat_map(u16::to_ne_bytes).chain(seconds.to_ne_bytes()));
    }
    Some(Message(body))
}

/// Returns the seconds until a route expires, at least one; `None` if it does not (`rta_expires` of `struct rta_cacheinfo`, in units of
/// USER_HZ).
fn rest_of_time(cache_info: &[u8]) -> Option<u32> {
    const EXPIRES: std::ops::Range<usize> = 8..12;
    const USER_HZ: u32 = 100;
    let left = number(cache_info.get(EXPIRES)?).ok()?;
    (left != 0).then(|| u32::try_from(left.cast_signed()).map_or(1, |left| left.div_ceil(USER_HZ)))
}

/// Clears the flags in a list of `struct rtnexthop`, but for RTNH_F_ONLINK.
fn clear_hop_flags(mut hops: &mut [u8]) {
    while let Some(&[l0, l1, flags, _]) = hops.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([l0, l1])).max(8).next_multiple_of(4);
        hops[2] = flags & RTNH_F_ONLINK;
        hops = hops.get_mut(length..).unwrap_or_default();
    }
}

pub(super) fn put(at: &At<Route>, over: &Over<Route>) -> Vec<Request> {
    let flags = match over {
        Over::Nothing => NLM_F_CREATE | NLM_F_EXCL,
        Over::Anything | Over::Live(_) => NLM_F_CREATE | NLM_F_REPLACE,
    };
    vec![Request { message: RouteNetlinkMessage::NewRoute(message(at)), flags }]
}

/// The deletion of a route. Its protocol is left open in a lab's own namespaces, where somebody may have made it by hand.
pub(super) fn remove(at: &At<Route>) -> Vec<Request> {
    let mut message = message(at);
    if !at.namespace.is_host() {
        message.header.protocol = RouteProtocol::Unspec;
    }
    vec![Request { message: RouteNetlinkMessage::DelRoute(message), flags: 0 }]
}

fn message(at: &At<Route>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (key, route) = (&at.key, &at.value);
    let ipv6 = key.is_ipv6();
    message.header = RouteHeader {
        address_family: if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet },
        destination_prefix_length: key.to.prefix_len(),
        tos: key.tos,
        // The header's byte has room for small numbers only; the attribute for all.
        table: u8::try_from(key.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: match route.protocol {
            Some(protocol) => RouteProtocol::from(protocol),
            None if at.namespace.is_host() => RouteProtocol::Other(ownership::PROTOCOL),
            None => BY_HAND,
        },
        scope: route.complete_scope(ipv6).number().into(),
        kind: match route.kind {
            RouteType::Unicast => WireType::Unicast,
            RouteType::Blackhole => WireType::BlackHole,
            RouteType::Unreachable => WireType::Unreachable,
            RouteType::Prohibit => WireType::Prohibit,
            RouteType::Throw => WireType::Throw,
            RouteType::Local => WireType::Local,
            RouteType::Multicast => WireType::Multicast,
        },
        ..RouteHeader::default()
    };
    let list = &mut message.attributes;
    if key.table != MAIN_TABLE {
        list.push(RouteAttribute::Table(key.table));
    }
    if key.to.prefix_len() > 0 {
        list.push(RouteAttribute::Destination(key.to.network().into()));
    }
    if key.metric != 0 {
        list.push(RouteAttribute::Priority(key.metric));
    }
    list.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    list.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    list.extend(route.object.map(RouteAttribute::NhId));
    match route.nexthops.as_slice() {
        // The object tells where to.
        _ if route.object.is_some() => {}
        [] => {}
        [hop] => {
            list.extend(wire_gateway(hop, ipv6));
            list.extend(at.indices.first().copied().flatten().map(RouteAttribute::Oif));
            message.header.flags.set(RouteFlags::Onlink, hop.onlink);
        }
        hops => {
            let hops = hops.iter().zip(&at.indices).map(|(hop, index)| wire_hop(hop, index.unwrap_or(0), ipv6));
            list.push(RouteAttribute::MultiPath(hops.collect()));
        }
    }
    message
}

fn wire_gateway(hop: &NextHop, ipv6: bool) -> Option<RouteAttribute> {
    hop.via.map(|via| match via {
        IpAddr::V6(via) if !ipv6 => RouteAttribute::Via(RouteVia::Inet6(via)),
        via => RouteAttribute::Gateway(RouteAddress::from(via)),
    })
}

fn wire_hop(hop: &NextHop, index: Ifindex, ipv6: bool) -> RouteNextHop {
    let mut wire = RouteNextHop::default();
    wire.interface_index = index;
    wire.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    wire.flags.set(RouteNextHopFlags::Onlink, hop.onlink);
    wire.attributes.extend(wire_gateway(hop, ipv6));
    wire
}
