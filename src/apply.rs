//! Drives the pipeline against a kernel: observe, diff, plan, execute, and observe again to verify; and back when it fails.
//!
//! It decides nothing: going back is the same pipeline with the state before as what is desired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diff::{Change, Conflict, diff};
use crate::kernel::{ExecuteError, Kernel, ObserveError, Progress, Unattended};
use crate::name::{LabName, LinkId};
use crate::plan::{Plan, plan};
use crate::record::Record;
use crate::resource::sysctl::SysctlKey;
use crate::state::{Ifindex, Live, ResourceId, State};

/// Why the network could not be compared with the lab.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Something that is not the lab's stands in the way.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Conflicts(Vec<Conflict>),
}

/// What became of the machine after a failure.
#[derive(Debug)]
pub enum Aftermath {
    /// Everything is as it was before.
    RolledBack,
    /// What had been done was kept, as the user asked.
    Kept,
    /// Going back failed, too; these resources are not as they were.
    Left {
        /// What differs from the state before.
        remains: Vec<Change>,
        /// Why going back failed, if it did not only leave something.
        error: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An operation failed, or the user interrupted.
    #[error("the plan was not carried out")]
    Execute {
        /// Which operation, and why.
        #[source]
        source: ExecuteError,
        /// What became of the machine.
        aftermath: Aftermath,
    },
    /// Every operation was done, and yet the network is not what the lab says.
    #[error("the network differs from the lab although every operation succeeded")]
    Unverified {
        /// What differs.
        remains: Vec<Change>,
        /// What became of the machine.
        aftermath: Aftermath,
    },
    /// The network could not be read again, or something foreign has come between.
    #[error("the plan was carried out but could not be verified")]
    Verify {
        /// Why.
        #[source]
        source: PrepareError,
        /// What became of the machine.
        aftermath: Aftermath,
    },
}

impl ApplyError {
    /// Whether the network is as it was before.
    pub fn rolled_back(&self) -> bool {
        matches!(self.aftermath(), Aftermath::RolledBack)
    }

    /// The resources of the plan that it is about, as far as it is about such.
    pub fn concerns<'p>(&'p self, plan: &'p Plan) -> Vec<&'p ResourceId> {
        match self {
            Self::Execute { source: ExecuteError::Operation(error), .. } => plan.resource(error.position).into_iter().collect(),
            Self::Unverified { remains, .. } => remains.iter().map(|change| &change.id).collect(),
            Self::Execute { source: ExecuteError::Interrupted, .. } | Self::Verify { .. } => Vec::new(),
        }
    }

    /// What became of the machine.
    pub fn aftermath(&self) -> &Aftermath {
        match self {
            Self::Execute { aftermath, .. } | Self::Unverified { aftermath, .. } | Self::Verify { aftermath, .. } => aftermath,
        }
    }
}

/// How often a plan is carried out while remnants of what the kernel is still removing stand in the way.
const ATTEMPTS: u32 = 5;

/// Whether to go back when something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Undo what was done.
    RollBack,
    /// Leave it for the user to look at.
    Keep,
}

/// The lab's network: what it is to be, and which names concern the lab even if they are to go.
#[derive(Debug, Clone)]
pub struct Goal {
    /// The lab.
    pub lab: LabName,
    /// What is desired.
    pub desired: Arc<State>,
    /// What to look at beyond that: the declared state when it is to be destroyed.
    pub interest: Arc<State>,
    /// What was written down when the lab was last changed.
    pub record: Record,
}

impl Goal {
    /// The lab as declared.
    pub fn apply(lab: LabName, desired: State) -> Self {
        let desired = Arc::new(desired);
        Self { lab, interest: desired.clone(), desired, record: Record::default() }
    }

    /// Nothing of the lab. `declared` is what its file says, if there is one.
    pub fn destroy(lab: LabName, declared: State) -> Self {
        Self { lab, interest: Arc::new(declared), desired: Arc::default(), record: Record::default() }
    }
}

impl Goal {
    /// Makes these foreign links the lab's, too.
    #[must_use]
    pub fn adopting(mut self, links: impl IntoIterator<Item = LinkId>) -> Self {
        let links: Vec<LinkId> = links.into_iter().collect();
        if !links.is_empty() {
            Arc::make_mut(&mut self.interest).adopt.extend(links.iter().cloned());
            Arc::make_mut(&mut self.desired).adopt.extend(links);
        }
        self
    }

    /// Takes what was written down into account.
    #[must_use]
    pub fn with_record(mut self, record: Record) -> Self {
        let further = record.interest(&self.interest);
        if further != State::default() {
            Arc::make_mut(&mut self.interest).extend(further);
        }
        self.record = record;
        self
    }
}

/// Observes and plans. Sends no write to the kernel.
///
/// # Errors
/// When the network cannot be read, or conflicts with the lab.
pub fn prepare(kernel: &mut impl Kernel, goal: &Goal) -> Result<(Live, Plan), PrepareError> {
    let live = kernel.observe(&goal.interest)?;
    let plan = plan_for(kernel, goal, &live)?;
    Ok((live, plan))
}

fn plan_for(kernel: &mut impl Kernel, goal: &Goal, live: &Live) -> Result<Plan, PrepareError> {
    let forgotten: BTreeSet<SysctlKey> =
        goal.record.forgotten(&goal.desired, live).map(|(_, key)| key.of_default().unwrap_or_else(|| key.clone())).collect();
    let defaults = if forgotten.is_empty() { BTreeMap::new() } else { kernel.defaults(&forgotten)? };
    let desired = goal.record.restore(&goal.desired, live, &defaults);
    plan_from(&goal.lab, &desired, live, &BTreeMap::new())
}

fn plan_from(lab: &LabName, desired: &State, live: &Live, preferred: &BTreeMap<LinkId, Ifindex>) -> Result<Plan, PrepareError> {
    let changes = diff(desired, live).map_err(PrepareError::Conflicts)?;
    Ok(plan(lab, desired, live, changes, preferred))
}

/// Carries out a plan that [`prepare`] made from `before`, and verifies that nothing is left to do.
///
/// # Errors
/// When an operation fails, the user interrupts, or the network is not what the lab says afterwards.
pub fn apply(
    kernel: &mut impl Kernel,
    goal: &Goal,
    before: &Live,
    plan: &Plan,
    on_failure: OnFailure,
    progress: &mut dyn Progress,
) -> Result<(), ApplyError> {
    if plan.steps.is_empty() {
        return Ok(());
    }
    let operations = plan.operations();
    let mut attempt = 1;
    while let Err(source) = kernel.execute(&operations, progress) {
        let aftermath = recover(kernel, goal, before, on_failure);
        let again = attempt < ATTEMPTS && is_remnant(&source) && matches!(aftermath, Aftermath::RolledBack);
        if !again {
            return Err(ApplyError::Execute { source, aftermath });
        }
        attempt += 1;
        kernel.settle();
    }
    match verify(kernel, goal, before, plan) {
        Ok(rest) if rest.is_empty() => Ok(()),
        Ok(rest) => {
            let aftermath = recover(kernel, goal, before, on_failure);
            Err(ApplyError::Unverified { remains: rest.changes, aftermath })
        }
        Err(source) => {
            let aftermath = recover(kernel, goal, before, on_failure);
            Err(ApplyError::Verify { source, aftermath })
        }
    }
}

/// Reads again all that the plan can have touched, and plans what is left to do. The first look may have begun before the plan was at
/// its end; what is wrong must show in a second one.
fn verify(kernel: &mut impl Kernel, goal: &Goal, before: &Live, done: &Plan) -> Result<Plan, PrepareError> {
    let touched = done.touched(before);
    let mut look = || {
        let live = kernel.observe_again(&goal.interest, &touched)?;
        plan_for(kernel, goal, &live)
    };
    match look() {
        Ok(rest) if rest.is_empty() => Ok(rest),
        _ => look(),
    }
}

/// Whether something stood in the way that was not seen before: what is left for a moment of a namespace that has gone.
fn is_remnant(error: &ExecuteError) -> bool {
    const EEXIST: i32 = 17;
    match error {
        ExecuteError::Operation(error) => error.source.number == EEXIST,
        ExecuteError::Interrupted => false,
    }
}

fn recover(kernel: &mut impl Kernel, goal: &Goal, before: &Live, on_failure: OnFailure) -> Aftermath {
    match on_failure {
        OnFailure::Keep => Aftermath::Kept,
        OnFailure::RollBack => roll_back(kernel, goal, before),
    }
}

/// How often undoing is begun: what failed once, a look or an operation, may succeed when it is asked for again.
const UNDO_ATTEMPTS: usize = 3;

/// Makes the network what it was: the same pipeline, with the state before as what is desired.
fn roll_back(kernel: &mut impl Kernel, goal: &Goal, before: &Live) -> Aftermath {
    let mut interest = State::clone(&goal.interest);
    interest.extend(before.state.clone());
    let mut desired = before.state.clone();
    // Incomplete namespaces are not restored.
    desired.namespaces.retain(|namespace| !before.broken.contains(namespace));
    let back =
        Goal { lab: goal.lab.clone(), desired: Arc::new(desired), interest: Arc::new(interest), record: Record::default() };
    let mut failure: Option<Box<dyn std::error::Error + Send + Sync>> = None;
    for _ in 0..UNDO_ATTEMPTS {
        match plan_back(kernel, &back, before) {
            Ok(rest) if rest.is_empty() => return Aftermath::RolledBack,
            Ok(rest) => failure = kernel.execute(&rest.operations(), &mut Unattended).err().map(Into::into).or(failure),
            Err(error) => failure = Some(error.into()),
        }
    }
    match plan_back(kernel, &back, before) {
        Ok(rest) if rest.is_empty() => Aftermath::RolledBack,
        Ok(rest) => Aftermath::Left { remains: rest.changes, error: failure },
        Err(error) => Aftermath::Left { remains: Vec::new(), error: failure.or(Some(error.into())) },
    }
}

fn plan_back(kernel: &mut impl Kernel, back: &Goal, before: &Live) -> Result<Plan, PrepareError> {
    let live = kernel.observe(&back.interest)?;
    plan_from(&back.lab, &back.desired, &live, &before.indices)
}
