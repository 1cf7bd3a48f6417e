//! The lock of /run/topo. Every process that changes a lab holds a shared lock. The last one removes the directory, and /run/netns
//! if topo has created that.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{DIRECTORY, DirectoryError, unlock};
use crate::kernel::linux::node::{Nodes, logs};

/// A shared lock on the directory.
pub(super) struct DirectoryLock {
    /// `None` only while the value is dropped.
    directory: Option<Flock<File>>,
}

impl DirectoryLock {
    /// Locks the directory. Creates it if necessary.
    ///
    /// # Errors
    /// If it cannot be created or used, or is unsafe.
    pub(super) fn acquire() -> Result<Self, DirectoryError> {
        let mut created = false;
        loop {
            created |= super::create()?;
            if let Some(lock) = Self::try_acquire().inspect_err(|_| super::undo_create(created))? {
                return Ok(lock);
            }
        }
    }

    /// Returns `None` if the directory was removed meanwhile.
    fn try_acquire() -> Result<Option<Self>, DirectoryError> {
        let opened = File::options().read(true).custom_flags(nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW).open(DIRECTORY);
        let directory = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let lock = match Flock::lock(directory, FlockArg::LockShared) {
            Ok(directory) => Self { directory: Some(directory) },
            Err((_, Errno::EINTR)) => return Ok(None),
            Err((_, error)) => return Err(io::Error::from(error).into()),
        };
        // The last process to unlock it may have removed it.
        let is_valid = lock.is_valid()?;
        Ok(is_valid.then_some(lock))
    }

    /// Whether the locked directory still has its name.
    fn is_valid(&self) -> io::Result<bool> {
        let Some(directory) = &self.directory else { return Ok(false) };
        super::is_same_file(Path::new(DIRECTORY), directory)
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        let Some(directory) = self.directory.take().and_then(unlock) else { return };
        let Ok(exclusive) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else { return };
        Nodes::clean_up();
        logs::clean_up();
        super::remove_namespace_directory();
        // Fails if it still has records.
        let _ = std::fs::remove_dir(DIRECTORY);
        unlock(exclusive);
    }
}
