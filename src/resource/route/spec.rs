//! Routes in the lab file.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IPV6_METRIC, MAIN_TABLE, NextHop, Route, RouteKey, RouteType, Scope};
use crate::name::LinkName;
use crate::scalar;
use crate::value::Destination;
use crate::value_schema::value_schema;

/// A route, ip-route(8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// `default` or a prefix; an address without prefix length is a host route.
    pub to: Destination,
    /// The family of a `default` without a gateway; default `inet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The outgoing interface; optional if the gateway is reachable over one interface only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<LinkName>,
    /// The next hops of a multipath route (ECMP), instead of `via` and `dev`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NextHopSpec>,
    /// The route type; default `unicast`.
    #[serde(rename = "type", default, skip_serializing_if = "is_unicast")]
    #[schemars(extend("default" = "unicast"))]
    pub kind: RouteType,
    /// The metric; lower is preferred. Default 0, for IPv6 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The table, by number or by its name in rt_tables; default `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// The preferred source address of locally generated packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// The scope of the destination; IPv4 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The type of service (TOS) that the route matches; IPv4 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// Treat the gateway as directly reachable even if no address covers it; requires `dev`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub onlink: bool,
    /// The path mtu in bytes: 68 to 65520.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65520))]
    pub mtu: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unicast(kind: &RouteType) -> bool {
    *kind == RouteType::Unicast
}

/// A next hop of a multipath route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextHopSpec {
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The outgoing interface; optional if the gateway is reachable over one interface only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<LinkName>,
    /// The weight relative to the other next hops, 1 to 256; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub weight: Option<u16>,
    /// Treat the gateway as directly reachable even if no address covers it; requires `dev`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub onlink: bool,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// A routing table: its number, or a name from rt_tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Table {
    /// The number, from 1.
    Number(u32),
    /// The name.
    Name(String),
}
value_schema!(Table, "Routing table", "A routing table: its number from 1, or a name from rt_tables.", {
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": u32::MAX,
    "examples": ["main", "local", "default", 100],
});
scalar!(
    Table,
    "a table number or name",
    |number: i128| u32::try_from(number)
        .ok()
        .filter(|n| *n > 0)
        .map(Table::Number)
        .ok_or("table number is out of range (1 to 4294967295)"),
    |text: &str| Ok::<_, String>(Table::Name(text.to_owned()))
);

pub(super) fn raise(key: &RouteKey, value: &Route) -> RouteSpec {
    let to = if key.to.prefix_len() == 0 { Destination::Default } else { Destination::Prefix(key.to) };
    let telling = value.nexthops.iter().find_map(|hop| hop.via).or(value.src);
    let open = to == Destination::Default && telling.is_none_or(|ip| ip.is_ipv6() != key.is_ipv6());
    let family = open.then_some(if key.is_ipv6() { Family::Inet6 } else { Family::Inet });
    let (single, several) = match value.nexthops.as_slice() {
        [hop] => (Some(hop), Vec::new()),
        hops => (None, hops.iter().map(raise_hop).collect()),
    };
    RouteSpec {
        to,
        family: family.filter(|family| *family == Family::Inet6 || telling.is_some()),
        via: single.and_then(|hop| hop.via),
        dev: single.and_then(|hop| hop.dev),
        nexthops: several,
        kind: value.kind,
        metric: Some(key.metric).filter(|metric| *metric != if key.is_ipv6() { IPV6_METRIC } else { 0 }),
        table: (key.table != MAIN_TABLE).then_some(Table::Number(key.table)),
        src: value.src,
        scope: value.scope,
        tos: Some(key.tos).filter(|tos| *tos != 0),
        onlink: single.is_some_and(|hop| hop.onlink),
        mtu: value.mtu,
    }
}

fn raise_hop(hop: &NextHop) -> NextHopSpec {
    NextHopSpec { via: hop.via, dev: hop.dev, weight: (hop.weight != 1).then_some(hop.weight), onlink: hop.onlink }
}
