//! The inverse of [`crate::lower`]: turns a state into a lab file.

mod devices;
mod refused;

pub use devices::leave_out as leave_out_devices;
pub use refused::remove as remove_refused;

use std::collections::BTreeMap;

use crate::lower::default_isolation;
use crate::name::NamePattern;
use crate::name::{LabName, LinkId};
use crate::resource::link::{Kind, Link, LinkSettings, Queues, for_each_setting};
use crate::resource::node::{Part, PartKey, process};
use crate::resource::object::for_each_object;
use crate::resource::object::table::Registered;
use crate::spec::LabFile;
use crate::spec::file::{Endpoint, InterfaceSpec, LinkSpec, Listed, NamespaceSpec, SysctlValue};
use crate::spec::single::Single;
use crate::state::State;

/// The lab file of a state.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The lab.
    pub lab: LabFile,
    /// Links that a lab file cannot describe: links of an unknown kind, and ends of pairs whose other end is not in the state.
    pub omitted: Vec<LinkId>,
}

/// Returns the lab file that describes a state. Omits defaults: `lo`, inherited sysctls, and the isolation that a
/// node's keys need.
pub fn raise(name: &LabName, state: &State) -> Raised {
    let namespaces = state.namespaces.iter().map(|namespace| (namespace.clone(), NamespaceSpec::default())).collect();
    let lab = LabFile { name: name.clone(), namespaces, links: Vec::new() };
    let mut raising = Raising { state, lab, omitted: Vec::new() };
    raising.links();
    raising.objects();
    raising.sysctls();
    raising.ignore();
    raising.nodes();
    raising.isolation();
    Raised { lab: raising.lab, omitted: raising.omitted }
}

struct Raising<'s> {
    state: &'s State,
    lab: LabFile,
    omitted: Vec<LinkId>,
}

impl Raising<'_> {
    fn links(&mut self) {
        let state = self.state;
        let mut ports: BTreeMap<LinkId, Vec<NamePattern>> = BTreeMap::new();
        for (id, link) in &state.links {
            if let Some(master) = link.settings.master {
                let port = NamePattern(id.name.to_string());
                ports.entry(LinkId::new(&id.namespace, master)).or_default().push(port);
            }
        }
        for (id, link) in &state.links {
            let mut spec = InterfaceSpec::default();
            take_settings(&mut spec, &link.settings);
            if let Some(port) = link.port.as_ref().filter(|port| !port.show().is_empty()) {
                spec.set_port(port);
            }
            let is_expressible = match &**link {
                link if link.kind.is_loopback() => true,
                Link { external: true, .. } => {
                    spec.external = Some(true);
                    true
                }
                link if link.kind.is_pair() => self.pair(id, link),
                link => {
                    (spec.numtxqueues, spec.numrxqueues) = queues(link);
                    spec.set_kind(&kind(id, link, ports.remove(id).unwrap_or_default()))
                }
            };
            let is_implied = link.kind.is_pair() || link.kind.is_loopback() && !id.namespace.is_host();
            if !is_expressible {
                self.omitted.push(id.clone());
            } else if !is_implied || spec != InterfaceSpec::default() {
                let namespace = self.lab.namespaces.entry(id.namespace.clone()).or_default();
                namespace.interfaces.insert(id.name, Box::new(spec));
            }
        }
    }

    /// Adds a pair, if the link is its first end. Returns whether the other end exists.
    fn pair(&mut self, id: &LinkId, link: &Link) -> bool {
        let peer = link.kind.peer().map(|peer| peer.resolve(&id.namespace));
        let Some(peer) = peer.filter(|peer| self.state.links.contains_key(peer)) else { return false };
        if *id < peer {
            let (transmit, receive) = queues(link);
            self.lab.links.push(LinkSpec {
                endpoints: vec![Endpoint::Short(id.clone()), Endpoint::Short(peer)],
                mtu: None,
                up: None,
                txqueuelen: None,
                numtxqueues: transmit,
                numrxqueues: receive,
                impair: Single::default(),
            });
        }
        true
    }

    fn add<O: Registered + Listed>(&mut self) {
        let mut objects: Vec<_> = self.state.objects::<O>().iter().collect();
        objects.sort_by_key(|(_, value)| value.rank());
        for ((namespace, key), value) in objects {
            let namespace = self.lab.namespaces.entry(namespace.clone()).or_default();
            let link = O::links(key, value).into_iter().next().flatten();
            O::add(namespace, link, O::raise(key, value));
        }
    }

    fn sysctls(&mut self) {
        for ((namespace, key), sysctl) in self.state.sysctls.iter().filter(|(_, sysctl)| !sysctl.inherited) {
            let value = SysctlValue(sysctl.value.clone());
            let of_interface = key.name_in_link().and_then(|name| {
                let link = key.link().filter(|link| self.state.links.contains_key(&LinkId::new(namespace, *link)))?;
                Some((link, name))
            });
            let spec = self.lab.namespaces.entry(namespace.clone()).or_default();
            match of_interface {
                Some((link, name)) => spec.interfaces.entry(link).or_default().sysctls.insert(name, value),
                None => spec.sysctls.insert(key.to_string(), value),
            };
        }
    }
}

impl Raising<'_> {
    fn ignore(&mut self) {
        for (namespace, ignored) in self.state.ignore.iter() {
            let spec = self.lab.namespaces.entry(namespace.clone()).or_default();
            for (link, words) in ignored.iter() {
                match link {
                    None => spec.ignore.extend(words),
                    Some(link) if self.state.links.contains_key(&LinkId::new(namespace, link)) => {
                        spec.interfaces.entry(link).or_default().ignore.extend(words);
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

impl Raising<'_> {
    /// Adds the nodes and what is in them. Files that are not text cannot be described.
    fn nodes(&mut self) {
        for ((namespace, key), part) in &self.state.parts {
            let spec = self.lab.namespaces.entry(namespace.clone()).or_default();
            match (key, part) {
                (_, Part::Node(node)) => {
                    spec.isolation = Some(node.isolation.clone());
                    spec.hostname = node.hostname.clone().filter(|name| name != namespace.as_str());
                    spec.domainname.clone_from(&node.domainname);
                    spec.time = node.time.raise();
                    spec.limits = (!node.limits.is_empty()).then(|| node.limits.raise());
                }
                (PartKey::File(path), Part::File(file)) => {
                    spec.files.extend(file.raise().map(|file| (path.clone(), file)));
                }
                (PartKey::Bind(target), Part::Bind(bind)) => spec.binds.push(bind.raise(target)),
                (PartKey::Process(name), Part::Process(process)) => {
                    spec.processes.insert(name.clone(), process::raise(&process.definition));
                }
                (_, Part::File(_) | Part::Bind(_) | Part::Process(_)) => {}
            }
        }
    }
}

impl Raising<'_> {
    /// Removes the isolation that a node has without listing it.
    fn isolation(&mut self) {
        for spec in self.lab.namespaces.values_mut().filter(|spec| spec.isolation.is_some()) {
            let default = default_isolation(spec);
            spec.isolation = spec.isolation.take().filter(|isolation| *isolation != default);
        }
    }
}

macro_rules! raise_objects {
    (
        interface { $($(#[$interface_doc:meta])* $interface_list:ident => $interface_variant:ident($interface_type:ty),)* }
        namespace { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
    ) => {
        impl Raising<'_> {
            fn objects(&mut self) {
                $(self.add::<$interface_type>();)*
                $(self.add::<$type>();)*
            }
        }
    };
}
for_each_object!(raise_objects);

macro_rules! define_take_settings {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        fn take_settings(spec: &mut InterfaceSpec, settings: &LinkSettings) {
            $(spec.$field = settings.$field;)+
            spec.altnames = settings.altnames.as_ref().map(|names| names.iter().cloned().collect());
        }
    };
}
for_each_setting!(define_take_settings {});

/// Returns the numbers of transmit and receive queues that differ from the default.
fn queues(link: &Link) -> (Option<u32>, Option<u32>) {
    let default = link.kind.default_queues().unwrap_or(Queues::ONE);
    let count = |count: fn(Queues) -> u32| link.queues.map(count).filter(|own| *own != count(default));
    (count(|queues| queues.transmit), count(|queues| queues.receive))
}

/// Returns the kind as a lab file has it: with ports, and without the namespace in references within the namespace.
fn kind(id: &LinkId, link: &Link, ports: Vec<NamePattern>) -> Kind {
    let mut kind = link.kind.clone();
    let parent = kind.parent().map(|parent| parent.resolve(&id.namespace).namespace);
    if let Some(Some(parent)) = kind.parent_slot()
        && parent.namespace.as_ref() == Some(&id.namespace)
    {
        parent.namespace = None;
    }
    let underlay = parent.unwrap_or_else(|| id.namespace.clone());
    if let Some(slot) = kind.underlay_slot()
        && slot.as_ref() == Some(&underlay)
    {
        *slot = None;
    }
    kind.set_ports(ports);
    kind
}
