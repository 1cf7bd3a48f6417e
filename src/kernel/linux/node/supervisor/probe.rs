//! Checks whether a process is ready.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::listeners;
use super::log::Log;
use crate::resource::node::process::{Condition, End, Ready};

/// The time between the first two checks. It doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// The time that a command has to succeed.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// The result of a check.
pub(super) enum Verdict {
    Ready,
    NotReady,
    /// The command has to be started.
    Command,
}

/// The command that checks.
#[derive(Debug)]
struct Command {
    pid: Pid,
    /// Until when it may run.
    until: Instant,
    was_killed: bool,
}

/// The checks of a process that is not ready yet.
#[derive(Debug)]
pub(super) struct Probe {
    /// When the next check is due; `None` while a command runs, or if the process will notify.
    due: Option<Instant>,
    delay: Duration,
    command: Option<Command>,
    /// Where the search for a text in the log begins.
    log_offset: u64,
    /// Why the process is not ready.
    pub missing: String,
}

impl Probe {
    pub(super) fn new(ready: &Ready, log_offset: u64, now: Instant) -> Self {
        let due = (ready.when != Condition::Notify).then(|| now + FIRST_DELAY);
        let missing = match &ready.when {
            Condition::Notify => "it did not send `READY=1`".to_owned(),
            Condition::Tcp(port) => format!("nothing listens on TCP port {port}"),
            Condition::Udp(port) => format!("nothing listens on UDP port {port}"),
            Condition::Unix(path) => format!("nothing listens on `{path}`"),
            Condition::File(path) => format!("`{path}` does not exist"),
            Condition::Log(text) => format!("its log does not contain `{text}`"),
            Condition::Exec(_) => "the command of `exec` did not succeed".to_owned(),
        };
        Self { due, delay: FIRST_DELAY, command: None, log_offset, missing }
    }

    /// When [`Self::check`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.command {
            Some(command) => (!command.was_killed).then_some(command.until),
            None => self.due,
        }
    }

    /// Checks the condition if that is due.
    pub(super) fn check(&mut self, ready: &Ready, log: &Log<'_>, now: Instant) -> Verdict {
        if self.command.as_ref().is_some_and(|command| command.until <= now) {
            // It is reported as ended, and the next check follows.
            self.kill_command();
        }
        if self.due.is_none_or(|due| now < due) {
            return Verdict::NotReady;
        }
        let result = match &ready.when {
            Condition::Notify => Ok(false),
            Condition::Tcp(port) => listeners::listens("tcp", *port),
            Condition::Udp(port) => listeners::listens("udp", *port),
            Condition::Unix(path) => listeners::unix(path),
            Condition::File(path) => std::fs::exists(path),
            Condition::Log(text) => self.search(text, log),
            Condition::Exec(_) => return Verdict::Command,
        };
        self.wait(ready, now);
        match result {
            Ok(true) => return Verdict::Ready,
            Ok(false) => {}
            Err(error) => self.missing = format!("it cannot be checked: {error}"),
        }
        Verdict::NotReady
    }

    /// Searches the log, also outside of checks: before it is moved to its copy.
    pub(super) fn search(&mut self, text: &str, log: &Log<'_>) -> std::io::Result<bool> {
        let next = log.search(text, self.log_offset)?;
        self.log_offset = next.unwrap_or(self.log_offset);
        Ok(next.is_none())
    }

    /// Schedules the next check.
    fn wait(&mut self, ready: &Ready, now: Instant) {
        self.due = Some(now + self.delay);
        self.delay = (self.delay * 2).min(Duration::from_micros(ready.interval.0));
    }

    /// The command runs.
    pub(super) fn command_started(&mut self, pid: Pid, now: Instant) {
        self.command = Some(Command { pid, until: now + COMMAND_TIME, was_killed: false });
        self.due = None;
    }

    /// The command could not be started.
    pub(super) fn command_failed(&mut self, why: String, ready: &Ready, now: Instant) {
        self.missing = why;
        self.wait(ready, now);
    }

    /// Takes notice of the end of a child. Returns whether it was the command; it is ready if the command succeeded.
    pub(super) fn command_ended(&mut self, pid: Pid, end: &End, ready: &Ready, now: Instant) -> Option<Verdict> {
        let command = self.command.take_if(|command| command.pid == pid)?;
        self.wait(ready, now);
        if end.is_success() {
            return Some(Verdict::Ready);
        }
        self.missing = match command.was_killed {
            true => format!("the command of `exec` took more than {}s", COMMAND_TIME.as_secs()),
            false => format!("the command of `exec` {end}"),
        };
        Some(Verdict::NotReady)
    }

    #[cfg(test)]
    pub(super) fn command(&self) -> Option<Pid> {
        self.command.as_ref().map(|command| command.pid)
    }

    fn kill_command(&mut self) {
        if let Some(command) = &mut self.command {
            // Fails if it has ended, and the init does not know yet.
            let _ = killpg(command.pid, Signal::SIGKILL);
            command.was_killed = true;
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.kill_command();
    }
}
