//! `topo apply`: makes the network match a lab file, or executes a saved plan.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::apply::Goal;
use crate::cli::args::{AdoptArgs, ChangeArgs, OnlyArgs, duration};
use crate::cli::change::{self, Options};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::input::{self, Lab};
use crate::cli::saved_plan::SavedPlan;
use crate::cli::session::{Intent, Session};
use crate::cli::uplink::UplinkArgs;
use crate::cli::{Context, Format, Run, nodes};
use crate::kernel::linux::node::spawner::Spawner;
use crate::kernel::linux::privilege::{self, Capability};

/// Make the network match a lab file
#[derive(Debug, Args)]
#[command(after_help = "\
Shows the plan, executes it, and checks the result. If something fails, the
changes made so far are undone. Applying an unchanged lab changes nothing.

Examples:
  topo apply                         Apply lab.yaml
  topo apply ring.yaml --ask         Show the plan, then ask
  topo apply --wait ring.yaml        Return when the first ping works
  topo apply ring.plan               Apply a plan saved by `topo plan --out`
  topo apply --sandbox=ci ring.yaml  Apply in the sandbox `ci`
  topo apply --uplink                Connect the sandbox to the outside

Exit status:
  0    success
  1    error
  130  interrupted (129: hung up, 131: quit, 143: terminated)")]
pub struct ApplyArgs {
    /// Lab file, or plan saved by `plan --out`; `-` reads standard input
    #[arg(value_name = "LAB|PLAN", default_value = input::default_file())]
    path: PathBuf,
    #[command(flatten)]
    adopt: AdoptArgs,
    #[command(flatten)]
    only: OnlyArgs,
    #[command(flatten)]
    change: ChangeArgs,
    /// Wait until the lab is usable: IPv6 addresses, carriers and spanning trees are ready; without TIME, at most 30s, or as long as
    /// the spanning trees of the lab take
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = duration)]
    #[allow(clippy::option_option, reason = "the option and its value are both optional")]
    wait: Option<Option<Duration>>,
    #[command(flatten)]
    uplink: UplinkArgs,
}

impl Run for ApplyArgs {
    fn access(&self) -> Access {
        Access::Create { uplink: self.uplink.program }
    }

    fn format(&self) -> Format {
        self.change.format()
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let text = input::read(&self.path)?;
        let spawner = nodes::prepare(&text, context.environment)?;
        privilege::keep(&[Capability::Trace])?;
        match SavedPlan::parse(&text, &input::display(&self.path))? {
            Some(saved) => self.apply_plan(saved, spawner, context),
            None => self.apply_lab(text, spawner, context),
        }
    }
}

impl ApplyArgs {
    fn options<'a>(&'a self, context: &Context<'a>) -> Options<'a> {
        Options { wait: self.wait, only: &self.only.only, ..Options::new(Intent::Apply, &self.change, context) }
    }

    fn apply_plan(&self, saved: SavedPlan, spawner: Option<Spawner>, context: &mut Context<'_>) -> Result<u8, Failure> {
        if !self.only.only.is_empty() {
            return Err(Failure::new("a saved plan has its own selection").hint("give `--only` to `topo plan --out`"));
        }
        let SavedPlan { source, lab, plan, mut adopt, only, allow_side_effects, .. } = saved;
        let lab = input::parse(lab, &source, context.output)?;
        adopt.extend(self.adopt.adoptions.iter().cloned());
        let goal = Goal::apply(lab.name, lab.desired).adopting(adopt);
        let mut session = Session::open(&goal.lab, &self.change)?;
        session.kernel.use_spawner(spawner);
        let mut options = Options { expected: Some(&plan), only: &only, ..self.options(context) };
        options.allow_side_effects |= allow_side_effects;
        change::run(session, goal, &options, context.output)
    }

    fn apply_lab(&self, text: String, spawner: Option<Spawner>, context: &mut Context<'_>) -> Result<u8, Failure> {
        let early = Session::open_early(&text, Intent::Apply);
        let Lab { name, desired, source } = input::parse(text, &input::display(&self.path), context.output)?;
        let goal = Goal::apply(name, desired).adopting(self.adopt.adoptions.iter().cloned());
        let mut session = Session::confirm(early, &goal.lab, &self.change)?;
        session.kernel.use_spawner(spawner);
        let options = Options { source: Some(&source), ..self.options(context) };
        change::run(session, goal, &options, context.output)
    }
}
