//! The directory in which a user's sandboxes are registered: `topo` in `$XDG_RUNTIME_DIR` or `/run/user/UID`, else
//! `/tmp/topo-UID`. In a throw-away sandbox, it is [`INSIDE`] for all sandboxes, so that their files end with it.
//!
//! Only the user may access it. It is opened without following a symbolic link, and its files are opened relative to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::name::SandboxName;

/// The directory in a throw-away sandbox.
pub const INSIDE: &str = "/run/topo-sandboxes";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory or a file in it cannot be created, read or removed.
    #[error("cannot use `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user could have changed the directory.
    #[error("`{}` {problem}", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The directory, open.
#[derive(Debug)]
pub struct Directory {
    handle: OwnedFd,
    path: PathBuf,
    parent: Parent,
}

impl Directory {
    /// Opens the directory; returns `None` if it does not exist.
    ///
    /// # Errors
    /// If it cannot be opened, or other users may access it.
    pub fn open() -> Result<Option<Self>, DirectoryError> {
        let parent = Parent::open()?;
        let path = parent.path.join(&parent.name);
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let refuse = |problem| Err(DirectoryError::Unsafe { path: path.clone(), problem });
        let handle = match openat(&parent.handle, parent.name.as_str(), flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::ENOTDIR) => return refuse("is not a directory"),
            Err(Errno::EACCES) => return refuse("belongs to another user"),
            Err(error) => return Err(DirectoryError::Io { path, source: error.into() }),
        };
        let status = fstat(&handle).map_err(|error| DirectoryError::Io { path: path.clone(), source: error.into() })?;
        if status.st_uid != nix::unistd::geteuid().as_raw() {
            return refuse("belongs to another user");
        }
        if status.st_mode & 0o077 != 0 {
            return refuse("is accessible to other users");
        }
        Ok(Some(Self { handle, path, parent }))
    }

    /// Creates the directory, unless it exists, and opens it.
    ///
    /// # Errors
    /// If it cannot be created or opened, or other users may access it.
    pub fn create() -> Result<Option<Self>, DirectoryError> {
        let parent = Parent::open()?;
        match mkdirat(&parent.handle, parent.name.as_str(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Self::open(),
            Err(error) => Err(DirectoryError::Io { path: parent.path.join(parent.name), source: error.into() }),
        }
    }

    /// Removes the directory if it is empty.
    pub(super) fn remove_if_empty(&self) {
        let _ = unlinkat(&self.parent.handle, self.parent.name.as_str(), UnlinkatFlags::RemoveDir);
    }

    /// The path of a file in the directory, for messages.
    pub(super) fn path_of(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// The sandboxes with a file whose name has this prefix, sorted.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn sandboxes(&self, prefix: &str) -> Result<Vec<SandboxName>, DirectoryError> {
        let failed = |error: Errno| DirectoryError::Io { path: self.path.clone(), source: error.into() };
        let mut names = Vec::new();
        let mut entries = Dir::openat(&self.handle, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        for entry in entries.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_str().ok().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
            names.extend(name);
        }
        names.sort();
        Ok(names)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The directory that contains ours.
#[derive(Debug)]
struct Parent {
    handle: OwnedFd,
    path: PathBuf,
    /// The name of our directory in it.
    name: String,
}

impl Parent {
    fn open() -> Result<Self, DirectoryError> {
        if let Some(inside) = Self::inside() {
            return Ok(inside);
        }
        let uid = uid();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        for path in runtime.into_iter().chain([PathBuf::from(format!("/run/user/{uid}"))]) {
            if let Some(handle) = open_own(&path) {
                return Ok(Self { handle, path, name: "topo".to_owned() });
            }
        }
        let path = PathBuf::from("/tmp");
        let failed = |error: Errno| DirectoryError::Io { path: "/tmp".into(), source: error.into() };
        let handle = open(&path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty()).map_err(failed)?;
        let mode = fstat(&handle).map_err(failed)?.st_mode;
        let is_writable_without_sticky_bit = mode & 0o022 != 0 && mode & 0o1000 == 0;
        if is_writable_without_sticky_bit {
            return Err(DirectoryError::Unsafe { path, problem: "lets users rename the files of other users" });
        }
        Ok(Self { handle, path, name: format!("topo-{uid}") })
    }

    /// The directory that contains [`INSIDE`], if this process is in a throw-away sandbox.
    fn inside() -> Option<Self> {
        let directory = Path::new(INSIDE);
        open_own(directory)?;
        let (path, name) = (directory.parent()?, directory.file_name()?.to_str()?);
        Some(Self { handle: open_own(path)?, path: path.to_owned(), name: name.to_owned() })
    }
}

/// Opens a directory if it belongs to the user and no other user can write to it.
fn open_own(path: &Path) -> Option<OwnedFd> {
    let handle = open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty()).ok()?;
    let status = fstat(&handle).ok()?;
    (status.st_uid == nix::unistd::geteuid().as_raw() && status.st_mode & 0o022 == 0).then_some(handle)
}

/// The user's ID outside of the current user namespace.
fn uid() -> u32 {
    let own = nix::unistd::geteuid().as_raw();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    outer_id(&map, own).unwrap_or(own)
}

/// Translates an ID to the parent user namespace; the format of the map is in user_namespaces(7).
fn outer_id(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, outer, length) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = id.checked_sub(first).filter(|offset| *offset < length)?;
        outer.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_translated_by_the_map() {
        assert_eq!(outer_id("         0       1000          1\n", 0), Some(1000));
        assert_eq!(outer_id("0 0 4294967295\n", 1000), Some(1000));
        assert_eq!(outer_id("0 1000 1\n1 100000 65536\n", 2), Some(100_001));
        assert_eq!(outer_id("0 1000 1\n", 7), None);
    }
}
