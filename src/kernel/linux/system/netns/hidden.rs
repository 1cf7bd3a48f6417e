//! Removes entries with a hidden mount.
//!
//! The first `ip netns add` mounts /run/netns over itself, with all mounts below it. If mounts do not propagate, as in a separate mount
//! namespace, an entry that was created before is then mounted twice. No path leads to one of the mounts, and the entry is busy.

use std::io;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{DIRECTORY, Directory, Entry};
use crate::name::NamespaceName;

/// The maximum number of layers of mounts to remove.
const LAYERS: usize = 64;

/// Removes a file that contains the mark, even if something is mounted on it. The kernel detaches these mounts (`detach_mounts`).
///
/// The kernel refuses to remove a file that is a mount point in the caller's mount namespace, so a thread unmounts the layers in a copy.
pub(super) fn unlink(name: &NamespaceName, mark: &str) -> io::Result<()> {
    thread::scope(|scope| {
        let apart = thread::Builder::new().name("mounts".into()).spawn_scoped(scope, || unlink_apart(name, mark))?;
        apart.join().unwrap_or_else(|_| Err(Errno::EBUSY.into()))
    })
}

fn unlink_apart(name: &NamespaceName, mark: &str) -> io::Result<()> {
    const NOTHING: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    for _ in 0..LAYERS {
        let Some(directory) = Directory::open()? else { return Ok(()) };
        match directory.look(name)? {
            None => return Ok(()),
            // This mount covers the file that contains the mark.
            Some(Entry::Namespace(_)) => umount2(format!("{DIRECTORY}/{name}").as_str(), MntFlags::MNT_DETACH)?,
            Some(Entry::File(text)) if text == mark => {
                match unlinkat(&directory.handle, name.as_str(), UnlinkatFlags::NoRemoveDir) {
                    Err(Errno::EBUSY) => umount2(DIRECTORY, MntFlags::MNT_DETACH)?,
                    other => return Ok(other?),
                }
            }
            Some(Entry::File(_) | Entry::Other(_)) => return Err(Errno::ESTALE.into()),
        }
    }
    Err(Errno::EBUSY.into())
}
