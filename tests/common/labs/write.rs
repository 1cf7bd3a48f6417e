//! A drawn lab as the text of a lab file; parts that cannot be there are left out.

#[path = "kinds.rs"]
mod kinds;
#[path = "neighbors.rs"]
mod neighbors;
#[path = "routes.rs"]
mod routes;
#[path = "rules.rs"]
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Below, End, HOST, Lab, Ports, Space};

/// The name of a namespace.
fn space_name(space: u8) -> String {
    if space == HOST { "host".into() } else { format!("n{space}") }
}

/// An object without its empty members.
fn object(members: Vec<(&str, Value)>) -> Value {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    members
        .into_iter()
        .filter(|(_, value)| !empty(value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<Map<_, _>>()
        .into()
}

fn up(down: bool) -> Value {
    if down { json!(false) } else { Value::Null }
}

/// An interface that is written, with what others must know of it.
struct Interface {
    space: u8,
    name: String,
    up: bool,
    port: bool,
    /// Whether it is a port of a VRF.
    in_vrf: bool,
    /// Whether its mtu may be too small for IPv6, because it or a link below it is a tunnel.
    narrow: bool,
    /// Whether it keeps its carrier. A bridge without ports loses it up to a second after it was made, and with it all neighbours that are
    /// not permanent.
    carrier: bool,
}

/// The file while it grows.
struct Writer<'a> {
    lab: &'a Lab,
    interfaces: BTreeMap<String, Interface>,
    altnames: BTreeSet<(u8, u8)>,
    members: BTreeMap<u8, Map<String, Value>>,
    routes: BTreeMap<u8, Vec<Value>>,
    rules: BTreeMap<u8, Vec<Value>>,
    neighbors: BTreeMap<u8, Vec<Value>>,
    links: Vec<Value>,
}

impl Lab {
    /// The lab file.
    pub fn text(&self, name: &str) -> String {
        let mut writer = Writer {
            lab: self,
            interfaces: BTreeMap::new(),
            altnames: BTreeSet::new(),
            members: BTreeMap::new(),
            routes: BTreeMap::new(),
            rules: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            links: Vec::new(),
        };
        writer.external();
        writer.wires();
        writer.dummies();
        writer.bridges();
        writer.vrfs();
        writer.uppers();
        writer.routes();
        writer.rules();
        writer.neighbors();
        serde_yaml::to_string(&writer.file(name)).expect("a lab can be written")
    }

    fn has_space(&self, space: u8) -> bool {
        space == HOST || self.spaces.contains_key(&space)
    }

    /// Whether the pair with that number can be there: both its namespaces must.
    fn has_wire(&self, wire: u8) -> bool {
        self.wires.get(&wire).is_some_and(|wire| wire.ends.iter().all(|end| self.has_space(end.space)))
    }

    fn end(&self, wire: u8, end: u8) -> Option<&End> {
        self.wires.get(&wire).filter(|_| self.has_wire(wire)).map(|wire| &wire.ends[usize::from(end)])
    }
}

/// What an end of a pair may do to packets.
pub const IMPAIRMENTS: [&str; 6] = [
    r#"{ "delay": "10ms" }"#,
    r#"{ "delay": "10ms", "jitter": "2ms", "distribution": "normal" }"#,
    r#"{ "loss": "1%", "duplicate": "0.5%" }"#,
    r#"{ "loss": { "mean": "2%", "run": 3 }, "limit": 500 }"#,
    r#"{ "rate": "10mbit", "queue": "50ms" }"#,
    r#"{ "delay": "10ms", "reorder": "5%", "gap": 3 }"#,
];

fn impairment(number: Option<usize>) -> Value {
    number.map_or(Value::Null, |number| serde_json::from_str(IMPAIRMENTS[number]).expect("an impairment is JSON"))
}

fn end_name(wire: u8, end: u8) -> String {
    format!("w{wire}{}", ['x', 'y'][usize::from(end)])
}

/// The addresses of an end: those below 4 in the pair's first subnet, the others in its second one.
fn inet(wire: u8, end: u8, hosts: &[u8]) -> Vec<String> {
    hosts.iter().map(|host| format!("10.{wire}.{}.{}/24", host / 4, u32::from(end) * 100 + u32::from(*host) + 1)).collect()
}

fn inet6(wire: u8, end: u8, hosts: &[u8]) -> Vec<String> {
    hosts.iter().map(|host| format!("fd00:{wire}:{}::{:x}/64", host / 4, u32::from(end) * 256 + u32::from(*host) + 1)).collect()
}

impl Writer<'_> {
    /// All that is written so far.
    fn file(&self, name: &str) -> Value {
        let spaces = self.lab.spaces.keys().copied().chain([HOST]);
        let spaces = spaces.filter_map(|space| Some((space_name(space), self.space(space)?)));
        object(vec![
            ("name", json!(name)),
            ("namespaces", spaces.collect::<Map<_, _>>().into()),
            ("links", self.links.clone().into()),
        ])
    }

    fn add(&mut self, key: String, space: u8, name: &str, down: bool, members: Value) {
        let interface =
            Interface { space, name: name.into(), up: !down, port: false, in_vrf: false, narrow: false, carrier: true };
        self.interfaces.insert(key, interface);
        self.members.entry(space).or_default().insert(name.into(), members);
    }

    fn set_carrier(&mut self, key: &str, carrier: bool) {
        self.interfaces.entry(key.to_owned()).and_modify(|interface| interface.carrier = carrier);
    }

    /// An alternative name, if nobody in the namespace has it.
    fn altname(&mut self, space: u8, altname: Option<u8>) -> Value {
        match altname.filter(|altname| self.altnames.insert((space, *altname))) {
            Some(altname) => json!([format!("other{altname}")]),
            None => Value::Null,
        }
    }

    fn external(&mut self) {
        let Some(external) = &self.lab.external else { return };
        let addresses: Vec<_> = external
            .inet
            .map(|host| format!("172.20.0.{host}/24"))
            .into_iter()
            .chain(external.inet6.map(|host| format!("fd20::{host}/64")))
            .collect();
        let members = object(vec![
            ("external", json!(true)),
            ("addresses", addresses.into()),
            ("mtu", json!(external.mtu)),
            ("txqueuelen", json!(external.queue)),
        ]);
        self.add("external".into(), HOST, "eth0", false, members);
    }

    fn wires(&mut self) {
        let lab = self.lab;
        for (number, wire) in lab.wires.iter().filter(|(number, _)| lab.has_wire(**number)) {
            let mut ends = Vec::new();
            for (side, end) in (0..).zip(&wire.ends) {
                let name = end_name(*number, side);
                let addresses: Vec<_> =
                    inet(*number, side, &end.inet).into_iter().chain(inet6(*number, side, &end.inet6)).collect();
                let mac = end.mac.map(|mac| format!("02:aa:00:{number:02x}:{side:02x}:{mac:02x}"));
                let sysctls = object(vec![("ipv4.rp_filter", json!(end.rp_filter)), ("ipv4.forwarding", json!(end.forwarding))]);
                let altnames = self.altname(end.space, end.altname);
                let members = object(vec![
                    ("interface", format!("{}:{name}", space_name(end.space)).into()),
                    ("addresses", addresses.into()),
                    ("mac", json!(mac)),
                    ("mtu", json!(end.mtu)),
                    ("up", up(end.down)),
                    ("txqueuelen", json!(end.queue)),
                    ("altnames", altnames),
                    ("sysctls", sysctls),
                    ("impair", impairment(end.impair)),
                ]);
                let key = format!("wire {number} {side}");
                self.add(key.clone(), end.space, &name, end.down, Value::Null);
                let other = &wire.ends[usize::from(1 - side)];
                self.set_carrier(&key, !end.down && !other.down);
                ends.push(members);
            }
            self.links.push(object(vec![("endpoints", ends.into()), ("mtu", json!(wire.mtu))]));
        }
        // The ends stand under `links`.
        for members in self.members.values_mut() {
            members.retain(|_, members| !members.is_null());
        }
    }

    fn dummies(&mut self) {
        let lab = self.lab;
        for (number, dummy) in lab.dummies.iter().filter(|(_, dummy)| lab.has_space(dummy.space)) {
            let inet = dummy.inet.iter().map(|host| format!("10.100.{number}.{host}/32"));
            let inet6 = dummy.inet6.iter().map(|host| format!("fd00:100:{number}::{host}/128"));
            let altnames = self.altname(dummy.space, dummy.altname);
            let members = object(vec![
                ("addresses", inet.chain(inet6).collect::<Vec<_>>().into()),
                ("mtu", json!(dummy.mtu)),
                ("altnames", altnames),
                ("up", up(dummy.down)),
            ]);
            let members = with_kind(members, "dummy", json!({}));
            self.add(format!("dummy {number}"), dummy.space, &format!("d{number}"), dummy.down, members);
        }
    }

    fn bridges(&mut self) {
        let lab = self.lab;
        for (number, bridge) in lab.bridges.iter().filter(|(_, bridge)| lab.has_space(bridge.space)) {
            let free: Vec<_> = self
                .interfaces
                .iter()
                .filter(|(key, interface)| key.starts_with("wire") && interface.space == bridge.space && !interface.port)
                .map(|(key, interface)| (key.clone(), interface.name.clone()))
                .collect();
            let taken = self.interfaces.values().any(|interface| interface.space == bridge.space && interface.port);
            let (keys, ports): (Vec<String>, Vec<String>) = match &bridge.ports {
                Ports::Glob if !free.is_empty() && !taken => (free.into_iter().map(|(key, _)| key).collect(), vec!["w*".into()]),
                Ports::Glob => (Vec::new(), Vec::new()),
                Ports::Named(ends) => {
                    let wanted: BTreeSet<_> = ends.iter().map(|end| format!("wire {} {}", end / 2, end % 2)).collect();
                    free.into_iter().filter(|(key, _)| wanted.contains(key)).unzip()
                }
            };
            let mut options = kinds::options("bridge", Value::Null, &bridge.options).unwrap_or_default();
            for key in keys {
                if self.port(&key) {
                    options.insert("vlan_filtering".into(), true.into());
                }
            }
            if !ports.is_empty() {
                options.insert("ports".into(), ports.into());
            }
            let addresses: Vec<_> = bridge
                .inet
                .map(|host| format!("10.8{number}.0.{host}/24"))
                .into_iter()
                .chain(bridge.inet6.map(|host| format!("fd00:8{number}::{host}/64")))
                .collect();
            let members = object(vec![("addresses", addresses.into()), ("mtu", json!(bridge.mtu)), ("up", up(bridge.down))]);
            let members = with_kind(members, "bridge", options.into());
            let key = format!("bridge {number}");
            self.add(key.clone(), bridge.space, &format!("br{number}"), bridge.down, members);
            self.set_carrier(&key, false);
        }
    }

    fn vrfs(&mut self) {
        let lab = self.lab;
        for (number, vrf) in lab.vrfs.iter().filter(|(_, vrf)| lab.has_space(vrf.space)) {
            let mut ports = Vec::new();
            for end in &vrf.ports {
                let found = self.interfaces.get_mut(&format!("wire {} {}", end / 2, end % 2));
                let Some(interface) = found.filter(|interface| interface.space == vrf.space && !interface.port) else { continue };
                (interface.port, interface.in_vrf) = (true, true);
                ports.push(interface.name.clone());
            }
            let inet = vrf.inet.map(|host| format!("10.7{number}.0.{host}/32"));
            let inet6 = vrf.inet6.map(|host| format!("fd00:7{number}::{host}/128"));
            let addresses = inet.into_iter().chain(inet6).collect::<Vec<_>>();
            let members = object(vec![("addresses", addresses.into()), ("up", up(vrf.down))]);
            // Two may share a table, which routes use too.
            let mut options = json!({ "table": 101 + u32::from(vrf.table) });
            if !ports.is_empty() {
                options["ports"] = ports.into();
            }
            let members = with_kind(members, "vrf", options);
            self.add(format!("vrf {number}"), vrf.space, &format!("vrf{number}"), vrf.down, members);
        }
    }

    /// Whether an end of a pair is a port of a VRF.
    fn in_vrf(&self, wire: u8, end: u8) -> bool {
        self.interfaces.get(&format!("wire {wire} {end}")).is_some_and(|interface| interface.in_vrf)
    }

    /// Makes an end of a pair a port of a bridge, with its options. Returns whether the bridge must filter by VLAN for them.
    fn port(&mut self, key: &str) -> bool {
        let interface = self.interfaces.get_mut(key).expect("it was found there");
        interface.port = true;
        let numbers: Vec<u8> = key.split(' ').filter_map(|word| word.parse().ok()).collect();
        let drawn = self.lab.end(numbers[0], numbers[1]).map(|end| &end.port_options).filter(|drawn| !drawn.is_empty());
        let Some((key, options)) = drawn.and_then(|drawn| kinds::port_options("bridge", drawn)) else { return false };
        let has_vlans = options.contains_key("vlans");
        self.members.entry(interface.space).or_default().insert(interface.name.clone(), json!({ key: options }));
        has_vlans
    }

    fn below(&self, below: Below) -> Option<String> {
        let key = match below {
            Below::Wire(wire, end) => format!("wire {wire} {end}"),
            Below::Bridge(number) => format!("bridge {number}"),
            Below::Dummy(number) => format!("dummy {number}"),
            Below::Upper(number) => format!("upper {number}"),
            Below::External => "external".into(),
        };
        self.interfaces.contains_key(&key).then_some(key)
    }

    /// How an interface refers to the one below it.
    fn reference(&self, key: &str, space: u8) -> Value {
        let below = &self.interfaces[key];
        if below.space == space { json!(below.name) } else { json!(format!("{}:{}", space_name(below.space), below.name)) }
    }

    fn space(&self, space: u8) -> Option<Value> {
        let mut interfaces = self.members.get(&space).cloned().unwrap_or_default();
        let routes = self.routes.get(&space).cloned().unwrap_or_default();
        let rules = self.rules.get(&space).cloned().unwrap_or_default();
        let neighbors = self.neighbors.get(&space).cloned().unwrap_or_default();
        let nothing = Space::default();
        let settings = self.lab.spaces.get(&space).unwrap_or(&nothing);
        if settings.lo_down {
            interfaces.insert("lo".into(), json!({ "up": false }));
        }
        let sysctls = object(vec![
            ("net.ipv4.ip_forward", json!(settings.ip_forward)),
            ("net.ipv4.conf.default.forwarding", json!(settings.default_forwarding)),
            ("net.ipv6.conf.all.forwarding", json!(settings.forwarding_ipv6)),
            ("net.ipv4.conf.default.rp_filter", json!(settings.default_rp_filter)),
            ("net.ipv4.conf.all.rp_filter", json!(settings.all_rp_filter)),
            ("net.ipv6.conf.default.accept_ra", json!(settings.default_accept_ra)),
            ("net.ipv4.ip_default_ttl", json!(settings.ttl)),
        ]);
        let file =
            settings.file.filter(|_| space != HOST).map_or(Value::Null, |number| json!({ "content": format!("{number}") }));
        let process = settings.process.filter(|_| space != HOST).map_or(Value::Null, |number| {
            let depends = if file.is_null() { Value::Null } else { json!(["/etc/motd"]) };
            object(vec![
                ("command", json!("trap '' HUP; exec sleep 1000")),
                ("env", json!({ "N": format!("{number}") })),
                (if number == 1 { "reload_on" } else { "restart_on" }, depends),
            ])
        });
        let binds: Vec<Value> = settings.bind.filter(|_| space != HOST).map_or_else(Vec::new, |number| {
            let source = if number < 2 { "/usr" } else { "/etc" };
            vec![json!({ "source": source, "target": "/srv", "readonly": number % 2 == 1 })]
        });
        let members = object(vec![
            ("interfaces", interfaces.into()),
            ("routes", routes.into()),
            ("rules", rules.into()),
            ("neighbors", neighbors.into()),
            ("sysctls", sysctls),
            ("hostname", json!(settings.hostname.filter(|_| space != HOST).map(|number| format!("h{number}")))),
            ("files", object(vec![("/etc/motd", file)])),
            ("processes", object(vec![("p", process)])),
            ("binds", binds.into()),
        ]);
        (space != HOST || members != json!({})).then_some(members)
    }
}

/// An interface with its kind, which is there even if it has no options.
fn with_kind(members: Value, kind: &str, options: Value) -> Value {
    let Value::Object(mut members) = members else { return members };
    members.insert(kind.to_owned(), options);
    members.into()
}
