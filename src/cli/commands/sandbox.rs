//! `topo sandbox`: lists and stops sandboxes, and runs their helper processes.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::environment::{self, Access};
use crate::cli::error::Failure;
use crate::cli::inventory::Inventory;
use crate::cli::output::Output;
use crate::cli::{Context, Run};
use crate::kernel::linux::node::spawner;
use crate::name::SandboxName;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::{self, Found, holder, restriction, uplink};

/// List and stop sandboxes
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A sandbox is an isolated network for labs. It needs no privileges and does not
change the machine. `topo apply` creates it; it stops with its last lab.

Examples:
  topo apply --sandbox=ci lab.yaml   Create the sandbox `ci`
  topo list --sandbox=ci             List the labs in it
  topo sandbox stop ci               Stop it")]
pub enum SandboxCommand {
    /// List the user's sandboxes
    #[command(after_help = "\
UPLINK is the program that connects the sandbox to the outside. PROCESSES are
those that were started in it.

Examples:
  topo sandbox list
  topo sandbox list --json     For scripts")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop a sandbox: remove its labs and end its processes
    #[command(after_help = "\
Processes in the sandbox receive TERM, and KILL half a second later.

Examples:
  topo sandbox stop default")]
    Stop {
        /// Name of the sandbox
        #[arg(value_name = "SANDBOX")]
        name: SandboxName,
    },
    /// Print an AppArmor profile that lets topo use user namespaces
    #[command(after_help = "\
Needed where AppArmor restricts user namespaces (Ubuntu 23.10 and later).

Examples:
  topo sandbox profile | sudo tee /etc/apparmor.d/topo
  sudo apparmor_parser -r /etc/apparmor.d/topo")]
    Profile,
}

impl Run for SandboxCommand {
    fn access(&self) -> Access {
        Access::None
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        match self {
            Self::List { json } => list(*json, context.output)?,
            Self::Stop { name } => stop(name, context.output)?,
            Self::Profile => context.output.print(&restriction::profile(&restriction::program()))?,
        }
        Ok(0)
    }
}

/// Runs one of a sandbox's helper processes, if the program was started as one. Called before anything else, to use as little
/// memory as possible.
pub fn run_helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = [arguments.next()?, arguments.next()?];
    if first.iter().eq(holder::ARGUMENTS.iter()) {
        holder::run();
        return Some(ExitCode::SUCCESS);
    }
    if first.iter().eq(spawner::ARGUMENTS.iter()) {
        spawner::run();
        return Some(ExitCode::SUCCESS);
    }
    let rest: Vec<_> = arguments.filter_map(|argument| argument.into_string().ok()).collect();
    let result = if first.iter().eq(uplink::ARGUMENTS.iter()) {
        uplink::supervise(&rest)
    } else if first.iter().eq(uplink::SET_UP_ARGUMENTS.iter()) {
        uplink::Opened::parse(&rest).map_or(Ok(()), uplink::Opened::set_up)
    } else {
        return None;
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The process that requested the uplink reads this.
            eprintln!("{}", crate::kernel::plain(&error));
            ExitCode::FAILURE
        }
    })
}

fn list(json: bool, output: &mut Output) -> Result<(), Failure> {
    let inventory = Inventory::of_sandboxes()?;
    inventory.warn(output);
    output.print(&match json {
        true => serde_json::to_string(&inventory.sandboxes).map_err(Failure::new)? + "\n",
        false => inventory.sandbox_table(),
    })
}

fn stop(name: &SandboxName, output: &mut Output) -> Result<(), Failure> {
    let lock = SandboxLock::acquire(name).map_err(|error| environment::explain(error.into()))?;
    let Some(lock) = lock else { return Err(missing(name)) };
    match sandbox::find_or_clean_up(&lock).map_err(|error| environment::explain(error.into()))? {
        Some(Found::Running(holder, _)) => {
            let ended = sandbox::stop(&lock, &holder).map_err(environment::explain)?;
            output.message(&format!("Stopped sandbox `{name}`{}.", environment::processes_in_it(ended)));
        }
        Some(Found::Dead) => output.message(&format!("Sandbox `{name}` was not running any more.")),
        None => {
            drop(lock);
            return Err(missing(name));
        }
    }
    Ok(())
}

fn missing(name: &SandboxName) -> Failure {
    let known = sandbox::list::all().unwrap_or_default();
    let failure = Failure::new(format!("there is no sandbox `{name}`"));
    failure.suggest(name.as_str(), known.iter().map(|listed| listed.name.as_str()))
}
