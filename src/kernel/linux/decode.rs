//! What the kernel reports into resources: links, addresses and routes of one namespace, with numbers still to be resolved.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags, RouteType as WireType, RouteVia,
};

use crate::name::LinkName;
use crate::resource::address::{Address, Lifetime};
use crate::resource::link::{Kind, Link, Queues};
use crate::resource::route::{MAIN_TABLE, NextHop, Route, RouteKey, RouteType, Scope};
use crate::state::Ifindex;
use crate::value::{Duration, InterfaceAddress, Mac};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const IFF_PROMISC: u32 = 0x100;
const IFF_ALLMULTI: u32 = 0x200;
const IFF_MULTICAST: u32 = 0x1000;

/// IFA_PROTO of what the kernel makes by itself: the address of `lo`, from a router's announcement, link-local (linux/if_addr.h).
const KERNEL_ADDRESS_PROTOCOLS: std::ops::RangeInclusive<u8> = 1..=3;

/// A link as one message describes it.
#[derive(Debug, Clone)]
pub struct RawLink {
    /// Its number.
    pub index: Ifindex,
    /// Its name.
    pub name: LinkName,
    /// All but the master and the link below, which are numbers here.
    pub link: Link,
    /// The number of the master.
    pub master: Option<Ifindex>,
    /// The number of the link below or the other end.
    pub below: Option<Ifindex>,
    /// The namespace of that one, by the number under which this namespace knows it; `None` means this namespace.
    pub below_nsid: Option<i32>,
    /// Its group.
    pub group: u32,
    /// Its alias, empty for none.
    pub alias: String,
}

fn number(bytes: &[u8]) -> Result<u32, String> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| "a number that is cut off".into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

/// The attributes in a message: their types without flags, and their values.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), String>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
        Ok((kind, attribute.into_inner().get(NLA_HEADER_SIZE..end).unwrap_or_default()))
    })
}

/// Decodes the body of an RTM_NEWLINK.
///
/// # Errors
/// When it is malformed.
pub fn link(body: &[u8]) -> Result<RawLink, String> {
    let header: &[u8; 16] = body.first_chunk().ok_or("a link message that is cut off")?;
    let (index, flags) = (number(&header[4..8])?, number(&header[8..12])?);
    let mut raw = RawLink {
        index,
        name: LinkName::from_kernel(b""),
        link: Link::new(Kind::Device(String::new())),
        master: None,
        below: None,
        below_nsid: None,
        group: 0,
        alias: String::new(),
    };
    let mut queues = Queues { transmit: 1, receive: 1 };
    let mut altnames = BTreeSet::new();
    let settings = &mut raw.link.settings;
    for attribute in attributes(&body[16..]) {
        let (attribute, value) = attribute?;
        match attribute {
            IFLA_ADDRESS => settings.mac = value.try_into().ok().map(Mac),
            IFLA_IFNAME => raw.name = LinkName::from_kernel(value),
            IFLA_MTU => settings.mtu = Some(number(value)?),
            IFLA_LINK => raw.below = raw.below.or(Some(number(value)?).filter(|below| *below != 0)),
            IFLA_MASTER => raw.master = Some(number(value)?).filter(|master| *master != 0),
            IFLA_TXQLEN => settings.txqueuelen = Some(number(value)?),
            IFLA_LINKINFO => {
                let (kind, parent) = kind(value)?;
                raw.link.kind = kind;
                raw.below = raw.below.or(parent);
            }
            IFLA_IFALIAS => raw.alias = text(value),
            IFLA_GROUP => raw.group = number(value)?,
            IFLA_NUM_TX_QUEUES => queues.transmit = number(value)?,
            IFLA_NUM_RX_QUEUES => queues.receive = number(value)?,
            IFLA_LINK_NETNSID => raw.below_nsid = Some(number(value)?.cast_signed()),
            IFLA_PROP_LIST => {
                for property in attributes(value) {
                    let (property, name) = property?;
                    if property == IFLA_ALT_IFNAME {
                        altnames.insert(text(name));
                    }
                }
            }
            _ => {}
        }
    }
    let flag = |bit: u32| Some(flags & bit != 0);
    (settings.up, settings.promisc, settings.allmulti) = (flag(IFF_UP), flag(IFF_PROMISC), flag(IFF_ALLMULTI));
    (settings.arp, settings.multicast) = (Some(flags & IFF_NOARP == 0), flag(IFF_MULTICAST));
    settings.altnames = Some(altnames);
    raw.link.queues = Some(queues);
    if raw.name.is_loopback() && raw.index == 1 {
        raw.link.kind = Kind::Loopback;
    }
    Ok(raw)
}

/// The kind, and the parent's number where the kind keeps it among its own attributes.
fn kind(info: &[u8]) -> Result<(Kind, Option<Ifindex>), String> {
    let (mut name, mut data): (String, &[u8]) = (String::new(), &[]);
    for attribute in attributes(info) {
        match attribute? {
            (IFLA_INFO_KIND, value) => name = text(value),
            (IFLA_INFO_DATA, value) => data = value,
            _ => {}
        }
    }
    let kind = Kind::decode(&name, data).map_err(|error| error.to_string())?;
    let mut parent = None;
    if let Some(wanted) = kind.parent_attribute() {
        for attribute in attributes(data) {
            let (attribute, value) = attribute?;
            if attribute == wanted {
                parent = Some(number(value)?).filter(|parent| *parent != 0);
            }
        }
    }
    Ok((kind, parent))
}

/// An address as one message describes it.
#[derive(Debug, Clone)]
pub struct RawAddress {
    /// The number of its interface.
    pub index: Ifindex,
    /// The address.
    pub address: InterfaceAddress,
    /// Its attributes; `order` is still 0.
    pub attributes: Address,
    /// Who made it (IFA_PROTO); `None` on kernels before 5.18, and for what the user made.
    pub protocol: Option<u8>,
    /// Whether another IPv4 address of its subnet was there before it (IFA_F_SECONDARY).
    pub secondary: bool,
    /// Whether duplicate address detection still goes on (IFA_F_TENTATIVE and not IFA_F_DADFAILED).
    pub tentative: bool,
}

impl RawAddress {
    /// Whether the kernel made it by itself.
    pub fn is_kernels(&self) -> bool {
        let loopback = ["127.0.0.1/8", "::1/128"].iter().any(|text| text.parse() == Ok(self.address));
        self.protocol.is_some_and(|protocol| KERNEL_ADDRESS_PROTOCOLS.contains(&protocol)) || loopback && self.index == LOOPBACK
    }

    /// The subnet to which the kernel makes a route for it as long as the interface is up (`fib_add_ifaddr`,
    /// `addrconf_prefix_route`); none for secondary addresses, which share that of the primary one.
    pub fn connects(&self) -> Option<IpNet> {
        let far = self.attributes.peer.unwrap_or(self.address.ip());
        let bare_host = far.is_ipv4() && self.address.0.prefix_len() == 32 && self.attributes.peer.is_none();
        if self.secondary || self.attributes.noprefixroute || bare_host || self.index == LOOPBACK {
            return None;
        }
        let to = IpNet::new(far, self.address.0.prefix_len()).ok()?.trunc();
        // No route leads to 0.0.0.0/8 (`ipv4_is_zeronet`).
        let zero = matches!(to.network(), IpAddr::V4(ip) if ip.octets()[0] == 0);
        (!zero).then_some(to)
    }
}

/// The number of `lo`.
const LOOPBACK: Ifindex = 1;

fn ip(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).map_err(|_| "an address of an unknown length")?;
    Ok(Ipv6Addr::from(octets).into())
}

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
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const FOREVER: u32 = u32::MAX;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTN_UNICAST: u8 = 1;

/// Decodes the body of an RTM_NEWADDR; `None` for a family that topo does not manage.
///
/// # Errors
/// When it is malformed.
pub fn address(body: &[u8]) -> Result<Option<RawAddress>, String> {
    let header: &[u8; 8] = body.first_chunk().ok_or("an address message that is cut off")?;
    let (prefix_length, index) = (header[1], number(&header[4..8])?);
    let (mut local, mut other, mut protocol, mut flags) = (None, None, None, u32::from(header[2]));
    let mut attributes_of = Address { scope: Some(Scope::from_number(header[3])), ..Address::default() };
    for attribute in attributes(&body[8..]) {
        match attribute? {
            (IFA_LOCAL, value) => local = Some(ip(value)?),
            (IFA_ADDRESS, value) => other = Some(ip(value)?),
            (IFA_LABEL, value) => attributes_of.label = Some(text(value)),
            (IFA_BROADCAST, value) => attributes_of.broadcast = Some(ip(value)?),
            (IFA_FLAGS, value) => flags = number(value)?,
            (IFA_RT_PRIORITY, value) => attributes_of.metric = Some(number(value)?).filter(|metric| *metric != 0),
            (IFA_PROTO, value) => protocol = value.first().copied(),
            (IFA_CACHEINFO, value) if value.len() >= 8 => {
                let (preferred, valid) = (number(value)?, number(&value[4..])?);
                let seconds = |seconds: u32| Duration::seconds(u64::from(seconds));
                if valid != FOREVER || preferred != FOREVER {
                    attributes_of.lifetime = Some(Lifetime { valid: seconds(valid), preferred: seconds(preferred) });
                }
            }
            _ => {}
        }
    }
    let Some(address) = local.or(other) else { return Ok(None) };
    attributes_of.peer = other.filter(|other| *other != address);
    attributes_of.nodad = flags & IFA_F_NODAD != 0 && address.is_ipv6();
    attributes_of.noprefixroute = flags & IFA_F_NOPREFIXROUTE != 0;
    let net = IpNet::new(address, prefix_length).map_err(|error| error.to_string())?;
    let tentative = flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == IFA_F_TENTATIVE;
    let secondary = flags & IFA_F_SECONDARY != 0 && address.is_ipv4();
    Ok(Some(RawAddress { index, address: InterfaceAddress(net), attributes: attributes_of, protocol, secondary, tentative }))
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = link(&bytes);
            let _ = address(&bytes);
            let _ = connected_route(&bytes);
            if route_protocol(&bytes).is_some() {
                let _ = route(&bytes);
            }
        }
    }
}
