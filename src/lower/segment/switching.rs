//! Bridges: loops without a spanning tree, and addresses of ports.

use std::collections::{BTreeMap, HashMap};

use super::{Interfaces, Key, Sets};
use crate::lower::interface::{End, Interface};
use crate::resource::link::kind::with_article;
use crate::yaml::Path;
use crate::yaml::problem::{Problems, options};
use crate::yaml::suggest::list;

/// Warns of addresses of ports: what arrives for them goes to the master.
pub(super) fn check_addresses(interfaces: &Interfaces<'_, '_>, problems: &mut Problems) {
    for (number, interface) in interfaces.list.iter().enumerate() {
        let Some(master) = interfaces.master(number).map(|number| interfaces.list[number]) else { continue };
        if let Some((index, address)) = interface.addresses().next() {
            let (kind, id) = (with_article(master.link.kind.name()), &interface.id);
            let message = format!("`{id}` is a port of {kind}, which takes its packets: `{address}` is not reachable over it");
            problems
                .warning(interface.address_path(index), message)
                .hint(format!("set the addresses on `{}` instead", master.id));
        }
    }
}

/// Bridges without a spanning tree and the wires between their ports, without the connections that would close loops.
struct Forest {
    sets: Sets,
    edges: HashMap<usize, Vec<usize>>,
}

/// Warns of loops, once for all that are connected. One bridge with a spanning tree opens a loop, because the others forward its
/// messages.
pub(super) fn check_loops(interfaces: &Interfaces<'_, '_>, problems: &mut Problems) {
    let segments = interfaces.segments(|port| port.passes_all()).into_labeling();
    let mut wires = interfaces.wires();
    interfaces.join_uppers(&segments, &mut wires, |key| !matches!(key, Key::Parent(_)));
    let mut forest = Forest { sets: Sets::new(interfaces.list.len()), edges: HashMap::new() };
    let mut closing: Vec<(usize, usize, usize)> = Vec::new();
    for (number, port) in interfaces.list.iter().enumerate() {
        let Some(bridge) = interfaces.switch_of(number).filter(|_| port.passes(|port| port.passes_all())) else { continue };
        let spanning_tree = interfaces.list[bridge].link.kind.switching().is_some_and(|switching| switching.spanning_tree);
        let wire = wires.find(number);
        if !spanning_tree && !forest.connect(wire, bridge) {
            closing.push((number, wire, bridge));
        }
    }
    let mut by_network: BTreeMap<usize, Vec<(usize, usize, usize)>> = BTreeMap::new();
    for closed in closing {
        by_network.entry(forest.sets.find(closed.2)).or_default().push(closed);
    }
    for loops in by_network.values() {
        report(interfaces, &forest, loops, problems);
    }
}

impl Forest {
    /// Connects a wire with a bridge, unless they are already.
    fn connect(&mut self, wire: usize, bridge: usize) -> bool {
        let new = self.sets.union(wire, bridge);
        if new {
            self.edges.entry(wire).or_default().push(bridge);
            self.edges.entry(bridge).or_default().push(wire);
        }
        new
    }

    /// The way from one to the other, both included.
    fn way(&self, from: usize, to: usize) -> Vec<usize> {
        let mut before = HashMap::from([(from, from)]);
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for next in self.edges.get(&node).into_iter().flatten() {
                if !before.contains_key(next) {
                    before.insert(*next, node);
                    open.push(*next);
                }
            }
        }
        let mut way = vec![to];
        while let Some(node) = way.last().and_then(|node| before.get(node)).filter(|node| way.last() != Some(node)) {
            way.push(*node);
        }
        way
    }
}

fn report(interfaces: &Interfaces<'_, '_>, forest: &Forest, loops: &[(usize, usize, usize)], problems: &mut Problems) {
    let Some((port, wire, bridge)) = loops.first() else { return };
    let is_bridge = |number: &&usize| interfaces.list[**number].link.kind.switching().is_some();
    let way = forest.way(*wire, *bridge);
    let bridges: Vec<&Interface<'_>> = way.iter().rev().filter(is_bridge).map(|number| interfaces.list[*number]).collect();
    let names: Vec<String> = bridges.iter().map(|bridge| bridge.id.to_string()).collect();
    let port = interfaces.list[*port];
    let message = match names.as_slice() {
        [one] => format!("two ports of the bridge `{one}` are connected with each other: broadcasts circulate for ever"),
        several => {
            let several = list(several.iter().map(String::as_str));
            format!("the bridges {several} are connected in a loop without a spanning tree: broadcasts circulate for ever")
        }
    };
    let more = match loops.len() - 1 {
        0 => String::new(),
        1 => "; one more port closes a loop there".to_owned(),
        more => format!("; {more} more ports close loops there"),
    };
    let hint = format!("set `stp_state: true` on the bridges, or `up: false` on `{}`{more}", port.id);
    let problem = problems.warning(place(port), message).hint(hint);
    problem.needs_all(bridges.iter().map(|bridge| options(bridge.kind_root(), &["stp_state", "vlan_filtering"])));
}

/// The end of the link, or the interface.
fn place(port: &Interface<'_>) -> Path {
    port.end.as_ref().map_or_else(|| port.path(), End::path)
}
