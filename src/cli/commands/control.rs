//! `topo start`, `topo stop`, `topo restart`: what users do with single processes of nodes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cli::elsewhere::Sought;
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::signals::Signals;
use crate::cli::{Context, Run};
use crate::kernel::linux::node::Nodes;
use crate::kernel::linux::node::client::{Client, Verb};
use crate::name::{LabName, NamespaceName, ProcessName, escape};
use crate::resource::node::process::Settled;

/// A process of a node, written NODE/PROCESS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node: NamespaceName,
    /// The process.
    pub process: ProcessName,
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (node, process) =
            text.split_once('/').ok_or_else(|| "write NODE/PROCESS, such as `r1/bgpd`; `topo ps` lists them".to_owned())?;
        let node = node.parse().map_err(|error: crate::name::NameError| error.to_string())?;
        Ok(Self { node, process: process.parse().map_err(|error: crate::name::NameError| error.to_string())? })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.process)
    }
}

/// Finds the lab of a node, and connects to its init.
fn find(target: &Target, context: &Context<'_>) -> Result<(LabName, Client), Failure> {
    let failed = |error: std::io::Error| Failure::with_cause(format!("cannot ask the node `{}`", target.node), error);
    for nodes in Nodes::labs_with(&target.node).map_err(failed)? {
        if let (Some(lab), Some(client)) = (nodes.lab(), Client::connect(&nodes, &target.node).map_err(failed)?) {
            return Ok((lab, client));
        }
    }
    let failure = Failure::new(format!("there is no node `{}` with an init", target.node));
    Err(match context.elsewhere.hint(&Sought::Namespace(target.node.clone())) {
        Some(hint) => failure.hint(hint),
        None => failure.hint("`topo ps` lists the processes of a lab"),
    })
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident($verb:ident, $done:literal);)+) => { $(
        #[derive(Debug, Args)]
        $(#[$doc])*
        pub struct $name {
            /// The nodes and processes
            #[arg(value_name = "NODE/PROCESS", required = true)]
            processes: Vec<Target>,
        }

        impl Run for $name {
            fn access(&self) -> Access {
                Access::Write { keep_sandbox: true }
            }

            fn sought(&self) -> Option<Sought> {
                self.processes.first().map(|target| Sought::Namespace(target.node.clone()))
            }

            fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
                carry_out(Verb::$verb, $done, &self.processes, context)
            }
        }
    )+ };
}

commands! {
    /// Start processes of nodes that were stopped, have ended or failed
    #[command(after_help = "\
Returns when the processes are ready.

Examples:
  topo start r1/bgpd")]
    StartArgs(Start, "Started");
    /// Stop processes of nodes until they are started, or the lab is applied
    #[command(after_help = "\
Returns when the processes have ended. The next plan shows them as stopped.

Examples:
  topo stop r1/bgpd r2/bgpd")]
    StopArgs(Stop, "Stopped");
    /// End processes of nodes if they run, and start them
    #[command(after_help = "\
Returns when the processes are ready.

Examples:
  topo restart r1/bgpd")]
    RestartArgs(Restart, "Restarted");
}

/// Finds the lab of a process, and connects to the init of its node.
pub fn find_process(target: &Target, context: &Context<'_>) -> Result<(LabName, Client), Failure> {
    let (lab, client) = find(target, context)?;
    let failed = |error| Failure::with_cause(format!("cannot ask the node `{}`", target.node), error);
    match client.processes().map_err(failed)?.iter().any(|process| process.name == target.process) {
        true => Ok((lab, client)),
        false => Err(unknown(target, &format!("no process `{}`", target.process))),
    }
}

fn unknown(target: &Target, refusal: &str) -> Failure {
    Failure::new(format!("node `{}`: {refusal}", target.node)).hint("`topo ps` lists the processes of a lab")
}

/// Does the same with all processes, and waits for all.
fn carry_out(verb: Verb, done: &str, targets: &[Target], context: &mut Context<'_>) -> Result<u8, Failure> {
    /// The time between two looks at whether the user wants to stop waiting.
    const INTERVAL: Duration = Duration::from_millis(100);
    let signals = Signals::listen()?;
    // All or none: nothing is done if a process does not exist.
    let clients = targets.iter().map(|target| Ok((target, find_process(target, context)?.1)));
    let mut begun = Vec::new();
    for (target, client) in clients.collect::<Result<Vec<_>, Failure>>()? {
        let failed = |error| Failure::with_cause(format!("cannot ask the node `{}`", target.node), error);
        if let Some(refusal) = client.control(&target.process, verb).map_err(failed)? {
            return Err(unknown(target, &refusal));
        }
        client.begin_await(&target.process).map_err(failed)?;
        begun.push((target, client));
    }
    for (target, client) in begun {
        let settled = loop {
            if let Some(status) = signals.exit_status() {
                return Ok(status);
            }
            let answer = client.finish_await(INTERVAL);
            if let Some(settled) =
                answer.map_err(|error| Failure::with_cause(format!("cannot ask the node `{}`", target.node), error))?
            {
                break settled;
            }
        };
        if let Settled::Failed { reason, log } = settled {
            let mut failure = Failure::new(format!("`{target}` {reason}"));
            failure.notes = log.iter().map(|line| format!("    {}", escape(line))).collect();
            return Err(failure);
        }
        context.output.message(&format!("{done} `{target}`."));
    }
    Ok(0)
}
