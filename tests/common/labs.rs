//! Random valid lab files, and labs that differ a little from given ones.
//!
//! A lab is drawn as parts with small numbers for names: namespaces, pairs, bridges and so on. Parts may refer to parts that are
//! not there; what cannot be is left out when the file is written, so that every drawn lab is valid and every part can be taken
//! away on its own, by a change or when a failing case is made smaller.

#[path = "labs/change.rs"]
mod change;
#[path = "labs/write.rs"]
mod write;

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set};
use proptest::option::{of, weighted};
use proptest::prelude::*;

pub use change::successor;

/// A lab, one that comes after it, and one more.
pub fn history() -> impl Strategy<Value = [Lab; 3]> {
    let second = lab().prop_flat_map(|a| successor(a.clone()).prop_map(move |b| (a.clone(), b)));
    second.prop_flat_map(|(a, b)| successor(b.clone()).prop_map(move |c| [a.clone(), b.clone(), c]))
}

/// The number of the namespace `host`.
pub const HOST: u8 = 6;

/// A lab as parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lab {
    spaces: BTreeMap<u8, Space>,
    wires: BTreeMap<u8, Wire>,
    bridges: BTreeMap<u8, Bridge>,
    vrfs: BTreeMap<u8, Vrf>,
    dummies: BTreeMap<u8, Dummy>,
    uppers: BTreeMap<u8, Upper>,
    external: Option<External>,
    routes: BTreeMap<u8, RoutePart>,
    rules: BTreeMap<u8, RulePart>,
    neighbors: BTreeMap<u8, NeighborPart>,
}

/// A namespace's settings.
#[derive(Debug, Clone, Default, PartialEq)]
struct Space {
    ip_forward: Option<bool>,
    default_forwarding: Option<bool>,
    forwarding_ipv6: Option<bool>,
    default_rp_filter: Option<u8>,
    all_rp_filter: Option<u8>,
    default_accept_ra: Option<u8>,
    ttl: Option<u8>,
    lo_down: bool,
    /// A host name, a file, a bind and a process of the node.
    hostname: Option<u8>,
    file: Option<u8>,
    bind: Option<u8>,
    process: Option<u8>,
}

/// A veth pair.
#[derive(Debug, Clone, PartialEq)]
struct Wire {
    ends: [End; 2],
    mtu: Option<u32>,
}

/// An end of a pair. Addresses are numbers from 0: below 4 in the pair's first subnet, from 4 in its second one.
#[derive(Debug, Clone, PartialEq)]
struct End {
    space: u8,
    down: bool,
    altname: Option<u8>,
    queue: Option<u32>,
    mtu: Option<u32>,
    mac: Option<u8>,
    inet: Vec<u8>,
    inet6: Vec<u8>,
    rp_filter: Option<u8>,
    forwarding: Option<bool>,
    /// What it does to packets: the number of one of a few impairments.
    impair: Option<usize>,
    /// Its options as a port of a bridge, if it is one.
    port_options: Options,
}

#[derive(Debug, Clone, PartialEq)]
struct Bridge {
    space: u8,
    ports: Ports,
    inet: Option<u8>,
    inet6: Option<u8>,
    options: Options,
    mtu: Option<u32>,
    down: bool,
}

/// A VRF, which takes ends of pairs that are no ports yet.
#[derive(Debug, Clone, PartialEq)]
struct Vrf {
    space: u8,
    table: u8,
    ports: BTreeSet<u8>,
    inet: Option<u8>,
    inet6: Option<u8>,
    down: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Ports {
    /// All ends of pairs, by a glob.
    Glob,
    /// These ends, as twice the pair's number plus the end's.
    Named(BTreeSet<u8>),
}

#[derive(Debug, Clone, PartialEq)]
struct Dummy {
    space: u8,
    inet: Vec<u8>,
    inet6: Vec<u8>,
    mtu: Option<u32>,
    altname: Option<u8>,
    down: bool,
}

/// What another link may stand on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Below {
    Wire(u8, u8),
    Bridge(u8),
    Dummy(u8),
    Upper(u8),
    External,
}

/// A link of any registered kind that takes no ports, mostly on another one.
#[derive(Debug, Clone, PartialEq)]
struct Upper {
    space: u8,
    /// Which of those kinds.
    kind: u8,
    below: Option<Below>,
    options: Options,
    mtu: Option<u32>,
    inet: Option<u8>,
    inet6: Option<u8>,
    down: bool,
}

/// Options of a kind, each by the number of its row and of one of the values to try there. The numbers wrap around.
type Options = BTreeMap<u8, u8>;

/// What is said of `host:eth0`, which is there already.
#[derive(Debug, Clone, PartialEq)]
struct External {
    inet: Option<u8>,
    inet6: Option<u8>,
    mtu: Option<u32>,
    queue: Option<u32>,
}

/// A rule of policy routing.
#[derive(Debug, Clone, PartialEq)]
struct RulePart {
    space: u8,
    ipv6: bool,
    priority: Option<u8>,
    from: Option<u8>,
    to: Option<u8>,
    fwmark: Option<u8>,
    port: Option<u8>,
    /// `lo` as the incoming or as the outgoing interface.
    interface: Option<u8>,
    not: bool,
    action: RuleAction,
}

#[derive(Debug, Clone, PartialEq)]
enum RuleAction {
    /// A table, with the longest prefix that does not count.
    Table(u8, Option<u8>),
    /// On to the kernel's rule for `main`.
    Goto,
    Kind(&'static str),
}

/// A neighbour or a proxy.
#[derive(Debug, Clone, PartialEq)]
struct NeighborPart {
    dev: Below,
    ipv6: bool,
    host: u8,
    kind: NeighborKind,
}

#[derive(Debug, Clone, PartialEq)]
enum NeighborKind {
    /// An entry with this state and the last byte of its MAC address.
    Entry {
        nud: Option<&'static str>,
        mac: u8,
        router: bool,
        extern_learn: bool,
    },
    /// An entry that the kernel resolves.
    Managed,
    Proxy {
        router: bool,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct RoutePart {
    to: u8,
    ipv6: bool,
    way: Way,
    metric: Option<u8>,
    table: Option<u8>,
    src: bool,
    mtu: Option<u32>,
    name_interface: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Way {
    /// By a neighbour on that end of a pair.
    Via(u8, u8),
    /// By neighbours on that end and all others of its namespace.
    Several(u8, u8),
    /// Everything is on the link.
    OnLink(u8, u8),
    /// Nowhere, in that namespace.
    Nowhere(u8, &'static str),
}

const WIRES: u8 = 6;
const FEW: u8 = 3;
const UPPERS: u8 = 9;

fn space_number() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0..3_u8, 2 => 3..HOST, 1 => Just(HOST)]
}

fn space_below_host() -> impl Strategy<Value = u8> {
    prop_oneof![2 => 0..3_u8, 1 => 3..HOST]
}

fn rarely<T: Strategy>(strategy: T) -> impl Strategy<Value = Option<T::Value>> {
    weighted(0.15, strategy)
}

fn down() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn mtu() -> impl Strategy<Value = Option<u32>> {
    rarely(prop::sample::select(vec![1280, 1400, 1500, 9000]))
}

/// Distinct small numbers in any order.
fn hosts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        2 => (0..6_u8).prop_map(|host| vec![host]),
        1 => Just((0..6_u8).collect::<Vec<_>>()).prop_shuffle().prop_flat_map(|all| (Just(all), 2..5_usize)).prop_map(|(mut all, length)| {
            all.truncate(length);
            all
        }),
    ]
}

fn space() -> impl Strategy<Value = Space> {
    let forwarding = (rarely(any::<bool>()), rarely(any::<bool>()), rarely(any::<bool>()));
    let filters = (rarely(0..3_u8), rarely(0..3_u8));
    let node = (rarely(0..2_u8), rarely(0..2_u8), rarely(0..4_u8), rarely(0..3_u8));
    (forwarding, filters, rarely(0..2_u8), rarely(32..99_u8), prop::bool::weighted(0.05), node).prop_map(
        |(forwarding, (default_rp_filter, all_rp_filter), default_accept_ra, ttl, lo_down, (hostname, file, bind, process))| {
            Space {
                ip_forward: forwarding.0,
                default_forwarding: forwarding.1,
                forwarding_ipv6: forwarding.2,
                default_rp_filter,
                all_rp_filter,
                default_accept_ra,
                ttl,
                lo_down,
                hostname,
                file,
                bind,
                process,
            }
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    let settings = (down(), rarely(0..4_u8), rarely(0..3000_u32), mtu(), rarely(0..8_u8));
    let sysctls = (rarely(0..3_u8), rarely(any::<bool>()));
    (space_number(), settings, hosts(), hosts(), sysctls, rarely(0..write::IMPAIRMENTS.len()), options()).prop_map(
        |(space, (down, altname, queue, mtu, mac), inet, inet6, (rp_filter, forwarding), impair, port_options)| End {
            space,
            down,
            altname,
            queue,
            mtu,
            mac,
            inet,
            inet6,
            rp_filter,
            forwarding,
            impair,
            port_options,
        },
    )
}

fn wire() -> impl Strategy<Value = Wire> {
    (end(), end(), mtu()).prop_map(|(one, other, mtu)| Wire { ends: [one, other], mtu })
}

fn bridge() -> impl Strategy<Value = Bridge> {
    let ports = prop_oneof![Just(Ports::Glob), btree_set(0..2 * WIRES, 0..4).prop_map(Ports::Named)];
    let address = || of(1..9_u8);
    (space_number(), ports, address(), address(), options(), mtu(), down())
        .prop_map(|(space, ports, inet, inet6, options, mtu, down)| Bridge { space, ports, inet, inet6, options, mtu, down })
}

fn vrf() -> impl Strategy<Value = Vrf> {
    let address = || rarely(1..9_u8);
    (space_number(), 0..3_u8, btree_set(0..2 * WIRES, 0..5), address(), address(), down())
        .prop_map(|(space, table, ports, inet, inet6, down)| Vrf { space, table, ports, inet, inet6, down })
}

/// At most a few options.
fn options() -> impl Strategy<Value = Options> {
    btree_map(0..64_u8, 0..8_u8, 0..4)
}

fn dummy() -> impl Strategy<Value = Dummy> {
    (space_number(), hosts(), hosts(), mtu(), rarely(4..6_u8), down())
        .prop_map(|(space, inet, inet6, mtu, altname, down)| Dummy { space, inet, inet6, mtu, altname, down })
}

fn below() -> impl Strategy<Value = Below> {
    prop_oneof![
        4 => (0..WIRES, 0..2_u8).prop_map(|(wire, end)| Below::Wire(wire, end)),
        1 => (0..FEW).prop_map(Below::Bridge),
        1 => (0..FEW).prop_map(Below::Dummy),
        1 => (0..UPPERS).prop_map(Below::Upper),
        1 => Just(Below::External),
    ]
}

fn upper() -> impl Strategy<Value = Upper> {
    let below = weighted(0.9, below());
    let addresses = (of(1..9_u8), of(1..9_u8));
    (space_number(), 0..60_u8, below, options(), rarely(Just(1280)), addresses, down()).prop_map(
        |(space, kind, below, options, mtu, (inet, inet6), down)| Upper { space, kind, below, options, mtu, inet, inet6, down },
    )
}

fn external() -> impl Strategy<Value = External> {
    (of(1..9_u8), of(1..9_u8), mtu(), rarely(0..3000_u32)).prop_map(|(inet, inet6, mtu, queue)| External {
        inet,
        inet6,
        mtu,
        queue,
    })
}

fn route() -> impl Strategy<Value = RoutePart> {
    let end = || (0..WIRES, 0..2_u8);
    let kind = prop::sample::select(vec!["blackhole", "unreachable", "prohibit"]);
    let way = prop_oneof![
        4 => end().prop_map(|(wire, end)| Way::Via(wire, end)),
        3 => end().prop_map(|(wire, end)| Way::Several(wire, end)),
        1 => end().prop_map(|(wire, end)| Way::OnLink(wire, end)),
        1 => (space_number(), kind).prop_map(|(space, kind)| Way::Nowhere(space, kind)),
    ];
    let rest = (rarely(1..4_u8), rarely(1..3_u8), prop::bool::weighted(0.3), rarely(1280..1400_u32), any::<bool>());
    (0..5_u8, any::<bool>(), way, rest).prop_map(|(to, ipv6, way, (metric, table, src, mtu, name_interface))| RoutePart {
        to,
        ipv6,
        way,
        metric,
        table,
        src,
        mtu,
        name_interface,
    })
}

fn rule() -> impl Strategy<Value = RulePart> {
    let kind = prop::sample::select(vec!["nop", "blackhole", "unreachable", "prohibit"]);
    let action = prop_oneof![
        4 => (0..3_u8, rarely(0..30_u8)).prop_map(|(table, suppress)| RuleAction::Table(table, suppress)),
        1 => Just(RuleAction::Goto),
        1 => kind.prop_map(RuleAction::Kind),
    ];
    let selectors = (of(1..4_u8), rarely(1..4_u8), rarely(1..4_u8), rarely(1..4_u8), rarely(0..2_u8), prop::bool::weighted(0.2));
    (space_number(), any::<bool>(), of(0..3_u8), selectors, action).prop_map(
        |(space, ipv6, priority, (from, to, fwmark, port, interface, not), action)| RulePart {
            space,
            ipv6,
            priority,
            from,
            to,
            fwmark,
            port,
            interface,
            not,
            action,
        },
    )
}

fn neighbor() -> impl Strategy<Value = NeighborPart> {
    let nud = prop::sample::select(vec![None, None, Some("noarp"), Some("reachable"), Some("stale")]);
    let kind = prop_oneof![
        4 => (nud, 0..3_u8, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(nud, mac, router, extern_learn)| NeighborKind::Entry { nud, mac, router, extern_learn }),
        1 => Just(NeighborKind::Managed),
        2 => any::<bool>().prop_map(|router| NeighborKind::Proxy { router }),
    ];
    (below(), any::<bool>(), 0..3_u8, kind).prop_map(|(dev, ipv6, host, kind)| NeighborPart { dev, ipv6, host, kind })
}

/// A random lab.
pub fn lab() -> impl Strategy<Value = Lab> {
    let links = (btree_map(0..WIRES, wire(), 0..6), btree_map(0..FEW, bridge(), 0..3), btree_map(0..FEW, dummy(), 0..3));
    let uppers = (btree_map(0..UPPERS, upper(), 0..8), btree_map(0..FEW, vrf(), 0..3));
    let routes = (btree_map(0..8_u8, route(), 0..6), btree_map(0..8_u8, rule(), 0..6), btree_map(0..8_u8, neighbor(), 0..6));
    (btree_map(space_below_host(), space(), 0..6), links, uppers, of(external()), routes).prop_map(
        |(spaces, (wires, bridges, dummies), (uppers, vrfs), external, (routes, rules, neighbors))| Lab {
            spaces,
            wires,
            bridges,
            vrfs,
            dummies,
            uppers,
            external,
            routes,
            rules,
            neighbors,
        },
    )
}
