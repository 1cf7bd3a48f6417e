//! Opens the files of sysctls without a slow search in the kernel's cache of names.
//!
//! Each namespace has its own directories below /proc/sys/net. They have the same names, so the kernel's cache of names has them in one
//! list, and searches this list whenever a file is opened. With a thousand namespaces, that takes a tenth of the time to create them. Each
//! mount of procfs has a separate cache. So, after a few files, a thread opens files in a private mount, and after some more in a new one.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::kernel::linux::system::procfs;
use crate::resource::sysctl::SysctlKey;

/// The number of files that a thread opens in /proc before it makes a mount.
const IN_PROC: u32 = 16;
/// The number of files that a thread opens in one mount.
const IN_MOUNT: u32 = 64;

/// The mount of procfs in which a thread opens files.
struct Tree {
    root: Root,
    /// The number of files left to open in it.
    left: u32,
}

enum Root {
    /// /proc.
    Proc,
    /// A detached mount of procfs.
    Mount(OwnedFd),
    /// Always /proc, because the system allows no other mount. That is so in a user namespace without its own PID namespace.
    ProcOnly,
}

thread_local! {
    static TREE: RefCell<Tree> = const { RefCell::new(Tree { root: Root::Proc, left: IN_PROC }) };
}

/// Opens the file of a sysctl of the calling thread's network namespace.
pub(super) fn open(key: &SysctlKey, how: OFlag) -> io::Result<File> {
    TREE.with_borrow_mut(|tree| {
        tree.renew();
        match tree.open(key, how) {
            // Container engines mount /proc/sys read-only, or something else over parts of it.
            Err(error)
                if matches!(tree.root, Root::Proc)
                    && (error == Errno::EROFS || error == Errno::ENOENT && procfs::is_hidden("/proc/sys/net")) =>
            {
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
