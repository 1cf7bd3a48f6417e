//! Runs the pipeline against a kernel: observe, diff, plan, execute, and observe again to verify. Rolls back after a failure.
//!
//! A rollback is the same pipeline with the previous state as the desired one.

mod export;
mod observe;
mod undo;
mod wait;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::export::{Foreign, observe_foreign, observe_sysctls};
pub use self::observe::{observe, select};
use self::undo::recover;
use self::wait::{VerifyError, verify};
pub use self::wait::{WaitError, until_usable};
use crate::adoption::Adoption;
use crate::diff::{Action, Attribute, Change, Conflict, diff, held_by_others};
use crate::kernel::{ExecuteError, Kernel, ObserveError, Progress};
use crate::name::{LabName, LinkId, NamespaceName};
use crate::operation::Operation;
use crate::plan::{Plan, plan};
use crate::record::{Others, Record};
use crate::resource::ignore::SYSCTLS;
use crate::resource::object::table::{self, Registered, Visit};
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::state::{Ifindex, Live, ResourceId, State};

/// Why the network could not be compared with the lab.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The network could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Foreign resources conflict with the lab.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Conflicts(Vec<Conflict>),
}

/// What differs from the state that was to be reached.
#[derive(Debug, Default)]
pub struct Remains {
    /// The changes that would reach it.
    pub changes: Vec<Change>,
    /// Foreign objects that the kernel removed and that were not added again.
    pub missing: Vec<String>,
}

impl Remains {
    fn of(rest: Plan) -> Self {
        Self { missing: rest.missing(), changes: rest.changes }
    }
}

/// The state of the machine after a failure.
#[derive(Debug)]
pub enum Aftermath {
    /// The rollback restored the previous state.
    RolledBack,
    /// The completed operations were kept, as the user asked.
    Kept,
    /// The rollback failed.
    Left {
        /// The changes that would restore the previous state.
        remains: Box<Remains>,
        /// The error of the rollback, if there was one.
        error: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// The failure of a plan.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An operation failed, or the user interrupted.
    #[error("the plan was not carried out")]
    Execute {
        /// The operation that failed, and the cause.
        #[source]
        source: ExecuteError,
        /// The state of the machine.
        aftermath: Aftermath,
    },
    /// Every operation succeeded, but the network still differs from the lab.
    #[error("the network differs from the lab although every operation succeeded")]
    Unverified {
        /// The remaining differences.
        remains: Box<Remains>,
        /// The state of the machine.
        aftermath: Aftermath,
    },
    /// The network could not be read again, or a foreign resource conflicts with the lab meanwhile.
    #[error("the plan was carried out but could not be verified")]
    Verify {
        /// The cause.
        #[source]
        source: PrepareError,
        /// The state of the machine.
        aftermath: Aftermath,
    },
}

impl ApplyError {
    /// Returns whether the rollback restored the previous state.
    pub fn rolled_back(&self) -> bool {
        matches!(self.aftermath(), Aftermath::RolledBack)
    }

    /// Returns the resources of the plan that the error is about, if any.
    pub fn concerns<'p>(&'p self, plan: &'p Plan) -> Vec<&'p ResourceId> {
        match self {
            Self::Execute { source: ExecuteError::Operation(error), .. } => plan.resource(error.position).into_iter().collect(),
            Self::Unverified { remains, .. } => remains.changes.iter().map(|change| &change.id).collect(),
            Self::Execute { source: ExecuteError::Interrupted, .. } | Self::Verify { .. } => Vec::new(),
        }
    }

    /// Returns the state of the machine.
    pub fn aftermath(&self) -> &Aftermath {
        match self {
            Self::Execute { aftermath, .. } | Self::Unverified { aftermath, .. } | Self::Verify { aftermath, .. } => aftermath,
        }
    }
}

/// The number of attempts to execute a plan while the kernel still removes links of deleted namespaces that have the same names.
const ATTEMPTS: u32 = 5;

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Restore the previous state.
    RollBack,
    /// Leave the network as it is, for inspection.
    Keep,
}

/// The desired network of a lab.
#[derive(Debug, Clone)]
pub struct Goal {
    /// The lab.
    pub lab: LabName,
    /// The desired state.
    pub desired: Arc<State>,
    /// The resources to observe, in addition to those that the lab owns. `destroy` observes the declared state.
    pub interest: Arc<State>,
    /// The record of the last change of the lab.
    pub record: Record,
    /// What other labs hold of `host`.
    pub others: Others,
    /// Attributes that stay as they are, whatever the lab says. Links that must be made or removed do not: others depend on them.
    pub left_alone: BTreeSet<Attribute>,
}

impl Goal {
    /// Returns the goal of `apply`: the lab as declared.
    pub fn apply(lab: LabName, desired: State) -> Self {
        let desired = Arc::new(desired);
        Self {
            lab,
            interest: desired.clone(),
            desired,
            record: Record::default(),
            others: Others::default(),
            left_alone: BTreeSet::new(),
        }
    }

    /// Returns the goal of `destroy`: an empty lab. `declared` is the state of the lab file, if there is one.
    pub fn destroy(lab: LabName, declared: State) -> Self {
        Self {
            lab,
            interest: Arc::new(declared),
            desired: Arc::default(),
            record: Record::default(),
            others: Others::default(),
            left_alone: BTreeSet::new(),
        }
    }
}

impl Goal {
    /// Adopts these foreign links and namespaces.
    #[must_use]
    pub fn adopting(mut self, adoptions: impl IntoIterator<Item = Adoption>) -> Self {
        let adoptions: Vec<Adoption> = adoptions.into_iter().collect();
        if !adoptions.is_empty() {
            Arc::make_mut(&mut self.interest).adopt.extend(adoptions.iter().cloned());
            Arc::make_mut(&mut self.desired).adopt.extend(adoptions);
        }
        self
    }

    /// Returns the live state without what belongs to other labs, and with what the record says of foreign objects.
    fn own(&self, mut live: Live) -> Live {
        self.others.leave_out(&mut live, &self.desired);
        self.record.find_missing(&mut live, &self.others);
        self.others.find_missing(&mut live);
        self.others.keep_impaired(&mut live);
        live.taken_ports = self.record.ports.clone();
        live
    }

    fn leaves_alone(&self, change: &Change) -> bool {
        let is_needed = matches!(change.id, ResourceId::Link(_) | ResourceId::Namespace(_)) && change.action != Action::Update;
        !self.left_alone.is_empty() && !is_needed && self.left_alone.contains(&change.attribute())
    }

    /// Returns the goal for the verification. Objects that have left the lab are removed by then: what others have added under the same
    /// key is theirs.
    fn when_done(&self) -> Cow<'_, Self> {
        if !self.record.tells_objects_apart() {
            return Cow::Borrowed(self);
        }
        let mut goal = self.clone();
        table::visit(&mut Relinquish { desired: &self.desired, interest: Arc::make_mut(&mut goal.interest) });
        Cow::Owned(goal)
    }

    /// Returns the record to write before a plan from this live state is executed.
    pub fn record_before(&self, live: &Live, plan: &Plan) -> Record {
        let mut record = self.record.before(&self.desired, live, &self.others);
        record.add_lost(&plan.foreign.removed, &plan.foreign.ports);
        record.add_lost(&plan.foreign.missing, &BTreeMap::new());
        record
    }

    /// Returns the record to write after a plan was executed, from that which was written before.
    pub fn record_after(&self, before: &Record, plan: &Plan) -> Record {
        before.settled(&self.desired, &plan.foreign.missing)
    }

    /// Returns the goal with the foreign objects recorded that the kernel removes with a plan.
    fn with_lost(&self, plan: &Plan) -> Cow<'_, Self> {
        let mut goal = Cow::Borrowed(self);
        if !plan.foreign.removed.is_empty() || !plan.foreign.ports.is_empty() {
            let goal = goal.to_mut();
            goal.record.add_lost(&plan.foreign.removed, &plan.foreign.ports);
            Arc::make_mut(&mut goal.interest).lost_in.extend(plan.foreign.removed.keys().cloned());
        }
        goal
    }

    /// Adds the record of the last change, with the present names of external links that were renamed, and what other labs hold.
    ///
    /// # Errors
    /// Fails if the names of the links of `host` cannot be read.
    pub fn with_records(mut self, record: Record, others: Others, kernel: &mut impl Kernel) -> Result<Self, ObserveError> {
        let record = if record.indices.is_empty() { record } else { record.with_present_names(&kernel.names_in_host()?) };
        let further = record.interest(&self.interest, &others);
        if further != State::default() {
            Arc::make_mut(&mut self.interest).extend(further);
        }
        self.record = record;
        self.others = others;
        Ok(self)
    }
}

/// Removes the objects in the lab's namespaces that the lab does not declare from what is of interest.
struct Relinquish<'a> {
    desired: &'a State,
    interest: &'a mut State,
}

impl Visit for Relinquish<'_> {
    fn visit<O: Registered>(&mut self) {
        let declared = self.desired.objects::<O>();
        self.interest.objects.of_mut::<O>().retain(|id, _| id.0.is_host() || declared.contains_key(id));
    }
}

/// Observes the network and plans. Writes nothing.
///
/// # Errors
/// Fails if the network cannot be read, or conflicts with the lab.
pub fn prepare(kernel: &mut impl Kernel, goal: &Goal) -> Result<(Live, Plan), PrepareError> {
    let live = goal.own(kernel.observe(&goal.interest)?);
    plan_completely(kernel, goal, live)
}

/// Observes these namespaces again, and plans with what the last observation found in the others. The goal must be that of the last
/// observation, apart from what is left alone.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_again(
    kernel: &mut impl Kernel,
    goal: &Goal,
    touched: &BTreeSet<NamespaceName>,
) -> Result<(Live, Plan), PrepareError> {
    let live = goal.own(kernel.observe_again(&goal.interest, touched)?);
    plan_completely(kernel, goal, live)
}

/// Plans, and observes more if the plan needs that.
fn plan_completely(kernel: &mut impl Kernel, goal: &Goal, mut live: Live) -> Result<(Live, Plan), PrepareError> {
    let mut plan = plan_for(kernel, goal, &live)?;
    if wait::lacks_routes(&plan) {
        wait::let_routes_arrive(kernel);
        live = goal.own(kernel.observe(&goal.interest)?);
        plan = plan_for(kernel, goal, &live)?;
    }
    if let Some(interest) = with_defaults_of_new_links(goal, &live, &plan) {
        live = goal.own(kernel.observe_again(&interest, &BTreeSet::new())?);
        plan = plan_for(kernel, goal, &live)?;
    }
    Ok((live, plan))
}

/// Returns what to observe in addition if the plan creates links in namespaces of the lab that exist: the sysctl with which somebody may
/// have disabled IPv6 on new links. No other default keeps the kernel from making what the lab declares.
fn with_defaults_of_new_links(goal: &Goal, live: &Live, plan: &Plan) -> Option<State> {
    let exists = |namespace: &&NamespaceName| {
        let is_there = live.state.namespaces.contains(*namespace) && !live.broken.contains(*namespace);
        is_there && !goal.desired.ignore.includes(namespace, SYSCTLS, [])
    };
    let new = plan.changes.iter().filter(|change| change.action.creates()).filter_map(|change| match &change.id {
        ResourceId::Link(id) => Some(&id.namespace),
        ResourceId::Namespace(_) | ResourceId::Sysctl(..) | ResourceId::Object(_) | ResourceId::Part(..) => None,
    });
    let keys = new.filter(exists).map(|namespace| (namespace.clone(), SysctlKey::disable_ipv6_by_default()));
    let unread: BTreeSet<_> = keys.filter(|id| !goal.interest.sysctls.contains_key(id)).collect();
    (!unread.is_empty()).then(|| {
        let mut interest = State::clone(&goal.interest);
        interest.sysctls.extend(unread.into_iter().map(|id| (id, Sysctl::new(""))));
        interest
    })
}

fn plan_for(kernel: &mut impl Kernel, goal: &Goal, live: &Live) -> Result<Plan, PrepareError> {
    let forgotten: BTreeSet<SysctlKey> =
        goal.record.forgotten(&goal.desired, live).map(|(_, key)| key.of_default().unwrap_or_else(|| key.clone())).collect();
    let defaults = if forgotten.is_empty() { BTreeMap::new() } else { kernel.defaults(&forgotten)? };
    let desired = goal.record.restore(&goal.desired, live, &defaults, &goal.others);
    let mut difference = diff(&desired, live).map_err(PrepareError::Conflicts)?;
    difference.changes.retain(|change| !goal.leaves_alone(change));
    let plan = plan(&goal.lab, &desired, live, difference, &BTreeMap::new());
    let conflicts = held_by_others(&plan.changes, &goal.others);
    if conflicts.is_empty() { Ok(plan) } else { Err(PrepareError::Conflicts(conflicts)) }
}

fn plan_from(lab: &LabName, desired: &State, live: &Live, preferred: &BTreeMap<LinkId, Ifindex>) -> Result<Plan, PrepareError> {
    let difference = diff(desired, live).map_err(PrepareError::Conflicts)?;
    Ok(plan(lab, desired, live, difference, preferred))
}

/// Executes a plan that [`prepare`] made from `before`, and verifies that the network matches the lab afterwards. Returns the foreign
/// things that the kernel does not let topo put back when the lab leaves: they do not keep the lab.
///
/// # Errors
/// Fails if an operation fails, the user interrupts, or the network still differs from the lab.
pub fn apply(
    kernel: &mut impl Kernel,
    goal: &Goal,
    before: &Live,
    plan: &Plan,
    on_failure: OnFailure,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, ApplyError> {
    if plan.steps.is_empty() {
        return Ok(Vec::new());
    }
    let goal = &goal.with_lost(plan);
    let leaves = *goal.desired == State::default();
    let mut leaving = Leaving(progress);
    let progress: &mut dyn Progress = if leaves { &mut leaving } else { leaving.0 };
    let operations = plan.operations();
    let mut attempt = 1;
    while let Err(source) = kernel.execute(&operations, progress) {
        let aftermath = recover(kernel, goal, before, on_failure);
        let retry = attempt < ATTEMPTS && is_remnant(&source) && matches!(aftermath, Aftermath::RolledBack);
        if !retry {
            return Err(ApplyError::Execute { source, aftermath });
        }
        attempt += 1;
        kernel.settle();
    }
    match complete(kernel, &goal.when_done(), before, plan, progress) {
        Ok(rest) if rest.is_empty() => Ok(Vec::new()),
        Ok(rest) if leaves && rest.changes.is_empty() => Ok(rest.missing()),
        Ok(rest) => {
            let aftermath = recover(kernel, goal, before, on_failure);
            Err(ApplyError::Unverified { remains: Box::new(Remains::of(rest)), aftermath })
        }
        Err(VerifyError::Prepare(source)) => {
            let aftermath = recover(kernel, goal, before, on_failure);
            Err(ApplyError::Verify { source, aftermath })
        }
        Err(VerifyError::Execute(source)) => {
            let aftermath = recover(kernel, goal, before, on_failure);
            Err(ApplyError::Execute { source, aftermath })
        }
    }
}

/// The progress of a plan with which a lab leaves, or a change is undone: it goes on if something foreign cannot be put back.
struct Leaving<'a>(&'a mut dyn Progress);

impl Progress for Leaving<'_> {
    fn stop(&self) -> bool {
        self.0.stop()
    }

    fn may_fail(&self, operation: &Operation) -> bool {
        matches!(operation, Operation::Restore(_) | Operation::RestoreEntry(..))
    }

    fn done(&mut self, position: usize) {
        self.0.done(position);
    }
}

/// The progress of operations that are not steps of the plan: it is not reported.
struct Silent<'a>(&'a mut dyn Progress);

impl Progress for Silent<'_> {
    fn stop(&self) -> bool {
        self.0.stop()
    }

    fn may_fail(&self, operation: &Operation) -> bool {
        self.0.may_fail(operation)
    }
}

/// Verifies an executed plan, and returns what is left to do. New links have the settings of `default` in their namespace, which somebody
/// may have changed: where the lab does not set them, they get the kernel's values.
fn complete(
    kernel: &mut impl Kernel,
    goal: &Goal,
    before: &Live,
    plan: &Plan,
    progress: &mut dyn Progress,
) -> Result<Plan, VerifyError> {
    let rest = verify(kernel, goal, before, plan, progress)?;
    if rest.changes.is_empty() || !rest.changes.iter().all(|change| is_setting_of_new_link(change, plan)) {
        return Ok(rest);
    }
    kernel.execute(&rest.operations(), &mut Silent(progress)).map_err(VerifyError::Execute)?;
    verify(kernel, goal, before, plan, progress)
}

fn is_setting_of_new_link(change: &Change, plan: &Plan) -> bool {
    let ResourceId::Sysctl(namespace, key) = &change.id else { return false };
    let link = key.link().map(|link| ResourceId::Link(LinkId::new(namespace, link)));
    link.is_some_and(|link| plan.changes.iter().any(|change| change.action.creates() && change.id == link))
}

/// Returns whether an operation failed because a link of a deleted namespace, which the kernel is still removing, has the same name.
fn is_remnant(error: &ExecuteError) -> bool {
    const EEXIST: i32 = 17;
    match error {
        ExecuteError::Operation(error) => error.source.number == EEXIST,
        ExecuteError::Interrupted => false,
    }
}
