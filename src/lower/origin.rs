//! Where the lab file declares a resource, for what is said about it later: when the kernel refuses it.

use std::collections::BTreeMap;

use super::interface::{Interface, Namespace, Origin, Table, find, namespace_path};
use super::{Parts, work_out};
use crate::name::{LinkId, NamespaceName};
use crate::resource::node::PartKey;
use crate::resource::object::Id;
use crate::resource::object::site::{Places, Position};
use crate::resource::object::table::{Ids, Inspect, Registered};
use crate::resource::sysctl::SysctlKey;
use crate::spec::LabFile;
use crate::state::ResourceId;
use crate::yaml::{Path, Problems};

/// The place of each resource's declaration; `None` for what the lab does not declare. `tables` as in [`super::lower`].
pub fn origins(lab: &LabFile, tables: &BTreeMap<String, u32>, ids: &[&ResourceId]) -> Vec<Option<Path>> {
    let parts = work_out(lab, tables, true, &mut Problems::default());
    ids.iter().map(|id| origin(&parts, id)).collect()
}

fn origin(parts: &Parts<'_>, id: &ResourceId) -> Option<Path> {
    let table = &parts.table;
    match id {
        ResourceId::Namespace(namespace) => declared(table, namespace).map(|namespace| namespace.path().key()),
        ResourceId::Link(link) => find(table, link).map(place),
        ResourceId::Sysctl(namespace, key) => {
            let namespace = declared(table, namespace)?;
            // An interface without a value of its own is born with that of `default`.
            sysctl(namespace, key).or_else(|| sysctl(namespace, &key.of_default()?))
        }
        ResourceId::Object(object) => {
            let (list, position) = object.inspect(Find(parts))?;
            Some(table.get(object.namespace())?.list(list, position.list).then(position.index))
        }
        ResourceId::Part(namespace, PartKey::Node) => declared(table, namespace).map(|namespace| namespace.path().key()),
        ResourceId::Part(namespace, PartKey::Process(name)) => {
            declared(table, namespace).map(|namespace| namespace.path().then("processes").then(name).key())
        }
        ResourceId::Part(namespace, PartKey::Bind(target)) => super::node::place_of_bind(declared(table, namespace)?, target),
        ResourceId::Part(namespace, PartKey::File(path)) => {
            declared(table, namespace).map(|namespace| super::node::place_of_file(namespace, path))
        }
    }
}

struct Find<'a, 'l>(&'a Parts<'l>);

impl<'a> Inspect<'a, Ids> for Find<'_, '_> {
    type Result = Option<(&'static str, Position)>;
    fn inspect<O: Registered>(self, (namespace, key): &'a Id<O>) -> Self::Result {
        let mut declared = self.0.objects.of::<O>().iter();
        let (_, found) = declared.find(|(other, declared)| other == namespace && declared.key == *key)?;
        Some((O::LIST, found.position))
    }
}

/// The namespace, if the file mentions it.
fn declared<'t, 'l>(table: &'t Table<'l>, name: &NamespaceName) -> Option<&'t Namespace<'l>> {
    table.get(name).filter(|namespace| namespace.spec.is_some())
}

/// The interface's own key; `lo`, which need not be written, is found at its namespace's.
fn place(interface: &Interface<'_>) -> Path {
    match (interface.section, &interface.end) {
        (Some(_), _) => interface.section_path().key(),
        (None, Some(end)) => end.path(),
        (None, None) => namespace_path(&interface.id.namespace).key(),
    }
}

fn sysctl(namespace: &Namespace<'_>, key: &SysctlKey) -> Option<Path> {
    let mut own = namespace.spec.iter().flat_map(|spec| spec.sysctls.keys());
    if let Some(text) = own.find(|text| SysctlKey::of_namespace(text).as_ref() == Ok(key)) {
        return Some(namespace.path().then("sysctls").then(text).key());
    }
    let interface = find_interface(namespace, key)?;
    let is_meant = |(_, text, _): &(Origin, &String, _)| SysctlKey::of_link(interface.id.name, text).as_ref() == Ok(key);
    interface.sysctls().find(is_meant).map(|(origin, text, _)| interface.sysctl_path(origin, text).key())
}

fn find_interface<'n, 'l>(namespace: &'n Namespace<'l>, key: &SysctlKey) -> Option<&'n Interface<'l>> {
    let id = LinkId::new(&namespace.name, key.link()?);
    namespace.interfaces.get(&id.name).map(|interface| &**interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::load;

    const LAB: &str = "
name: a
namespaces:
  red:
    sysctls: { net.ipv4.conf.default.rp_filter: 2, net.ipv4.ip_forward: 1 }
    interfaces:
      br0: { bridge: {}, addresses: [10.0.0.1/24, 10.1.0.1/24], sysctls: { ipv4.rp_filter: 0 } }
    routes:
      - { to: 10.2.0.0/16, via: 10.0.0.2 }
      - { to: default, via: 10.0.0.2, table: extra }
links:
  - endpoints: [{ interface: red:eth0, addresses: [10.3.0.1/24] }, host:eth0]
";

    #[test]
    fn every_resource_is_found_where_it_is_declared() {
        let loaded = load(LAB);
        let (lab, document) = (loaded.lab.as_ref().unwrap(), loaded.document.as_ref().unwrap());
        let tables = BTreeMap::from([("extra".to_owned(), 77)]);
        let lowered = super::super::lower(lab, &tables);
        let all = lowered.state.ids();
        let ids: Vec<&ResourceId> = all.iter().collect();
        let found: BTreeMap<String, &str> = ids
            .iter()
            .zip(origins(lab, &tables, &ids))
            .filter_map(|(id, path)| {
                let span = document.find(&path?).span;
                Some((format!("{} {id}", id.kind()), &LAB[span.start as usize..span.end as usize]))
            })
            .collect();
        let expected = [
            ("address red:br0 10.0.0.1/24", "10.0.0.1/24"),
            ("address red:br0 10.1.0.1/24", "10.1.0.1/24"),
            ("address red:eth0 10.3.0.1/24", "10.3.0.1/24"),
            ("link host:eth0", "host:eth0"),
            ("link red:br0", "br0"),
            ("link red:eth0", "{ interface: red:eth0, addresses: [10.3.0.1/24] }"),
            ("link red:lo", "red"),
            ("namespace red", "red"),
            ("route red 10.2.0.0/16", "{ to: 10.2.0.0/16, via: 10.0.0.2 }"),
            ("route red default table 77", "{ to: default, via: 10.0.0.2, table: extra }"),
            ("sysctl red:net.ipv4.conf.br0.rp_filter", "ipv4.rp_filter"),
            ("sysctl red:net.ipv4.conf.default.rp_filter", "net.ipv4.conf.default.rp_filter"),
            ("sysctl red:net.ipv4.conf.eth0.rp_filter", "net.ipv4.conf.default.rp_filter"),
            ("sysctl red:net.ipv4.ip_forward", "net.ipv4.ip_forward"),
        ];
        let expected: BTreeMap<String, &str> = expected.into_iter().map(|(id, text)| (id.to_owned(), text)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_lab_does_not_declare_has_no_place() {
        let loaded = load("name: a\nnamespaces: { red: {} }");
        let lab = loaded.lab.as_ref().unwrap();
        let blue: NamespaceName = "blue".parse().unwrap();
        let ids = [ResourceId::Namespace(blue.clone()), ResourceId::Link(LinkId::new(&blue, "eth0".parse().unwrap()))];
        assert_eq!(origins(lab, &BTreeMap::new(), &ids.iter().collect::<Vec<_>>()), [None, None]);
    }
}
