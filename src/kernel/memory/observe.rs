//! What a lab sees of the network: its own namespaces whole, of `host` what is its own and what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::device::{Device, Place};
use super::network::{Namespace, Network};
use super::route::{Entry, Family};
use crate::kernel::standing::{BY_HAND, BY_KERNEL, Standing, foreign_namespace};
use crate::name::{LabName, LinkId, LinkName, LinkRef, NamespaceName};
use crate::ownership::{self, Mark};
use crate::resource::address::Address;
use crate::resource::link::{Link, Marked};
use crate::resource::route::{NextHop, Route, RouteKey};
use crate::resource::sysctl::Sysctl;
use crate::state::{Live, Resource, ResourceId, State};

/// One namespace on its way into the live state.
struct Scene<'a> {
    network: &'a Network,
    lab: &'a LabName,
    desired: &'a State,
    name: &'a NamespaceName,
    namespace: &'a Namespace,
    /// Namespaces that the lab can see into.
    visible: &'a [NamespaceName],
}

/// What was seen now in these namespaces, and earlier in all others.
pub(super) fn only_in(touched: &BTreeSet<NamespaceName>, now: Live, earlier: Live) -> Live {
    let is_touched = |namespace: &NamespaceName| touched.contains(namespace);
    fn mix<K: Ord, V>(now: BTreeMap<K, V>, earlier: BTreeMap<K, V>, is_touched: impl Fn(&K) -> bool) -> BTreeMap<K, V> {
        let now = now.into_iter().filter(|(key, _)| is_touched(key));
        now.chain(earlier.into_iter().filter(|(key, _)| !is_touched(key))).collect()
    }
    let resources = mix(now.state.resources, earlier.state.resources, |id| is_touched(id.namespace()));
    Live {
        state: State { resources, adopt: now.state.adopt },
        indices: mix(now.indices, earlier.indices, |id| is_touched(&id.namespace)),
        group_is_shared: now.group_is_shared,
        taken_indices: now.taken_indices,
        broken: now.broken,
        foreign: mix(now.foreign, earlier.foreign, |id| is_touched(id.namespace())),
    }
}

pub(super) fn observe(network: &Network, lab: &LabName, desired: &State) -> Live {
    let mut live = Live::default();
    let mut visible = vec![NamespaceName::host()];
    for name in network.namespaces.keys().chain(network.placeholders.keys()).filter(|name| !name.is_host()) {
        let id = ResourceId::Namespace(name.clone());
        match foreignness(network, lab, name) {
            Some(what) if desired.resources.contains_key(&id) => {
                live.foreign.insert(id, what);
            }
            Some(_) => {}
            None => {
                live.state.insert(id, Resource::Namespace);
                match network.placeholders.contains_key(name) {
                    true => {
                        live.broken.insert(name.clone());
                    }
                    false => visible.push(name.clone()),
                }
            }
        }
    }
    for name in &visible {
        if let Some(namespace) = network.namespaces.get(name) {
            let scene = Scene { network, lab, desired, name, namespace, visible: &visible };
            scene.add_links(&mut live);
            scene.add_addresses(&mut live);
            scene.add_routes(&mut live);
        }
    }
    add_sysctls(network, desired, &visible, &mut live);
    live
}

/// What a namespace is, when it is not the lab's.
fn foreignness(network: &Network, lab: &LabName, name: &NamespaceName) -> Option<String> {
    if let Some(text) = network.placeholders.get(name) {
        return (*text != ownership::namespace_mark(lab, name)).then(|| "a file that topo did not make".to_owned());
    }
    let mark = network.mark_of(name).map_or("", String::as_str);
    foreign_namespace(lab, name, mark)
}

fn add_sysctls(network: &Network, desired: &State, visible: &[NamespaceName], live: &mut Live) {
    for id in desired.resources.keys() {
        let ResourceId::Sysctl(namespace, key) = id else { continue };
        let reported = key.link().is_none_or(|name| live.state.link(&LinkId::new(namespace, name)).is_some());
        if !reported || !visible.contains(namespace) {
            continue;
        }
        if let Some(value) = network.read_sysctl(namespace, key.path()) {
            live.state.insert(id.clone(), Resource::Sysctl(Sysctl::new(&value)));
        }
    }
}

impl Scene<'_> {
    fn add_links(&self, live: &mut Live) {
        for (index, device) in &self.namespace.devices {
            let id = device.id(self.name);
            let mark = Mark { group: device.group, alias: device.alias.clone() };
            let marked = match Standing::of(self.lab, self.desired, &id, mark, *index, device.kind.name()) {
                Standing::Lab(marked) => marked,
                Standing::Declared => Marked::Lab,
                Standing::Foreign(what) => {
                    live.taken_indices.insert(id, *index);
                    live.group_is_shared |= device.group == crate::ownership::group(self.lab);
                    self.stand_in_the_way(live, device, what);
                    continue;
                }
            };
            live.indices.insert(id.clone(), *index);
            live.state.insert(ResourceId::Link(id), Resource::Link(Arc::new(Link { marked, ..self.link(device) })));
        }
        for device in self.namespace.devices.values().filter(|_| self.name.is_host()) {
            for altname in device.altnames.iter().filter_map(|altname| altname.parse().ok()) {
                let id = ResourceId::Link(LinkId::new(self.name, altname));
                if self.desired.resources.contains_key(&id) && !live.state.resources.contains_key(&id) {
                    live.foreign.insert(id, format!("an alternative name of `{}`", device.name));
                }
            }
        }
    }

    fn stand_in_the_way(&self, live: &mut Live, device: &Device, what: String) {
        let id = ResourceId::Link(device.id(self.name));
        if self.desired.resources.contains_key(&id) {
            live.foreign.insert(id, what);
        }
    }

    fn link(&self, device: &Device) -> Link {
        let mut kind = device.kind.clone();
        if let Some(slot) = kind.parent_slot() {
            *slot = device.below.as_ref().and_then(|below| self.seen(below));
        }
        if let Some(slot) = kind.underlay_slot() {
            slot.clone_from(&device.underlay);
            *slot = slot.take().filter(|underlay| self.visible.contains(underlay));
        }
        let master = device.master.and_then(|master| self.namespace.devices.get(&master)).map(|master| master.name);
        Link {
            kind,
            settings: device.settings(master),
            queues: Some(device.queues),
            marked: Marked::Lab,
            external: self.desired.link(&device.id(self.name)).is_some_and(|link| link.external),
        }
    }

    fn seen(&self, place: &Place) -> Option<LinkRef> {
        let device = self.network.device(place).filter(|_| self.visible.contains(&place.namespace))?;
        Some(device.id(&place.namespace).into())
    }

    fn add_addresses(&self, live: &mut Live) {
        for (index, device) in &self.namespace.devices {
            let link = device.id(self.name);
            let Some(external) = live.state.link(&link).map(|link| link.external) else { continue };
            let mut order: BTreeMap<bool, u32> = BTreeMap::new();
            for given in &device.addresses {
                let id = ResourceId::Address(link.clone(), given.address);
                let declared = self.desired.resources.contains_key(&id);
                let foreign = self.name.is_host() && given.protocol != ownership::PROTOCOL;
                let adopted = foreign && declared && self.desired.adopt.contains(&link);
                if foreign && !adopted {
                    if declared {
                        live.foreign.insert(id, "an address that topo did not give".into());
                    }
                    continue;
                }
                if self.name.is_host() && external && !declared {
                    continue;
                }
                let next = order.entry(given.address.ip().is_ipv4()).or_default();
                let label = given.attributes.label.clone().filter(|label| *label != device.name.as_str());
                let place = Place { namespace: self.name.clone(), index: *index };
                let disconnected = self.network.is_disconnected(&place, given);
                let address = Address { order: *next, label, foreign: adopted, disconnected, ..given.attributes.clone() };
                live.state.insert(id, Resource::Address(address));
                *next += 1;
            }
        }
    }

    fn add_routes(&self, live: &mut Live) {
        for entry in &self.namespace.routes {
            let Entry { table, to, metric, tos, .. } = *entry;
            let mut key = RouteKey { table, to, metric, tos, ordinal: 0 };
            let mut id = ResourceId::Route(self.name.clone(), key.clone());
            let declared = self.desired.resources.contains_key(&id);
            let route = self.route(entry);
            let ours = match self.name.is_host() {
                true => entry.protocol == ownership::PROTOCOL && (declared || self.leads_over_lab(&route, live)),
                false => BY_HAND.contains(&entry.protocol),
            };
            if !ours {
                if declared && !BY_KERNEL.contains(&entry.protocol) {
                    live.foreign.insert(id, format!("a route that topo did not make (protocol {})", entry.protocol));
                }
                continue;
            }
            while live.state.resources.contains_key(&id) {
                key.ordinal += 1;
                id = ResourceId::Route(self.name.clone(), key.clone());
            }
            live.state.insert(id, Resource::Route(route));
        }
    }

    fn route(&self, entry: &Entry) -> Route {
        let terminal = entry.family() == Family::Inet6 && entry.kind.is_terminal();
        let hops = entry.hops.iter().filter(|_| !terminal);
        let name = |index| self.namespace.devices.get(&index).map(|device| device.name);
        let hops = hops.map(|hop| NextHop { via: hop.via, dev: name(hop.index), weight: hop.weight, onlink: hop.onlink });
        Route {
            kind: entry.kind,
            nexthops: hops.collect(),
            src: entry.src,
            scope: Some(entry.scope),
            mtu: entry.mtu,
            object: None,
        }
    }

    fn leads_over_lab(&self, route: &Route, live: &Live) -> bool {
        let ours = |name: LinkName| live.state.link(&LinkId::new(self.name, name)).is_some_and(|link| !link.external);
        route.nexthops.iter().filter_map(|hop| hop.dev).any(ours)
    }
}
