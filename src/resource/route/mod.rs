//! A route, ip-route(8).
//!
//! ```yaml
//! routes:
//!   - { to: default, via: 192.0.2.1 }
//!   - { to: 198.51.100.0/24, nexthops: [{ via: 192.0.2.2 }, { via: 192.0.2.3, weight: 2 }] }
//!   - { to: 203.0.113.0/24, type: blackhole }
//! ```

mod automatic;
mod commands;
mod lower;
mod nexthop;
mod order;
mod reach;
mod spec;
mod table;
mod wire;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::spec::{Family, RouteSpec, Table};
pub use self::table::word as table_word;
use super::FieldChange;
use super::link::Link;
use super::object::site::{Item, Lowered, Site};
use super::object::wire::{Dump, Found, Reading, Request};
use super::object::{At, Group, Message, Need, Object, Over, Reach, Restoration, Seen, Surroundings, Verdict};
use crate::iproute2::Line;
use crate::name::LinkName;
use crate::yaml::Problems;

/// The table that routes are in when nothing else is said (RT_TABLE_MAIN).
pub const MAIN_TABLE: u32 = 254;
/// The table of the addresses of the machine itself (RT_TABLE_LOCAL).
pub const LOCAL_TABLE: u32 = 255;
/// The table that is looked up last, usually empty (RT_TABLE_DEFAULT).
pub const DEFAULT_TABLE: u32 = 253;
/// The metric that the kernel gives an IPv6 route without one (IP6_RT_PRIO_USER).
pub const IPV6_METRIC: u32 = 1024;
/// The metric of an IPv6 connected route (IP6_RT_PRIO_ADDRCONF).
pub const IPV6_CONNECTED_METRIC: u32 = 256;

/// What tells one route of a namespace from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    /// The table (RTA_TABLE).
    pub table: u32,
    /// The destination (RTA_DST); a default route has length 0.
    pub to: IpNet,
    /// The preference, lower first (RTA_PRIORITY).
    pub metric: u32,
    /// The type of service that the route is for (`rtm_tos`); IPv4 only.
    pub tos: u8,
    /// 0, or the place among live routes that agree in all the rest: IPv4 lets one append them.
    pub ordinal: u16,
}

impl RouteKey {
    /// Whether this is a route of IPv6.
    pub fn is_ipv6(&self) -> bool {
        matches!(self.to, IpNet::V6(_))
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.to.prefix_len(), self.is_ipv6()) {
            (0, false) => f.write_str("default")?,
            (0, true) => f.write_str("default (inet6)")?,
            (32, false) | (128, true) => write!(f, "{}", self.to.addr())?,
            _ => write!(f, "{}", self.to)?,
        }
        if self.metric != if self.is_ipv6() { IPV6_METRIC } else { 0 } {
            write!(f, " metric {}", self.metric)?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        if self.ordinal != 0 {
            write!(f, " #{}", self.ordinal + 1)?;
        }
        Ok(())
    }
}

/// What a route does with a packet (`rtm_type`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteType {
    /// Forwards it.
    #[default]
    Unicast,
    /// Drops it silently.
    Blackhole,
    /// Refuses it: host unreachable.
    Unreachable,
    /// Refuses it: administratively prohibited.
    Prohibit,
    /// Ends the look-up in this table.
    Throw,
    /// Takes it for the machine's own.
    Local,
    /// Sends it to a group; of live routes only.
    #[serde(skip_deserializing)]
    Multicast,
}

impl fmt::Display for RouteType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Local => "local",
            Self::Multicast => "multicast",
        })
    }
}

impl RouteType {
    /// Whether the route leads nowhere, so that it has neither gateway nor interface.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw => true,
            Self::Unicast | Self::Local | Self::Multicast => false,
        }
    }
}

/// How far a destination or an address is (`rtm_scope`, `ifa_scope`); IPv6 has `global` alone for routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Anywhere.
    Global,
    /// Inside the site.
    Site,
    /// On the link.
    Link,
    /// On this machine.
    Host,
    /// Nowhere.
    Nowhere,
}

impl Scope {
    const NUMBERS: [(Self, u8); 5] =
        [(Self::Global, 0), (Self::Site, 200), (Self::Link, 253), (Self::Host, 254), (Self::Nowhere, 255)];

    /// RT_SCOPE_*.
    pub fn number(self) -> u8 {
        match self {
            Self::Global => 0,
            Self::Site => 200,
            Self::Link => 253,
            Self::Host => 254,
            Self::Nowhere => 255,
        }
    }

    /// The scope with that number; an unnamed one counts as global.
    pub fn from_number(number: u8) -> Self {
        Self::NUMBERS.iter().find(|(_, n)| *n == number).map_or(Self::Global, |(scope, _)| *scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Site => "site",
            Self::Link => "link",
            Self::Host => "host",
            Self::Nowhere => "nowhere",
        })
    }
}

/// One way out of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// The gateway (RTA_GATEWAY, or RTA_VIA for an IPv6 gateway of an IPv4 route); none for what is on the link.
    pub via: Option<IpAddr>,
    /// The interface (RTA_OIF); `None` on a live route whose interface is none of the namespace's.
    pub dev: Option<LinkName>,
    /// The share of this way among several, 1 to 256 (`rtnh_hops` + 1).
    pub weight: u16,
    /// Take the gateway for reachable although no address says so (RTNH_F_ONLINK).
    pub onlink: bool,
}

impl NextHop {
    /// As ip-route(8) writes it.
    pub fn show(&self, several: bool) -> String {
        let mut words = Vec::new();
        words.extend(self.via.map(|via| format!("via {via}")));
        words.extend(self.dev.map(|dev| format!("dev {dev}")));
        if several {
            words.push(format!("weight {}", self.weight));
        }
        if self.onlink {
            words.push("onlink".into());
        }
        words.join(" ")
    }
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Route {
    /// What it does.
    pub kind: RouteType,
    /// Its ways out: none for a route that leads nowhere, several for ECMP.
    pub nexthops: Vec<NextHop>,
    /// The source address for the machine's own packets (RTA_PREFSRC).
    pub src: Option<IpAddr>,
    /// How far the destination is; `None` in a desired route means what the kernel takes.
    pub scope: Option<Scope>,
    /// The path's mtu in bytes (RTAX_MTU).
    pub mtu: Option<u32>,
    /// The nexthop object that a live route takes its ways out from, ip-nexthop(8) (RTA_NH_ID); the lab's own have none.
    pub object: Option<u32>,
    /// The protocol of a live route that neither topo nor a user made (`rtm_protocol`); the lab's own have none.
    pub protocol: Option<u8>,
    /// Whether the kernel removes a live route after some time (`rta_expires`), IPv6 only; the lab's own have no such limit.
    pub expires: bool,
}

impl Route {
    /// The scope that the route has when none is given: of a gateway or of IPv6 global, else link.
    pub fn complete_scope(&self, ipv6: bool) -> Scope {
        let on_link = self.kind == RouteType::Unicast && self.nexthops.iter().all(|hop| hop.via.is_none());
        match self.scope {
            _ if ipv6 => Scope::Global,
            Some(scope) => scope,
            None if self.kind == RouteType::Local => Scope::Host,
            None if on_link => Scope::Link,
            None => Scope::Global,
        }
    }

    /// Whether both have the same ways out, in whatever order. Of a single one the weight means nothing.
    fn has_nexthops_of(&self, other: &Self) -> bool {
        match (self.nexthops.as_slice(), other.nexthops.as_slice()) {
            ([one], [other]) => NextHop { weight: other.weight, ..one.clone() } == *other,
            (several, others) => {
                let sorted = |hops: &[NextHop]| {
                    let mut hops = hops.to_vec();
                    hops.sort();
                    hops
                };
                several == others || sorted(several) == sorted(others)
            }
        }
    }

    fn show_nexthops(&self) -> Value {
        let mut hops: Vec<_> = self.nexthops.iter().map(|hop| hop.show(self.nexthops.len() > 1)).collect();
        hops.sort();
        json!(hops)
    }
}

impl Object for Route {
    const WORD: &'static str = "route";
    const LIST: &'static str = "routes";
    const NEW: u16 = 24;
    type Key = RouteKey;
    type Spec = RouteSpec;

    fn lower(items: &[Item<'_, RouteSpec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems) {
        lower::lower(items, site, lowered, problems);
    }

    fn raise(key: &RouteKey, value: &Self) -> RouteSpec {
        spec::raise(key, value)
    }

    fn plain(key: &RouteKey, value: &Self) -> Self {
        let plain = Self { scope: None, ..value.clone() };
        if plain.complete_scope(key.is_ipv6()) == value.complete_scope(key.is_ipv6()) { plain } else { value.clone() }
    }

    fn links(_: &RouteKey, value: &Self) -> Vec<Option<LinkName>> {
        value.nexthops.iter().map(|hop| hop.dev).collect()
    }

    fn needs(key: &RouteKey, value: &Self) -> Vec<Need> {
        // Nexthop objects outlive the addresses of their link.
        let outlives_addresses = key.is_ipv6() || value.object.is_some();
        let need = |link| if outlives_addresses { Need::Up(link) } else { Need::Inet(link) };
        // To the kernel an IPv6 route that leads nowhere is one over `lo`.
        let over_loopback = (key.is_ipv6() && value.kind.is_terminal()).then_some(LinkName::LOOPBACK);
        let links = value.nexthops.iter().filter_map(|hop| hop.dev).chain(over_loopback);
        links.map(need).chain(value.src.map(Need::Source)).collect()
    }

    fn is_same(one: (&RouteKey, &Self), other: (&RouteKey, &Self)) -> bool {
        one.0 == other.0 && one.1.kind == other.1.kind && one.1.has_nexthops_of(other.1)
    }

    /// The kernel makes multicast routes with its own protocol.
    fn is_by_hand(_: &RouteKey, value: &Self, _: &Link) -> bool {
        value.kind == RouteType::Multicast
    }

    fn again(message: &Message) -> Option<Message> {
        wire::again(message)
    }

    /// IPv4 has several routes with one key.
    fn flags_of_again(message: &Message) -> u16 {
        let ipv4 = message.0.first() == Some(&super::object::wire::AF_INET);
        if ipv4 { NLM_F_CREATE | NLM_F_APPEND } else { NLM_F_CREATE | NLM_F_EXCL }
    }

    fn reach(key: &RouteKey, value: &Self) -> Reach {
        reach::of_live(key, value)
    }

    /// Every difference; all of them are changed in place by one message that replaces the route.
    fn compare(key: &RouteKey, desired: &Self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        // There is hardly ever a difference to be shown.
        let mut check = |name: &str, differs: bool, show: &dyn Fn(&Self) -> Value| {
            if differs {
                changes.push(FieldChange::new(name, show(live), show(desired)));
            }
        };
        let scope = |route: &Self| route.complete_scope(key.is_ipv6());
        check("type", desired.kind != live.kind, &|route| json!(route.kind));
        check("nexthops", !desired.has_nexthops_of(live), &Self::show_nexthops);
        check("src", desired.src != live.src, &|route| json!(route.src));
        check("scope", scope(desired) != scope(live), &|route| json!(scope(route)));
        check("mtu", desired.mtu != live.mtu, &|route| json!(route.mtu));
        check("protocol", desired.protocol != live.protocol, &|route| json!(route.protocol));
        check("expires", desired.expires != live.expires, &|route| json!(route.expires));
        check("nhid", desired.object != live.object, &|route| json!(route.object));
        changes
    }

    fn show(_: &RouteKey, value: &Self) -> Vec<(&'static str, Value)> {
        let mut shown = Vec::new();
        let mut add = |name: &'static str, value: Option<Value>| shown.extend(value.map(|value| (name, value)));
        add("type", (value.kind != RouteType::Unicast).then(|| json!(value.kind)));
        match value.nexthops.as_slice() {
            [] => {}
            [hop] => {
                add("via", hop.via.map(|via| json!(via)));
                add("dev", hop.dev.map(|dev| Value::from(String::from(dev))));
                add("onlink", hop.onlink.then(|| true.into()));
            }
            hops => add("nexthops", Some(hops.iter().map(|hop| hop.show(true)).collect())),
        }
        add("src", value.src.map(|src| json!(src)));
        add("scope", value.scope.map(|scope| json!(scope)));
        add("mtu", value.mtu.map(Value::from));
        add("nhid", value.object.map(Value::from));
        shown
    }

    fn title(key: &RouteKey, value: &Self) -> String {
        match value.kind {
            RouteType::Unicast | RouteType::Local => key.to_string(),
            kind => format!("{kind} {key}"),
        }
    }

    fn expires(&self) -> bool {
        self.expires
    }

    fn settle(group: &Group<'_, Self>, surroundings: &mut Surroundings<'_>) -> Vec<Verdict<Self>> {
        order::settle(group, surroundings)
    }

    /// The kernel keeps a route of several next hops when one of them dies, and would take the dead one over into what replaces it.
    fn outlives_loss(&self) -> bool {
        self.nexthops.len() > 1
    }

    /// Routes without a gateway come first, since they may be what makes a gateway reachable.
    fn rank(&self) -> i64 {
        self.nexthops.iter().any(|hop| hop.via.is_some()).into()
    }

    fn dumps() -> Vec<Dump> {
        wire::dumps()
    }

    fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Self>>, String> {
        wire::decode(body, reading)
    }

    fn put(at: &At<Self>, over: &Over<Self>) -> Vec<Request> {
        wire::put(at, over)
    }

    fn remove(at: &At<Self>) -> Vec<Request> {
        wire::remove(at)
    }

    fn say_put(at: &At<Self>, over: &Over<Self>) -> Vec<Line> {
        commands::put(at, over)
    }

    fn say_remove(at: &At<Self>) -> Vec<Line> {
        commands::remove(at)
    }

    fn say_again(again: &Restoration<Self>) -> Line {
        commands::again(again)
    }

    /// The kernel refuses a route while its IPv6 source address is tentative.
    fn awaits(_: &RouteKey, value: &Self) -> Option<IpAddr> {
        value.src.filter(IpAddr::is_ipv6)
    }

    /// Numbers routes with the same key in the kernel's order. Those of other programs do not count if there is another one.
    fn arrange(objects: &mut Vec<(RouteKey, Self)>, _: &Seen<'_>) {
        objects.sort_by(|(one, _), (other, _)| one.cmp(other));
        if objects.iter().any(|(_, route)| route.protocol.is_some()) {
            objects.sort_by_key(|(_, route)| route.protocol.is_some());
            objects.sort_by(|(one, _), (other, _)| one.cmp(other));
            objects.dedup_by(|(later, route), (first, _)| route.protocol.is_some() && later == first);
        }
        for position in 1..objects.len() {
            let (before, key) = (objects[position - 1].0.clone(), &mut objects[position].0);
            if (RouteKey { ordinal: 0, ..before.clone() }) == *key {
                key.ordinal = before.ordinal + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> NextHop {
        NextHop { via: text.parse().ok(), dev: "eth0".parse().ok(), weight: 1, onlink: false }
    }

    #[test]
    fn the_order_of_next_hops_does_not_matter() {
        let desired = Route { nexthops: vec![via("10.0.0.1"), via("10.0.0.2")], ..Route::default() };
        let live = Route { nexthops: vec![via("10.0.0.2"), via("10.0.0.1")], ..Route::default() };
        let key = RouteKey { table: MAIN_TABLE, to: "10.0.0.0/8".parse().unwrap(), metric: 0, tos: 0, ordinal: 0 };
        assert_eq!(Route::compare(&key, &desired, &live), []);
    }

    #[test]
    fn a_scope_left_open_is_the_kernels() {
        let gateway = Route { nexthops: vec![via("10.0.0.1")], ..Route::default() };
        assert_eq!(gateway.complete_scope(false), Scope::Global);
        let on_link = Route { nexthops: vec![NextHop { via: None, ..via("10.0.0.1") }], ..Route::default() };
        assert_eq!(on_link.complete_scope(false), Scope::Link);
        assert_eq!(on_link.complete_scope(true), Scope::Global);
    }
}
