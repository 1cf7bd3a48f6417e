//! One process through its states.
//!
//! ```text
//! Waiting    its predecessors are ready ─▶ Starting; cannot be started ─▶ Backoff or Failed
//! Starting   ready ─▶ Up; not in time ─▶ Stopping
//! Up         another condition of being ready ─▶ Starting
//! Starting, Up   asked to end, or another definition ─▶ Stopping
//!                ended by itself ─▶ Exited, Failed, or Stopping until nothing is left, and then Backoff
//! Stopping   nothing is left ─▶ Stopped, Waiting, Gone, Backoff or Failed
//! Backoff    the delay is over ─▶ Waiting
//! ```

mod ending;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use self::ending::Stopping;
pub(super) use self::ending::Then;
use super::log::START;
use super::probe::{Probe, Verdict};
use super::run::Run;
use super::{Settings, run};
use crate::resource::node::process::{Condition, End, Policy, Process, ProcessName, ProcessStatus, Ready, Restart, State};

/// Where a process is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for the processes that it comes after.
    Waiting,
    /// It runs, and is not ready; or it is a `oneshot`.
    Starting,
    /// It runs, and is ready.
    Up,
    /// It is being ended.
    Stopping(Stopping),
    /// It waits for its restart.
    Backoff(Instant),
    /// It ended with status 0.
    Exited,
    /// It failed for good.
    Failed,
    /// It was stopped.
    Stopped,
    /// It was removed.
    Gone,
}

/// How long a process without `ready` must have run before it counts as started: one with a mistake in its arguments ends sooner.
const PROBATION: Duration = Duration::from_millis(50);

/// A process.
pub(super) struct Entry {
    name: ProcessName,
    /// The definition with which it runs, or will be started.
    pub definition: Process,
    /// The definition with which it will be started after its end.
    next: Option<Process>,
    pub phase: Phase,
    since: Instant,
    /// What runs, or what is left of it.
    pub run: Option<Run>,
    /// By when it must be ready, whatever restarts that takes; `None` before the first start, and when it was ready.
    ready_by: Option<Instant>,
    /// Whether it was not ready by then. It may still be tried again.
    is_late: bool,
    /// The files of `reload_on` that have changed since it last read its configuration.
    pub unread: BTreeSet<String>,
    /// When one without `ready` has run for long enough to count as started; `None` afterwards.
    proven_at: Option<Instant>,
    restarts: u32,
    /// The restarts since it last ran for long.
    in_a_row: u32,
    last_end: Option<End>,
    /// Why it failed, until it is ready again.
    failure: Option<String>,
}

fn duration(value: crate::value::Duration) -> Duration {
    Duration::from_micros(value.0)
}

impl Entry {
    pub(super) fn new(name: ProcessName, definition: Process, now: Instant) -> Self {
        Self {
            name,
            definition,
            next: None,
            phase: Phase::Waiting,
            since: now,
            run: None,
            ready_by: None,
            is_late: false,
            unread: BTreeSet::new(),
            proven_at: None,
            restarts: 0,
            in_a_row: 0,
            last_end: None,
            failure: None,
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since, self.proven_at) = (phase, now, None);
    }

    fn note(&self, settings: &Settings, text: impl std::fmt::Display) {
        settings.log(&self.name).note(text);
    }

    /// Forgets earlier failures: a user asked for something.
    fn begin_anew(&mut self) {
        (self.ready_by, self.is_late, self.failure, self.in_a_row) = (None, false, None, 0);
    }

    // Requests.

    /// Takes a definition, and starts the process with it if it does not run with the same one.
    pub(super) fn put(&mut self, definition: Process, settings: &Settings, now: Instant) {
        let restarts = definition.needs_restart(&self.definition);
        match self.phase {
            Phase::Starting | Phase::Up if !restarts => self.change(definition, settings, now),
            Phase::Exited if !restarts && definition.oneshot => self.definition = definition,
            Phase::Starting | Phase::Up | Phase::Stopping(_) | Phase::Exited | Phase::Failed | Phase::Stopped => {
                self.next = Some(definition);
                self.begin_anew();
                self.stop(Then::Start, settings, now);
            }
            Phase::Waiting | Phase::Backoff(_) | Phase::Gone => {
                self.definition = definition;
                self.begin_anew();
                self.enter(Phase::Waiting, now);
            }
        }
    }

    /// Changes the definition of a process that runs, and waits for its new condition if that differs. A process that was tried in vain
    /// gets its time again.
    fn change(&mut self, definition: Process, settings: &Settings, now: Instant) {
        let when = |process: &Process| process.ready.as_ref().map(|ready| ready.when.clone());
        let differs = when(&definition) != when(&self.definition);
        self.unread.retain(|file| definition.reload_on.contains(file));
        self.definition = definition;
        let begins = differs || self.failure.is_some();
        if begins && !self.definition.oneshot {
            self.begin_anew();
            self.await_readiness(settings, now);
        }
    }

    /// Starts it unless it runs.
    pub(super) fn start(&mut self, settings: &Settings, now: Instant) {
        match self.phase {
            Phase::Starting | Phase::Up | Phase::Waiting => {}
            Phase::Stopping(_) | Phase::Backoff(_) | Phase::Exited | Phase::Failed | Phase::Stopped | Phase::Gone => {
                self.restart(settings, now);
            }
        }
    }

    /// Ends it if it runs, and starts it.
    pub(super) fn restart(&mut self, settings: &Settings, now: Instant) {
        self.begin_anew();
        self.stop(Then::Start, settings, now);
    }

    /// Asks it to read its configuration again. Returns whether it runs.
    pub(super) fn reload(&mut self, settings: &Settings) -> bool {
        self.unread.clear();
        let main = self.run.as_ref().and_then(|run| run.main).filter(|_| matches!(self.phase, Phase::Starting | Phase::Up));
        let Some(main) = main else { return false };
        self.note(settings, format_args!("reload with {}", self.definition.reload));
        nix::sys::signal::kill(main, run::signal(self.definition.reload)).is_ok()
    }

    // Events.

    /// Starts the process.
    pub(super) fn launch(&mut self, settings: &Settings, now: Instant) {
        self.unread.clear();
        self.note(settings, format_args!("{START} {}", self.definition.command.join(" ")));
        match Run::start(&self.name, &self.definition, settings, now) {
            Ok(run) => {
                self.run = Some(run);
                self.await_readiness(settings, now);
            }
            Err(error) => {
                let reason = error.text();
                self.note(settings, &reason);
                self.failure = Some(reason);
                if self.definition.oneshot {
                    // It is repeated until it succeeds, but not until somebody installs it.
                    return self.enter(Phase::Failed, now);
                }
                self.decide(false, now, settings, now);
            }
        }
    }

    /// Begins to check whether it is ready.
    fn await_readiness(&mut self, settings: &Settings, now: Instant) {
        let Some(run) = &mut self.run else { return };
        match &self.definition.ready {
            Some(ready) => {
                run.probe = Some(Probe::new(ready, run.log_start, now));
                self.ready_by.get_or_insert(now + duration(ready.timeout));
                self.enter(Phase::Starting, now);
                self.check(settings, now);
            }
            None if self.definition.oneshot => self.enter(Phase::Starting, now),
            None => self.up(now),
        }
    }

    fn up(&mut self, now: Instant) {
        if let Some(run) = &mut self.run {
            run.probe = None;
        }
        (self.failure, self.ready_by, self.is_late) = (None, None, false);
        self.enter(Phase::Up, now);
        self.proven_at = self.definition.ready.is_none().then(|| now + PROBATION);
    }

    /// Reads the notices of the process.
    pub(super) fn notified(&mut self, now: Instant) {
        let Some(run) = &mut self.run else { return };
        let is_ready = run.read_notices();
        if is_ready && self.phase == Phase::Starting && self.definition.notifies() {
            self.up(now);
        }
    }

    /// Takes notice of the end of a child. Returns whether it is one of this process.
    pub(super) fn child_ended(&mut self, pid: Pid, end: &End, settings: &Settings, now: Instant) -> bool {
        let Some(run) = &mut self.run else { return false };
        if run.main == Some(pid) {
            // What it said last decides.
            self.notified(now);
        }
        let Some(run) = &mut self.run else { return false };
        if let (Some(probe), Some(ready)) = (&mut run.probe, &self.definition.ready)
            && let Some(verdict) = probe.command_ended(pid, end, ready, now)
        {
            if matches!(verdict, Verdict::Ready) && self.phase == Phase::Starting {
                self.up(now);
            }
            return true;
        }
        if run.main != Some(pid) {
            return false;
        }
        run.main = None;
        self.main_ended(end, settings, now);
        true
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, settings: &Settings, now: Instant) {
        self.look_at_the_rest(settings, now);
        self.proven_at = self.proven_at.filter(|at| now < *at);
        match self.phase {
            Phase::Starting => self.check(settings, now),
            _ if self.ready_by.is_some_and(|ready_by| ready_by <= now) => (self.ready_by, self.is_late) = (None, true),
            Phase::Backoff(until) if until <= now => self.enter(Phase::Waiting, now),
            Phase::Backoff(_)
            | Phase::Waiting
            | Phase::Up
            | Phase::Stopping(_)
            | Phase::Exited
            | Phase::Failed
            | Phase::Stopped
            | Phase::Gone => {}
        }
        self.bound_log(settings, now);
    }

    fn bound_log(&mut self, settings: &Settings, now: Instant) {
        let log = settings.log(&self.name);
        let Some(run) = self.run.as_mut().filter(|run| run.log_check.is_due(now)) else { return };
        let size = log.size();
        if size > super::log::LIMIT {
            if let (Some(probe), Some(Ready { when: Condition::Log(text), .. })) = (&mut run.probe, &self.definition.ready)
                && self.phase == Phase::Starting
                && probe.search(text, &log).is_ok_and(|found| found)
            {
                self.up(now);
                return;
            }
            // Fails if the disk is full. Then the log is not emptied, and the next check tries again.
            let _ = log.bound();
        }
        run.log_check.checked(size, now);
    }

    /// Checks whether it is ready, and whether it has still time for that.
    fn check(&mut self, settings: &Settings, now: Instant) {
        let (Some(run), Some(ready)) = (&mut self.run, &self.definition.ready) else { return };
        let Some(probe) = &mut run.probe else { return };
        match probe.check(ready, &settings.log(&self.name), now) {
            Verdict::Ready => return self.up(now),
            Verdict::NotReady => {}
            Verdict::Command => {
                if let Condition::Exec(command) = &ready.when {
                    match run::start_check(&self.name, &self.definition, command, settings) {
                        Ok(pid) => probe.command_started(pid, now),
                        Err(error) => probe.command_failed(error.text(), ready, now),
                    }
                }
            }
        }
        if self.ready_by.is_some_and(|ready_by| ready_by <= now) {
            let reason = format!("was not ready within {}: {}", ready.timeout, probe.missing);
            self.note(settings, &reason);
            (self.failure, self.ready_by, self.is_late) = (Some(reason), None, true);
            let then = if self.may_restart() { Then::Restart } else { Then::Fail };
            self.stop(then, settings, now);
        }
    }

    fn may_restart(&self) -> bool {
        let Restart { policy, limit, .. } = self.definition.restart;
        policy != Policy::No && limit.is_none_or(|limit| self.in_a_row < limit)
    }

    /// When [`Self::tick`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let run = self.run.as_ref();
        let main_runs = run.is_some_and(|run| run.main.is_some());
        let phase = match self.phase {
            Phase::Backoff(until) => Some(until),
            Phase::Stopping(stopping) => Some(stopping.deadline(main_runs)),
            Phase::Starting => run.and_then(|run| run.probe.as_ref()?.deadline()),
            Phase::Waiting | Phase::Up | Phase::Exited | Phase::Failed | Phase::Stopped | Phase::Gone => None,
        };
        let log = run.filter(|_| main_runs).map(|run| run.log_check.due);
        phase.into_iter().chain(log).chain(self.ready_by).chain(self.proven_at).min()
    }

    // Answers.

    /// Returns whether what comes after it can start.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up | Phase::Exited)
    }

    /// Returns whether it has just begun to run, and may end at once.
    pub(super) fn is_new(&self) -> bool {
        self.proven_at.is_some()
    }

    /// Returns whether it has come to rest without running.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Exited | Phase::Failed | Phase::Stopped | Phase::Gone)
    }

    /// Returns why it failed, as far as no restart is left that could be in time.
    pub(super) fn failed(&self) -> Option<&str> {
        let is_final = match self.phase {
            Phase::Failed => true,
            Phase::Waiting | Phase::Starting | Phase::Stopping(_) | Phase::Backoff(_) => {
                !self.definition.oneshot && (self.is_late || self.ready_by.is_none())
            }
            Phase::Up | Phase::Exited | Phase::Stopped | Phase::Gone => false,
        };
        self.failure.as_deref().filter(|_| is_final)
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Waiting => State::Waiting,
            Phase::Starting => State::Starting,
            Phase::Up if self.definition.ready.is_some() => State::Ready,
            Phase::Up => State::Running,
            Phase::Stopping(_) => State::Stopping,
            Phase::Backoff(_) => State::Backoff,
            Phase::Exited => State::Exited,
            Phase::Failed => State::Failed,
            Phase::Stopped | Phase::Gone => State::Stopped,
        }
    }

    /// Returns the PID of the main process, while it runs.
    pub(super) fn main(&self) -> Option<i32> {
        self.run.as_ref().and_then(|run| run.main).map(Pid::as_raw)
    }

    pub(super) fn status(&self, now: Instant) -> ProcessStatus {
        ProcessStatus {
            name: self.name.clone(),
            state: self.state(),
            age: u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX),
            pid: self.main(),
            restarts: self.restarts,
            last_end: self.last_end.clone(),
            failure: self.failure.clone(),
            message: self.run.as_ref().and_then(|run| run.message.clone()),
            unread: self.unread.clone(),
            definition: self.definition.clone(),
        }
    }
}
