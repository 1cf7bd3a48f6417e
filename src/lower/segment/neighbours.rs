//! Nodes with more neighbours than the kernel's table holds.

use std::collections::BTreeMap;

use super::{Interfaces, Sets, by_namespace};
use crate::name::NamespaceName;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// `gc_thresh3` of the kernel, neighbour(7).
const DEFAULT_LIMIT: usize = 1024;

pub(super) fn check(
    interfaces: &Interfaces<'_, '_>,
    segments: &Sets,
    sysctls: &[((NamespaceName, SysctlKey), Sysctl)],
    problems: &mut Problems,
) {
    let addresses: usize = interfaces.list.iter().map(|interface| interface.addresses().count()).sum();
    for (family, ipv4) in [("ipv4", true), ("ipv6", false)] {
        let key = format!("net.{family}.neigh.default.gc_thresh3");
        // The limit is the machine's: in namespaces of a lab it cannot be set.
        let given = sysctls.iter().find(|((namespace, of), _)| namespace.is_host() && of.to_string() == key);
        let limit = given.and_then(|(_, sysctl)| sysctl.value.parse().ok()).unwrap_or(DEFAULT_LIMIT);
        if addresses <= limit {
            continue;
        }
        let nodes: Vec<(&NamespaceName, usize)> =
            count(interfaces, segments, ipv4).into_iter().filter(|(_, number)| *number > limit).collect();
        let Some((namespace, number)) = nodes.iter().rev().max_by_key(|(_, number)| *number) else { continue };
        let others = match nodes.len() - 1 {
            0 => String::new(),
            1 => ", as one other namespace may have".to_owned(),
            more => format!(", as {more} other namespaces may have"),
        };
        let name = if ipv4 { "IPv4" } else { "IPv6" };
        let message = format!(
            "`{namespace}` may have {number} {name} neighbours{others}, but the neighbour table of the machine holds {limit}"
        );
        let path = Path::root().then("namespaces").then(*namespace);
        let hint = format!("raise `{key}` of the machine, or divide the network by routers");
        problems.warning(path, message).hint(hint);
    }
}

/// How many addresses of others each namespace has on the segments on which it has one itself.
fn count<'t>(interfaces: &Interfaces<'t, '_>, segments: &Sets, ipv4: bool) -> BTreeMap<&'t NamespaceName, usize> {
    let up = interfaces.list.iter().enumerate().filter(|(_, interface)| interface.is_up());
    let addresses = up.flat_map(|(number, interface)| {
        let of_family = interface.addresses().filter(move |(_, address)| address.is_ipv4() == ipv4);
        of_family.map(move |_| (&interface.id.namespace, segments.find(number)))
    });
    let own = by_namespace(addresses);
    let mut all: BTreeMap<usize, usize> = BTreeMap::new();
    for ((_, segment), number) in &own {
        *all.entry(*segment).or_default() += number;
    }
    let mut neighbours = BTreeMap::new();
    for ((namespace, segment), number) in own {
        *neighbours.entry(namespace).or_default() += all[&segment] - number;
    }
    neighbours
}
