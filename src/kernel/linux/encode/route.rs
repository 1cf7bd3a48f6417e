//! Routes into rtnetlink messages.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType as WireType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::super::socket::Batch;
use crate::operation::{LinkHandle, Presence, RouteAt};
use crate::ownership;
use crate::resource::address::Address;
use crate::resource::route::{IPV6_CONNECTED_METRIC, MAIN_TABLE, NextHop, RouteType};
use crate::state::Ifindex;
use crate::value::InterfaceAddress;

/// Protocol of the routes in a lab's own namespaces: as if made by hand (RTPROT_BOOT).
const BY_HAND: RouteProtocol = RouteProtocol::Boot;

/// Adds the route of an address to its subnet, as the kernel makes it by itself (`fib_add_ifaddr`, `addrconf_prefix_route`), or its
/// deletion.
pub fn connect(batch: &mut Batch, link: &LinkHandle, address: InterfaceAddress, attributes: &Address, present: bool) {
    let ipv4 = address.ip().is_ipv4();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: address.0.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Kernel,
        scope: if ipv4 { RouteScope::Link } else { RouteScope::Universe },
        kind: WireType::Unicast,
        ..RouteHeader::default()
    };
    let list = &mut message.attributes;
    let subnet = IpNet::new(attributes.peer.unwrap_or(address.ip()), address.0.prefix_len()).unwrap_or(address.0);
    list.push(RouteAttribute::Destination(subnet.network().into()));
    list.push(RouteAttribute::Oif(link.index));
    list.extend(ipv4.then(|| RouteAttribute::PrefSource(address.ip().into())));
    list.extend(attributes.metric.or((!ipv4).then_some(IPV6_CONNECTED_METRIC)).map(RouteAttribute::Priority));
    match present {
        // Behind what others may have put at the same key, as the kernel does.
        true => batch.push(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_APPEND),
        false => batch.push(RouteNetlinkMessage::DelRoute(message), 0),
    }
}

fn route_message(at: &RouteAt) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (key, route) = (&at.key, &at.route);
    let ipv6 = key.is_ipv6();
    message.header = RouteHeader {
        address_family: if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet },
        destination_prefix_length: key.to.prefix_len(),
        tos: key.tos,
        // The header's byte holds small numbers only; the attribute holds all.
        table: u8::try_from(key.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: if at.namespace.is_host() { RouteProtocol::Other(ownership::PROTOCOL) } else { BY_HAND },
        scope: route.complete_scope(ipv6).number().into(),
        kind: match route.kind {
            RouteType::Unicast => WireType::Unicast,
            RouteType::Blackhole => WireType::BlackHole,
            RouteType::Unreachable => WireType::Unreachable,
            RouteType::Prohibit => WireType::Prohibit,
            RouteType::Throw => WireType::Throw,
            RouteType::Local => WireType::Local,
        },
        ..RouteHeader::default()
    };
    let list = &mut message.attributes;
    if key.table > u32::from(u8::MAX) || key.table != MAIN_TABLE {
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
        // The object says where to.
        _ if route.object.is_some() => {}
        [] => {}
        [hop] => {
            list.extend(gateway(hop, ipv6));
            list.extend(at.indices.first().copied().flatten().map(RouteAttribute::Oif));
            message.header.flags.set(RouteFlags::Onlink, hop.onlink);
        }
        hops => {
            let hops = hops.iter().zip(&at.indices).map(|(hop, index)| next_hop(hop, index.unwrap_or(0), ipv6));
            list.push(RouteAttribute::MultiPath(hops.collect()));
        }
    }
    message
}

fn gateway(hop: &NextHop, ipv6: bool) -> Option<RouteAttribute> {
    hop.via.map(|via| match via {
        IpAddr::V6(via) if !ipv6 => RouteAttribute::Via(RouteVia::Inet6(via)),
        via => RouteAttribute::Gateway(RouteAddress::from(via)),
    })
}

fn next_hop(hop: &NextHop, index: Ifindex, ipv6: bool) -> RouteNextHop {
    let mut wire = RouteNextHop::default();
    wire.interface_index = index;
    wire.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    wire.flags.set(RouteNextHopFlags::Onlink, hop.onlink);
    wire.attributes.extend(gateway(hop, ipv6));
    wire
}

/// Adds a route.
pub fn add_route(batch: &mut Batch, route: &RouteAt, presence: Presence) {
    let flags = match presence {
        Presence::New => NLM_F_CREATE | NLM_F_EXCL,
        Presence::Replace => NLM_F_CREATE | NLM_F_REPLACE,
    };
    batch.push(RouteNetlinkMessage::NewRoute(route_message(route)), flags);
}

/// Adds the deletion of a route. Its protocol is left open in a lab's own namespaces, where hands may have made it.
pub fn delete_route(batch: &mut Batch, route: &RouteAt) {
    let mut message = route_message(route);
    if !route.namespace.is_host() {
        message.header.protocol = RouteProtocol::Unspec;
    }
    batch.push(RouteNetlinkMessage::DelRoute(message), 0);
}
