//! Writes sysctls in private mounts of procfs. In /proc, looking up a file is slower, because the files of all namespaces share one
//! hash chain.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The number of files to open in one mount.
const FILES: usize = 64;

thread_local! {
    static TREE: RefCell<Option<(OwnedFd, usize)>> = const { RefCell::new(None) };
}

/// Writes a sysctl of the network namespace of the calling thread.
pub fn write(path: &str, value: &[u8]) -> io::Result<()> {
    TREE.with_borrow_mut(|tree| {
        let (root, left) = match tree.take().filter(|(_, left)| *left > 0) {
            Some(tree) => tree,
            None => (mount()?, FILES),
        };
        let file = openat(&root, format!("sys/{path}").as_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        *tree = Some((root, left - 1));
        File::from(file).write_all(value)
    })
}

fn mount() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}
