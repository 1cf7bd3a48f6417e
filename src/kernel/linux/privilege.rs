//! Capabilities, capabilities(7): what topo keeps of those that it was started with.

use std::io;

use nix::libc;

/// Something that only a privileged process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Write where the file's permissions forbid it.
    IgnorePermissions = 1,
    /// Send signals to other users' processes.
    Signal = 5,
    /// Change the network.
    Network = 12,
    /// Look at other processes' namespaces.
    Trace = 19,
    /// Enter namespaces and mount.
    Administer = 21,
}

/// What every command needs that deals with the kernel.
const ALWAYS: [Capability; 2] = [Capability::Network, Capability::Administer];

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits, in two halves.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up every capability for good, except those that topo cannot do without and `more`. Only the calling thread is
/// concerned, and those that it starts afterwards.
///
/// # Errors
/// When the system refuses; nothing is given up then.
pub fn keep(more: &[Capability]) -> Result<(), PrivilegeError> {
    let kept = ALWAYS.iter().chain(more).fold(0_u32, |kept, capability| kept | 1 << (*capability as u32));
    restrict(kept).map_err(PrivilegeError)
}

/// Privileges cannot be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot give up privileges")]
pub struct PrivilegeError(#[source] io::Error);

fn restrict(kept: u32) -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    let mut header = Header { version: VERSION, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: the header names version 3, for which the kernel writes two halves, which are there.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    nix::errno::Errno::result(read)?;
    let [low, high] = &mut halves;
    *low = Half { effective: low.permitted & kept, permitted: low.permitted & kept, inheritable: 0 };
    *high = Half::default();
    // SAFETY: as above; the kernel reads the two halves.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    nix::errno::Errno::result(written)?;
    Ok(())
}
