//! `topo namespaces`: lists the namespaces of all kinds that the nodes of a lab use.

use std::path::{Path, PathBuf};

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::elsewhere::Sought;
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::inventory::table;
use crate::cli::{Context, Format, Run, input};
use crate::kernel::linux::kinds::{self, NodeNamespace};
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{labs, raise_descriptor_limit};
use crate::name::{LabName, NamespaceName, SandboxName, escape};
use crate::report::json::FORMAT_VERSION;

/// List the namespaces of a lab's nodes, of all kinds
#[derive(Debug, Args)]
#[command(after_help = "\
Lists, as lsns(8) does, the namespaces of each kind in which the processes of a
node are: `own` ones, and those that the node shares with the sandbox or the
machine. A node without processes has only a network namespace of its own.
Processes of other users are counted only for root.

Examples:
  topo namespaces                    Those of the lab that lab.yaml describes
  topo namespaces ring               Those of the lab `ring`
  topo namespaces ring --json        For scripts")]
pub struct NamespacesArgs {
    /// Lab file, or name of a lab
    #[arg(value_name = "LAB|NAME", default_value = input::default_file())]
    lab: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The format of `topo namespaces --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Namespaces of a lab's nodes")]
pub struct Report {
    /// The version of the format.
    format_version: u32,
    /// The lab.
    lab: LabName,
    /// The sandbox; null on the machine itself.
    sandbox: Option<SandboxName>,
    namespaces: Vec<Row>,
}

/// A namespace of a node.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    node: NamespaceName,
    #[serde(rename = "type")]
    kind: &'static str,
    inode: u64,
    scope: Scope,
    /// The number of processes in it.
    processes: usize,
    /// The process with the lowest PID.
    pid: Option<i32>,
    command: Option<String>,
}

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// The node's.
    Own,
    /// That of the sandbox or of the machine.
    Shared,
}

impl Run for NamespacesArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        let lab = lab_of(&self.lab, context)?;
        raise_descriptor_limit();
        let nodes = nodes(&lab, context)?;
        let sandbox = context.environment.sandbox().cloned();
        let namespaces = kinds::of_nodes(&nodes).map_err(|error| {
            let kind = error.kind();
            Failure::with_cause("cannot read the namespaces", error).blame_proc(kind)
        })?;
        let namespaces = namespaces.into_iter().map(Row::new).collect();
        let report = Report { format_version: FORMAT_VERSION, lab, sandbox, namespaces };
        let text = match self.json {
            true => serde_json::to_string(&report).map_err(Failure::new)? + "\n",
            false => report.table(),
        };
        context.output.print(&text)?;
        Ok(0)
    }
}

/// The lab of an argument, which is a file or a name. Gives up privileges, but for that to look at the processes of others.
pub(super) fn lab_of(argument: &Path, context: &mut Context<'_>) -> Result<LabName, Failure> {
    if let Some(name) = input::lab_name(argument) {
        privilege::keep(&[Capability::Trace])?;
        return Ok(name);
    }
    let text = input::read(argument)?;
    privilege::keep(&[Capability::Trace])?;
    Ok(input::parse(text, &input::display(argument), context.output)?.name)
}

/// The namespaces that a lab owns.
pub(super) fn nodes(lab: &LabName, context: &Context<'_>) -> Result<Vec<NamespaceName>, Failure> {
    let mut labs = labs::find()?;
    if let Some(extent) = labs.remove(lab) {
        return Ok(extent.namespaces);
    }
    let failure = Failure::new(format!("there is no lab `{lab}`"));
    Err(match context.elsewhere.hint(&Sought::Lab(lab.clone(), Vec::new())) {
        Some(hint) => failure.hint(hint),
        None => failure.suggest(lab.as_str(), labs.keys().map(LabName::as_str)),
    })
}

impl Row {
    fn new(NodeNamespace { node, kind, inode, is_shared, processes }: NodeNamespace) -> Self {
        let pid = processes.first().copied();
        Self {
            node,
            kind,
            inode,
            scope: if is_shared { Scope::Shared } else { Scope::Own },
            processes: processes.len(),
            pid,
            command: pid.and_then(kinds::command_line),
        }
    }
}

impl Report {
    fn table(&self) -> String {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let row = |row: &Row| {
            vec![
                row.node.to_string(),
                row.kind.to_owned(),
                row.inode.to_string(),
                match row.scope {
                    Scope::Own => "own".to_owned(),
                    Scope::Shared => "shared".to_owned(),
                },
                row.processes.to_string(),
                cell(row.pid.map(|pid| pid.to_string())),
                cell(row.command.as_ref().map(|command| escape(command).into_owned())),
            ]
        };
        match self.namespaces.is_empty() {
            true => format!("Lab `{}` has no namespaces.\n", self.lab),
            false => table(&HEAD, self.namespaces.iter().map(row).collect()),
        }
    }
}

const HEAD: [&str; 7] = ["NODE", "TYPE", "INODE", "SCOPE", "PROCESSES", "PID", "COMMAND"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_namespace() {
        let row = |kind, inode, scope, pid: Option<i32>| Row {
            node: "r1".parse().unwrap(),
            kind,
            inode,
            scope,
            processes: pid.iter().count(),
            pid,
            command: pid.map(|_| "sleep\u{1b} 1000".to_owned()),
        };
        let namespaces = vec![row("net", 4_026_532_000, Scope::Own, Some(12)), row("time", 4, Scope::Shared, None)];
        let report = Report { format_version: 1, lab: "ring".parse().unwrap(), sandbox: None, namespaces };
        assert_eq!(
            report.table(),
            "NODE  TYPE  INODE       SCOPE   PROCESSES  PID  COMMAND\n\
             r1    net   4026532000  own     1          12   sleep\\u{1b} 1000\n\
             r1    time  4           shared  0          -    -\n"
        );
        assert_eq!(Report { namespaces: Vec::new(), ..report }.table(), "Lab `ring` has no namespaces.\n");
    }
}
