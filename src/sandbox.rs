//! Worlds of their own for labs: a user, network and mount namespace with a /run of its own, so that neither privileges nor
//! unique names are needed, and the machine is left alone.
//!
//! A sandbox lives as long as its [keeper], a small process that has nothing to do but to be there. It is found again through a
//! [record](directory) in a directory of the user, and joined through a descriptor of the keeper. When the keeper has ended, the
//! kernel frees all that was inside.

pub mod directory;
pub mod keeper;
pub mod list;
pub mod obstacle;
pub mod record;
pub mod start;
pub mod uplink;

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use self::directory::{DirectoryError, File as Entry, Held};
use self::start::{Keeper, StartError};
use crate::kernel::linux::process::Process;
use crate::name::SandboxName;

/// The sandbox of those who name none.
pub const DEFAULT: &str = "default";
/// How long a process that ends may take until that can be seen.
const LAST_BREATH: Duration = Duration::from_millis(500);
/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a sandbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The directory of records cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A new one could not be made.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It is there, and cannot be joined.
    #[error("cannot join sandbox `{name}`")]
    Join {
        /// Its name.
        name: SandboxName,
        /// Why.
        source: io::Error,
    },
    /// Its keeper has ended since it was found.
    #[error("sandbox `{0}` has ended")]
    Ended(SandboxName),
    /// It could not be ended.
    #[error("cannot end sandbox `{name}`")]
    End {
        /// Its name.
        name: SandboxName,
        /// Why.
        source: io::Error,
    },
}

/// What a record leads to.
#[derive(Debug)]
pub enum Found {
    /// The keeper is there; so is the record, open.
    Alive(Process, File),
    /// The keeper has ended, and with it all that was in the sandbox.
    Gone,
}

/// Looks for a sandbox.
///
/// # Errors
/// When its record cannot be read.
pub fn find(held: &Held) -> Result<Option<Found>, DirectoryError> {
    let Some((record, file)) = held.read(Entry::Record)? else { return Ok(None) };
    let keeper = record.find().map_err(held.failed(Entry::Record))?;
    Ok(Some(keeper.map_or(Found::Gone, |keeper| Found::Alive(keeper, file))))
}

/// The same, with what is left of one that has gone cleared away.
///
/// # Errors
/// When the record cannot be read or removed.
pub fn find_or_clear(held: &Held) -> Result<Option<Found>, DirectoryError> {
    let found = find(held)?;
    if matches!(found, Some(Found::Gone)) {
        held.remove(Entry::Uplink)?;
        held.remove(Entry::Record)?;
    }
    Ok(found)
}

/// A sandbox that this process works in.
pub struct Sandbox {
    name: SandboxName,
    /// That of a sandbox that is written down.
    keeper: Option<Process>,
    /// The record, locked together with all others that change something in the sandbox.
    used: Option<Flock<File>>,
    /// That of a sandbox that nobody else knows.
    own: Option<Keeper>,
}

impl Sandbox {
    /// Joins a sandbox that others have made. With `changes` it does not end before this value is dropped.
    ///
    /// # Errors
    /// [`SandboxError::Ended`] when it has ended meanwhile; others when it is that of another user.
    pub fn join(name: SandboxName, keeper: Process, record: File, changes: bool) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Join { name: name.clone(), source };
        let used = match changes {
            true => Some(Flock::lock(record, FlockArg::LockShared).map_err(|(_, error)| failed(error.into()))?),
            false => None,
        };
        if let Err(error) = keeper.join() {
            // One that is on its way out cannot be joined any more, and does not count as ended yet.
            let ended = keeper.has_ended(LAST_BREATH).unwrap_or(false);
            return Err(if ended { SandboxError::Ended(name) } else { failed(error) });
        }
        Ok(Self { name, used, keeper: Some(keeper), own: None })
    }

    /// Makes and joins one that ends with this value.
    ///
    /// # Errors
    /// When the system forbids it.
    pub fn passing(name: SandboxName) -> Result<Self, SandboxError> {
        let own = start::start(None)?;
        own.process.join().map_err(|source| SandboxError::Join { name: name.clone(), source })?;
        Ok(Self { name, used: None, keeper: None, own: Some(own) })
    }

    /// Its name.
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// Whether it was joined to change something in it.
    pub fn is_changing(&self) -> bool {
        self.used.is_some()
    }

    /// Whether it has ended, with all that was done in it.
    pub fn has_ended(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.is_ending().unwrap_or(true))
    }

    /// Leaves a sandbox that nobody else knows, so that it ends; one that is written down stays.
    pub fn leave(self) {
        if let Some(own) = self.own {
            own.end();
        }
    }

    /// Ends the sandbox, provided that nobody else changes anything in it and `is_empty` says so then. Says whether it did.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn end_if(self, held: &Held, is_empty: impl FnOnce() -> bool) -> Result<bool, SandboxError> {
        let (Some(used), Some(keeper)) = (self.used, self.keeper) else { return Ok(false) };
        let failed = |source: io::Error| SandboxError::End { name: self.name.clone(), source };
        // Given up and taken again: of two that leave at the same time, the later one is alone.
        let record = used.unlock().map_err(|(used, error)| {
            std::mem::forget(used);
            failed(error.into())
        })?;
        let Ok(alone) = Flock::lock(record, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
        let ends = is_empty();
        if ends {
            end(held, &keeper).map_err(failed)?;
        }
        let _ = directory::release(alone);
        Ok(ends)
    }
}

/// Ends a keeper, and forgets where it was.
fn end(held: &Held, keeper: &Process) -> io::Result<()> {
    keeper.signal(Signal::SIGKILL)?;
    if !keeper.has_ended(PATIENCE)? {
        return Err(io::Error::other(format!("process {} does not end", keeper.number())));
    }
    held.remove(Entry::Uplink).map_err(io::Error::other)?;
    held.remove(Entry::Record).map_err(io::Error::other)
}

/// Ends a sandbox with all processes that are in it; returns how many those were.
///
/// # Errors
/// When one may not be ended.
pub fn stop(held: &Held, keeper: &Process) -> Result<usize, SandboxError> {
    let failed = |source| SandboxError::End { name: held.name().clone(), source };
    let ended = list::end_inhabitants(keeper).map_err(failed)?;
    end(held, keeper).map_err(failed)?;
    Ok(ended)
}
