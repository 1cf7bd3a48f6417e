//! `topo plan`: what `apply` would do, and a saved plan that it can be held to.

use std::path::Path;

use super::PlanArguments;
use super::apply::prepared;
use super::error::Failure;
use super::input::{self, Lab};
use super::output::Output;
use super::saved::SavedPlan;
use crate::apply::Goal;
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{Linux, Listing};
use crate::name::LabName;
use crate::plan::Plan;
use crate::record::Record;
use crate::report::{json, text};
use crate::runtime::records;
use crate::spec::prescan as glance;

/// Exit status of `--detailed-exitcode` when there are changes.
const CHANGES: u8 = 2;

pub fn run(arguments: &PlanArguments, output: &mut Output) -> Result<u8, Failure> {
    // A plan is saved where the user wants it, which may be where only that user may write.
    let more: &[Capability] = if arguments.out.is_some() { &[Capability::IgnorePermissions] } else { &[] };
    let text = input::read(&arguments.file.lab)?;
    privilege::keep(more)?;
    let guessed = glance::name(&text).and_then(looking_ahead);
    let mut lab = input::lab_from_text(text, &input::display(&arguments.file.lab), output)?;
    let (mut kernel, record) = match guessed.filter(|(kernel, _)| *kernel.lab() == lab.name) {
        Some(guessed) => guessed,
        None => (Linux::to_look_at(lab.name.clone())?, records::read(&lab.name)?),
    };
    let goal = Goal::apply(lab.name.clone(), std::mem::take(&mut lab.desired));
    let goal = goal.adopting(arguments.adopt.adopt.clone()).with_record(record);
    let (live, plan) = prepared(&mut kernel, &goal, Some(&lab.source), output)?;
    if let Some(path) = &arguments.out {
        save(path, arguments, &lab, &plan)?;
    }
    if arguments.json {
        output.print(&(json::plan(&plan).to_string() + "\n"))?;
    } else {
        output.print(&text::plan(&plan, output.stdout_colour()))?;
    }
    let code = if arguments.detailed_exitcode && !plan.is_empty() { CHANGES } else { 0 };
    // The end of the process frees all of it at once, in less time than piece by piece.
    std::mem::forget((kernel, goal, live, plan));
    Ok(code)
}

/// The kernel, which is already being read while the lab file is parsed. What fails will be told when it fails again.
fn looking_ahead(lab: LabName) -> Option<(Linux, Record)> {
    let record = records::read(&lab).ok()?;
    let mut kernel = Linux::to_look_at(lab).ok()?;
    kernel.look_ahead(Listing::read().ok()?, &record).ok()?;
    Some((kernel, record))
}

fn save(path: &Path, arguments: &PlanArguments, lab: &Lab, plan: &Plan) -> Result<(), Failure> {
    let (source, adopt) = (input::display(&arguments.file.lab), arguments.adopt.adopt.clone());
    let text = SavedPlan::new(source, lab.source.text.clone(), adopt, json::plan(plan)).text()?;
    std::fs::write(path, text)
        .map_err(|error| Failure::new(format!("cannot save the plan to `{}`: {}", path.display(), crate::kernel::plain(&error))))
}
