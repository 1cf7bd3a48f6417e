//! Which sandboxes a user has, and which processes are in them.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::directory::{Directory, Held};
use super::uplink::{self, Program};
use super::{Found, SandboxError};
use crate::kernel::linux::process::{Process, identity, numbers};
use crate::name::SandboxName;

/// How long a process has to end by itself.
const GRACE: Duration = Duration::from_millis(500);
/// How often to look again for processes that others have started meanwhile.
const ROUNDS: usize = 20;

/// A sandbox of the user's.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: SandboxName,
    /// Its keeper; `None` when it has gone.
    pub keeper: Option<Process>,
    /// Its way out.
    pub uplink: Option<Program>,
}

/// The user's sandboxes, by name.
///
/// # Errors
/// When the directory of records cannot be read or trusted.
pub fn all() -> Result<Vec<Listed>, SandboxError> {
    let names = Directory::open()?.map(|directory| directory.names()).transpose()?.unwrap_or_default();
    let mut listed = Vec::new();
    for name in names {
        let Some(held) = Held::take(&name)? else { continue };
        let keeper = match super::find(&held)? {
            Some(Found::Alive(keeper, _)) => Some(keeper),
            Some(Found::Gone) => None,
            None => continue,
        };
        let uplink = uplink::find(&held)?;
        listed.push(Listed { name, keeper, uplink });
    }
    Ok(listed)
}

/// The processes inside of a keeper's sandbox, itself and the caller left out.
///
/// # Errors
/// When /proc cannot be read.
pub fn inhabitants(keeper: &Process) -> io::Result<Vec<Process>> {
    const KINDS: [&str; 3] = ["user", "net", "mnt"];
    let namespaces = |process: i32| KINDS.map(|kind| identity(&format!("/proc/{process}/ns/{kind}")).ok());
    let wanted = namespaces(keeper.number());
    let itself = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    for number in numbers("/proc")?.into_iter().filter(|number| ![itself, keeper.number()].contains(number)) {
        // Opened before it is looked at. One that has ended, or is another user's, is not inside.
        let Ok(process) = Process::open(number) else { continue };
        let is_there = !process.has_ended(Duration::ZERO).unwrap_or(true);
        if is_there && namespaces(number).iter().zip(&wanted).any(|(own, wanted)| own.is_some() && own == wanted) {
            found.push(process);
        }
    }
    Ok(found)
}

/// Ends the processes inside of a keeper's sandbox; returns how many those were.
pub(super) fn end_inhabitants(keeper: &Process) -> io::Result<usize> {
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let found = inhabitants(keeper)?;
        if found.is_empty() {
            return Ok(ended);
        }
        found.iter().try_for_each(|process| process.signal(Signal::SIGTERM))?;
        for process in &found {
            if !process.has_ended(GRACE)? {
                process.signal(Signal::SIGKILL)?;
                process.has_ended(GRACE)?;
            }
        }
        ended += found.len();
    }
    Err(io::Error::other("processes are started there all the time"))
}
