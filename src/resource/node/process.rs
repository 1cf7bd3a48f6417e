//! A process of a node: what the node's init starts, watches and restarts.
//!
//! ```yaml
//! processes:
//!   zebra: { command: [/usr/lib/frr/zebra, -f, /etc/frr/frr.conf], ready: { notify: true }, restart: always }
//!   web: { command: "exec python3 -m http.server 80", after: [zebra], ready: { tcp: 80 }, stop: { signal: INT, timeout: 2s } }
//!   migrate: { command: [./migrate], oneshot: true }
//! ```
//!
//! [`spec`] has the keys of the lab file, [`lower()`] checks them and fills in the defaults, and [`raise()`] is the inverse. The init gets a
//! [`Process`] as JSON and returns it with the state of the process. Users, groups and commands are looked up in the node when the
//! process starts.

mod lower;
mod raise;
pub mod spec;
mod status;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::lower::{Site, lower};
pub use self::raise::raise;
pub use self::spec::ProcessSpec;
pub use self::status::{End, ProcessStatus, Settled, State};
pub use self::value::{Capability, Port, Signal, User};
use super::super::FieldChange;
pub use crate::name::ProcessName;
use crate::name::escape;
use crate::value::Duration;

/// The variables of the environment that the init sets for each process.
pub const OWN_VARIABLES: [&str; 3] = ["INVOCATION_ID", "NOTIFY_SOCKET", "TOPO_PROCESS"];

/// The definition of a process, with all defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never empty. A program without a slash is searched in `PATH`.
    pub command: Vec<String>,
    /// Variables, in addition to the environment of the node.
    pub env: BTreeMap<String, String>,
    /// The working directory, an absolute path; `/` by default.
    pub cwd: String,
    /// The user and the group; `None` for those of the init, which is root in the node.
    pub user: Option<User>,
    /// The processes that must be ready before this one starts.
    pub after: BTreeSet<ProcessName>,
    /// When it is ready; `None` when it has run for 50 ms, and for a `oneshot` when it has succeeded.
    pub ready: Option<Ready>,
    /// Whether it is started again when it ends.
    pub restart: Restart,
    /// How it is ended.
    pub stop: Stop,
    /// The signal on which it reads its configuration again.
    pub reload: Signal,
    /// Whether it runs once, and is done when it succeeds.
    pub oneshot: bool,
    /// The capabilities that it may have; `None` for those of the init.
    pub capabilities: Option<BTreeSet<Capability>>,
    /// Its standard input; `None` for /dev/null.
    pub stdin: Option<String>,
    /// The files of the node whose change makes it reload.
    pub reload_on: BTreeSet<String>,
    /// The files of the node whose change restarts it.
    pub restart_on: BTreeSet<String>,
}

/// When a process is ready, and how long that may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The condition.
    pub when: Condition,
    /// The time after which a process that is not ready has failed.
    pub timeout: Duration,
    /// The longest time between two checks.
    pub interval: Duration,
}

/// The condition under which a process is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It sends `READY=1`, sd_notify(3).
    Notify,
    /// A TCP socket listens on the port.
    Tcp(Port),
    /// A UDP socket is bound to the port.
    Udp(Port),
    /// A Unix socket is bound to the path, or to the abstract name after `@`.
    Unix(String),
    /// The file exists.
    File(String),
    /// Its log contains the text since it was started.
    Log(String),
    /// The command succeeds.
    Exec(Vec<String>),
}

/// Whether a process is started again when it ends by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// After which ends.
    pub policy: Policy,
    /// The time before the first restart. It doubles with each further one.
    pub delay: Duration,
    /// The limit of that time. A process that ran for longer starts with `delay` again.
    pub max_delay: Duration,
    /// The number of restarts in a row after which it has failed; `None` for any number.
    pub limit: Option<u32>,
}

/// After which ends a process is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Never.
    No,
    /// When it exits with another status than 0, is killed by a signal, or is not ready in time.
    OnFailure,
    /// Always.
    Always,
}

impl FromStr for Policy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "no" => Ok(Self::No),
            "on-failure" => Ok(Self::OnFailure),
            "always" => Ok(Self::Always),
            _ => Err(format!("`{}` is not a policy; use `no`, `on-failure` or `always`", escape(text))),
        }
    }
}

/// How a process is ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The signal that asks it to end.
    pub signal: Signal,
    /// The time after which it is killed.
    pub timeout: Duration,
}

impl Ready {
    const TIMEOUT: Duration = Duration::seconds(30);
    const INTERVAL: Duration = Duration::milliseconds(100);
}

impl Default for Restart {
    fn default() -> Self {
        Self { policy: Policy::No, delay: Self::DELAY, max_delay: Self::MAX_DELAY, limit: None }
    }
}

impl Restart {
    const DELAY: Duration = Duration::milliseconds(100);
    const MAX_DELAY: Duration = Duration::seconds(30);
    /// That of a oneshot: with the default delays, it is repeated for half a minute.
    const ONESHOT_LIMIT: u32 = 8;
}

impl Stop {
    /// The longest timeout: what the end of a node can take.
    pub const LONGEST: Duration = Duration::seconds(60);
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::TERM, timeout: Duration::seconds(5) }
    }
}

impl Process {
    /// The key of the lab file, and the word for it in messages.
    pub const LIST: &'static str = "processes";
    /// The default working directory.
    const CWD: &'static str = "/";

    /// Returns what is not a default, with the keys of the lab file and in its order.
    pub fn show(&self) -> Vec<(String, Value)> {
        match serde_json::to_value(raise(self)) {
            Ok(Value::Object(keys)) => keys.into_iter().collect(),
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    /// Returns the keys that differ from those of the process that runs.
    pub fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let (desired, before) = (self.show(), live.show());
        let value =
            |keys: &[(String, Value)], name: &str| keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let removed = before.iter().filter(|(name, _)| value(&desired, name).is_none());
        let names: Vec<&String> = desired.iter().chain(removed).map(|(name, _)| name).collect();
        let change = |name: &String| {
            let change = FieldChange::new(name, value(&before, name).into(), value(&desired, name).into());
            FieldChange { forces_replacement: self.needs_restart_for(name, live), ..change }
        };
        names.into_iter().map(change).filter(|change| change.before != change.after).collect()
    }

    /// Returns whether the process must be started again to get this definition.
    pub fn needs_restart(&self, live: &Self) -> bool {
        self.compare(live).iter().any(|change| change.forces_replacement)
    }

    /// Returns whether the key is one that a process has for life. What the init does with it changes in place; but a process that shall
    /// notify it needs a socket for that from the start.
    fn needs_restart_for(&self, key: &str, live: &Self) -> bool {
        match key {
            "command" | "env" | "cwd" | "user" | "oneshot" | "capabilities" | "stdin" => true,
            "ready" => self.notifies() && !live.notifies(),
            _ => false,
        }
    }

    /// Returns whether it tells the init when it is ready.
    pub fn notifies(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.when == Condition::Notify)
    }
}

#[cfg(test)]
mod tests;
