//! `topo validate`: reports all problems of a lab file.

use clap::Args;

use crate::cli::args::LabFileArgs;
use crate::cli::environment::Access;
use crate::cli::error::{self, Failure};
use crate::cli::{Context, Format, Run, input};
use crate::report::json;

/// Check a lab file, without looking at the network
#[derive(Debug, Args)]
#[command(after_help = "\
Reports all problems of the file at once. Needs no privileges.

Examples:
  topo validate                     Check lab.yaml
  topo validate ring.yaml --quiet   Only the exit status, if it is valid
  topo validate --json              For editors and scripts

Exit status:
  0  the file is valid
  1  it is not, or cannot be read")]
pub struct ValidateArgs {
    #[command(flatten)]
    file: LabFileArgs,
    /// Print only warnings and errors
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Run for ValidateArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        if self.json {
            let validation = input::validation(&self.file.path)?;
            context.output.print(&json::line(&validation))?;
            return Ok(if validation.is_valid() { 0 } else { error::STATUS });
        }
        let name = input::validate(&self.file.path, context.output)?;
        if !self.quiet {
            context.output.message(&format!("`{}`: lab `{name}` is valid", input::display(&self.file.path)));
        }
        Ok(0)
    }
}
