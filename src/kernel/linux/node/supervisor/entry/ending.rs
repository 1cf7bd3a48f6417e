//! The end of a process: asked for or not, of its main process and of all that it started, and what follows.

use std::time::{Duration, Instant};

use super::super::{Settings, run};
use super::{Entry, Phase, duration};
use crate::resource::node::process::{End, Policy, Restart};

/// How far the end of a process is, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Stopping {
    then: Then,
    kill_at: Instant,
    was_killed: bool,
    check_at: Instant,
    delay: Duration,
}

/// What follows the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Then {
    Stop,
    Start,
    Restart,
    Fail,
    Remove,
}

/// The first and the longest time between two looks at what is left of a process.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(200)];

impl Stopping {
    /// When [`Entry::look_at_the_rest`] is to be called. As long as the main process runs, its end will be reported.
    pub(super) fn deadline(&self, main_runs: bool) -> Instant {
        match (self.was_killed, main_runs) {
            (true, _) => self.check_at,
            (false, true) => self.kill_at,
            (false, false) => self.kill_at.min(self.check_at),
        }
    }
}

impl Entry {
    /// Ends it, and what is left of it.
    pub(in super::super) fn stop(&mut self, then: Then, settings: &Settings, now: Instant) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            // Only a new definition brings back what is being removed.
            if stopping.then != Then::Remove || self.next.is_some() {
                stopping.then = then;
            }
            return;
        }
        let Some(run) = &self.run else { return self.ended(then, now) };
        if run.main.is_some() {
            self.note(settings, format_args!("stop with {}", self.definition.stop.signal));
        }
        run.signal(run::signal(self.definition.stop.signal));
        let kill_at = now + duration(self.definition.stop.timeout);
        self.enter(Phase::Stopping(Stopping { then, kill_at, was_killed: false, check_at: now, delay: LOOKS[0] }), now);
        self.look_at_the_rest(settings, now);
    }

    /// Takes notice of the end of the main process.
    pub(super) fn main_ended(&mut self, end: &End, settings: &Settings, now: Instant) {
        let (was_up, began) = (self.phase == Phase::Up, self.run.as_ref().map_or(now, |run| run.began));
        self.last_end = Some(end.clone());
        self.note(settings, end);
        self.run.iter_mut().for_each(|run| run.probe = None);
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.check_at = now;
            return self.look_at_the_rest(settings, now);
        }
        let must_be_ready = self.definition.ready.is_some() && !was_up;
        let succeeded = end.is_success() && !must_be_ready;
        if !succeeded {
            let early = if must_be_ready { " before it was ready" } else { "" };
            self.failure = Some(format!("{end}{early}"));
        }
        self.decide(succeeded, began, settings, now);
    }

    /// Decides what follows the end of a process that nobody asked to end, and that ran since `began`.
    pub(super) fn decide(&mut self, succeeded: bool, began: Instant, settings: &Settings, now: Instant) {
        let Restart { policy, max_delay, limit, .. } = self.definition.restart;
        if now.duration_since(began) >= duration(max_delay) && !self.definition.oneshot {
            self.in_a_row = 0;
        }
        let restarts = match policy {
            Policy::No => false,
            Policy::OnFailure => !succeeded,
            Policy::Always => true,
        };
        if !restarts {
            let phase = if succeeded { Phase::Exited } else { Phase::Failed };
            self.enter(phase, now);
        } else if limit.is_some_and(|limit| self.in_a_row >= limit) {
            let last = self.failure.take().unwrap_or_else(|| "ended".to_owned());
            self.failure = Some(format!("{last}; restarted {} times in vain", self.in_a_row));
            self.note(settings, "limit of restarts reached");
            self.enter(Phase::Failed, now);
        } else {
            // What is left of it could be in the way: a port, a lock.
            self.stop(Then::Restart, settings, now);
        }
    }

    /// Returns the delay before the next restart.
    fn next_delay(&mut self) -> Duration {
        let Restart { delay, max_delay, .. } = self.definition.restart;
        let factor = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        (self.in_a_row, self.restarts) = (self.in_a_row.saturating_add(1), self.restarts.saturating_add(1));
        duration(delay).saturating_mul(factor).min(duration(max_delay))
    }

    /// While it is being ended: kills it when its time is over, and goes on when nothing is left.
    pub(super) fn look_at_the_rest(&mut self, settings: &Settings, now: Instant) {
        let (Phase::Stopping(stopping), Some(run)) = (&mut self.phase, &mut self.run) else { return };
        if !stopping.was_killed && now >= stopping.kill_at {
            stopping.was_killed = true;
            settings.log(&self.name).note(format_args!("kill, because it did not end within {}", self.definition.stop.timeout));
        } else if now < stopping.check_at || run.main.is_some() && !stopping.was_killed {
            return;
        }
        if stopping.was_killed {
            // Again with each look: what is there may have begun after the last one.
            run.kill();
        }
        if run.has_ended() {
            let then = stopping.then;
            return self.ended(then, now);
        }
        stopping.check_at = now + stopping.delay;
        stopping.delay = (stopping.delay * 2).min(LOOKS[1]);
    }

    /// Nothing is left of it.
    fn ended(&mut self, then: Then, now: Instant) {
        self.run = None;
        self.definition = self.next.take().unwrap_or_else(|| self.definition.clone());
        let phase = match then {
            Then::Stop => Phase::Stopped,
            Then::Start => Phase::Waiting,
            Then::Fail => Phase::Failed,
            Then::Remove => Phase::Gone,
            Then::Restart => Phase::Backoff(now + self.next_delay()),
        };
        self.enter(phase, now);
    }
}
