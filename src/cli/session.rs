//! A session: the exclusive access to a lab that `apply` and `destroy` hold while they plan and execute.

use std::time::{Duration, Instant};

use super::args::ChangeArgs;
use super::error::Failure;
use super::signals::Signals;
use crate::kernel::linux::{Linux, Listing};
use crate::name::LabName;
use crate::record::Record;
use crate::runtime::lock::LabLock;
use crate::runtime::records::{self, RecordError};
use crate::spec::prescan;

/// Exclusive access to a lab.
pub struct Session {
    /// The kernel, as far as the lab uses it.
    pub kernel: Linux,
    /// HUP, INT, QUIT and TERM.
    pub signals: Signals,
    /// Keeps other processes from changing the lab.
    pub lock: LabLock,
    /// The lab's record on disk.
    pub record: Record,
    /// When the session began.
    pub start: Instant,
}

/// The command that a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// `topo apply`.
    Apply,
    /// `topo destroy`.
    Destroy,
}

impl Session {
    /// Locks the lab. Waits for other processes for the time that the user gave.
    pub fn open(lab: &LabName, arguments: &ChangeArgs) -> Result<Self, Failure> {
        let (mut kernel, signals) = (Linux::new(lab.clone())?, Signals::listen()?);
        let lock = LabLock::acquire(lab, arguments.lock_timeout, || signals.exit_status().is_some())
            .map_err(|error| Failure { status: signals.exit_status().unwrap_or(super::error::STATUS), ..error.into() })?;
        kernel.hold(lock.duplicate().map_err(Failure::new)?);
        let (start, record) = (Instant::now(), load_record(lab, arguments.forget)?);
        Ok(Self { kernel, signals, lock, record, start })
    }

    /// Opens a session before the lab file is parsed, using only the name at its beginning, and starts to create namespaces and
    /// to read the kernel. Returns `None` if anything fails; [`Session::confirm`] then tries again and reports the error.
    pub fn open_early(text: &str, intent: Intent) -> Option<Self> {
        let lab = prescan::name(text)?;
        let mut kernel = Linux::new(lab.clone()).ok()?;
        let listing = Listing::read().ok()?;
        if intent == Intent::Apply {
            // First, because it takes longest. These namespaces are not visible yet, so they do not need the lock. The listing
            // only tells where to start; the observation lists again.
            kernel.create_early(&listing, prescan::namespaces(text));
        }
        // Before the lock, so that an early signal does not leave its file behind.
        let signals = Signals::listen().ok()?;
        let lock = LabLock::acquire(&lab, Duration::ZERO, || false).ok()?;
        kernel.hold(lock.duplicate().ok()?);
        let (start, record) = (Instant::now(), load_record(&lab, false).ok()?);
        let _ = kernel.observe_early(listing, &record);
        Some(Self { kernel, signals, lock, record, start })
    }

    /// Uses the session that was opened early if it is for the right lab; otherwise opens one.
    pub fn confirm(early: Option<Self>, lab: &LabName, arguments: &ChangeArgs) -> Result<Self, Failure> {
        match early {
            Some(session) if session.kernel.lab() == lab => Ok(session),
            other => {
                drop(other);
                Self::open(lab, arguments)
            }
        }
    }
}

/// Reads the record. `forget` removes one that is damaged.
fn load_record(lab: &LabName, forget: bool) -> Result<Record, Failure> {
    records::discard_unfinished(lab)?;
    match records::read(lab) {
        Err(error @ RecordError::Damaged { .. }) if !forget => Err(Failure::new(error).hint(
            "it says which settings of `host` the lab has changed, and their values before; `--forget` goes on without them",
        )),
        Err(RecordError::Damaged { .. }) => {
            records::forget(lab)?;
            Ok(Record::default())
        }
        result => Ok(result?),
    }
}
