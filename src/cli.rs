//! The command line: arguments in, texts and an exit status out. Only here and in `main` is anything printed.

mod apply;
mod arguments;
mod destroy;
mod error;
mod exec;
mod exec_all;
mod input;
mod list;
mod output;
mod place;
mod plan;
mod sandbox;
mod saved;
mod shell;
mod signals;
mod turn;
mod validate;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::error::Failure;
use self::output::Output;
use self::place::{Need, Uplink};
use crate::name::{LinkId, SandboxName};

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
    /// Work in a sandbox, by default `default`; TOPO_SANDBOX chooses one, too. Without privileges that is so anyway
    #[arg(long, global = true, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    sandbox: Option<SandboxName>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the live network differs from the lab, and what `apply` would do
    Plan(PlanArguments),
    /// Make the live network what the lab says
    Apply(ApplyArguments),
    /// Remove everything that the lab owns
    Destroy(DestroyArguments),
    /// Run a command inside of a namespace
    Exec(ExecArguments),
    /// Start a shell inside of a namespace, which its prompt shows
    Shell(ShellArguments),
    /// List the labs that are here, and the user's sandboxes
    List(ListArguments),
    /// List and stop sandboxes
    #[command(subcommand)]
    Sandbox(SandboxCommand),
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
    /// Connect the sandbox with the outside, by whichever program is installed, or by the one that is named
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, default_missing_value = "any")]
    uplink: Option<Uplink>,
}

#[derive(Debug, Args)]
struct DestroyArguments {
    /// The lab file, or the lab's name alone
    #[arg(value_name = "LAB|NAME")]
    lab: PathBuf,
    /// End the processes that are inside the lab's namespaces
    #[arg(long)]
    kill: bool,
    /// Keep the sandbox, even when there is no lab in it any more
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    change: ChangeArguments,
}

#[derive(Debug, Args)]
struct ExecArguments {
    /// The namespace, as under /run/netns; `host` is the sandbox or the machine itself. With `--all`: the lab, if there are several
    #[arg(value_name = "NAMESPACE|LAB")]
    target: Option<String>,
    /// Run it in every namespace of the lab at the same time; each line of output has the namespace before it
    #[arg(long)]
    all: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct ShellArguments {
    /// The namespace, as under /run/netns; `host` is the sandbox or the machine itself
    namespace: String,
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum SandboxCommand {
    /// List the user's sandboxes
    List(ListArguments),
    /// End a sandbox, with all labs and processes that are in it
    Stop {
        /// Its name
        name: SandboxName,
    },
    /// Print a profile for AppArmor that lets this program use user namespaces
    Profile,
}

fn seconds(text: &str) -> Result<Duration, crate::value::ValueError> {
    text.parse::<crate::value::Duration>().map(|duration| Duration::from_micros(duration.0))
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    if let Some(code) = sandbox::attend() {
        return code;
    }
    let cli = match Cli::try_parse_from(arguments::with_sandbox_joined(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(misuse(std::env::args_os())) } else { ExitCode::SUCCESS };
        }
    };
    let mut output = Output::new(cli.color);
    match run(&cli, &mut output) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// The exit status for wrong usage. That of clap, 2, means "changes present" here; where the status is that of a command, topo has
/// one of its own.
fn misuse(arguments: impl Iterator<Item = OsString>) -> u8 {
    let command = arguments.skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    if command.is_some_and(|command| command == "exec" || command == "shell") { exec::OWN } else { 1 }
}

fn run(cli: &Cli, output: &mut Output) -> Result<u8, Failure> {
    let (need, keep) = cli.command.need();
    let own = |failure: Failure| match need {
        Need::Inside if failure.code == 1 => Failure { code: exec::OWN, ..failure },
        _ => failure,
    };
    let place = place::enter(cli.sandbox.as_ref(), need, output).map_err(own)?;
    let outcome = match &cli.command {
        Command::Plan(arguments) => plan::run(arguments, output),
        Command::Apply(arguments) => apply::run(arguments, output),
        Command::Destroy(arguments) => destroy::run(arguments, output),
        Command::Exec(arguments) => exec::run(arguments, &place, output),
        Command::Shell(arguments) => exec::run_shell(arguments, &place, output),
        Command::List(arguments) => list::run(arguments, cli.sandbox.as_ref(), output),
        Command::Sandbox(command) => sandbox::run(command, output),
        Command::Validate(arguments) => validate::run(arguments, output),
        Command::Schema => schema(output),
    };
    let left = place.leave(keep, output);
    let code = outcome.map_err(own)?;
    left.map(|()| code).map_err(own)
}

impl Command {
    /// What it needs of the place where it works, and whether a sandbox is to be kept without labs.
    fn need(&self) -> (Need, bool) {
        match self {
            Self::Plan(_) => (Need::Look, false),
            Self::Apply(arguments) => (Need::Make { uplink: arguments.uplink }, false),
            Self::Destroy(arguments) => (Need::Change, arguments.keep),
            Self::Exec(_) | Self::Shell(_) => (Need::Inside, true),
            Self::List(_) | Self::Sandbox(_) | Self::Validate(_) | Self::Schema => (Need::Nothing, false),
        }
    }
}

/// The JSON schema of lab files, as `schemas/lab.schema.json` holds it.
pub fn schema_text() -> String {
    let schema = crate::spec::schema::schema();
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text + "\n"
}

fn schema(output: &mut Output) -> Result<u8, Failure> {
    output.print(&schema_text())?;
    Ok(0)
}
