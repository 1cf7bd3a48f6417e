//! Takes snapshots of the network.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::device::{Device, Given, Place};
use super::network::{Namespace, Network};
use super::object::{KeptObject, messages};
use super::route::{Entry, Family};
use crate::live::{Others, foreign_namespace};
use crate::name::{LabName, LinkName, NamespaceName};
use crate::ownership::{self, Obstacle};
use crate::resource::address::{Address, AddressKey, ConnectedRoute};
use crate::resource::link::Link;
use crate::resource::object::Maker;
use crate::resource::object::table::{self, Registered, Visit};
use crate::resource::object::wire::{Found, RTPROT_KERNEL};
use crate::resource::route::{NextHop, Route, RouteKey, RouteType};
use crate::resource::sysctl::conf::{LinkConf, Setting};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::snapshot::{FoundLink, Numbering, Snapshot, Snapshots, filter_by_vlan};
use crate::state::State;

/// Reads `host`, the lab's namespaces, and the sysctls of `desired`.
pub(super) fn read(network: &Network, lab: &LabName, desired: &State) -> (Snapshots, Others) {
    let (mut snapshots, mut others) = (Snapshots::new(), Others::default());
    others.parts = network.parts.clone();
    for (name, text) in &network.placeholders {
        match *text == ownership::namespace_mark(lab, name) {
            true => drop(others.broken.insert(name.clone())),
            false => others.foreign.push((name.clone(), Obstacle::Other("a file that topo did not make".to_owned()))),
        }
    }
    for (name, namespace) in &network.namespaces {
        let mark = network.mark_of(name).map_or("", String::as_str);
        let is_adopted = desired.adopted_namespaces().any(|adopted| adopted == name);
        match foreign_namespace(lab, name, mark, is_adopted).filter(|_| !name.is_host()) {
            Some(what) => others.foreign.push((name.clone(), what)),
            None => {
                others.user_owned.extend(namespace.user_owned.then(|| name.clone()));
                snapshots.insert(name.clone(), Reader { network, name, namespace }.read(desired));
            }
        }
    }
    (snapshots, others)
}

/// The nsids of namespaces. A namespace has the same nsid in all others, and keeps it, because snapshots are kept too.
pub(super) struct Numbers<'a>(pub(super) &'a Network);

impl Numbers<'_> {
    fn of(&self, namespace: &NamespaceName) -> Option<i32> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let number = i32::try_from(hasher.finish() >> 33).ok()?;
        self.0.namespaces.contains_key(namespace).then_some(number)
    }
}

impl Numbering for Numbers<'_> {
    type Error = std::convert::Infallible;

    fn number(&mut self, _: &NamespaceName, other: &NamespaceName) -> Result<Option<i32>, Self::Error> {
        Ok(self.of(other))
    }
}

/// One namespace.
struct Reader<'a> {
    network: &'a Network,
    name: &'a NamespaceName,
    namespace: &'a Namespace,
}

impl Reader<'_> {
    fn read(&self, desired: &State) -> Snapshot {
        let mut links: Vec<FoundLink> = self.namespace.devices.iter().map(|(index, device)| self.link(*index, device)).collect();
        let has_vlans = filter_by_vlan(&links) || desired.namespaces_with_vlans().contains(self.name);
        if !has_vlans {
            for link in &mut links {
                link.set_vlans(None);
            }
        }
        let mut snapshot = Snapshot { links, has_vlans, ..Snapshot::default() };
        self.add_addresses(&mut snapshot);
        self.add_routes(&mut snapshot);
        table::visit(&mut AddKept { namespace: self.namespace, snapshot: &mut snapshot });
        table::visit(&mut AddMessages { reader: self, snapshot: &mut snapshot });
        snapshot.notes.connected.sort_unstable();
        snapshot.notes.local.sort_unstable();
        let wanted = desired.sysctls.keys().filter(|(namespace, _)| namespace == self.name).map(|(_, key)| key.clone());
        let mut wanted: Vec<SysctlKey> = wanted.collect();
        wanted.extend(snapshot.further_sysctls(self.name, &wanted));
        let read = |key: SysctlKey| {
            let value = self.network.read_sysctl(self.name, key.path()).map(|value| Sysctl::new(&value));
            (key, value)
        };
        snapshot.sysctls = wanted.into_iter().map(read).collect();
        snapshot
    }

    fn link(&self, index: u32, device: &Device) -> FoundLink {
        let elsewhere = |namespace: &NamespaceName| {
            let numbers = Numbers(self.network);
            Some(namespace).filter(|namespace| *namespace != self.name).and_then(|namespace| numbers.of(namespace))
        };
        let below = device.below.as_ref();
        FoundLink {
            index,
            name: device.name,
            link: link(device),
            master: device.master,
            port_reference: device.port_reference,
            below: below.map(|place| place.index),
            below_nsid: below.map(|place| &place.namespace).or(device.underlay.as_ref()).and_then(elsewhere),
            conf: conf(device),
            running: device.up,
            group: device.group,
            alias: device.alias.clone(),
        }
    }

    fn add_addresses(&self, snapshot: &mut Snapshot) {
        for (index, device) in &self.namespace.devices {
            let place = Place { namespace: self.name.clone(), index: *index };
            let key = |given: &Given| AddressKey { link: device.name, address: given.address };
            let found = device.addresses.iter().map(|given| {
                let label = given.attributes.label.clone().filter(|label| *label != device.name.as_str());
                let expected = self.network.expects_route(&place, given);
                let connected = if expected { ConnectedRoute::Expected } else { ConnectedRoute::AsMade };
                Found {
                    key: key(given),
                    value: Address {
                        label,
                        connected,
                        secondary: given.address.ip().is_ipv4().then_some(given.secondary),
                        local: ConnectedRoute::Expected,
                        ..given.attributes.clone()
                    },
                    maker: match given.protocol {
                        ownership::PROTOCOL => Maker::Topo,
                        0 if !key(given).is_of_loopback() => Maker::Hand,
                        _ => Maker::Kernel,
                    },
                }
            });
            let alive = device.addresses.iter().filter(|given| given.attributes.local != ConnectedRoute::Missing);
            snapshot.notes.local.extend(alive.map(|given| (given.address.ip(), device.name)));
            let (inet, inet6): (Vec<_>, Vec<_>) = found.partition(|found| found.key.ip().is_ipv4());
            let list = snapshot.objects.of_mut::<Address>();
            list.extend(inet);
            // The kernel lists IPv6 addresses with the latest first.
            list.extend(inet6.into_iter().rev());
        }
    }

    fn add_routes(&self, snapshot: &mut Snapshot) {
        for entry in &self.namespace.routes {
            if entry.protocol == RTPROT_KERNEL {
                let links = entry.hops.iter().filter_map(|hop| self.name_of(hop.index));
                let connected = links.filter(|_| entry.kind == RouteType::Unicast).map(|link| (entry.to, link));
                snapshot.notes.connected.extend(connected);
                continue;
            }
            let Entry { table, to, metric, tos, .. } = *entry;
            let key = RouteKey { table, to, metric, tos, ordinal: 0 };
            let maker = Maker::of_protocol(entry.protocol);
            let protocol = matches!(maker, Maker::Kernel | Maker::Daemon(_)).then_some(entry.protocol);
            let found = Found { key, value: Route { protocol, ..self.route(entry) }, maker };
            snapshot.objects.of_mut::<Route>().push(found);
        }
    }

    fn name_of(&self, index: u32) -> Option<LinkName> {
        self.namespace.devices.get(&index).map(|device| device.name)
    }

    fn route(&self, entry: &Entry) -> Route {
        let terminal = entry.family() == Family::Inet6 && entry.kind.is_terminal();
        let hops = entry.hops.iter().filter(|_| !terminal);
        let hops = hops.map(|hop| NextHop { via: hop.via, dev: self.name_of(hop.index), weight: hop.weight, onlink: hop.onlink });
        Route {
            kind: entry.kind,
            nexthops: hops.collect(),
            src: entry.src,
            scope: Some(entry.scope),
            mtu: entry.mtu,
            ..Route::default()
        }
    }
}

/// Returns the settings of a device that do not have the kernel's values.
fn conf(device: &Device) -> LinkConf {
    let changed = device.sysctls.iter().filter_map(|(path, value)| {
        let (directory, name) = path.rsplit_once('/')?;
        let key = SysctlKey::of_namespace(&format!("net/{directory}/{}/{name}", device.name.as_str())).ok()?;
        let (setting, value) = (Setting::of_key(&key)?, value.parse().ok()?);
        (value != setting.default).then_some((setting, value))
    });
    LinkConf { has_inet6: device.knows_ipv6(), changed: changed.collect() }
}

fn link(device: &Device) -> Link {
    let settings = device.settings(None);
    Link { settings, port: device.port.clone(), queues: Some(device.queues), ..Link::new(device.kind.clone()) }
}

struct AddKept<'a> {
    namespace: &'a Namespace,
    snapshot: &'a mut Snapshot,
}

impl Visit for AddKept<'_> {
    fn visit<O: Registered>(&mut self) {
        let found = |kept: &KeptObject<O>| Found { key: kept.key.clone(), value: kept.value.clone(), maker: kept.maker };
        self.snapshot.objects.of_mut::<O>().extend(self.namespace.objects.of::<O>().iter().map(found));
    }
}

/// Adds the messages that report the objects.
struct AddMessages<'a> {
    reader: &'a Reader<'a>,
    snapshot: &'a mut Snapshot,
}

impl Visit for AddMessages<'_> {
    fn visit<O: Registered>(&mut self) {
        let index = |link: LinkName| self.reader.namespace.by_name(link);
        *self.snapshot.messages.of_mut::<O>() = messages(self.reader.name, self.snapshot.objects.of::<O>(), &index);
    }
}
