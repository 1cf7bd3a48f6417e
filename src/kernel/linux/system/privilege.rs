//! Drops the capabilities, capabilities(7), that topo does not need.

use std::io;

use nix::libc;

/// A capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Ignore the permissions of files (CAP_DAC_OVERRIDE).
    IgnorePermissions = 1,
    /// Ignore the permissions of files and directories for reading (CAP_DAC_READ_SEARCH).
    IgnoreReadPermissions = 2,
    /// Send signals to other users' processes (CAP_KILL).
    Signal = 5,
    /// Change the group IDs (CAP_SETGID).
    ChangeGroup = 6,
    /// Change the user IDs (CAP_SETUID).
    ChangeUser = 7,
    /// Receive on ports below 1024, as vxlans can (CAP_NET_BIND_SERVICE).
    BindPort = 10,
    /// Receive the notifications of other network namespaces (CAP_NET_BROADCAST).
    Broadcast = 11,
    /// Change the network (CAP_NET_ADMIN).
    Network = 12,
    /// Open other processes' namespaces (CAP_SYS_PTRACE).
    Trace = 19,
    /// Enter namespaces and mount (CAP_SYS_ADMIN).
    Administer = 21,
}

/// The capabilities that every command needs that uses the kernel.
const NEEDED: [Capability; 2] = [Capability::Network, Capability::Administer];
/// Those that every command keeps.
const KEPT: [Capability; 3] = [Capability::BindPort, Capability::Network, Capability::Administer];

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

/// Permanently drops every capability of the calling thread and of threads that it starts later, except for [`KEPT`] and `more`.
///
/// # Errors
/// Fails if a system call fails. Then no capability is dropped.
pub fn keep(more: &[Capability]) -> Result<(), PrivilegeError> {
    let kept = KEPT.iter().chain(more).fold(0_u32, |kept, capability| kept | 1 << (*capability as u32));
    restrict(kept).map_err(PrivilegeError)
}

/// Capabilities could not be dropped.
#[derive(Debug, thiserror::Error)]
#[error("cannot drop privileges")]
pub struct PrivilegeError(#[source] io::Error);

/// Returns whether the calling thread can change its network and mount namespaces. Root of a user namespace cannot change those that belong
/// to an outer user namespace.
///
/// # Errors
/// Fails if a system call fails.
pub fn is_ours_to_change() -> io::Result<bool> {
    Ok(may(&NEEDED)? && is_owned("/proc/thread-self/ns/net")? && is_owned("/proc/thread-self/ns/mnt")?)
}

/// Returns whether the calling thread can change its user and group IDs.
pub(super) fn may_change_user() -> bool {
    may(&[Capability::ChangeGroup, Capability::ChangeUser]).unwrap_or(false)
}

/// Returns whether the user may open sockets for ICMP echo requests without privileges, icmp(7).
///
/// # Errors
/// Fails if the setting cannot be read.
pub fn may_ping() -> io::Result<bool> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range")?;
    let range: Vec<u32> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let groups = nix::unistd::getgroups()?.into_iter().chain([nix::unistd::getegid()]);
    Ok(groups.map(nix::unistd::Gid::as_raw).any(|group| range.first() <= Some(&group) && Some(&group) <= range.get(1)))
}

/// The capabilities to access files in spite of their permissions.
const FILES: [Capability; 2] = [Capability::IgnorePermissions, Capability::IgnoreReadPermissions];

/// Returns whether the calling thread may access files in spite of their permissions.
///
/// # Errors
/// Fails if a system call fails.
pub(super) fn may_ignore_permissions() -> io::Result<bool> {
    may(&FILES[..1])
}

/// Permanently drops the capabilities to access files in spite of their permissions, also for the programs that the calling thread
/// executes. For an ordinary user who is root in a user namespace: root would have them over the user's own files.
///
/// # Errors
/// Fails if a system call fails.
pub(super) fn respect_permissions() -> io::Result<()> {
    for capability in FILES {
        // SAFETY: PR_CAPBSET_DROP takes a number.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) };
        nix::errno::Errno::result(dropped)?;
    }
    let [low, high] = read()?;
    let kept = FILES.iter().fold(!0_u32, |kept, capability| kept & !(1 << (*capability as u32)));
    let low = Half { effective: low.effective & kept, permitted: low.permitted & kept, inheritable: low.inheritable & kept };
    write([low, high])
}

fn may(wanted: &[Capability]) -> io::Result<bool> {
    let wanted = wanted.iter().fold(0_u32, |wanted, capability| wanted | 1 << (*capability as u32));
    let [low, _] = read()?;
    Ok(low.effective & wanted == wanted)
}

/// Returns whether a namespace belongs to the caller's user namespace or to one inside of it.
fn is_owned(namespace: &str) -> io::Result<bool> {
    Ok(super::netns::owner_of(&std::fs::File::open(namespace)?)?.is_some())
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
    let [low, _] = read()?;
    write([Half { effective: low.permitted & kept, permitted: low.permitted & kept, inheritable: 0 }, Half::default()])
}

fn write(halves: [Half; 2]) -> io::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    // SAFETY: the header names version 3, for which the kernel reads two halves, which are there.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    nix::errno::Errno::result(written)?;
    Ok(())
}
