//! Routes: RTM_NEWROUTE.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags, RouteType as WireType, RouteVia,
};

use super::{attributes, ip, number};
use crate::resource::route::{MAIN_TABLE, NextHop, Route, RouteKey, RouteType, Scope};
use crate::state::Ifindex;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTN_UNICAST: u8 = 1;

/// A subnet that an interface is connected to.
pub type Connected = (IpNet, Ifindex);

/// Decodes the body of an RTM_NEWROUTE that the kernel has made by itself as far as a connected route needs; `None` for others.
///
/// # Errors
/// When it is malformed.
pub fn connected_route(body: &[u8]) -> Result<Option<Connected>, String> {
    let header: &[u8; 12] = body.first_chunk().ok_or("a route message that is cut off")?;
    let (mut to, mut index) = (None, None);
    for attribute in attributes(&body[12..]) {
        match attribute? {
            (RTA_DST, value) => to = Some(ip(value)?),
            (RTA_OIF, value) => index = Some(number(value)?),
            _ => {}
        }
    }
    let (Some(to), Some(index), RTN_UNICAST) = (to, index, header[7]) else { return Ok(None) };
    Ok(Some((IpNet::new(to, header[1]).map_err(|error| error.to_string())?, index)))
}

/// A route as one message describes it.
#[derive(Debug, Clone)]
pub struct RawRoute {
    /// Its key; `ordinal` is still 0.
    pub key: RouteKey,
    /// The route; the names of its interfaces are still to be filled in.
    pub route: Route,
    /// The numbers of the interfaces of its next hops.
    pub indices: Vec<Option<Ifindex>>,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
}

/// Who made the route that an RTM_NEWROUTE describes, without decoding the rest: `None` for what nobody makes by hand
/// (cached, broadcast, multicast), or is of another family.
pub fn route_protocol(body: &[u8]) -> Option<u8> {
    const INET: u8 = 2;
    const INET6: u8 = 10;
    const RTM_F_CLONED: u32 = 0x200;
    let header: &[u8; 12] = body.first_chunk()?;
    let managed = matches!(header[7], 1 | 2 | 6 | 7 | 8 | 9);
    let cloned = number(&header[8..12]).ok()? & RTM_F_CLONED != 0;
    (matches!(header[0], INET | INET6) && managed && !cloned).then_some(header[5])
}

/// Decodes the body of an RTM_NEWROUTE that [`route_protocol`] has let through.
///
/// # Errors
/// When it is malformed.
pub fn route(body: &[u8]) -> Result<RawRoute, String> {
    let message = RouteMessage::parse(body).map_err(|error| error.to_string())?;
    let header = &message.header;
    let ipv6 = header.address_family == AddressFamily::Inet6;
    let any: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut to = any;
    let mut key = RouteKey { table: header.table.into(), to: any.into(), metric: 0, tos: header.tos, ordinal: 0 };
    let kind = match header.kind {
        WireType::BlackHole => RouteType::Blackhole,
        WireType::Unreachable => RouteType::Unreachable,
        WireType::Prohibit => RouteType::Prohibit,
        WireType::Throw => RouteType::Throw,
        WireType::Local => RouteType::Local,
        _ => RouteType::Unicast,
    };
    let mut route = Route { kind, scope: Some(Scope::from_number(header.scope.into())), ..Route::default() };
    let onlink = header.flags.contains(RouteFlags::Onlink);
    let mut single = NextHop { via: None, dev: None, weight: 1, onlink };
    let mut index = None;
    let mut hops: Vec<(NextHop, Option<Ifindex>)> = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = plain(address).unwrap_or(any),
            RouteAttribute::Table(table) => key.table = *table,
            RouteAttribute::Priority(metric) => key.metric = *metric,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => single.via = gateway(attribute),
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::NhId(object) => route.object = Some(*object),
            RouteAttribute::PrefSource(source) => route.src = plain(source),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None });
            }
            RouteAttribute::MultiPath(list) => {
                for hop in list {
                    let via = hop.attributes.iter().find_map(gateway);
                    let onlink = hop.flags.contains(RouteNextHopFlags::Onlink);
                    let weight = u16::from(hop.hops) + 1;
                    hops.push((NextHop { via, dev: None, weight, onlink }, Some(hop.interface_index)));
                }
            }
            _ => {}
        }
    }
    if !kind.is_terminal() && hops.is_empty() {
        hops.push((single, index));
    }
    key.to = IpNet::new(to, header.destination_prefix_length).map_err(|error| error.to_string())?;
    if key.table == 0 {
        key.table = MAIN_TABLE;
    }
    let indices = hops.iter().map(|(_, index)| *index).collect();
    route.nexthops = hops.into_iter().map(|(hop, _)| hop).collect();
    Ok(RawRoute { key, route, indices, protocol: header.protocol.into() })
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
