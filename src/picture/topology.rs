//! The topology of a state: namespaces are nodes, pairs are edges, and a link that connects several others is a node of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, EdgeKind, End, Node, NodeKind, Picture};
use crate::name::{LabName, LinkId, NamespaceName};
use crate::raise::raise;
use crate::report::yaml;
use crate::resource::address::Address;
use crate::resource::link::Link;
use crate::resource::node::PartKey;
use crate::spec::LabFile;
use crate::state::State;

/// A picture of a state, and where its resources are in that.
#[derive(Debug, Default)]
pub struct Topology {
    /// The picture.
    pub picture: Picture,
    /// The nodes of namespaces.
    pub namespaces: BTreeMap<NamespaceName, usize>,
    /// The nodes of links that connect others.
    pub segments: BTreeMap<LinkId, usize>,
    /// The edges of links.
    pub edges: BTreeMap<LinkId, Vec<usize>>,
    /// Edges of pairs that the first state does not have.
    pub replaced: BTreeSet<usize>,
    /// The links that are in a bridge.
    masters: BTreeMap<LinkId, LinkId>,
}

impl Topology {
    /// Returns the node that shows what is on a link, and in its namespace otherwise.
    pub fn owner(&self, id: &LinkId) -> Option<usize> {
        let master = || self.segments.get(self.masters.get(id)?);
        self.segments.get(id).or_else(master).or_else(|| self.namespaces.get(&id.namespace)).copied()
    }

    /// Returns all nodes of a namespace: its own and those of the links in it.
    pub fn nodes_in(&self, namespace: &NamespaceName) -> Vec<usize> {
        let segments = self.segments.iter().filter(|(id, _)| id.namespace == *namespace).map(|(_, node)| *node);
        self.namespaces.get(namespace).copied().into_iter().chain(segments).collect()
    }
}

/// Returns the topology of a state. Pairs that are in `before` alone are drawn, too, if the state has both ends.
pub fn topology(lab: &LabName, state: &State, before: &State) -> Topology {
    let details = details(raise(lab, state).lab);
    let mut building = Building { state, addresses: addresses(state), details, topology: Topology::default() };
    building.find_masters();
    building.add_nodes(&segments(state));
    building.add_pairs_and_parents();
    building.add_replaced(before);
    building.add_insides();
    building.add_ports();
    building.topology
}

/// Links that connect others: those with ports, and parents of links in other namespaces.
fn segments(state: &State) -> BTreeSet<LinkId> {
    let bridges = state.links.iter().filter(|(_, link)| link.kind.takes_ports()).map(|(id, _)| id.clone());
    let used = state.links.iter().flat_map(|(id, link)| {
        let master = link.settings.master.map(|master| LinkId::new(&id.namespace, master));
        let parent = link.kind.below(&id.namespace).filter(|parent| parent.namespace != id.namespace);
        [master, parent]
    });
    bridges.chain(used.flatten()).collect()
}

/// The addresses of each link, in their order.
fn addresses(state: &State) -> BTreeMap<LinkId, Vec<String>> {
    let all = state.objects::<Address>().iter();
    let mut sorted: Vec<_> = all.map(|((namespace, key), address)| (namespace, key, address.order)).collect();
    sorted.sort_by_key(|(_, _, order)| *order);
    let mut addresses: BTreeMap<LinkId, Vec<String>> = BTreeMap::new();
    for (namespace, key, _) in sorted {
        addresses.entry(LinkId::new(namespace, key.link)).or_default().push(key.address.to_string());
    }
    addresses
}

/// What a lab file says of each namespace, as YAML.
fn details(lab: LabFile) -> BTreeMap<NamespaceName, String> {
    let LabFile { name, namespaces, links: _ } = lab;
    let text = |namespace: &NamespaceName, spec| {
        let namespaces = [(namespace.clone(), spec)].into();
        let text = yaml::lab(&LabFile { name: name.clone(), namespaces, links: Vec::new() });
        let lines = text.lines().skip_while(|line| *line != "namespaces:").skip(1);
        lines.map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect::<String>()
    };
    namespaces.into_iter().map(|(namespace, spec)| (namespace.clone(), text(&namespace, spec))).collect()
}

struct Building<'a> {
    state: &'a State,
    addresses: BTreeMap<LinkId, Vec<String>>,
    /// What a lab file says of each namespace.
    details: BTreeMap<NamespaceName, String>,
    topology: Topology,
}

impl Building<'_> {
    fn find_masters(&mut self) {
        let ports = self.state.links.iter().filter_map(|(id, link)| Some((id, link.settings.master?)));
        self.topology.masters = ports.map(|(id, master)| (id.clone(), LinkId::new(&id.namespace, master))).collect();
    }

    fn links_in<'s>(&'s self, namespace: &'s NamespaceName) -> impl Iterator<Item = (&'s LinkId, &'s Link)> {
        let first = LinkId { namespace: namespace.clone(), ..LinkId::lowest() };
        let links = self.state.links.range(first..).take_while(move |(id, _)| id.namespace == *namespace);
        links.map(|(id, link)| (id, &**link))
    }

    fn parts_in<'s>(&'s self, namespace: &'s NamespaceName) -> impl Iterator<Item = &'s PartKey> {
        let parts = self.state.parts.range((namespace.clone(), PartKey::Node)..);
        parts.map(|(key, _)| key).take_while(move |(place, _)| place == namespace).map(|(_, key)| key)
    }

    /// Adds a node for each namespace with links or addresses of its own, and for each segment.
    fn add_nodes(&mut self, segments: &BTreeSet<LinkId>) {
        let mut namespaces: BTreeSet<NamespaceName> = self.state.namespaces.clone();
        namespaces.extend(self.state.links.keys().map(|id| id.namespace.clone()));
        for namespace in namespaces {
            if self.is_shown(&namespace, segments) {
                let node = self.namespace_node(&namespace, segments);
                self.topology.namespaces.insert(namespace, self.topology.picture.nodes.len());
                self.topology.picture.nodes.push(node);
            }
        }
        for id in segments {
            let node = self.segment_node(id, segments);
            self.topology.segments.insert(id.clone(), self.topology.picture.nodes.len());
            self.topology.picture.nodes.push(node);
        }
    }

    /// Whether a namespace is more than the place of bridges and their ports.
    fn is_shown(&self, namespace: &NamespaceName, segments: &BTreeSet<LinkId>) -> bool {
        let is_own = |id: &LinkId| match segments.contains(id) {
            true => self.addresses.contains_key(id),
            false => !self.topology.masters.contains_key(id),
        };
        let mut own = self.links_in(namespace).filter(|(id, _)| !id.name.is_loopback()).peekable();
        let is_empty = own.peek().is_none() && !namespace.is_host();
        is_empty || own.any(|(id, _)| is_own(id)) || self.parts_in(namespace).next().is_some()
    }

    fn namespace_node(&self, namespace: &NamespaceName, segments: &BTreeSet<LinkId>) -> Node {
        let mut lines = Vec::new();
        for (id, _) in self.links_in(namespace) {
            let addresses = self.addresses.get(id).map(Vec::as_slice).unwrap_or_default();
            let is_shown_alone = segments.contains(id) || self.topology.masters.contains_key(id) || id.name.is_loopback();
            if !addresses.is_empty() && !segments.contains(id) || !is_shown_alone {
                lines.extend(with_addresses(&id.name.as_str(), addresses));
            }
        }
        lines.extend(self.parts_in(namespace).filter_map(|key| match key {
            PartKey::Process(name) => Some(format!("process {name}")),
            PartKey::Node | PartKey::File(_) | PartKey::Bind(_) => None,
        }));
        Node {
            id: namespace.to_string(),
            kind: NodeKind::Namespace,
            title: namespace.to_string(),
            lines,
            condition: None,
            is_idle: false,
            changes: Vec::new(),
            details: self.details.get(namespace).cloned().unwrap_or_default(),
        }
    }

    fn segment_node(&self, id: &LinkId, segments: &BTreeSet<LinkId>) -> Node {
        let kind = self.state.link(id).map_or("", |link| link.kind.name());
        let of_namespace = segments.iter().filter(|other| other.namespace == id.namespace).count();
        // A namespace with nothing but a bridge and its ports gives its name.
        let is_switch = of_namespace == 1 && !self.topology.namespaces.contains_key(&id.namespace) && !id.namespace.is_host();
        let is_named = self.topology.namespaces.contains_key(&id.namespace);
        let title = match (is_switch, is_named) {
            (true, _) => id.namespace.to_string(),
            (false, true) => id.name.to_string(),
            (false, false) => id.to_string(),
        };
        let name = if is_switch { format!("{kind} {}", id.name) } else { kind.to_owned() };
        let addresses = self.addresses.get(id).into_iter().flatten().cloned();
        let lines = std::iter::once(name.trim().to_owned()).filter(|name| !name.is_empty()).chain(addresses).collect();
        Node {
            id: id.to_string(),
            kind: NodeKind::Segment,
            title,
            lines,
            condition: None,
            is_idle: false,
            changes: Vec::new(),
            details: if is_named { String::new() } else { self.details.get(&id.namespace).cloned().unwrap_or_default() },
        }
    }

    fn end(&self, node: usize, id: &LinkId) -> End {
        let addresses = self.addresses.get(id).cloned().unwrap_or_default();
        End { node, interface: Some(id.name.to_string()), link: Some(id.to_string()), addresses }
    }

    fn connect(&mut self, kind: EdgeKind, ids: [&LinkId; 2], label: Vec<String>) {
        let [Some(one), Some(other)] = ids.map(|id| self.topology.owner(id)) else { return };
        if one == other {
            return;
        }
        let ends = [self.end(one, ids[0]), self.end(other, ids[1])];
        let position = self.topology.picture.edges.len();
        let of = if kind == EdgeKind::Pair { &ids[..] } else { &ids[..1] };
        for id in of {
            self.topology.edges.entry((*id).clone()).or_default().push(position);
        }
        self.topology.picture.edges.push(Edge { kind, ends, label, condition: None, is_idle: false });
    }

    fn add_pairs_and_parents(&mut self) {
        for (id, link) in &self.state.links {
            let peer = link.kind.peer().map(|peer| peer.resolve(&id.namespace));
            if let Some(peer) = peer.filter(|peer| id < peer && self.state.links.contains_key(peer)) {
                let other = self.state.link(&peer).and_then(|link| link.settings.mtu);
                let label = match (link.settings.mtu, other) {
                    (Some(mtu), Some(other)) if mtu == other => vec![format!("mtu {mtu}")],
                    mtus => {
                        let ends = [(id, mtus.0), (&peer, mtus.1)].into_iter();
                        ends.filter_map(|(end, mtu)| Some(format!("mtu {} of {end}", mtu?))).collect()
                    }
                };
                self.connect(EdgeKind::Pair, [id, &peer], label);
            }
            if let Some(parent) = link.kind.below(&id.namespace) {
                let options = link.kind.show().into_iter().filter(|(_, value)| !value.is_array() && !value.is_object());
                let options = options.filter(|(name, _)| *name == "id" || *name == "mode");
                let options =
                    options.map(|(name, value)| format!("{name} {}", value.as_str().map_or(value.to_string(), str::to_owned)));
                let label = std::iter::once(link.kind.name().to_owned()).chain(options).collect();
                self.connect(EdgeKind::Parent, [id, &parent], label);
            }
        }
    }

    /// Draws pairs whose ends have another partner now.
    fn add_replaced(&mut self, before: &State) {
        for (id, link) in &before.links {
            let Some(peer) = link.kind.peer().map(|peer| peer.resolve(&id.namespace)) else { continue };
            let is_new = self.state.link(id).and_then(|link| link.kind.peer()).map(|peer| peer.resolve(&id.namespace))
                != Some(peer.clone());
            if id < &peer && is_new && self.state.links.contains_key(id) && self.state.links.contains_key(&peer) {
                let first = self.topology.picture.edges.len();
                self.connect(EdgeKind::Pair, [id, &peer], Vec::new());
                // Nothing is drawn if both ends are at the same node.
                self.topology.replaced.extend(first..self.topology.picture.edges.len());
            }
        }
    }

    /// Lists the ports of bridges that no edge leads to.
    fn add_ports(&mut self) {
        for (id, link) in &self.state.links {
            let Some(master) = link.settings.master.map(|master| LinkId::new(&id.namespace, master)) else { continue };
            if let (false, Some(node)) = (self.topology.edges.contains_key(id), self.topology.segments.get(&master)) {
                let line = format!("port {} {}", id.name, link.kind.name());
                self.topology.picture.nodes[*node].lines.push(line.trim_end().to_owned());
            }
        }
    }

    /// Connects segments with their namespaces, where nothing else does.
    fn add_insides(&mut self) {
        let connected: BTreeSet<[usize; 2]> = self.topology.picture.edges.iter().map(|edge| sorted(edge.nodes())).collect();
        let segments = self.topology.segments.iter();
        let inside = segments.filter_map(|(id, node)| Some((id.clone(), *node, *self.topology.namespaces.get(&id.namespace)?)));
        let inside: Vec<_> = inside.filter(|(_, node, owner)| !connected.contains(&sorted([*node, *owner]))).collect();
        for (id, node, namespace) in inside {
            let position = self.topology.picture.edges.len();
            let ends = [End { node: namespace, interface: None, link: None, addresses: Vec::new() }, self.end(node, &id)];
            self.topology.edges.entry(id).or_default().push(position);
            let edge = Edge { kind: EdgeKind::Inside, ends, label: Vec::new(), condition: None, is_idle: false };
            self.topology.picture.edges.push(edge);
        }
    }
}

fn sorted([one, other]: [usize; 2]) -> [usize; 2] {
    [one.min(other), one.max(other)]
}

/// One line for an interface and its first address, and one for each further address.
fn with_addresses(name: &str, addresses: &[String]) -> Vec<String> {
    let first = addresses.first().map_or(name.to_owned(), |first| format!("{name} {first}"));
    let indent = " ".repeat(name.chars().count() + 1);
    std::iter::once(first).chain(addresses.iter().skip(1).map(|address| format!("{indent}{address}"))).collect()
}
