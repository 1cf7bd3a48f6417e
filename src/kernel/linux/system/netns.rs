//! Network namespaces: entering them, and their entries under /run/netns, which ip-netns(8) uses too.
//!
//! Entries are opened without following symbolic links, and mounted and unmounted through descriptors. An entry is removed only if it has
//! not changed since it was read.

mod hidden;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::name::NamespaceName;

/// The directory of entries of ip-netns(8).
pub const DIRECTORY: &str = "/run/netns";
/// The file system of namespace entries (linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// The maximum length of a placeholder's text, which is a mark.
const PLACEHOLDER: u64 = 512;

/// Moves the calling thread into a network namespace.
pub fn enter(namespace: impl AsFd) -> io::Result<()> {
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

/// The same; returns false if the namespace belongs to an outer user namespace, whose root alone may enter it.
pub fn enter_if_allowed(namespace: impl AsFd) -> io::Result<bool> {
    match enter(namespace) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => Ok(false),
        entered => entered.map(|()| true),
    }
}

/// Moves the calling thread into a new network namespace.
pub fn enter_new() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

/// Opens the calling thread's network namespace.
pub fn of_this_thread() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// Returns what tells a namespace from all others: the device and the inode of its file.
pub fn identity(namespace: &File) -> io::Result<(u64, u64)> {
    let metadata = namespace.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// An entry under /run/netns.
#[derive(Debug)]
pub enum Entry {
    /// A network namespace.
    Namespace(File),
    /// A file with this text. It may be the placeholder of an interrupted creation.
    File(String),
    /// Anything else.
    Other(&'static str),
}

/// The directory of entries.
pub struct Directory {
    handle: OwnedFd,
}

impl Directory {
    /// Opens the directory; `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if it is not a directory, or others than its owner can write to it.
    pub fn open() -> io::Result<Option<Self>> {
        Self::open_at(Path::new(DIRECTORY))
    }

    fn open_at(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let handle = match nix::fcntl::open(path, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let status = fstat(&handle)?;
        if status.st_mode & 0o022 != 0 {
            return Err(io::Error::other(format!("others than its owner can write to {}", path.display())));
        }
        Ok(Some(Self { handle }))
    }

    /// Opens the directory. Creates it if it does not exist.
    pub fn open_or_create() -> io::Result<Self> {
        if let Some(directory) = Self::open()? {
            return Ok(directory);
        }
        match std::fs::DirBuilder::new().mode(0o755).recursive(true).create(DIRECTORY) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Self::open()?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Returns the names of all entries that are valid names of namespaces, sorted.
    pub fn names(&self) -> io::Result<Vec<NamespaceName>> {
        Ok(self.all_names()?.0)
    }

    /// The same, and the other names.
    pub fn all_names(&self) -> io::Result<(Vec<NamespaceName>, Vec<String>)> {
        let (mut names, mut others) = (Vec::new(), Vec::new());
        // The iterator of the standard library panics when the directory cannot be closed.
        for entry in Dir::openat(&self.handle, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            match name.parse() {
                Ok(name) => names.push(name),
                Err(_) if matches!(&*name, "." | "..") => {}
                Err(_) => others.push(name.into_owned()),
            }
        }
        names.sort();
        others.sort();
        Ok((names, others))
    }

    /// Reads one entry; `None` if it does not exist.
    pub fn look(&self, name: &NamespaceName) -> io::Result<Option<Entry>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = match openat(&self.handle, name.as_str(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Ok(Some(Entry::Other("a symbolic link"))),
            // Root can read a placeholder without permissions. For other users it is an unreadable file.
            Err(Errno::EACCES | Errno::ENXIO | Errno::ENODEV) => return Ok(Some(Entry::Other("a file that cannot be read"))),
            Err(error) => return Err(error.into()),
        };
        if fstatfs(&file)?.filesystem_type().0 as i64 == NSFS_MAGIC {
            return Ok(Some(match is_network(&file) {
                true => Entry::Namespace(file),
                false => Entry::Other("a namespace of another kind"),
            }));
        }
        if !file.metadata()?.is_file() {
            return Ok(Some(Entry::Other("not a file")));
        }
        let mut text = Vec::new();
        (&file).take(PLACEHOLDER).read_to_end(&mut text)?;
        Ok(Some(Entry::File(String::from_utf8_lossy(&text).into_owned())))
    }

    /// Returns whether the entry is still the one that `expected` was opened from.
    pub fn is_still(&self, name: &NamespaceName, expected: &File) -> io::Result<bool> {
        match fstatat(&self.handle, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(same_file(&status, &expected.metadata()?)),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes the calling thread's network namespace under `name`: creates a file that contains the mark, and mounts the namespace over
    /// it. The file has its text before it has a name.
    ///
    /// # Errors
    /// Fails if the name exists, or the mount is not allowed.
    pub fn publish(&self, name: &NamespaceName, mark: &str) -> io::Result<()> {
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.handle, ".", flags, Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH)?);
        file.write_all(mark.as_bytes())?;
        let nameless = descriptor_path(&file);
        linkat(AT_FDCWD, nameless.as_str(), &self.handle, name.as_str(), AtFlags::AT_SYMLINK_FOLLOW)?;
        let mounted = self.mount_here(name);
        if mounted.is_err() {
            // This call created the file. A leftover would look like a broken namespace.
            let _ = unlinkat(&self.handle, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        mounted
    }

    fn mount_here(&self, name: &NamespaceName) -> io::Result<()> {
        let target = openat(&self.handle, name.as_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        let target = descriptor_path(&target);
        Ok(mount(Some("/proc/thread-self/ns/net"), target.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
    }

    /// Unmounts and removes an entry, if it is still the one that `expected` was opened from. `mark` is the text of the file below the
    /// mount.
    ///
    /// # Errors
    /// Fails with `ESTALE` if the entry has changed.
    pub fn remove(&self, name: &NamespaceName, expected: &File, mark: &str) -> io::Result<()> {
        let entry = openat(&self.handle, name.as_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        if !same_file(&fstat(&entry)?, &expected.metadata()?) {
            return Err(Errno::ESTALE.into());
        }
        // Unmount by descriptor, because the name may refer to something else by now.
        umount2(descriptor_path(&entry).as_str(), MntFlags::MNT_DETACH)?;
        drop(entry);
        self.unlink(name, mark)
    }

    fn unlink(&self, name: &NamespaceName, mark: &str) -> io::Result<()> {
        match unlinkat(&self.handle, name.as_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EBUSY) => hidden::unlink(name, mark),
            other => Ok(other?),
        }
    }

    /// Removes the placeholder of an interrupted creation, if it still contains the mark.
    pub fn remove_placeholder(&self, name: &NamespaceName, mark: &str) -> io::Result<()> {
        match self.look(name)? {
            Some(Entry::File(text)) if text == mark => self.unlink(name, mark),
            None => Ok(()),
            Some(_) => Err(Errno::ESTALE.into()),
        }
    }
}

/// Returns a path to an open descriptor that does not depend on its name.
pub(super) fn descriptor_path(descriptor: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

fn same_file(status: &FileStat, metadata: &std::fs::Metadata) -> bool {
    status.st_ino == metadata.ino() && status.st_dev == metadata.dev()
}

/// Opens the user namespace that owns a namespace, ioctl_nsfs(2); `None` for an outer one.
///
/// # Errors
/// Fails for other reasons.
pub fn owner_of(namespace: &impl AsRawFd) -> io::Result<Option<File>> {
    nix::ioctl_none_bad!(owner, nix::libc::NS_GET_USERNS);
    // SAFETY: NS_GET_USERNS takes no argument; the descriptor is open.
    match unsafe { owner(namespace.as_raw_fd()) } {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(descriptor) => Ok(Some(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))),
        Err(Errno::EPERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_network(file: &File) -> bool {
    nix::ioctl_none_bad!(namespace_type, nix::libc::NS_GET_NSTYPE);
    // SAFETY: NS_GET_NSTYPE takes no argument and only reads from the descriptor, which is open.
    unsafe { namespace_type(file.as_raw_fd()) }.is_ok_and(|kind| kind == nix::libc::CLONE_NEWNET)
}
