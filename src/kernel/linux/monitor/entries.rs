//! The entries of network namespaces under /run/netns, watched by inotify(7).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::kernel::linux::system::netns::DIRECTORY;

/// Watches the directory, and its parent as long as it does not exist.
pub(super) struct Entries {
    inotify: Inotify,
}

impl Entries {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)? })
    }

    /// Watches the directory, if it exists. The kernel does not watch a directory twice.
    pub(super) fn follow(&self) -> io::Result<()> {
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(DIRECTORY, changes) {
            // Without it there is no namespace. The next look at everything finds it.
            Err(Errno::ENOENT) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Returns whether an entry came or went since the last call.
    pub(super) fn has_changed(&self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => changed |= !events.is_empty(),
                Err(Errno::EAGAIN) => return Ok(changed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Entries {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
