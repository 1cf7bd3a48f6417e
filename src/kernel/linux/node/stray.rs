//! Inits whose sockets are gone, because somebody has removed /run/topo. They are found by their titles and network namespaces.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::title;
use crate::kernel::linux::process::{Process, identity, identity_of, numbers};
use crate::name::{LabName, NamespaceName};

/// The time that a killed init has to end.
const END: Duration = Duration::from_secs(10);

/// An init that looks like one of the lab.
pub struct Stray {
    name: NamespaceName,
    process: Process,
}

/// Finds the inits with the titles of a lab. Those of the same lab in other sandboxes are among them.
///
/// # Errors
/// Fails if /proc cannot be read.
pub fn find(lab: &LabName) -> io::Result<Vec<Stray>> {
    let prefix = title::of(lab, "");
    let mut found = Vec::new();
    for number in numbers("/proc")? {
        let read = || std::fs::read_to_string(format!("/proc/{number}/cmdline")).ok();
        let parse = |text: String| text.strip_prefix(&prefix)?.trim_end_matches('\0').parse::<NamespaceName>().ok();
        if let Some(name) = read().and_then(parse)
            // Opened before it is checked again, so that the number cannot belong to another process.
            && let Some(process) = Process::find(number)?
            && read().and_then(parse).as_ref() == Some(&name)
        {
            found.push(Stray { name, process });
        }
    }
    Ok(found)
}

impl Stray {
    /// Returns whether it is the init of the node with this name and network namespace.
    pub fn is_of(&self, name: &NamespaceName, network: &File) -> bool {
        let place = identity_of(network).ok();
        self.name == *name && place.is_some() && identity(&format!("/proc/{}/ns/net", self.process.number())).ok() == place
    }

    /// Kills it.
    ///
    /// # Errors
    /// Fails if it does not end.
    pub fn kill(self) -> io::Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        if self.process.has_ended(END)? { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::ETIMEDOUT)) }
    }
}
