//! Processes inside of network namespaces: found through /proc, ended through descriptors, so that a number that has passed to
//! another process never leads to the wrong one.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::name::NamespaceName;

/// How long a process has to end by itself.
const GRACE: Duration = Duration::from_millis(500);
/// How often to look again for processes that others have started meanwhile.
const ROUNDS: usize = 20;

/// A process, one of whose threads at least is inside a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhabitant {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The process's number.
    pub process: i32,
    /// What it calls itself (/proc/PID/comm).
    pub command: String,
}

/// A namespace to look for.
pub(super) struct Place {
    pub(super) namespace: NamespaceName,
    pub(super) file: File,
}

/// The processes inside of these namespaces, as far as this process may see them.
///
/// # Errors
/// When /proc cannot be read.
pub(super) fn find(places: &[Place]) -> io::Result<Vec<Inhabitant>> {
    Ok(search(places)?.into_iter().map(|(inhabitant, _)| inhabitant).collect())
}

/// Ends the processes inside of these namespaces: asks them to, and kills those that do not follow. Returns when none is left.
///
/// # Errors
/// When one may not be ended, or more are started all the time.
pub(super) fn end(places: &[Place]) -> io::Result<Vec<Inhabitant>> {
    let mut ended = Vec::new();
    for _ in 0..ROUNDS {
        let found = search(places)?;
        if found.is_empty() {
            return Ok(ended);
        }
        for (_, handle) in &found {
            signal(handle, Signal::SIGTERM)?;
        }
        for (inhabitant, handle) in found {
            if !has_ended(&handle, GRACE)? {
                signal(&handle, Signal::SIGKILL)?;
                has_ended(&handle, GRACE)?;
            }
            if !ended.contains(&inhabitant) {
                ended.push(inhabitant);
            }
        }
    }
    Err(io::Error::other("processes are started there all the time"))
}

/// What is found, each with a descriptor that was opened before the process was seen to be inside.
fn search(places: &[Place]) -> io::Result<Vec<(Inhabitant, OwnedFd)>> {
    let mut identities = Vec::new();
    for place in places {
        let status = place.file.metadata()?;
        identities.push((status.dev(), status.ino(), &place.namespace));
    }
    let itself = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    for process in numbers("/proc")?.into_iter().filter(|process| *process != itself) {
        // One that has ended meanwhile is not inside any more, nor is one that this process may not look at known to be.
        let Ok(handle) = open(process) else { continue };
        let Ok(threads) = numbers(&format!("/proc/{process}/task")) else { continue };
        let namespace = threads.into_iter().find_map(|thread| {
            let status = std::fs::metadata(format!("/proc/{process}/task/{thread}/ns/net")).ok()?;
            identities.iter().find(|(device, inode, _)| (*device, *inode) == (status.dev(), status.ino()))
        });
        if let Some((_, _, namespace)) = namespace {
            let command = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned();
            found.push((Inhabitant { namespace: (*namespace).clone(), process, command }, handle));
        }
    }
    Ok(found)
}

/// The entries of a directory that are numbers.
fn numbers(path: &str) -> io::Result<Vec<i32>> {
    let mut directory = Dir::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(directory.iter().flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok()).collect())
}

fn open(process: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers.
    let descriptor = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn signal(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: pidfd_send_signal(2) takes no information for a null pointer.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal as libc::c_int, nothing, 0) };
    match Errno::result(sent) {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

fn has_ended(process: &OwnedFd, patience: Duration) -> io::Result<bool> {
    use std::os::fd::AsFd;
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            other => return Ok(other? > 0),
        }
    }
}
