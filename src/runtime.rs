//! The directory /run/topo: a lock and, if necessary, a record for each lab. Nothing in it survives a reboot.

pub mod change;
mod directory_lock;
pub mod iproute2;
pub mod lock;
pub mod records;
pub mod sources;
pub mod tables;

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use crate::kernel::linux::NAMESPACE_DIRECTORY;

/// The directory.
pub const DIRECTORY: &str = "/run/topo";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be created or read.
    #[error("cannot use `{DIRECTORY}`")]
    Io(#[from] io::Error),
    /// The directory of namespaces cannot be read.
    #[error("cannot read `{NAMESPACE_DIRECTORY}`")]
    Namespaces(#[source] io::Error),
    /// Another user could have changed it.
    #[error("`{}` {problem}", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Whether a path still refers to a file that was opened by it.
fn is_same_file(path: &Path, file: &File) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.ino(), named.dev()) == (opened.ino(), opened.dev())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates the directory, unless it exists, and checks that other users cannot write to it. Returns whether it was created.
///
/// # Errors
/// If it cannot be created, is not a directory, or is writable by others.
fn create() -> Result<bool, DirectoryError> {
    loop {
        let created = match std::fs::DirBuilder::new().mode(0o755).create(DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            result => result.map(|()| true)?,
        };
        match check() {
            // Another process has removed it meanwhile, because it was empty.
            Err(DirectoryError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map(|()| created).inspect_err(|_| undo_create(created)),
        }
    }
}

/// Removes the directory again if this process has created it.
fn undo_create(created: bool) {
    if created {
        // Fails if another process already uses it.
        let _ = std::fs::remove_dir(DIRECTORY);
    }
}

/// Checks that other users cannot write to the directory, if it exists.
///
/// # Errors
/// If it is not a directory, belongs to another user, or is writable by others.
pub fn check_existing() -> Result<(), DirectoryError> {
    match check() {
        Err(DirectoryError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Refuses to use what is not a file: a FIFO, say, that somebody put there.
fn check_file(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { Ok(()) } else { Err(io::Error::other("not a regular file")) }
}

fn check() -> Result<(), DirectoryError> {
    let path = Path::new(DIRECTORY);
    let status = std::fs::symlink_metadata(path)?;
    let refuse = |problem| Err(DirectoryError::Unsafe { path: path.to_owned(), problem });
    if !status.is_dir() {
        return refuse("is not a directory");
    }
    if status.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("belongs to another user");
    }
    if status.mode() & 0o022 != 0 {
        return refuse("is writable by other users");
    }
    Ok(())
}

/// If /run/netns does not exist, remembers that topo creates it.
///
/// # Errors
/// If the directory cannot be used.
pub fn note_namespace_directory() -> Result<(), DirectoryError> {
    match std::fs::symlink_metadata(NAMESPACE_DIRECTORY) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create()?;
            Ok(std::fs::write(creation_marker(), "")?)
        }
        Err(error) => Err(DirectoryError::Namespaces(error)),
    }
}

/// Removes /run/netns if topo has created it and it is empty.
fn remove_namespace_directory() {
    if !creation_marker().exists() {
        return;
    }
    match std::fs::remove_dir(NAMESPACE_DIRECTORY) {
        // Another program has mounted something there, as `ip netns add` does. The directory is no longer topo's.
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
        Err(_) => return,
    }
    // If this fails, topo only tries again later.
    let _ = std::fs::remove_file(creation_marker());
}

fn creation_marker() -> PathBuf {
    Path::new(DIRECTORY).join("made-run-netns")
}

/// Unlocks a file. Dropping a `Flock` panics on an error; this leaves the lock to the exit of the process instead.
pub fn unlock(locked: Flock<File>) -> Option<File> {
    locked.unlock().map_err(|(locked, _)| std::mem::forget(locked)).ok()
}
