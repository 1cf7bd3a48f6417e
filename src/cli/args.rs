//! Argument groups that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Format;
use super::change::Form;
use super::input;
use crate::adoption::Adoption;
use crate::name::NamePattern;
use crate::value::{self, ValueError};

/// The lab file to read.
#[derive(Debug, Args)]
pub struct LabFileArgs {
    /// Lab file; `-` reads standard input
    #[arg(value_name = "LAB", default_value = input::default_file())]
    pub path: PathBuf,
}

/// Foreign links and namespaces that the lab takes over.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Take over an existing namespace, a link in `host` with the addresses that the lab gives it, or `all` that the lab declares (repeatable)
    #[arg(long = "adopt", value_name = "NAMESPACE|host:INTERFACE|all")]
    pub adoptions: Vec<Adoption>,
}

/// The part of the lab that is changed.
#[derive(Debug, Args)]
pub struct OnlyArgs {
    /// Change only these namespaces, or `host`, and what they require; patterns with `*` and `?` are possible (repeatable)
    #[arg(long = "only", value_name = "NAMESPACE")]
    pub only: Vec<NamePattern>,
}

/// Which side effects the user accepts.
#[derive(Debug, Clone, Copy, Args)]
pub struct SideEffectArgs {
    /// Accept side effects on what is not the lab's that cannot be undone; the plan shows them as `removed for good`
    #[arg(long)]
    pub allow_side_effects: bool,
}

/// How a lab is changed.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// How long to wait while another process changes the same lab
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub lock_timeout: Duration,
    /// Show the plan and ask for confirmation
    #[arg(long)]
    pub ask: bool,
    /// Go on without the lab's record if that is damaged; what the lab changed in `host` is not restored
    #[arg(long)]
    pub forget: bool,
    /// Keep a partial result when something fails, instead of undoing it
    #[arg(long)]
    pub no_rollback: bool,
    /// Show a summary of the plan
    #[arg(long)]
    pub brief: bool,
    /// Print only warnings and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Print what happens as JSON, one event a line
    #[arg(long, conflicts_with_all = ["ask", "brief", "quiet"])]
    pub json: bool,
    #[command(flatten)]
    pub side_effects: SideEffectArgs,
}

impl ChangeArgs {
    /// What is printed.
    pub fn format(&self) -> Format {
        if self.json { Format::Events } else { Format::Text }
    }

    /// How the plan is shown.
    pub fn form(&self) -> Form {
        if self.brief { Form::Brief } else { Form::Whole }
    }
}

/// Parses a time such as `10s`.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    text.parse::<value::Duration>().map(|duration| Duration::from_micros(duration.0))
}
