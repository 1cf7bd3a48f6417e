//! Who is at work under /run: every process that changes a lab holds the directory, so that only the last one to leave removes
//! it, and /run/netns if that was made for topo.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{DIRECTORY, DirectoryError};

/// Keeps the directory while it lives.
pub(super) struct Presence {
    /// Always there until the value is dropped.
    held: Option<Flock<File>>,
}

impl Presence {
    /// Makes the directory if there is none, and holds it together with others.
    ///
    /// # Errors
    /// When it cannot be made or trusted.
    pub(super) fn take() -> Result<Self, DirectoryError> {
        let mut made = false;
        loop {
            made |= super::prepare()?;
            if let Some(presence) = Self::hold().inspect_err(|_| super::forget(made))? {
                return Ok(presence);
            }
        }
    }

    /// `None` when the directory has gone meanwhile.
    fn hold() -> Result<Option<Self>, DirectoryError> {
        let opened = File::options().read(true).custom_flags(nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW).open(DIRECTORY);
        let directory = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let presence = match Flock::lock(directory, FlockArg::LockShared) {
            Ok(held) => Self { held: Some(held) },
            Err((_, Errno::EINTR)) => return Ok(None),
            Err((_, error)) => return Err(io::Error::from(error).into()),
        };
        // The last one to leave may have removed it.
        let current = presence.is_current()?;
        Ok(current.then_some(presence))
    }

    fn is_current(&self) -> io::Result<bool> {
        let Some(held) = &self.held else { return Ok(false) };
        super::leads_to(Path::new(DIRECTORY), held)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(directory) = self.held.take().and_then(release) else { return };
        let Ok(alone) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else { return };
        super::remove_namespace_directory();
        // Fails while a record is there.
        let _ = std::fs::remove_dir(DIRECTORY);
        release(alone);
    }
}

/// Unlocks without the panic by which dropping answers an error; then the end of the process unlocks.
pub(super) fn release(held: Flock<File>) -> Option<File> {
    held.unlock().map_err(|(held, _)| std::mem::forget(held)).ok()
}
