//! Undoing a failed change: the same pipeline with the state before it as the desired one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Aftermath, Goal, Leaving, OnFailure, PrepareError, Remains, plan_from, wait};
use crate::diff::Change;
use crate::graph::LinkGraph;
use crate::kernel::{Kernel, Unattended};
use crate::name::{LinkId, NamespaceName};
use crate::plan::Plan;
use crate::record::Record;
use crate::resource::link::Link;
use crate::resource::object::table::{self, Registered, Visit};
use crate::state::{Live, State};

/// Does what is to be done after a failure.
pub(super) fn recover(kernel: &mut impl Kernel, goal: &Goal, before: &Live, on_failure: OnFailure) -> Aftermath {
    match on_failure {
        OnFailure::Keep => Aftermath::Kept,
        OnFailure::RollBack => roll_back(kernel, goal, before),
    }
}

/// The number of attempts to roll back. An observation or an operation that failed once may succeed again.
const UNDO_ATTEMPTS: usize = 3;

/// Restores the previous state: the same pipeline with the state of `before` as the desired one.
fn roll_back(kernel: &mut impl Kernel, goal: &Goal, before: &Live) -> Aftermath {
    let mut interest = State::clone(&goal.interest);
    interest.extend(before.state.clone());
    interest.lost_in.extend(goal.record.lost.keys().cloned());
    let mut desired = before.state.clone();
    let foreign = before.foreign_sysctls.iter().map(|(key, sysctl)| ((NamespaceName::host(), key.clone()), sysctl.clone()));
    desired.sysctls.extend(foreign);
    // Incomplete namespaces are not restored.
    desired.namespaces.retain(|namespace| !before.broken.contains(namespace));
    let back = Goal {
        lab: goal.lab.clone(),
        desired: Arc::new(desired),
        interest: Arc::new(interest),
        record: Record { lost: goal.record.lost.clone(), ports: goal.record.ports.clone(), ..Record::default() },
        others: goal.others.clone(),
        left_alone: goal.left_alone.clone(),
    };
    let mut failure: Option<Box<dyn std::error::Error + Send + Sync>> = None;
    for _ in 0..UNDO_ATTEMPTS {
        match plan_back(kernel, &back, before) {
            Ok(back) if back.rest.is_empty() => return back.aftermath(failure),
            Ok(back) => {
                failure =
                    kernel.execute(&back.rest.operations(), &mut Leaving(&mut Unattended)).err().map(Into::into).or(failure);
            }
            Err(error) => failure = Some(error.into()),
        }
    }
    match plan_back(kernel, &back, before) {
        Ok(back) => back.aftermath(failure),
        Err(error) => Aftermath::Left { remains: Box::default(), error: failure.or(Some(error.into())) },
    }
}

/// The way back.
struct Back {
    rest: Plan,
    /// What cannot be restored.
    lost: Vec<Change>,
}

impl Back {
    fn aftermath(self, error: Option<Box<dyn std::error::Error + Send + Sync>>) -> Aftermath {
        if self.rest.is_empty() && self.lost.is_empty() {
            return Aftermath::RolledBack;
        }
        let mut remains = Remains::of(self.rest);
        remains.changes.extend(self.lost);
        Aftermath::Left { remains: Box::new(remains), error }
    }
}

/// Plans the way back. Routes of addresses that the kernel adds a moment later are waited for.
fn plan_back(kernel: &mut impl Kernel, back: &Goal, before: &Live) -> Result<Back, PrepareError> {
    let found = look_back(kernel, back, before)?;
    if !wait::lacks_routes(&found.rest) {
        return Ok(found);
    }
    wait::let_routes_arrive(kernel);
    look_back(kernel, back, before)
}

fn look_back(kernel: &mut impl Kernel, back: &Goal, before: &Live) -> Result<Back, PrepareError> {
    let live = back.own(kernel.observe(&back.interest)?);
    let plan = |desired: &State| plan_from(&back.lab, desired, &live, &before.indices);
    match without_halves(&back.desired, &live) {
        Cow::Borrowed(all) => Ok(Back { rest: plan(all)?, lost: Vec::new() }),
        Cow::Owned(rest) => {
            let mut lost = plan(&back.desired)?.changes;
            let rest = plan(&rest)?;
            lost.retain(|change| rest.changes.iter().all(|other| other.id != change.id));
            Ok(Back { rest, lost })
        }
    }
}

/// Leaves out the ends of pairs that are gone and whose other end was in a namespace out of sight, with all that stands on them: created
/// alone, such an end would get another one that nobody asked for.
fn without_halves<'a>(desired: &'a State, live: &Live) -> Cow<'a, State> {
    let is_lost = |(id, link): &(&'a LinkId, &'a Arc<Link>)| {
        let is_half = |link: &Link| link.kind.is_pair() && link.kind.parent().is_none();
        is_half(link) && !live.state.link(id).is_some_and(is_half)
    };
    let mut pending: Vec<LinkId> = desired.links.iter().filter(is_lost).map(|(id, _)| id.clone()).collect();
    if pending.is_empty() {
        return Cow::Borrowed(desired);
    }
    let graph = LinkGraph::of_state(desired);
    let mut gone = BTreeSet::new();
    while let Some(id) = pending.pop() {
        pending.extend(graph.removed_with(&id).map(|(upper, _)| upper.clone()).filter(|upper| !gone.contains(upper)));
        gone.insert(id);
    }
    let mut state = desired.clone();
    state.links.retain(|id, _| !gone.contains(id));
    let of_gone = |namespace: &NamespaceName, link| gone.contains(&LinkId::new(namespace, link));
    state.sysctls.retain(|(namespace, key), _| !key.link().is_some_and(|link| of_gone(namespace, link)));
    table::visit(&mut OfGoneLinks { gone: &gone, state: &mut state });
    Cow::Owned(state)
}

/// Removes the objects of links that are gone.
struct OfGoneLinks<'a> {
    gone: &'a BTreeSet<LinkId>,
    state: &'a mut State,
}

impl Visit for OfGoneLinks<'_> {
    fn visit<O: Registered>(&mut self) {
        let is_gone = |namespace: &NamespaceName, link| self.gone.contains(&LinkId::new(namespace, link));
        let stays = |(namespace, key): &(NamespaceName, O::Key), value: &O| {
            !O::links(key, value).into_iter().flatten().any(|link| is_gone(namespace, link))
        };
        self.state.objects.of_mut::<O>().retain(|id, value| stays(id, value));
    }
}
