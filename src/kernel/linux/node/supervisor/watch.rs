//! Tells when a log that is at rest is written to, inotify(7): so the size of one that suddenly grows fast is checked at once, and one that
//! does not grow costs nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::log::Log;
use crate::resource::node::process::ProcessName;

/// The logs of a node that are watched. Nothing is watched if the user has too many watches (`fs.inotify.max_user_instances`).
pub(super) struct LogWatch {
    inotify: Option<Inotify>,
    names: RefCell<HashMap<WatchDescriptor, ProcessName>>,
}

impl LogWatch {
    pub(super) fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Self { inotify, names: RefCell::default() }
    }

    /// Watches a log until it is written to. Returns whether that works.
    pub(super) fn arm(&self, log: &Log<'_>) -> bool {
        let path = format!("/proc/self/fd/{}/{}", log.logs.directory.as_raw_fd(), log.path(""));
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ONESHOT;
        let watch = self.inotify.as_ref().and_then(|inotify| inotify.add_watch(path.as_str(), flags).ok());
        watch.map(|watch| self.names.borrow_mut().insert(watch, log.name.clone())).is_some()
    }

    /// Returns the descriptor that becomes readable when a log is written to.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Returns the processes whose logs were written to. They are not watched any more.
    pub(super) fn written(&self) -> Vec<ProcessName> {
        let events = self.inotify.as_ref().and_then(|inotify| inotify.read_events().ok()).unwrap_or_default();
        let mut names = self.names.borrow_mut();
        events.into_iter().filter_map(|event| names.remove(&event.wd)).collect()
    }
}
