//! `topo destroy`: removes what a lab owns, given its file or only its name.

use std::path::PathBuf;

use clap::Args;

use crate::apply::Goal;
use crate::cli::args::ChangeArgs;
use crate::cli::change::{self, Options};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::session::{Intent, Session};
use crate::cli::{Context, Format, Run, input, nodes};
use crate::kernel::linux::privilege::{self, Capability};
use crate::state::State;

/// Remove everything that a lab owns
#[derive(Debug, Args)]
#[command(after_help = "\
The name is enough: everything that a lab owns carries its mark in the kernel.
Returns when all of it is gone.

Examples:
  topo destroy                       Remove the lab that lab.yaml describes
  topo destroy ring.yaml             Remove the lab of another file
  topo destroy ring                  Remove the lab `ring`
  topo destroy ring --kill           Also kill the processes in its namespaces

Exit status:
  0    success, also if there is nothing to remove
  1    error
  130  interrupted (129: hung up, 131: quit, 143: terminated)")]
pub struct DestroyArgs {
    /// Lab file, or name of a lab
    #[arg(value_name = "LAB|NAME", default_value = input::default_file())]
    lab: PathBuf,
    /// Kill the processes that run in the lab's namespaces
    #[arg(long)]
    kill: bool,
    /// Keep the sandbox even if this was its last lab
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

impl Run for DestroyArgs {
    fn access(&self) -> Access {
        Access::Write { keep_sandbox: self.keep }
    }

    fn format(&self) -> Format {
        self.change.format()
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        // Processes in the lab's namespaces may belong to other users.
        let capabilities: &[Capability] = if self.kill { &[Capability::Trace, Capability::Signal] } else { &[Capability::Trace] };
        let spawner = nodes::prepare("", context.environment)?;
        let (mut session, goal) = match input::lab_name(&self.lab) {
            Some(name) => {
                privilege::keep(capabilities)?;
                let session = Session::open(&name, &self.change)?;
                (session, Goal::destroy(name, State::default()))
            }
            None => {
                let text = input::read(&self.lab)?;
                privilege::keep(capabilities)?;
                let early = Session::open_early(&text, Intent::Destroy);
                let lab = input::parse(text, &input::display(&self.lab), context.output)?;
                (Session::confirm(early, &lab.name, &self.change)?, Goal::destroy(lab.name, lab.desired))
            }
        };
        session.kernel.use_spawner(spawner);
        let options = Options { kill: self.kill, ..Options::new(Intent::Destroy, &self.change, context) };
        change::run(session, goal, &options, context.output)
    }
}
