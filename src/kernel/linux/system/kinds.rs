//! The namespaces of all eight kinds, namespaces(7), in which the processes of named network namespaces are, as lsns(8) lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use super::netns::{Directory, Entry};
use super::process::{identity, identity_of, numbers};
use crate::name::NamespaceName;

/// The kinds, by their names in /proc/PID/ns; the kind that every node has for itself comes first.
const KINDS: [&str; 8] = ["net", "mnt", "pid", "uts", "ipc", "cgroup", "user", "time"];

/// Device and inode.
type Identity = (u64, u64);

/// A namespace that a node uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNamespace {
    /// The node.
    pub node: NamespaceName,
    /// The kind, as in /proc/PID/ns.
    pub kind: &'static str,
    /// The inode number, which identifies it.
    pub inode: u64,
    /// Whether the calling process is in it, too.
    pub is_shared: bool,
    /// The processes in it, sorted, without the calling one.
    pub processes: Vec<i32>,
}

/// The processes that are visible to this one, and their namespaces.
struct Visible {
    /// The namespaces of each process by kind; `None` where the kernel has no such kind.
    namespaces: BTreeMap<i32, [Option<Identity>; 8]>,
}

impl Visible {
    fn read() -> io::Result<Self> {
        let itself = i32::try_from(std::process::id()).unwrap_or_default();
        let others = numbers("/proc")?.into_iter().filter(|process| *process != itself);
        // Processes that have ended, and those that this process has no permission to inspect, have no network namespace here.
        let namespaces = others.map(|process| (process, namespaces_of(&process.to_string())));
        Ok(Self { namespaces: namespaces.filter(|(_, kinds)| kinds[0].is_some()).collect() })
    }

    fn inside(&self, kind: usize, namespace: Identity) -> Vec<i32> {
        let inside = self.namespaces.iter().filter(|(_, kinds)| kinds[kind] == Some(namespace));
        inside.map(|(process, _)| *process).collect()
    }
}

fn namespaces_of(process: &str) -> [Option<Identity>; 8] {
    KINDS.map(|kind| identity(&format!("/proc/{process}/ns/{kind}")).ok())
}

/// Returns the namespaces of nodes, sorted by node and kind. Those of a node are those of the processes in its network namespace. A node
/// shares the kinds that no process has for itself with the calling process.
///
/// # Errors
/// Fails if /proc or /run/netns cannot be read.
pub fn of_nodes(nodes: &[NamespaceName]) -> io::Result<Vec<NodeNamespace>> {
    let (visible, own) = (Visible::read()?, namespaces_of("self"));
    let Some(directory) = Directory::open()? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for node in nodes {
        // One that was destroyed meanwhile has none.
        let Some(Entry::Namespace(file)) = directory.look(node)? else { continue };
        for (kind, name) in KINDS.into_iter().enumerate() {
            for namespace in of_node(&file, kind, &visible, own[kind])? {
                found.push(NodeNamespace {
                    node: node.clone(),
                    kind: name,
                    inode: namespace.1,
                    is_shared: own[kind] == Some(namespace),
                    processes: visible.inside(kind, namespace),
                });
            }
        }
    }
    Ok(found)
}

/// The namespaces of one kind in which the processes of a node are; without processes, the one that is shared.
fn of_node(node: &File, kind: usize, visible: &Visible, shared: Option<Identity>) -> io::Result<BTreeSet<Identity>> {
    let network = identity_of(node)?;
    if kind == 0 {
        return Ok(BTreeSet::from([network]));
    }
    let of_processes = visible.namespaces.values().filter(|kinds| kinds[0] == Some(network)).filter_map(|kinds| kinds[kind]);
    let found: BTreeSet<_> = of_processes.collect();
    Ok(if found.is_empty() { shared.into_iter().collect() } else { found })
}

/// Returns the command line of a process with spaces between the words, or its name in brackets if it has none; `None` if it has ended.
pub fn command_line(process: i32) -> Option<String> {
    let read = |file: &str| std::fs::read(format!("/proc/{process}/{file}")).ok();
    let words = read("cmdline")?;
    let text = match words.is_empty() {
        true => format!("[{}]", String::from_utf8_lossy(&read("comm")?).trim_end()),
        false => String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " "),
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_a_namespace_of_every_kind() {
        let own = namespaces_of("self");
        assert!(own[..7].iter().all(Option::is_some), "{own:?}");
        assert_eq!(namespaces_of("0"), [None; 8]);
        assert!(!command_line(i32::try_from(std::process::id()).unwrap()).unwrap().contains('\0'));
    }
}
