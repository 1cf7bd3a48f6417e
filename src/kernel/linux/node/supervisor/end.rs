//! How a child of the init ended, waitpid(2).

use nix::sys::wait::WaitStatus;

use crate::resource::node::process::End;

/// Returns how the child ended; `None` if it did not end.
pub(super) fn end(status: WaitStatus) -> Option<End> {
    match status {
        WaitStatus::Exited(_, status) => Some(End::Status(status)),
        WaitStatus::Signaled(_, signal, _) => Some(End::Signal(signal.as_str().to_owned())),
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => None,
    }
}
