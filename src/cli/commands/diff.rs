//! `topo diff`: shows the difference of the live lab and its file.

use clap::Args;

use crate::apply::Goal;
use crate::cli::args::{AdoptArgs, LabFileArgs};
use crate::cli::change::{hint_elsewhere, prepare};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run, input};
use crate::kernel::linux::Linux;
use crate::kernel::linux::privilege::{self, Capability};
use crate::projection::sides;
use crate::report::difference;
use crate::runtime::records;
use crate::spec::prescan;

/// Show how the live lab differs from its file
#[derive(Debug, Args)]
#[command(after_help = "\
Compares the live network with the lab file, and prints the difference as
diff -u does for two lab files: `-` is what is there, `+` is what `topo apply`
would make of it. What the file leaves to the kernel or to others does not
show. Prints nothing if `topo plan` has no changes. A change that no lab file
shows, such as a process that has ended, is a line that begins with `#`.

Examples:
  topo diff                          Has lab.yaml been changed, or the network?
  topo diff ring.yaml --exit-code    For scripts

Exit status:
  0  success (with --exit-code: no difference)
  1  error
  2  there is a difference, with --exit-code")]
pub struct DiffArgs {
    #[command(flatten)]
    file: LabFileArgs,
    #[command(flatten)]
    adopt: AdoptArgs,
    /// Exit with status 2 if there is a difference, 0 if not
    #[arg(long, aliases = ["detailed-exitcode"])]
    exit_code: bool,
}

/// Exit status of `--exit-code` if there is a difference.
const DIFFERENT: u8 = 2;

impl Run for DiffArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let (text, shown) = (input::read(&self.file.path)?, input::display(&self.file.path));
        // An init whose socket is gone is known by its network namespace.
        let capabilities: &[Capability] = if prescan::may_have_nodes(&text) { &[Capability::Trace] } else { &[] };
        privilege::keep(capabilities)?;
        let lab = input::parse(text, &shown, context.output)?;
        let mut kernel = Linux::read_only(lab.name.clone())?;
        let goal = Goal::apply(lab.name.clone(), lab.desired).adopting(self.adopt.adoptions.clone());
        let goal = goal.with_records(records::read(&lab.name)?, records::others(&lab.name)?, &mut kernel)?;
        let (live, plan) = prepare(&mut kernel, &goal, Some(&lab.source), context.output)?;
        hint_elsewhere(&goal, &live, context.elsewhere, context.output);
        if plan.is_empty() {
            return Ok(0);
        }
        let sides = sides(&goal.desired, &live, &goal.record, &plan.changes, &plan.side_effects);
        let text = difference::sides(&goal.lab, &sides, ["live", &shown], context.output.stdout_colour());
        context.output.print(&text)?;
        Ok(if self.exit_code { DIFFERENT } else { 0 })
    }
}
