//! Waits until the kernel has noticed that a link got or lost its carrier (`linkwatch`), a moment after it did: before that, it refuses
//! the state of a port, and removes afterwards what depends on the carrier.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;

use crate::kernel::Errno;
use crate::kernel::linux::wire::{DumpError, Socket, decode, encode};
use crate::operation::Operation;
use crate::resource::link::Ifindex;

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

/// Waits until the kernel has removed what a link loses with its carrier. Asking for one link makes newer kernels do it at once. A kernel
/// that takes longer than the limit is not waited for: the verification after the plan shows what is missing.
///
/// # Errors
/// Fails if the link cannot be read.
pub(super) fn settle(socket: &mut Socket, link: Ifindex) -> Result<(), DumpError> {
    let began = Instant::now();
    loop {
        let mut is_losing = false;
        socket.get(encode::get_link(link), |_, body| {
            is_losing = decode::is_losing_carrier(body)?;
            Ok(())
        })?;
        if !is_losing || began.elapsed() > LIMIT {
            return Ok(());
        }
        sleep(PAUSE);
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
