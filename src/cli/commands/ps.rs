//! `topo ps`: lists the processes that the nodes of a lab declare.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::namespaces::{lab_of, nodes};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::inventory::{age, table};
use crate::cli::{Context, Format, Run, input};
use crate::kernel::linux::node::processes::{self, NodeProcess};
use crate::name::{LabName, NamespaceName, ProcessName, SandboxName, escape};
use crate::report::json::FORMAT_VERSION;
use crate::resource::node::process::{End, State};

/// List the processes of a lab's nodes
#[derive(Debug, Args)]
#[command(after_help = "\
Lists the processes that the lab file declares, with their states: waiting,
starting, running, ready, stopping, backoff (will be restarted), exited, failed
or stopped. PID is that outside, INSIDE that in the node.

Examples:
  topo ps                    Those of the lab that lab.yaml describes
  topo ps ring               Those of the lab `ring`
  topo ps ring --json        For scripts")]
pub struct PsArgs {
    /// Lab file, or name of a lab
    #[arg(value_name = "LAB|NAME", default_value = input::default_file())]
    lab: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The format of `topo ps --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Processes of a lab's nodes")]
pub struct Report {
    /// The version of the format.
    format_version: u32,
    /// The lab.
    lab: LabName,
    /// The sandbox; null on the machine itself.
    sandbox: Option<SandboxName>,
    processes: Vec<Row>,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    node: NamespaceName,
    process: ProcessName,
    state: State,
    /// The PID outside of the node.
    pid: Option<i32>,
    /// The PID in the node.
    pid_inside: Option<i32>,
    restarts: u32,
    /// How long it has been in this state, in milliseconds.
    age_ms: u64,
    cpu_ms: Option<u64>,
    memory_bytes: Option<u64>,
    last_end: Option<End>,
    failure: Option<String>,
    message: Option<String>,
}

impl Run for PsArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let lab = lab_of(&self.lab, context)?;
        nodes(&lab, context)?;
        let sandbox = context.environment.sandbox().cloned();
        let (found, ended) = processes::of_lab(&lab).map_err(|error| Failure::with_cause("cannot ask the nodes", error))?;
        for node in &ended {
            context
                .output
                .warning(&format!("the init of `{node}` has ended, and with it the processes; `topo apply` starts them again"));
        }
        let report =
            Report { format_version: FORMAT_VERSION, lab, sandbox, processes: found.into_iter().map(Row::new).collect() };
        let text = match self.json {
            true => serde_json::to_string(&report).map_err(Failure::new)? + "\n",
            false => report.table(),
        };
        context.output.print(&text)?;
        Ok(0)
    }
}

impl Row {
    fn new(NodeProcess { node, status, usage }: NodeProcess) -> Self {
        Self {
            node,
            process: status.name,
            state: status.state,
            pid: usage.map(|usage| usage.pid),
            pid_inside: status.pid,
            restarts: status.restarts,
            age_ms: status.age,
            cpu_ms: usage.map(|usage| usage.cpu),
            memory_bytes: usage.map(|usage| usage.memory),
            last_end: status.last_end,
            failure: status.failure,
            message: status.message,
        }
    }

    /// What explains the state: a failure, how it ended, or what it says of itself.
    fn note(&self) -> String {
        let ended = || self.last_end.as_ref().map(ToString::to_string);
        let note = self.failure.clone().or_else(|| self.message.clone()).or_else(ended);
        escape(&note.unwrap_or_default()).into_owned()
    }
}

const HEAD: [&str; 10] = ["NODE", "PROCESS", "STATE", "PID", "INSIDE", "RESTARTS", "AGE", "CPU", "MEMORY", "NOTE"];

impl Report {
    fn table(&self) -> String {
        fn cell(value: Option<impl ToString>) -> String {
            value.map_or_else(|| "-".to_owned(), |value| value.to_string())
        }
        let row = |row: &Row| {
            vec![
                row.node.to_string(),
                row.process.to_string(),
                row.state.to_string(),
                cell(row.pid),
                cell(row.pid_inside),
                row.restarts.to_string(),
                age(Duration::from_millis(row.age_ms)),
                cell(row.cpu_ms.map(|cpu| format!("{}.{:02}s", cpu / 1000, cpu % 1000 / 10))),
                cell(row.memory_bytes.map(memory)),
                row.note(),
            ]
        };
        match self.processes.is_empty() {
            true => format!("Lab `{}` has no processes.\n", self.lab),
            false => table(&HEAD, self.processes.iter().map(row).collect()),
        }
    }
}

/// Formats a number of bytes.
fn memory(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1 << 20;
    match bytes {
        0..MEBIBYTE => format!("{}K", bytes >> 10),
        _ => format!("{}.{}M", bytes / MEBIBYTE, bytes % MEBIBYTE * 10 / MEBIBYTE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 4096, 1 << 20, 3 << 19].map(memory), ["0K", "4K", "1.0M", "1.5M"]);
    }
}
