//! The networks to measure. One description serves the raw program and topo's lab file.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// The lab's name.
pub const LAB: &str = "floor";
/// The number of ports of a bridge; the kernel allows 1023.
pub const PORTS: usize = 1000;

/// An endpoint of a veth pair.
pub struct End {
    /// The namespace; `None` for `host`, where the endpoint is a port of a bridge: the first thousand pairs of the first bridge, and so on.
    pub namespace: Option<usize>,
    pub name: String,
    pub address: Option<(Ipv4Addr, u8)>,
}

pub struct Route {
    /// `None` for the default route.
    pub to: Option<(Ipv4Addr, u8)>,
    pub via: Ipv4Addr,
    /// The pair and its endpoint that lead to the gateway.
    pub over: (usize, usize),
}

#[derive(Default)]
pub struct Namespace {
    pub name: String,
    pub forwards: bool,
    pub routes: Vec<Route>,
    /// The endpoints in it, by pair and endpoint.
    pub ends: Vec<(usize, usize)>,
}

pub struct Network {
    pub name: String,
    /// The addresses of the bridges in `host`, named `bridge0`, `bridge1` and so on.
    pub bridges: Vec<(Ipv4Addr, u8)>,
    pub namespaces: Vec<Namespace>,
    pub pairs: Vec<[End; 2]>,
}

impl Network {
    /// Parses `star-N`, `torus-N` (N × N routers) or `fat-tree-K`.
    pub fn named(name: &str) -> Option<Self> {
        let (shape, size) = name.rsplit_once('-')?;
        let size: usize = size.parse().ok()?;
        match shape {
            "star" => Some(star(name, size)),
            "torus" => Some(torus(name, size)),
            "fat-tree" => Some(fat_tree(name, size)),
            _ => None,
        }
    }

    fn new(name: &str) -> Self {
        Self { name: name.into(), bridges: Vec::new(), namespaces: Vec::new(), pairs: Vec::new() }
    }

    fn add_namespace(&mut self, name: String, forwards: bool) -> usize {
        self.namespaces.push(Namespace { name, forwards, ..Namespace::default() });
        self.namespaces.len() - 1
    }

    fn add_pair(&mut self, ends: [End; 2]) -> usize {
        let pair = self.pairs.len();
        for (position, end) in ends.iter().enumerate() {
            if let Some(namespace) = end.namespace {
                self.namespaces[namespace].ends.push((pair, position));
            }
        }
        self.pairs.push(ends);
        pair
    }

    /// Adds a veth pair between two namespaces, with a /31 from 10.0.0.0/8. Each endpoint is named after the namespace of its peer.
    fn connect(&mut self, a: usize, b: usize) -> usize {
        let first = 0x0a00_0000 + u32::try_from(self.pairs.len()).expect("few pairs") * 2;
        let ends = [(a, b, 0), (b, a, 1)].map(|(namespace, other, offset)| End {
            namespace: Some(namespace),
            name: format!("to-{}", self.namespaces[other].name),
            address: Some((Ipv4Addr::from(first + offset), 31)),
        });
        self.add_pair(ends)
    }

    /// Adds a route in the namespace of that endpoint, with the peer as gateway.
    fn route(&mut self, pair: usize, from: usize, to: Option<(Ipv4Addr, u8)>) {
        let ends = &self.pairs[pair];
        let (Some(namespace), Some((via, _))) = (ends[from].namespace, ends[1 - from].address) else { return };
        self.namespaces[namespace].routes.push(Route { to, via, over: (pair, from) });
    }

    /// Returns the lab file.
    pub fn yaml(&self) -> String {
        let mut text = format!("name: {LAB}\nnamespaces:\n");
        if !self.bridges.is_empty() {
            text += "  host:\n    interfaces:\n";
        }
        for (number, (address, length)) in self.bridges.iter().enumerate() {
            let pairs = self.pairs.iter().skip(number * PORTS).take(PORTS);
            let ports: Vec<&str> = pairs.map(|[port, _]| port.name.as_str()).collect();
            let ports = ports.join(", ");
            let _ = writeln!(text, "      bridge{number}:");
            let _ = writeln!(text, "        bridge: {{ ports: [{ports}] }}\n        addresses: [{address}/{length}]");
        }
        for namespace in &self.namespaces {
            let _ = writeln!(text, "  {}:", namespace.name);
            if namespace.forwards {
                let _ = writeln!(text, "    sysctls: {{ net.ipv4.ip_forward: 1 }}");
            }
            let _ = writeln!(text, "    interfaces:");
            for (pair, end) in &namespace.ends {
                let End { name, address, .. } = &self.pairs[*pair][*end];
                let address = address.map_or(String::new(), |(address, length)| format!("{address}/{length}"));
                let _ = writeln!(text, "      {name}: {{ addresses: [{address}] }}");
            }
            if !namespace.routes.is_empty() {
                let _ = writeln!(text, "    routes:");
            }
            for route in &namespace.routes {
                let to = route.to.map_or("default".into(), |(to, length)| format!("{to}/{length}"));
                let _ = writeln!(text, "      - {{ to: {to}, via: {} }}", route.via);
            }
        }
        let _ = writeln!(text, "links:");
        for ends in &self.pairs {
            let names = ends.each_ref().map(|end| {
                let namespace = end.namespace.map_or("host", |namespace| self.namespaces[namespace].name.as_str());
                format!("{namespace}:{}", end.name)
            });
            let _ = writeln!(text, "  - endpoints: [{}]", names.join(", "));
        }
        text
    }
}

/// Namespaces on bridges in `host`, a thousand on each, with default routes to them.
fn star(name: &str, size: usize) -> Network {
    let mut network = Network::new(name);
    for number in 0..u32::try_from(size).expect("a small number") {
        let (subnet, host) = (number / 1000, number % 1000);
        let bridge = Ipv4Addr::from(0x0a00_0001 + (subnet << 16));
        if host == 0 {
            network.bridges.push((bridge, 16));
        }
        let namespace = network.add_namespace(format!("n{number:05}"), false);
        let address = Ipv4Addr::from(u32::from(bridge) + 1 + host);
        let pair = network.add_pair([
            End { namespace: None, name: format!("p{number:05}"), address: None },
            End { namespace: Some(namespace), name: "eth0".into(), address: Some((address, 16)) },
        ]);
        network.namespaces[namespace].routes.push(Route { to: None, via: bridge, over: (pair, 1) });
    }
    network
}

/// Routers in a grid with connected edges, each with routes to the east and to the south.
fn torus(name: &str, size: usize) -> Network {
    let mut network = Network::new(name);
    for place in 0..size * size {
        network.add_namespace(format!("r{:02}x{:02}", place / size, place % size), true);
    }
    for place in 0..size * size {
        let (row, column) = (place / size, place % size);
        for neighbour in [row * size + (column + 1) % size, (row + 1) % size * size + column] {
            network.connect(place, neighbour);
        }
    }
    for place in 0..size * size {
        network.route(place * 2, 0, None);
        network.route(place * 2 + 1, 0, Some((Ipv4Addr::new(172, 16, 0, 0), 12)));
    }
    network
}

/// K pods of K/2 edge and K/2 aggregation routers, K²/4 core routers, K³/4 hosts.
fn fat_tree(name: &str, size: usize) -> Network {
    let half = size / 2;
    let mut network = Network::new(name);
    let core: Vec<usize> = (0..half * half).map(|number| network.add_namespace(format!("core{number}"), true)).collect();
    let mut up = Vec::new();
    for pod in 0..size {
        let aggregation: Vec<usize> = (0..half).map(|number| network.add_namespace(format!("p{pod}a{number}"), true)).collect();
        for (number, router) in aggregation.iter().enumerate() {
            let ways: Vec<usize> = (0..half).map(|way| network.connect(*router, core[number * half + way])).collect();
            up.push(ways[0]);
        }
        for number in 0..half {
            let edge = network.add_namespace(format!("p{pod}e{number}"), true);
            let ways: Vec<usize> = aggregation.iter().map(|router| network.connect(edge, *router)).collect();
            up.push(ways[0]);
            for host in 0..half {
                let host = network.add_namespace(format!("p{pod}h{number}{host}"), false);
                up.push(network.connect(host, edge));
            }
        }
    }
    for pair in up {
        network.route(pair, 0, None);
    }
    network
}
