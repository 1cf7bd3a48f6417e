//! An address on an interface, ip-address(8).
//!
//! ```yaml
//! addresses: [192.0.2.1/24, { address: "2001:db8::1/64", nodad: true }]
//! ```
//!
//! The kernel keeps the order in which addresses were given: the first of an IPv4 subnet is its primary address. So does topo.

mod commands;
mod foreign;
mod lower;
mod order;
mod spec;
mod wire;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::spec::{AddressSpec, LongAddress};
pub use self::wire::{Step, protocol, steps};
use super::object::site::{Item, Lowered, Site};
use super::object::wire::{Dump, Found, Reading, Request};
use super::object::{At, Excluded, Foreign, Group, Need, Object, Over, Reach, Restoration, Seen, Surroundings, Verdict, Way};
use super::route::{IPV6_CONNECTED_METRIC, LOCAL_TABLE, MAIN_TABLE, Scope};
use super::{FieldChange, owner_change};
use crate::iproute2::Line;
use crate::name::{LinkName, NamespaceName};
use crate::value::{Duration, InterfaceAddress, Mac};
use crate::yaml::Problems;

/// What tells an address from others of its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddressKey {
    /// The interface that has it.
    pub link: LinkName,
    /// The address with its prefix length.
    pub address: InterfaceAddress,
}

impl AddressKey {
    /// The address itself.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Returns whether the kernel assigns it to `lo` when `lo` comes up.
    pub fn is_of_loopback(&self) -> bool {
        let (ip, length) = (self.ip(), self.address.0.prefix_len());
        let own = (ip, length) == (Ipv4Addr::LOCALHOST.into(), 8) || (ip, length) == (Ipv6Addr::LOCALHOST.into(), 128);
        own && self.link.is_loopback()
    }

    /// Returns whether it is an IPv6 link-local address, which the kernel may have generated in the meantime.
    fn is_link_local(&self) -> bool {
        matches!(self.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
    }
}

/// Returns the link-local address that the kernel generates for an interface with this hardware address (`addrconf_ifid_eui48`).
pub fn generated_link_local(Mac(mac): Mac) -> Ipv6Addr {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, word(mac[0] ^ 2, mac[1]), word(mac[2], 0xff), word(0xfe, mac[3]), word(mac[4], mac[5]))
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.address, self.link)
    }
}

/// An address as the kernel keeps it. `None` in a desired one means the kernel's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Address {
    /// The other end of a point-to-point address (IFA_ADDRESS where IFA_LOCAL differs).
    pub peer: Option<IpAddr>,
    /// Where the address is valid; default by the address itself (`ifa_scope`). IPv4 only.
    pub scope: Option<Scope>,
    /// An IPv4 label (IFA_LABEL), default the interface's name.
    pub label: Option<String>,
    /// IPv4 broadcast address (IFA_BROADCAST); none by default.
    pub broadcast: Option<IpAddr>,
    /// No duplicate address detection, IPv6 only (IFA_F_NODAD).
    pub nodad: bool,
    /// No connected route (IFA_F_NOPREFIXROUTE).
    pub noprefixroute: bool,
    /// Lifetimes; `None` is forever (IFA_CACHEINFO).
    pub lifetime: Option<Lifetime>,
    /// The metric of the connected route (IFA_RT_PRIORITY).
    pub metric: Option<u32>,
    /// Position among the addresses of its family on the interface, counted in the order in which they were given.
    pub order: u32,
    /// Whether it is not the first of its subnet, so that the kernel removes it with the first one (IFA_F_SECONDARY); of live IPv4 addresses
    /// only.
    pub secondary: Option<bool>,
    /// Given by somebody else (IFA_PROTO is not topo's), on a live link that the lab is to adopt.
    pub foreign: bool,
    /// The kernel assigns it by itself: those of `lo`, and link-local ones. It stays marked as the kernel's, and when it leaves the lab
    /// file it is not removed.
    pub automatic: bool,
    /// The route to its subnet that the kernel makes for it.
    pub connected: ConnectedRoute,
    /// Whether another host on the segment has it, so that it is not used (IFA_F_DADFAILED); of live IPv6 addresses only.
    pub dad_failed: bool,
    /// The route in the local table, without which the namespace does not accept packets for the address.
    pub local: ConnectedRoute,
    /// The table of the VRF that its interface is, or is a port of: its connected and local routes are there.
    pub vrf: Option<u32>,
}

/// A route that the kernel adds for an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConnectedRoute {
    /// The kernel makes none, or it is as the kernel makes it.
    #[default]
    AsMade,
    /// The kernel makes one. A message about the address does not tell whether it is still there.
    Expected,
    /// The kernel makes one after duplicate address detection (`addrconf_dad_completed`); of live addresses only.
    Coming,
    /// Somebody has deleted it; of live addresses only.
    Missing,
}

/// How long an address is valid and preferred, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lifetime {
    /// After that it is removed (`ifa_valid`).
    pub valid: Duration,
    /// After that it is deprecated: not used for new connections (`ifa_prefered`).
    pub preferred: Duration,
}

impl Lifetime {
    /// A lifetime without an end (INFINITY_LIFE_TIME, in whole seconds).
    pub const FOREVER: Duration = Duration::seconds(u32::MAX as u64);
}

impl Address {
    /// The scope that the address is given: as ip-address(8) does, `host` for IPv4 loopback addresses, else `global`. Of IPv6
    /// addresses the kernel decides it alone.
    pub fn complete_scope(&self, ip: IpAddr) -> Scope {
        match (self.scope, ip) {
            (Some(scope), IpAddr::V4(_)) => scope,
            (None, IpAddr::V4(ip)) if ip.is_loopback() => Scope::Host,
            _ => Scope::Global,
        }
    }

    /// Whether somebody has deleted its connected route.
    pub fn is_disconnected(&self) -> bool {
        self.connected == ConnectedRoute::Missing
    }

    /// The table of the connected route.
    pub fn table(&self) -> u32 {
        self.vrf.unwrap_or(MAIN_TABLE)
    }

    /// The subnet that the connected route leads to (`fib_add_ifaddr`, `addrconf_prefix_route`). IPv6 makes a route to the peer alone,
    /// and another one to the address's own subnet.
    pub fn subnet(&self, address: InterfaceAddress) -> IpNet {
        match self.peer {
            Some(peer @ IpAddr::V6(_)) => peer.into(),
            Some(peer) => IpNet::new(peer, address.0.prefix_len()).unwrap_or(address.0).trunc(),
            None => address.0.trunc(),
        }
    }

    /// Whether the kernel restores the connected route when the address is given again. IPv4 does not; of an IPv6 peer, the route would
    /// get the prefix length of the address (`inet6_addr_modify`).
    fn restores_route(&self, key: &AddressKey) -> bool {
        key.ip().is_ipv6() && (self.peer.is_none() || key.address.0.prefix_len() == 128)
    }

    /// Returns the table, destination and metric of the route that the kernel adds for the prefix, unless it is a secondary address
    /// (`fib_add_ifaddr`, `inet6_addr_add`).
    fn prefix_route(&self, key: &AddressKey) -> Option<(u32, IpNet, u32)> {
        if self.noprefixroute {
            return None;
        }
        let IpAddr::V4(ip) = key.ip() else {
            return Some((self.table(), key.address.0.trunc(), self.metric.unwrap_or(IPV6_CONNECTED_METRIC)));
        };
        let subnet = self.subnet(key.address);
        let alone = subnet.prefix_len() == 32 && subnet.addr() == ip;
        // No route leads to 0.0.0.0/8 (`ipv4_is_zeronet`).
        let zero = matches!(subnet.addr(), IpAddr::V4(ip) if ip.octets()[0] == 0);
        let table = if key.link.is_loopback() { LOCAL_TABLE } else { self.table() };
        (!alone && !zero).then_some((table, subnet, self.metric.unwrap_or(0)))
    }

    /// Returns whether the live address lacks routes that the kernel makes for it, and nothing else differs.
    pub fn lacks_only_routes(&self, live: &Self, key: &AddressKey) -> bool {
        let same_routes = Self { connected: live.connected, local: live.local, ..self.clone() };
        let missing = [live.connected, live.local].contains(&ConnectedRoute::Missing);
        missing && Self::compare(key, &same_routes, live).is_empty()
    }

    /// Whether only the connected route differs.
    fn differs_in_route_alone(&self, live: &Self, key: &AddressKey) -> bool {
        let same_route = Self { connected: live.connected, ..self.clone() };
        self.is_disconnected() != live.is_disconnected() && Self::compare(key, &same_route, live).is_empty()
    }
}

impl Object for Address {
    const WORD: &'static str = "address";
    const LIST: &'static str = "addresses";
    const NEW: u16 = 20;
    type Key = AddressKey;
    type Spec = AddressSpec;

    fn lower(items: &[Item<'_, AddressSpec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems) {
        lower::lower(items, site, lowered, problems);
    }

    fn raise(key: &AddressKey, value: &Self) -> AddressSpec {
        spec::raise(key, value)
    }

    fn plain(key: &AddressKey, value: &Self) -> Self {
        let plain = Self { scope: None, ..value.clone() };
        if plain.complete_scope(key.ip()) == value.complete_scope(key.ip()) { plain } else { value.clone() }
    }

    fn links(key: &AddressKey, _: &Self) -> Vec<Option<LinkName>> {
        vec![Some(key.link)]
    }

    fn expires(&self) -> bool {
        self.lifetime.is_some_and(|lifetime| lifetime.valid < Lifetime::FOREVER)
    }

    fn needs(key: &AddressKey, _: &Self) -> Vec<Need> {
        vec![if key.ip().is_ipv4() { Need::Link(key.link) } else { Need::Up(key.link) }]
    }

    fn taken_along(
        foreign: &[Foreign<Self>],
        lab: &[(&AddressKey, &Self, bool)],
        promotes: &dyn Fn(LinkName) -> bool,
    ) -> Vec<(usize, String)> {
        foreign::taken_along(foreign, lab, promotes)
    }

    fn displaced(foreign: &[Foreign<Self>], added: &[(&AddressKey, &Self)]) -> Vec<(usize, String)> {
        foreign::displaced(foreign, added)
    }

    fn reach(key: &AddressKey, value: &Self) -> Reach {
        let way = || Way { to: value.subnet(key.address), dev: key.link, table: None, is_direct: true };
        let ways = (!value.noprefixroute).then(way).into_iter().collect();
        Reach { ways, source: Some((key.ip(), key.link)), gateways: Vec::new() }
    }

    /// Every difference that the kernel shows. An address that failed duplicate address detection is replaced, so that detection is
    /// tried again. A lifetime counts down, so that only "forever" and "limited" are told apart, and any lifetime beyond the desired one.
    fn compare(key: &AddressKey, desired: &Self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if desired.foreign != live.foreign {
            // Linux 6.1 keeps the old protocol when an address is replaced in place.
            changes.push(FieldChange { forces_replacement: true, ..owner_change(live.foreign) });
        }
        // There is hardly ever a difference to be shown.
        let mut check = |name: &str, differs: bool, show: &dyn Fn(&Self) -> Value, forces_replacement: bool| {
            if differs {
                changes.push(FieldChange { forces_replacement, ..FieldChange::new(name, show(live), show(desired)) });
            }
        };
        let scope = |address: &Self| address.complete_scope(key.ip());
        check("peer", desired.peer != live.peer, &|a| json!(a.peer), true);
        check("broadcast", desired.broadcast != live.broadcast, &|a| json!(a.broadcast), true);
        check("scope", scope(desired) != scope(live), &|a| json!(scope(a)), true);
        check("label", desired.label != live.label, &|a| json!(a.label), true);
        check("nodad", desired.nodad != live.nodad, &|a| json!(a.nodad), true);
        check("noprefixroute", desired.noprefixroute != live.noprefixroute, &|a| json!(a.noprefixroute), true);
        check("metric", desired.metric != live.metric, &|a| json!(a.metric), true);
        let lifetime_differs = match (desired.lifetime, live.lifetime) {
            (None, None) => false,
            (Some(desired), Some(live)) => live.valid > desired.valid || live.preferred > desired.preferred,
            _ => true,
        };
        let lifetime = |lifetime: Lifetime| format!("{} valid, {} preferred", lifetime.valid, lifetime.preferred);
        let replaces = key.ip().is_ipv6() && !desired.restores_route(key);
        check("lifetime", lifetime_differs, &|a| json!(a.lifetime.map_or("forever".into(), lifetime)), replaces);
        let detection = |a: &Self| json!(if a.dad_failed { "failed" } else { "passed" });
        check("dad", live.dad_failed && !desired.dad_failed, &detection, true);
        let dead = |a: &Self| a.local == ConnectedRoute::Missing;
        let local = |a: &Self| json!(if dead(a) { "missing" } else { "present" });
        check("local route", dead(desired) != dead(live), &local, true);
        let route = |a: &Self| json!(if a.is_disconnected() { "missing" } else { "present" });
        check("connected route", desired.is_disconnected() != live.is_disconnected(), &route, false);
        changes
    }

    fn show(_: &AddressKey, value: &Self) -> Vec<(&'static str, Value)> {
        let mut shown = Vec::new();
        let mut add = |name: &'static str, value: Option<Value>| shown.extend(value.map(|value| (name, value)));
        add("peer", value.peer.map(|peer| peer.to_string().into()));
        add("scope", value.scope.filter(|scope| *scope != Scope::Global).map(|scope| scope.to_string().into()));
        add("label", value.label.clone().map(Value::from));
        add("broadcast", value.broadcast.map(|ip| ip.to_string().into()));
        add("nodad", value.nodad.then(|| true.into()));
        add("noprefixroute", value.noprefixroute.then(|| true.into()));
        add("valid", value.lifetime.map(|lifetime| lifetime.valid.to_string().into()));
        add("preferred", value.lifetime.map(|lifetime| lifetime.preferred.to_string().into()));
        add("metric", value.metric.map(Value::from));
        add("dad", value.dad_failed.then(|| "failed".into()));
        shown
    }

    fn address(namespace: &NamespaceName, key: &AddressKey) -> String {
        format!("{namespace}:{} {}", key.link, key.address)
    }

    fn settle(group: &Group<'_, Self>, surroundings: &mut Surroundings<'_>) -> Vec<Verdict<Self>> {
        order::settle(group, surroundings)
    }

    /// Addresses are given in the file's order, so that a secondary is removed before its primary.
    fn rank(&self) -> i64 {
        self.order.into()
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

    fn arrange(objects: &mut Vec<(AddressKey, Self)>, seen: &Seen<'_>) {
        order::arrange(objects, seen);
    }

    /// An interface has an IPv6 address once only, whatever the prefix length.
    fn excludes(key: &AddressKey) -> Option<Excluded<AddressKey>> {
        let IpAddr::V6(ip) = key.ip() else { return None };
        let with_length = |length| {
            let address = InterfaceAddress(Ipv6Net::new(ip, length).ok()?.into());
            Some(AddressKey { link: key.link, address })
        };
        let because =
            |key: &AddressKey| format!("the address with another prefix length, `{}`, that topo did not give", key.address);
        Some(Excluded { keys: with_length(0)?..=with_length(128)?, because })
    }

    fn renamed(key: AddressKey, now: &dyn Fn(LinkName) -> LinkName) -> AddressKey {
        AddressKey { link: now(key.link), ..key }
    }

    fn adopted(self) -> Option<Self> {
        Some(Self { foreign: true, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::object::Maker;

    fn compare(desired: &Address, live: &Address, address: &str) -> Vec<FieldChange> {
        let key = AddressKey { link: LinkName::LOOPBACK, address: address.parse().unwrap() };
        Address::compare(&key, desired, live)
    }

    #[test]
    fn the_protocol_of_an_address_tells_who_made_it() {
        let key = AddressKey { link: "eth0".parse().unwrap(), address: "10.0.0.1/24".parse().unwrap() };
        let maker = |protocol| wire::maker(&key, protocol, true);
        assert_eq!([None, Some(0)].map(maker), [Maker::Hand; 2]);
        assert_eq!(maker(Some(crate::ownership::PROTOCOL)), Maker::Topo);
        assert_eq!([1, 2, 3].map(|protocol| maker(Some(protocol))), [Maker::Kernel; 3]);
        // keepalived
        assert_eq!(maker(Some(18)), Maker::Daemon(18));
    }

    #[test]
    fn a_lifetime_may_run_down_but_not_be_longer() {
        let with = |seconds| Address {
            lifetime: Some(Lifetime { valid: Duration::seconds(seconds), preferred: Duration::seconds(seconds) }),
            ..Address::default()
        };
        assert_eq!(compare(&with(60), &with(10), "10.0.0.1/24"), []);
        assert_eq!(compare(&with(60), &with(61), "10.0.0.1/24").len(), 1);
        assert_eq!(compare(&with(60), &Address::default(), "10.0.0.1/24").len(), 1);
    }

    #[test]
    fn another_peer_needs_another_address() {
        let live = Address { peer: "10.0.0.2".parse().ok(), ..Address::default() };
        assert!(compare(&Address::default(), &live, "10.0.0.1/32")[0].forces_replacement);
    }

    #[test]
    fn no_scope_means_the_one_by_default() {
        let scoped = |scope| Address { scope, ..Address::default() };
        assert_eq!(compare(&scoped(None), &scoped(Some(Scope::Global)), "10.0.0.1/24"), []);
        assert_eq!(compare(&scoped(None), &scoped(Some(Scope::Link)), "10.0.0.1/24").len(), 1);
        assert_eq!(compare(&scoped(None), &scoped(Some(Scope::Link)), "2001:db8::1/64"), []);
    }
}
