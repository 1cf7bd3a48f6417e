//! `topo list` and `topo sandbox list`: the labs that are here and in each of the user's sandboxes.
//!
//! Nobody can be in two sandboxes: this program looks into each by running itself again there.

use std::io;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::ListArguments;
use super::error::Failure;
use super::output::Output;
use super::place::{self, Need, Place};
use crate::kernel::linux::{labs, raise_descriptor_limit};
use crate::name::{LabName, LinkName, NamespaceName, SandboxName};
use crate::report::json::FORMAT_VERSION;
use crate::runtime::records;
use crate::sandbox;

/// What is printed as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    format_version: u32,
    labs: Vec<Lab>,
    sandboxes: Vec<Sandbox>,
}

/// A lab somewhere.
#[derive(Debug, Serialize, Deserialize)]
struct Lab {
    lab: LabName,
    /// Where it is; nowhere else than on the machine itself without one.
    sandbox: Option<SandboxName>,
    namespaces: Vec<NamespaceName>,
    /// Those in `host`.
    links: Vec<LinkName>,
}

/// A sandbox.
#[derive(Debug, Serialize, Deserialize)]
struct Sandbox {
    name: SandboxName,
    /// The keeper's number; none for one that has gone.
    process: Option<i32>,
    uplink: Option<String>,
    /// How many processes are in it, besides the keeper.
    processes: usize,
}

pub fn run(arguments: &ListArguments, choice: Option<&SandboxName>, output: &mut Output) -> Result<u8, Failure> {
    raise_descriptor_limit();
    let listing = gather(choice, output)?;
    if arguments.json {
        output.print(&(serde_json::to_string(&listing).map_err(Failure::new)? + "\n"))?;
        return Ok(0);
    }
    let mut text = match listing.labs.is_empty() {
        true => "There is no lab here.\n".to_owned(),
        false => table(&["LAB", "SANDBOX", "NAMESPACES", "LINKS IN HOST"], listing.labs.iter().map(lab_row).collect()),
    };
    if !listing.sandboxes.is_empty() {
        text += "\n";
        text += &sandbox_table(&listing);
    }
    output.print(&text)?;
    Ok(0)
}

/// `topo sandbox list`.
pub fn sandboxes(arguments: &ListArguments, output: &mut Output) -> Result<u8, Failure> {
    let listing = everywhere(Vec::new())?;
    if arguments.json {
        output.print(&(serde_json::to_string(&listing.sandboxes).map_err(Failure::new)? + "\n"))?;
    } else if listing.sandboxes.is_empty() {
        output.print("There is no sandbox.\n")?;
    } else {
        output.print(&sandbox_table(&listing))?;
    }
    Ok(0)
}

fn gather(choice: Option<&SandboxName>, output: &mut Output) -> Result<Listing, Failure> {
    if let Some(name) = place::chosen(choice)? {
        let _place: Place = place::enter(Some(&name), Need::Look, output)?;
        let labs = labs_here(Some(&name))?;
        return Ok(Listing { format_version: FORMAT_VERSION, labs, sandboxes: Vec::new() });
    }
    everywhere(if place::may_change_the_machine()? { labs_here(None)? } else { Vec::new() })
}

/// The labs of the place where this process is.
fn labs_here(sandbox: Option<&SandboxName>) -> Result<Vec<Lab>, Failure> {
    let mut found = labs::find()?;
    // Some change nothing but what others have made.
    for lab in records::labs() {
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

/// What is in all sandboxes, after what is on the machine.
fn everywhere(mut labs: Vec<Lab>) -> Result<Listing, Failure> {
    let mut sandboxes = Vec::new();
    for listed in sandbox::list::all().map_err(place::explain)? {
        let mut processes = 0;
        if let Some(keeper) = &listed.keeper {
            processes = sandbox::list::inhabitants(keeper).map_or(0, |found| found.len());
            labs.extend(look_into(&listed.name)?.labs);
        }
        sandboxes.push(Sandbox {
            process: listed.keeper.map(|keeper| keeper.number()),
            uplink: listed.uplink.map(|program| program.to_string()),
            name: listed.name,
            processes,
        });
    }
    Ok(Listing { format_version: FORMAT_VERSION, labs, sandboxes })
}

fn look_into(name: &SandboxName) -> Result<Listing, Failure> {
    let failed = |why: String| Failure::new(format!("cannot look into sandbox `{name}`: {why}"));
    let mut command = Command::new("/proc/self/exe");
    command.arg(format!("--sandbox={name}")).args(["list", "--json"]).stdin(Stdio::null());
    let output = command.output().map_err(|error: io::Error| failed(crate::kernel::plain(&error)))?;
    let complaint = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    serde_json::from_slice(&output.stdout).map_err(|error| match output.status.success() {
        true => failed(error.to_string()),
        false => failed(complaint()),
    })
}

fn lab_row(lab: &Lab) -> Vec<String> {
    let sandbox = lab.sandbox.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    vec![lab.lab.to_string(), sandbox, lab.namespaces.len().to_string(), lab.links.len().to_string()]
}

fn sandbox_table(listing: &Listing) -> String {
    let row = |sandbox: &Sandbox| {
        let labs = listing.labs.iter().filter(|lab| lab.sandbox.as_ref() == Some(&sandbox.name)).count();
        vec![
            sandbox.name.to_string(),
            sandbox.process.map_or_else(|| "gone".to_owned(), |process| process.to_string()),
            sandbox.uplink.clone().unwrap_or_else(|| "none".to_owned()),
            labs.to_string(),
            sandbox.processes.to_string(),
        ]
    };
    table(&["SANDBOX", "KEEPER", "UPLINK", "LABS", "PROCESSES"], listing.sandboxes.iter().map(row).collect())
}

/// Columns, each as wide as its widest entry.
fn table(head: &[&str], mut rows: Vec<Vec<String>>) -> String {
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
    fn columns_stand_below_each_other() {
        let rows = vec![vec!["hello".to_owned(), "2".to_owned()], vec!["a".to_owned(), "10".to_owned()]];
        assert_eq!(table(&["LAB", "NAMESPACES"], rows), "LAB    NAMESPACES\nhello  2\na      10\n");
    }
}
