//! The kernel as the pipeline sees it: something that can be observed, and that executes operations.
//!
//! [`linux`] is the real one. [`memory`] holds a network in memory and enforces the kernel's rules, so that a plan in the wrong
//! order fails there as it would for real.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::NamespaceName;
use crate::operation::Operation;
use crate::resource::sysctl::SysctlKey;
use crate::state::{Live, State};

pub mod linux;
pub mod memory;

/// An operation that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct OperationError {
    /// Which operation of those that were to be executed, from 0.
    pub position: usize,
    /// The operation as a phrase.
    pub operation: String,
    /// Why.
    pub source: Errno,
}

/// A refusal in the kernel's own terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Errno {
    /// The error number, errno(3), positive.
    pub number: i32,
    /// What the kernel said beyond the number (NLMSGERR_ATTR_MSG), if anything.
    pub message: Option<String>,
}

impl Errno {
    /// A refusal without words.
    pub fn new(number: i32) -> Self {
        Self { number, message: None }
    }
}

/// An error of a system call in the kernel's terms; EIO where it has no number.
impl From<&std::io::Error> for Errno {
    fn from(error: &std::io::Error) -> Self {
        const EIO: i32 = 5;
        match error.raw_os_error() {
            Some(number) => Self::new(number),
            None => Self { number: EIO, message: Some(error.to_string()) },
        }
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = plain(&std::io::Error::from_raw_os_error(self.number));
        match &self.message {
            Some(message) => write!(f, "{} ({text})", crate::name::escape(message)),
            None => f.write_str(&text),
        }
    }
}

/// The system's words for an error, as a lowercase phrase without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    lower_first(text.split(" (os error").next().unwrap_or_default())
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Why the network could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}")]
pub struct ObserveError {
    /// What was to be read.
    pub what: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why executing ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An operation failed. Some that follow it may have been executed.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The user asked to stop; what had begun was finished.
    #[error("interrupted")]
    Interrupted,
}

/// How the executor and the one who waits for it talk.
pub trait Progress {
    /// Asked between operations: whether to stop.
    fn stop(&self) -> bool {
        false
    }
    /// Told that the operation at this position is done.
    fn done(&mut self, position: usize) {
        let _ = position;
    }
}

/// Nobody watches and nobody interrupts.
pub struct Unattended;
impl Progress for Unattended {}

/// Something that can be observed and changed.
pub trait Kernel {
    /// Reads what the lab owns, and of all else only what `desired` names. Never writes.
    ///
    /// # Errors
    /// When something could not be read whole; nothing may be concluded then.
    fn observe(&mut self, desired: &State) -> Result<Live, ObserveError>;

    /// Reads what lies in these namespaces once more; all else is as it was last seen. `desired` must be that of the last time.
    /// After [`Kernel::execute`] a namespace may have been read as soon as no operation was left that could change it.
    ///
    /// # Errors
    /// As [`Kernel::observe`].
    fn observe_again(&mut self, desired: &State, touched: &BTreeSet<NamespaceName>) -> Result<Live, ObserveError>;

    /// The values that these settings have in a new network namespace. Those that this kernel lacks are left out.
    ///
    /// # Errors
    /// When a new namespace cannot be had.
    fn defaults(&mut self, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError>;

    /// Waits a moment for what the kernel does by itself after a namespace is gone.
    fn settle(&mut self) {}

    /// Executes operations in their order.
    ///
    /// # Errors
    /// At the first operation that failed, or when `progress` asked to stop.
    fn execute(&mut self, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError>;
}
