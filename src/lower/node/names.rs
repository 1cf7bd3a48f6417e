//! The names of all nodes with their addresses, for /etc/hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::lower::interface::Table;
use crate::lower::objects::Listed;
use crate::name::NamespaceName;
use crate::resource::address::Address;
use crate::resource::node::hosts::{Addresses, table};
use crate::resource::object::table::Tables;

/// A node with its names and addresses.
struct Named {
    /// The host name, if it has one of its own, and the name in the lab.
    names: String,
    addresses: Vec<IpNet>,
}

/// The names and addresses of all namespaces of a lab.
pub(super) struct Names<'t> {
    nodes: BTreeMap<&'t NamespaceName, Named>,
}

impl<'t> Names<'t> {
    pub(super) fn of(lab: &'t Table<'_>, objects: &Tables<Listed>) -> Self {
        let named = |name: &NamespaceName, hostname: Option<&String>| {
            let names = match hostname.filter(|hostname| *hostname != name.as_str()) {
                Some(hostname) => format!("{hostname} {name}"),
                None => name.to_string(),
            };
            Named { names, addresses: Vec::new() }
        };
        let owned = lab.values().filter(|namespace| namespace.is_owned());
        let nodes = owned.map(|namespace| {
            let hostname = namespace.spec.and_then(|spec| spec.hostname.as_ref());
            (&namespace.name, named(&namespace.name, hostname))
        });
        let mut nodes: BTreeMap<_, _> = nodes.collect();
        for (namespace, declared) in objects.of::<Address>() {
            let address = declared.key.address.0;
            let is_of_node = !is_local(address.addr());
            if let Some(node) = nodes.get_mut(namespace).filter(|_| is_of_node) {
                node.addresses.push(address);
            }
        }
        Self { nodes }
    }

    /// Returns /etc/hosts of a node. Of the addresses of another node, those in a common subnet come first.
    pub(super) fn table(&self, of: &NamespaceName) -> String {
        let own = self.nodes.get(of).map_or(&[][..], |node| &node.addresses);
        let entries = self.nodes.values().flat_map(|node| {
            let is_near = |address: &IpNet| own.iter().any(|own| own.contains(&address.addr()));
            let mut addresses: Vec<&IpNet> = node.addresses.iter().collect();
            addresses.sort_by_key(|address| !is_near(address));
            addresses.into_iter().map(|address| (address.addr(), node.names.as_str()))
        });
        table(entries)
    }
}

/// Returns whether an address means something else on every host.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

/// Returns /etc/hosts with these names.
pub(super) fn table_of(names: &BTreeMap<String, Addresses>) -> String {
    table(names.iter().flat_map(|(name, Addresses(addresses))| addresses.iter().map(move |address| (*address, name.as_str()))))
}
