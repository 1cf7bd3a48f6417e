//! Executes a plan and keeps the record on disk in step with it. The caller holds the lab's lock.

use super::{DirectoryError, records, records::RecordError};
use crate::apply::{ApplyError, Goal, OnFailure, apply};
use crate::kernel::{Kernel, Progress};
use crate::plan::Plan;
use crate::state::Live;

/// Why a plan was not executed, or not completely.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The runtime directory cannot be used. Nothing was changed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The record cannot be written. Nothing was changed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The plan failed.
    #[error("{source}")]
    Apply {
        /// Why, and what became of the changes made so far.
        source: ApplyError,
        /// Why the record does not fit to the network as it was before. It has entries that are not needed, all correct.
        record: Option<Box<RecordError>>,
    },
    /// The network matches the lab, but the record has entries that are no longer needed. They are correct.
    #[error(transparent)]
    Outdated(RecordError),
}

/// Executes a plan that [`prepare`](crate::apply::prepare) made, verifies it, and writes the record before and after. Returns the foreign
/// things that could not be put back when the lab left.
///
/// # Errors
/// If the plan or a file fails.
pub fn execute(
    kernel: &mut impl Kernel,
    goal: &Goal,
    live: &Live,
    plan: &Plan,
    on_failure: OnFailure,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, ChangeError> {
    if !goal.desired.namespaces.is_empty() {
        super::note_namespace_directory()?;
    }
    let record = goal.record_before(live, plan);
    records::write_if_changed(&goal.lab, &goal.record, &record)?;
    match apply(kernel, goal, live, plan, on_failure, progress) {
        Ok(lost) => {
            let settled = goal.record_after(&record, plan);
            records::write_if_changed(&goal.lab, &record, &settled).map_err(ChangeError::Outdated)?;
            Ok(lost)
        }
        Err(source) => {
            let restored =
                if source.rolled_back() { records::write_if_changed(&goal.lab, &record, &goal.record) } else { Ok(()) };
            Err(ChangeError::Apply { source, record: restored.err().map(Box::new) })
        }
    }
}

/// Writes the record of a lab that needs no change.
///
/// # Errors
/// If it cannot be written.
pub fn keep(goal: &Goal, live: &Live, plan: &Plan) -> Result<(), RecordError> {
    let record = goal.record_after(&goal.record_before(live, plan), plan);
    records::write_if_changed(&goal.lab, &goal.record, &record)
}
