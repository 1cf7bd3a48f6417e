//! A machine's network to itself: fresh network and mount namespaces, a `/run` of its own, and the kernel at rest.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::netlink::{self, Messages, Socket};

/// Moves the calling process, which must have no other threads, into namespaces of its own, without privileges if need be.
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

/// Waits until the kernel has cleaned up after every namespace that is gone: it does so in the order in which they went, so that
/// one made and dropped now is the last. It takes all that wait at once; a second one is in the round after that.
pub fn rest() -> io::Result<()> {
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
        socket.wait_for_namespace_to_go(CANARY)?;
    }
    Ok(())
}

/// A number by which no other namespace is known.
const CANARY: i32 = 1_000_000_000;

/// How long a process took, and the most memory that it had, in KiB.
pub struct Cost {
    pub seconds: f64,
    pub memory: f64,
}

/// Runs a program to its end.
pub fn run(command: &mut std::process::Command) -> io::Result<Cost> {
    let start = std::time::Instant::now();
    let child = command.spawn()?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    let process = i32::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: both pointers lead to values that live until the call returns; the child is waited for nowhere else.
    let waited = unsafe { libc::wait4(process, &raw mut status, 0, usage.as_mut_ptr()) };
    let seconds = start.elapsed().as_secs_f64();
    if waited != process || status != 0 {
        return Err(io::Error::other(format!("{command:?} failed ({status})")));
    }
    // SAFETY: wait4(2) has filled it in, and zeros are a value of it.
    let memory = unsafe { usage.assume_init() }.ru_maxrss;
    #[expect(clippy::cast_precision_loss, reason = "no process has that much memory")]
    Ok(Cost { seconds, memory: memory as f64 })
}
