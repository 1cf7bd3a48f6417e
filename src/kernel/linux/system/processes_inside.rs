//! Processes inside of network namespaces: found through /proc, ended through descriptors.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::{Process, numbers};
use crate::name::NamespaceName;

/// How long a process has to end by itself.
const GRACE: Duration = Duration::from_millis(500);
/// How often to look again for processes that others have started meanwhile.
const ROUNDS: usize = 20;

/// A process, one of whose threads at least is inside a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInside {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The process's number.
    pub process: i32,
    /// What it calls itself (/proc/PID/comm).
    pub command: String,
}

/// A namespace to look for.
pub(in crate::kernel::linux) struct Place<'a> {
    pub(in crate::kernel::linux) namespace: &'a NamespaceName,
    pub(in crate::kernel::linux) file: &'a File,
}

/// The processes inside of these namespaces, as far as this process may see them.
///
/// # Errors
/// When /proc cannot be read.
pub(in crate::kernel::linux) fn find(places: &[Place<'_>]) -> io::Result<Vec<ProcessInside>> {
    Ok(search(places)?.into_iter().map(|(inhabitant, _)| inhabitant).collect())
}

/// Ends the processes inside of these namespaces: asks them to, and kills those that do not follow. Returns when none is left.
///
/// # Errors
/// When one may not be ended, or more are started all the time.
pub(in crate::kernel::linux) fn end(places: &[Place<'_>]) -> io::Result<Vec<ProcessInside>> {
    let mut ended = Vec::new();
    for _ in 0..ROUNDS {
        let found = search(places)?;
        if found.is_empty() {
            return Ok(ended);
        }
        for (_, handle) in &found {
            handle.signal(Signal::SIGTERM)?;
        }
        for (inhabitant, handle) in found {
            if !handle.has_ended(GRACE)? {
                handle.signal(Signal::SIGKILL)?;
                handle.has_ended(GRACE)?;
            }
            if !ended.contains(&inhabitant) {
                ended.push(inhabitant);
            }
        }
    }
    Err(io::Error::other("processes are started there all the time"))
}

/// What is found, each with a descriptor that was opened before the process was seen to be inside.
fn search(places: &[Place<'_>]) -> io::Result<Vec<(ProcessInside, Process)>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut identities = HashMap::new();
    for place in places {
        let status = place.file.metadata()?;
        identities.insert((status.dev(), status.ino()), place.namespace);
    }
    let itself = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    for process in numbers("/proc")?.into_iter().filter(|process| *process != itself) {
        // One that has ended meanwhile is not inside any more, nor is one that this process may not look at known to be.
        let Ok(handle) = Process::open(process) else { continue };
        let Ok(threads) = numbers(&format!("/proc/{process}/task")) else { continue };
        let namespace = threads.into_iter().find_map(|thread| {
            let status = std::fs::metadata(format!("/proc/{process}/task/{thread}/ns/net")).ok()?;
            identities.get(&(status.dev(), status.ino())).copied()
        });
        if let Some(namespace) = namespace {
            let command = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned();
            found.push((ProcessInside { namespace: namespace.clone(), process, command }, handle));
        }
    }
    Ok(found)
}
