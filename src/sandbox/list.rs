//! Lists the user's sandboxes and the processes in them.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::directory::{Directory, DirectoryError};
use super::lock::{self, SandboxFile, SandboxLock};
use super::uplink::{self, Program};
use super::{Found, SandboxError};
use crate::kernel::linux::process::{Process, identity, is_below, numbers};
use crate::name::SandboxName;

/// How long a process may take to exit after a signal.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How often to look for processes that were started meanwhile.
const ATTEMPTS: usize = 20;

/// A sandbox of the user.
#[derive(Debug)]
pub struct Listed {
    /// The sandbox's name.
    pub name: SandboxName,
    /// The holder; `None` if it has exited. An error if that cannot be determined.
    pub holder: Result<Option<Process>, DirectoryError>,
    /// The program that connects it to the outside.
    pub uplink: Option<Program>,
}

/// The user's sandboxes, sorted by name.
///
/// # Errors
/// If the runtime directory cannot be read or is unsafe. What is wrong with one sandbox does not concern the others.
pub fn all() -> Result<Vec<Listed>, SandboxError> {
    let names = names()?;
    let mut listed = Vec::new();
    for name in names {
        match look(&name) {
            Ok(found) => listed.extend(found),
            Err(error) => listed.push(Listed { name, holder: Err(error), uplink: None }),
        }
    }
    Ok(listed)
}

/// Looks at a sandbox; returns `None` if it was stopped meanwhile.
fn look(name: &SandboxName) -> Result<Option<Listed>, DirectoryError> {
    let Some(lock) = SandboxLock::acquire(name)? else { return Ok(None) };
    let holder = match super::find(&lock)? {
        Some(Found::Running(holder, _)) => Some(holder),
        Some(Found::Dead) => None,
        None => return Ok(None),
    };
    Ok(Some(Listed { name: name.clone(), holder: Ok(holder), uplink: uplink::find(&lock)? }))
}

/// The names of the user's sandboxes, sorted.
///
/// # Errors
/// If the runtime directory cannot be read or is unsafe.
pub fn names() -> Result<Vec<SandboxName>, SandboxError> {
    Ok(Directory::open()?.as_ref().map(lock::registered).transpose()?.unwrap_or_default())
}

/// Finds a running sandbox without locking it, so that nothing is written, removed or waited for. Returns `None` also for one that
/// cannot be read.
pub fn glance(name: &SandboxName) -> Option<(Process, File)> {
    let directory = Directory::open().ok()??;
    let (pid_file, file) = lock::read(&directory, name, SandboxFile::Holder).ok()??;
    Some((pid_file.process().ok()??, file))
}

/// The processes in a holder's sandbox, also those in namespaces that were created in it, without the holder, the caller, and the program
/// of the uplink.
///
/// # Errors
/// If /proc cannot be read.
pub fn processes_in(holder: &Process) -> io::Result<Vec<Process>> {
    let namespace = |process: i32, kind: &str| identity(&format!("/proc/{process}/ns/{kind}"));
    let wanted = ["user", "net", "mnt"].map(|kind| namespace(holder.number(), kind).ok());
    let (own, users) = (i32::try_from(std::process::id()).unwrap_or_default(), identity("/proc/self/ns/user")?);
    let is_inside = |process: i32| {
        // Processes that have exited or belong to other users cannot be inspected.
        let Ok(user) = namespace(process, "user") else { return false };
        let [in_user, in_net, in_mount] = wanted;
        let is_same = |kind: &str, wanted: Option<_>| wanted.is_some() && namespace(process, kind).ok() == wanted;
        Some(user) == in_user
            || is_same("net", in_net)
            || is_same("mnt", in_mount)
            || user != users && in_user.is_some_and(|wanted| is_below(process, wanted))
    };
    let mut found = Vec::new();
    for number in numbers("/proc")?.into_iter().filter(|number| ![own, holder.number()].contains(number)) {
        if !is_inside(number) {
            continue;
        }
        // Checked again, because the number may have been reused before it was opened.
        let Ok(process) = Process::open(number) else { continue };
        if !process.has_ended(Duration::ZERO).unwrap_or(true) && is_inside(number) && !uplink::is_program(number) {
            found.push(process);
        }
    }
    Ok(found)
}

/// Ends the processes in a holder's sandbox, except for the spared ones. Returns their number.
pub(super) fn end_processes(holder: &Process, spared: &[i32]) -> io::Result<usize> {
    let mut ended = 0;
    for _ in 0..ATTEMPTS {
        let mut found = processes_in(holder)?;
        found.retain(|process| !spared.contains(&process.number()));
        if found.is_empty() {
            return Ok(ended);
        }
        found.iter().try_for_each(|process| process.signal(Signal::SIGTERM))?;
        for process in &found {
            if !process.has_ended(EXIT_TIMEOUT)? {
                process.signal(Signal::SIGKILL)?;
                process.has_ended(EXIT_TIMEOUT)?;
            }
        }
        ended += found.len();
    }
    Err(io::Error::other("new processes are started in it all the time"))
}
