//! What `topo list` and `topo sandbox list` show: the labs of this machine and of the user's sandboxes.
//!
//! A process can be in one sandbox only, so topo runs itself in each of them.

use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::elsewhere::Sought;
use super::environment::{self, Access};
use super::error::{Failure, chain};
use super::output::Output;
use crate::kernel::linux::labs;
use crate::name::{LabName, LinkName, NamespaceName, SandboxName, escape};
use crate::report::json::FORMAT_VERSION;
use crate::runtime::records;
use crate::sandbox;

/// Labs and sandboxes; also the format of `topo list --json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inventory {
    format_version: u32,
    labs: Vec<Lab>,
    /// The user's sandboxes.
    pub sandboxes: Vec<Sandbox>,
}

/// A lab, and what it owns.
#[derive(Debug, Serialize, Deserialize)]
struct Lab {
    lab: LabName,
    /// `None` for a lab on the machine itself.
    sandbox: Option<SandboxName>,
    namespaces: Vec<NamespaceName>,
    /// Links in `host`.
    links: Vec<LinkName>,
}

/// A sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sandbox {
    name: SandboxName,
    /// The PID of the holder process; `None` if it has died or is unknown.
    process: Option<i32>,
    /// Why the sandbox cannot be looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    uplink: Option<String>,
    /// Number of processes in the sandbox, without the holder process.
    processes: usize,
}

impl Inventory {
    /// The labs of the chosen sandbox; without a choice, those of the machine and of all sandboxes.
    pub fn collect(choice: Option<&SandboxName>, output: &mut Output) -> Result<Self, Failure> {
        if let Some(name) = environment::chosen_sandbox(choice)? {
            // A sandbox that the user names must exist; one that the environment variable names may come later.
            let access = if choice.is_some() { Access::Enter } else { Access::Read };
            let _entered = environment::enter(Some(&name), access, None, output)?;
            return Ok(Self::of(local_labs(Some(&name))?, Vec::new()));
        }
        let labs = if environment::may_change_machine()? { local_labs(None)? } else { Vec::new() };
        Self::with_sandboxes(labs)
    }

    /// Reads what `topo list --json` prints.
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The labs that are sought, or have the namespace that is, each with its sandbox.
    pub fn places(self, sought: &Sought) -> Vec<(LabName, Option<SandboxName>)> {
        let is_sought = |lab: &Lab| match sought {
            Sought::Lab(name, _) => lab.lab == *name,
            Sought::Namespace(name) => lab.namespaces.contains(name),
        };
        self.labs.into_iter().filter(is_sought).map(|lab| (lab.lab, lab.sandbox)).collect()
    }

    /// The user's sandboxes and their labs.
    pub fn of_sandboxes() -> Result<Self, Failure> {
        Self::with_sandboxes(Vec::new())
    }

    /// A table of the labs.
    pub fn lab_table(&self) -> String {
        let row = |lab: &Lab| {
            let sandbox = lab.sandbox.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            vec![lab.lab.to_string(), sandbox, lab.namespaces.len().to_string(), lab.links.len().to_string()]
        };
        match self.labs.is_empty() {
            true => "No labs.\n".to_owned(),
            false => table(&["LAB", "SANDBOX", "NAMESPACES", "LINKS IN HOST"], self.labs.iter().map(row).collect()),
        }
    }

    /// Warns about the sandboxes that cannot be looked into.
    pub fn warn(&self, output: &mut Output) {
        for sandbox in &self.sandboxes {
            if let Some(problem) = &sandbox.problem {
                output.warning(&format!("sandbox `{}` cannot be looked into: {}", sandbox.name, escape(problem)));
            }
        }
    }

    /// A table of the sandboxes.
    pub fn sandbox_table(&self) -> String {
        let row = |sandbox: &Sandbox| {
            let labs = self.labs.iter().filter(|lab| lab.sandbox.as_ref() == Some(&sandbox.name)).count();
            vec![
                sandbox.name.to_string(),
                sandbox
                    .process
                    .map_or_else(|| sandbox.problem.as_ref().map_or("dead", |_| "unknown").to_owned(), |pid| pid.to_string()),
                sandbox.uplink.clone().unwrap_or_else(|| "none".to_owned()),
                labs.to_string(),
                sandbox.processes.to_string(),
            ]
        };
        match self.sandboxes.is_empty() {
            true => "No sandboxes.\n".to_owned(),
            false => table(&["SANDBOX", "PID", "UPLINK", "LABS", "PROCESSES"], self.sandboxes.iter().map(row).collect()),
        }
    }

    fn of(labs: Vec<Lab>, sandboxes: Vec<Sandbox>) -> Self {
        Self { format_version: FORMAT_VERSION, labs, sandboxes }
    }

    /// Adds the user's sandboxes and their labs to the labs of the machine.
    fn with_sandboxes(mut labs: Vec<Lab>) -> Result<Self, Failure> {
        let mut sandboxes = Vec::new();
        for listed in sandbox::list::all().map_err(environment::explain)? {
            let (mut processes, mut problem) = (0, None);
            match &listed.holder {
                Ok(Some(holder)) => {
                    processes = sandbox::list::processes_in(holder).map_or(0, |found| found.len());
                    match query(&listed.name) {
                        Ok(inventory) => labs.extend(inventory.labs),
                        Err(failure) => problem = failure.chain(),
                    }
                }
                Ok(None) => {}
                Err(error) => problem = Some(chain(error)),
            }
            sandboxes.push(Sandbox {
                process: listed.holder.ok().flatten().map(|holder| holder.number()),
                problem,
                uplink: listed.uplink.map(|program| program.to_string()),
                name: listed.name,
                processes,
            });
        }
        Ok(Self::of(labs, sandboxes))
    }
}

/// The labs of the environment in which this process runs.
fn local_labs(sandbox: Option<&SandboxName>) -> Result<Vec<Lab>, Failure> {
    let mut found = labs::find()?;
    // A lab may own nothing and only change foreign objects. Then it has only a record.
    for lab in records::labs()? {
        found.entry(lab).or_default();
    }
    let lab = |(lab, extent): (LabName, labs::Extent)| Lab {
        lab,
        sandbox: sandbox.cloned(),
        namespaces: extent.namespaces,
        links: extent.links,
    };
    Ok(found.into_iter().map(lab).collect())
}

/// Runs `topo list` in a sandbox.
fn query(name: &SandboxName) -> Result<Inventory, Failure> {
    let message = format!("cannot list the labs of sandbox `{name}`");
    let mut command = Command::new("/proc/self/exe");
    command.arg(format!("--sandbox={name}")).args(["list", "--json"]).stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Err(Failure::with_cause(message, error)),
    };
    serde_json::from_slice(&output.stdout).map_err(|error| match output.status.success() {
        true => Failure::with_cause(message, error),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            let cause = text.lines().next().map_or("it ended without a word", |line| line.trim_start_matches("error: "));
            Failure::new(format!("{message}: {cause}"))
        }
    })
}

/// Formats columns, each as wide as its widest cell.
pub fn table(head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    rows.insert(0, head.iter().map(ToString::to_string).collect());
    let widths: Vec<usize> = (0..head.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["hello".to_owned(), "2".to_owned()], vec!["a".to_owned(), "10".to_owned()]];
        assert_eq!(table(&["LAB", "NAMESPACES"], rows), "LAB    NAMESPACES\nhello  2\na      10\n");
    }
}
