//! A lab's turn to be changed: what `apply` and `destroy` hold from before the first look to the end.

use std::time::{Duration, Instant};

use super::ChangeArguments;
use super::error::Failure;
use super::signals::Signals;
use crate::kernel::linux::{Linux, Listing};
use crate::name::LabName;
use crate::record::Record;
use crate::runtime::lock::Lock;
use crate::runtime::records;
use crate::spec::prescan as glance;

/// A lab that nobody else may change.
pub struct Turn {
    /// The kernel, as far as it concerns the lab.
    pub kernel: Linux,
    /// Which signal has come.
    pub signals: Signals,
    /// Keeps others out.
    pub lock: Lock,
    /// What was written down when the lab was last changed.
    pub record: Record,
    /// When it was taken.
    pub since: Instant,
}

/// What a turn is taken for.
#[derive(Debug, Clone, Copy)]
pub enum Intent {
    /// The lab will be as it is declared.
    Make,
    /// The lab will be gone.
    Remove,
}

impl Turn {
    /// Locks the lab, and waits for that as long as the user said.
    pub fn take(lab: &LabName, arguments: &ChangeArguments) -> Result<Self, Failure> {
        let (kernel, signals) = (Linux::new(lab.clone())?, Signals::listen()?);
        let lock = Lock::take(lab, arguments.lock_timeout, || signals.exit_code().is_some())
            .map_err(|error| Failure { code: signals.exit_code().unwrap_or(1), ..error.into() })?;
        let (since, record) = (Instant::now(), recorded(lab)?);
        Ok(Self { kernel, signals, lock, record, since })
    }

    /// Locks the lab whose name a file begins with, and has namespaces made and the kernel read while the file is parsed. What fails
    /// will be told when it fails again.
    pub fn at_a_glance(text: &str, intent: Intent) -> Option<Self> {
        let lab = glance::name(text)?;
        let mut kernel = Linux::new(lab.clone()).ok()?;
        let listing = Listing::read().ok()?;
        if matches!(intent, Intent::Make) {
            // First of all, since it takes the longest; nobody sees them, so that nothing has to wait for the lock. What is listed only
            // says where to look early: the observation lists anew.
            kernel.make_ahead(&listing, glance::namespaces(text));
        }
        let lock = Lock::take(&lab, Duration::ZERO, || false).ok()?;
        let (since, record) = (Instant::now(), recorded(&lab).ok()?);
        let _ = kernel.look_ahead(listing, &record);
        let signals = Signals::listen().ok()?;
        Some(Self { kernel, signals, lock, record, since })
    }

    /// The turn that was guessed at, if the lab has that name, else the lab's own.
    pub fn confirmed(guess: Option<Self>, lab: &LabName, arguments: &ChangeArguments) -> Result<Self, Failure> {
        match guess {
            Some(turn) if turn.kernel.lab() == lab => Ok(turn),
            another => {
                drop(another);
                Self::take(lab, arguments)
            }
        }
    }
}

fn recorded(lab: &LabName) -> Result<Record, Failure> {
    records::discard_unfinished(lab)?;
    Ok(records::read(lab)?)
}
