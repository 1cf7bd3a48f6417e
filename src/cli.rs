//! The command line: arguments in, texts and an exit status out. Only here and in `main` is anything printed.

mod apply;
mod destroy;
mod error;
mod input;
mod output;
mod plan;
mod saved;
mod signals;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::error::Failure;
use self::output::Output;
use crate::name::LinkId;

/// Declarative network topologies for Linux: describe namespaces, links, addresses and routes in a file; plan, apply and
/// destroy them.
#[derive(Debug, Parser)]
#[command(name = "topo", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: output::When,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the live network differs from the lab, and what `apply` would do
    Plan(PlanArguments),
    /// Make the live network what the lab says
    Apply(ApplyArguments),
    /// Remove everything that the lab owns
    Destroy(DestroyArguments),
    /// Check a lab file without touching the kernel
    Validate(ValidateArguments),
    /// Print the JSON schema of lab files
    Schema,
}

#[derive(Debug, Args)]
struct LabArgument {
    /// The lab file; `-` reads standard input
    #[arg(value_name = "LAB", default_value = "lab.yaml")]
    lab: PathBuf,
}

#[derive(Debug, Args)]
struct ValidateArguments {
    #[command(flatten)]
    file: LabArgument,
}

#[derive(Debug, Args)]
struct AdoptArgument {
    /// Take over a link of `host` that somebody else has made, with the addresses that the lab gives it; may be repeated
    #[arg(long, value_name = "NAMESPACE:INTERFACE")]
    adopt: Vec<LinkId>,
}

#[derive(Debug, Args)]
struct PlanArguments {
    #[command(flatten)]
    file: LabArgument,
    #[command(flatten)]
    adopt: AdoptArgument,
    /// Exit with 2 when there are changes, 0 when there are none
    #[arg(long)]
    detailed_exitcode: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Save the plan, for `apply` to carry out exactly this one
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ChangeArguments {
    /// Wait this long for another process that changes the same lab
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
    lock_timeout: Duration,
    /// Show the plan and ask before anything is done
    #[arg(long)]
    ask: bool,
    /// Keep a half-way state when something fails, instead of undoing it
    #[arg(long)]
    no_rollback: bool,
}

#[derive(Debug, Args)]
struct ApplyArguments {
    /// The lab file, or a plan saved by `plan --out`; `-` reads standard input
    #[arg(value_name = "LAB|PLAN", default_value = "lab.yaml")]
    lab: PathBuf,
    #[command(flatten)]
    adopt: AdoptArgument,
    #[command(flatten)]
    change: ChangeArguments,
}

#[derive(Debug, Args)]
struct DestroyArguments {
    /// The lab file, or the lab's name alone
    #[arg(value_name = "LAB|NAME")]
    lab: PathBuf,
    /// End the processes that are inside the lab's namespaces
    #[arg(long)]
    kill: bool,
    #[command(flatten)]
    change: ChangeArguments,
}

fn seconds(text: &str) -> Result<Duration, crate::value::ValueError> {
    text.parse::<crate::value::Duration>().map(|duration| Duration::from_micros(duration.0))
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // The usual exit status of clap for wrong usage, 2, means "changes present" here.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let mut output = Output::new(cli.color);
    match run(cli.command, &mut output) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, output: &mut Output) -> Result<u8, Failure> {
    match command {
        Command::Plan(arguments) => plan::run(&arguments, output),
        Command::Apply(arguments) => apply::run(&arguments, output),
        Command::Destroy(arguments) => destroy::run(&arguments, output),
        Command::Validate(arguments) => validate::run(&arguments, output),
        Command::Schema => schema(output),
    }
}

/// The JSON schema of lab files, as `schemas/lab.schema.json` holds it.
pub fn schema_text() -> String {
    let schema = schemars::schema_for!(crate::spec::LabFile);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text + "\n"
}

fn schema(output: &mut Output) -> Result<u8, Failure> {
    output.print(&schema_text())?;
    Ok(0)
}
