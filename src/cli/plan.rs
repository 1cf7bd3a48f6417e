//! `topo plan`: what `apply` would do, and a saved plan that it can be held to.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PlanArguments;
use super::error::Failure;
use super::input::{self, Lab};
use super::output::Output;
use crate::apply::{Goal, prepare};
use crate::kernel::linux::Linux;
use crate::kernel::linux::privilege::Capability;
use crate::name::LinkId;
use crate::plan::Plan;
use crate::report::{json, text};
use crate::runtime::records;

/// Exit status of `--detailed-exitcode` when there are changes.
const CHANGES: u8 = 2;

/// A plan in a file: the lab that it was made from, and what it said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Tells the file from other JSON, and which version of topo can read it.
    pub topo_saved_plan: u32,
    /// Where the lab was read from, for messages.
    pub source: String,
    /// The lab file's text.
    pub lab: String,
    /// Foreign links that become the lab's.
    pub adopt: Vec<LinkId>,
    /// The plan as JSON.
    pub plan: Value,
}

pub fn run(arguments: &PlanArguments, output: &mut Output) -> Result<u8, Failure> {
    // A plan is saved where the user wants it, which may be where only that user may write.
    let more: &[Capability] = if arguments.out.is_some() { &[Capability::IgnorePermissions] } else { &[] };
    let mut lab = input::lab(&arguments.file.lab, more, output)?;
    let mut kernel = Linux::new(lab.name.clone())?;
    let goal = Goal::apply(lab.name.clone(), std::mem::take(&mut lab.desired));
    let goal = goal.adopting(arguments.adopt.adopt.clone()).with_record(records::read(&lab.name)?);
    let (live, plan) = prepare(&mut kernel, &goal)?;
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
    std::mem::forget((goal, live, plan));
    Ok(code)
}

fn save(path: &Path, arguments: &PlanArguments, lab: &Lab, plan: &Plan) -> Result<(), Failure> {
    let saved = SavedPlan {
        topo_saved_plan: json::FORMAT_VERSION,
        source: input::display(&arguments.file.lab),
        adopt: arguments.adopt.adopt.clone(),
        lab: lab.text.clone(),
        plan: json::plan(plan),
    };
    let text = serde_json::to_string(&saved).map_err(Failure::new)?;
    std::fs::write(path, text + "\n")
        .map_err(|error| Failure::new(format!("cannot save the plan to `{}`: {}", path.display(), crate::kernel::plain(&error))))
}

/// The saved plan that a text is, or `None` when it is something else, such as a lab file.
pub fn saved(text: &str) -> Option<SavedPlan> {
    if !text.starts_with("{\"topo_saved_plan\"") {
        return None;
    }
    serde_json::from_str(text).ok()
}
