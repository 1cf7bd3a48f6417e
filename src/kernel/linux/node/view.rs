//! The view that a node has of the file system, and the files in it. They are in an overlay of the node's own over a directory of the machine, whose files stay as they are.
//!
//! In the sandbox of an ordinary user, root has no power over files in spite of their permissions, which the kernel needs for an overlay. A
//! child in a user namespace of its own, where it has that power over the files of the node, mounts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno as SystemErrno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, readlinkat};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode as Permissions, fstatat};
use nix::sys::wait::waitpid;
use nix::unistd::{AccessFlags, ForkResult, access, fork};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::datagram;
use super::mounts::SOURCE;
use super::protocol::{FoundFile, Refusal};
use crate::kernel::Errno;
use crate::kernel::linux::system::isolate::{self, bind, mounts, mounts_below};
use crate::resource::node::file::{LIMIT, Mode, NodePath, Owner};

/// Where the store of a new overlay is mounted for a moment.
const STORE: &str = "/run/.topo";

/// The files that a node was given.
#[derive(Default)]
pub struct View {
    overlays: Vec<Overlay>,
    /// Where each file is: symbolic links in the path of its directory are resolved.
    files: BTreeMap<NodePath, PathBuf>,
    /// The directories that were made for files and binds, and what was made to mount binds over it.
    made: BTreeSet<PathBuf>,
}

/// An overlay of the node over a directory of the machine.
struct Overlay {
    path: PathBuf,
    /// The directory of the machine.
    below: OwnedFd,
}

impl View {
    /// Writes a file. It appears at once, with all of its bytes.
    ///
    /// # Errors
    /// Returns the step that the system refused.
    pub fn put(&mut self, path: &NodePath, mode: Mode, owner: Owner, bytes: &[u8]) -> Result<(), Refusal> {
        let refused = |error: io::Error| Refusal::new(format!("write {path}"), &error);
        let target = self.prepare(Path::new(path.as_str())).map_err(refused)?;
        write(&target, mode, owner, bytes).map_err(refused)?;
        self.files.insert(path.clone(), target);
        Ok(())
    }

    /// Removes a file. What the machine has there comes back.
    ///
    /// # Errors
    /// Returns the step that the system refused.
    pub fn remove(&mut self, path: &NodePath) -> Result<(), Refusal> {
        let Some(target) = self.files.remove(path) else { return Ok(()) };
        let restored = self.restore(&target);
        restored.map_err(|error| Refusal::new(format!("remove {path}"), &error))?;
        self.remove_made(target.parent().unwrap_or(&target));
        Ok(())
    }

    /// Returns the files, and where they are.
    pub fn files(&self) -> impl Iterator<Item = (&NodePath, &Path)> {
        self.files.iter().map(|(path, target)| (path, target.as_path()))
    }

    /// Finds what a bind is mounted over, and makes it if there is nothing. Returns its path without symbolic links.
    ///
    /// # Errors
    /// Fails if it can neither be found nor made, or is no directory as it must be, or is one.
    pub fn mount_point(&mut self, target: &Path, is_directory: bool) -> io::Result<PathBuf> {
        if std::fs::symlink_metadata(target).is_ok() {
            let path = target.canonicalize()?;
            return match (path.is_dir(), is_directory) {
                (true, false) => Err(SystemErrno::EISDIR.into()),
                (false, true) => Err(SystemErrno::ENOTDIR.into()),
                (true, true) | (false, false) => Ok(path),
            };
        }
        let path = self.prepare(target)?;
        match is_directory {
            true => std::fs::DirBuilder::new().mode(0o755).create(&path)?,
            false => drop(File::create_new(&path)?),
        }
        self.made.insert(path.clone());
        Ok(path)
    }

    /// Removes what was made at a path, and the directories that were made for it. What contains something stays.
    pub fn remove_made(&mut self, path: &Path) {
        for made in path.ancestors() {
            let removed = || match std::fs::symlink_metadata(made)? {
                status if status.is_dir() => std::fs::remove_dir(made),
                status if status.len() == 0 => std::fs::remove_file(made),
                _ => Err(SystemErrno::ENOTEMPTY.into()),
            };
            if !self.made.contains(made) || removed().is_err() {
                break;
            }
            self.made.remove(made);
        }
    }

    /// Returns the files as they are now, and their bytes, one after the other.
    pub fn found(&self) -> (Vec<FoundFile>, Vec<u8>) {
        let mut bytes = Vec::new();
        let found = self.files.iter().map(|(path, target)| look(path, target, &mut bytes)).collect();
        (found, bytes)
    }

    /// Makes the directory of a file, in a file system of the node. Returns the path of the file without symbolic links.
    fn prepare(&mut self, path: &Path) -> io::Result<PathBuf> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(SystemErrno::EISDIR.into()) };
        // The part that exists, and the rest, which must be made.
        let existing = directory.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
        let rest = directory.strip_prefix(existing).unwrap_or(Path::new(""));
        let existing = std::fs::canonicalize(existing)?;
        self.cover(&existing)?;
        if access(&existing, AccessFlags::W_OK) == Err(SystemErrno::EACCES) {
            self.overlays.push(Overlay::mount(&existing)?);
        }
        let mut directory = existing;
        for component in rest.components() {
            directory.push(component);
            std::fs::DirBuilder::new().mode(0o755).create(&directory)?;
            self.made.insert(directory.clone());
        }
        Ok(directory.join(name))
    }

    /// Mounts an overlay, unless the directory is in a file system of the node already.
    fn cover(&mut self, directory: &Path) -> io::Result<()> {
        let mounted = mounts();
        // Of those that are mounted over each other, the latest, which comes last.
        let above = mounted.iter().filter(|mounted| directory.starts_with(&mounted.path));
        let closest = above.max_by_key(|mounted| mounted.path.as_os_str().len());
        if closest.is_some_and(|closest| closest.source == SOURCE) {
            return Ok(());
        }
        let top: PathBuf = directory.components().take(2).collect();
        let closest = closest.map_or(Path::new("/"), |mounted| mounted.path.as_path());
        let base = if closest.starts_with(&top) { closest } else { &top };
        if base == Path::new("/") {
            return Err(SystemErrno::EROFS.into());
        }
        let overlay = Overlay::mount(base)?;
        self.overlays.push(overlay);
        Ok(())
    }

    /// Puts back what the machine has in the place of a file.
    fn restore(&self, target: &Path) -> io::Result<()> {
        let mut overlays = self.overlays.iter().rev();
        let below = overlays.find_map(|overlay| Some((overlay, target.strip_prefix(&overlay.path).ok()?)));
        let original = below.and_then(|(overlay, rest)| {
            let status = fstatat(&overlay.below, rest, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
            Some((overlay, rest, status.st_mode & libc::S_IFMT))
        });
        match original {
            Some((overlay, rest, libc::S_IFREG)) => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mut file = File::from(openat(&overlay.below, rest, flags, Permissions::empty())?);
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                let status = file.metadata()?;
                write(target, mode_of(&status), Owner { user: status.uid(), group: status.gid() }, &bytes)
            }
            Some((overlay, rest, libc::S_IFLNK)) => {
                remove_if_there(target)?;
                std::os::unix::fs::symlink(readlinkat(&overlay.below, rest)?, target)
            }
            _ => remove_if_there(target),
        }
    }
}

impl Overlay {
    /// Mounts a new overlay over a directory. The mounts below it stay where they are.
    fn mount(path: &Path) -> io::Result<Self> {
        let below = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Permissions::empty())?;
        let inner: Vec<_> = mounts_below(path).into_iter().filter_map(|path| Some((open_path(&path).ok()?, path))).collect();
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(STORE)?;
        let mounted = match mount_with_store(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => mount_by_child(path),
            other => other,
        };
        std::fs::remove_dir(STORE)?;
        mounted?;
        for (old, path) in inner {
            bind(&old, &path)?;
        }
        Ok(Self { path: path.to_owned(), below })
    }
}

/// Mounts an overlay over a directory, with a store of its own for what changes.
fn mount_with_store(path: &Path) -> io::Result<()> {
    let below = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Permissions::empty())?;
    mount(Some(SOURCE), STORE, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))?;
    let permissions = std::fs::metadata(path)?.permissions();
    let made = ["upper", "work"].into_iter().try_for_each(|name| std::fs::create_dir(Path::new(STORE).join(name)));
    let made = made.and_then(|()| std::fs::set_permissions(Path::new(STORE).join("upper"), permissions));
    let options = format!("lowerdir=/proc/self/fd/{},upperdir={STORE}/upper,workdir={STORE}/work", below.as_raw_fd());
    let mounted = made.and_then(|()| {
        Ok(mount(Some(SOURCE), path, Some("overlay"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))?)
    });
    // The overlay keeps what it needs.
    umount2(STORE, MntFlags::MNT_DETACH)?;
    mounted
}

/// Does the same by a child in a user namespace of its own, which hands the mount over.
fn mount_by_child(path: &Path) -> io::Result<()> {
    let (ours, theirs) = datagram::pair()?;
    // SAFETY: an init has a single thread, so the child finds all locks released.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(theirs);
            let answer = datagram::receive::<i32>(ours.as_fd());
            waitpid(child, None)?;
            let (number, mounted) = answer?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let mounted = mounted.into_iter().next().ok_or_else(|| io::Error::from_raw_os_error(number))?;
            Ok(move_mount(mounted, "", AT_FDCWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
        }
        ForkResult::Child => {
            let made = isolate::leave_as_root().and_then(|()| mount_with_store(path)).and_then(|()| {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                Ok(open_tree(AT_FDCWD, path, flags)?)
            });
            let _ = match &made {
                Ok(mounted) => datagram::send(theirs.as_fd(), &0, &[mounted.as_fd()]),
                Err(error) => datagram::send(theirs.as_fd(), &Errno::from(error).number, &[]),
            };
            // SAFETY: _exit(2) takes a number. What exit(3) would do belongs to the init.
            unsafe { libc::_exit(0) }
        }
    }
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Permissions::empty())?)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a file beside its place and moves it there.
fn write(target: &Path, mode: Mode, owner: Owner, bytes: &[u8]) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = target.with_file_name(format!(".{name}.topo"));
    remove_if_there(&temporary)?;
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        std::os::unix::fs::fchown(&file, Some(owner.user), Some(owner.group))?;
        file.set_permissions(std::fs::Permissions::from_mode(mode.0))?;
        std::fs::rename(&temporary, target)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn mode_of(status: &Metadata) -> Mode {
    Mode(status.mode() & 0o7777)
}

/// Reads one file, and appends its bytes. Of a file that has become too long, only that it has is told.
fn look(path: &NodePath, target: &Path, bytes: &mut Vec<u8>) -> FoundFile {
    let gone = FoundFile { path: path.clone(), mode: Mode(0), owner: Owner::default(), length: None };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(file) = File::options().read(true).custom_flags(flags).open(target) else { return gone };
    let Some(status) = file.metadata().ok().filter(Metadata::is_file) else { return gone };
    let start = bytes.len();
    // A file that is longer than any that can be declared differs anyway.
    if file.take(LIMIT as u64 + 1).read_to_end(bytes).is_err() {
        bytes.truncate(start);
        return gone;
    }
    let owner = Owner { user: status.uid(), group: status.gid() };
    FoundFile { path: path.clone(), mode: mode_of(&status), owner, length: Some(bytes.len() - start) }
}
