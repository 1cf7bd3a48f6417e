//! Observes a lab to describe it rather than to change it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Goal;
use crate::kernel::{Kernel, ObserveError};
use crate::name::NamePattern;
use crate::projection::to_observe;
use crate::selection::{self, NoMatch, Selected};
use crate::state::Live;

/// Why a part of a lab cannot be selected.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The network could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A pattern matches nothing.
    #[error(transparent)]
    NoMatch(#[from] NoMatch),
}

/// Returns the goal for the chosen namespaces alone, with what they require: everything else is to stay as it is now. Also returns what is
/// required. Writes nothing.
///
/// # Errors
/// Fails if the network cannot be read, or if a pattern matches no namespace.
pub fn select(kernel: &mut impl Kernel, mut goal: Goal, patterns: &[NamePattern]) -> Result<(Goal, Vec<String>), SelectError> {
    if patterns.is_empty() {
        return Ok((goal, Vec::new()));
    }
    let live = goal.own(kernel.observe(&goal.interest)?);
    let Selected { desired, required } = selection::select(&goal.desired, &live.state, &goal.record, patterns)?;
    goal.desired = Arc::new(desired);
    Ok((goal, required))
}

/// Observes what belongs to the lab of the goal, to describe it. The goal is then interested in all that its links refer to. Writes nothing.
///
/// # Errors
/// Fails if the network cannot be read.
pub fn observe(kernel: &mut impl Kernel, goal: &mut Goal) -> Result<Live, ObserveError> {
    let live = goal.own(kernel.observe(&goal.interest)?);
    let Some(wider) = to_observe(&goal.interest, &live.state) else { return Ok(live) };
    goal.interest = Arc::new(wider);
    Ok(goal.own(kernel.observe_again(&goal.interest, &BTreeSet::new())?))
}
