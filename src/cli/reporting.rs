//! Reports the steps of a plan while they are made: as events, or as a line on a terminal that is removed in the end.

use std::time::{Duration, Instant};

use super::Format;
use super::change::Options;
use super::error::Failure;
use super::output::Output;
use super::signals::{Interruptible, Signals};
use crate::kernel::Progress;
use crate::plan::Plan;
use crate::report::json::{self, Event};

/// How long a change takes before a line shows its progress.
const PATIENCE: Duration = Duration::from_millis(500);
/// The shortest time between two changes of the line.
const PAUSE: Duration = Duration::from_millis(100);

/// Receives the progress of a plan.
pub struct Reporting<'a> {
    plan: &'a Plan,
    output: &'a mut Output,
    signals: Interruptible,
    form: Form,
    /// The first failure to print an event.
    failure: Option<Failure>,
}

/// How the progress is reported.
enum Form {
    /// Not at all.
    Silent,
    /// As events.
    Events,
    /// By a line on a terminal.
    Line {
        /// When the line is written next.
        next: Instant,
        /// Whether it is there.
        is_shown: bool,
    },
}

impl<'a> Reporting<'a> {
    /// Begins.
    pub fn new(plan: &'a Plan, signals: &Signals, options: &Options<'_>, output: &'a mut Output) -> Self {
        let form = match options.arguments.format() {
            Format::Events => Form::Events,
            _ if options.is_quiet || !output.has_terminal() => Form::Silent,
            _ => Form::Line { next: Instant::now() + PATIENCE, is_shown: false },
        };
        Self { plan, output, signals: Interruptible(signals.clone()), form, failure: None }
    }

    /// Removes the line.
    ///
    /// # Errors
    /// Fails if an event could not be printed.
    pub fn end(self) -> Result<(), Failure> {
        if let Form::Line { is_shown: true, .. } = self.form {
            self.output.progress("");
        }
        self.failure.map_or(Ok(()), Err)
    }
}

impl Progress for Reporting<'_> {
    fn stop(&self) -> bool {
        self.signals.stop()
    }

    fn done(&mut self, position: usize) {
        match &mut self.form {
            Form::Silent => {}
            Form::Events => {
                let event = Event::operation(self.plan, position).filter(|_| self.failure.is_none());
                self.failure = event.and_then(|event| self.output.print(&json::line(&event)).err()).or(self.failure.take());
            }
            Form::Line { next, is_shown } => {
                let now = Instant::now();
                if now >= *next {
                    (*next, *is_shown) = (now + PAUSE, true);
                    self.output.progress(&format!("{} of {} steps", position + 1, self.plan.steps.len()));
                }
            }
        }
    }
}
