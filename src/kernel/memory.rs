//! A network in memory that enforces the kernel's rules. It refuses what the kernel refuses, with the same error number, and has the
//! same side effects: the peer is deleted with its link, routes are deleted with their link, and so on.
//!
//! It contains links, addresses, routes and sysctls. It does not simulate packets, carrier or time: duplicate address detection and the
//! removal of namespaces complete immediately, and lifetimes do not expire.

mod address;
mod bridge;
mod create;
mod device;
mod mtu;
mod network;
mod node;
mod object;
mod observe;
mod remove;
mod route;
mod route_check;
mod running;
mod sysctl;
mod tables;
mod tamper;
mod update;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{Errno, ExecuteError, Kernel, ObserveError, OperationError, Progress};
use crate::live::{Others, live};
use crate::name::{LabName, LinkName, NamespaceName};
use crate::operation::Operation;
use crate::resource::sysctl::SysctlKey;
use crate::snapshot::Snapshots;
use crate::state::{Ifindex, Live, State};

pub use network::Network;

/// An in-memory kernel, as one lab sees it.
#[derive(Debug, Clone)]
pub struct Memory {
    lab: LabName,
    /// The network. Tests pass it from the kernel of one lab to that of another, compare it, and change it like other programs do.
    pub network: Network,
    faults: Vec<Fault>,
    attempted: usize,
    executed: usize,
    /// The last observation.
    seen: Snapshots,
}

/// An injected failure.
#[derive(Debug, Clone)]
struct Fault {
    when: When,
    errno: Errno,
}

#[derive(Debug, Clone, Copy)]
enum When {
    /// The operation with this number, counted from the first attempt ever.
    At(usize),
    /// This operation and all that follow.
    From(usize),
    /// Every operation for which the function returns true.
    Every(fn(&Operation) -> bool),
}

impl Memory {
    /// Returns a machine that has only `lo`.
    pub fn new(lab: LabName) -> Self {
        Self::with_network(lab, Network::default())
    }

    /// Returns a machine with the given network.
    pub fn with_network(lab: LabName, network: Network) -> Self {
        Self { lab, network, faults: Vec::new(), attempted: 0, executed: 0, seen: Snapshots::new() }
    }

    /// Makes the `n`-th operation from now fail, counted from 0. Later operations work again.
    pub fn fail_at(&mut self, n: usize, errno: i32) {
        self.faults.push(Fault { when: When::At(self.attempted + n), errno: Errno::new(errno) });
    }

    /// Makes the `n`-th operation from now and all that follow fail.
    pub fn fail_from(&mut self, n: usize, errno: i32) {
        self.faults.push(Fault { when: When::From(self.attempted + n), errno: Errno::new(errno) });
    }

    /// Makes every operation fail for which `matches` returns true.
    pub fn fail_every(&mut self, matches: fn(&Operation) -> bool, errno: i32) {
        self.faults.push(Fault { when: When::Every(matches), errno: Errno::new(errno) });
    }

    /// Removes all injected failures.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    /// Returns the number of attempted operations, including those that failed.
    pub fn attempted(&self) -> usize {
        self.attempted
    }

    /// Returns the number of operations that succeeded.
    pub fn executed(&self) -> usize {
        self.executed
    }

    fn live(&self, desired: &State, others: Others) -> Live {
        match live(&self.lab, desired, &self.seen, others, &mut observe::Numbers(&self.network)) {
            Ok(live) => live,
        }
    }

    fn attempt(&mut self, operation: &Operation) -> Result<(), Errno> {
        let number = self.attempted;
        self.attempted += 1;
        let fails = |fault: &&Fault| match fault.when {
            When::At(at) => number == at,
            When::From(from) => number >= from,
            When::Every(matches) => matches(operation),
        };
        if let Some(fault) = self.faults.iter().find(fails) {
            return Err(fault.errno.clone());
        }
        self.network.execute(network::Author::Lab(&self.lab), operation)?;
        self.executed += 1;
        Ok(())
    }
}

impl Kernel for Memory {
    fn observe(&mut self, desired: &State) -> Result<Live, ObserveError> {
        let (snapshots, others) = observe::read(&self.network, &self.lab, desired);
        self.seen = snapshots;
        Ok(self.live(desired, others))
    }

    fn observe_again(&mut self, desired: &State, touched: &BTreeSet<NamespaceName>) -> Result<Live, ObserveError> {
        let (snapshots, others) = observe::read(&self.network, &self.lab, desired);
        self.seen.retain(|namespace, _| snapshots.contains_key(namespace) && !touched.contains(namespace));
        for (namespace, snapshot) in snapshots {
            match self.seen.entry(namespace) {
                Entry::Vacant(unseen) => drop(unseen.insert(snapshot)),
                // An earlier snapshot lacks sysctls that are asked for now.
                Entry::Occupied(mut seen) => seen.get_mut().sysctls = snapshot.sysctls,
            }
        }
        Ok(self.live(desired, others))
    }

    fn defaults(&mut self, keys: &BTreeSet<SysctlKey>) -> Result<BTreeMap<SysctlKey, String>, ObserveError> {
        let (fresh, host) = (Network::default(), NamespaceName::host());
        let value = |key: &SysctlKey| Some((key.clone(), fresh.read_sysctl(&host, key.path())?));
        Ok(keys.iter().filter_map(value).collect())
    }

    fn names_in_host(&mut self) -> Result<BTreeMap<Ifindex, LinkName>, ObserveError> {
        let host = self.network.namespaces.get(&NamespaceName::host());
        Ok(host.into_iter().flat_map(|host| &host.devices).map(|(index, device)| (*index, device.name)).collect())
    }

    /// Stops at the first operation that fails.
    fn execute(&mut self, operations: &[Operation], progress: &mut dyn Progress) -> Result<(), ExecuteError> {
        for (position, operation) in operations.iter().enumerate() {
            if progress.stop() {
                return Err(ExecuteError::Interrupted);
            }
            let refused = |source| OperationError { position, operation: operation.to_string(), source, details: Box::default() };
            match self.attempt(operation) {
                Err(_) if progress.may_fail(operation) => {}
                outcome => outcome.map_err(refused)?,
            }
            progress.done(position);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
