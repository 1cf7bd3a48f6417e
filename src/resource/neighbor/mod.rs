//! A neighbour, ip-neighbour(8): the link-layer address behind an IP address, or a proxy that answers for one.
//!
//! ```yaml
//! neighbors:
//!   - { to: 192.0.2.7, lladdr: 02:00:00:00:00:07, dev: eth0 }
//!   - { to: "2001:db8::7", lladdr: 02:00:00:00:00:07, dev: eth0, nud: reachable, router: true }
//!   - { to: 192.0.2.9, dev: eth0, proxy: true }
//! ```
//!
//! What the kernel learns by itself is no neighbour in this sense. Forwarding entries of bridges (AF_BRIDGE) are none, either. Nor are
//! proxies without an interface: Linux keeps them when their namespace goes, and shows them in a later one (`pneigh_ifdown`).

mod commands;
mod lower;
mod spec;
mod wire;

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::spec::{LinkAddress, NeighborSpec, Nud};
use super::FieldChange;
use super::link::Link;
use super::object::site::{Item, Lowered, Site};
use super::object::wire::{Dump, Found, Reading, Request};
use super::object::{At, Message, Need, Object, Over, Restoration};
use crate::iproute2::Line;
use crate::name::LinkName;
use crate::yaml::Problems;

/// What tells one neighbour of a namespace from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NeighborKey {
    /// Whether the namespace answers for the address itself (NTF_PROXY).
    pub proxy: bool,
    /// The interface (`ndm_ifindex`).
    pub dev: LinkName,
    /// The address (NDA_DST).
    pub to: IpAddr,
}

impl fmt::Display for NeighborKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.proxy {
            f.write_str("proxy ")?;
        }
        write!(f, "{} dev {}", self.to, self.dev)
    }
}

/// A neighbour. Of a proxy, and of an entry that the kernel keeps resolved, the state and the link-layer address mean nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbor {
    /// The state (`ndm_state`).
    pub nud: Nud,
    /// The link-layer address (NDA_LLADDR).
    pub lladdr: Option<LinkAddress>,
    /// It is a router (NTF_ROUTER); a proxy says so in its answers.
    pub router: bool,
    /// The kernel resolves the address and keeps it resolved (NTF_EXT_MANAGED).
    pub managed: bool,
    /// A control plane knows the entry, so that garbage collection spares it (NTF_EXT_LEARNED).
    pub extern_learn: bool,
}

impl Neighbor {
    /// Whether the kernel confirms the entry from time to time, and by that changes its state.
    fn is_ageing(&self) -> bool {
        match self.nud {
            Nud::Permanent | Nud::Noarp => self.managed,
            Nud::Reachable | Nud::Stale => true,
        }
    }

    /// Whether the kernel removes it when the link loses its carrier.
    fn depends_on_carrier(&self, key: &NeighborKey) -> bool {
        key.proxy || self.managed || self.nud != Nud::Permanent
    }

    /// Whether both have the same state, as far as that does not change by itself.
    fn has_state_of(&self, live: &Self) -> bool {
        self.managed || live.managed || self.nud == live.nud || self.is_ageing() && live.is_ageing()
    }
}

impl Object for Neighbor {
    const WORD: &'static str = "neighbor";
    const LIST: &'static str = "neighbors";
    const NEW: u16 = 28;
    type Key = NeighborKey;
    type Spec = NeighborSpec;

    fn renamed(key: NeighborKey, now: &dyn Fn(LinkName) -> LinkName) -> NeighborKey {
        NeighborKey { dev: now(key.dev), ..key }
    }

    fn lower(items: &[Item<'_, NeighborSpec>], site: &mut Site<'_>, lowered: &mut Lowered<Self>, problems: &mut Problems) {
        lower::lower(items, site, lowered, problems);
    }

    fn raise(key: &NeighborKey, value: &Self) -> NeighborSpec {
        spec::raise(key, value)
    }

    /// The kernel resolves managed neighbours.
    fn plain(_: &NeighborKey, value: &Self) -> Self {
        let lladdr = value.lladdr.clone().filter(|_| !value.managed);
        Self { lladdr, ..value.clone() }
    }

    fn links(key: &NeighborKey, _: &Self) -> Vec<Option<LinkName>> {
        vec![Some(key.dev)]
    }

    /// The kernel removes entries and proxies with the last IPv4 address of their link, with IPv6 on it, and when the link goes down
    /// (`fib_disable_ip`, `addrconf_ifdown`); entries, too, with the link's hardware address (`neigh_changeaddr`); all but permanent ones,
    /// and on older kernels proxies, with its carrier (`neigh_carrier_down`).
    fn needs(key: &NeighborKey, value: &Self) -> Vec<Need> {
        let dev = key.dev;
        let mut needs = vec![Need::Link(dev)];
        match key.to {
            IpAddr::V4(_) => needs.extend([Need::Up(dev), Need::Inet(dev)]),
            IpAddr::V6(_) => needs.push(Need::Inet6(dev)),
        }
        needs.extend((!key.proxy).then_some(Need::Hardware(dev)));
        needs.extend(value.depends_on_carrier(key).then_some(Need::Carrier(dev)));
        needs
    }

    /// The kernel makes entries that are never resolved for broadcast addresses, and on links without ARP or headers; these have the
    /// link's own address, if any (`arp_constructor`, `ndisc_constructor`).
    fn is_by_hand(_: &NeighborKey, value: &Self, link: &Link) -> bool {
        let lladdr = value.lladdr.as_ref().map_or(&[][..], |lladdr| &lladdr.0);
        let is_own = link.settings.mac.is_some_and(|mac| mac.0 == lladdr);
        let is_broadcast = lladdr.iter().all(|byte| *byte == u8::MAX);
        value.nud == Nud::Noarp && link.settings.arp != Some(false) && !is_own && !is_broadcast
    }

    /// The kernel may have learnt an entry meanwhile.
    fn flags_of_again(_: &Message) -> u16 {
        NLM_F_CREATE | NLM_F_REPLACE
    }

    /// Every difference that does not come by itself; one message that replaces the entry changes all of them.
    fn compare(key: &NeighborKey, desired: &Self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let mut check = |name: &str, differs: bool, show: &dyn Fn(&Self) -> Value| {
            if differs {
                changes.push(FieldChange::new(name, show(live), show(desired)));
            }
        };
        let resolved = desired.managed && live.managed;
        check("lladdr", !resolved && desired.lladdr != live.lladdr, &|neighbor| json!(neighbor.lladdr));
        check("nud", !desired.has_state_of(live), &|neighbor| json!(neighbor.nud));
        // Advertisements tell the kernel of routers.
        let learns = key.to.is_ipv6() && desired.is_ageing() && live.is_ageing();
        let router = desired.router != live.router && (desired.router || !learns);
        check("router", router, &|neighbor| json!(neighbor.router));
        check("managed", desired.managed != live.managed, &|neighbor| json!(neighbor.managed));
        check("extern_learn", desired.extern_learn != live.extern_learn, &|neighbor| json!(neighbor.extern_learn));
        changes
    }

    fn show(_: &NeighborKey, value: &Self) -> Vec<(&'static str, Value)> {
        let mut shown = Vec::new();
        let mut add = |name: &'static str, value: Option<Value>| shown.extend(value.map(|value| (name, value)));
        add("lladdr", value.lladdr.as_ref().map(|lladdr| json!(lladdr)));
        add("nud", (value.nud != Nud::default()).then(|| json!(value.nud)));
        add("router", value.router.then(|| true.into()));
        add("managed", value.managed.then(|| true.into()));
        add("extern_learn", value.extern_learn.then(|| true.into()));
        shown
    }

    fn dumps() -> Vec<Dump> {
        wire::dumps()
    }

    fn decode(body: &[u8], reading: &mut Reading<'_>) -> Result<Option<Found<Self>>, String> {
        wire::decode(body, reading.names)
    }

    /// The kernel notices late that a link came up without the carrier of the other end, and removes what has been put meanwhile.
    fn is_late(key: &NeighborKey, value: &Self) -> bool {
        value.depends_on_carrier(key)
    }

    fn put(at: &At<Self>, _: &Over<Self>) -> Vec<Request> {
        wire::put(at)
    }

    fn remove(at: &At<Self>) -> Vec<Request> {
        wire::remove(at)
    }

    fn say_put(at: &At<Self>, _: &Over<Self>) -> Vec<Line> {
        commands::put(at)
    }

    fn say_remove(at: &At<Self>) -> Vec<Line> {
        commands::remove(at)
    }

    fn say_again(again: &Restoration<Self>) -> Line {
        commands::again(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(to: &str) -> NeighborKey {
        NeighborKey { proxy: false, dev: "eth0".parse().unwrap(), to: to.parse().unwrap() }
    }

    fn entry(nud: Nud) -> Neighbor {
        Neighbor { nud, lladdr: "02:00:00:00:00:07".parse().ok(), ..Neighbor::default() }
    }

    fn differing(to: &str, desired: &Neighbor, live: &Neighbor) -> Vec<String> {
        Neighbor::compare(&key(to), desired, live).into_iter().map(|change| change.name).collect()
    }

    #[test]
    fn an_entry_may_age_but_not_change_its_address() {
        for (desired, live) in [(Nud::Reachable, Nud::Stale), (Nud::Stale, Nud::Reachable)] {
            assert!(differing("10.0.0.7", &entry(desired), &entry(live)).is_empty());
        }
        let other = Neighbor { lladdr: "02:00:00:00:00:08".parse().ok(), ..entry(Nud::Stale) };
        assert_eq!(differing("10.0.0.7", &entry(Nud::Reachable), &other), ["lladdr"]);
        assert_eq!(differing("10.0.0.7", &entry(Nud::Reachable), &entry(Nud::Permanent)), ["nud"]);
        assert_eq!(differing("10.0.0.7", &entry(Nud::Permanent), &entry(Nud::Noarp)), ["nud"]);
    }

    #[test]
    fn advertisements_tell_of_routers() {
        let router = |nud| Neighbor { router: true, ..entry(nud) };
        assert!(differing("2001:db8::7", &entry(Nud::Reachable), &router(Nud::Stale)).is_empty());
        assert_eq!(differing("2001:db8::7", &router(Nud::Reachable), &entry(Nud::Stale)), ["router"]);
        assert_eq!(differing("2001:db8::7", &entry(Nud::Permanent), &router(Nud::Permanent)), ["router"]);
        assert_eq!(differing("10.0.0.7", &entry(Nud::Stale), &router(Nud::Stale)), ["router"]);
    }

    #[test]
    fn the_kernel_resolves_a_managed_entry() {
        let managed = Neighbor { managed: true, ..Neighbor::default() };
        assert_eq!(differing("10.0.0.7", &managed, &entry(Nud::Reachable)), ["lladdr", "managed"]);
        assert_eq!(differing("10.0.0.7", &entry(Nud::Permanent), &managed), ["lladdr", "managed"]);
    }
}
