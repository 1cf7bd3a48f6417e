//! `topo completions`: prints the script that a shell needs. `topo complete`: what that script runs.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Run, completion};

/// Print a script with which a shell completes topo's commands
#[derive(Debug, Args)]
#[command(after_help = "\
Completes commands, options and lab files, and what exists where the command
would run: labs, namespaces, links of `host`, processes and sandboxes. It does
not create or change anything. topo must be in $PATH. The Debian package
installs the scripts for all three shells.

Examples:
  # bash: in ~/.bashrc
  source <(topo completions bash)
  # zsh: in ~/.zshrc, after `compinit`
  source <(topo completions zsh)
  # fish
  topo completions fish > ~/.config/fish/completions/topo.fish")]
pub struct CompletionsArgs {
    /// The shell: bash, zsh or fish
    #[arg(hide_possible_values = true)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Run for CompletionsArgs {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        context.output.print(match self.shell {
            Shell::Bash => include_str!("../completion/topo.bash"),
            Shell::Zsh => include_str!("../completion/topo.zsh"),
            Shell::Fish => include_str!("../completion/topo.fish"),
        })?;
        Ok(0)
    }
}

/// Print what can follow an unfinished command line, for the scripts of `topo completions`
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct CompleteArgs {
    /// The words of the line up to the cursor; the last one is unfinished
    #[arg(value_name = "WORD", last = true)]
    words: Vec<OsString>,
}

/// The time after which a shell gets no answer, in seconds.
const LIMIT: u32 = 2;

impl Run for CompleteArgs {
    /// The command looks for itself where the completed one would run.
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        // Ends this process, for example if a node's init does not answer.
        nix::unistd::alarm::set(LIMIT);
        context.output.print(&completion::answer(&self.words).to_string())?;
        Ok(0)
    }
}
