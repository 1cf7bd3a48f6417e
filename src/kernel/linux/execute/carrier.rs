//! The state of ports: the kernel refuses to set it until it has noticed the carrier of the link, a moment after the other end of the
//! pair has come up (`linkwatch`).

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;

use crate::kernel::Errno;
use crate::operation::Operation;

/// The kernel notices most carriers at once, and others after a second.
const LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// Returns whether the operation needs a link with a carrier.
pub(super) fn is_awaited(operation: &Operation) -> bool {
    match operation {
        Operation::ChangeLink(change) => change.port.as_ref().is_some_and(|port| port.options.needs_carrier()),
        _ => false,
    }
}

/// The retries of one operation.
pub(super) struct Retries {
    began: Instant,
}

impl Retries {
    pub(super) fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// Returns the refusal if it has another cause, or if the link has no carrier for too long.
    pub(super) fn wait(&self, refusal: Errno) -> Result<(), Errno> {
        if refusal.number != libc::ENETDOWN {
            return Err(refusal);
        }
        if self.began.elapsed() > LIMIT {
            let message = "a port without carrier has no `state`; remove `state` from its `bridge_port`".to_owned();
            return Err(Errno { message: Some(message), ..refusal });
        }
        sleep(PAUSE);
        Ok(())
    }
}
