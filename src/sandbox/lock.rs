//! The lock of a sandbox, and access to its files in the [directory](super::directory).
//!
//! The lock is held for short moments only: while a sandbox is looked for, created or stopped.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::directory::{Directory, DirectoryError};
use super::pid_file::PidFile;
use crate::name::SandboxName;
use crate::runtime::unlock;

/// The files of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxFile {
    /// The PID file of the holder.
    Holder,
    /// The PID file of the uplink's supervisor.
    Uplink,
    /// The lock file.
    Lock,
    /// A PID file that is being written.
    Temporary,
}

impl SandboxFile {
    /// The file's name. No sandbox's name makes the names of two files equal, because it follows the prefix.
    fn name(self, sandbox: &SandboxName) -> String {
        format!("{}{sandbox}", self.prefix())
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Holder => "record-",
            Self::Uplink => "uplink-",
            Self::Lock => "lock-",
            Self::Temporary => "new-",
        }
    }
}

/// The largest size of a PID file that is read, in bytes.
const SIZE_LIMIT: u64 = 1024;

/// A locked sandbox: no other process looks for it, creates it or stops it until the value is dropped.
#[derive(Debug)]
pub struct SandboxLock {
    directory: Directory,
    name: SandboxName,
    /// `None` only while the value is dropped.
    file: Option<Flock<File>>,
}

impl SandboxLock {
    /// Waits for the sandbox's lock; returns `None` if the directory does not exist, so that there are no sandboxes.
    ///
    /// # Errors
    /// If the directory cannot be used or is unsafe.
    pub fn acquire(name: &SandboxName) -> Result<Option<Self>, DirectoryError> {
        Self::acquire_in(name, Directory::open)
    }

    /// Waits for the sandbox's lock. Creates the directory if necessary.
    ///
    /// # Errors
    /// If the directory cannot be created or used, or is unsafe.
    pub fn acquire_or_create(name: &SandboxName) -> Result<Self, DirectoryError> {
        loop {
            // Another process may remove the directory as soon as it is created.
            if let Some(lock) = Self::acquire_in(name, Directory::create)? {
                return Ok(lock);
            }
        }
    }

    fn acquire_in(
        name: &SandboxName,
        open: impl Fn() -> Result<Option<Directory>, DirectoryError>,
    ) -> Result<Option<Self>, DirectoryError> {
        let file_name = SandboxFile::Lock.name(name);
        loop {
            let Some(directory) = open()? else { return Ok(None) };
            let path = directory.path_of(&file_name);
            let failed = |error: Errno| DirectoryError::Io { path: path.clone(), source: error.into() };
            let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = match openat(&directory, file_name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(file) => File::from(file),
                // Another process has removed the directory.
                Err(Errno::ENOENT) => continue,
                Err(error) => return Err(failed(error)),
            };
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(file) => {
                    let mut lock = Self { directory, name: name.clone(), file: Some(file) };
                    // The previous holder may have removed the file. Then a lock on it has no effect.
                    if lock.is_valid() {
                        return Ok(Some(lock));
                    }
                    // Another process may own the file of this name now, so do not remove it.
                    let _ = lock.file.take().and_then(unlock);
                }
                Err((_, Errno::EINTR)) => {}
                Err((_, error)) => return Err(failed(error)),
            }
        }
    }

    /// Whether the locked file still has its name.
    fn is_valid(&self) -> bool {
        let Some(Ok(locked)) = self.file.as_ref().map(|file| file.metadata()) else { return false };
        let named = fstatat(&self.directory, SandboxFile::Lock.name(&self.name).as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        named.is_ok_and(|named| (named.st_dev, named.st_ino) == (locked.dev(), locked.ino()))
    }

    /// The sandbox's name.
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// The user's other sandboxes, sorted.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn others(&self) -> Result<Vec<SandboxName>, DirectoryError> {
        let mut names = registered(&self.directory)?;
        names.retain(|name| *name != self.name);
        Ok(names)
    }

    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// A duplicate of the locked file, for a process that continues to need the lock if this one is killed. The lock is released when
    /// all duplicates are closed, or this value is dropped.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.as_fd().try_clone_to_owned()
    }

    /// Turns an I/O error of a file into an error that names the file.
    pub(super) fn error(&self, file: SandboxFile) -> impl Fn(io::Error) -> DirectoryError + use<> {
        failure(&self.directory, &self.name, file)
    }

    /// Reads a PID file; returns `None` if it does not exist.
    ///
    /// # Errors
    /// If it cannot be read, or is not a PID file.
    pub fn read(&self, file: SandboxFile) -> Result<Option<(PidFile, File)>, DirectoryError> {
        read(&self.directory, &self.name, file)
    }

    /// Writes a PID file that does not exist yet.
    ///
    /// # Errors
    /// If it exists or cannot be written.
    pub fn write(&self, file: SandboxFile, pid_file: &PidFile) -> Result<(), DirectoryError> {
        write(self.directory.as_fd(), &self.name, file, pid_file).map(drop).map_err(self.error(file))
    }

    /// Removes a file if it exists.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, file: SandboxFile) -> Result<(), DirectoryError> {
        match unlinkat(&self.directory, file.name(&self.name).as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.error(file)(error.into())),
        }
    }
}

impl Drop for SandboxLock {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // Removed while the lock is held, so that no other process can have locked the same file meanwhile.
        let _ = unlinkat(&self.directory, SandboxFile::Lock.name(&self.name).as_str(), UnlinkatFlags::NoRemoveDir);
        unlock(file);
        self.directory.remove_if_empty();
    }
}

/// The sandboxes that are registered in a directory, sorted.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn registered(directory: &Directory) -> Result<Vec<SandboxName>, DirectoryError> {
    directory.sandboxes(SandboxFile::Holder.prefix())
}

fn failure(directory: &Directory, sandbox: &SandboxName, file: SandboxFile) -> impl Fn(io::Error) -> DirectoryError + use<> {
    let path = directory.path_of(&file.name(sandbox));
    move |source| DirectoryError::Io { path: path.clone(), source }
}

/// Reads a PID file; returns `None` if it does not exist. Without the lock, the sandbox may be starting or stopping.
pub(super) fn read(
    directory: &Directory,
    sandbox: &SandboxName,
    file: SandboxFile,
) -> Result<Option<(PidFile, File)>, DirectoryError> {
    let failed = failure(directory, sandbox, file);
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = match openat(directory, file.name(sandbox).as_str(), flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        result => File::from(result.map_err(|error| failed(error.into()))?),
    };
    let mut text = String::new();
    (&opened).take(SIZE_LIMIT).read_to_string(&mut text).map_err(&failed)?;
    let invalid = || failed(io::Error::other("not a PID file; removing it stops the sandbox, if that is running"));
    Ok(Some((PidFile::parse(&text).ok_or_else(invalid)?, opened)))
}

/// Writes a PID file that does not exist yet, completely or not at all.
pub(super) fn write(directory: BorrowedFd<'_>, sandbox: &SandboxName, file: SandboxFile, content: &PidFile) -> io::Result<File> {
    let (temporary, name) = (SandboxFile::Temporary.name(sandbox), file.name(sandbox));
    // A process that was killed may have left one.
    let _ = unlinkat(directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut written = File::from(openat(directory, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    writeln!(written, "{content}")?;
    let linked = linkat(directory, temporary.as_str(), directory, name.as_str(), AtFlags::empty());
    let _ = unlinkat(directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    linked?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_different_sandboxes_never_have_the_same_name() {
        let (name, other): (SandboxName, SandboxName) = ("a".parse().unwrap(), "lock-a".parse().unwrap());
        assert_eq!(SandboxFile::Holder.name(&other), "record-lock-a");
        assert_ne!(SandboxFile::Lock.name(&name), SandboxFile::Holder.name(&other));
    }
}
