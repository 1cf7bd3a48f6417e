//! Observes a lab to describe it rather than to change it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Goal;
use crate::kernel::{Kernel, ObserveError};
use crate::projection::to_observe;
use crate::state::Live;

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
