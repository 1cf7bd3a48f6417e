//! The directory of the sockets of inits: /run/topo/nodes/LAB/NODE. Only its owner can enter it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::name::{LabName, NamespaceName};

/// The directory of all labs.
const DIRECTORY: &str = "/run/topo/nodes";

/// The directory of the sockets of one lab's inits.
pub struct Nodes {
    handle: OwnedFd,
    path: PathBuf,
}

impl Nodes {
    /// Opens the directory; `None` if it does not exist: the lab has no nodes.
    ///
    /// # Errors
    /// Fails if it cannot be opened.
    pub fn open(lab: &LabName) -> io::Result<Option<Self>> {
        Self::open_at(Path::new(DIRECTORY).join(lab.as_str()))
    }

    fn open_at(path: PathBuf) -> io::Result<Option<Self>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        match open(&path, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle, path })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory. Creates it if it does not exist.
    ///
    /// # Errors
    /// Fails if it cannot be created.
    pub fn open_or_create(lab: &LabName) -> io::Result<Self> {
        let path = Path::new(DIRECTORY).join(lab.as_str());
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        Self::open_at(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Opens the directories of all labs that have nodes.
    ///
    /// # Errors
    /// Fails if one cannot be read.
    pub fn all() -> io::Result<Vec<Self>> {
        let opened = names(Path::new(DIRECTORY))?.into_iter().map(|lab| Self::open_at(Path::new(DIRECTORY).join(lab)));
        opened.filter_map(Result::transpose).collect()
    }

    /// Finds the lab that has a node with this name.
    ///
    /// # Errors
    /// Fails if the directory cannot be read.
    pub fn labs_with(node: &NamespaceName) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for lab in names(Path::new(DIRECTORY))? {
            let path = Path::new(DIRECTORY).join(&lab);
            if path.join(node.as_str()).symlink_metadata().is_ok() {
                found.extend(Self::open_at(path)?);
            }
        }
        Ok(found)
    }

    /// Returns the lab.
    pub fn lab(&self) -> Option<LabName> {
        self.path.file_name()?.to_str()?.parse().ok()
    }

    /// Returns the names of the nodes that have a socket, sorted.
    ///
    /// # Errors
    /// Fails if the directory cannot be read.
    pub fn names(&self) -> io::Result<Vec<NamespaceName>> {
        let mut found: Vec<NamespaceName> = names(&self.path)?.iter().filter_map(|name| name.parse().ok()).collect();
        found.sort();
        Ok(found)
    }

    /// Connects to the socket of a node; `None` if nobody listens there.
    ///
    /// # Errors
    /// Fails for other reasons.
    pub fn connect(&self, node: &NamespaceName) -> io::Result<Option<UnixStream>> {
        // The path of the directory can be too long for the address of a socket, unix(7).
        let path = format!("/proc/self/fd/{}/{node}", self.handle.as_raw_fd());
        match UnixStream::connect(path) {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the socket of a node.
    ///
    /// # Errors
    /// Fails if the socket cannot be removed.
    pub fn remove(&self, node: &NamespaceName) -> io::Result<()> {
        match unlinkat(&self.handle, node.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Removes the directories of labs without nodes. The caller sees to it that nobody uses them.
    pub fn clean_up() {
        let labs = names(Path::new(DIRECTORY)).unwrap_or_default();
        // Fails for those that are not empty.
        for lab in labs {
            let _ = std::fs::remove_dir(Path::new(DIRECTORY).join(lab));
        }
        let _ = std::fs::remove_dir(DIRECTORY);
    }

    /// Returns whether a lab has a socket with this name, whether anybody listens there or not.
    pub fn has(lab: &LabName, node: &OsStr) -> bool {
        Path::new(DIRECTORY).join(lab.as_str()).join(node).symlink_metadata().is_ok()
    }

    /// Returns whether a lab has a directory for the sockets of nodes.
    pub fn has_any(lab: &LabName) -> bool {
        Path::new(DIRECTORY).join(lab.as_str()).exists()
    }

    /// Returns whether any lab has nodes.
    pub fn exist() -> bool {
        Path::new(DIRECTORY).exists()
    }

    /// Returns a duplicate of the descriptor.
    ///
    /// # Errors
    /// Fails if there are no more descriptors.
    pub fn descriptor(&self) -> io::Result<File> {
        Ok(File::from(self.handle.as_fd().try_clone_to_owned()?))
    }
}

/// Returns the names of the entries of a directory; none if it does not exist.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut directory = match Dir::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in directory.iter() {
        found.extend(entry?.file_name().to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned));
    }
    Ok(found)
}
