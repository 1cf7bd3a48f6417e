//! The command line: parses arguments, runs a command, and reports its result. Only this module prints.
//!
//! Each command is a file in `commands`: its arguments with their help, and `Run`. To add one, write the file, and add it to
//! `commands`, to `Command` and to `Command::as_run`.

mod args;
mod change;
mod completion;
mod elsewhere;
mod environment;
mod error;
mod foreground;
mod input;
mod inventory;
mod manual;
mod nodes;
mod output;
mod remedy;
mod reporting;
mod sandbox_option;
mod saved_plan;
mod separator;
mod session;
mod signals;
mod stages;
mod uplink;
mod wait;
mod watch;

mod commands {
    pub mod apply;
    pub mod completions;
    pub mod control;
    pub mod destroy;
    pub mod diff;
    pub mod exec;
    pub mod export;
    pub mod graph;
    pub mod import;
    pub mod init;
    pub mod list;
    pub mod logs;
    pub mod man;
    pub mod namespaces;
    pub mod plan;
    pub mod ps;
    pub mod run;
    pub mod sandbox;
    pub mod schema;
    pub mod shell;
    pub mod show;
    pub mod validate;
    pub mod watch;
}

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::commands::{
    apply, completions, control, destroy, diff, exec, export, graph, import, init, list, logs, man, namespaces, plan, ps, run,
    sandbox, schema, shell, show, validate, watch as watch_command,
};
use self::elsewhere::{Elsewhere, Sought};
use self::environment::{Access, Environment};
use self::error::Failure;
use self::output::Output;
use crate::name::SandboxName;
use crate::report::json::{self, ErrorReport, Event};

pub use self::commands::schema::schema_texts;

/// Build network topologies on Linux from a YAML file
#[derive(Debug, Parser)]
#[command(name = "topo", version, max_term_width = 100, after_help = QUICK_START)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Use colors: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    color: output::When,
    /// Run in a sandbox, named `default` unless NAME is given; default when not root [env: TOPO_SANDBOX]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "default",
        help_heading = "Global options"
    )]
    sandbox: Option<SandboxName>,
}

const QUICK_START: &str = "\
A lab file describes network namespaces, links, addresses and routes. topo
compares it with the kernel and makes the changes that are necessary.

Examples:
  topo init                        Write a first lab file, lab.yaml
  topo plan                        Preview the changes
  topo apply                       Make the changes
  topo exec alice -- ip address    Run a command in namespace alice
  topo destroy                     Remove the lab
  topo run ring.yaml -- make test  Run a command with a lab, and remove it

Run `topo COMMAND --help` for details.";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Destroy(destroy::DestroyArgs),
    Diff(diff::DiffArgs),
    Show(show::ShowArgs),
    Graph(graph::GraphArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Exec(exec::ExecArgs),
    Shell(shell::ShellArgs),
    Run(run::RunArgs),
    Ps(ps::PsArgs),
    Logs(logs::LogsArgs),
    Start(control::StartArgs),
    Stop(control::StopArgs),
    Restart(control::RestartArgs),
    List(list::ListArgs),
    Watch(watch_command::WatchArgs),
    Namespaces(namespaces::NamespacesArgs),
    #[command(subcommand)]
    Sandbox(sandbox::SandboxCommand),
    Validate(validate::ValidateArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Complete(completions::CompleteArgs),
    Man(man::ManArgs),
}

impl Command {
    fn as_run(&self) -> &dyn Run {
        match self {
            Self::Init(command) => command,
            Self::Plan(command) => command,
            Self::Apply(command) => command,
            Self::Destroy(command) => command,
            Self::Diff(command) => command,
            Self::Show(command) => command,
            Self::Graph(command) => command,
            Self::Export(command) => command,
            Self::Import(command) => command,
            Self::Exec(command) => command,
            Self::Shell(command) => command,
            Self::Run(command) => command,
            Self::Ps(command) => command,
            Self::Logs(command) => command,
            Self::Start(command) => command,
            Self::Stop(command) => command,
            Self::Restart(command) => command,
            Self::List(command) => command,
            Self::Watch(command) => command,
            Self::Namespaces(command) => command,
            Self::Sandbox(command) => command,
            Self::Validate(command) => command,
            Self::Schema(command) => command,
            Self::Completions(command) => command,
            Self::Complete(command) => command,
            Self::Man(command) => command,
        }
    }
}

/// A command with its arguments.
trait Run {
    /// How the command uses the network; decides where it runs.
    fn access(&self) -> Access;

    /// Runs the command. Returns the exit status.
    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure>;

    /// What the command needs to exist where it runs.
    fn sought(&self) -> Option<Sought> {
        None
    }

    /// What the command prints, which decides whether an error is JSON, too.
    fn format(&self) -> Format {
        Format::Text
    }

    /// The exit status when topo itself fails.
    fn failure_status(&self) -> u8 {
        error::STATUS
    }
}

/// What a command prints to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Text.
    Text,
    /// One JSON object.
    Json,
    /// JSON objects, one a line.
    Events,
}

impl Format {
    /// The format of a command with the option `--json`.
    fn of_option(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// What every command receives besides its own arguments.
struct Context<'a> {
    /// The global option `--sandbox`.
    sandbox: Option<&'a SandboxName>,
    /// Where the command runs.
    environment: &'a Environment,
    /// The other environments, to find there what is missing here.
    elsewhere: &'a Elsewhere,
    output: &'a mut Output,
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    if let Some(status) = sandbox::run_helper() {
        return status;
    }
    let cli = match Cli::try_parse_from(separator::insert(wait::join_time(sandbox_option::join_names(std::env::args_os())))) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(usage_status(std::env::args_os())) } else { ExitCode::SUCCESS };
        }
    };
    let mut output = Output::new(cli.color);
    let command = cli.command.as_run();
    match run(command, cli.sandbox.as_ref(), &mut output) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            output.failure(&failure);
            let error = match command.format() {
                Format::Text => None,
                Format::Json => Some(json::line(&ErrorReport::new(failure.to_json()))),
                Format::Events => Some(json::line(&Event::error(failure.to_json()))),
            };
            // If this cannot be printed, the exit status still tells.
            let _ = error.map(|error| output.print(&error));
            ExitCode::from(failure.status)
        }
    }
}

/// The exit status for wrong usage. Clap's own, 2, means "changes present" here.
fn usage_status(arguments: impl Iterator<Item = OsString>) -> u8 {
    let command = arguments.skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    let runs_another = command.is_some_and(|command| ["exec", "shell", "run"].iter().any(|name| command == *name));
    if runs_another { exec::FAILURE_STATUS } else { error::STATUS }
}

fn run(command: &dyn Run, sandbox: Option<&SandboxName>, output: &mut Output) -> Result<u8, Failure> {
    let failed = |failure: Failure| match failure.status {
        error::STATUS => Failure { status: command.failure_status(), ..failure },
        _ => failure,
    };
    let sought = command.sought();
    let (environment, elsewhere) = environment::enter(sandbox, command.access(), sought.as_ref(), output).map_err(failed)?;
    let context = &mut Context { sandbox, environment: &environment, elsewhere: &elsewhere, output: &mut *output };
    let result = command.run(context);
    let left = environment.leave(output);
    let status = result.map_err(failed)?;
    left.map(|()| status).map_err(failed)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    fn check_help(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:\n  "), "`{}` has no examples", command.get_name());
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "`{}`: too long for a terminal: {line}", command.get_name());
        }
        command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).for_each(check_help);
    }

    #[test]
    fn every_command_has_examples_and_fits_into_80_columns() {
        check_help(&Cli::command());
    }
}
