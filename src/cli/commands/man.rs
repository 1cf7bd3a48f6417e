//! `topo man`: writes the manual pages.

use std::path::PathBuf;

use clap::Args;

use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run, manual};

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "\
Writes topo.1, and a page for each command: topo-plan.1 and so on. Existing
pages are replaced. The Debian package installs them.

Examples:
  topo man ~/.local/share/man/man1     Install the pages for yourself
  man topo-apply                       Read one of them")]
pub struct ManArgs {
    /// Directory; created if it does not exist
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

impl Run for ManArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let shown = self.directory.display();
        std::fs::create_dir_all(&self.directory)
            .map_err(|error| Failure::with_cause(format!("cannot create `{shown}`"), error))?;
        let pages = manual::pages();
        for (name, text) in &pages {
            let path = self.directory.join(name);
            let failed = |error| Failure::with_cause(format!("cannot write `{}`", path.display()), error);
            std::fs::write(&path, text).map_err(failed)?;
        }
        context.output.message(&format!("Wrote {} manual pages to `{shown}`.", pages.len()));
        Ok(0)
    }
}
