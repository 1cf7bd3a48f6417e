//! `topo plan`: previews what `apply` would do, and saves a plan for it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::apply::Goal;
use crate::cli::args::{AdoptArgs, LabFileArgs, SideEffectArgs};
use crate::cli::change::{hint_elsewhere, prepare};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::input::{self, Lab};
use crate::cli::saved_plan::SavedPlan;
use crate::cli::{Context, Run};
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{Linux, Listing};
use crate::name::LabName;
use crate::plan::{IRREVERSIBLE, Plan};
use crate::record::Record;
use crate::report::text::Colour;
use crate::report::{json, text};
use crate::runtime::records;
use crate::spec::prescan;

/// Preview the changes that `apply` would make
#[derive(Debug, Args)]
#[command(after_help = "\
Compares the lab file with the kernel and shows every change that `topo apply`
would make, in order. Changes nothing.

Examples:
  topo plan                          Preview lab.yaml
  topo plan ring.yaml --out ring.plan
  topo apply ring.plan               Apply exactly that plan
  topo plan --detailed-exitcode      For scripts: has anything drifted?

Exit status:
  0  success (with --detailed-exitcode: no changes)
  1  error
  2  changes present, with --detailed-exitcode")]
pub struct PlanArgs {
    #[command(flatten)]
    file: LabFileArgs,
    #[command(flatten)]
    adopt: AdoptArgs,
    #[command(flatten)]
    side_effects: SideEffectArgs,
    /// Exit with status 2 if there are changes, 0 if not
    #[arg(long)]
    detailed_exitcode: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Save the plan to FILE, for `topo apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Exit status of `--detailed-exitcode` if there are changes.
const CHANGES: u8 = 2;

impl Run for PlanArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        // The plan may be saved to a directory that only the calling user can write to.
        let mut capabilities = Vec::new();
        capabilities.extend(self.out.is_some().then_some(Capability::IgnorePermissions));
        let text = input::read(&self.file.path)?;
        // An init whose socket is gone is known by its network namespace.
        capabilities.extend(prescan::may_have_nodes(&text).then_some(Capability::Trace));
        privilege::keep(&capabilities)?;
        let early = prescan::name(&text).and_then(observe_early);
        let mut lab = input::parse(text, &input::display(&self.file.path), context.output)?;
        let (mut kernel, record) = match early.filter(|(kernel, _)| *kernel.lab() == lab.name) {
            Some(early) => early,
            None => (Linux::read_only(lab.name.clone())?, records::read(&lab.name)?),
        };
        let goal = Goal::apply(lab.name.clone(), std::mem::take(&mut lab.desired));
        let goal = goal.adopting(self.adopt.links.clone());
        let goal = goal.with_records(record, records::others(&lab.name)?, &mut kernel)?;
        let (live, plan) = prepare(&mut kernel, &goal, Some(&lab.source), context.output)?;
        hint_elsewhere(&goal, &live, context.elsewhere, context.output);
        if let Some(path) = &self.out {
            self.save(path, &lab, &plan)?;
        }
        let text =
            if self.json { json::plan(&plan).to_string() + "\n" } else { text::plan(&plan, context.output.stdout_colour()) };
        context.output.print(&text)?;
        if !self.side_effects.allow_side_effects && plan.irreversible().next().is_some() {
            context.output.warning(&format!("{IRREVERSIBLE}; `topo apply` refuses this without `--allow-side-effects`"));
        }
        let status = if self.detailed_exitcode && !plan.is_empty() { CHANGES } else { 0 };
        // The process exits next, which frees all of this faster than dropping it piece by piece.
        std::mem::forget((kernel, goal, live, plan));
        Ok(status)
    }
}

impl PlanArgs {
    fn save(&self, path: &Path, lab: &Lab, plan: &Plan) -> Result<(), Failure> {
        let (source, adopt) = (input::display(&self.file.path), self.adopt.links.clone());
        let shown = text::plan(plan, Colour::None);
        let allows = self.side_effects.allow_side_effects;
        let text = SavedPlan::new(source, lab.source.text.clone(), adopt, allows, json::plan(plan), shown).to_text()?;
        std::fs::write(path, text)
            .map_err(|error| Failure::with_cause(format!("cannot save the plan to `{}`", path.display()), error))
    }
}

/// Starts to read the kernel while the lab file is still being parsed. Returns `None` if that fails; the regular observation
/// then reports the error.
fn observe_early(lab: LabName) -> Option<(Linux, Record)> {
    let record = records::read(&lab).ok()?;
    let mut kernel = Linux::read_only(lab).ok()?;
    kernel.observe_early(Listing::read().ok()?, &record).ok()?;
    Some((kernel, record))
}
