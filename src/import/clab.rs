//! Topology files of containerlab, <https://containerlab.dev/manual/topo-def-file/>.
//!
//! A node becomes a namespace, whatever its image: what runs in the image has to be declared as processes. A node of the kind `bridge` is a
//! bridge in `host`, and one of the kind `host` is `host` itself.

use serde_json::{Map, Value, json};

use super::{Action, Builder, End, ImportError, Imported, Step, lab_name, left_out, parse_name};
use crate::name::{LabName, LinkId, LinkName, NamespaceName};
use crate::projection::Omitted;
use crate::yaml::diagnostic::Locator;
use crate::yaml::document::{Content, Entry, Node, Span};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Namespace,
    Bridge,
    Host,
}

/// Keys of nodes that are read, or that say nothing about the network or its processes.
const KNOWN: [&str; 6] = ["kind", "exec", "sysctls", "group", "labels", "position"];
/// Kinds of links that connect two nodes.
const VETH: &str = "veth";

/// Reads a topology. `name` is for a lab without one.
///
/// # Errors
/// Fails if the file has no topology, or names that no lab file can have.
pub fn read(document: &Node<'_>, text: &str, lab: Option<LabName>, file_name: &str) -> Result<Imported, ImportError> {
    let locator = Locator::new(text);
    let top = entries(document);
    let own_name = get(top, "name").and_then(|entry| scalar(&entry.value)).unwrap_or(file_name);
    let topology = get(top, "topology").ok_or_else(|| ImportError::invalid("the file", "there is no `topology`"))?;
    let topology = map(&topology.value, "topology")?;
    for key in ["defaults", "kinds", "groups", "nodes"] {
        get(topology, key).map_or(Ok(&[][..]), |entry| map(&entry.value, key))?;
    }
    if get(topology, "links").is_some_and(|entry| !matches!(entry.value.content, Content::Sequence(_)) && !entry.value.is_null())
    {
        return Err(ImportError::invalid("`links`", "it is no list"));
    }
    let mut imported = Topology {
        locator: &locator,
        builder: Builder::new(lab.unwrap_or_else(|| lab_name(own_name))),
        nodes: Vec::new(),
        steps: Vec::new(),
        omitted: Vec::new(),
    };
    let [defaults, kinds, groups] = ["defaults", "kinds", "groups"].map(|key| section(topology, key));
    let shared = Shared { defaults, kinds, groups };
    imported.list_unknown("", top, &["name", "prefix", "topology"]);
    imported.list_unknown("topology", topology, &["defaults", "kinds", "groups", "nodes", "links"]);
    imported.list_unsupported("defaults", shared.defaults);
    for (section, all) in [("kinds", shared.kinds), ("groups", shared.groups)] {
        for entry in all {
            imported.list_unsupported(&format!("{section}.{}", entry.key), entries(&entry.value));
        }
    }
    for entry in section(topology, "nodes") {
        imported.node(entry, &shared)?;
    }
    let links = get(topology, "links").map_or(&[][..], |entry| items(&entry.value));
    for link in links {
        imported.link(link)?;
    }
    let Topology { builder, steps, omitted, .. } = imported;
    builder.finish(steps, omitted)
}

/// What several nodes have in common.
struct Shared<'a, 't> {
    defaults: &'a [Entry<'t>],
    kinds: &'a [Entry<'t>],
    groups: &'a [Entry<'t>],
}

struct Topology<'a, 't> {
    locator: &'a Locator<'t>,
    builder: Builder,
    nodes: Vec<(String, Kind)>,
    steps: Vec<Step>,
    omitted: Vec<Omitted>,
}

impl Topology<'_, '_> {
    fn place(&self, span: Span) -> String {
        format!("line {}", self.locator.locate(span)[0].line)
    }

    fn node(&mut self, node: &Entry<'_>, shared: &Shared<'_, '_>) -> Result<(), ImportError> {
        let place = self.place(node.key_span);
        let own = entries(&node.value);
        let group =
            get(own, "group").and_then(|entry| scalar(&entry.value)).map_or(&[][..], |group| section(shared.groups, group));
        let kind_of = |keys| get(keys, "kind").and_then(|entry: &Entry<'_>| scalar(&entry.value));
        let word = kind_of(own).or_else(|| kind_of(group)).or_else(|| kind_of(shared.defaults)).unwrap_or("linux");
        let kind = match word {
            "bridge" | "ovs-bridge" => Kind::Bridge,
            "host" => Kind::Host,
            _ => Kind::Namespace,
        };
        let of_kind = section(shared.kinds, word);
        let namespace: NamespaceName = match kind {
            Kind::Namespace => {
                let namespace: NamespaceName = parse_name(&node.key, &place)?;
                if namespace.is_host() {
                    return Err(ImportError::invalid(place, "a node of this kind cannot be called `host`"));
                }
                self.builder.add_namespace(&namespace);
                namespace
            }
            Kind::Bridge => {
                self.builder.add_bridge(parse_name(&node.key, &place)?, None);
                NamespaceName::host()
            }
            Kind::Host => NamespaceName::host(),
        };
        if word == "ovs-bridge" {
            self.omitted.push(left_out(&place, &format!("{}.kind", node.key), "it is a bridge of Linux here"));
        }
        self.nodes.push((node.key.to_string(), kind));
        // Commands and settings of all levels count, the most general ones first.
        for keys in [shared.defaults, of_kind, group, own] {
            self.commands(keys, &namespace);
            for sysctl in section(keys, "sysctls").iter().filter(|_| !namespace.is_host()) {
                self.builder.set_sysctl(&namespace, &sysctl.key, scalar(&sysctl.value).unwrap_or_default());
            }
        }
        self.list_unsupported(&node.key, own);
        Ok(())
    }

    /// Lists the keys that are not read.
    fn list_unknown(&mut self, owner: &str, keys: &[Entry<'_>], known: &[&str]) {
        for entry in keys.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let what = if owner.is_empty() { entry.key.to_string() } else { format!("{owner}.{}", entry.key) };
            self.omitted.push(left_out(&self.place(entry.key_span), &what, NO_WORD));
        }
    }

    /// Lists the keys of a node, or of what several nodes have in common, that no lab file can say.
    fn list_unsupported(&mut self, owner: &str, keys: &[Entry<'_>]) {
        for entry in keys.iter().filter(|entry| !KNOWN.contains(&&*entry.key)) {
            let place = self.place(entry.key_span);
            let reason = match &*entry.key {
                "image" | "cmd" | "entrypoint" => {
                    "a namespace has the programs of the machine; declare what is to run as `processes`"
                }
                "binds" => "declare it as `binds` or `files`",
                "env" => "declare it at a process",
                "ports" => "a lab is reached over its own links",
                _ => NO_WORD,
            };
            self.omitted.push(left_out(&place, &format!("{owner}.{}", entry.key), reason));
        }
    }

    fn commands(&mut self, keys: &[Entry<'_>], namespace: &NamespaceName) {
        let Some(commands) = get(keys, "exec") else { return };
        let one = std::slice::from_ref(&commands.value);
        for command in if scalar(&commands.value).is_some() { one } else { items(&commands.value) } {
            if let Some(text) = scalar(command) {
                let place = self.place(command.span);
                self.steps.push(Step { place, namespace: namespace.clone(), action: Action::Command(text.to_owned()) });
            }
        }
    }

    fn link(&mut self, link: &Node<'_>) -> Result<(), ImportError> {
        let keys = entries(link);
        let place = self.place(link.first_span());
        let word = get(keys, "type").and_then(|entry| scalar(&entry.value)).unwrap_or(VETH);
        if word == "host"
            && let Some((endpoint, outer)) =
                get(keys, "endpoint").zip(get(keys, "host-interface").and_then(|entry| scalar(&entry.value)))
        {
            let Some(end) = self.end(&endpoint.value, &place)? else { return Ok(()) };
            let inner = LinkId::new(&end.namespace, self.interface(&end.interface, &place)?);
            let outer = LinkId::new(&NamespaceName::host(), self.interface(outer, &place)?);
            return self.builder.add_link([(inner, end.settings), (outer, Map::new())], None, &place);
        }
        if word != VETH {
            let reason = if word == "dummy" { "declare it as a `dummy`" } else { OUTSIDE };
            self.omitted.push(left_out(&place, &format!("a link of the type {word}"), reason));
            return Ok(());
        }
        let mtu = match get(keys, "mtu").and_then(|entry| scalar(&entry.value)) {
            Some(text) => {
                let mtu = text.parse::<u32>().map_err(|_| ImportError::invalid(&place, format!("`{text}` is no mtu")))?;
                Some(Value::from(mtu))
            }
            None => None,
        };
        let ends = get(keys, "endpoints").map_or(&[][..], |entry| items(&entry.value));
        let [one, other] = ends else {
            return Err(ImportError::invalid(place, "a link has two endpoints"));
        };
        let Some((one, other)) = self.end(one, &place)?.zip(self.end(other, &place)?) else {
            self.omitted.push(left_out(&place, "a link", OUTSIDE));
            return Ok(());
        };
        let mut ends = Vec::new();
        for Endpoint { namespace, interface, bridge, settings } in [one, other] {
            let id = match bridge {
                Some(bridge) => {
                    let port = self.builder.port_name(Some(&interface), &LinkId::new(&namespace, bridge));
                    self.builder.add_bridge(bridge, Some(port));
                    LinkId::new(&NamespaceName::host(), port)
                }
                None => LinkId::new(&namespace, self.interface(&interface, &place)?),
            };
            ends.push((id, settings));
        }
        let ends: [End; 2] = ends.try_into().map_err(|_| ImportError::invalid(&place, "a link has two endpoints"))?;
        self.builder.add_link(ends, mtu, &place)
    }

    /// Returns the name of an interface: `ethernet-1/3` becomes `ethernet-1-3`, and that is listed.
    fn interface(&mut self, text: &str, place: &str) -> Result<LinkName, ImportError> {
        if let Ok(name) = text.parse() {
            return Ok(name);
        }
        let changed: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
        let name = parse_name(&changed, place)?;
        self.omitted.push(left_out(place, &format!("the name {text}"), &format!("the interface is called `{name}`")));
        Ok(name)
    }

    /// Returns an end of a link; `None` if it is not in the lab.
    fn end(&mut self, end: &Node<'_>, place: &str) -> Result<Option<Endpoint>, ImportError> {
        let keys = entries(end);
        let own = |key: &str| get(keys, key).and_then(|entry| scalar(&entry.value));
        let parts = match scalar(end) {
            Some(text) => text.split_once(':'),
            None => own("node").zip(own("interface")),
        };
        let (node, interface) =
            parts.ok_or_else(|| ImportError::invalid(place, "an endpoint is `NODE:INTERFACE`, or has `node` and `interface`"))?;
        if matches!(node, "mgmt-net" | "macvlan") {
            return Ok(None);
        }
        let known = self.nodes.iter().find(|(name, _)| name == node).map(|(_, kind)| *kind);
        let kind = match known {
            Some(kind) => kind,
            None if node == "host" => Kind::Host,
            None => return Err(ImportError::invalid(place, format!("there is no node `{node}`"))),
        };
        let (namespace, bridge) = match kind {
            Kind::Namespace => (parse_name(node, place)?, None),
            Kind::Host => (NamespaceName::host(), None),
            Kind::Bridge => (NamespaceName::host(), Some(parse_name(node, place)?)),
        };
        let mac = own("mac").map(|mac| ("mac".to_owned(), Value::from(mac)));
        let addresses: Vec<&str> = [own("ipv4"), own("ipv6")].into_iter().flatten().collect();
        let addresses = (!addresses.is_empty()).then(|| ("addresses".to_owned(), json!(addresses)));
        let settings = mac.into_iter().chain(addresses).collect();
        Ok(Some(Endpoint { namespace, interface: interface.to_owned(), bridge, settings }))
    }
}

/// Why a link is left out.
const OUTSIDE: &str = "it leads out of the lab";
const NO_WORD: &str = "a lab file has no word for it";

/// An end of a link that is in the lab.
struct Endpoint {
    namespace: NamespaceName,
    /// The name of the interface in the topology.
    interface: String,
    /// The bridge in `host` whose port it is to be.
    bridge: Option<LinkName>,
    settings: Map<String, Value>,
}

/// Returns the entries of a map, which may be empty.
fn map<'a, 't>(node: &'a Node<'t>, key: &str) -> Result<&'a [Entry<'t>], ImportError> {
    match &node.content {
        Content::Mapping(entries) => Ok(entries),
        _ if node.is_null() => Ok(&[]),
        Content::Scalar(_) | Content::Sequence(_) => Err(ImportError::invalid(format!("`{key}`"), "it is no map")),
    }
}

fn entries<'a, 't>(node: &'a Node<'t>) -> &'a [Entry<'t>] {
    match &node.content {
        Content::Mapping(entries) => entries,
        Content::Scalar(_) | Content::Sequence(_) => &[],
    }
}

fn items<'a, 't>(node: &'a Node<'t>) -> &'a [Node<'t>] {
    match &node.content {
        Content::Sequence(items) => items,
        Content::Scalar(_) | Content::Mapping(_) => &[],
    }
}

fn scalar<'a>(node: &'a Node<'_>) -> Option<&'a str> {
    match &node.content {
        Content::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => None,
    }
}

/// Returns the entries of the map under a key; none if there is no such map.
fn section<'a, 't>(all: &'a [Entry<'t>], key: &str) -> &'a [Entry<'t>] {
    get(all, key).map_or(&[][..], |entry| entries(&entry.value))
}

fn get<'a, 't>(entries: &'a [Entry<'t>], key: &str) -> Option<&'a Entry<'t>> {
    entries.iter().find(|entry| entry.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn imported(text: &str) -> Result<Imported, ImportError> {
        let document = crate::yaml::parse::parse(text, &mut Vec::new()).unwrap();
        read(&document.root, text, None, "ring")
    }

    #[test]
    fn nodes_links_bridges_and_commands_are_taken() {
        let text = "\
name: frr01
topology:
  kinds:
    linux: { image: alpine }
  defaults: { kind: linux }
  nodes:
    r1:
      image: frr
      exec: [ip address add 10.0.0.1/24 dev eth1]
    r2: { kind: linux, sysctls: { net.ipv4.ip_forward: 1 }, exec: [\"ip link set eth1 mtu 1400\"] }
    br: { kind: bridge }
  links:
    - endpoints: [\"r1:eth1\", \"r2:eth1\"]
      mtu: 1500
    - endpoints: [\"r1:eth2\", \"br:p1\"]
    - type: veth
      endpoints: [{ node: r2, interface: eth2, mac: \"02:00:00:00:00:01\" }, { node: host, interface: up0 }]
    - endpoints: [\"br:p9\", \"mgmt-net:x\"]
    - { type: host, endpoint: { node: r1, interface: ethernet-1/3 }, host-interface: up1 }
    - { type: dummy, endpoint: { node: r1, interface: d0 } }
mgmt: { network: x }
";
        let Imported { lab, steps, omitted } = imported(text).unwrap();
        let yaml = crate::report::yaml::lab(&lab);
        let expected = "\
name: frr01
namespaces:
  host:
    interfaces:
      br:
        bridge: { ports: [p1] }
  r1: {}
  r2:
    sysctls:
      net.ipv4.ip_forward: 1
links:
  - { endpoints: [r1:eth1, r2:eth1], mtu: 1500 }
  - endpoints: [r1:eth2, host:p1]
  - endpoints:
      - { interface: r2:eth2, mac: 02:00:00:00:00:01 }
      - host:up0
  - endpoints: [r1:ethernet-1-3, host:up1]
";
        assert_eq!(yaml, expected);
        let places: Vec<_> = steps.iter().map(|step| (step.place.as_str(), step.namespace.as_str())).collect();
        assert_eq!(places, [("line 9", "r1"), ("line 10", "r2")]);
        let omitted: Vec<_> = omitted.iter().map(|omitted| omitted.what.as_str()).collect();
        assert_eq!(
            omitted,
            [
                "line 21: mgmt",
                "line 4: kinds.linux.image",
                "line 8: r1.image",
                "line 18: a link",
                "line 19: the name ethernet-1/3",
                "line 20: a link of the type dummy"
            ]
        );
    }

    #[test]
    fn what_cannot_be_a_lab_is_an_error_with_its_line() {
        for (text, error) in [
            ("name: a", "the file: there is no `topology`"),
            ("topology: { nodes: { 'a b': {} } }", "line 1: "),
            ("topology: { nodes: [a] }", "`nodes`: it is no map"),
            ("topology: []", "`topology`: it is no map"),
            ("topology: { links: 5 }", "`links`: it is no list"),
            ("topology: { nodes: { a: {} }, links: [{ endpoints: [\"a:e\", \"b:e\"] }] }", "line 1: there is no node `b`"),
            ("topology: { nodes: { a: {}, b: {} }, links: [{ endpoints: [\"a:e\"] }] }", "line 1: a link has two endpoints"),
        ] {
            let found = imported(text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
