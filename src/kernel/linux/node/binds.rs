//! The binds of a node: files and directories of the machine that are mounted in the node's view.
//!
//! A command clones the mounts of the source, because the init does not see the machine's, and passes the clone to the init, which
//! mounts it. Mounts below the source come along, as with `mount --rbind`: the kernel does not let the sandbox of an ordinary user leave
//! them out. Each has the flags of the one that it was cloned from, such as `nosuid`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno as SystemErrno;
use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags, statx};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mounts::release_namespaces;
use super::protocol::{FoundBind, Refusal};
use super::view::View;
use crate::kernel::Errno;
use crate::kernel::linux::system::isolate::{Mount, mounts};
use crate::resource::node::bind::Bind;
use crate::resource::node::file::NodePath;

/// The directory in which an init mounts overlays for a moment.
const RUN: &str = "/run";

/// Clones the mounts of the source of a bind. Nothing propagates to or from the clone.
///
/// # Errors
/// Returns the step that the system refused.
pub fn clone_source(bind: &Bind) -> Result<OwnedFd, Errno> {
    let source = &*bind.source;
    let refused = |error: io::Error| Errno::from(Refusal::new(format!("clone the mount of {source}"), &error));
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(AT_FDCWD, source, flags).map_err(io::Error::from).map_err(refused)?;
    let attributes = libc::mount_attr {
        attr_set: if bind.readonly { libc::MOUNT_ATTR_RDONLY } else { 0 },
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: mount_setattr(2) reads an empty string and as many bytes of the attributes as it is told; both live until it returns.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    SystemErrno::result(set).map_err(io::Error::from).map_err(refused)?;
    Ok(tree)
}

/// Returns a bind as an init has found it.
pub fn describe(found: FoundBind) -> (NodePath, Bind) {
    let FoundBind { target, source, readonly, identity } = found;
    let now = std::fs::metadata(&source).map(|status| (status.dev(), status.ino()));
    (target, Bind { source: source.into(), readonly, is_outdated: now.ok() != Some(identity) })
}

/// The binds that a node was given.
#[derive(Default)]
pub struct Binds(BTreeMap<NodePath, Bound>);

struct Bound {
    source: String,
    readonly: bool,
    /// Where it is: symbolic links in the target are resolved.
    path: PathBuf,
    /// The device and the inode of the source.
    identity: (u64, u64),
    /// Whether its mount was read-only at the beginning. It can be because that of the source is.
    was_read_only: bool,
    /// The number of mounts that were at the path before.
    below: usize,
}

impl Binds {
    /// Mounts a clone of the source, in the place of the bind that is there.
    ///
    /// # Errors
    /// Returns the step that the system refused.
    pub fn put(
        &mut self,
        view: &mut View,
        (target, source, readonly): (&NodePath, String, bool),
        tree: &OwnedFd,
    ) -> Result<(), Refusal> {
        self.remove(view, target)?;
        let refused = |error: io::Error| Refusal::new(format!("mount {source} at {target}"), &error);
        let status = stat(tree, "", AtFlags::EMPTY_PATH).map_err(refused)?;
        let is_directory = u32::from(status.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
        let path = view.mount_point(Path::new(target.as_str()), is_directory).map_err(refused)?;
        let mounted = self.check(view, &path, target).and_then(|()| {
            let below = mounts_at(&path);
            let moved = move_mount(tree, "", AT_FDCWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
            moved.map(|()| below).map_err(|error| refused(error.into()))
        });
        let below = match mounted {
            Ok(below) => below,
            Err(refusal) => {
                view.remove_made(&path);
                return Err(refusal);
            }
        };
        release_namespaces(&path);
        let identity = identity_of(&status);
        let was_read_only = find(&mounts(), &path, identity).unwrap_or(readonly);
        self.0.insert(target.clone(), Bound { source, readonly, path, identity, was_read_only, below });
        Ok(())
    }

    /// Checks that a path without symbolic links can be covered. Paths that differ in the lab file can be the same.
    fn check(&self, view: &View, path: &Path, target: &NodePath) -> Result<(), Refusal> {
        let binds = self.0.iter().map(|(other, bound)| (other, bound.path.as_path()));
        let meets = |other: &Path| path.starts_with(other) || other.starts_with(path);
        let mut others = binds.chain(view.files()).filter(|(other, at)| meets(at) && *other != target);
        match others.next() {
            Some((other, _)) => {
                let step = format!("mount at {target}: it is the same as {other}, or above or below it");
                Err(Refusal::new(step, &SystemErrno::EEXIST.into()))
            }
            None if path == Path::new(RUN) => {
                Err(Refusal::new(format!("mount at {target}: it is {RUN}, which is the node's own"), &SystemErrno::EBUSY.into()))
            }
            None => Ok(()),
        }
    }

    /// Unmounts a bind. What uses it keeps it.
    ///
    /// # Errors
    /// Returns the step that the system refused.
    pub fn remove(&mut self, view: &mut View, target: &NodePath) -> Result<(), Refusal> {
        let Some(bound) = self.0.get(target) else { return Ok(()) };
        // What somebody mounted over it is unmounted, too.
        while mounts_at(&bound.path) > bound.below {
            match umount2(&bound.path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                // The rest is hidden by an overlay.
                Err(SystemErrno::EINVAL | SystemErrno::ENOENT) => break,
                Err(error) => return Err(Refusal::new(format!("unmount {target}"), &error.into())),
            }
        }
        view.remove_made(&bound.path);
        self.0.remove(target);
        Ok(())
    }

    /// Returns the binds that are there now.
    pub fn found(&self) -> Vec<FoundBind> {
        let mounted = if self.0.is_empty() { Vec::new() } else { mounts() };
        let found = self.0.iter().filter_map(|(target, bound)| {
            let is_read_only = find(&mounted, &bound.path, bound.identity)?;
            let readonly = if is_read_only == bound.was_read_only { bound.readonly } else { is_read_only };
            Some(FoundBind { target: target.clone(), source: bound.source.clone(), readonly, identity: bound.identity })
        });
        found.collect()
    }
}

/// Returns whether the mount of a file or directory is read-only; `None` if that is not mounted at the path.
fn find(mounted: &[Mount], path: &Path, identity: (u64, u64)) -> Option<bool> {
    let status = stat(AT_FDCWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_mount = status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let mount = mounted.iter().find(|mount| mount.id == status.stx_mnt_id)?;
    (is_mount && identity_of(&status) == identity).then_some(mount.is_read_only)
}

/// Does not wait for the server of a network file system.
fn stat(directory: impl AsFd, path: impl rustix::path::Arg, flags: AtFlags) -> io::Result<Statx> {
    let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    Ok(statx(directory, path, flags, StatxFlags::TYPE | StatxFlags::INO | StatxFlags::MNT_ID)?)
}

fn identity_of(status: &Statx) -> (u64, u64) {
    (rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino)
}

fn mounts_at(path: &Path) -> usize {
    mounts().iter().filter(|mount| mount.path == path).count()
}
