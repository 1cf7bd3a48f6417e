//! Starts, watches, restarts and ends the processes of a node, in the event loop of its init.
//!
//! Nothing here blocks, and there are no threads. The loop calls [`Supervisor::child_ended`] for each child that it reaps,
//! [`Supervisor::readable`] when one of [`Supervisor::descriptors`] is readable, and [`Supervisor::tick`] at
//! [`Supervisor::next_deadline`]; after each call, and after each request, the answers may have changed. Times are those of the
//! monotonic clock.
//!
//! A process is its main process and all that it starts: its session, and what has its `INVOCATION_ID` in the environment. Users, groups
//! and commands are those of the node, whose files and /proc the init sees.

mod addresses;
mod capability;
mod end;
mod entry;
mod identity;
mod listeners;
mod log;
mod members;
mod notify;
mod probe;
mod run;
mod spawn;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::sys::wait::WaitStatus;

use self::addresses::Addresses;
use self::entry::{Entry, Phase, Then};
use self::log::Log;
pub use self::log::Logs;
use crate::resource::node::process::{Process, ProcessName, ProcessStatus, Settled, State};

/// The number of lines of its log with which a failure is explained.
const LINES: usize = 10;

/// Why a process that has exited with status 0 is not as it was declared.
const ENDED_AT_ONCE: &str = "exited with status 0; a daemon must stay in the foreground, and what ends by itself is a `oneshot`";

/// What all processes of the node have in common.
pub struct Settings {
    /// The logs.
    pub logs: Logs,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

impl Settings {
    /// Returns the settings of a node with these logs and this environment.
    pub fn new(logs: Logs, environment: BTreeMap<String, String>) -> Self {
        Self { logs, environment }
    }

    fn log<'s>(&'s self, name: &'s ProcessName) -> Log<'s> {
        Log { logs: &self.logs, name }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no process of that name.
    #[error("no process `{0}`")]
    Unknown(ProcessName),
    /// The process does not run, so that it cannot reload.
    #[error("process `{0}` is not running")]
    NotRunning(ProcessName),
}

/// The processes of a node.
pub struct Supervisor {
    settings: Settings,
    entries: BTreeMap<ProcessName, Entry>,
    addresses: Addresses,
    is_shutting_down: bool,
}

impl Supervisor {
    /// Creates a supervisor without processes.
    pub fn new(settings: Settings) -> Self {
        Self { settings, entries: BTreeMap::new(), addresses: Addresses::default(), is_shutting_down: false }
    }

    // Requests. `Self::settled` says when they are done.

    /// Makes a process run with this definition, or, for a `oneshot`, have run with it. A process that runs goes on if all that differs is
    /// what the supervisor does with it.
    pub fn put(&mut self, name: &ProcessName, definition: Process, now: Instant) {
        match self.entries.get_mut(name) {
            Some(entry) => entry.put(definition, &self.settings, now),
            None => {
                self.entries.insert(name.clone(), Entry::new(name.clone(), definition, now));
            }
        }
        self.advance(now);
    }

    /// Ends a process, forgets it and removes its log.
    pub fn remove(&mut self, name: &ProcessName, now: Instant) -> Result<(), RequestError> {
        self.request(name, now, |entry, settings| entry.stop(Then::Remove, settings, now))
    }

    /// Starts a process that was stopped, has ended or failed, or is about to be restarted.
    pub fn start(&mut self, name: &ProcessName, now: Instant) -> Result<(), RequestError> {
        self.request(name, now, |entry, settings| entry.start(settings, now))
    }

    /// Ends a process. It stays so until it is started.
    pub fn stop(&mut self, name: &ProcessName, now: Instant) -> Result<(), RequestError> {
        self.request(name, now, |entry, settings| entry.stop(Then::Stop, settings, now))
    }

    /// Ends a process if it runs, and starts it.
    pub fn restart(&mut self, name: &ProcessName, now: Instant) -> Result<(), RequestError> {
        self.request(name, now, |entry, settings| entry.restart(settings, now))
    }

    /// Sends a process the signal on which it reads its configuration again.
    pub fn reload(&mut self, name: &ProcessName) -> Result<(), RequestError> {
        let entry = self.entries.get_mut(name).ok_or_else(|| RequestError::Unknown(name.clone()))?;
        let runs = entry.reload(&self.settings);
        runs.then_some(()).ok_or_else(|| RequestError::NotRunning(name.clone()))
    }

    /// Takes notice that a file or bind of the node has changed. Those that depend on it have not read it until they reload.
    pub fn file_changed(&mut self, path: &str) {
        let running = self.entries.values_mut().filter(|entry| entry.run.is_some());
        for entry in running.filter(|entry| entry.definition.reload_on.contains(path)) {
            entry.unread.insert(path.to_owned());
        }
    }

    /// Ends all processes, each before those that it comes after, and starts none any more.
    pub fn shut_down(&mut self, now: Instant) {
        self.is_shutting_down = true;
        self.advance(now);
    }

    /// Returns whether no process is running or about to.
    pub fn is_down(&self) -> bool {
        self.entries.values().all(Entry::is_down)
    }

    fn request(&mut self, name: &ProcessName, now: Instant, act: impl FnOnce(&mut Entry, &Settings)) -> Result<(), RequestError> {
        let entry = self.entries.get_mut(name).ok_or_else(|| RequestError::Unknown(name.clone()))?;
        act(entry, &self.settings);
        self.advance(now);
        Ok(())
    }

    // Events.

    /// Takes notice of the end of a child. Returns whether it was one of a process; others are orphans, which the init only reaps.
    pub fn child_ended(&mut self, status: WaitStatus, now: Instant) -> bool {
        let (Some(pid), Some(end)) = (status.pid(), end::end(status)) else { return false };
        let known = self.entries.values_mut().any(|entry| entry.child_ended(pid, &end, &self.settings, now));
        self.advance(now);
        known
    }

    /// Returns the descriptors to wait for: each becomes readable when a process has a notice.
    pub fn descriptors(&self) -> impl Iterator<Item = (&ProcessName, BorrowedFd<'_>)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name, entry.run.as_ref()?.descriptor()?)))
    }

    /// Reads the notices of a process.
    pub fn readable(&mut self, name: &ProcessName, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.notified(now);
        }
        self.advance(now);
    }

    /// Returns when [`Self::tick`] is to be called; `None` if nothing is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.entries.values().filter_map(Entry::deadline).chain(self.addresses.deadline()).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.entries.values_mut().for_each(|entry| entry.tick(&self.settings, now));
        self.advance(now);
    }

    /// Starts the processes whose turn it is, or ends them.
    fn advance(&mut self, now: Instant) {
        if self.is_shutting_down {
            self.addresses.forget();
            self.stop_next(now);
        } else {
            self.start_next(now);
        }
        let settings = &self.settings;
        self.entries.retain(|name, entry| {
            let is_gone = entry.phase == Phase::Gone;
            if is_gone {
                settings.log(name).remove();
            }
            !is_gone
        });
    }

    /// Starts the processes that wait for nothing but the addresses of the node, once those can be used.
    fn start_next(&mut self, now: Instant) {
        while let Some(name) = self.next_to_start() {
            if !self.addresses.are_ready(now) {
                return;
            }
            let Some(entry) = self.entries.get_mut(&name) else { break };
            entry.launch(&self.settings, now);
        }
        self.addresses.forget();
    }

    /// Returns a process that waits for nothing. One that cannot be started is not waiting any more.
    fn next_to_start(&self) -> Option<ProcessName> {
        let is_up = |name: &ProcessName| self.entries.get(name).is_some_and(Entry::is_up);
        let can_start = |entry: &Entry| entry.phase == Phase::Waiting && entry.definition.after.iter().all(is_up);
        self.entries.iter().find(|(_, entry)| can_start(entry)).map(|(name, _)| name.clone())
    }

    /// Ends the processes that no running one comes after. Those that do not run have ended at once.
    fn stop_next(&mut self, now: Instant) {
        let count = |entries: &BTreeMap<ProcessName, Entry>| entries.values().filter(|entry| !entry.is_down()).count();
        loop {
            let before = count(&self.entries);
            self.stop_unneeded(now);
            if count(&self.entries) == before {
                return;
            }
        }
    }

    fn stop_unneeded(&mut self, now: Instant) {
        let running = self.entries.values().filter(|entry| !entry.is_down());
        let needed: Vec<ProcessName> = running.flat_map(|entry| entry.definition.after.iter().cloned()).collect();
        for (name, entry) in &mut self.entries {
            let is_needed = needed.contains(name);
            if !is_needed && !matches!(entry.phase, Phase::Stopping(_) | Phase::Stopped | Phase::Gone) {
                entry.stop(Then::Stop, &self.settings, now);
            }
        }
    }

    // Answers.

    /// Returns the processes with their states, by name.
    pub fn status(&self, now: Instant) -> Vec<ProcessStatus> {
        self.entries.values().map(|entry| entry.status(now)).collect()
    }

    /// Returns what each process is doing, and its PID while it runs.
    pub fn states(&self) -> Vec<(ProcessName, State, Option<i32>)> {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.state(), entry.main())).collect()
    }

    /// Returns whether the last request for a process is done; `None` if there is no such process, as after a removal. A process that
    /// waits for a failed one has failed, too, until that one is ready.
    pub fn settled(&self, name: &ProcessName) -> Settled {
        let Some(entry) = self.entries.get(name) else { return Settled::Done };
        if let Some(reason) = entry.failed() {
            let log = self.settings.log(name).tail(LINES);
            return Settled::Failed { reason: reason.to_owned(), log };
        }
        match entry.phase {
            Phase::Exited if !entry.definition.oneshot => {
                let log = self.settings.log(name).tail(LINES);
                Settled::Failed { reason: ENDED_AT_ONCE.to_owned(), log }
            }
            Phase::Up if entry.is_new() => Settled::Waiting,
            Phase::Up | Phase::Exited | Phase::Stopped | Phase::Failed | Phase::Gone => Settled::Done,
            Phase::Starting | Phase::Stopping(_) | Phase::Backoff(_) => Settled::Waiting,
            Phase::Waiting => match entry.definition.after.iter().find_map(|after| self.obstacle(after, self.entries.len())) {
                Some((reason, cause)) => Settled::Failed { reason, log: self.settings.log(cause).tail(LINES) },
                None => Settled::Waiting,
            },
        }
    }

    /// Returns why what comes after this process cannot start, and the process that is the cause; `None` if it may still be ready. Looks at
    /// no more than `depth` others: the lab file has no circles, but definitions arrive one by one.
    fn obstacle<'s>(&'s self, name: &'s ProcessName, depth: usize) -> Option<(String, &'s ProcessName)> {
        let entry = self.entries.get(name)?;
        if let Some(reason) = entry.failed() {
            return Some((format!("comes after `{name}`, which {reason}"), name));
        }
        match entry.phase {
            Phase::Stopped => Some((format!("comes after `{name}`, which is stopped"), name)),
            Phase::Waiting => {
                let depth = depth.checked_sub(1)?;
                let obstacle = entry.definition.after.iter().find_map(|after| self.obstacle(after, depth));
                obstacle.map(|(reason, cause)| (format!("comes after `{name}`, which {reason}"), cause))
            }
            Phase::Starting
            | Phase::Up
            | Phase::Stopping(_)
            | Phase::Backoff(_)
            | Phase::Exited
            | Phase::Failed
            | Phase::Gone => None,
        }
    }

    /// Returns the children that the supervisor waits for.
    #[cfg(test)]
    fn children(&self) -> Vec<nix::unistd::Pid> {
        self.entries.values().filter_map(|entry| entry.run.as_ref()).flat_map(run::Run::children).collect()
    }
}

#[cfg(test)]
mod tests;
