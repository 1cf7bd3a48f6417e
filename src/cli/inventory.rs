//! What `topo list` and `topo sandbox list` show: the labs of this machine and of the user's sandboxes.
//!
//! A process can be in one sandbox only, so topo runs itself in each of them.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
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

/// Labs and sandboxes, as `topo list --json` prints them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "topo list --json")]
pub struct Inventory {
    /// Incremented by incompatible changes.
    format_version: u32,
    /// The labs of the machine and of all sandboxes, or those of the chosen sandbox.
    labs: Vec<Lab>,
    /// The user's sandboxes.
    pub sandboxes: Vec<Sandbox>,
}

/// A lab, and what it owns.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Lab {
    /// Its name.
    lab: LabName,
    /// The sandbox that it is in; null for a lab on the machine itself.
    sandbox: Option<SandboxName>,
    /// Its namespaces.
    namespaces: Vec<NamespaceName>,
    /// Links in `host`.
    links: Vec<LinkName>,
    /// The number of all links, without `lo`; each end of a pair counts.
    link_count: usize,
    /// When the oldest of its namespaces was made, in seconds since the epoch; null for a lab without namespaces.
    created: Option<u64>,
    /// How long ago that was, in seconds.
    age_seconds: Option<u64>,
}

/// A sandbox.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sandbox {
    /// Its name.
    name: SandboxName,
    /// The PID of the holder process; null if it has died or is unknown.
    process: Option<i32>,
    /// Why the sandbox cannot be looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The program that connects it to the outside.
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
            let age = lab.age_seconds.map_or_else(|| "-".to_owned(), |seconds| age(Duration::from_secs(seconds)));
            let counts = [lab.namespaces.len(), lab.link_count, lab.links.len()].map(|count| count.to_string());
            [lab.lab.to_string(), sandbox].into_iter().chain(counts).chain([age]).collect()
        };
        match self.labs.is_empty() {
            true => "No labs.\n".to_owned(),
            false => table(&LAB_HEAD, self.labs.iter().map(row).collect()),
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

const LAB_HEAD: [&str; 6] = ["LAB", "SANDBOX", "NAMESPACES", "LINKS", "IN HOST", "AGE"];

/// The labs of the environment in which this process runs.
fn local_labs(sandbox: Option<&SandboxName>) -> Result<Vec<Lab>, Failure> {
    let mut found = labs::find_with_links()?;
    // A lab may own nothing and only change foreign objects. Then it has only a record.
    for lab in records::labs()? {
        found.entry(lab).or_default();
    }
    let since = |time: Option<SystemTime>, start: SystemTime| Some(time?.duration_since(start).ok()?.as_secs());
    let now = SystemTime::now();
    let lab = |(lab, extent): (LabName, labs::Extent)| Lab {
        lab,
        sandbox: sandbox.cloned(),
        link_count: extent.links_inside + extent.links.len(),
        namespaces: extent.namespaces,
        links: extent.links,
        created: since(extent.made, SystemTime::UNIX_EPOCH),
        // The clock may have been set back.
        age_seconds: extent.made.map(|made| now.duration_since(made).unwrap_or_default().as_secs()),
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

/// Formats a time with its two largest units.
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_times_short() {
        let rows = vec![vec!["hello".to_owned(), "2".to_owned()], vec!["a".to_owned(), "10".to_owned()]];
        assert_eq!(
            [0, 59_999, 61_000, 3_660_000, 90_000_000].map(Duration::from_millis).map(age),
            ["0s", "59s", "1m01s", "1h01m", "1d01h"]
        );
        assert_eq!(table(&["LAB", "NAMESPACES"], rows), "LAB    NAMESPACES\nhello  2\na      10\n");
    }
}
