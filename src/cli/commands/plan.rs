//! `topo plan`: previews what `apply` would do, and saves a plan for it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::apply::Goal;
use crate::cli::args::{AdoptArgs, LabFileArgs, OnlyArgs, SideEffectArgs};
use crate::cli::change::{self, Form, hint_elsewhere, prepare};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::input::{self, Lab};
use crate::cli::output::Output;
use crate::cli::saved_plan::SavedPlan;
use crate::cli::{Context, Format, Run};
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{Linux, Listing};
use crate::name::{LabName, SandboxName, escape};
use crate::plan::{IRREVERSIBLE, Plan};
use crate::record::Record;
use crate::report::ip::{self, Script};
use crate::report::text::Colour;
use crate::report::{json, text};
use crate::runtime::{iproute2, records};
use crate::spec::prescan;
use crate::state::State;

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
  topo plan --as ip > setup.sh       The same changes as commands of iproute2
  topo plan --destroy --as ip        The commands that remove the lab

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
    only: OnlyArgs,
    #[command(flatten)]
    side_effects: SideEffectArgs,
    /// Exit with status 2 if there are changes, 0 if not
    #[arg(long, aliases = ["exit-code"])]
    detailed_exitcode: bool,
    /// Show what `topo destroy` would do; LAB may be the name of a lab
    #[arg(long, conflicts_with_all = ["out", "adoptions", "only"])]
    destroy: bool,
    /// Show a summary: how many resources of each sort change in each namespace
    #[arg(long, conflicts_with_all = ["json", "program"])]
    brief: bool,
    /// Print only warnings and errors, for `--detailed-exitcode` and `--out`
    #[arg(long, short, conflicts_with_all = ["json", "program", "brief"])]
    quiet: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Print the plan as a shell script with the commands of another program: ip
    #[arg(long = "as", value_name = "PROGRAM", hide_possible_values = true, conflicts_with = "json")]
    program: Option<Program>,
    /// Save the plan to FILE, for `topo apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A program with which the changes can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    /// iproute2
    Ip,
}

/// Exit status of `--detailed-exitcode` if there are changes.
const CHANGES: u8 = 2;

impl Run for PlanArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let Preview { mut kernel, goal, lab } = match self.destroy.then(|| input::lab_name(&self.file.path)).flatten() {
            Some(name) => Preview::of_name(name)?,
            None => self.read(context)?,
        };
        let goal = change::select(&mut kernel, goal, &self.only.only, context.output)?;
        let (live, plan) = prepare(&mut kernel, &goal, lab.as_ref().map(|lab| &lab.source), context.output)?;
        hint_elsewhere(&goal, &live, context.elsewhere, context.output);
        if let (Some(path), Some(lab)) = (&self.out, &lab) {
            self.save(path, lab, &plan, context.environment.sandbox())?;
        }
        self.show(&plan, &goal, context.environment.sandbox(), context.output)?;
        if !self.side_effects.allow_side_effects && plan.irreversible().next().is_some() {
            context.output.warning(&format!("{IRREVERSIBLE}; `topo apply` refuses this without `--allow-side-effects`"));
        }
        let status = if self.detailed_exitcode && !plan.is_empty() { CHANGES } else { 0 };
        // The process exits next, which frees all of this faster than dropping it piece by piece.
        std::mem::forget((kernel, goal, live, plan));
        Ok(status)
    }
}

/// What a plan is made from.
struct Preview {
    kernel: Linux,
    goal: Goal,
    /// The lab file, if there is one.
    lab: Option<Lab>,
}

impl Preview {
    /// The end of a lab that is known by its name alone.
    fn of_name(name: LabName) -> Result<Self, Failure> {
        privilege::keep(&[Capability::Trace])?;
        let mut kernel = Linux::read_only(name.clone())?;
        let (record, others) = (records::read(&name)?, records::others(&name)?);
        let goal = Goal::destroy(name, State::default()).with_records(record, others, &mut kernel)?;
        Ok(Self { kernel, goal, lab: None })
    }
}

impl PlanArgs {
    /// Reads the lab file.
    fn read(&self, context: &mut Context<'_>) -> Result<Preview, Failure> {
        // The plan may be saved to a directory that only the calling user can write to.
        let mut capabilities = Vec::new();
        capabilities.extend(self.out.is_some().then_some(Capability::IgnorePermissions));
        let text = input::read(&self.file.path)?;
        // An init whose socket is gone is known by its network namespace.
        capabilities.extend((self.destroy || prescan::may_have_nodes(&text)).then_some(Capability::Trace));
        privilege::keep(&capabilities)?;
        let early = prescan::name(&text).and_then(observe_early);
        let mut lab = input::parse(text, &input::display(&self.file.path), context.output)?;
        let (mut kernel, record) = match early.filter(|(kernel, _)| *kernel.lab() == lab.name) {
            Some(early) => early,
            None => (Linux::read_only(lab.name.clone())?, records::read(&lab.name)?),
        };
        let make = if self.destroy { Goal::destroy } else { Goal::apply };
        let goal = make(lab.name.clone(), std::mem::take(&mut lab.desired)).adopting(self.adopt.adoptions.clone());
        let goal = goal.with_records(record, records::others(&lab.name)?, &mut kernel)?;
        Ok(Preview { kernel, goal, lab: Some(lab) })
    }

    /// Prints the plan in the form that the user asked for.
    fn show(&self, plan: &Plan, goal: &Goal, sandbox: Option<&SandboxName>, output: &mut Output) -> Result<(), Failure> {
        let form = if self.brief { Form::Brief } else { Form::Whole };
        match self.program {
            Some(Program::Ip) => show_script(&ip::plan(plan, iproute2::version()), output),
            None if self.json => output.print(&(json::plan(plan).to_string() + "\n")),
            None if self.quiet => Ok(()),
            None => change::show(plan, goal, form, sandbox, output),
        }
    }

    fn save(&self, path: &Path, lab: &Lab, plan: &Plan, sandbox: Option<&SandboxName>) -> Result<(), Failure> {
        let (source, adopt) = (input::display(&self.file.path), self.adopt.adoptions.clone());
        let heading = text::heading(&lab.name, sandbox, Colour::None);
        let separator = if plan.is_empty() { "\n" } else { "\n\n" };
        let shown = heading + separator + &text::plan(plan, Colour::None);
        let allows = self.side_effects.allow_side_effects;
        let text =
            SavedPlan::new(source, lab.source.text.clone(), adopt, self.only.only.clone(), allows, json::plan(plan), shown)
                .to_text()?;
        std::fs::write(path, text)
            .map_err(|error| Failure::with_cause(format!("cannot save the plan to `{}`", path.display()), error))
    }
}

/// At most this many warnings name what a script does not do; its comments name all.
const MISSING_LIMIT: usize = 10;

/// Prints a script, and warns of what it does not do.
fn show_script(script: &Script, output: &mut Output) -> Result<(), Failure> {
    output.print(&script.text)?;
    for missing in script.missing.iter().take(MISSING_LIMIT) {
        output.warning(&format!("iproute2 cannot {}", escape(missing)));
    }
    if let Some(more) = script.missing.len().checked_sub(MISSING_LIMIT).filter(|more| *more > 0) {
        output.warning(&format!("iproute2 cannot do {more} more steps; comments in the script name them"));
    }
    Ok(())
}

/// Starts to read the kernel while the lab file is still being parsed. Returns `None` if that fails; the regular observation
/// then reports the error.
fn observe_early(lab: LabName) -> Option<(Linux, Record)> {
    let record = records::read(&lab).ok()?;
    let mut kernel = Linux::read_only(lab).ok()?;
    kernel.observe_early(Listing::read().ok()?, &record).ok()?;
    Some((kernel, record))
}
