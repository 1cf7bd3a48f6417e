//! Capabilities, capabilities(7): what topo keeps of those that it was started with.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

/// Something that only a privileged process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Write where the file's permissions forbid it.
    IgnorePermissions = 1,
    /// Send signals to other users' processes.
    Signal = 5,
    /// Act as another group.
    ChangeGroup = 6,
    /// Act as another user.
    ChangeUser = 7,
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

/// Whether the calling thread may change the network and the mounts that it is in. Root of a user namespace may not, while the
/// network or the mounts are those of the namespace around it.
///
/// # Errors
/// When the system does not tell.
pub fn is_ours_to_change() -> io::Result<bool> {
    Ok(may(&ALWAYS)? && is_owned("/proc/thread-self/ns/net")? && is_owned("/proc/thread-self/ns/mnt")?)
}

/// Whether the calling thread may act as any user.
pub(super) fn may_change_user() -> bool {
    may(&[Capability::ChangeGroup, Capability::ChangeUser]).unwrap_or(false)
}

fn may(wanted: &[Capability]) -> io::Result<bool> {
    let wanted = wanted.iter().fold(0_u32, |wanted, capability| wanted | 1 << (*capability as u32));
    let [low, _] = read()?;
    Ok(low.effective & wanted == wanted)
}

/// Whether a namespace belongs to the caller's user namespace or to one inside of it.
fn is_owned(namespace: &str) -> io::Result<bool> {
    nix::ioctl_none_bad!(owner, libc::NS_GET_USERNS);
    let namespace = std::fs::File::open(namespace)?;
    // SAFETY: NS_GET_USERNS takes no argument; the descriptor is open.
    match unsafe { owner(namespace.as_raw_fd()) } {
        Ok(descriptor) => {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            Ok(true)
        }
        // The owner is a user namespace around the caller's.
        Err(nix::errno::Errno::EPERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read() -> io::Result<[Half; 2]> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: the header names version 3, for which the kernel writes two halves, which are there.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    nix::errno::Errno::result(read)?;
    Ok(halves)
}

fn restrict(kept: u32) -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    let header = Header { version: VERSION, pid: 0 };
    let mut halves = read()?;
    let [low, high] = &mut halves;
    *low = Half { effective: low.permitted & kept, permitted: low.permitted & kept, inheritable: 0 };
    *high = Half::default();
    // SAFETY: the header names version 3, for which the kernel reads two halves, which are there.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    nix::errno::Errno::result(written)?;
    Ok(())
}
