//! The files of kernel settings, found without a search through those of other namespaces.
//!
//! Each namespace has directories of its own below /proc/sys/net. All bear the same names, so that the kernel's cache of names keeps
//! them in one list, and goes through it whenever one of them is opened: with a thousand namespaces a tenth of the time that it takes
//! to make them. Each mount of procfs has names of its own; so, after a few files, they are opened in a mount that nobody else sees,
//! and after some more in the next one.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::resource::sysctl::SysctlKey;

/// As many files as a thread opens in /proc, before a mount of its own is worth what it costs.
const IN_PROC: u32 = 16;
/// As many as it opens in one mount.
const IN_MOUNT: u32 = 64;

/// Where a thread opens files.
struct Tree {
    root: Root,
    /// How many more files.
    left: u32,
}

enum Root {
    /// /proc.
    Proc,
    /// A mount of procfs that has no place.
    Mount(OwnedFd),
    /// /proc for good: the system allows no other mount, as it does in user namespaces without a PID namespace of their own.
    ProcOnly,
}

thread_local! {
    static TREE: RefCell<Tree> = const { RefCell::new(Tree { root: Root::Proc, left: IN_PROC }) };
}

/// Opens the file of a setting of the calling thread's network namespace.
pub(super) fn open(key: &SysctlKey, how: OFlag) -> io::Result<File> {
    TREE.with_borrow_mut(|tree| {
        tree.renew();
        match tree.open(key, how) {
            // Container engines mount /proc/sys read-only.
            Err(Errno::EROFS) if matches!(tree.root, Root::Proc) => {
                tree.left = 0;
                tree.renew();
                Ok(tree.open(key, how)?.into())
            }
            opened => Ok(opened?.into()),
        }
    })
}

impl Tree {
    fn open(&self, key: &SysctlKey, how: OFlag) -> nix::Result<OwnedFd> {
        let how = how | OFlag::O_CLOEXEC;
        match &self.root {
            Root::Proc | Root::ProcOnly => nix::fcntl::open(format!("/proc/sys/{}", key.path()).as_str(), how, Mode::empty()),
            Root::Mount(root) => openat(root, format!("sys/{}", key.path()).as_str(), how, Mode::empty()),
        }
    }

    fn renew(&mut self) {
        if matches!(self.root, Root::ProcOnly) {
            return;
        }
        if self.left == 0 {
            self.root = mount().map_or(Root::ProcOnly, Root::Mount);
            self.left = IN_MOUNT;
        }
        self.left -= 1;
    }
}

fn mount() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, quiet)
}
