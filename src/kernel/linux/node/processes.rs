//! The declared processes of a lab's nodes, as their inits report them, and what the kernel tells of them.

use std::collections::HashMap;
use std::io;

use super::client::Client;
use super::directory::Nodes;
use crate::kernel::Errno;
use crate::kernel::linux::process::{identity, numbers};
use crate::name::{LabName, NamespaceName};
use crate::resource::node::process::ProcessStatus;

/// A process of a node.
pub struct NodeProcess {
    /// The node.
    pub node: NamespaceName,
    /// What the init reports.
    pub status: ProcessStatus,
    /// What the kernel reports, while it runs.
    pub usage: Option<Usage>,
}

/// What the kernel tells of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its PID here.
    pub pid: i32,
    /// The processor time that it has used, in milliseconds.
    pub cpu: u64,
    /// Its resident memory in bytes.
    pub memory: u64,
}

/// Returns the processes of all nodes of a lab, and the nodes whose inits have ended.
///
/// # Errors
/// Fails if an init does not answer, or /proc cannot be read.
pub fn of_lab(lab: &LabName) -> Result<(Vec<NodeProcess>, Vec<NamespaceName>), Errno> {
    let failed = |error: io::Error| Errno::from(&error);
    let (mut found, mut ended) = (Vec::new(), Vec::new());
    let Some(nodes) = Nodes::open(lab).map_err(failed)? else { return Ok((found, ended)) };
    // By PID namespace and PID in it: the PIDs here are found in one pass.
    let mut wanted = HashMap::new();
    for node in nodes.names().map_err(failed)? {
        let Some(client) = Client::connect(&nodes, &node).map_err(failed)? else {
            ended.push(node);
            continue;
        };
        let namespace = identity(&format!("/proc/{}/ns/pid", client.process().number())).ok();
        let statuses = match client.processes() {
            Err(error) if client.has_ended(&error) => {
                ended.push(node);
                continue;
            }
            other => other?,
        };
        for status in statuses {
            wanted.extend(namespace.zip(status.pid).map(|key| (key, found.len())));
            found.push(NodeProcess { node: node.clone(), status, usage: None });
        }
    }
    if !wanted.is_empty() {
        for number in numbers("/proc").map_err(failed)? {
            let place = pid_inside(number).and_then(|inside| Some((identity(&format!("/proc/{number}/ns/pid")).ok()?, inside)));
            if let Some(at) = place.and_then(|place| wanted.get(&place)) {
                found[*at].usage = usage(number);
            }
        }
    }
    Ok((found, ended))
}

/// Returns the PID of a process in the innermost of its PID namespaces: `NSpid` of proc_pid_status(5).
fn pid_inside(number: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().last()?.parse().ok()
}

fn usage(pid: i32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = u64::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??).ok()?;
    let page = u64::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??).ok()?;
    let (cpu, pages) = parse_usage(&stat)?;
    Some(Usage { pid, cpu: cpu * 1000 / ticks, memory: pages * page })
}

/// Parses fields 14, 15 and 24 of proc_pid_stat(5): the ticks in user mode and in the kernel, and the resident pages.
fn parse_usage(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_pages_are_parsed() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        assert_eq!(parse_usage(&format!("12 (a) b) {}", fields.join(" "))), Some((14 + 15, 24)));
        assert_eq!(parse_usage("12 (a"), None);
    }
}
