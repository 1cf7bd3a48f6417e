//! Lists the user's sandboxes and the processes in them.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::directory::Directory;
use super::lock::{self, SandboxLock};
use super::uplink::{self, Program};
use super::{Found, SandboxError};
use crate::kernel::linux::process::{Process, identity, numbers};
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
    /// The holder; `None` if it has exited.
    pub holder: Option<Process>,
    /// The program that connects it to the outside.
    pub uplink: Option<Program>,
}

/// The user's sandboxes, sorted by name.
///
/// # Errors
/// If the runtime directory cannot be read or is unsafe.
pub fn all() -> Result<Vec<Listed>, SandboxError> {
    let names = names()?;
    let mut listed = Vec::new();
    for name in names {
        let Some(lock) = SandboxLock::acquire(&name)? else { continue };
        let holder = match super::find(&lock)? {
            Some(Found::Running(holder, _)) => Some(holder),
            Some(Found::Dead) => None,
            None => continue,
        };
        let uplink = uplink::find(&lock)?;
        listed.push(Listed { name, holder, uplink });
    }
    Ok(listed)
}

/// The names of the user's sandboxes, sorted.
///
/// # Errors
/// If the runtime directory cannot be read or is unsafe.
pub fn names() -> Result<Vec<SandboxName>, SandboxError> {
    Ok(Directory::open()?.as_ref().map(lock::registered).transpose()?.unwrap_or_default())
}

/// The processes in a holder's sandbox, without the holder and the caller.
///
/// # Errors
/// If /proc cannot be read.
pub fn processes_in(holder: &Process) -> io::Result<Vec<Process>> {
    const KINDS: [&str; 3] = ["user", "net", "mnt"];
    let namespaces = |process: i32| KINDS.map(|kind| identity(&format!("/proc/{process}/ns/{kind}")).ok());
    let wanted = namespaces(holder.number());
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    for number in numbers("/proc")?.into_iter().filter(|number| ![own, holder.number()].contains(number)) {
        // Opened first, so that the number cannot be reused. Processes that have exited or belong to other users are skipped.
        let Ok(process) = Process::open(number) else { continue };
        let is_running = !process.has_ended(Duration::ZERO).unwrap_or(true);
        if is_running && namespaces(number).iter().zip(&wanted).any(|(found, wanted)| found.is_some() && found == wanted) {
            found.push(process);
        }
    }
    Ok(found)
}

/// Ends the processes in a holder's sandbox. Returns their number.
pub(super) fn end_processes(holder: &Process) -> io::Result<usize> {
    let mut ended = 0;
    for _ in 0..ATTEMPTS {
        let found = processes_in(holder)?;
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
