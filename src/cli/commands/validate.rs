//! `topo validate`: reports all problems of a lab file.

use clap::Args;

use crate::cli::args::LabFileArgs;
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run, input};

/// Check a lab file, without looking at the network
#[derive(Debug, Args)]
#[command(after_help = "\
Reports all problems of the file at once. Needs no privileges.

Exit status:
  0  the file is valid
  1  it is not, or cannot be read")]
pub struct ValidateArgs {
    #[command(flatten)]
    file: LabFileArgs,
}

impl Run for ValidateArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let name = input::validate(&self.file.path, context.output)?;
        context.output.message(&format!("`{}`: lab `{name}` is valid", input::display(&self.file.path)));
        Ok(0)
    }
}
