//! A started process, or what is left of it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::Settings;
use super::capability::Capabilities;
use super::identity::{Identity, look_up};
use super::members::{self, members};
use super::notify::NotifySocket;
use super::probe::Probe;
use super::spawn::{Launch, SpawnError, spawn};
use crate::resource::node::process::{self, Process, ProcessName};

/// The number of notices that are read at once.
const NOTICES: usize = 32;

/// A run of a process.
pub(super) struct Run {
    /// The main process; `None` when it has ended.
    pub main: Option<Pid>,
    /// The session, which is the first main process.
    session: Pid,
    /// Marks all that it starts, in their environment.
    invocation: String,
    notify: Option<NotifySocket>,
    /// The user that may notify.
    uid: u32,
    pub began: Instant,
    /// The size that the log had before.
    pub log_start: u64,
    pub log_check: LogCheck,
    /// The checks, until it is ready.
    pub probe: Option<Probe>,
    /// What it says about itself.
    pub message: Option<String>,
}

/// When the size of a log is checked: often while it grows fast, rarely otherwise.
pub(super) struct LogCheck {
    pub due: Instant,
    delay: Duration,
    size: u64,
}

impl LogCheck {
    const LEAST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_secs(1);
    /// What grows by that much between two checks grows fast, in bytes.
    const FAST: u64 = 1 << 16;

    pub(super) fn begin(size: u64, now: Instant) -> Self {
        Self { due: now + Self::LEAST, delay: Self::LEAST, size }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    pub(super) fn checked(&mut self, size: u64, now: Instant) {
        let grows_fast = size.saturating_sub(self.size) >= Self::FAST;
        self.delay = if grows_fast { Self::LEAST } else { (self.delay * 2).min(Self::MOST) };
        (self.due, self.size) = (now + self.delay, size);
    }
}

impl Run {
    /// Starts a process.
    pub(super) fn start(name: &ProcessName, definition: &Process, settings: &Settings, now: Instant) -> Result<Self, SpawnError> {
        let failed = |action: &str| {
            let action = action.to_owned();
            |error| SpawnError::Step(action, error)
        };
        let log = settings.log(name);
        let output = log.open_for_output().map_err(failed("cannot open the log"))?;
        let log_start = log.size();
        let invocation = invocation().map_err(failed("cannot read random bytes"))?;
        let notify = definition.notifies().then(NotifySocket::open).transpose();
        let notify = notify.map_err(failed("cannot open a socket for its notification"))?;
        let identity = definition.user.as_ref().map(look_up).transpose()?;
        let mut environment = environment(name, definition, identity.as_ref(), settings);
        environment.insert("INVOCATION_ID".to_owned(), invocation.clone());
        environment.extend(notify.iter().map(|socket| ("NOTIFY_SOCKET".to_owned(), socket.address.clone())));
        let main = spawn(&Launch {
            command: &definition.command,
            environment: &environment,
            cwd: &definition.cwd,
            identity: identity.as_ref(),
            capabilities: definition.capabilities.as_ref().map(Capabilities::from),
            stdin: definition.stdin.as_deref(),
            output: Some(output),
        })?;
        Ok(Self {
            main: Some(main),
            session: main,
            invocation,
            notify,
            uid: identity.map_or_else(|| nix::unistd::geteuid().as_raw(), |identity| identity.uid),
            began: now,
            log_start,
            log_check: LogCheck::begin(log_start, now),
            probe: None,
            message: None,
        })
    }

    /// Returns the descriptor that becomes readable with a notice.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.notify.as_ref().map(AsFd::as_fd)
    }

    /// Reads notices, but no more at once than the init has time for. Returns whether the process is ready.
    pub(super) fn read_notices(&mut self) -> bool {
        let mut is_ready = false;
        for _ in 0..NOTICES {
            let Some(notice) = self.notify.as_ref().and_then(|socket| socket.receive(self.uid)) else { break };
            is_ready |= notice.is_ready;
            self.message = notice.message.or(self.message.take());
            // Only what belongs to the process can take its place.
            let main = notice.main.map(Pid::from_raw).filter(|main| self.members().is_ok_and(|members| members.contains(main)));
            self.main = main.or(self.main);
        }
        is_ready
    }

    /// Returns the children that the init has to reap.
    #[cfg(test)]
    pub(super) fn children(&self) -> Vec<Pid> {
        self.main.into_iter().chain(self.probe.as_ref().and_then(Probe::command)).collect()
    }

    fn members(&self) -> io::Result<Vec<Pid>> {
        members(self.session, &self.invocation)
    }

    /// Sends a signal to the process, its group, and whatever else belongs to it.
    pub(super) fn signal(&self, signal: Signal) {
        let mut others = self.members().unwrap_or_default();
        if self.main == Some(self.session) {
            // At once, so that no process of the group sees others end before. The number is that of this group as long as the process
            // is there.
            let _ = killpg(self.session, signal);
            others.retain(|pid| nix::unistd::getpgid(Some(*pid)) != Ok(self.session));
        } else if let Some(main) = self.main.filter(|main| !others.contains(main)) {
            others.push(main);
        }
        members::signal(&others, signal);
    }

    /// Kills all that belongs to it.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Returns whether nothing of it is left.
    pub(super) fn has_ended(&self) -> bool {
        // Without /proc, the main process is all that is known.
        self.main.is_none_or(|main| kill(main, None) == Err(Errno::ESRCH))
            && self.members().map_or(true, |members| members.is_empty())
    }
}

/// Starts the command that checks whether a process is ready.
pub(super) fn start_check(
    name: &ProcessName,
    definition: &Process,
    command: &[String],
    settings: &Settings,
) -> Result<Pid, SpawnError> {
    let identity = definition.user.as_ref().map(look_up).transpose()?;
    spawn(&Launch {
        command,
        environment: &environment(name, definition, identity.as_ref(), settings),
        cwd: &definition.cwd,
        identity: identity.as_ref(),
        capabilities: definition.capabilities.as_ref().map(Capabilities::from),
        stdin: None,
        output: None,
    })
}

/// Returns the environment of a process: that of the node, of the user, and its own.
fn environment(
    name: &ProcessName,
    definition: &Process,
    identity: Option<&Identity>,
    settings: &Settings,
) -> BTreeMap<String, String> {
    let mut environment = settings.environment.clone();
    let user = identity.into_iter().flat_map(|identity| &identity.variables);
    environment.extend(user.map(|(name, value)| ((*name).to_owned(), value.clone())));
    environment.extend(definition.env.clone());
    environment.insert("TOPO_PROCESS".to_owned(), name.to_string());
    environment
}

/// Returns a number that no other run has, in hexadecimal.
fn invocation() -> io::Result<String> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).collect())
}

/// Returns the number of a signal.
pub(super) fn signal(signal: process::Signal) -> Signal {
    format!("SIG{}", signal.name()).parse().unwrap_or(Signal::SIGTERM)
}
