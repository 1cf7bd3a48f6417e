//! `topo list`: lists the labs and the user's sandboxes.

use clap::Args;

use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::inventory::Inventory;
use crate::cli::{Context, Format, Run};
use crate::kernel::linux::raise_descriptor_limit;

/// List labs and sandboxes
#[derive(Debug, Args)]
#[command(after_help = "\
Lists the labs of this machine and of all sandboxes of the user; with --sandbox,
those of one sandbox. Only root sees the labs of the machine itself.

LINKS counts the links of all namespaces without lo, both ends of a pair, and
those IN HOST. AGE is the time since the oldest of the lab's namespaces was
made.

Examples:
  topo list                  All labs and sandboxes
  topo list --sandbox=ci     The labs in the sandbox `ci`
  topo list --json           For scripts")]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Run for ListArgs {
    /// The command looks into several environments itself.
    fn access(&self) -> Access {
        Access::None
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        raise_descriptor_limit();
        let inventory = Inventory::collect(context.sandbox, context.output)?;
        inventory.warn(context.output);
        let text = match self.json {
            true => serde_json::to_string(&inventory).map_err(Failure::new)? + "\n",
            false if inventory.sandboxes.is_empty() => inventory.lab_table(),
            false => format!("{}\n{}", inventory.lab_table(), inventory.sandbox_table()),
        };
        context.output.print(&text)?;
        Ok(0)
    }
}
