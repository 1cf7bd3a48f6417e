//! Snapshots of a network as plain data: links, objects and sysctls of each namespace. Both kernels return snapshots;
//! [`crate::live`] decides what belongs to the lab.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{LinkName, NamespaceName};
use crate::resource::link::bridge_vlans::Vlans;
use crate::resource::link::{Ifindex, Link};
use crate::resource::object::Message;
use crate::resource::object::table::{Dumped, Reported, Tables};
use crate::resource::object::wire::Notes;
use crate::resource::sysctl::conf::LinkConf;
use crate::resource::sysctl::{Sysctl, SysctlKey};

/// A link as the kernel reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLink {
    /// Its index.
    pub index: Ifindex,
    /// Its name.
    pub name: LinkName,
    /// Its kind and settings, without the master, the parent, the other end of a pair and the port that it refers to.
    pub link: Link,
    /// The index of the master (IFLA_MASTER).
    pub master: Option<Ifindex>,
    /// The index of the other port of the master that its options as a port refer to.
    pub port_reference: Option<Ifindex>,
    /// The index of the parent or of the other end of a pair (IFLA_LINK).
    pub below: Option<Ifindex>,
    /// The nsid of the namespace that `below` is in (IFLA_LINK_NETNSID); `None` for the link's own namespace.
    pub below_nsid: Option<i32>,
    /// Its settings per family (IFLA_AF_SPEC).
    pub conf: LinkConf,
    /// Whether it can carry packets: it is up and has carrier (IFF_RUNNING and IFF_LOWER_UP).
    pub running: bool,
    /// Its group (IFLA_GROUP).
    pub group: u32,
    /// Its alias (IFLA_IFALIAS); empty if it has none.
    pub alias: String,
}

impl FoundLink {
    /// Sets its VLANs as a port or as a bridge, or that they were not read.
    pub fn set_vlans(&mut self, vlans: Option<Vlans>) {
        if let Some(port) = &mut self.link.port {
            port.set_vlans(vlans.clone());
        }
        self.link.kind.set_vlans(vlans);
    }
}

/// Returns whether a link filters the frames of its ports by VLAN. Only then are VLANs read without being asked for.
pub fn filter_by_vlan(links: &[FoundLink]) -> bool {
    links.iter().any(|found| found.link.kind.filters_by_vlan())
}

/// A snapshot of one namespace.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Its links.
    pub links: Vec<FoundLink>,
    /// Whether the VLANs of bridges and their ports were read.
    pub has_vlans: bool,
    /// Its objects, in the kernel's order.
    pub objects: Tables<Dumped>,
    /// The messages that reported the objects that others may have added.
    pub messages: Tables<Reported>,
    /// What messages of some objects tell about others. The lists are sorted.
    pub notes: Notes,
    /// The requests that add the static forwarding entries of ports of bridges, with the indices of the ports; only of `host`, and only
    /// if the lab makes external links ports.
    pub forwarding: Option<Vec<(Ifindex, Message)>>,
    /// The requested sysctls; `None` for those that this kernel does not have.
    pub sysctls: Vec<(SysctlKey, Option<Sysctl>)>,
}

impl Snapshot {
    /// Returns the sysctls to read beside those `wanted`: in `host` those that the kernel changes with them, in a namespace of the lab those
    /// of `all` that somebody may have changed.
    pub fn further_sysctls(&self, namespace: &NamespaceName, wanted: &[SysctlKey]) -> Vec<SysctlKey> {
        if namespace.is_host() { self.effects(wanted) } else { self.suspects(wanted) }
    }

    /// Returns the sysctls that the kernel can change with these: those of foreign interfaces are among them.
    fn effects(&self, sysctls: &[SysctlKey]) -> Vec<SysctlKey> {
        let links = || self.links.iter().map(|link| link.name);
        let effects: BTreeSet<SysctlKey> = sysctls.iter().flat_map(|key| key.effects(links())).collect();
        let known: BTreeSet<&SysctlKey> = sysctls.iter().collect();
        effects.into_iter().filter(|key| !known.contains(key)).collect()
    }

    /// Returns the sysctls of `all` that somebody may have changed, without the `known` ones.
    fn suspects(&self, known: &[SysctlKey]) -> Vec<SysctlKey> {
        let loopback = self.links.iter().find(|link| link.name.is_loopback() && !link.conf.changed.is_empty());
        let mut suspects = loopback.map(|link| link.conf.suspects()).unwrap_or_default();
        suspects.retain(|key| !known.contains(key) && !key.aliases().iter().any(|alias| known.contains(alias)));
        suspects
    }
}

/// Snapshots of the lab's namespaces and of `host`.
pub type Snapshots = BTreeMap<NamespaceName, Snapshot>;

/// Looks up nsids: the numbers that one namespace has for others (RTM_GETNSID).
pub trait Numbering {
    /// The error of a failed look-up.
    type Error;

    /// Returns the nsid that `asking` has for `other`; `None` if it has none.
    ///
    /// # Errors
    /// Fails if the kernel does not answer.
    fn number(&mut self, asking: &NamespaceName, other: &NamespaceName) -> Result<Option<i32>, Self::Error>;
}
