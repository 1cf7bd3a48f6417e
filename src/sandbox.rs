//! Sandboxes: isolated networks for labs. A sandbox is a user, network and mount namespace with its own /run. It needs no
//! privileges and does not change the machine.
//!
//! A sandbox exists as long as its [holder] process, which does nothing else. Commands find the holder through a
//! [PID file](pid_file) in the user's [runtime directory](directory), and join its namespaces through a pidfd. When the holder
//! exits, the kernel frees everything in the sandbox.
//!
//! A [throw-away sandbox](throw_away) ends with the command for which it was created.

pub mod directory;
pub mod holder;
pub mod list;
pub mod lock;
pub mod pid_file;
pub mod restriction;
pub mod start;
pub mod throw_away;
pub mod uplink;

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use self::directory::DirectoryError;
use self::lock::{SandboxFile, SandboxLock};
use self::start::{Holder, Kind, StartError};
use crate::kernel::linux::node::cgroup;
use crate::kernel::linux::process::{self, Process};
use crate::name::SandboxName;
use crate::runtime::unlock;

/// The sandbox to use if none is named.
pub const DEFAULT: &str = "default";
/// How long to wait for a process that seems to be exiting.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a command that reads a sandbox may take before another one gives up stopping it.
const READING_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval between two attempts to lock a PID file.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);
/// How long to wait for a process that was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a sandbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The runtime directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A new sandbox cannot be created.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The sandbox exists but cannot be joined.
    #[error("cannot join sandbox `{name}`")]
    Join {
        /// The sandbox's name.
        name: SandboxName,
        /// Why.
        source: io::Error,
    },
    /// The holder has exited since it was found.
    #[error("sandbox `{0}` has ended")]
    Ended(SandboxName),
    /// The sandbox cannot be stopped.
    #[error("cannot stop sandbox `{name}`")]
    Stop {
        /// The sandbox's name.
        name: SandboxName,
        /// Why.
        source: io::Error,
    },
}

/// A sandbox that has a PID file.
#[derive(Debug)]
pub enum Found {
    /// The holder is running. The PID file is open.
    Running(Process, File),
    /// The holder has exited, so everything in the sandbox is gone.
    Dead,
}

/// Looks for a sandbox; returns `None` if it has no PID file.
///
/// # Errors
/// If the PID file cannot be read.
pub fn find(lock: &SandboxLock) -> Result<Option<Found>, DirectoryError> {
    let Some((pid_file, file)) = lock.read(SandboxFile::Holder)? else { return Ok(None) };
    let holder = pid_file.process().map_err(lock.error(SandboxFile::Holder))?;
    Ok(Some(holder.map_or(Found::Dead, |holder| Found::Running(holder, file))))
}

/// Looks for a sandbox, and removes the files of a dead one.
///
/// # Errors
/// If a file cannot be read or removed.
pub fn find_or_clean_up(lock: &SandboxLock) -> Result<Option<Found>, DirectoryError> {
    let found = find(lock)?;
    if matches!(found, Some(Found::Dead)) {
        lock.remove(SandboxFile::Uplink)?;
        lock.remove(SandboxFile::Holder)?;
    }
    Ok(found)
}

/// A sandbox that this process has joined.
pub struct Sandbox {
    name: SandboxName,
    /// The holder, except in a temporary sandbox.
    holder: Option<Process>,
    /// The PID file with a shared lock, which every process holds that changes or reads the sandbox.
    in_use: Option<Flock<File>>,
    /// The holder of a temporary sandbox.
    temporary: Option<Holder>,
}

impl Sandbox {
    /// Joins an existing sandbox. With `uses`, no other process stops it for lack of labs until this value is dropped.
    ///
    /// # Errors
    /// [`SandboxError::Ended`] if it has ended meanwhile; others if it belongs to another user.
    pub fn join(name: SandboxName, holder: Process, pid_file: File, uses: bool) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Join { name: name.clone(), source };
        let in_use = match uses {
            true => Some(Flock::lock(pid_file, FlockArg::LockShared).map_err(|(_, error)| failed(error.into()))?),
            false => None,
        };
        if let Err(error) = holder.join() {
            // A process that is exiting cannot be joined, but may not count as exited yet.
            let ended = holder.has_ended(EXIT_TIMEOUT).unwrap_or(false);
            return Err(if ended { SandboxError::Ended(name) } else { failed(error) });
        }
        Ok(Self { name, in_use, holder: Some(holder), temporary: None })
    }

    /// Creates and joins a sandbox that ends with this value and that no other process can find.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn temporary(name: SandboxName) -> Result<Self, SandboxError> {
        let holder = start::start(Kind::Temporary)?;
        holder.process.join().map_err(|source| SandboxError::Join { name: name.clone(), source })?;
        Ok(Self { name, in_use: None, holder: None, temporary: Some(holder) })
    }

    /// The sandbox's name.
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// The process that keeps it; `None` for a temporary sandbox.
    pub fn holder(&self) -> Option<&Process> {
        self.holder.as_ref()
    }

    /// Whether it was joined to change or read something in it.
    pub fn is_in_use(&self) -> bool {
        self.in_use.is_some()
    }

    /// Whether it ends with the command of `topo run`, and only with that.
    pub fn is_throw_away(&self) -> bool {
        self.holder.as_ref().is_some_and(is_throw_away)
    }

    /// Whether it has ended, and everything in it is gone.
    pub fn has_ended(&self) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.is_ending().unwrap_or(true))
    }

    /// Leaves the sandbox. A temporary one ends.
    pub fn leave(self) {
        if let Some(holder) = self.temporary {
            holder.end();
        }
    }

    /// Stops the sandbox if no other process is changing or reading it and `is_empty` returns true. Waits a moment for others, since reading
    /// takes no longer. Ends the processes in it, except for those that led to this one. Returns their number if it was stopped.
    ///
    /// # Errors
    /// If it cannot be stopped.
    pub fn stop_if(self, lock: &SandboxLock, is_empty: impl FnOnce() -> bool) -> Result<Option<usize>, SandboxError> {
        let (Some(in_use), Some(holder)) = (self.in_use, self.holder) else { return Ok(None) };
        let failed = |source: io::Error| SandboxError::Stop { name: self.name.clone(), source };
        // Unlocked first: if two processes leave at the same time, only the later one gets the exclusive lock.
        let pid_file = in_use.unlock().map_err(|(in_use, error)| {
            std::mem::forget(in_use);
            failed(error.into())
        })?;
        let Some(exclusive) = lock_within(pid_file, READING_TIMEOUT) else { return Ok(None) };
        let stop = || {
            let ended = list::end_processes(&holder, &process::ancestors())?;
            kill_holder(lock, &holder).map(|()| ended)
        };
        let ended = is_empty().then(stop).transpose().map_err(failed)?;
        unlock(exclusive);
        Ok(ended)
    }
}

/// Whether a holder's sandbox is a throw-away one, in which this process is then: the holder is the first process of its PID namespace.
fn is_throw_away(holder: &Process) -> bool {
    holder.number() == 1
}

/// Locks a file exclusively; `None` if others keep it locked.
fn lock_within(mut file: File, time: Duration) -> Option<Flock<File>> {
    let start = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Some(locked),
            Err(_) if start.elapsed() > time => return None,
            Err((unlocked, _)) => file = unlocked,
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
}

/// Kills the holder and removes its files.
fn kill_holder(lock: &SandboxLock, holder: &Process) -> io::Result<()> {
    holder.signal(Signal::SIGKILL)?;
    if !holder.has_ended(KILL_TIMEOUT)? {
        return Err(io::Error::other(format!("process {} does not exit", holder.number())));
    }
    // Those of its nodes.
    cgroup::clean_up();
    lock.remove(SandboxFile::Uplink).map_err(io::Error::other)?;
    lock.remove(SandboxFile::Holder).map_err(io::Error::other)
}

/// Stops a sandbox and ends all processes in it. Returns their number.
///
/// # Errors
/// If a process cannot be ended.
pub fn stop(lock: &SandboxLock, holder: &Process) -> Result<usize, SandboxError> {
    let failed = |source| SandboxError::Stop { name: lock.name().clone(), source };
    if is_throw_away(holder) {
        return Err(failed(io::Error::other("it ends with the command of `topo run`")));
    }
    let ended = list::end_processes(holder, &[]).map_err(failed)?;
    kill_holder(lock, holder).map_err(failed)?;
    Ok(ended)
}
