//! Entries on which something is mounted where no path leads.
//!
//! The first `ip netns add` mounts /run/netns over itself, with all that is mounted below it. Where mounts do not propagate, as in
//! a mount namespace of one's own, an entry made before that is then mounted twice, once of them out of sight, and busy.

use std::io;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{DIRECTORY, Directory, Entry};
use crate::name::NamespaceName;

/// More layers than anybody makes.
const LAYERS: usize = 64;

/// Removes a file that carries the mark, whatever is still mounted on it: that goes with its name (`detach_mounts`).
///
/// The kernel refuses to remove what is mounted on in the caller's own mount namespace, so a thread takes the layers off in a copy.
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
            // Mounted on the file that carries the mark, which was seen without it.
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
