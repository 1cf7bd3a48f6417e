//! Nodes: what a namespace has beyond its network.
//!
//! A node is kept by its init, a process of this program ([`init`]) inside of the node's namespaces: PID 1, if the node has a PID
//! namespace of its own. A [`spawner`] starts inits: it is a small copy of this program with a single thread. Commands find an init by
//! its socket in the lab's [`directory`], check that it is in the network namespace of the node, and talk to it ([`client`],
//! [`protocol`]). Nothing about a node is written down: its init is asked.

mod binds;
pub mod cgroup;
pub mod client;
mod datagram;
mod directory;
pub mod enter;
pub mod init;
pub mod logs;
mod mounts;
pub mod processes;
mod protocol;
pub mod spawner;
pub mod stray;
pub mod supervisor;
pub(super) mod title;
mod view;

pub use directory::Nodes;

use nix::sched::CloneFlags;

use crate::resource::node::isolation::NamespaceKind;

/// The kinds of namespaces besides that of the network, with their names under /proc/PID/ns and their flags. CLONE_NEWTIME is not known to
/// the library.
const KINDS: [(NamespaceKind, &str, CloneFlags); 7] = [
    (NamespaceKind::Pid, "pid", CloneFlags::CLONE_NEWPID),
    (NamespaceKind::Mount, "mnt", CloneFlags::CLONE_NEWNS),
    (NamespaceKind::Uts, "uts", CloneFlags::CLONE_NEWUTS),
    (NamespaceKind::Ipc, "ipc", CloneFlags::CLONE_NEWIPC),
    (NamespaceKind::Cgroup, "cgroup", CloneFlags::CLONE_NEWCGROUP),
    (NamespaceKind::User, "user", CloneFlags::CLONE_NEWUSER),
    (NamespaceKind::Time, "time", CloneFlags::from_bits_retain(0x80)),
];
