//! What a kernel shows of the network, as plain data: links, objects and settings of each namespace, not yet judged. Kernels return
//! snapshots; [`crate::live`] decides what of them is the lab's.

use std::collections::BTreeMap;

use crate::name::{LinkName, NamespaceName};
use crate::resource::link::{Ifindex, Link};
use crate::resource::object::table::{Dumped, Tables};
use crate::resource::object::wire::Notes;
use crate::resource::sysctl::{Sysctl, SysctlKey};

/// A link as a message describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLink {
    /// Its number.
    pub index: Ifindex,
    /// Its name.
    pub name: LinkName,
    /// All but the master, and the parent or other end, which are numbers here.
    pub link: Link,
    /// The number of the master.
    pub master: Option<Ifindex>,
    /// The number of the parent or other end (IFLA_LINK).
    pub below: Option<Ifindex>,
    /// The namespace of that one, by the number that this namespace has for it (IFLA_LINK_NETNSID); `None` means this namespace.
    pub below_nsid: Option<i32>,
    /// Its group.
    pub group: u32,
    /// Its alias, empty for none.
    pub alias: String,
}

/// One namespace.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Its links.
    pub links: Vec<FoundLink>,
    /// Its objects, in the kernel's order.
    pub objects: Tables<Dumped>,
    /// What messages told about other objects; its lists are sorted.
    pub notes: Notes,
    /// The settings that were asked for; `None` for those that this kernel does not have.
    pub sysctls: Vec<(SysctlKey, Option<Sysctl>)>,
}

/// The lab's namespaces and `host`.
pub type Snapshots = BTreeMap<NamespaceName, Snapshot>;

/// Answers which number one namespace has for another one (RTM_GETNSID).
pub trait Numbering {
    /// Why there is no answer.
    type Error;

    /// The number that `asking` has for `other`; `None` when it has none.
    ///
    /// # Errors
    /// When the kernel does not answer.
    fn number(&mut self, asking: &NamespaceName, other: &NamespaceName) -> Result<Option<i32>, Self::Error>;
}
