//! What happens during a change, as JSON: one event a line.

use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{OperationReport, report};
use super::problem::ErrorBody;
use super::{FORMAT_VERSION, PlanReport, Summary};
use crate::name::SandboxName;
use crate::plan::Plan;

/// An event, as `topo apply --json` and `topo destroy --json` print it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
#[schemars(title = "Event of topo")]
pub enum Event {
    /// The plan is made. The first event, unless there is an error before.
    Plan {
        /// The sandbox in which the lab is; null on the machine itself.
        sandbox: Option<SandboxName>,
        /// The plan.
        plan: Box<PlanReport>,
    },
    /// A step of the plan is complete. If a name was not free yet, all is undone once and done again, with the same events.
    Operation {
        /// The position of the step in `operations` of the plan.
        position: usize,
        /// The step.
        operation: OperationReport,
    },
    /// The network matches the lab.
    Done {
        /// The time that it took, in milliseconds.
        milliseconds: u64,
        /// The number of resources that were added, changed and destroyed.
        summary: Summary,
    },
    /// The lab is usable; with `--wait`.
    Usable {
        /// The time since it was done, in milliseconds.
        milliseconds: u64,
    },
    /// The command failed. The last event.
    Error {
        /// The version of the format.
        format_version: u32,
        /// The error.
        error: ErrorBody,
    },
}

impl Event {
    /// The plan is made.
    pub fn plan(plan: &Plan, sandbox: Option<&SandboxName>) -> Self {
        Self::Plan { sandbox: sandbox.cloned(), plan: Box::new(super::plan_report(plan)) }
    }

    /// A step of the plan is complete.
    pub fn operation(plan: &Plan, position: usize) -> Option<Self> {
        let step = plan.steps.get(position)?;
        Some(Self::Operation { position, operation: report(step.change, &step.operation) })
    }

    /// The network matches the lab.
    pub fn done(plan: &Plan, milliseconds: u64) -> Self {
        Self::Done { milliseconds, summary: Summary::of(plan) }
    }

    /// The command failed.
    pub fn error(error: ErrorBody) -> Self {
        Self::Error { format_version: FORMAT_VERSION, error }
    }
}
