//! Objects: the lists of each namespace, handed to the sort of object that they are of.

use std::collections::BTreeMap;

use super::interface::{Namespace, Table, link_path};
use super::parent::known;
use super::sysctl::Ipv6;
use crate::name::{LinkName, NamespaceName};
use crate::resource::address::Address;
use crate::resource::ignore::Ignore;
use crate::resource::object::site::{Declared, Interface, Item, List, Lowered, Places, Position, Site};
use crate::resource::object::table::{Container, IntoSorted, Registered, Tables};
use crate::resource::object::{Id, Object, for_each_object};
use crate::spec::file::Listed as Lists;
use crate::yaml::document::Subtree;
use crate::yaml::{Path, Problems};

/// Declared objects with their namespaces.
pub(super) struct Listed;

impl Container for Listed {
    type Of<O: Object> = Vec<(NamespaceName, Declared<O>)>;
}

impl IntoSorted for Listed {
    fn drain<O: Object>(list: &mut Self::Of<O>) -> impl Iterator<Item = (Id<O>, O)> {
        list.drain(..).map(|(namespace, declared)| ((namespace, declared.key), declared.value))
    }
}

/// Lowers the objects of all namespaces. `tables` are the names of rt_tables.
pub(super) fn lower(
    table: &Table<'_>,
    tables: &BTreeMap<String, u32>,
    ipv6: &Ipv6,
    ignore: &Ignore,
    wanted: bool,
    problems: &mut Problems,
) -> Tables<Listed> {
    let mut listed = Tables::default();
    for namespace in table.values() {
        let interfaces = namespace.interfaces.values().map(|interface| {
            let master = interface.link.settings.master.and_then(|master| namespace.interfaces.get(&master));
            let vrf = [Some(interface), master].into_iter().flatten().find_map(|link| link.link.kind.routing_table());
            (interface.id.name, interface.seen(vrf, ipv6, ignore))
        });
        let site = Site {
            namespace: &namespace.name,
            owned: namespace.is_owned(),
            interfaces: interfaces.collect(),
            tables,
            places: namespace,
        };
        Lowering { namespace, site, wanted, listed: &mut listed, problems }.lower();
    }
    listed
}

struct Lowering<'a, 'l> {
    namespace: &'a Namespace<'l>,
    site: Site<'a>,
    wanted: bool,
    listed: &'a mut Tables<Listed>,
    problems: &'a mut Problems,
}

macro_rules! lower_all {
    (
        interface { $($(#[$interface_doc:meta])* $interface_list:ident => $interface_variant:ident($interface_type:ty),)* }
        namespace { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
    ) => {
        impl Lowering<'_, '_> {
            fn lower(&mut self) {
                $(self.of::<$interface_type>();)*
                $(self.of::<$type>();)*
            }
        }
    };
}
for_each_object!(lower_all);

impl Lowering<'_, '_> {
    fn of<O: Registered + Lists>(&mut self) {
        let items = items::<O>(self.namespace);
        let mut lowered = Lowered::new(self.wanted);
        O::lower(&items, &mut self.site, &mut lowered, self.problems);
        let name = &self.namespace.name;
        self.listed.of_mut::<O>().extend(lowered.into_iter().map(|declared| (name.clone(), declared)));
    }
}

/// The items of a sort that a namespace has, in its own list and in those of its interfaces.
fn items<'a, O: Lists>(namespace: &'a Namespace<'_>) -> Vec<Item<'a, O::Spec>> {
    let mut items = Vec::new();
    let mut add = |list: List, specs: &'a [O::Spec]| {
        let specs = specs.iter().enumerate();
        items.extend(specs.map(|(index, spec)| Item { spec, position: Position { list, index } }));
    };
    add(List::Namespace, namespace.spec.map_or(&[], O::in_namespace));
    for interface in namespace.interfaces.values() {
        let name = interface.id.name;
        add(List::Interface(name), interface.section.map_or(&[], O::in_interface));
        add(List::Endpoint(name), interface.long().map_or(&[], O::in_endpoint));
        if let Some(end) = &interface.end {
            add(List::Link(name, end.position), O::in_link(end.spec));
        }
    }
    items
}

impl super::interface::Interface<'_> {
    fn seen(&self, vrf: Option<u32>, ipv6: &Ipv6, ignore: &Ignore) -> Interface {
        let automatic = self.link.kind.has_automatic_inet6();
        Interface {
            id: self.id.clone(),
            up: self.is_up(),
            vrf,
            shared: self.is_shared() || ignore.includes(&self.id.namespace, Address::LIST, [self.id.name]),
            mtu: self.link.settings.mtu,
            mac: self.link.settings.mac,
            without_ipv6: ipv6.disabled.contains(&self.id),
            generates_link_local: automatic && !self.id.name.is_loopback() && self.is_up() && ipv6.generates_link_local(&self.id),
            joins_groups: automatic,
            addresses: Vec::new(),
        }
    }
}

impl Places for Namespace<'_> {
    fn list(&self, name: &'static str, of: List) -> Path {
        let owner = match of {
            List::Namespace => self.path(),
            List::Interface(link) => self.path().then("interfaces").then(link),
            List::Link(link, _) => match self.interfaces.get(&link).and_then(|interface| interface.end.as_ref()) {
                Some(end) => link_path(end.link),
                None => self.path().then("interfaces").then(link),
            },
            List::Endpoint(link) => match self.interfaces.get(&link).and_then(|interface| interface.end.as_ref()) {
                Some(end) => end.path(),
                None => self.path().then("interfaces").then(link),
            },
        };
        owner.then(name)
    }

    fn setting(&self, link: LinkName, key: &str) -> Path {
        match self.interfaces.get(&link) {
            Some(interface) => interface.setting_path(key),
            None => self.path().then("interfaces").then(link).then(key),
        }
    }

    fn reach_parts(&self) -> Vec<Subtree> {
        Namespace::reach_parts(self)
    }

    fn unknown_interface(&self, name: LinkName, path: Path, problems: &mut Problems) {
        known(self, name, path, problems);
    }
}
