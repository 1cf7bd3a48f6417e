//! The interface for programs: a lab that can be planned, applied, observed and destroyed. The command line does the same, and more.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::apply::{ApplyError, Goal, OnFailure, PrepareError, prepare};
use crate::kernel::linux::{ConnectError, Linux};
use crate::kernel::{Kernel, ObserveError, Unattended};
use crate::lower::{self, lower};
use crate::name::LabName;
use crate::plan::IRREVERSIBLE;
use crate::raise::raise;
use crate::report::{json, text};
use crate::runtime::change::{self, ChangeError};
use crate::runtime::lock::{LabLock, LockError};
use crate::runtime::records::{self, RecordError};
use crate::runtime::{sources, tables};
use crate::spec::{self, Colour, LabFile, Severity};
use crate::state::State;

/// A valid lab, in the network namespace of the calling thread.
///
/// To change the network, the process needs `CAP_NET_ADMIN` and `CAP_SYS_ADMIN` in the user namespace that owns that namespace.
#[derive(Debug, Clone)]
pub struct Lab {
    name: LabName,
    desired: State,
    allows_side_effects: bool,
}

impl Lab {
    /// Parses the text of a lab file and resolves everything in it. Table names come from the machine's rt_tables files, and files of nodes
    /// from the working directory.
    ///
    /// # Errors
    /// If the file has errors. Warnings are ignored.
    pub fn parse(text: &str) -> Result<Self, InvalidLab> {
        let mut loaded = spec::load(text);
        if let Some(lab) = &mut loaded.lab {
            sources::load(lab, Path::new(""));
        }
        let lowered = loaded.lab.as_ref().map(|lab| (lab.name.clone(), lower(lab, &tables::read())));
        let diagnostics = lower::diagnostics(lowered.as_ref().map_or(&[], |(_, lowered)| &lowered.problems), &loaded);
        let has_errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        match lowered {
            Some((name, lowered)) if !has_errors => Ok(Self { name, desired: lowered.state, allows_side_effects: false }),
            _ => Err(InvalidLab(spec::render(&diagnostics, "lab", text, Colour::Never).trim_end().to_owned())),
        }
    }

    /// Accepts that the kernel removes what is not the lab's and cannot be put back, as `--allow-side-effects` does.
    #[must_use]
    pub fn allowing_side_effects(self) -> Self {
        Self { allows_side_effects: true, ..self }
    }

    /// The name of the lab.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Compares the lab with the network. Changes nothing.
    ///
    /// # Errors
    /// If the network cannot be read, or a foreign object is in the way.
    pub fn plan(&self) -> Result<Plan, Error> {
        let mut kernel = Linux::read_only(self.name.clone())?;
        let goal = self.goal().with_records(records::read(&self.name)?, records::others(&self.name)?, &mut kernel)?;
        Ok(Plan { plan: prepare(&mut kernel, &goal)?.1, lost: Vec::new() })
    }

    /// Makes the network match the lab, and verifies it. On an error all changes are undone. Waits up to ten seconds for another
    /// process that changes the lab.
    ///
    /// # Errors
    /// If the lab is locked, a foreign object is in the way, or the kernel refuses an operation.
    pub fn apply(&self) -> Result<Plan, Error> {
        change_to(self.goal(), self.allows_side_effects)
    }

    /// Removes everything that belongs to the lab.
    ///
    /// # Errors
    /// As for [`Self::apply`].
    pub fn destroy(&self) -> Result<Plan, Error> {
        change_to(Goal::destroy(self.name.clone(), self.desired.clone()), self.allows_side_effects)
    }

    /// Returns the part of the network that belongs to the lab, as a lab file with every value that the kernel reports. Links that
    /// no lab file can ask for are left out.
    ///
    /// # Errors
    /// If the network cannot be read.
    pub fn observe(&self) -> Result<LabFile, Error> {
        let live = Linux::read_only(self.name.clone())?.observe(&self.desired)?;
        Ok(raise(&self.name, &live.state).lab)
    }

    fn goal(&self) -> Goal {
        Goal::apply(self.name.clone(), self.desired.clone())
    }
}

fn change_to(goal: Goal, allows_side_effects: bool) -> Result<Plan, Error> {
    const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
    let mut kernel = Linux::new(goal.lab.clone())?;
    let lock = LabLock::acquire(&goal.lab, LOCK_TIMEOUT, || false)?;
    kernel.hold(lock.duplicate().map_err(|source| LockError::Io { lab: goal.lab.clone(), source })?);
    records::discard_unfinished(&goal.lab)?;
    let (record, others) = (records::read(&goal.lab)?, records::others(&goal.lab)?);
    let goal = goal.with_records(record, others, &mut kernel)?;
    let (live, plan) = prepare(&mut kernel, &goal)?;
    let lost: Vec<_> = plan.irreversible().map(ToString::to_string).collect();
    if !lost.is_empty() && !allows_side_effects {
        return Err(Error::SideEffects(lost));
    }
    let lost = if plan.is_empty() {
        change::keep(&goal, &live, &plan)?;
        Vec::new()
    } else {
        let deleted = live.state.namespaces.difference(&goal.desired.namespaces);
        let failed = |source: std::io::Error| ObserveError { what: "the inits of nodes".to_owned(), source: source.into() };
        kernel.end_strays(deleted).map_err(failed)?;
        change::execute(&mut kernel, &goal, &live, &plan, OnFailure::RollBack, &mut Unattended)?
    };
    Ok(Plan { plan, lost })
}

/// The difference between a lab and the network. Its `Display` form is that of `topo plan`.
#[derive(Debug, Clone)]
pub struct Plan {
    plan: crate::plan::Plan,
    lost: Vec<String>,
}

impl Plan {
    /// Whether the network matches the lab.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }

    /// What is not the lab's and could not be put back when the lab left: the kernel refused it. Empty until the plan is carried out.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// The plan as `topo plan --json` prints it.
    pub fn to_json(&self) -> Value {
        json::plan(&self.plan)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::plan(&self.plan, text::Colour::None))
    }
}

/// The problems of a lab file with their positions, as `topo validate` prints them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLab(String);

/// Why a lab cannot be planned or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel cannot be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The network cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The network cannot be read, or a foreign object is in the way.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The kernel would remove what is not the lab's, and it could not be put back. [`Lab::allowing_side_effects`] accepts that.
    #[error("{IRREVERSIBLE}: {}", .0.join(", "))]
    SideEffects(Vec<String>),
    /// Another process changes the lab.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The lab's record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The plan failed; [`ApplyError::aftermath`] tells what became of its changes.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The plan was not begun, or the record was not completed.
    #[error(transparent)]
    Change(ChangeError),
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Apply { source, .. } => Self::Apply(source),
            other => Self::Change(other),
        }
    }
}
