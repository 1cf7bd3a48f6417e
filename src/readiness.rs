//! What the kernel completes after it has accepted a network: carriers, the spanning tree of bridges, and duplicate address detection
//! of IPv6 addresses (RFC 4862, section 5.4). Tells how long that takes by the lab file, and what is not complete in a live network.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::name::{LinkId, LinkName, NamespaceName, ProcessName};
use crate::resource::address::{Address, AddressKey};
use crate::resource::link::Link;
use crate::resource::link::rules::Carrier;
use crate::resource::node::{Part, PartKey};
use crate::resource::object::{Awaited, SettlingTime};
use crate::resource::sysctl::SysctlKey;
use crate::state::{Live, ResourceId, State};
use crate::value::Duration;

/// Time for what takes no time by itself: the work queues of a busy machine.
pub const MARGIN: Duration = Duration::seconds(4);

/// Returns the address that an object of `namespace` needs, with the time until the kernel uses it.
pub fn awaited(desired: &State, namespace: &NamespaceName, source: IpAddr) -> Awaited {
    let addresses = desired.objects::<Address>().iter().filter(|((of, key), _)| of == namespace && key.ip() == source);
    let time = addresses.map(|((_, key), address)| settling_time(desired, &LinkId::new(namespace, key.link), address)).next();
    // A source that the lab does not declare is somebody else's.
    let time = time.unwrap_or_else(|| SettlingTime { detection: Detection::DEFAULT.time(), spanning_trees: Vec::new() });
    Awaited { source, time }
}

/// Returns the longest time that the kernel takes until it uses this IPv6 address of `link`.
pub fn settling_time(desired: &State, link: &LinkId, address: &Address) -> SettlingTime {
    let detection = if address.nodad { Duration(0) } else { Detection::of(desired, link).time() };
    SettlingTime { detection, spanning_trees: spanning_trees(desired, link) }
}

/// Returns the longest time until a lab is usable.
pub fn longest(desired: &State) -> Duration {
    let trees = desired.links.iter().filter(|(_, link)| link.kind.spanning_tree_delay().is_some());
    let tree = |id| SettlingTime { detection: Duration(0), spanning_trees: spanning_trees(desired, id) };
    let trees = trees.map(|(id, _)| tree(id).total());
    let detected = desired.objects::<Address>().iter().filter(|((_, key), address)| key.ip().is_ipv6() && !address.nodad);
    let links: BTreeSet<_> = detected.map(|((namespace, key), _)| LinkId::new(namespace, key.link)).collect();
    let detections = links.iter().map(|link| Detection::of(desired, link).time());
    let (trees, detections) = (trees.max().unwrap_or(Duration(0)), detections.max().unwrap_or(Duration(0)));
    Duration(trees.0.saturating_add(detections.0).saturating_add(MARGIN.0))
}

/// The sysctls of an interface that decide how long duplicate address detection takes (`addrconf_dad_kick`).
struct Detection {
    enabled: bool,
    /// The first message is sent after a random part of this time.
    delay: Duration,
    transmits: u64,
    interval: Duration,
}

impl Detection {
    const DEFAULT: Self =
        Self { enabled: true, delay: Duration::seconds(1), transmits: 1, interval: Duration::milliseconds(1000) };

    fn of(desired: &State, link: &LinkId) -> Self {
        let default = Self::DEFAULT;
        let read = |name: &str| number(desired, link, name);
        let all = SysctlKey::of_namespace("net.ipv6.conf.all.accept_dad").ok();
        let all = all.and_then(|key| value(desired, &link.namespace, key)).unwrap_or(0);
        Self {
            enabled: all > 0 || read("ipv6.accept_dad").unwrap_or(1) > 0,
            delay: read("ipv6.router_solicitation_delay").map_or(default.delay, |n| Duration::seconds(unsigned(n))),
            transmits: read("ipv6.dad_transmits").map_or(default.transmits, unsigned),
            interval: read("ipv6.neigh.retrans_time_ms").map_or(default.interval, |n| Duration::milliseconds(unsigned(n))),
        }
    }

    fn time(&self) -> Duration {
        match self.enabled {
            true => Duration(self.transmits.saturating_mul(self.interval.0).saturating_add(self.delay.0)),
            false => Duration(0),
        }
    }
}

/// Limited, so that seconds fit as microseconds.
fn unsigned(number: i64) -> u64 {
    number.clamp(0, i64::from(u32::MAX)).unsigned_abs()
}

/// Returns the sysctl of an interface: its own, or the one that it is created with.
fn number(desired: &State, link: &LinkId, name: &str) -> Option<i64> {
    let key = SysctlKey::of_link(link.name, name).ok()?;
    let default = key.of_default();
    value(desired, &link.namespace, key).or_else(|| value(desired, &link.namespace, default?))
}

fn value(desired: &State, namespace: &NamespaceName, key: SysctlKey) -> Option<i64> {
    desired.sysctls.get(&(namespace.clone(), key))?.value.trim().parse().ok()
}

/// Returns the bridges with the spanning tree that must forward before `link` has carrier, with the time that each takes.
fn spanning_trees(desired: &State, link: &LinkId) -> Vec<(LinkId, Duration)> {
    let carriers = reached(link, |id| carriers(desired, id));
    let delay = |id: LinkId| Some((forward_delay(desired, &id)?, id));
    carriers.into_iter().filter_map(delay).map(|(delay, id)| (id, Duration(delay.0.saturating_mul(2)))).collect()
}

/// Returns the forward delay of a bridge with the spanning tree. The root bridge imposes its own, so that is the longest of the segment.
fn forward_delay(desired: &State, bridge: &LinkId) -> Option<Duration> {
    let delay = |id: &LinkId| desired.link(id)?.kind.spanning_tree_delay();
    delay(bridge)?;
    reached(bridge, |id| neighbours(desired, id)).iter().filter_map(delay).max()
}

/// Returns `first` and all links that `next` leads to, sorted.
fn reached(first: &LinkId, next: impl Fn(&LinkId) -> Vec<LinkId>) -> BTreeSet<LinkId> {
    let mut reached = BTreeSet::from([first.clone()]);
    let mut pending = vec![first.clone()];
    while let Some(id) = pending.pop() {
        pending.extend(next(&id).into_iter().filter(|id| reached.insert(id.clone())));
    }
    reached
}

/// Returns the links that give a link its carrier: its parent, or its ports.
fn carriers(desired: &State, id: &LinkId) -> Vec<LinkId> {
    let Some(link) = desired.link(id) else { return Vec::new() };
    link.kind.below(&id.namespace).into_iter().chain(desired.ports(id).cloned()).collect()
}

/// Returns the links that frames of a link pass next: its carriers, the other end of its pair, and its master.
fn neighbours(desired: &State, id: &LinkId) -> Vec<LinkId> {
    let Some(link) = desired.link(id) else { return Vec::new() };
    let peer = link.kind.peer().map(|peer| peer.resolve(&id.namespace));
    let master = link.settings.master.map(|master| LinkId::new(&id.namespace, master));
    carriers(desired, id).into_iter().chain(peer).chain(master).collect()
}

/// Returns whether a link gets carrier by the lab file alone. Of what hangs on hardware or foreign links, the file does not tell.
fn gets_carrier(desired: &State, id: &LinkId) -> bool {
    let Some(link) = desired.link(id).filter(|link| is_up(link) && !link.external) else { return false };
    match link.kind.carrier() {
        Carrier::Own => true,
        Carrier::Ports => desired.ports(id).any(|port| desired.link(port).is_some_and(forwards) && gets_carrier(desired, port)),
        Carrier::Below => match (link.kind.peer(), link.kind.below(&id.namespace)) {
            (Some(peer), _) => desired.link(&peer.resolve(&id.namespace)).is_some_and(is_up),
            (None, Some(parent)) => gets_carrier(desired, &parent),
            (None, None) => false,
        },
        Carrier::Unknown => false,
    }
}

fn is_up(link: &Link) -> bool {
    link.settings.up != Some(false)
}

/// Returns whether a port may forward by its own options.
fn forwards(port: &Link) -> bool {
    port.port.as_ref().is_none_or(|port| port.forwards())
}

/// Returns whether the address of a link becomes usable without anybody's help: its link has carrier, or gets it by the lab file.
pub fn settles(desired: &State, live: &Live, link: &LinkId) -> bool {
    !live.idle.contains(link) || gets_carrier(desired, link)
}

/// Something of a live lab that is not usable yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unready {
    /// The link has no carrier.
    Carrier(LinkId),
    /// The port of a bridge with the spanning tree does not forward yet.
    Port {
        /// The port.
        port: LinkId,
        /// The bridge.
        bridge: LinkName,
        /// Its state.
        state: &'static str,
    },
    /// Duplicate address detection of the address is not finished.
    Tentative(LinkId, IpAddr),
    /// Another host on the segment has the address.
    Failed(LinkId, AddressKey),
    /// The process is not ready.
    Process {
        /// The node.
        node: NamespaceName,
        /// Its name.
        name: ProcessName,
        /// What it is doing.
        state: &'static str,
    },
}

impl Unready {
    /// Returns whether time alone does not help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Failed(..))
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &NamespaceName {
        match self {
            Self::Carrier(link) | Self::Tentative(link, _) | Self::Failed(link, _) | Self::Port { port: link, .. } => {
                &link.namespace
            }
            Self::Process { node, .. } => node,
        }
    }

    /// Returns the resource of the lab.
    pub fn resource(&self, desired: &State) -> ResourceId {
        let declared = |LinkId { namespace, name }: &LinkId, ip: IpAddr| {
            let keys = desired.objects::<Address>().keys().filter(|(of, key)| of == namespace && key.link == *name);
            keys.map(|(_, key)| key).find(|key| key.ip() == ip)
        };
        let (link, address) = match self {
            Self::Failed(link, key) => (link, Some(key)),
            Self::Tentative(link, ip) => (link, declared(link, *ip)),
            Self::Carrier(link) | Self::Port { port: link, .. } => (link, None),
            Self::Process { node, name, .. } => return ResourceId::Part(node.clone(), PartKey::Process(name.clone())),
        };
        match address {
            Some(key) => ResourceId::object::<Address>(&link.namespace, key),
            None => ResourceId::Link(link.clone()),
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carrier(link) => write!(f, "link `{link}` has no carrier"),
            Self::Port { port, bridge, state } => {
                write!(f, "port `{port}` of bridge `{bridge}` is {state}; it forwards after 2 × `forward_delay`")
            }
            Self::Tentative(link, ip) => write!(f, "duplicate address detection of `{ip}` on `{link}` is not finished"),
            Self::Process { node, name, state } => write!(f, "process `{name}` of `{node}` is not ready: {state}"),
            Self::Failed(link, key) => write!(f, "duplicate address detection of `{}` on `{link}` failed", key.ip()),
        }
    }
}

/// Returns what of the lab is not usable yet, sorted.
pub fn unready(desired: &State, live: &Live) -> BTreeSet<Unready> {
    let idle = live.idle.iter().filter(|id| gets_carrier(desired, id)).cloned().map(Unready::Carrier);
    let ports = live.state.links.iter().filter(|(id, _)| desired.links.contains_key(id));
    let ports = ports.filter_map(|(id, link)| passing(id, link));
    let tentative = live.tentative.iter().filter(|(link, _)| desired.links.contains_key(link) && settles(desired, live, link));
    let tentative = tentative.map(|(link, ip)| Unready::Tentative(link.clone(), *ip));
    let failed = live
        .state
        .objects::<Address>()
        .iter()
        .filter(|(id, address)| address.dad_failed && desired.objects::<Address>().contains_key(id));
    let failed = failed.map(|((namespace, key), _)| Unready::Failed(LinkId::new(namespace, key.link), key.clone()));
    let processes = live.state.parts.iter().filter(|(id, _)| desired.parts.contains_key(id)).filter_map(|((node, key), part)| {
        let (PartKey::Process(name), Part::Process(process)) = (key, part) else { return None };
        Some(Unready::Process { node: node.clone(), name: name.clone(), state: process.pending?.word() })
    });
    idle.chain(ports).chain(tentative).chain(failed).chain(processes).collect()
}

fn passing(id: &LinkId, link: &Link) -> Option<Unready> {
    let (bridge, state) = (link.settings.master?, link.port.as_ref()?.passing_state()?);
    Some(Unready::Port { port: id.clone(), bridge, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> State {
        let loaded = crate::spec::load(text);
        crate::lower::lower(&loaded.lab.unwrap(), &std::collections::BTreeMap::new()).state
    }

    /// Two hosts behind a bridge; `{bridge}` are its options, `{guest}` the settings of the end at the first host.
    fn lab(bridge: &str, guest: &str) -> State {
        state(&format!(
            "name: lab\nnamespaces:\n  s: {{ interfaces: {{ br0: {{ bridge: {{ ports: [p1, p2]{bridge} }}, addresses: [\"2001:db8::1/64\"] }} }} }}\n  \
             a: {{ interfaces: {{ e0: {{ addresses: [\"2001:db8::2/64\"]{guest} }} }} }}\n  b: {{}}\n\
             links: [{{ endpoints: [s:p1, a:e0] }}, {{ endpoints: [s:p2, b:e0] }}]\n"
        ))
    }

    fn time(state: &State, namespace: &str, source: &str) -> String {
        awaited(state, &namespace.parse().unwrap(), source.parse().unwrap()).time.to_string()
    }

    #[track_caller]
    fn check_guest(settings: &str, expected: &str) {
        assert_eq!(time(&lab("", settings), "a", "2001:db8::2"), format!("duplicate address detection ({expected})"));
    }

    #[test]
    fn detection_takes_as_long_as_the_sysctls_say() {
        check_guest("", "2s");
        check_guest(", sysctls: { ipv6.dad_transmits: 3, ipv6.neigh.retrans_time_ms: 200 }", "1.6s");
        check_guest(", sysctls: { ipv6.router_solicitation_delay: 0 }", "1s");
        check_guest(", sysctls: { ipv6.accept_dad: 0 }", "0s");
    }

    #[test]
    fn an_address_of_a_bridge_waits_for_its_spanning_tree() {
        let detection = "duplicate address detection (2s)";
        assert_eq!(time(&lab("", ""), "s", "2001:db8::1"), detection);
        let tree = |time: &str| format!("{detection} and the spanning tree of `s:br0` (2 × `forward_delay`: {time})");
        assert_eq!(time(&lab(", stp_state: true", ""), "s", "2001:db8::1"), tree("30s"));
        let short = lab(", stp_state: true, forward_delay: 4s", "");
        assert_eq!(time(&short, "s", "2001:db8::1"), tree("8s"));
        assert_eq!(time(&short, "a", "2001:db8::2"), detection, "the carrier of a pair does not depend on the bridge");
        assert_eq!(longest(&short), Duration::seconds(8 + 2 + 4));
    }

    #[test]
    fn the_root_bridge_imposes_its_delay() {
        let state = state(
            "name: lab\nnamespaces:\n  a: { interfaces: { br0: { bridge: { ports: [p], stp_state: true, forward_delay: 4s }, \
             addresses: [\"2001:db8::1/64\"] } } }\n  b: { interfaces: { br0: { bridge: { ports: [p], stp_state: true, \
             forward_delay: 20s } } } }\nlinks: [{ endpoints: [a:p, b:p] }]\n",
        );
        assert!(time(&state, "a", "2001:db8::1").ends_with("`a:br0` (2 × `forward_delay`: 40s)"));
    }

    #[test]
    fn links_get_carrier_from_what_is_below_them() {
        let gets = |state: &State, id: &str| gets_carrier(state, &id.parse().unwrap());
        let up = lab("", "");
        assert!(["s:br0", "s:p1", "a:e0"].iter().all(|id| gets(&up, id)));
        let down = lab("", ", up: false");
        assert!(!gets(&down, "s:p1") && !gets(&down, "a:e0") && gets(&down, "s:br0"), "the other port has carrier");
        let above = state(
            "name: lab\nnamespaces:\n  host: { interfaces: { eth0: { external: true }, m0: { macvlan: { parent: eth0 } } } }\n  \
             a: { interfaces: { br0: { bridge: {} }, v0: { vlan: { parent: br0, id: 5 } }, d0: { dummy: {} }, \
             v1: { vlan: { parent: d0, id: 5 } } } }\n",
        );
        assert!(!gets(&above, "a:br0") && !gets(&above, "a:v0"), "a bridge without ports");
        assert!(gets(&above, "a:v1") && !gets(&above, "host:m0"));
    }
}
