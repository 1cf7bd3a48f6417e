//! What topo keeps in the file system while the machine runs: /run/topo, with a lock and, where needed, a record for each lab.

pub mod lock;
mod presence;
pub mod records;

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::kernel::linux::NAMESPACE_DIRECTORY;

/// The directory.
pub const DIRECTORY: &str = "/run/topo";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made or looked at.
    #[error("cannot use `{DIRECTORY}`")]
    Io(#[from] io::Error),
    /// The directory of namespaces cannot be looked at.
    #[error("cannot look at `{NAMESPACE_DIRECTORY}`")]
    Namespaces(#[source] io::Error),
    /// It is not to be trusted.
    #[error("`{}` {problem}", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Whether a path still leads to a file that was opened by it.
fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.ino(), named.dev()) == (opened.ino(), opened.dev())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the directory if there is none, and checks that nobody else can write to it. Returns whether it was made.
///
/// # Errors
/// When it cannot be made, is no directory, or is writable for others.
fn prepare() -> Result<bool, DirectoryError> {
    let made = match std::fs::DirBuilder::new().mode(0o755).create(DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        made => made.map(|()| true)?,
    };
    check().inspect_err(|_| forget(made))?;
    Ok(made)
}

/// Removes the directory if it was made in vain.
fn forget(made: bool) {
    if made {
        // Fails where another process is already at work in it.
        let _ = std::fs::remove_dir(DIRECTORY);
    }
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
        return refuse("may be written to by others");
    }
    Ok(())
}

/// Remembers that /run/netns was not there before topo, if it is not there.
///
/// # Errors
/// When the directory cannot be used.
pub fn note_namespace_directory() -> Result<(), DirectoryError> {
    match std::fs::symlink_metadata(NAMESPACE_DIRECTORY) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            prepare()?;
            Ok(std::fs::write(made_marker(), "")?)
        }
        Err(error) => Err(DirectoryError::Namespaces(error)),
    }
}

/// Removes /run/netns, if it is empty and was not there before topo.
fn remove_namespace_directory() {
    if !made_marker().exists() {
        return;
    }
    match std::fs::remove_dir(NAMESPACE_DIRECTORY) {
        // Somebody has mounted something there, as `ip netns add` does: it is not topo's any more.
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
        Err(_) => return,
    }
    // What is left of the marker would only lead to another attempt.
    let _ = std::fs::remove_file(made_marker());
}

fn made_marker() -> PathBuf {
    Path::new(DIRECTORY).join("made-run-netns")
}
