//! The state of a process, as the node's init reports it.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Process, ProcessName};

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ProcessState")]
pub enum State {
    /// It waits for the processes that it comes after.
    Waiting,
    /// It runs, and is not ready yet. A `oneshot` runs, and is not done yet.
    Starting,
    /// It runs, and has no condition for being ready.
    Running,
    /// It runs, and is ready.
    Ready,
    /// It was asked to end.
    Stopping,
    /// It ended, and will be started again.
    Backoff,
    /// It ended with status 0, and is not started again.
    Exited,
    /// It failed, and is not started again.
    Failed,
    /// A user stopped it.
    Stopped,
}

impl State {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Exited => "exited",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// It exited with this status.
    Status(i32),
    /// A signal killed it, such as `SIGKILL`.
    Signal(String),
}

impl End {
    /// Returns whether it succeeded.
    pub fn is_success(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(signal) => write!(f, "was killed by {signal}"),
        }
    }
}

/// A process and its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its name.
    pub name: ProcessName,
    /// What it is doing.
    pub state: State,
    /// How long it has been in that state, in milliseconds.
    pub age: u64,
    /// Its PID in the node, while it runs.
    pub pid: Option<i32>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u32,
    /// How it ended the last time.
    pub last_end: Option<End>,
    /// Why it failed, or is not ready.
    pub failure: Option<String>,
    /// What it says about itself: `STATUS=` of sd_notify(3).
    pub message: Option<String>,
    /// The files of `reload_on` that have changed since it last read its configuration.
    #[serde(default)]
    pub unread: BTreeSet<String>,
    /// The definition with which it runs, or will be started.
    pub definition: Process,
}

/// Whether a request has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settled {
    /// Not yet.
    Waiting,
    /// The process is ready, done, stopped as a user asked, or removed.
    Done,
    /// It failed.
    Failed {
        /// Why: a lowercase phrase about the process.
        reason: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
}
