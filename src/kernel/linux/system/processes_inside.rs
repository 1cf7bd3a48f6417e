//! Finds processes inside of network namespaces through /proc, and ends them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Process, identity, identity_of, numbers};
use crate::kernel::linux::node::title;
use crate::name::NamespaceName;

/// The time that a process has to end after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);
/// The maximum number of searches for processes that were started meanwhile.
const ROUNDS: usize = 20;

/// A process with at least one thread inside a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInside {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The PID.
    pub process: i32,
    /// The name of the command (/proc/PID/comm).
    pub command: String,
}

impl ProcessInside {
    /// Returns whether it calls itself an init of a node.
    pub fn is_init(&self) -> bool {
        self.command == title::COMMAND
    }
}

/// A namespace in which to find processes.
pub(in crate::kernel::linux) struct Place<'a> {
    pub(in crate::kernel::linux) namespace: &'a NamespaceName,
    pub(in crate::kernel::linux) file: &'a File,
}

/// The processes that end with nodes.
#[derive(Default)]
pub(in crate::kernel::linux) struct NodeProcesses {
    inits: HashSet<i32>,
    /// The PID namespaces of nodes.
    namespaces: HashSet<(u64, u64)>,
}

impl NodeProcesses {
    /// Returns those of the nodes with these inits. One that ends meanwhile is left out.
    ///
    /// # Errors
    /// Fails if it cannot be found out in which PID namespace this process is.
    pub(in crate::kernel::linux) fn of(inits: impl Iterator<Item = Process>) -> io::Result<Self> {
        let own = identity("/proc/self/ns/pid")?;
        let mut processes = Self::default();
        for init in inits {
            let Ok(namespace) = pid_namespace(init.number()) else { continue };
            processes.inits.insert(init.number());
            if namespace != own {
                processes.namespaces.insert(namespace);
            }
        }
        Ok(processes)
    }

    fn include(&self, process: i32) -> bool {
        let is_inside = || pid_namespace(process).is_ok_and(|namespace| self.namespaces.contains(&namespace));
        self.inits.contains(&process) || (!self.namespaces.is_empty() && is_inside())
    }
}

fn pid_namespace(process: i32) -> io::Result<(u64, u64)> {
    identity(&format!("/proc/{process}/ns/pid"))
}

/// Returns the processes inside of these namespaces, as far as they are visible to this process.
///
/// # Errors
/// Fails if /proc cannot be read.
pub(in crate::kernel::linux) fn find(places: &[Place<'_>], nodes: &NodeProcesses) -> io::Result<Vec<ProcessInside>> {
    Ok(search(places, nodes)?.into_iter().map(|(process, _)| process).collect())
}

/// Ends the processes inside of these namespaces, with SIGTERM and then SIGKILL. Returns them when none is left.
///
/// # Errors
/// Fails if a process cannot be signalled, or new processes keep appearing.
pub(in crate::kernel::linux) fn end(places: &[Place<'_>], nodes: &NodeProcesses) -> io::Result<Vec<ProcessInside>> {
    let mut ended = Vec::new();
    for _ in 0..ROUNDS {
        let found = search(places, nodes)?;
        if found.is_empty() {
            return Ok(ended);
        }
        for (_, handle) in &found {
            handle.signal(Signal::SIGTERM)?;
        }
        for (process, handle) in found {
            if !handle.has_ended(GRACE)? {
                handle.signal(Signal::SIGKILL)?;
                handle.has_ended(GRACE)?;
            }
            if !ended.contains(&process) {
                ended.push(process);
            }
        }
    }
    Err(io::Error::other("new processes keep appearing in the namespaces"))
}

/// Returns the processes, each with a descriptor that was opened before the namespace of the process was checked.
fn search(places: &[Place<'_>], nodes: &NodeProcesses) -> io::Result<Vec<(ProcessInside, Process)>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut identities = HashMap::new();
    for place in places {
        identities.insert(identity_of(place.file)?, place.namespace);
    }
    let itself = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    for process in numbers("/proc")?.into_iter().filter(|process| *process != itself) {
        // Skips processes that have ended, and those that this process has no permission to inspect.
        let Ok(handle) = Process::open(process) else { continue };
        let Ok(threads) = numbers(&format!("/proc/{process}/task")) else { continue };
        let namespace = threads
            .into_iter()
            .find_map(|thread| identities.get(&identity(&format!("/proc/{process}/task/{thread}/ns/net")).ok()?).copied());
        if let Some(namespace) = namespace.filter(|_| !nodes.include(process)) {
            let command = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned();
            found.push((ProcessInside { namespace: namespace.clone(), process, command }, handle));
        }
    }
    Ok(found)
}
