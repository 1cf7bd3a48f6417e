//! What links stand on: parents found by name, circles explained, and what the kernel refuses to build on the same parent.

use std::collections::BTreeMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::interface::{Interface, Table, all, find, unknown_namespace};
use super::settings::known_mtu;
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::Kind;
use crate::resource::link::contract::MtuAround;
use crate::resource::link::macvlan::MacvlanMode;
use crate::resource::link::vlan::VlanProtocol;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Most links that stand on one another, more than the kernel itself allows.
const DEPTH: usize = 64;

/// Resolves every parent and underlay. Returns the links that have such.
pub(super) fn resolve(table: &mut Table<'_>, problems: &mut Problems) -> Vec<LinkId> {
    let ids: Vec<LinkId> = all(table).filter(|interface| has_references(interface)).map(|i| i.id.clone()).collect();
    for id in &ids {
        let parent = find(table, id).and_then(|interface| parent_of(table, interface, problems));
        let underlay = find(table, id).and_then(|interface| underlay_of(table, interface, parent.as_ref(), problems));
        let Some(interface) = table.get_mut(&id.namespace).and_then(|n| n.interfaces.get_mut(&id.name)) else { continue };
        if let Some(slot) = interface.link.kind.parent_slot() {
            *slot = parent.map(Into::into);
        }
        if let Kind::Vxlan(vxlan) = &mut interface.link.kind {
            vxlan.underlay = underlay;
        }
    }
    ids
}

/// Reports circles, puts every macvlan on the parent that the kernel does if there are none, and checks what stands on the same
/// parent.
/// `upper` are the links that stand on others.
pub(super) fn check(table: &mut Table<'_>, upper: &[LinkId], problems: &mut Problems) {
    let roots: Vec<(LinkId, LinkId)> = match report_circles(table, problems) {
        true => Vec::new(),
        false => upper.iter().filter_map(|id| Some((id.clone(), macvlan_root(table, find(table, id)?)?))).collect(),
    };
    for (id, root) in roots {
        let interface = table.get_mut(&id.namespace).and_then(|namespace| namespace.interfaces.get_mut(&id.name));
        if let Some(slot) = interface.and_then(|interface| interface.link.kind.parent_slot()) {
            *slot = Some(root.into());
        }
    }
    let upper: Vec<&Interface<'_>> = upper.iter().filter_map(|id| find(table, id)).collect();
    check_mtus(table, &upper, problems);
    check_macvlans(table, &upper, problems);
    check_vlans(&upper, problems);
    check_vxlans(&upper, problems);
}

fn has_references(interface: &Interface<'_>) -> bool {
    interface.end.is_none() && (interface.link.kind.parent().is_some() || matches!(interface.link.kind, Kind::Vxlan(_)))
}

/// The parent that an interface has, not the other end of a pair.
fn parent(interface: &Interface<'_>) -> Option<LinkId> {
    interface.link.kind.below(&interface.id.namespace)
}

fn parent_of(table: &Table<'_>, interface: &Interface<'_>, problems: &mut Problems) -> Option<LinkId> {
    let id = parent(interface)?;
    let path = || interface.kind_path("parent");
    let Some(namespace) = table.get(&id.namespace) else {
        unknown_namespace(table, path(), &id.namespace, problems);
        return None;
    };
    if id == interface.id {
        problems.error(path(), format!("`{id}` cannot be its own parent"));
        return None;
    }
    let Some(below) = namespace.interfaces.get(&id.name) else {
        known(namespace, id.name, path(), problems);
        return None;
    };
    if let (Kind::Macvlan(_) | Kind::Vlan(_), Kind::Loopback) = (&interface.link.kind, &below.link.kind) {
        problems.error(path(), format!("the parent of a {} cannot be a loopback interface", interface.link.kind.name()));
    }
    Some(id)
}

/// What to do about an interface that does not exist.
fn absent_hint(id: &LinkId) -> String {
    if id.namespace.is_host() {
        format!("if it exists already, declare it under `host`: `{}: {{ external: true }}`", id.name)
    } else {
        format!("declare it under the `interfaces` of `{}`, or make it an endpoint of a link", id.namespace)
    }
}

fn underlay_of(
    table: &Table<'_>,
    interface: &Interface<'_>,
    parent: Option<&LinkId>,
    problems: &mut Problems,
) -> Option<NamespaceName> {
    let Kind::Vxlan(vxlan) = &interface.link.kind else { return None };
    let given = vxlan.underlay.as_ref();
    if let Some(given) = given.filter(|given| !table.contains_key(given)) {
        unknown_namespace(table, interface.kind_path("underlay"), given, problems);
    }
    if let (Some(given), Some(parent)) = (given, parent)
        && *given != parent.namespace
    {
        let message = format!("parent `{parent}` is not in the underlay namespace `{given}`");
        problems.error(interface.kind_path("underlay"), message).hint("remove `underlay`; it defaults to the parent's namespace");
    }
    let own = || parent.map_or(&interface.id.namespace, |parent| &parent.namespace);
    Some(given.unwrap_or_else(own).clone())
}

/// What one link needs another for.
#[derive(Clone, Copy)]
enum Need {
    Parent,
    Port,
}

/// Reports links that stand on one another in a circle.
fn report_circles(table: &Table<'_>, problems: &mut Problems) -> bool {
    let mut graph: DiGraph<LinkId, Need> = DiGraph::new();
    let mut nodes: BTreeMap<LinkId, NodeIndex> = BTreeMap::new();
    // Whatever needs nothing ends a chain, so that it is in no circle.
    let stands_on_others = |interface: &Interface<'_>| interface.link.kind.takes_ports() || parent(interface).is_some();
    let needs = all(table).flat_map(|interface| {
        let parent = parent(interface).filter(|parent| find(table, parent).is_some_and(stands_on_others));
        let parent = parent.map(|parent| (interface.id.clone(), parent, Need::Parent));
        let master = interface.link.settings.master.filter(|_| stands_on_others(interface));
        let master = master.map(|master| (LinkId::new(&interface.id.namespace, master), interface.id.clone(), Need::Port));
        parent.into_iter().chain(master)
    });
    for (upper, lower, need) in needs {
        let mut node = |id: LinkId| *nodes.entry(id.clone()).or_insert_with(|| graph.add_node(id));
        let (upper, lower) = (node(upper), node(lower));
        graph.add_edge(upper, lower, need);
    }
    let mut found = false;
    for circle in tarjan_scc(&graph) {
        if circle.len() > 1 {
            found = true;
            report_circle(table, &graph, &circle, problems);
        }
    }
    found
}

fn report_circle(table: &Table<'_>, graph: &DiGraph<LinkId, Need>, members: &[NodeIndex], problems: &mut Problems) {
    let Some(start) = members.iter().copied().min_by_key(|node| &graph[*node]) else { return };
    let members: std::collections::BTreeSet<NodeIndex> = members.iter().copied().collect();
    let (mut words, mut at) = (Vec::new(), start);
    let mut visited = std::collections::BTreeSet::new();
    while visited.insert(at) {
        // The members of a circle each have a way on that stays inside of it.
        let Some(edge) = graph.edges(at).filter(|edge| members.contains(&edge.target())).min_by_key(EdgeRef::target) else {
            break;
        };
        let word = match edge.weight() {
            Need::Parent => "has parent",
            Need::Port => "has port",
        };
        words.push(format!("`{}` {word} `{}`", graph[at], graph[edge.target()]));
        at = edge.target();
    }
    let Some(interface) = find(table, &graph[start]) else { return };
    let path = match interface.link.kind.takes_ports() {
        true => interface.kind_path("ports"),
        false => interface.kind_path("parent"),
    };
    problems.error(path, format!("circular link dependency: {}", words.join(", "))).hint("give one of them another parent");
}

/// The parent that the kernel gives a macvlan on a macvlan: that at the bottom.
fn macvlan_root(table: &Table<'_>, interface: &Interface<'_>) -> Option<LinkId> {
    let Kind::Macvlan(_) = &interface.link.kind else { return None };
    let mut root = parent(interface)?;
    for _ in 0..DEPTH {
        match find(table, &root) {
            Some(below) if matches!(below.link.kind, Kind::Macvlan(_)) => root = parent(below)?,
            _ => break,
        }
    }
    Some(root)
}

fn check_mtus(table: &Table<'_>, upper: &[&Interface<'_>], problems: &mut Problems) {
    for interface in upper {
        let (Some(mtu), Some(parent)) = (interface.link.settings.mtu, parent(interface)) else { continue };
        let Some(below) = known_mtu(table, &parent, DEPTH) else { continue };
        let most = match &interface.link.kind {
            Kind::Vxlan(_) => {
                interface.link.kind.default_mtu(MtuAround { parent: Some(below), smallest_port: None }).unwrap_or(below)
            }
            _ => below,
        };
        if mtu > most {
            let message = format!("mtu {mtu} is too large: the parent `{parent}` has mtu {below}");
            let problem = problems.error(interface.setting_path("mtu"), message);
            let why = if most < below { " (the outer headers take the rest)" } else { "" };
            problem.hint(format!("use at most {most}{why}"));
            if let Some(below) = find(table, &parent).filter(|below| below.link.settings.mtu.is_some()) {
                problem.also(below.setting_path("mtu"), "mtu of the parent");
            }
        }
    }
}

fn check_macvlans(table: &Table<'_>, upper: &[&Interface<'_>], problems: &mut Problems) {
    let mut by_parent: BTreeMap<LinkId, Vec<&Interface<'_>>> = BTreeMap::new();
    for interface in upper.iter().filter(|interface| matches!(interface.link.kind, Kind::Macvlan(_))) {
        if let Some(parent) = parent(interface) {
            by_parent.entry(parent).or_default().push(interface);
        }
    }
    for (parent, macvlans) in by_parent {
        let passthru = |i: &&&Interface<'_>| matches!(&i.link.kind, Kind::Macvlan(m) if m.mode == Some(MacvlanMode::Passthru));
        if let (Some(only), true) = (macvlans.iter().find(passthru), macvlans.len() > 1) {
            let others = macvlans.iter().filter(|other| other.id != only.id).map(|other| format!("`{}`", other.id));
            let others: Vec<String> = others.take(3).collect();
            let message = format!(
                "a macvlan with `mode: passthru` must be the only macvlan on `{parent}`, which also carries {}",
                others.join(", ")
            );
            problems.error(only.kind_path("mode"), message).hint("use `mode: bridge`, or a separate parent for each");
        }
        for interface in macvlans.iter().filter(passthru).filter(|interface| interface.link.settings.mac.is_some()) {
            let message = format!("a macvlan with `mode: passthru` takes its MAC address from `{parent}`");
            problems.error(interface.setting_path("mac"), message).hint(format!("set `mac` on `{parent}` instead"));
        }
        check_same_macs(&parent, &macvlans, problems);
        let Some(port) = find(table, &parent).filter(|below| below.link.settings.master.is_some()) else { continue };
        let Some(master) = port.link.settings.master else { continue };
        let message = format!("`{parent}` is a port of `{master}` and cannot be the parent of a macvlan");
        let problem = problems.error(macvlans[0].kind_path("parent"), message);
        problem.hint(format!("use `{}:{master}` as the parent", parent.namespace));
    }
}

fn check_same_macs(parent: &LinkId, macvlans: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for interface in macvlans {
        let Some(mac) = interface.link.settings.mac else { continue };
        if let Some(first) = seen.insert(mac, *interface) {
            let message = format!("`{}` and `{}` have the same MAC address on `{parent}`", first.id, interface.id);
            problems.error(interface.setting_path("mac"), message).also(first.setting_path("mac"), "also used here");
        }
    }
}

fn check_vlans(upper: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen: BTreeMap<(LinkId, u16, bool), &Interface<'_>> = BTreeMap::new();
    for interface in upper {
        let (Kind::Vlan(vlan), Some(parent)) = (&interface.link.kind, parent(interface)) else { continue };
        let Some(id) = vlan.id else { continue };
        let outer = vlan.protocol == Some(VlanProtocol::Dot1Ad);
        if let Some(first) = seen.insert((parent.clone(), id, outer), interface) {
            let message = format!("`{}` and `{}` have the same VLAN ID {id} on `{parent}`", first.id, interface.id);
            let problem = problems.error(interface.kind_path("id"), message);
            problem.also(first.kind_path("id"), "also used here").needs(interface.kind_part()).needs(first.kind_part());
        }
    }
}

/// By what the kernel tells vxlans of one namespace apart (`vxlan_vni_in_use`).
type VxlanKey = (NamespaceName, u32, u16, bool, [bool; 3]);

fn check_vxlans(upper: &[&Interface<'_>], problems: &mut Problems) {
    let mut seen: BTreeMap<VxlanKey, &Interface<'_>> = BTreeMap::new();
    for interface in upper {
        let Kind::Vxlan(vxlan) = &interface.link.kind else { continue };
        let (Some(underlay), id) = (vxlan.underlay.clone(), vxlan.id.unwrap_or(0)) else { continue };
        let port = vxlan.port.filter(|port| *port != 0).unwrap_or(8472);
        let ipv6 = vxlan.remote.or(vxlan.local).is_some_and(|address| address.is_ipv6());
        let flags = [vxlan.external, vxlan.gbp, vxlan.udp6zerocsumrx].map(|flag| flag == Some(true));
        if let Some(first) = seen.insert((underlay.clone(), id, port, ipv6, flags), interface) {
            let message = format!(
                "`{}` and `{}` have the same VNI {id} and UDP port {port} in the underlay `{underlay}`",
                first.id, interface.id
            );
            let problem = problems.error(interface.kind_path("id"), message);
            problem
                .also(first.kind_path("id"), "also used here")
                .hint("use a different `id` or `port` for one of them")
                .needs(interface.kind_part())
                .needs(first.kind_part());
        }
    }
}

/// Whether `name` names an interface of the namespace; otherwise that is reported.
pub(super) fn known(namespace: &super::interface::Namespace<'_>, name: LinkName, path: Path, problems: &mut Problems) -> bool {
    if namespace.interfaces.contains_key(&name) {
        return true;
    }
    let id = LinkId::new(&namespace.name, name);
    let names = namespace.names();
    let message = format!("interface `{id}` is not declared");
    let problem = problems.unknown(path, message, &name.as_str(), names.iter().map(String::as_str));
    problem.needs_all(namespace.name_parts()).hint.get_or_insert_with(|| absent_hint(&id));
    false
}
