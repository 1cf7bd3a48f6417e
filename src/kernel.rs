//! The interface of the pipeline to the kernel: observe the network and execute operations.
//!
//! [`linux`] is the running kernel. [`memory`] simulates a network and enforces the kernel's rules, so that a plan in the wrong order
//! fails there, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::name::{LinkName, NamespaceName};
use crate::operation::Operation;
use crate::resource::sysctl::SysctlKey;
use crate::state::{Ifindex, Live, State};

pub mod linux;
pub mod memory;

/// An operation that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct OperationError {
    /// The position of the operation, from 0.
    pub position: usize,
    /// The operation as a phrase.
    pub operation: String,
    /// The cause.
    pub source: Errno,
    /// More about the cause, line by line: what a process has written.
    pub details: Box<[String]>,
}

/// An error of the kernel, or, with the number 0, of a process that the lab declares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Errno {
    /// The error number, errno(3), positive; 0 for what is told by the message alone.
    pub number: i32,
    /// The kernel's message (NLMSGERR_ATTR_MSG), if any.
    pub message: Option<String>,
}

impl Errno {
    /// Returns an error without a message.
    pub fn new(number: i32) -> Self {
        Self { number, message: None }
    }
}

/// Converts the error of a system call. Uses EIO if it has no number.
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
        if let (0, Some(message)) = (self.number, &self.message) {
            return f.write_str(&crate::name::escape(message));
        }
        let text = plain(&std::io::Error::from_raw_os_error(self.number));
        match &self.message {
            Some(message) => write!(f, "{} ({text})", crate::name::escape(message)),
            None => f.write_str(&text),
        }
    }
}

/// Returns the system's message for an error, as a lowercase phrase without the number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    lower_first(text.split(" (os error").next().unwrap_or_default())
}

/// Makes the first letter lower case, unless it begins an abbreviation.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    if text.chars().nth(1).is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The network could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}")]
pub struct ObserveError {
    /// The part of the network.
    pub what: String,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The execution stopped early.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An operation failed. Later operations may have been executed.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The user interrupted. Operations that had begun were completed.
    #[error("interrupted")]
    Interrupted,
}

/// Receives the progress of an execution, and can stop it.
pub trait Progress {
    /// Returns whether to stop. Called between operations.
    fn stop(&self) -> bool {
        false
    }
    /// Returns whether to go on if the kernel refuses this operation.
    fn may_fail(&self, operation: &Operation) -> bool {
        let _ = operation;
        false
    }
    /// Called when the operation at this position is complete.
    fn done(&mut self, position: usize) {
        let _ = position;
    }
}

/// Ignores the progress and never stops.
pub struct Unattended;
impl Progress for Unattended {}

/// A kernel.
pub trait Kernel {
    /// Observes the resources that the lab owns and those in `desired`. Writes nothing.
    ///
    /// # Errors
    /// Fails if any part could not be read completely.
    fn observe(&mut self, desired: &State) -> Result<Live, ObserveError>;

    /// Observes these namespaces again, and returns the last observation of the others. `desired` must be that of the last observation.
    /// After [`Kernel::execute`], the observation of a namespace may be as old as the last operation that could change it.
    ///
    /// # Errors
    /// As [`Kernel::observe`].
    fn observe_again(&mut self, desired: &State, touched: &BTreeSet<NamespaceName>) -> Result<Live, ObserveError>;

    /// Returns the values of these sysctls in a new network namespace. Omits those that this kernel does not have.
    ///
    /// # Errors
    /// Fails if a new namespace cannot be created.
    fn defaults(&mut self, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError>;

    /// Returns the names of the links of `host` by their numbers.
    ///
    /// # Errors
    /// Fails if they could not be read.
    fn names_in_host(&mut self) -> Result<BTreeMap<Ifindex, LinkName>, ObserveError>;

    /// Waits a moment for the kernel's asynchronous cleanup of deleted namespaces.
    fn settle(&mut self) {}

    /// Lets time pass, for what the kernel does by itself.
    fn pause(&mut self, time: Duration) {
        let _ = time;
    }

    /// Executes operations in order.
    ///
    /// # Errors
    /// Fails with the first operation that fails, or if `progress` stops the execution.
    fn execute(&mut self, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError>;
}
