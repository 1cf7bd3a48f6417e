//! Throw-away sandboxes: each is created for one command, and ends with it. Whatever is killed, nothing is left.
//!
//! The process that creates it stays outside, as the parent of the command, and holds a socket. Its [holder](super::holder) is the first
//! process of a PID namespace and exits when the socket is closed. So if either of the two is killed, the kernel kills all processes in the
//! sandbox and frees its namespaces. No file of it exists outside.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;

use super::SandboxError;
use super::start::{self, Holder, Kind, StartError};
use super::uplink::{self, Opened, Program, UplinkError};
use crate::kernel::linux::node::cgroup;
use crate::kernel::linux::process::Process;
use crate::name::SandboxName;

/// A throw-away sandbox. It ends with this value.
pub struct ThrowAway {
    name: SandboxName,
    holder: Holder,
    /// The supervisor of the uplink.
    uplink: Option<Process>,
}

impl ThrowAway {
    /// Creates a sandbox with a random name.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn create() -> Result<Self, SandboxError> {
        let name = random_name().map_err(StartError::Holder)?;
        prctl::set_child_subreaper(true).map_err(|error| StartError::Holder(error.into()))?;
        let holder = start::start(Kind::ThrowAway(&name))?;
        Ok(Self { name, holder, uplink: None })
    }

    /// Connects it to the outside. Call it before [`Self::enter`]. The result is to be set up by a process in the sandbox.
    ///
    /// # Errors
    /// If the program is missing or fails.
    pub fn connect(&mut self, wanted: Option<Program>) -> Result<Opened, UplinkError> {
        let (opened, supervisor) = uplink::connect(&self.holder.process, wanted)?;
        self.uplink = Some(supervisor);
        Ok(opened)
    }

    /// Lets the calling process, which must have a single thread, start programs in it.
    ///
    /// # Errors
    /// If it has ended, or the system refuses that.
    pub fn enter(&self) -> Result<(), SandboxError> {
        let entered = self.holder.process.join_for_children();
        entered.map_err(|source| SandboxError::Join { name: self.name.clone(), source })
    }

    /// This program, to be started in the sandbox.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn command(&self) -> io::Result<Command> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("topo");
        self.holder.process.start_inside(&mut command)?;
        Ok(command)
    }

    /// The sandbox's name.
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// Whether its holder was killed, and everything in it is gone.
    pub fn has_ended(&self) -> bool {
        self.holder.process.is_ending().unwrap_or(true)
    }

    /// Ends it, and returns when all its processes have exited.
    pub fn end(self) {
        self.holder.end();
        self.uplink.iter().for_each(|supervisor| start::reap(supervisor.number()));
        cgroup::clean_up();
    }
}

/// A name that no other sandbox has.
fn random_name() -> io::Result<SandboxName> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let random: String = uuid.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    format!("run-{random}").parse().map_err(io::Error::other)
}
