//! An isolated environment: new network and mount namespaces, a private `/run`, and an idle kernel.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::netlink::{self, Messages, Socket};

/// Moves the calling process, which must be single-threaded, into new namespaces. Works without privileges too.
pub fn enter() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let fresh = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if user.is_root() {
        unshare(fresh)?;
    } else {
        unshare(fresh | CloneFlags::CLONE_NEWUSER)?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing)?;
    let socket = Socket::open()?;
    let mut messages = Messages::default();
    messages.begin(netlink::RTM_SETLINK, 0, &netlink::link(1, true));
    socket.execute(&messages)
}

/// Waits until the kernel has cleaned up all deleted namespaces. It cleans up in the order of deletion, so a namespace that is created
/// and dropped now is the last. It processes all waiting ones in one batch; a second namespace is in the next batch.
pub fn wait_until_idle() -> io::Result<()> {
    let socket = Socket::open()?;
    socket.listen_for_namespaces()?;
    for _ in 0..2 {
        let file = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = file.join().map_err(|_| io::Error::other("the thread has ended"))??;
        let mut known = Messages::default();
        const RTM_NEWNSID: u16 = 88;
        const NETNSA_NSID: u16 = 1;
        const NETNSA_FD: u16 = 3;
        known.begin(RTM_NEWNSID, 0, &[0; 4]);
        known.attribute(NETNSA_NSID, &CANARY.to_ne_bytes());
        known.attribute(NETNSA_FD, &file.as_raw_fd().to_ne_bytes());
        Socket::open()?.execute(&known)?;
        drop(file);
        socket.wait_for_namespace_deletion(CANARY)?;
    }
    Ok(())
}

/// An unused namespace identifier.
const CANARY: i32 = 1_000_000_000;

/// The duration of a process and its peak memory, in KiB.
pub struct Cost {
    pub seconds: f64,
    pub memory: f64,
}

/// Runs a program until it exits.
pub fn run(command: &mut std::process::Command) -> io::Result<Cost> {
    let start = std::time::Instant::now();
    let child = command.spawn()?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    let process = i32::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: both pointers are valid for the duration of the call, and nothing else waits for the child.
    let waited = unsafe { libc::wait4(process, &raw mut status, 0, usage.as_mut_ptr()) };
    let seconds = start.elapsed().as_secs_f64();
    if waited != process || status != 0 {
        return Err(io::Error::other(format!("{command:?} failed ({status})")));
    }
    // SAFETY: it was zeroed, which is a valid value, and filled by wait4(2).
    let memory = unsafe { usage.assume_init() }.ru_maxrss;
    #[expect(clippy::cast_precision_loss, reason = "no process has that much memory")]
    Ok(Cost { seconds, memory: memory as f64 })
}
